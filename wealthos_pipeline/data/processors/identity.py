"""Who held a symbol when: reuse and change of symbols, from what the vendor gives.

A *holder* is one company's time under one symbol. Descriptions of one symbol belong to another holder
from where they carry another FIGI (else ISIN), or a first day of trading that lies after a pause of
more than ``PAUSE`` sessions. Holders of two symbols are one instrument where the same FIGI (else ISIN)
stands in both and the bars of one follow those of the other. What is doubtful is not merged, and said.

Everything here is a function of the raw rows: of the descriptions in the order in which they came, and
of the dates of bars. What a later description revealed is known from its fetch.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import Any

import polars as pl

from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.utils.logging import get_logger

PAUSE = 20
"""Sessions without a bar after which a symbol may have gone to somebody else."""

NUMBERS = ("figi", "isin")
"""Numbers that tell instruments apart, the one that decides first."""

Version = Mapping[str, Any]
"""One row of ``raw.instruments``."""


@dataclass
class Holder:
    """One company's time under one symbol of one source.

    number: 1 for the first that was described, 2 for the next; 0 for whoever had the symbol before it.
    days: its bars, ascending. closed: the symbol went to somebody else, or it goes on under another.
    known: when this could be told, if later than by rule. first: the holder that the instrument is named
    after, where that is another one.
    """

    source: str
    symbol: str
    number: int
    versions: Sequence[Version]
    days: Sequence[date]
    closed: bool = False
    known: datetime | None = None
    first: Holder | None = field(default=None, repr=False)

    @property
    def own_id(self) -> str:
        """Identity of an instrument that began with this holder."""
        name = f"{self.versions[0]['exchange']}:{self.symbol.strip().upper()}"
        return name if self.number == 1 else f"{name}#{self.number}"

    @property
    def instrument_id(self) -> str:
        return self.own_id if self.first is None else self.first.own_id

    def has(self, number: str) -> object:
        """The last that was said of ``figi``, ``isin`` or ``first_trade``."""
        return next((v[number] for v in reversed(self.versions) if v.get(number)), None)

    def said(self, number: str, value: object) -> datetime | None:
        """When ``value`` was first said; None if with the first description, which stands for the past."""
        first = next(v for v in self.versions if v.get(number) == value)
        fetched: datetime = first["fetched_at"]
        return self.known if first is self.versions[0] else fetched


def doubtful(raw_instruments: pl.DataFrame, first_bars: pl.DataFrame) -> pl.DataFrame:
    """``source, symbol`` of which every date of a bar is needed to tell who held the symbol.

    first_bars: ``source, symbol, date``, the first bar of each.
    """
    by = ["source", "symbol"]
    shared = [
        raw_instruments.drop_nulls(n)
        .filter(pl.col("symbol").n_unique().over("source", n) > 1)
        .select(by)
        for n in NUMBERS
    ]
    several = [
        raw_instruments.drop_nulls(n).filter(pl.col(n).n_unique().over(by) > 1).select(by)
        for n in NUMBERS
    ]
    late = (
        raw_instruments.join(first_bars, on=by, how="inner")
        .filter(pl.col("first_trade") > pl.col("date"))
        .select(by)
    )
    return pl.concat([*shared, *several, late]).unique().sort(by)


def holders(
    source: str,
    symbol: str,
    versions: Sequence[Version],
    days: Sequence[date],
    calendar: TradingCalendar,
) -> list[Holder]:
    """Who held ``symbol``, in order; those without a bar are left out.

    versions: descriptions by ``fetched_at``. days: dates of bars, ascending.
    """
    groups: list[list[Version]] = [[versions[0]]]
    begins: list[date] = [date.min]
    for version in versions[1:]:
        begin = _another(source, symbol, groups[-1], version, days, calendar)
        if begin is None or begin <= begins[-1]:
            groups[-1].append(version)
        else:
            groups.append([version])
            begins.append(begin)
    out: list[Holder] = []
    for k, (group, begin) in enumerate(zip(groups, begins, strict=True)):
        end = begins[k + 1] if k + 1 < len(begins) else date.max
        own = days[bisect_left(days, begin) : bisect_left(days, end)]
        known: datetime | None = None
        if k == 0:
            cut = _before_first_trade(group, own, calendar)
            if cut is not None:
                at, known = cut
                out.append(Holder(source, symbol, 0, [_nameless(group[0])], own[:at], True, known))
                own = own[at:]
        else:
            known = group[0]["fetched_at"]
        if own:
            out.append(Holder(source, symbol, k + 1, group, own, end != date.max, known))
    return out


def link(found: Sequence[Holder], calendar: TradingCalendar) -> None:
    """Holders that follow each other with one FIGI (else ISIN) become one instrument.

    The instrument keeps the identity of the symbol that was described first. The later symbol counts
    from its first bar after the last of the earlier one. Side by side means doubtful: not merged.
    """
    before: dict[int, Holder] = {}
    after: dict[int, Holder] = {}
    for number in NUMBERS:
        same: dict[tuple[str, object], list[Holder]] = {}
        for h in found:
            if (value := h.has(number)) is not None:
                same.setdefault((h.source, value), []).append(h)
        for (_, value), group in sorted(same.items(), key=lambda item: str(item[0])):
            ordered = sorted(group, key=lambda h: (h.days[-1], h.days[0], h.symbol))
            for old, new in pairwise(ordered):
                if id(old) in after or id(new) in before:
                    continue
                if any(old.has(n) and new.has(n) and old.has(n) != new.has(n) for n in NUMBERS[:1]):
                    continue
                told = _follows(old, new, calendar)
                if told is None:
                    _say(old, new, number, value)
                    continue
                stamps = [told[0], old.said(number, value), new.said(number, value)]
                after[id(old)], before[id(new)] = new, old
                old.closed = True
                new.known = max((s for s in stamps if s is not None), default=None)
                new.days = new.days[bisect_right(new.days, old.days[-1]) :]
    for h in found:
        chain = [h]
        while id(chain[-1]) in before:
            chain.append(before[id(chain[-1])])
        if id(h) in after or len(chain) == 1:
            continue
        oldest_first = chain[::-1]
        first = min(oldest_first, key=lambda m: m.versions[0]["fetched_at"])
        for member in chain:
            member.first = first


def _another(
    source: str,
    symbol: str,
    group: Sequence[Version],
    version: Version,
    days: Sequence[date],
    calendar: TradingCalendar,
) -> date | None:
    """The first bar of another holder, if ``version`` describes one."""
    said = Holder(source, symbol, 1, group, days)
    after: date = group[-1]["fetched_at"].astimezone(UTC).date()
    seen: date = version["fetched_at"].astimezone(UTC).date()
    traded: date | None = version.get("first_trade")
    number = next((n for n in NUMBERS if version.get(n) and said.has(n)), None)
    if number is not None and version[number] == said.has(number):
        return None
    if traded is not None and traded == said.has("first_trade"):
        if number is not None:
            _log().warning(
                "%s: its %s changed from %s to %s and its first day of trading did not: taken as one "
                "instrument. If the symbol was reused, say so in instruments.csv",
                symbol, number.upper(), said.has(number), version[number],
            )  # fmt: skip
        return None
    if traded is not None and traded > after:
        i = bisect_left(days, traded)
        if i < len(days) and (number is not None or (i and _pause(days, i, calendar))):
            return days[i]
    if number is None:
        return None
    for i in range(bisect_right(days, seen) - 1, 0, -1):
        if days[i] <= after:
            break
        if _pause(days, i, calendar):
            return days[i]
    return calendar.on_or_after(seen + timedelta(days=1))


def _before_first_trade(
    group: Sequence[Version], days: Sequence[date], calendar: TradingCalendar
) -> tuple[int, datetime | None] | None:
    """How many bars came before a pause and the first day of trading, and when that was told."""
    for i, version in reversed(list(enumerate(group))):
        traded = version.get("first_trade")
        if traded is None:
            continue
        at = bisect_left(days, traded)
        if 0 < at < len(days) and _pause(days, at, calendar):
            return at, None if i == 0 else version["fetched_at"]
        return None
    return None


def _nameless(version: Version) -> Version:
    """What is known of whoever had the symbol before: that it traded there."""
    return {**version, **dict.fromkeys(("name", "sector", "isin", "figi", "first_trade"))}


def _pause(days: Sequence[date], i: int, calendar: TradingCalendar) -> bool:
    return calendar.slot(days[i]) - calendar.slot(days[i - 1]) - 1 > PAUSE


def _follows(old: Holder, new: Holder, calendar: TradingCalendar) -> tuple[datetime | None] | None:
    """Whether ``new`` goes on where ``old`` stopped: when that was told, if later than by rule."""
    last = old.days[-1]
    if new.days[-1] <= last:
        return None
    if old.versions[-1]["exchange"] != new.versions[0]["exchange"]:
        return None
    arrived: datetime = new.versions[0]["fetched_at"]
    if new.days[0] > last or arrived.astimezone(UTC).date() > last:
        return (None,)
    told = calendar.slot(last) + PAUSE + 1
    if calendar.slot(new.days[-1]) >= told:
        return (calendar.known_at(calendar.date_of(told)),)
    return None


def _say(old: Holder, new: Holder, number: str, value: object) -> None:
    _log().warning(
        "%s and %s have one %s (%s) and trade side by side, or on two exchanges: kept apart. If they are "
        "one instrument, say so in instruments.csv", old.symbol, new.symbol, number.upper(), value,
    )  # fmt: skip


def _log() -> Any:
    return get_logger("instruments")
