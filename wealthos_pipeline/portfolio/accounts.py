"""Shares, cash and value of one portfolio by session: the daily accounting of a backtest.

Positions are shares in the traded basis of their date; fractions are allowed, save where lots are asked
for. Cash is money in ticks, 1/10,000 of the base currency, int64; every amount is rounded once, half
to even, where it arises (``ledger``). So for every session

    cash = cash before + Σ amounts of its events,  net asset value = cash + Σ round(shares × close)

hold exactly, and with them profit = Σ flows + change of value. In tables money is Float64, ticks / 10,000.

Dividends are credited on the ex-date for the shares held at the close before (shorts pay them); splits
change the shares on their day. A name without a bar keeps its last price; after ``DEAD_AFTER``
sessions without one it becomes cash at that price, without a cost: nobody can know on the day that
no bar will follow. A stated terminal return (``Flag.TERMINAL``) is such a last price. Borrow: a year's
rate / 252 each session on the value of shorts at the close before. Cash earns nothing unless a rate is given:
then a year's rate / 252 each session on the cash of the close before, debts included.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import polars as pl
from numpy.typing import NDArray

from wealthos_pipeline.core.data import contract
from wealthos_pipeline.core.errors import PortfolioError
from wealthos_pipeline.core.mandate import SESSIONS_PER_YEAR, Costs
from wealthos_pipeline.portfolio.marks import DEAD_AFTER, Actions, Marks
from wealthos_pipeline.portfolio.money import CASH, LARGEST, TICKS, TOO_MUCH, Ticks, money, ticks
from wealthos_pipeline.portfolio.panel import Panel
from wealthos_pipeline.portfolio.problem import Floats
from wealthos_pipeline.portfolio.reconciliation import RESIDUALS, faults, reconcile

__all__ = [
    "CASH", "DEAD_AFTER", "RESIDUALS", "TICKS", "Account", "Feed", "Marks", "Order", "faults", "money",
    "reconcile", "rules", "ticks",
]  # fmt: skip

TRADE_FLOOR = 1e-9
"""Changes of weight up to this are no trade."""
BLOCK = 1 << 19
"""Events of a block at least; a session's never straddle two."""


def rules(costs: Costs, *, participation: float | None = None, lot: float | None = None) -> Floats:
    """The scalars of ``ledger.advance``. participation: share of a session's dollar volume; lot: shares."""
    return np.array(
        [
            costs.commission_bp / 1e4,
            costs.half_spread_bp / 1e4,
            costs.impact,
            costs.impact_exponent,
            costs.borrow_bp / 1e4 / SESSIONS_PER_YEAR,
            0.0 if participation is None else participation,
            0.0 if lot is None else lot,
            float(DEAD_AFTER),
            TRADE_FLOOR,
        ]
    )


@dataclass(frozen=True, eq=False)
class Feed:
    """What an account reads, T × N: marks, actions, prices to fill at (NaN: none).

    traded: dollar volume of each session where fills are limited by it, else 0 × 0; NaN: unknown, the average known
    at the decision counts, and without that there is no limit. rates: interest a session, T or 0.
    """

    panel: Panel
    marks: Marks
    actions: Actions
    fill: Floats
    traded: Floats
    rates: Floats

    @classmethod
    def of(
        cls,
        panel: Panel,
        *,
        fill: str = "close",
        limited: bool = False,
        rates: Floats | None = None,
    ) -> Feed:
        """fill: at the ``close`` or the ``open`` of the session; the close where no open is known.
        rates: interest on cash a year, decimal, one a session."""
        marks = Marks.of(panel)
        tradable = np.isfinite(panel.tr) & np.isfinite(panel.close)
        if panel.untraded is not None:
            tradable &= ~panel.untraded
        price = panel.close
        if fill == "open":
            with np.errstate(invalid="ignore"):
                price = np.where(np.isfinite(panel.open) & (panel.open > 0), panel.open, price)
        none = np.empty((0, 0))
        traded = none
        if limited and panel.volume is not None:
            traded = np.ascontiguousarray(panel.volume)
        elif limited:
            traded = np.full(panel.close.shape, np.nan)
        return cls(
            panel,
            marks,
            Actions.of(panel, marks),
            np.where(tradable, price, np.nan),
            traded,
            np.empty(0)
            if rates is None
            else np.asarray(rates, dtype=np.float64) / SESSIONS_PER_YEAR,
        )


