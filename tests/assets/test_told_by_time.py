"""What the passing of time alone tells is not lost in a run to which no input changed."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from wealthos_pipeline.core.data import contract
from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.data.processors.prices import Flag
from wealthos_pipeline.data.storage.lake import Lake
from wealthos_pipeline.data.storage.run import Run
from wealthos_pipeline.utils.config import load_settings

LAST = date(2019, 3, 1)
"""Last session of GONE; what holders got is told on the fourth session after."""


@pytest.fixture
def calendar() -> TradingCalendar:
    return TradingCalendar("XNYS")


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    inputs = tmp_path / "inputs"
    inputs.mkdir()
    text = f"symbol,date,terminal_return,known_on\nGONE,{LAST},-0.4,2019-03-07\n"
    (inputs / "delistings.csv").write_text(text)
    monkeypatch.setattr("wealthos_pipeline.utils.config.inputs_dir", lambda: inputs)
    return tmp_path / "data"


def bars(calendar: TradingCalendar, symbol: str, until: date, now: datetime) -> pl.DataFrame:
    days = calendar.sessions(date(2019, 1, 2), until)
    return contract("raw.prices").conform(
        pl.DataFrame(
            {"source": "v", "symbol": symbol, "date": days, "fetched_at": now, "currency": "USD",
             "close": [50.0 + calendar.slot(d) % 7 for d in days], "volume": 1000.0}
        )
    )  # fmt: skip


def a_run(
    root: Path, calendar: TradingCalendar, now: datetime, rows: dict[str, pl.DataFrame]
) -> Lake:
    """One run of the stages from raw rows to clean prices, with ``rows`` appended first."""
    from assets._shared.resources import Session
    from assets.clean import instruments, prices

    settings = load_settings(root=root)
    lake = Lake(root, calendar=calendar)
    with Run.open(lake, settings, now=now) as run:
        session = Session(settings, run, lake, calendar, None, now)  # type: ignore[arg-type]
        for table, frame in rows.items():
            lake.append(table, frame)
        for stage in (instruments, prices):
            list(stage.execute(session))
        run.publish(as_of=now.date(), source="v")
    return lake


@pytest.mark.parametrize("idle", [True, False])
def test_a_delisting_that_is_told_on_a_day_without_bars(
    root: Path, calendar: TradingCalendar, idle: bool
) -> None:
    """idle: a run between, in which nothing came."""
    day = date(2019, 3, 6)
    first = calendar.known_at(day) + timedelta(minutes=5)
    names = contract("raw.instruments").conform(
        pl.DataFrame({"source": "v", "symbol": ["GONE", "LIVE"], "fetched_at": first,
                      "asset_class": "equity", "exchange": "XNYS", "currency": "USD"})
    )  # fmt: skip
    both = pl.concat([bars(calendar, "GONE", LAST, first), bars(calendar, "LIVE", day, first)])
    a_run(root, calendar, first, {"raw.prices": both, "raw.instruments": names})
    told = calendar.known_at(date(2019, 3, 7))

    def terminal(lake: Lake) -> list[date]:
        rows = lake.read("clean.prices").filter(pl.col("flags") & int(Flag.TERMINAL) != 0)
        return rows["date"].to_list()

    if idle:  # the vendor is late
        assert terminal(a_run(root, calendar, told + timedelta(minutes=5), {})) == [
            date(2019, 3, 4)
        ]
    later = told + timedelta(days=4)
    lake = a_run(
        root, calendar, later,
        {"raw.prices": bars(calendar, "LIVE", date(2019, 3, 8), later).tail(2)},
    )  # fmt: skip
    assert terminal(lake) == [date(2019, 3, 4)]
    row = lake.read("clean.prices").filter(pl.col("flags") & int(Flag.TERMINAL) != 0)
    assert row["known_at"].item() == told
