"""Backtest of a mandate: decisions at the close of t, fills at t + 1, full costs, drift between.

Decision dates are the last sessions of the mandate's periods by the exchange's calendar. What is decided
at the close of t is a number of shares, from the weights and the net asset value of t; it is filled
at the close of t + 1 (or the open, where the mandate says so and an open is known), whatever the price has
become; a split at t + 1 changes the number. Sales come first, purchases are scaled by one factor to the cash
that there is. Commission, half the spread and impact are charged at the fill, the latter with the
volatility and the average volume known at the decision; a name without a known volume has the smallest of the
others. What cannot be filled (no bar that session, more than ``fill_participation`` of its volume) is
dropped, and an event says so. Where the mandate asks for lots, trades are whole lots, towards 0; a position that
is sold out is sold whole. The accounting is that of ``accounts``. A decision that has no answer holds what is held, and the run goes on; which limits contradict
each other is worked out for the live decision, or here for a mandate that has none (``live: false``).

The run is a function of what was known: the risk model is that of the last month-end at or before t,
the IC that of ``known_at`` up to the bar of t. It can be resumed at any session from positions and
the last net asset value, with the same bits.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import polars as pl
from numpy.typing import NDArray

from wealthos_pipeline.core.data import contract
from wealthos_pipeline.core.errors import PortfolioError
from wealthos_pipeline.core.mandate import USES_ALPHA, Mandate
from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.portfolio import accounts, decision
from wealthos_pipeline.portfolio import alpha as alphas
from wealthos_pipeline.portfolio.accounts import CASH, DEAD_AFTER, Account, Feed, Order
from wealthos_pipeline.portfolio.panel import (
    VOLUME_SESSIONS,
    Panel,
    average_volume,
    build,
    returns_before,
    volume_on,
)
from wealthos_pipeline.portfolio.problem import Floats
from wealthos_pipeline.portfolio.risk import RiskModel
from wealthos_pipeline.portfolio.simulation import Simulation, simulate
from wealthos_pipeline.utils.config import PortfolioSettings

__all__ = [
    "CASH", "EQUAL_WEIGHT", "LOOKBACK", "RUN_KIND", "Backtest", "Simulation", "State", "lookback", "run",
    "simulate", "views",
]  # fmt: skip

EQUAL_WEIGHT = Mandate(
    name="equal_weight",
    title="1/N of the universe",
    objective="equal_weight",
    max_weight=1.0,
    live=False,
    note="The benchmark: every member with a bar at the same weight, monthly, with costs.",
)
"""1/N of the universe, rebalanced monthly with costs: run it through ``run`` like any mandate."""

LOOKBACK = DEAD_AFTER + VOLUME_SESSIONS + 5
"""Sessions of prices that a run resumed at ``start`` needs before it; see ``lookback`` for some mandates."""

RUN_KIND = "backtest"
USES_RETURNS = ("cvar", "hrp", "herc", "nco")
"""Objectives that read the returns of past sessions."""
Scores = Callable[[date], Mapping[str, Mapping[str, float]]]
"""Decision date → standardised score by factor, then name."""


def lookback(mandate: Mandate, settings: PortfolioSettings) -> int:
    """Sessions of prices that a resumed run of ``mandate`` needs before ``start``."""
    past = settings.risk_sessions + 2 if mandate.objective in USES_RETURNS else 0
    return max(LOOKBACK, past)


@dataclass(frozen=True, eq=False)
class State:
    """Where a run resumes: rows of the mandate dated before the run's ``start``.

    positions: ``portfolio.positions`` rows (at least those of the last date before ``start``).
    nav: ``portfolio.nav`` rows (at least the last before ``start``).
    """

    positions: pl.DataFrame
    nav: pl.DataFrame


@dataclass(frozen=True, eq=False)
class Backtest:
    """Rows of the six tables ``portfolio.targets, solves, trades, positions, nav, events``."""

    targets: pl.DataFrame
    solves: pl.DataFrame
    trades: pl.DataFrame
    positions: pl.DataFrame
    nav: pl.DataFrame
    events: pl.DataFrame


def run(
    mandate: Mandate,
    prices: pl.DataFrame | Panel,
    universe: pl.DataFrame,
    predictions: pl.DataFrame,
    evaluation: pl.DataFrame,
    instruments: pl.DataFrame,
    risk_models: Mapping[date, RiskModel],
    calendar: TradingCalendar,
    settings: PortfolioSettings,
    *,
    state: State | None = None,
    start: date | None = None,
    end: date | None = None,
    scores: Scores | None = None,
    rates: pl.DataFrame | None = None,
    run_kind: str = RUN_KIND,
    progress: Callable[[int, int], None] | None = None,
) -> Backtest:
    """Rows of dates in [start, end]; None: everything.

    prices: ``clean.prices`` rows reaching at least ``lookback`` sessions before ``start``.
    universe: ``date, instrument_id``; only decision dates are read (with ``state``: the one before
    ``start`` too). predictions: ``models.predictions``, of which kind ``walk_forward`` is used.
    risk_models: at month-ends at least (others are ignored: they would not be there tomorrow).
    state: None, or a state without rows, starts with cash at the first decision date that has a
    risk model. Raises PortfolioError if the state does not end with the session before ``start``.
    scores: for bounds on exposures. rates: ``date, rate``, interest on
    cash a year, decimal, known before its date's open; the last one counts until the next; None: 0. progress: called
    with the number of decisions made and of those to make.
    """
    kept = [] if state is None else state.positions["instrument_id"].unique().to_list()
    names = set(universe["instrument_id"].unique().to_list()) | set(kept) - {CASH}
    panel = build(prices, calendar, ids=names)
    if not panel.dates:
        return _frames(mandate, None, None, [], run_kind)
    last_row = len(panel.dates) - 1
    if end is not None:
        last_row = min(last_row, panel.row(calendar.slot(end)))
    resumed = state is not None and start is not None and state.nav.height > 0
    first_row = 0 if start is None else max(panel.row(calendar.slot(start)), 0)
    if start is not None and not calendar.is_session(start):
        first_row += 1 if panel.row(calendar.slot(start)) >= 0 else 0
    if first_row > last_row:
        return _frames(mandate, None, None, [], run_kind)

    ends = set(calendar.lasts(panel.dates[0], panel.dates[last_row], mandate.rebalance))
    rows = [r for r in range(last_row + 1) if panel.dates[r] in ends]
    models = _month_ends(risk_models, calendar)
    feed = Feed.of(
        panel,
        fill=mandate.fill,
        limited=mandate.fill_participation is not None,
        rates=None if rates is None else _by_session(rates, panel),
    )
    market = _Market(
        mandate, feed, universe, predictions, evaluation, instruments, models, calendar, settings
    )
    market.scores, market.run_kind = scores, run_kind
    scalars = accounts.rules(
        mandate.costs,
        participation=mandate.fill_participation,
        lot=float(mandate.lot_size) if mandate.lots else None,
    )
    before: float | None = None
    if resumed and state is not None:
        account = _resume(mandate, feed, scalars, state, first_row)
        before = account.nav
    else:
        begin = next(
            (r for r in rows if r >= first_row and market.risk(panel.dates[r]) is not None), None
        )
        if begin is None:
            return _frames(mandate, None, None, [], run_kind)
        account = Account.open(feed, scalars, float(mandate.initial_nav), begin)
        first_row = begin

    decided: list[decision.Decision] = []
    order: Order | None = None
    if resumed and first_row - 1 in rows:
        _, order = market.decide(account, first_row - 1)
    due = [r for r in rows if r >= first_row]
    at = first_row
    for done, row in enumerate(due):
        account.advance(at, row + 1, order)
        made, order = market.decide(account, row)
        decided.append(made)
        at = row + 1
        if progress is not None:
            progress(done + 1, len(due))
    account.advance(at, last_row + 1, order)
    return _frames(mandate, account, before, decided, run_kind)


class _Market:
    """What a mandate can look at, by session."""

    def __init__(
        self,
        mandate: Mandate,
        feed: Feed,
        universe: pl.DataFrame,
        predictions: pl.DataFrame,
        evaluation: pl.DataFrame,
        instruments: pl.DataFrame,
        models: dict[date, RiskModel],
        calendar: TradingCalendar,
        settings: PortfolioSettings,
    ) -> None:
        self.mandate, self.feed, self.calendar, self.settings = mandate, feed, calendar, settings
        self.panel = feed.panel
        self.scores: Scores | None = None
        self.run_kind = RUN_KIND
        self.universe, self.instruments = universe, instruments
        self.models, self.model_dates = models, sorted(models)
        self.evaluation = evaluation.filter(pl.col("model") == mandate.model)
        self.predictions = predictions.filter(
            (pl.col("model") == mandate.model) & (pl.col("kind") == "walk_forward")
        )

    def risk(self, day: date) -> RiskModel | None:
        """The model of the last month-end at or before ``day``."""
        i = bisect_right(self.model_dates, day)
        return self.models[self.model_dates[i - 1]] if i else None

    def decide(self, account: Account, row: int) -> tuple[decision.Decision, Order | None]:
        """The decision at the close of ``row``, which the account has reached, and its order."""
        day, nav = self.panel.dates[row], account.nav
        situation = self.situation(day, row, nav, account.values)
        made = decision.decide(
            self.mandate, situation, run_kind=self.run_kind, explain=not self.mandate.live
        )
        if not made.acts:
            return made, None
        code = {name: i for i, name in enumerate(self.panel.ids)}
        where = np.array([code[i] for i in made.ids], dtype=np.int64)
        units = np.zeros(len(self.panel.ids))
        change = made.weights - made.w0
        goal = np.zeros(len(where))
        wanted = made.weights != 0.0
        price = self.feed.marks.close[row, where]
        goal[wanted] = made.weights[wanted] * nav / price[wanted]
        trades = np.abs(change) > decision.TRADE_FLOOR
        units[where] = np.where(trades, goal - account.shares[where], 0.0)
        floor = min(0.0, 1.0 - float(made.weights.sum())) * nav
        sigma, volume = self.liquidity(made.ids, where, row)
        return made, Order(units, floor if abs(floor) > 1e-6 * nav else 0.0, sigma, volume)

    def liquidity(
        self, ids: Sequence[str], where: NDArray[np.int64], row: int
    ) -> tuple[Floats, Floats]:
        """Daily volatility by the risk model and average daily dollar volume, one a panel name.

        NaN where they are not needed. For impact a name without a known volume has the smallest of ``ids``.
        """
        sigma, volume = np.full((2, len(self.panel.ids)), np.nan)
        costs, risk = self.mandate.costs, self.risk(self.panel.dates[row])
        if self.panel.volume is None or risk is None:
            return sigma, volume
        if not costs.impact and self.mandate.fill_participation is None:
            return sigma, volume
        known = average_volume(self.panel.volume, row)[where]
        if costs.impact and np.isfinite(known).any():
            B, d, _ = risk.align(tuple(ids))
            sigma[where] = np.sqrt(((B @ risk.F) * B).sum(axis=1) + d**2)
            known = np.where(np.isfinite(known), known, np.nanmin(known))
        volume[where] = known
        return sigma, volume

    def situation(self, day: date, row: int, nav: float, values: Floats) -> decision.Situation:
        panel, mandate = self.panel, self.mandate
        members = self.universe.filter(pl.col("date") == day)["instrument_id"].to_list()
        traded = np.flatnonzero(panel.tradable(row))
        close = {panel.ids[i]: float(panel.close[row, i]) for i in traded}
        z, ic, note = views(
            mandate,
            self.predictions.filter(pl.col("date") == day),
            self.evaluation,
            self.calendar,
            self.settings,
            day,
        )
        return decision.Situation(
            date=day,
            nav=nav,
            members=tuple(sorted(members)),
            traded=frozenset(close),
            held={panel.ids[i]: float(values[i] / nav) for i in np.flatnonzero(values)}
            if nav > 0.0
            else {},
            close=close,
            risk=self.risk(day),
            z=z,
            ic=ic,
            labels=decision.labels(self.instruments, day),
            note=note,
            volume=volume_on(panel, row),
            scores={} if self.scores is None else self.scores(day),
            returns=lambda names: returns_before(panel, row, self.settings.risk_sessions, names),
        )


def views(
    mandate: Mandate,
    rows: pl.DataFrame,
    evaluation: pl.DataFrame,
    calendar: TradingCalendar,
    settings: PortfolioSettings,
    day: date,
) -> tuple[dict[str, float], float | None, str]:
    """Scores by name, the shrunk IC, and a note on them in words, for a decision on ``day``.

    rows: predictions of the mandate's model for the day. An objective without alpha gives none.
    """
    if mandate.objective not in USES_ALPHA:
        return {}, None, ""
    ic = alphas.shrunk_ic(
        evaluation,
        calendar,
        settings,
        model=mandate.model,
        horizon=mandate.horizon_days,
        instant=calendar.known_at(day),
    )
    known = rows.filter(pl.col("z").is_finite())
    z = dict(zip(known["instrument_id"].to_list(), known["z"].to_list(), strict=True))
    if not z:
        note = (
            f"Model {mandate.model!r} has no prediction for this date, so expected returns are 0."
        )
    elif not ic.sessions:
        note = (
            f"No result of model {mandate.model!r} at {mandate.horizon_days} sessions is known yet, "
            "so expected returns are 0."
        )
    elif ic.value == 0.0:
        note = (
            f"The mean rank IC of model {mandate.model!r} over the last {ic.sessions} known dates is "
            f"{ic.raw:+.4f}, not above 0, so expected returns are 0."
        )
    else:
        note = (
            f"Expected returns use an IC of {ic.value:.4f}: {ic.raw:.4f} over {ic.sessions} known "
            "dates, shrunk towards 0."
        )
    return z, ic.value, note


def _month_ends(
    models: Mapping[date, RiskModel], calendar: TradingCalendar
) -> dict[date, RiskModel]:
    if not models:
        return {}
    ends = set(calendar.lasts(min(models), max(models), "month"))
    return {day: model for day, model in models.items() if day in ends}


def _by_session(rates: pl.DataFrame, panel: Panel) -> Floats:
    """The last rate at or before each session; 0 before the first."""
    days = pl.DataFrame({"date": panel.dates}, schema={"date": pl.Date})
    told = rates.select("date", pl.col("rate").cast(pl.Float64)).drop_nulls().sort("date")
    joined = days.join_asof(told, on="date", strategy="backward")
    out: Floats = joined["rate"].fill_null(0.0).to_numpy()
    return out


def _resume(mandate: Mandate, feed: Feed, scalars: Floats, state: State, first_row: int) -> Account:
    """The account as it was at the close of the session before ``first_row``."""
    panel = feed.panel
    before = panel.dates[first_row - 1] if first_row else None
    past = state.nav.filter(pl.col("date") < panel.dates[first_row])
    last = past["date"].max()
    if before is None or last != before:
        raise PortfolioError(
            f"the backtest of {mandate.name!r} cannot resume at {panel.dates[first_row]}: its last "
            f"net asset value is of {last!s}, expected {before!s}; run it from the beginning"
        )
    told = past.filter(pl.col("date") == before).row(0, named=True)
    shots = state.positions.filter(pl.col("date") <= before)
    rows = shots.filter(pl.col("date") == shots["date"].max())
    code = {name: i for i, name in enumerate(panel.ids)}
    shares = np.zeros(len(panel.ids))
    for name, amount in rows.select("instrument_id", "units").iter_rows():
        if name in code:
            shares[code[name]] = amount
        elif name != CASH:
            raise PortfolioError(
                f"the backtest of {mandate.name!r} holds {name}, which has no price among those "
                f"given; hand in prices from {LOOKBACK} sessions before {panel.dates[first_row]}"
            )
    account = Account(feed, scalars, shares, accounts.ticks(told["cash"]))
    account.mark(first_row - 1)
    if account.nav != told["nav"]:
        raise PortfolioError(
            f"the backtest of {mandate.name!r} cannot resume at {panel.dates[first_row]}: its shares and "
            f"cash are worth {account.nav!r} on {before}, and its last net asset value is {told['nav']!r}; "
            "prices or positions before were changed, so run it from the beginning"
        )
    return account


def _frames(
    mandate: Mandate,
    account: Account | None,
    before: float | None,
    decided: list[decision.Decision],
    run_kind: str,
) -> Backtest:
    def joined(name: str) -> pl.DataFrame:
        table = contract(f"portfolio.{name}")
        frames = [table.empty()]
        for made in decided:
            part: pl.DataFrame = getattr(made, name)
            frames.append(part.select(table.column_names))
        return table.conform(pl.concat(frames))

    told = accounts.statement(account, mandate.name, run_kind, before)
    return Backtest(
        targets=joined("targets"),
        solves=joined("solves"),
        trades=joined("trades"),
        positions=told.positions,
        nav=told.nav,
        events=told.events,
    )