@dataclass(frozen=True, eq=False)
class Order:
    """Signed shares to trade in the next session, one a panel name, and ``floor``: the cash (0 or less,
    currency) that purchases may leave. sigma: daily volatility; volume: average daily dollar volume, known at
    the decision (for impact)."""

    units: Floats
    floor: float
    sigma: Floats
    volume: Floats


@dataclass(eq=False)
class Account:
    """What one portfolio holds, and what its history leaves.

    shares: N. The account is opened at the close of row ``opened`` with ``cash`` ticks; one that is resumed was
    opened before (``opened=-1``).
    """

    feed: Feed
    rules: Floats
    shares: Floats
    cash: int
    opened: int = -1
    journal: bool = True
    results: list[tuple[int, Ticks, Floats]] = field(default_factory=list)
    """First row; net asset value, cash, cost, names, whether shares changed; turnover."""
    shots: list[tuple[int, NDArray[np.int64], Floats]] = field(default_factory=list)
    """Row, columns and shares, wherever shares changed."""
    blocks: list[tuple[NDArray[np.generic], ...]] = field(default_factory=list)
    """Events: row, kind, name, units, price, amount, why."""

    def __post_init__(self) -> None:
        if not abs(self.cash) < LARGEST:
            raise PortfolioError(
                f"an account of {self.cash / TICKS:,.0f} cannot be kept: {TOO_MUCH}"
            )
        n = len(self.shares)
        self.order, self.sigma, self.volume = np.zeros(n), np.full(n, np.nan), np.full(n, np.nan)
        self.value = np.zeros(n, dtype=np.int64)
        self.state = np.array([self.cash, self.cash, 0, 0, self.opened], dtype=np.int64)

    @classmethod
    def open(cls, feed: Feed, scalars: Floats, initial: float, row: int) -> Account:
        """Cash of ``initial`` at the close of ``row``; the deposit is its first event."""
        out = cls(feed, scalars, np.zeros(len(feed.panel.ids)), ticks(initial), opened=row)
        out.shots.append((row, np.empty(0, dtype=np.int64), np.empty(0)))
        out.blocks.append(
            (
                np.array([row], dtype=np.int32),
                np.array([0], dtype=np.int8),
                np.array([-1], dtype=np.int32),
                np.array([np.nan]),
                np.array([np.nan]),
                np.array([out.cash], dtype=np.int64),
                np.array([0], dtype=np.int8),
            )
        )
        return out

    def mark(self, row: int) -> None:
        """Sets the values of the holdings as they were at the close of ``row`` (of a resumed account)."""
        held = np.flatnonzero(self.shares)
        worth = np.rint(self.shares[held] * self.feed.marks.close[row, held] * TICKS)
        self.value[:] = 0
        self.value[held] = worth.astype(np.int64)
        self.state[1] = self.state[0] + int(self.value.sum())

    @property
    def nav(self) -> float:
        """Net asset value at the last close, currency."""
        return float(self.state[1] / TICKS)

    @property
    def values(self) -> Floats:
        """Value of each holding at the last close, currency; 0 for what is not held."""
        return money(self.value)

    def advance(
        self,
        start: int,
        stop: int,
        order: Order | None = None,
        *,
        decided: Ticks | None = None,
        weights: Floats | None = None,
        sigmas: Floats | None = None,
        volumes: Floats | None = None,
    ) -> None:
        """Sessions [start, stop); ``order`` is filled in the first. PortfolioError where money exceeds
        what can be counted exactly.

        decided: row of ``weights`` that is decided at the close of each panel row, −1 for none; sigmas and
        volumes go with it (D × N).
        """
        from wealthos_pipeline.portfolio import ledger

        if start >= stop:
            return
        feed, none, n = self.feed, np.empty((0, 0)), len(self.shares)
        if order is not None:
            self.order[:], self.sigma[:], self.volume[:] = order.units, order.sigma, order.volume
            self.state[2], self.state[3] = 1, ticks(order.floor)
        results = np.empty((stop - start, ledger.RESULTS), dtype=np.int64)
        turnover = np.empty(stop - start)
        kept = np.empty((stop - start, n))
        room = (
            max(BLOCK if decided is not None else 0, 2 * (ledger.WORST * n + 2))
            if self.journal
            else 0
        )
        row = start
        while row < stop:
            block = (
                np.empty(room, dtype=np.int32),
                np.empty(room, dtype=np.int8),
                np.empty(room, dtype=np.int32),
                np.empty(room),
                np.empty(room),
                np.empty(room, dtype=np.int64),
                np.empty(room, dtype=np.int8),
            )
            written = np.zeros(1, dtype=np.int64)
            row = ledger.advance(
                row, stop,
                feed.marks.close, feed.marks.age, feed.actions.ratio, feed.actions.income, feed.fill,
                feed.traded, feed.rates, self.rules,
                self.shares, self.value, self.state, self.order, self.sigma, self.volume,
                np.empty(0, dtype=np.int64) if decided is None else decided,
                none if weights is None else weights,
                none if sigmas is None else sigmas,
                none if volumes is None else volumes,
                start, results, turnover, kept, *block, written,
            )  # fmt: skip
            if row < 0:
                raise PortfolioError(
                    f"the account cannot be kept beyond {feed.panel.dates[-1 - row]}: {TOO_MUCH}"
                )
            if self.journal and written[0]:
                self.blocks.append(tuple(x[: written[0]] for x in block))
        self.results.append((start, results, turnover))
        for k in np.flatnonzero(results[:, ledger.R_CHANGED]):
            columns = np.flatnonzero(kept[k])
            self.shots.append((start + int(k), columns, kept[k, columns]))


