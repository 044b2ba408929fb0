"""Mandates, holdings, portfolios and trades."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Costs(BaseModel):
    """Trading costs, one-way, in basis points of the traded value."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    commission_bp: float = Field(1.0, ge=0)
    half_spread_bp: float = Field(4.0, ge=0)

    @property
    def one_way(self) -> float:
        """Cost per unit of traded value, as a decimal."""
        return (self.commission_bp + self.half_spread_bp) / 1e4


class GroupBound(BaseModel):
    """Bounds on the summed weight of a sector, or of named symbols."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    sector: str | None = None
    symbols: tuple[str, ...] = ()
    min_weight: float | None = None
    max_weight: float | None = None


class Mandate(BaseModel):
    """What a portfolio may do, as a person writes it in YAML.

    Weights are fractions of net asset value; turnover is one-way per rebalance
    (half the sum of absolute weight changes); ``holding_period_days`` is H of DESIGN §11, in
    sessions; ``risk_aversion`` is γ over the horizon; volatilities are annualised (252).

    Weights sum to ``budget − cash_buffer``. ``max_turnover`` does not apply to the first purchase;
    selling what left the universe and investing the proceeds comes on top of it.
    ``sector_max_weight`` caps every known sector; names without one are not capped by it.
    ``live: false`` is backtested only: no trades are proposed for it. ``equal_weight`` is 1/N, the
    benchmark's own rule.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    title: str
    objective: Literal["mean_variance", "min_variance", "equal_weight"] = "mean_variance"
    universe: str = "default"
    model: str = "ridge"
    base_currency: str = "USD"
    initial_nav: float = Field(10_000_000.0, gt=0)
    rebalance: Literal["week", "month", "quarter"] = "month"
    risk_aversion: float = Field(5.0, gt=0)
    holding_period_days: float = Field(60.0, gt=0)
    horizon_days: int = Field(20, gt=0)
    long_only: bool = True
    min_weight: float | None = None
    max_weight: float = Field(0.15, gt=0)
    budget: float = Field(1.0, gt=0)
    cash_buffer: float = Field(0.0, ge=0, lt=1)
    max_turnover: float | None = Field(None, gt=0)
    max_volatility: float | None = Field(None, gt=0)
    groups: tuple[GroupBound, ...] = ()
    sector_max_weight: float | None = Field(None, gt=0)
    fill: Literal["close", "open"] = "close"
    costs: Costs = Costs()
    live: bool = True
    note: str = ""

    @model_validator(mode="after")
    def _bounds(self) -> Mandate:
        if self.min_weight is not None and self.min_weight > self.max_weight:
            raise ValueError(
                f"min_weight {self.min_weight} is above max_weight {self.max_weight}; swap them"
            )
        return self


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
