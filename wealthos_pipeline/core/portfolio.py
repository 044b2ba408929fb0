"""Mandates, holdings, portfolios and trades."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from wealthos_pipeline.core.mandate import Costs, GroupBound, Mandate

__all__ = ["Costs", "GroupBound", "Holding", "Mandate", "Portfolio", "Trade"]


@dataclass(frozen=True, slots=True)
class Holding:
    """Units of one instrument held at the close of ``date``."""

    mandate: str
    date: date
    instrument_id: str
    units: float


@dataclass(frozen=True, slots=True)
class Portfolio:
    """What a mandate holds at the close of ``date``: units by instrument, and cash."""

    mandate: str
    date: date
    currency: str
    cash: float
    holdings: tuple[Holding, ...]


@dataclass(frozen=True, slots=True)
class Trade:
    """A proposed change of weight with the reason for it, in words."""

    mandate: str
    date: date
    instrument_id: str
    weight_before: float
    weight_target: float
    estimated_cost: float
    reason: str
