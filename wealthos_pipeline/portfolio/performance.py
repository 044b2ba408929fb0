"""How a portfolio did: ratios, drawdowns, value at risk and its exceptions."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import polars as pl

from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.portfolio.panel import Panel
from wealthos_pipeline.utils.config import PortfolioSettings


@dataclass(frozen=True, eq=False)
class VarForecasts:
    """Rows of ``portfolio.risk`` (dates ≥ start) and ``portfolio.risk_outcomes``.

    outcomes_start: first forecast date that ``outcomes`` covers: the session before ``start``,
    whose result is known from the bar of ``start``. Replace ``risk_outcomes`` from this date on.
    """

    risk: pl.DataFrame
    outcomes: pl.DataFrame
    outcomes_start: date | None


def var_forecasts(
    positions: pl.DataFrame,
    nav: pl.DataFrame,
    prices: pl.DataFrame | Panel,
    calendar: TradingCalendar,
    settings: PortfolioSettings,
    *,
    start: date | None = None,
    end: date | None = None,
) -> VarForecasts:
    """Value at risk of the holdings of each close, for every mandate in ``positions``.

    positions: ``portfolio.positions`` rows, from the last snapshot before ``start`` − 1 session on.
    nav: ``portfolio.nav`` rows from ``start`` − 1 session on.
    prices: rows reaching ``settings.var_sessions`` + 2 sessions before ``start``.
    """
    raise NotImplementedError


def var_exceptions(risk: pl.DataFrame, outcomes: pl.DataFrame) -> pl.DataFrame:
    """``mandate, run_kind, level, forecasts, exceptions, expected, rate, kupiec_lr, kupiec_p``."""
    raise NotImplementedError


def summary(nav: pl.DataFrame, rf: pl.DataFrame | None = None) -> pl.DataFrame:
    """One row a mandate and run kind. rf: ``date, rf`` (decimal a session) or None."""
    raise NotImplementedError


def by_year(nav: pl.DataFrame, rf: pl.DataFrame | None = None) -> pl.DataFrame:
    """One row a mandate, run kind and calendar year: the columns of ``summary`` and ``year``."""
    raise NotImplementedError


def drawdowns(nav: pl.DataFrame) -> pl.DataFrame:
    """``mandate, run_kind, date, drawdown`` (≤ 0, decimal)."""
    raise NotImplementedError


def risk_free(series: pl.DataFrame, calendar: TradingCalendar) -> pl.DataFrame | None:
    """``date, rf`` (decimal a session) from ``clean.series``; None where there is no such series."""
    raise NotImplementedError