@dataclass(frozen=True, eq=False)
class Statement:
    """The history of an account as rows of ``portfolio.positions, nav, events``."""

    positions: pl.DataFrame
    nav: pl.DataFrame
    events: pl.DataFrame


def statement(
    account: Account | None, mandate: str, run_kind: str, before: float | None = None
) -> Statement:
    """Rows of an account; ``before`` is the net asset value at the close before the first, if there is one."""
    return Statement(
        positions(account, mandate, run_kind),
        nav(account, mandate, run_kind, before),
        events(account, mandate, run_kind),
    )


def _dates(panel: Panel, rows: NDArray[np.generic]) -> pl.Series:
    days = np.array(panel.dates, dtype="datetime64[D]").astype(np.int32)
    return pl.Series("date", days[rows]).cast(pl.Date)


def _keyed(frame: pl.DataFrame, mandate: str, run_kind: str) -> pl.DataFrame:
    return frame.with_columns(pl.lit(mandate).alias("mandate"), pl.lit(run_kind).alias("run_kind"))


def nav(
    account: Account | None, mandate: str, run_kind: str, before: float | None = None
) -> pl.DataFrame:
    """``portfolio.nav`` rows of every session of an account."""
    table = contract("portfolio.nav")
    if account is None or not account.results:
        return table.empty()
    rows = np.concatenate([np.arange(first, first + len(t)) for first, _, t in account.results])
    numbers = np.concatenate([r for _, r, _ in account.results])
    value, cost = money(numbers[:, 0]), money(numbers[:, 2])
    previous = np.concatenate([[np.nan if before is None else before], value[:-1]])
    previous = np.where(
        previous > 0.0, previous, np.nan
    )  # a return on nothing, or on debts, is none
    frame = pl.DataFrame(
        {
            "date": _dates(account.feed.panel, rows),
            "nav": value,
            "return_net": pl.Series(value / previous - 1.0).fill_nan(None),
            "return_gross": pl.Series((value + cost) / previous - 1.0).fill_nan(None),
            "cost": cost,
            "turnover": np.concatenate([t for _, _, t in account.results]),
            "cash": money(numbers[:, 1]),
            "names": numbers[:, 3].astype(np.int32),
            "flow": np.zeros(len(value)),
        }
    )
    return table.conform(_keyed(frame, mandate, run_kind))


