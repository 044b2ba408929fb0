"""A run as of a past evening reads a file that goes on after it; the next run takes up the rest."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from types import SimpleNamespace

import polars as pl

from assets import ingest
from wealthos_pipeline.core.data import contract
from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.data.storage.lake import Lake


def test_bars_are_asked_for_since_the_last_one_that_had_its_day(tmp_path: Path) -> None:
    calendar = TradingCalendar("XNYS")
    past = date(2019, 2, 1)
    days = calendar.sessions(date(2019, 1, 2), date(2019, 6, 28))
    lake = Lake(tmp_path, calendar=calendar)
    lake.append(
        "raw.prices",
        contract("raw.prices").conform(
            pl.DataFrame(
                {"source": "v", "symbol": "A", "date": days, "close": 50.0, "currency": "USD",
                 "fetched_at": calendar.known_at(past) + timedelta(minutes=5)}
            )
        ),
    )  # fmt: skip
    session = SimpleNamespace(lake=lake, calendar=calendar, source=SimpleNamespace(name="v"))
    since = ingest._since(SimpleNamespace(session=session))  # type: ignore[arg-type]
    assert since == calendar.offset(past, -ingest.OVERLAP)
