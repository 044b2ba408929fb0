"""How a portfolio did and what it risked: the one door to what the modules beside this one compute.

``returns`` (time- and money-weighted, the risk-free rate), ``ratios`` (alone, by year, against a benchmark, rolling; all
conventions stand there), ``drawdowns``, ``paths`` (resampled futures), ``value_at_risk`` and ``var_exceptions``.
"""

from __future__ import annotations

from datetime import date

import polars as pl

from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.portfolio import value_at_risk
from wealthos_pipeline.portfolio.drawdowns import drawdown, drawdown_table, drawdowns
from wealthos_pipeline.portfolio.panel import Panel
from wealthos_pipeline.portfolio.paths import Paths, paths
from wealthos_pipeline.portfolio.ratios import by_year, relative, rolling, summary
from wealthos_pipeline.portfolio.returns import (
    MoneyWeighted,
    modified_dietz,
    money_weighted,
    risk_free,
    session_returns,
    since,
    time_weighted,
    window_return,
    xirr,
)
from wealthos_pipeline.portfolio.value_at_risk import VarForecasts
from wealthos_pipeline.portfolio.var_exceptions import var_exceptions
from wealthos_pipeline.utils.config import PortfolioSettings

__all__ = [
    "MoneyWeighted",
    "Paths",
    "VarForecasts",
    "by_year",
    "drawdown",
    "drawdown_table",
    "drawdowns",
    "modified_dietz",
    "money_weighted",
    "paths",
    "relative",
    "risk_free",
    "rolling",
    "session_returns",
    "since",
    "summary",
    "time_weighted",
    "var_exceptions",
    "var_forecasts",
    "window_return",
    "xirr",
]


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

    The methods are those of ``var_methods``. positions: ``portfolio.positions`` rows, from the last
    snapshot before ``start`` − 1 session on. nav: ``portfolio.nav`` rows from ``start`` − 1 session on
    (its dates are those forecast). prices: rows reaching ``settings.var_sessions`` + 2 sessions before
    ``start``.
    """
    return value_at_risk.forecasts(positions, nav, prices, calendar, settings, start=start, end=end)
