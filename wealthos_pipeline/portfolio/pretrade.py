"""From the last live decisions to compliance and order lists: what the stage of the orders runs.

The problem of each decision is put together again from the same frames, so that what is checked is what was
solved; the weights are those that were stored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import numpy as np
import polars as pl

from wealthos_pipeline.core.errors import PortfolioError
from wealthos_pipeline.core.mandate import Mandate
from wealthos_pipeline.portfolio import decision, live, orders
from wealthos_pipeline.portfolio.backtest import State
from wealthos_pipeline.portfolio.orders import OrderList
from wealthos_pipeline.portfolio.risk import RiskModel

STORED = ("targets", "solves", "trades", "positions", "nav")
"""Portfolio tables that are read."""


def run(
    mandates: Sequence[Mandate],
    stored: Mapping[str, pl.DataFrame],
    *,
    end: date,
    predictions: pl.DataFrame,
    holdings: pl.DataFrame,
    universe: pl.DataFrame,
    risk_model: RiskModel | None,
    warnings: Mapping[str, str] | None = None,
    **situation: Any,
) -> dict[str, pl.DataFrame]:
    """Rows of ``portfolio.compliance, orders, order_lists`` of every mandate with a decision on ``end``.

    stored: ``STORED``. The others, and ``situation``, are those of ``live.situate`` (prices, evaluation, instruments,
    calendar, settings, late, lots, scores, others), all mandates together. warnings: what a person should know of the
    holdings, by mandate (``holdings_prices.warnings``).
    """
    lists = []
    for mandate in mandates:
        mine = {
            name: rows.filter(pl.col("mandate") == mandate.name) for name, rows in stored.items()
        }
        solve = _live(mine["solves"], end)
        if not mandate.live or not solve.height:
            continue
        own = holdings.filter(pl.col("mandate") == mandate.name)
        paper = {
            name: mine[name].filter(pl.col("run_kind") == "backtest")
            for name in ("positions", "nav")
        }
        seen, obstacle = live.situate(
            mandate,
            date=end,
            universe=universe.filter(pl.col("date") == end),
            predictions=predictions.filter((pl.col("kind") == "live") & (pl.col("date") == end)),
            risk_model=risk_model,
            holdings=own if own.height else None,
            paper=State(paper["positions"], paper["nav"]) if paper["nav"].height else None,
            **situation,
        )  # fmt: skip
        volume = average_volume(situation["prices"], end)
        note = (warnings or {}).get(mandate.name)
        row = solve.row(0, named=True)
        lists.append(_of(mandate, seen, obstacle, row, mine, end, volume, note))
    return orders.joined(lists)


def _of(
    mandate: Mandate,
    seen: decision.Situation,
    obstacle: str | None,
    solve: Mapping[str, Any],
    mine: Mapping[str, pl.DataFrame],
    end: date,
    volume: Mapping[str, float],
    note: str | None,
) -> OrderList:
    status, message = str(solve["status"]), solve["message"]
    targets = _live(mine["targets"], end)
    if obstacle is not None or seen.risk is None or not targets.height:
        return orders.refused(mandate.name, end, status, message)
    try:
        p = decision.problem(mandate, seen, seen.risk)
    except PortfolioError as error:
        return orders.refused(mandate.name, end, status, f"{message or ''} {error}".strip())
    decided = dict(targets.select("instrument_id", "weight").iter_rows())
    before = dict(targets.select("instrument_id", "weight_before").iter_rows())
    lost = sorted({*p.ids} ^ {*decided})
    moved = [i for i in p.ids if i in before and abs(before[i] - p.w0[p.ids.index(i)]) > 1e-9]
    if lost or moved:
        names = ", ".join((lost or moved)[:5])
        return orders.refused(
            mandate.name, end, status,
            f"what is held now is not what the decision saw ({names}): run again before orders are made",
        )  # fmt: skip
    trades = _live(mine["trades"], end)
    return orders.make(
        mandate,
        seen,
        p,
        np.array([decided[i] for i in p.ids], dtype=np.float64),
        decision=status,
        reasons=dict(trades.select("instrument_id", "reason").iter_rows()),
        message=message,
        volume=volume,
        note=note,
    )


VOLUME_SESSIONS = 21
"""Bars over which traded value is averaged: a month."""


def average_volume(prices: pl.DataFrame, end: date) -> dict[str, float]:
    """Mean dollar volume of the last bars by name, where there is any; empty without the column."""
    if "dollar_volume" not in prices.columns:
        return {}
    known = prices.filter((pl.col("date") <= end) & (pl.col("dollar_volume") > 0))
    mean = (
        known.sort("instrument_id", "date")
        .group_by("instrument_id", maintain_order=True)
        .agg(pl.col("dollar_volume").tail(VOLUME_SESSIONS).mean())
    )
    return dict(mean.iter_rows())


def _live(rows: pl.DataFrame, end: date) -> pl.DataFrame:
    return rows.filter((pl.col("run_kind") == "live") & (pl.col("date") == end))
