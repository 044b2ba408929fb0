"""Sessions in which a listed instrument has no bar, and why.

A session is missing where an instrument has had a bar before and has none then. Kinds:

- ``holiday``: the instrument's own exchange was closed (another one than the root's);
- ``vendor``: a share ``vendor_gap`` of the names alive missed every one of these sessions;
- ``halt``: the source gave a row without a trade;
- ``gap``: nothing was given, or what was given was rejected;
- ``delisting``: no bar for ``delisted_after`` sessions in which others traded, or stated by a
  person. ``until`` says that bars came back after all;
- ``open``: still without bars at the end, and not for that long.

A gap is told when it closes; a delisting when its last session of waiting is over; an open gap is
stamped with the instant at which it will have been told at the latest. So no row that was known
changes but for ``until``, and what others do is looked at before a session only: a name is alive
while its last bar is no more than ``delisted_after`` sessions old.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime

import numpy as np
import polars as pl
from numpy.typing import NDArray

from wealthos_pipeline.core.data import contract
from wealthos_pipeline.data.processors import membership
from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.data.processors.delistings import UNKNOWN
from wealthos_pipeline.data.processors.instruments import identify
from wealthos_pipeline.utils.config import CleaningSettings

Ints = NDArray[np.int64]

FAR = np.int64(1) << 40


def context_start(
    start: date | None, calendar: TradingCalendar, cleaning: CleaningSettings
) -> date | None:
    """From which date bars must be read to find the gaps from ``start`` on."""
    return None if start is None else calendar.offset(start, -cleaning.delisted_after - 2)


def due(
    stored: pl.DataFrame, alive: set[str], dirty: date, calendar: TradingCalendar
) -> date | None:
    """First date of a stored gap that bars from ``dirty`` on can change.

    stored: ``clean.gaps``. alive: instruments that have a bar from ``dirty`` on.
    """
    before = calendar.offset(dirty, -1)
    back = pl.col("until").is_null() & pl.col("instrument_id").is_in(sorted(alive))
    rows = stored.filter(
        (pl.col("date") < dirty) & ((pl.col("kind") == "open") | (pl.col("until") >= before) | back)
    )
    first = rows["date"].min()
    return first if isinstance(first, date) else None


def find(
    prices: pl.DataFrame,
    instruments: pl.DataFrame,
    calendar: TradingCalendar,
    cleaning: CleaningSettings,
    *,
    given: pl.DataFrame,
    ends: pl.DataFrame,
    now: datetime,
    start: date | None = None,
) -> pl.DataFrame:
    """``clean.gaps`` rows from ``start`` on (None: all).

    prices: ``instrument_id, date, slot, flags, known_at`` of ``clean.prices`` from ``context_start``
        on; it ends with the last session of anybody.
    given: ``instrument_id, date, rule`` of what the source gave and no bar was made of: the rule that
        rejected it, null for a row without a trade.
    ends: ``delistings.resolved``; those known at ``now`` count.
    """
    bars = membership.traded(prices).sort("instrument_id", "slot")
    if not bars.height:
        return contract("clean.gaps").empty()
    ends = ends.filter(pl.col("told_at") <= now)
    board = _Board(bars, instruments, calendar, cleaning)
    rows = pl.concat(
        [board.closed(given), board.trailing(given, ends), board.holidays(ends)],
    )
    if start is not None:
        rows = rows.filter(pl.col("date") >= start)
    return contract("clean.gaps").conform(rows)


def given(empty: pl.DataFrame, quarantine: pl.DataFrame, instruments: pl.DataFrame) -> pl.DataFrame:
    """``instrument_id, date, rule`` of rows of which no bar was made: null for one without a trade.

    empty: rows of ``raw.prices`` that hold no values. quarantine: ``clean.quarantine``.
    """
    key = ["source", "symbol", "date"]
    said = quarantine.filter(pl.col("table") == "raw.prices").select(
        *key, pl.when(pl.col("rule") != "no_close").then("rule").alias("rule")
    )
    rows = pl.concat([empty.select(*key, pl.lit(None, dtype=pl.String).alias("rule")), said])
    return (
        identify(rows.unique(), instruments)
        .filter(pl.col("instrument_id").is_not_null())
        .select("instrument_id", "date", "rule")
    )


def unknown_returns(gaps: pl.DataFrame, instruments: pl.DataFrame) -> list[str]:
    """Equities whose delisting has no stated return, sorted. An index or a fund's series ends."""
    shares = instruments.filter(pl.col("asset_class") == "equity")["instrument_id"].unique()
    mine = gaps.filter(
        (pl.col("kind") == "delisting")
        & pl.col("detail").str.ends_with(UNKNOWN)
        & pl.col("instrument_id").is_in(shares.implode())
    )
    return mine["instrument_id"].unique().sort().to_list()


