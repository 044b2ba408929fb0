"""Orders are made from the problem that was solved: their stage reads what the decision had read."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest
from pipeline import MemoryLake, settings

from assets import holdings
from assets._shared.stage import Work
from wealthos_pipeline.core.data import contract
from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.portfolio import pretrade


def test_objectives_of_past_returns_get_them(
    tmp_path: Path, calendar: TradingCalendar, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tail.yaml").write_text("name: tail\ntitle: Tail\nobjective: cvar\n")
    config = settings(tmp_path)
    days = calendar.sessions(date(2017, 1, 3), date(2018, 6, 29))
    lake = MemoryLake(calendar)
    table = contract("clean.prices")
    lake.frames["clean.prices"] = pl.DataFrame(
        {"instrument_id": ["A"] * len(days), "date": days, "flags": [0] * len(days)}
    ).with_columns(
        pl.lit(None, dtype=kind).alias(name)
        for name, kind in table.schema().items()
        if name not in ("instrument_id", "date", "flags")
    )
    names = contract("clean.instruments")
    lake.frames["clean.instruments"] = pl.DataFrame(
        {"instrument_id": ["A"], "asset_class": ["equity"]}
    ).with_columns(
        pl.lit(None, dtype=kind).alias(name)
        for name, kind in names.schema().items()
        if name not in ("instrument_id", "asset_class")
    )
    seen: dict[str, Any] = {}

    def run(*given: Any, **more: Any) -> dict[str, pl.DataFrame]:
        seen.update(more)
        return {"order_lists": pl.DataFrame()}

    monkeypatch.setattr(pretrade, "run", run)
    session: Any = SimpleNamespace(
        settings=config, lake=lake, calendar=calendar, live=False, now=calendar.known_at(days[-1])
    )
    holdings._orders({}).compute(Work(session, None))
    reach = calendar.slot(days[-1]) - calendar.slot(seen["prices"]["date"].min())
    assert reach > config.portfolio.risk_sessions
