"""What a report says of one portfolio beyond its performance: decision, limits, risk by part, orders.

Everything is as of the page's session; a part that has nothing to say is empty, and ``absent`` says why.
Weights, shares and results are decimals of net asset value unless a field says otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date

import polars as pl


@dataclass(frozen=True, slots=True)
class Certificate:
    """The solver's word on the last decision. violation, gap: None where nothing was solved."""

    decided: date
    kind: str
    status: str
    objective_kind: str
    solver: str
    iterations: int | None
    objective: float | None
    violation: float | None
    gap: float | None
    message: str


@dataclass(frozen=True, slots=True)
class Binding:
    """A limit that binds; price: gain of the objective, a return over the horizon, per unit loosened."""

    words: str
    kind: str
    price: float


@dataclass(frozen=True, slots=True)
class RiskPart:
    """One part of the forecast volatility. kind: name, sector, factor or specific."""

    kind: str
    name: str
    exposure: float | None
    component: float
    share: float | None


@dataclass(frozen=True, slots=True)
class StressLine:
    """Result of the holdings in a scenario; None where it cannot be computed."""

    title: str
    kind: str
    pnl: float | None
    proxied: float | None
    worst: str
    worst_pnl: float | None
    detail: str


@dataclass(frozen=True, slots=True)
class Liquidity:
    """Sessions until parts of the holdings are sold at ``participation`` of the dollar volume."""

    date: date
    participation: float
    days_50: float | None
    days_90: float | None
    days_100: float | None
    unknown_weight: float
    slowest: str


@dataclass(frozen=True, slots=True)
class Breach:
    """A limit that is missed at a stage (held, target or orders)."""

    stage: str
    words: str
    worst: str
    value: float | None
    bound: float | None


@dataclass(frozen=True, slots=True)
class Compliance:
    """Limits judged by stage: (stage, passed, all), and those that failed."""

    date: date
    stages: tuple[tuple[str, int, int], ...]
    breaches: tuple[Breach, ...]


@dataclass(frozen=True, slots=True)
class OrderList:
    """The order list of the last decision, in one row, and its largest orders (side, instrument,
    shares, value, cost, reason)."""

    date: date
    state: str
    orders: int
    dropped: int
    sells: float
    buys: float
    cost: float
    cash_after: float | None
    breaches: int
    message: str
    lines: tuple[tuple[str, str, float, float, float, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Shortfall:
    """Orders of one decision against what was modelled, in currency; filled: share of the shares."""

    decided: date
    until: date
    orders: int
    filled: float
    total: float | None
    modelled: float
    done: bool


@dataclass(frozen=True, slots=True)
class Dated:
    """A date of a held name."""

    date: date
    instrument: str
    kind: str
    detail: str


@dataclass(frozen=True, slots=True)
class Waterfall:
    """Linked effects of a window from nothing to the active return: (label, value), the residual last.

    scheme: sector or factor. total: what they add up to; active: the same of the net asset values.
    """

    scheme: str
    window: str
    steps: tuple[tuple[str, float], ...]
    active: float

    @property
    def total(self) -> float:
        return sum(v for _, v in self.steps)


def _nothing() -> pl.DataFrame:
    return pl.DataFrame()


@dataclass(frozen=True, slots=True)
class Book:
    """One portfolio.

    weights: ``date, instrument_id, weight`` at each decision of the backtest. rolling: ``date`` and
    ``volatility, tracking_error, active`` over 252 sessions (annualised; active: a year's return less
    that of 1/N). frontier: ``kind`` (frontier, target, held, benchmark, name), ``label, volatility,
    expected`` (annualised). absent: parts left out, each with a word why.
    """

    name: str
    title: str
    currency: str
    holding_assumed: float | None
    holding: float | None
    certificate: Certificate | None = None
    binding: tuple[Binding, ...] = ()
    waterfalls: tuple[Waterfall, ...] = ()
    risk_parts: tuple[RiskPart, ...] = ()
    risk_total: float | None = None
    risk_date: date | None = None
    stress: tuple[StressLine, ...] = ()
    stress_date: date | None = None
    liquidity: Liquidity | None = None
    compliance: Compliance | None = None
    orders: OrderList | None = None
    shortfall: tuple[Shortfall, ...] = ()
    calendar: tuple[Dated, ...] = ()
    weights: pl.DataFrame = field(default_factory=_nothing)
    rolling: pl.DataFrame = field(default_factory=_nothing)
    frontier: pl.DataFrame = field(default_factory=_nothing)
    absent: tuple[tuple[str, str], ...] = ()