def positions(account: Account | None, mandate: str, run_kind: str) -> pl.DataFrame:
    """``portfolio.positions`` rows: shares after every session in which they changed, and cash then."""
    table = contract("portfolio.positions")
    if account is None or not account.shots:
        return table.empty()
    panel, cash = account.feed.panel, {}
    for first, numbers, _ in account.results:
        for k in np.flatnonzero(numbers[:, 4]):
            cash[first + int(k)] = numbers[k, 1]
    if account.opened >= 0:
        cash.setdefault(account.opened, account.cash)
    sizes = np.array([len(columns) for _, columns, _ in account.shots])
    at = np.array([row for row, _, _ in account.shots])
    names = pl.Series([*panel.ids, CASH], dtype=pl.String)
    codes = [np.append(columns, len(panel.ids)) for _, columns, _ in account.shots]
    units = [np.append(held, cash[row] / TICKS) for row, _, held in account.shots]
    frame = pl.DataFrame(
        {
            "date": _dates(panel, np.repeat(at, sizes + 1)),
            "instrument_id": names.gather(np.concatenate(codes)),
            "units": np.concatenate(units),
        }
    )
    return table.conform(_keyed(frame, mandate, run_kind))


def events(account: Account | None, mandate: str, run_kind: str) -> pl.DataFrame:
    """``portfolio.events`` rows, numbered from 0 within a session."""
    from wealthos_pipeline.portfolio import ledger

    table = contract("portfolio.events")
    blocks = [] if account is None else account.blocks
    if account is None or not blocks:
        return table.empty()
    panel = account.feed.panel
    row, kind, name, units, price, amount, why = (
        np.concatenate([b[k] for b in blocks]) for k in range(7)
    )
    first = np.flatnonzero(np.diff(row, prepend=-1))
    seq = np.arange(len(row)) - np.repeat(first, np.diff(np.append(first, len(row))))
    ids = pl.Series([*panel.ids, None], dtype=pl.String)
    kinds, reasons = pl.Series(ledger.KINDS), pl.Series([None, *ledger.WHY[1:]], dtype=pl.String)
    note = reasons.gather(why)
    special = np.flatnonzero((kind == ledger.SPLIT) | (kind == ledger.DIVIDEND))
    if len(special):
        note = note.scatter(special, _told(account, row, kind, name, price, special))
    frame = pl.DataFrame(
        {
            "date": _dates(panel, row),
            "seq": seq.astype(np.int32),
            "kind": kinds.gather(kind),
            "instrument_id": ids.gather(np.where(name < 0, len(panel.ids), name)),
            "units": pl.Series(units).fill_nan(None),
            "price": pl.Series(price).fill_nan(None),
            "amount": amount,
            "note": note,
        }
    )
    return table.conform(_keyed(frame, mandate, run_kind))


def _told(
    account: Account,
    row: NDArray[np.generic],
    kind: NDArray[np.generic],
    name: NDArray[np.generic],
    price: NDArray[np.generic],
    special: NDArray[np.int64],
) -> list[str | None]:
    """Notes of splits (the ratio) and of dividends that nobody stated."""
    from wealthos_pipeline.portfolio import ledger

    stated = account.feed.panel.dividend
    out: list[str | None] = []
    for k in special:
        at = int(row[k]), int(name[k])
        if kind[k] == ledger.SPLIT:
            out.append(f"{account.feed.actions.ratio[at]:.6g} for 1")
        elif stated is not None and stated[at] == price[k]:
            out.append(None)
        else:
            out.append("not stated; what the total-return index says beyond the price")
    return out
