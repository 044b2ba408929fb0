"""What a mandate should do on the latest date: targets, a certificate, trades with reasons."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import polars as pl

from wealthos_pipeline.core.portfolio import Mandate
from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.portfolio.backtest import State
from wealthos_pipeline.portfolio.panel import Panel
from wealthos_pipeline.portfolio.risk import RiskModel
from wealthos_pipeline.utils.config import PortfolioSettings


@dataclass(frozen=True, eq=False)
class Proposal:
    """Rows of ``portfolio.targets``, ``.solves`` and ``.trades`` with ``run_kind = 'live'``."""

    targets: pl.DataFrame
    solves: pl.DataFrame
    trades: pl.DataFrame


def propose(
    mandate: Mandate,
    *,
    date: date,
    prices: pl.DataFrame | Panel,
    universe: pl.DataFrame,
    predictions: pl.DataFrame,
    evaluation: pl.DataFrame,
    instruments: pl.DataFrame,
    risk_model: RiskModel | None,
    holdings: pl.DataFrame | None,
    paper: State | None,
    calendar: TradingCalendar,
    settings: PortfolioSettings,
) -> Proposal:
    """Targets and trades for the close of ``date``."""
    raise NotImplementedError
