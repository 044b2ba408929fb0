"""Where the active return came from: daily Brinson–Fachler by sector against 1/N."""

from __future__ import annotations

from datetime import date

import polars as pl

from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.portfolio.panel import Panel


def daily(
    positions: pl.DataFrame,
    nav: pl.DataFrame,
    prices: pl.DataFrame | Panel,
    instruments: pl.DataFrame,
    calendar: TradingCalendar,
    *,
    benchmark: str = "equal_weight",
    start: date | None = None,
    end: date | None = None,
) -> pl.DataFrame:
    """``portfolio.attribution`` rows of every mandate but the benchmark, dates in [start, end].

    positions, nav: rows of mandates and benchmark, reaching one session before ``start``
    (positions: the last snapshot before it).
    prices: rows reaching ``backtest.LOOKBACK`` sessions before ``start``.
    """
    raise NotImplementedError


def linked(
    attribution: pl.DataFrame,
    nav: pl.DataFrame,
    *,
    benchmark: str = "equal_weight",
    start: date | None = None,
    end: date | None = None,
) -> pl.DataFrame:
    """Carino-linked effects of a period: ``mandate, run_kind, effect, group, value``.

    They add up to the difference of the two compounded returns.
    """
    raise NotImplementedError
