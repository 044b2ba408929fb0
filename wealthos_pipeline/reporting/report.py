"""What a report says, as plain data: numbers and facts, no words of layout.

Returns, volatilities, weights and shares are decimals; volatilities are annualised by √252; money
is in the mandate's currency. None means that there is nothing to say, and ``why`` or a note says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from datetime import date as Date  # noqa: N812  Report has a field called date
from typing import TYPE_CHECKING, Literal

from wealthos_pipeline.market_monitor.evidence import Mean
from wealthos_pipeline.reporting.book import Book
from wealthos_pipeline.reporting.words import short_run

if TYPE_CHECKING:
    import polars as pl

    from wealthos_pipeline.data.sources.base import SourceInfo

Status = Literal["complete", "degraded", "blocked"]


@dataclass(frozen=True, slots=True)
class Alert:
    """One row of ``monitor.alerts``; ``new``: it was not there the last time."""

    name: str
    subject: str
    severity: str
    text: str
    new: bool = False


@dataclass(frozen=True, slots=True)
class Move:
    """A number that changed: of a target (owner: mandate) or a prediction (owner: model)."""

    owner: str
    instrument: str
    before: float
    after: float

    @property
    def change(self) -> float:
        return self.after - self.before


@dataclass(frozen=True, slots=True)
class Explained:
    """A number that changed, and why. kind: ``target`` (weight) or ``prediction`` (z).

    parts: (cause, its share of ``after - before``); with ``residual`` they add up to it.
    """

    kind: str
    owner: str
    instrument: str
    before: float
    after: float
    parts: tuple[tuple[str, float], ...]
    residual: float

    @property
    def change(self) -> float:
        return self.after - self.before


@dataclass(frozen=True, slots=True)
class Causes:
    """This run compared with the run before, number by number.

    moves: the largest of each owner. turnover: by mandate, one-way, over all names. residual: the
    largest that is left unexplained, by kind, over all names. same: nothing differs that could move
    a number. why: the reason why the comparison could not be made, '' if it was.
    """

    against: str
    facts: tuple[str, ...] = ()
    moves: tuple[Explained, ...] = ()
    turnover: Mapping[str, float] | None = None
    residual: Mapping[str, float] | None = None
    notes: tuple[str, ...] = ()
    same: bool = False
    why: str = ""


@dataclass(frozen=True, slots=True)
class Changes:
    """What changed since the run before, or since the session before where no run is on record.

    against: what it is compared with, in words; None on a first run (``why`` says so). causes: the
    explanation of the change, None where it was not asked for or there is no run before.
    """

    against: str | None
    why: str
    facts: tuple[str, ...] = ()
    targets: tuple[Move, ...] = ()
    predictions: tuple[Move, ...] = ()
    turnover: Mapping[str, float] | None = None
    alerts_gone: int = 0
    causes: Causes | None = None


@dataclass(frozen=True, slots=True)
class TradeLine:
    """One proposed trade. value, units, cost: signed value and units; cost ≥ 0."""

    instrument: str
    side: str
    weight_before: float
    weight: float
    value: float
    units: float
    cost: float
    reason: str


@dataclass(frozen=True, slots=True)
class Proposal:
    """What the optimiser proposes for a mandate, or why it cannot."""

    mandate: str
    title: str
    currency: str
    kind: str
    decided: date | None
    status: str
    message: str
    turnover: float | None
    ic: float | None
    trades: tuple[TradeLine, ...]

    @property
    def cost(self) -> float:
        return sum(t.cost for t in self.trades)

    @property
    def traded(self) -> float:
        return sum(abs(t.value) for t in self.trades)


@dataclass(frozen=True, slots=True)
class Track:
    """Performance of one NAV series (net of costs) over its own dates, by ``portfolio.performance``.

    sharpe is against 0; sharpe_excess is over the risk-free rate, on the share risk_free_share of the
    sessions for which one is known, the last of them risk_free_until; None where there is none.
    Drawdowns are positive decimals. holding: sessions, 1 / one-way turnover a session.
    """

    start: date
    end: date
    nav: float
    returns: Mapping[str, float | None]
    annual_return: float | None
    volatility: float | None
    sharpe: float | None
    sharpe_excess: float | None
    risk_free_share: float
    risk_free_until: date | None
    max_drawdown: float
    max_drawdown_at: date
    drawdown: float
    turnover: float | None
    holding: float | None
    cost: float | None
    names: int


@dataclass(frozen=True, slots=True)
class Exceptions:
    """VaR exceptions in one window: observed, expected and Kupiec's p."""

    window: str
    level: float
    n: int
    observed: int
    expected: float
    p: float | None


@dataclass(frozen=True, slots=True)
class Risk:
    """The latest forecast, one session ahead; losses are positive decimals."""

    date: date
    volatility: float | None
    var_95: float | None
    var_99: float | None
    cvar_95: float | None
    cvar_99: float | None


@dataclass(frozen=True, slots=True)
class Contribution:
    """One name of a target portfolio."""

    instrument: str
    weight: float
    benchmark: float
    share: float