def _exchanges(instruments: pl.DataFrame) -> dict[str, str]:
    """Exchange by instrument, as described last."""
    latest = instruments.sort("instrument_id", "valid_from").unique(
        "instrument_id", keep="last", maintain_order=True
    )
    return dict(latest.select("instrument_id", "exchange").iter_rows())


@dataclass(eq=False)
class _Board:
    """Bars by instrument, and what all of them did in each session."""

    bars: pl.DataFrame
    instruments: pl.DataFrame
    calendar: TradingCalendar
    cleaning: CleaningSettings

    def __post_init__(self) -> None:
        bars = self.bars
        self.ids = bars["instrument_id"].unique(maintain_order=True).to_list()
        self.name: Ints = bars["instrument_id"].rle_id().to_numpy().astype(np.int64)
        self.slot: Ints = bars["slot"].to_numpy().astype(np.int64)
        self.known = bars["known_at"].dt.timestamp("us").to_numpy()
        self.first, self.last = int(self.slot.min()), int(self.slot.max())
        sessions = self.calendar.frame()
        self.dates = sessions["date"]
        self.stamps = sessions["known_at"].dt.timestamp("us").to_numpy()
        self.n = len(self.ids)
        tail = np.ones(len(self.slot), dtype=np.bool_)
        tail[:-1] = self.name[:-1] != self.name[1:]
        self.tail = np.flatnonzero(tail)
        self.following = np.where(tail, FAR, np.append(self.slot[1:], FAR))
        self.open_after = self._exchanges()
        self.present, self.share = self._crowd()

    def _exchanges(self) -> list[Ints | None]:
        """By instrument: how many sessions up to each slot its own exchange held; None where it
        is the root's."""
        own = _exchanges(self.instruments)
        counts: dict[str, Ints | None] = {self.calendar.exchange: None}
        for exchange in sorted(
            {own.get(i, self.calendar.exchange) for i in self.ids} - set(counts)
        ):
            other = TradingCalendar(exchange).frame()["date"]
            counts[exchange] = np.cumsum(self.dates.is_in(other.implode()).to_numpy())
        return [counts[own.get(i, self.calendar.exchange)] for i in self.ids]

    def _crowd(self) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
        """By slot from the first on: whether anybody has a bar, and the share of names alive that
        have none although their exchange was open."""
        size = self.last - self.first + 2
        here = self.slot - self.first
        present = np.bincount(here, minlength=size)
        until = np.minimum(
            np.minimum(self.following, self.last + 1), self.slot + self.cleaning.delisted_after + 1
        )
        steps = np.bincount(here + 1, minlength=size + 1).astype(np.int64)
        steps -= np.bincount(until - self.first, minlength=size + 1)
        missing = np.cumsum(steps)[:size]
        for i, opened in enumerate(self.open_after):
            if opened is not None:  # closed exchanges are not missing
                for at in np.flatnonzero(self.name == i):
                    lo, hi = int(self.slot[at]) + 1, int(until[at])
                    closed = opened[lo:hi] == opened[lo - 1 : hi - 1]
                    missing[lo - self.first : hi - self.first] -= closed
        total = present + missing
        return present > 0, np.where(total > 0, missing / np.maximum(total, 1), 1.0)

    def _runs(self) -> tuple[Ints, Ints, Ints, Ints]:
        """Row of the bar before, first and last missing slot, and sessions of the own exchange, of
        every run of slots without a bar, the trailing ones too."""
        at = np.flatnonzero(np.minimum(self.following, self.last + 1) - self.slot > 1)
        lo = self.slot[at] + 1
        hi = np.minimum(self.following[at], self.last + 1) - 1
        count = hi - lo + 1
        for k in range(len(at)):
            opened = self.open_after[self.name[at[k]]]
            if opened is None:
                continue
            count[k] = opened[hi[k]] - opened[lo[k] - 1]
            if count[k]:  # its first and last session of the own exchange
                lo[k] = np.searchsorted(opened, opened[lo[k] - 1] + 1)
                hi[k] = np.searchsorted(opened, opened[hi[k]])
        some = count > 0
        return at[some], lo[some], hi[some], count[some]

    def _waited(self, name: Ints, lo: Ints, hi: Ints) -> Ints:
        """Slot in which a run was ``delisted_after`` sessions long, counting those in which somebody
        traded and the own exchange was open; FAR if it never was."""
        crowd = np.concatenate(([0], np.cumsum(self.present)))
        out = np.full(len(name), FAR)
        wait = self.cleaning.delisted_after
        for exchange in {id(o): o for o in self.open_after}.values():
            mine = np.array([self.open_after[i] is exchange for i in name], dtype=np.bool_)
            if not mine.any():
                continue
            counted = crowd
            if exchange is not None:
                opened = np.diff(exchange, prepend=0)[self.first : self.first + len(self.present)]
                counted = np.concatenate(([0], np.cumsum(self.present * opened)))
            told = np.searchsorted(counted, counted[lo[mine] - self.first] + wait) - 1
            slot = told + self.first
            out[mine] = np.where(slot <= hi[mine], slot, FAR)
        return out

    def _frame(self, **columns: object) -> pl.DataFrame:
        """Columns given by slot and instrument number, as rows of ``clean.gaps``."""
        frame = pl.DataFrame(columns)
        ids = pl.Series("instrument_id", self.ids, dtype=pl.String())
        until = frame["until"]
        return frame.select(
            ids.gather(frame["name"]),
            self.dates.gather(frame["lo"]).alias("date"),
            self.dates.gather(until.fill_null(0)).set(until.is_null(), None).alias("until"),
            pl.col("count").cast(pl.Int32).alias("sessions"),
            pl.col("kind", "detail").cast(pl.String),
            pl.col("known").cast(pl.Datetime("us")).dt.replace_time_zone("UTC").alias("known_at"),
        )

    def _told(self, given: pl.DataFrame, name: Ints, lo: Ints, hi: Ints) -> tuple[Ints, list[str]]:
        """By run: rows without a trade that the source gave in it, and the rules that rejected others."""
        codes = pl.DataFrame(
            {"instrument_id": self.ids, "code": np.arange(self.n)},
            schema_overrides={"instrument_id": pl.String()},
        )
        slots = pl.DataFrame({"date": self.dates, "slot": np.arange(len(self.dates))})
        rows = (
            given.join(codes, on="instrument_id")
            .join(slots, on="date")
            .sort("code", "slot", "rule")
        )
        width = np.int64(len(self.dates) + 1)
        key = rows["code"].to_numpy().astype(np.int64) * width + rows["slot"].to_numpy()
        left = np.searchsorted(key, name * width + lo, side="left")
        right = np.searchsorted(key, name * width + hi, side="right")
        empty = np.concatenate(([0], np.cumsum(rows["rule"].is_null().to_numpy())))
        rules = rows["rule"]
        words = [
            ", ".join(sorted(set(rules[int(a) : int(b)].drop_nulls()))) if b > a else ""
            for a, b in zip(left, right, strict=True)
        ]
        return empty[right] - empty[left], words

    def _kinds(
        self, given: pl.DataFrame, name: Ints, lo: Ints, hi: Ints
    ) -> tuple[list[str], list[str]]:
        """Kind and detail of runs that are no delisting."""
        halted, rejected = self._told(given, name, lo, hi)
        full = np.concatenate(([0], np.cumsum(self.share >= self.cleaning.vendor_gap)))
        kinds, details = [], []
        for k in range(len(name)):
            a, b = int(lo[k]) - self.first, int(hi[k]) - self.first + 1
            share = self.share[a:b]
            if full[b] - full[a] == b - a:
                kinds.append("vendor")
                details.append(f"{share.min():.0%} of the names alive have no bar either")
            elif halted[k]:
                kinds.append("halt")
                details.append(f"the source gave {halted[k]} rows without a trade")
            elif rejected[k]:
                kinds.append("gap")
                details.append(f"what the source gave was rejected: {rejected[k]}")
            else:
                kinds.append("gap")
                details.append("the source gave nothing")
        return kinds, details

    def _lost(self) -> str:
        return (
            f"no bar for {self.cleaning.delisted_after} sessions in which others traded; {UNKNOWN}"
        )

    def closed(self, given: pl.DataFrame) -> pl.DataFrame:
        """Runs after which a bar came."""
        at, lo, hi, count = self._runs()
        shut = self.following[at] <= self.last
        at, lo, hi, count = at[shut], lo[shut], hi[shut], count[shut]
        name = self.name[at]
        waited = self._waited(name, lo, hi)
        late = waited < FAR
        kinds, details = self._kinds(given, name, lo, hi)
        return self._frame(
            name=name,
            lo=lo,
            until=hi,
            count=np.where(late, self.cleaning.delisted_after, count),
            kind=["delisting" if x else k for k, x in zip(kinds, late, strict=True)],
            detail=[self._lost() if x else d for d, x in zip(details, late, strict=True)],
            known=np.where(late, self.stamps[np.where(late, waited, 0)], self.known[at + 1]),
        )

    def trailing(self, given: pl.DataFrame, ends: pl.DataFrame) -> pl.DataFrame:
        """Runs that last, and stated delistings."""
        at, lo, hi, count = self._runs()
        last = self.following[at] > self.last
        at, lo, hi, count = at[last], lo[last], hi[last], count[last]
        name = self.name[at]
        stated = {i: k for k, i in enumerate(ends["instrument_id"])}
        mine = np.array([stated.get(self.ids[i], -1) for i in name], dtype=np.int64)
        waited = self._waited(name, lo, hi)
        wait = self.cleaning.delisted_after
        _, rejected = self._told(given, name, lo, hi)
        rows = []
        for k in range(len(at)):
            if mine[k] >= 0:
                end = ends.row(int(mine[k]), named=True)
                value = end["terminal_return"]
                words = UNKNOWN if value is None else f"terminal return {value}"
                reason = end["reason"] or "stated in delistings.csv"
                known = int(end["told_at"].timestamp() * 1_000_000)
                rows.append((1, "delisting", f"{reason}; {words}", known))
            elif waited[k] < FAR:
                rows.append((wait, "delisting", self._lost(), int(self.stamps[waited[k]])))
            else:
                share = self.share[self.last - self.first]
                words = f"{share:.0%} of the names alive have no bar of the last session"
                if rejected[k]:
                    words += f"; what the source gave was rejected: {rejected[k]}"
                latest = min(int(hi[k]) + wait, len(self.stamps) - 1)
                rows.append((int(count[k]), "open", words, int(self.stamps[latest])))
        return self._frame(
            name=name,
            lo=lo,
            until=pl.Series([None] * len(at), dtype=pl.Int64),
            count=pl.Series([r[0] for r in rows], dtype=pl.Int64),
            kind=pl.Series([r[1] for r in rows], dtype=pl.String),
            detail=pl.Series([r[2] for r in rows], dtype=pl.String),
            known=pl.Series([r[3] for r in rows], dtype=pl.Int64),
        )

    def holidays(self, ends: pl.DataFrame) -> pl.DataFrame:
        """Runs of sessions of the root's exchange that the instrument's own did not hold."""
        name: list[int] = []
        lo: list[int] = []
        hi: list[int] = []
        over = dict(ends.select("instrument_id", "slot").iter_rows())
        for i, opened in enumerate(self.open_after):
            if opened is None:
                continue
            mine = self.slot[self.name == i]
            closed = np.diff(opened, prepend=0) == 0
            begin = np.flatnonzero(closed & ~np.concatenate(([False], closed[:-1])))
            end = np.flatnonzero(closed & ~np.concatenate((closed[1:], [False])))
            before = np.searchsorted(mine, begin) - 1  # its last bar before, as alive as any
            age = begin - mine[np.maximum(before, 0)]
            last = min(self.last, over.get(self.ids[i], FAR) - 1)
            inside = (before >= 0) & (age <= self.cleaning.delisted_after) & (begin <= last)
            inside &= ~np.isin(begin, mine)
            name += [i] * int(inside.sum())
            lo += begin[inside].tolist()
            hi += end[inside].tolist()
        first = np.array(lo, dtype=np.int64)
        final = np.array(hi, dtype=np.int64)
        return self._frame(
            name=pl.Series(name, dtype=pl.Int64),
            lo=first,
            until=final,
            count=final - first + 1,
            kind=pl.Series(["holiday"] * len(name), dtype=pl.String),
            detail=pl.Series(["its own exchange was closed"] * len(name), dtype=pl.String),
            known=self.stamps[first] if len(first) else np.empty(0, dtype=np.int64),
        )
