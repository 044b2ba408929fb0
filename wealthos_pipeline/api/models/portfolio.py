"""Portfolios: net asset value, targets, trades, risk."""

from __future__ import annotations

import datetime as dt
from typing import Literal

from pydantic import Field

from wealthos_pipeline.api.models.base import Answer, Page

RunKind = Literal["live", "backtest"]


class MandateEntry(Answer):
    """One mandate of the published run."""

    mandate: str
    run_kinds: tuple[str, ...] = Field(description="live, backtest")
    last_decision: dt.date | None = None
    status: str | None = Field(
        None, description="optimal, softened, rule, infeasible, held or failed"
    )


class MandatePage(Page):
    """Mandates in the order of their names."""

    items: tuple[MandateEntry, ...]


class NavPoint(Answer):
    """One session. Returns are simple and decimal."""

    date: dt.date
    nav: float
    return_net: float | None
    return_gross: float | None
    cost: float
    turnover: float = Field(description="one-way, of NAV")
    cash: float
    names: int


class NavPage(Page):
    """Sessions in order."""

    mandate: str
    run_kind: RunKind
    items: tuple[NavPoint, ...]


class Solve(Answer):
    """What the optimiser said at the last decision."""

    date: dt.date
    status: str
    objective_kind: str = Field(description="what was optimised, as the mandate names it")
    solver: str | None
    objective: float | None
    violation: float | None
    gap: float | None
    volatility: float | None = Field(description="forecast, annualised by √252")
    turnover: float | None
    ic: float | None
    message: str | None


class Target(Answer):
    """One target weight of the last decision. Weights are fractions of NAV."""

    instrument_id: str
    symbol: str | None
    weight_before: float
    weight: float
    weight_benchmark: float
    alpha: float = Field(description="expected return over the horizon, decimal")
    volatility: float
    risk_contribution: float = Field(description="share of the portfolio's variance")


class Proposal(Answer):
    """One proposed trade of the last decision with its reason."""

    instrument_id: str
    symbol: str | None
    side: str
    weight_before: float
    weight: float
    value: float
    units: float
    cost: float
    reason: str


class Binding(Answer):
    """One limit that binds at the last decision."""

    limit: str
    kind: str
    words: str
    value: float | None = Field(description="its bound; null where names have different ones")
    price: float | None = Field(description="objective gained per unit that it is loosened")


class Checked(Answer):
    """One limit, measured at what is held, at the targets or at the rounded orders."""

    stage: str = Field(description="held, target or orders")
    limit: str
    words: str
    worst: str | None
    value: float | None
    bound: float | None
    passed: bool


class Risk(Answer):
    """The last one-day forecast. Losses are positive, decimal."""

    date: dt.date
    volatility: float | None
    var_95: float | None
    var_99: float | None
    cvar_95: float | None
    cvar_99: float | None


class Portfolio(Answer):
    """A mandate as of its last decision."""

    run_id: str
    mandate: str
    run_kind: RunKind
    as_of: dt.date
    nav: NavPoint | None = Field(description="last session; the series is at …/nav")
    solve: Solve | None
    targets: tuple[Target, ...]
    trades: tuple[Proposal, ...]
    binding: tuple[Binding, ...] = Field(description="what binds, dearest first")
    compliance: tuple[Checked, ...] = Field(description="every limit at every stage")
    risk: Risk | None
    sector_static: str | None = Field(
        description="which snapshot the sectors of limits and scores are from; null: none is one"
    )
