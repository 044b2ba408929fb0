"""Backtest of a mandate: decisions at the close of t, fills at t + 1, full costs, drift between."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

import polars as pl

from wealthos_pipeline.core.portfolio import Mandate
from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.portfolio.panel import Panel
from wealthos_pipeline.portfolio.risk import RiskModel
from wealthos_pipeline.utils.config import PortfolioSettings

EQUAL_WEIGHT: Mandate
"""1/N of the universe, rebalanced monthly with costs: run it through ``run`` like any mandate."""


@dataclass(frozen=True, eq=False)
class State:
    """Where a run resumes: rows of the mandate dated before the run's ``start``.

    positions: ``portfolio.positions`` rows (at least those of the last date before ``start``).
    nav: ``portfolio.nav`` rows (at least the last before ``start``).
    """

    positions: pl.DataFrame
    nav: pl.DataFrame


@dataclass(frozen=True, eq=False)
class Backtest:
    """Rows of the five tables ``portfolio.targets, solves, trades, positions, nav``."""

    targets: pl.DataFrame
    solves: pl.DataFrame
    trades: pl.DataFrame
    positions: pl.DataFrame
    nav: pl.DataFrame


def run(
    mandate: Mandate,
    prices: pl.DataFrame | Panel,
    universe: pl.DataFrame,
    predictions: pl.DataFrame,
    evaluation: pl.DataFrame,
    instruments: pl.DataFrame,
    risk_models: Mapping[date, RiskModel],
    calendar: TradingCalendar,
    settings: PortfolioSettings,
    *,
    state: State | None = None,
    start: date | None = None,
    end: date | None = None,
) -> Backtest:
    """Rows of dates in [start, end]; None: everything.

    prices: ``clean.prices`` rows reaching at least ``LOOKBACK`` sessions before ``start``.
    universe: ``date, instrument_id``; only decision dates are read.
    risk_models: at month-ends at least (others are ignored: they would not be there tomorrow).
    state: None starts with cash at the first month-end that has a risk model.
    """
    raise NotImplementedError
