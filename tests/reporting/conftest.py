"""``fake_lake_frames``: every table that a report reads (see ``tests/support/fake_lake.py``)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date

import polars as pl
import pytest
from fake_lake import MANDATES, Lake, fake_frames, fake_info
from fake_market import Frames, fake_factors

from wealthos_pipeline.core.factor import Factor
from wealthos_pipeline.core.portfolio import Mandate
from wealthos_pipeline.data.sources.base import SourceInfo


@pytest.fixture(scope="session")
def fake_lake_frames() -> Frames:
    """Every table that a report reads. Do not change the frames: copy the dict."""
    return fake_frames()


@pytest.fixture(scope="session")
def recent_frames(fake_lake_frames: Frames) -> Frames:
    """The same, long tables from the middle of 2020 on: for what does not look further back."""
    day = pl.col("date")
    return {
        t: f.filter(day >= date(2020, 6, 1)) if f.height > 5_000 and "date" in f.columns else f
        for t, f in fake_lake_frames.items()
    }


@pytest.fixture(scope="session")
def lake_of() -> Callable[[Frames], Lake]:
    """Frames → ``read`` callable."""
    return Lake


@pytest.fixture(scope="session")
def source_info() -> SourceInfo:
    return fake_info()


@pytest.fixture(scope="session")
def factor_definitions() -> tuple[Factor, ...]:
    return fake_factors()


@pytest.fixture(scope="session")
def mandate_definitions() -> tuple[Mandate, ...]:
    return MANDATES
