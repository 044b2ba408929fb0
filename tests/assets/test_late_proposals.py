"""A proposal that was good last evening is not good once newer prices should have come."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from wealthos_pipeline.core.data import contract
from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.data.storage.lake import Lake
from wealthos_pipeline.data.storage.run import Run
from wealthos_pipeline.utils.config import load_settings


@pytest.mark.parametrize(
    ("kind", "later", "due"),
    [("live", 0, False), ("live", 1, True), ("backtest", 1, False), (None, 1, False)],
)
def test_stored_trades_on_late_prices_are_decided_anew(
    tmp_path: Path, calendar: TradingCalendar, kind: str | None, later: int, *, due: bool
) -> None:
    from assets._shared.resources import Session
    from assets.portfolio import _proposed_too_late

    last = date(2024, 3, 6)
    now = calendar.known_at(calendar.offset(last, later)) + timedelta(hours=1)
    settings = load_settings(root=tmp_path)
    lake = Lake(tmp_path, calendar=calendar)
    bars: dict[str, Any] = {
        "instrument_id": "A", "date": last, "slot": calendar.slot(last), "close": 1.0,
        "split_ratio": 1.0, "split_index": 1.0, "tr_index": 1.0, "flags": 0, "currency": "USD",
        "source": "v", "basis": "assumed", "known_at": calendar.known_at(last),
    }  # fmt: skip
    trade: dict[str, Any] = {
        "mandate": "m", "run_kind": kind, "date": last, "instrument_id": "A", "side": "sell",
        "weight_before": 0.1, "weight": 0.0, "reason": "lowers risk", "value": -1.0, "units": -1.0,
        "cost": 0.0, "alpha_part": 0.0, "risk_part": 0.0, "cost_part": 0.0, "constraint_part": 0.0,
    }  # fmt: skip
    with Run.open(lake, settings, now=now) as run:
        session = Session(settings, run, lake, calendar, None, now)  # type: ignore[arg-type]
        session.__dict__["live"] = True
        lake.append("clean.prices", contract("clean.prices").conform(pl.DataFrame([bars])))
        if kind is not None:
            trades = contract("portfolio.trades").conform(pl.DataFrame([trade]))
            lake.append("portfolio.trades", trades)
        assert _proposed_too_late(session) == (last if due else None)
