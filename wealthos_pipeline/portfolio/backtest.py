"""Backtest of a mandate: decisions at the close of t, fills at t + 1, full costs, drift between.

Decision dates are the last sessions of the mandate's periods by the exchange's calendar. What is decided
at the close of t is a number of units, from the weights and the net asset value of t; it is filled
at the close of t + 1 (or the open, where the mandate says so and an open is known), whatever the price has
become. Full one-way costs are charged at the fill. What cannot be filled (no bar that session) is
not. A decision that has no answer holds what is held, and the run goes on; which limits contradict
each other is worked out for the live decision, or here for a mandate that has none (``live: false``).

The run is a function of what was known: the risk model is that of the last month-end at or before t,
the IC that of ``known_at`` up to the bar of t. It can be resumed at any session from positions and
the last net asset value, with the same bits.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

import numpy as np
import polars as pl

from wealthos_pipeline.core.data import contract
from wealthos_pipeline.core.errors import PortfolioError
from wealthos_pipeline.core.portfolio import Mandate
from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.portfolio import alpha as alphas
from wealthos_pipeline.portfolio import decision
from wealthos_pipeline.portfolio.accounts import DEAD_AFTER, Account, Marks
from wealthos_pipeline.portfolio.panel import Panel, build
from wealthos_pipeline.portfolio.problem import Floats
from wealthos_pipeline.portfolio.risk import RiskModel
from wealthos_pipeline.utils.config import PortfolioSettings

EQUAL_WEIGHT = Mandate(
    name="equal_weight",
    title="1/N of the universe",
    objective="equal_weight",
    max_weight=1.0,
    live=False,
    note="The benchmark: every member with a bar at the same weight, monthly, with costs.",
)
"""1/N of the universe, rebalanced monthly with costs: run it through ``run`` like any mandate."""

LOOKBACK = DEAD_AFTER + 5
"""Sessions of prices that a run resumed at ``start`` needs before it."""

RUN_KIND = "backtest"
CASH = "cash"


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
    """Rows of the five tables ``portfolio.targets, solves, trades, positions, nav``."""

    targets: pl.DataFrame
    solves: pl.DataFrame
    trades: pl.DataFrame
    positions: pl.DataFrame
    nav: pl.DataFrame


@dataclass(frozen=True, eq=False)
class _Order:
    """Signed units to trade in the next session, and the cash that may be owed after it."""

    units: Floats
    floor: float


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
) -> Backtest:
    """Rows of dates in [start, end]; None: everything.

    prices: ``clean.prices`` rows reaching at least ``LOOKBACK`` sessions before ``start``.
    universe: ``date, instrument_id``; only decision dates are read (with ``state``: the one before
    ``start`` too). predictions: ``models.predictions``, of which kind ``walk_forward`` is used.
    risk_models: at month-ends at least (others are ignored: they would not be there tomorrow).
    state: None, or a state without rows, starts with cash at the first decision date that has a
    risk model. Raises PortfolioError if the state does not end with the session before ``start``.
    """
    others = [] if state is None else state.positions["instrument_id"].unique().to_list()
    names = set(universe["instrument_id"].unique().to_list()) | set(others) - {CASH}
    panel = build(prices, calendar, ids=names)
    if not panel.dates:
        return _frames(mandate, panel, None, None, 0, [])
    last_row = len(panel.dates) - 1
    if end is not None:
        last_row = min(last_row, panel.row(calendar.slot(end)))
    resumed = state is not None and start is not None and state.nav.height > 0
    first_row = 0 if start is None else max(panel.row(calendar.slot(start)), 0)
    if start is not None and not calendar.is_session(start):
        first_row += 1 if panel.row(calendar.slot(start)) >= 0 else 0
    if first_row > last_row:
        return _frames(mandate, panel, None, None, 0, [])

    ends = set(calendar.lasts(panel.dates[0], panel.dates[last_row], mandate.rebalance))
    rows = [r for r in range(last_row + 1) if panel.dates[r] in ends]
    models = _month_ends(risk_models, calendar)
    market = _Market(
        mandate, panel, universe, predictions, evaluation, instruments, models, calendar, settings
    )

    account: Account
    if resumed and state is not None:
        account = _resume(mandate, panel, state, first_row)
    else:
        begin = next(
            (r for r in rows if r >= first_row and market.risk(panel.dates[r]) is not None), None
        )
        if begin is None:
            return _frames(mandate, panel, None, None, 0, [])
        account = Account(
            panel, Marks.of(panel), np.zeros(len(panel.ids)), float(mandate.initial_nav)
        )
        account.snapshot(begin)
        first_row = begin

    decided: list[decision.Decision] = []
    order: _Order | None = None
    if resumed and first_row - 1 in rows:
        _, order = market.decide(account, first_row - 1)
    decision_rows = {r for r in rows if r >= first_row}
    at = first_row
    for row in sorted({first_row} | decision_rows | {r + 1 for r in decision_rows}):
        if row > last_row:
            break
        account.quiet(at, row)
        if order is not None:
            account.fill(row, order.units, market.fill_prices(row), market.cost, order.floor)
            order = None
        else:
            account.quiet(row, row + 1)
        if row in decision_rows:
            made, order = market.decide(account, row)
            decided.append(made)
        at = row + 1
    account.quiet(at, last_row + 1)
    before = None
    if resumed:
        before = _previous_nav(state, panel, first_row)
    return _frames(mandate, panel, account, before, first_row, decided)


class _Market:
    """What a mandate can look at, by session."""

    def __init__(
        self,
        mandate: Mandate,
        panel: Panel,
        universe: pl.DataFrame,
        predictions: pl.DataFrame,
        evaluation: pl.DataFrame,
        instruments: pl.DataFrame,
        models: dict[date, RiskModel],
        calendar: TradingCalendar,
        settings: PortfolioSettings,
    ) -> None:
        self.mandate, self.panel, self.calendar, self.settings = mandate, panel, calendar, settings
        self.universe, self.instruments = universe, instruments
        self.models, self.model_dates = models, sorted(models)
        self.cost = np.full(len(panel.ids), mandate.costs.one_way)
        self.evaluation = evaluation.filter(pl.col("model") == mandate.model)
        self.predictions = predictions.filter(
            (pl.col("model") == mandate.model) & (pl.col("kind") == "walk_forward")
        )

    def risk(self, day: date) -> RiskModel | None:
        """The model of the last month-end at or before ``day``."""
        i = bisect_right(self.model_dates, day)
        return self.models[self.model_dates[i - 1]] if i else None

    def decide(self, account: Account, row: int) -> tuple[decision.Decision, _Order | None]:
        day, nav = self.panel.dates[row], account.nav(row)
        values = account.values(row)
        situation = self.situation(day, row, nav, values)
        made = decision.decide(
            self.mandate, situation, run_kind=RUN_KIND, explain=not self.mandate.live
        )
        if not made.acts:
            return made, None
        code = {name: i for i, name in enumerate(self.panel.ids)}
        where = np.array([code[i] for i in made.ids], dtype=np.int64)
        units = np.zeros(len(self.panel.ids))
        tr = account.marks.tr[row, where]
        change = made.weights - made.w0
        goal = np.where(made.weights == 0.0, 0.0, made.weights * nav / tr)
        trades = np.abs(change) > decision.TRADE_FLOOR
        units[where] = np.where(trades, goal - account.units[where], 0.0)
        floor = min(0.0, 1.0 - float(made.weights.sum())) * nav
        return made, _Order(units, floor if abs(floor) > 1e-6 * nav else 0.0)

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
            held={panel.ids[i]: float(values[i] / nav) for i in np.flatnonzero(values)},
            close=close,
            risk=self.risk(day),
            z=z,
            ic=ic,
            labels=decision.labels(self.instruments, day),
            note=note,
        )

    def fill_prices(self, row: int) -> Floats:
        """Price of a unit at the fill; NaN where the session has no price to trade at.

        At the open: the total-return index times open over close of the session (an ex-date's
        dividend is thus reinvested at the close); the close where no open is known.
        """
        tr = np.where(self.panel.tradable(row), self.panel.tr[row], np.nan)
        if self.mandate.fill == "close":
            return tr
        ratio = self.panel.open[row] / self.panel.close[row]
        return np.where(np.isfinite(ratio) & (ratio > 0), tr * ratio, tr)


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
    if mandate.objective != "mean_variance":
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


def _resume(mandate: Mandate, panel: Panel, state: State, first_row: int) -> Account:
    """The account as it was at the close of the session before ``first_row``."""
    before = panel.dates[first_row - 1] if first_row else None
    last = state.nav.filter(pl.col("date") < panel.dates[first_row])["date"].max()
    if before is None or last != before:
        raise PortfolioError(
            f"the backtest of {mandate.name!r} cannot resume at {panel.dates[first_row]}: its last "
            f"net asset value is of {last!s}, expected {before!s}; run it from the beginning"
        )
    past = state.positions.filter(pl.col("date") <= before)
    rows = past.filter(pl.col("date") == past["date"].max())
    code = {name: i for i, name in enumerate(panel.ids)}
    units, cash = np.zeros(len(panel.ids)), 0.0
    for name, amount in rows.select("instrument_id", "units").iter_rows():
        if name == CASH:
            cash = float(amount)
        elif name in code:
            units[code[name]] = amount
        else:
            raise PortfolioError(
                f"the backtest of {mandate.name!r} holds {name}, which has no price among those "
                f"given; hand in prices from {LOOKBACK} sessions before {panel.dates[first_row]}"
            )
    return Account(panel, Marks.of(panel), units, cash)


def _previous_nav(state: State | None, panel: Panel, first_row: int) -> float | None:
    if state is None:
        return None
    rows = state.nav.filter(pl.col("date") == panel.dates[first_row - 1])
    return float(rows["nav"][0])


def _frames(
    mandate: Mandate,
    panel: Panel,
    account: Account | None,
    before: float | None,
    first_row: int,
    decided: list[decision.Decision],
) -> Backtest:
    keys = [pl.lit(mandate.name).alias("mandate"), pl.lit(RUN_KIND).alias("run_kind")]
    nav_contract, position_contract = contract("portfolio.nav"), contract("portfolio.positions")
    nav, positions = nav_contract.empty(), position_contract.empty()
    if account is not None:
        rows, values, cost, turnover, cash, held = (
            list(x) for x in zip(*account.rows, strict=True)
        )
        value, paid = np.array(values), np.array(cost)
        previous = np.concatenate([[np.nan if before is None else before], value[:-1]])
        net, gross = value / previous - 1.0, (value + paid) / previous - 1.0
        nav = nav_contract.conform(
            pl.DataFrame(
                {
                    "date": [panel.dates[r] for r in rows],
                    "nav": value,
                    "return_net": pl.Series(net).fill_nan(None),
                    "return_gross": pl.Series(gross).fill_nan(None),
                    "cost": paid,
                    "turnover": np.array(turnover),
                    "cash": np.array(cash),
                    "names": np.array(held, dtype=np.int32),
                }
            ).with_columns(keys)
        )
        parts = []
        for row, (units, money) in sorted(account.snapshots.items()):
            if row < first_row:
                continue
            where = np.flatnonzero(units)
            parts.append(
                pl.DataFrame(
                    {
                        "instrument_id": [*(panel.ids[i] for i in where), CASH],
                        "units": np.append(units[where], money),
                    }
                ).with_columns(pl.lit(panel.dates[row]).alias("date"), *keys)
            )
        if parts:
            positions = position_contract.conform(pl.concat(parts))

    def joined(name: str) -> pl.DataFrame:
        table = contract(f"portfolio.{name}")
        frames = [table.empty()]
        for made in decided:
            part: pl.DataFrame = getattr(made, name)
            frames.append(part.select(table.column_names))
        return table.conform(pl.concat(frames))

    return Backtest(
        targets=joined("targets"),
        solves=joined("solves"),
        trades=joined("trades"),
        positions=positions,
        nav=nav,
    )
