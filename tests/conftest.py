"""Fixtures for every room: the calendar and a seeded market (see ``tests/support/synthetic.py``)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
import synthetic

from wealthos_pipeline.data.processors.calendar import TradingCalendar

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session", autouse=True)
def _no_settings_from_outside() -> Iterator[None]:
    """A developer's ``WEALTHOS_*`` variables must not change what is tested."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [n for n in os.environ if n.startswith("WEALTHOS_")]:
            patch.delenv(name)
        patch.setenv("DAGSTER_DISABLE_TELEMETRY", "yes")
        patch.setenv("GX_ANALYTICS_ENABLED", "false")
        yield


@pytest.fixture(scope="session")
def calendar() -> TradingCalendar:
    """New York, 30 minutes after the close."""
    return TradingCalendar("XNYS", lag_minutes=30)


@pytest.fixture(scope="session")
def synthetic_raw() -> synthetic.RawMarket:
    """Raw frames of 40 instruments × 900 sessions."""
    return synthetic.raw_market()


@pytest.fixture(scope="session")
def synthetic_prices(synthetic_raw: synthetic.RawMarket) -> pl.DataFrame:
    """``clean.prices`` of the same market, built by a plain loop; instrument_id is the symbol."""
    return synthetic.clean_prices(synthetic_raw.prices)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the large real panel, or a skip."""
    if not (SHARED_DATA / "prices").is_dir():
        pytest.skip("the large real data set (../shared/data) is not on this machine")
    return SHARED_DATA
