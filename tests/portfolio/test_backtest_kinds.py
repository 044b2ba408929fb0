"""Mandates of every kind: a resumed run is the whole run, money reconciles, returns are explained."""

from __future__ import annotations

from datetime import date
from typing import Any

import numpy as np
import polars as pl
import pytest
from portfolio_market import Market

from wealthos_pipeline.core.portfolio import Mandate
from wealthos_pipeline.portfolio import accounts, attribution, backtest, held
from wealthos_pipeline.portfolio.backtest import State
from wealthos_pipeline.portfolio.decision import ACTS
from wealthos_pipeline.portfolio.panel import build

TABLES = ("targets", "solves", "trades", "positions", "nav", "events")
SHORTS = {"long_only": False, "max_weight": 0.2, "max_gross": 1.6}
KINDS: dict[str, dict[str, Any]] = {
    "long_short": {
        **SHORTS, "rebalance": "week", "costs": {"borrow_bp": 300.0, "impact": 0.5},
        "max_participation": 0.05, "fill_participation": 0.02, "fill": "open",
    },
    "neutral": {**SHORTS, "budget": 0.0, "max_beta": 0.1, "min_beta": -0.1},
    "cvar": {"objective": "cvar", "max_weight": 0.2},
    "risk_budget": {"objective": "risk_budget", "max_weight": 0.5, "rebalance": "quarter"},
    "hrp": {"objective": "hrp", "max_weight": 1.0, "rebalance": "quarter"},
    "tracking": {"objective": "tracking_error", "max_weight": 0.2, "max_turnover": 0.1},
}  # fmt: skip


def bound(market: Market, kind: str) -> tuple[Mandate, date]:
    mandate = Mandate.model_validate({"name": kind, "title": kind, **KINDS[kind]})
    first = market.run(mandate, end=sorted(market.risk_models)[4]).nav["date"][0]
    return mandate, market.calendar.offset(first, 90 if mandate.rebalance == "quarter" else 25)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_mandate_resumes_and_adds_up(market: Market, kind: str) -> None:
    mandate, end = bound(market, kind)
    whole = market.run(mandate, end=end)
    assert whole.solves["status"].is_in(ACTS).any()
    assert whole.events.filter(pl.col("kind") == "buy").height > 0
    decided = whole.solves["date"].to_list()
    last = decided[-1] if decided[-1] < end else decided[-2]
    for start in (last, market.calendar.offset(last, 1)):
        past = {t: getattr(whole, t).filter(pl.col("date") < start) for t in ("positions", "nav")}
        reach = market.calendar.offset(start, -backtest.lookback(mandate, market.settings))
        rest = market.run(
            mandate,
            prices=market.prices.filter(pl.col("date") >= reach),
            state=State(**past),
            start=start,
            end=end,
        )
        for table in TABLES:
            rows = getattr(whole, table).filter(pl.col("date") >= start)
            assert getattr(rest, table).equals(rows), f"{kind}: {table} resumed at {start}"
    panel = build(market.prices, market.calendar)
    off = accounts.reconcile(whole.events, whole.positions, whole.nav, panel)
    assert (
        accounts.faults(off, whole.nav, market.calendar.sessions(whole.nav["date"][0], end)) == []
    )
    explained(market, whole)


def explained(market: Market, run: backtest.Backtest) -> None:
    """Weights and cash are 1; every return is explained; trading is nothing where nothing was filled."""
    panel = build(market.prices, market.calendar)
    (book,) = held.of(run.positions, run.nav, panel, market.calendar)
    np.testing.assert_allclose(book.weights.sum(axis=1) + book.cash, 1.0, atol=1e-8)
    lines = attribution.daily(
        run.positions,
        run.nav,
        market.prices,
        market.instruments,
        market.calendar,
        models=market.risk_models,
        schemes=attribution.SCHEMES,
        charges=attribution.charges_of(run.events),
    )
    left = lines.filter(pl.col("effect") == "residual")
    assert left.height > 40
    assert left["value"].abs().max() <= 1e-12
    fills = run.events.filter(pl.col("kind").is_in(["buy", "sell"]))["date"].unique().to_list()
    idle = lines.filter((pl.col("effect") == "trading") & ~pl.col("date").is_in(fills))
    assert idle.height > 20
    assert idle["value"].abs().max() < 1e-8