@dataclass(frozen=True, slots=True)
class Attribution:
    """Effects linked over a window of sessions; ``active``: the difference of the two returns over it
    by the NAVs, compounded, which the effects must reproduce."""

    window: str
    sessions: int
    effects: tuple[tuple[str, float], ...]
    sectors: tuple[tuple[str, float, float], ...]
    active: float | None

    @property
    def total(self) -> float:
        return sum(v for _, v in self.effects)


@dataclass(frozen=True, slots=True)
class MandateReport:
    """Everything about one mandate. Fields are None where a table has nothing about it."""

    name: str
    title: str
    note: str
    track: Track | None
    benchmark: Track | None
    risk: Risk | None
    exceptions: tuple[Exceptions, ...]
    contributions: tuple[Contribution, ...]
    contributions_at: date | None
    attribution: tuple[Attribution, ...]
    why: str = ""
    holding_assumed: float | None = None


@dataclass(frozen=True, slots=True)
class SignalLine:
    instrument: str
    signal: str
    value: float
    threshold: float


@dataclass(frozen=True, slots=True)
class Level:
    """Last value of a series: now, a month and a year before (None where there is none)."""

    label: str
    date: date
    value: float
    month: float | None
    year: float | None
    unit: str


@dataclass(frozen=True, slots=True)
class Pick:
    """One row of ``monitor.opportunities``."""

    rank: int
    instrument: str
    score: float
    note: str


@dataclass(frozen=True, slots=True)
class Market:
    """Regime, scan, rates."""

    regime: str
    p_turbulent: float | None
    regime_since: date | None
    refit_date: date | None
    counts: Mapping[str, int]
    signals: tuple[SignalLine, ...]
    levels: tuple[Level, ...]
    curve: tuple[tuple[str, float, float | None, float | None], ...]
    curve_date: date | None
    no_curve: str
    opportunities: tuple[Pick, ...]
    opportunities_at: date | None


@dataclass(frozen=True, slots=True)
class Skill:
    """One model or factor: rank IC over everything known, and over the last 252 known dates."""

    name: str
    title: str
    horizon: int
    all: Mean
    recent: Mean
    spread: float | None
    fitted: str = ""


@dataclass(frozen=True, slots=True)
class Health:
    """Coverage, quarantine, checks and staleness of the data.

    adjusted: rule, field, rows, instruments, last date. gaps: kind, how many, last first day. failures:
    of the run: reason, what stands in its place, names, how many. behind: symbol, last bar, sessions. unserved:
    sentences about prices, or whole sources, that should have come with this run and did not.
    """

    coverage: tuple[tuple[str, int, int | None], ...]
    quarantine: tuple[tuple[str, str, int, date], ...]
    checks: tuple[tuple[str, int, int, int], ...]
    failed: tuple[tuple[str, str, str, int, int], ...]
    stale: tuple[str, ...]
    missing: tuple[tuple[str, str], ...]
    notes: tuple[str, ...] = ()
    adjusted: tuple[tuple[str, str, int, int, date], ...] = ()
    gaps: tuple[tuple[str, int, date], ...] = ()
    failures: tuple[tuple[str, str, str, int], ...] = ()
    behind: tuple[tuple[str, date, int], ...] = ()
    unserved: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Age:
    """A part of the page that speaks of an earlier session than the page: how old, in sessions.

    anchor: the section that it stands in.
    """

    anchor: str
    what: str
    date: date
    sessions: int

    @property
    def words(self) -> str:
        """One sentence."""
        sessions = f"{self.sessions} session{'s' if self.sessions > 1 else ''}"
        return f"{self.what}: as of {self.date}, {sessions} before the prices."


def _no_health() -> pl.DataFrame:
    import polars as pl

    return pl.DataFrame(schema={"month": pl.Date()})


@dataclass(frozen=True, slots=True)
class Series:
    """Frames behind the charts; every one may be empty.

    nav: mandate, date, nav. outcomes: mandate, date, pnl_next, var_99, exception_99. regime: date,
    p_turbulent. health: month and the share of bars of each mark (``data.processors.health``).
    """

    nav: pl.DataFrame
    outcomes: pl.DataFrame
    regime: pl.DataFrame
    health: pl.DataFrame = field(default_factory=_no_health)


@dataclass(frozen=True)
class Report:
    """One report. ``date`` is the session it speaks for; ``past``: rebuilt for an earlier day."""

    date: Date
    as_of: Date | None
    run_id: str
    code_version: str
    config_hash: str
    status: Status
    reasons: tuple[str, ...]
    past: bool
    source: SourceInfo
    labels: Mapping[str, str]
    names: Mapping[str, str]
    changes: Changes
    alerts: tuple[Alert, ...]
    proposals: tuple[Proposal, ...]
    mandates: tuple[MandateReport, ...]
    market: Market
    models: tuple[Skill, ...]
    factors: tuple[Skill, ...]
    health: Health
    series: Series
    notes: tuple[str, ...] = ()
    ages: tuple[Age, ...] = ()
    books: tuple[Book, ...] = ()

    @property
    def run(self) -> str:
        """The run's id, shortened for headings."""
        return short_run(self.run_id)

    def label(self, instrument: str) -> str:
        """The symbol of an instrument; its id where there is none."""
        return self.labels.get(instrument, instrument)
