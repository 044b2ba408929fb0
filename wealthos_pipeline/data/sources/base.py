"""What every source of market data gives: raw frames, and an honest description of itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import polars as pl

from wealthos_pipeline.core.data import contract

if TYPE_CHECKING:
    from wealthos_pipeline.data.processors.calendar import TradingCalendar

FAILURES = {
    "symbol": pl.String(),
    "reason": pl.String(),
    "what": pl.String(),
    "kept": pl.String(),
}
"""Columns of ``RawFrames.failures``; the last two may be left out."""


@dataclass(frozen=True, slots=True)
class Bias:
    """One way in which the data flatter or mislead; printed on every page made from them."""

    name: str
    title: str
    detail: str


RESTATED_FUNDAMENTALS = Bias(
    "restated_fundamentals",
    "Statements are as restated later",
    "The vendor gives the figures of its statements as they stand today and does not date the "
    "filings. A figure is taken as known when the last day for filing it was over, but it may be a "
    "later restatement that nobody knew then. Versions fetched from now on are dated by their fetch.",
)
"""For sources of statements without filing dates."""

CHOSEN_TODAY = Bias(
    "survivors",
    "Only names that were asked for",
    "The list of symbols is today's; names that disappeared before are not in it.",
)
"""For sources that are asked symbol by symbol."""


@dataclass(frozen=True, slots=True)
class SourceInfo:
    """Who the data come from, on what terms, and what is wrong or missing.

    missing: field → reason, for example ``"volume" -> "the file has closes only"``.
    live: a vendor that should have every session; a panel that ends is not late.
    """

    name: str
    title: str
    licence: str
    provenance: str
    biases: tuple[Bias, ...] = ()
    missing: Mapping[str, str] = field(default_factory=dict)
    live: bool = False


@dataclass(frozen=True, slots=True)
class Request:
    """What to fetch.

    start, end: first and last session wanted; None is without limit.
    now: instant of the run (UTC); every row is stamped ``fetched_at = now``.
    since: rows with ``date >= since`` only (what is missing plus an overlap); None is everything.
    stored: table → what the lake has of this source: of ``raw.prices`` the latest version of the bars
        of each symbol's last sessions, of other raw tables all rows. None: nothing is stored.
    full: everything is wanted again, whatever is stored.
    asked: instant of the run before; None: there was none.
    """

    start: date | None
    end: date | None
    now: datetime
    calendar: TradingCalendar
    since: date | None = None
    stored: Callable[[str], pl.DataFrame] | None = None
    full: bool = False
    asked: datetime | None = None

    @property
    def first(self) -> date | None:
        """The later of ``start`` and ``since``."""
        return max((d for d in (self.start, self.since) if d is not None), default=None)

    def clip(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Rows of ``frame`` whose ``date`` was asked for."""
        if self.first is not None:
            frame = frame.filter(pl.col("date") >= self.first)
        if self.end is not None:
            frame = frame.filter(pl.col("date") <= self.end)
        return frame


@dataclass(frozen=True, slots=True)
class RawFrames:
    """Frames of the contracts ``raw.prices``, ``raw.series``, ``raw.instruments``,
    ``raw.membership``, ``raw.fundamentals``, ``raw.macro``, ``raw.news`` and ``raw.earnings``.

    failures: ``symbol, reason``: what could not be read or matched; the rest goes on.
    rejected: rows of ``clean.quarantine`` that cannot be stored raw, such as conflicting
        duplicate keys; the ingestion writes them there.
    """

    prices: pl.DataFrame
    series: pl.DataFrame
    instruments: pl.DataFrame
    membership: pl.DataFrame
    failures: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=FAILURES))
    rejected: pl.DataFrame = field(default_factory=lambda: contract("clean.quarantine").empty())
    fundamentals: pl.DataFrame = field(default_factory=lambda: contract("raw.fundamentals").empty())
    macro: pl.DataFrame = field(default_factory=lambda: contract("raw.macro").empty())
    news: pl.DataFrame = field(default_factory=lambda: contract("raw.news").empty())
    earnings: pl.DataFrame = field(default_factory=lambda: contract("raw.earnings").empty())


@runtime_checkable
class Source(Protocol):
    """A vendor or a file."""

    @property
    def name(self) -> str:
        """Name in the settings and in the column ``source``."""
        ...

    def info(self) -> SourceInfo:
        """Licence, provenance, biases and what is missing."""
        ...

    def fetch(self, request: Request) -> RawFrames:
        """The frames asked for. SourceError when nothing usable can be had."""
        ...


def complete(rows: pl.DataFrame, request: Request) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Rows without those of a session that is not over yet, and these as ``symbol, date, rule,
    detail`` for ``rejected``."""
    today = request.now.date()
    schema = {"symbol": pl.String, "date": pl.Date, "rule": pl.String, "detail": pl.String}
    recent = request.calendar.frame(today - timedelta(days=2), today)
    open_days = recent.filter(pl.col("known_at") > request.now)["date"].implode()
    early = pl.col("date").is_in(open_days)
    if not rows.select(early.any()).item():
        return rows, pl.DataFrame(schema=schema)
    rejected = rows.filter(early).select(
        "symbol",
        "date",
        pl.lit("incomplete_bar").alias("rule"),
        pl.format("close {} before the session was over", pl.col("close")).alias("detail"),
    )
    return rows.filter(~early), rejected
