"""What a backtest reads, in one object: for the portfolio tests."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Any

import polars as pl

from wealthos_pipeline.core.portfolio import Mandate
from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.portfolio import backtest, risk
from wealthos_pipeline.utils.config import PortfolioSettings

SETTINGS = PortfolioSettings(
    risk_sessions=252, risk_half_life=63, risk_factors=5, var_sessions=120, ic_sessions=250
)
SECTORS = ("Energy", "Financials", "Health Care", "Industrials", "Technology")


@dataclass(frozen=True)
class Market:
    """Everything that a backtest reads."""

    prices: pl.DataFrame
    universe: pl.DataFrame
    instruments: pl.DataFrame
    predictions: pl.DataFrame
    evaluation: pl.DataFrame
    risk_models: dict[date, risk.RiskModel]
    calendar: TradingCalendar
    settings: PortfolioSettings

    @property
    def last(self) -> date:
        return self.prices["date"].max()  # type: ignore[return-value]

    def run(self, mandate: Mandate, **changes: Any) -> backtest.Backtest:
        """The backtest of ``mandate``; keywords replace inputs or go to ``backtest.run``."""
        given = {
            "prices": self.prices,
            "universe": self.universe,
            "predictions": self.predictions,
            "evaluation": self.evaluation,
            "instruments": self.instruments,
            "risk_models": self.risk_models,
            "calendar": self.calendar,
            "settings": self.settings,
            **changes,
        }
        return backtest.run(mandate, **given)
