"""The base of every vendor that is asked over the network.

A vendor says how fast it may be asked (``limits``), what it gives (``gives``) and how to get one
symbol's bars, profile, statements or news. Everything else is the same for all and lives here: which
range is missing, the overlap, what failed and what stands in its place, and the stamp on every row.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import ClassVar, TypeVar

import polars as pl
from pydantic import SecretStr

from wealthos_pipeline.core.data import contract
from wealthos_pipeline.core.errors import (
    AccessError,
    ConfigError,
    ContractError,
    SourceError,
)
from wealthos_pipeline.data.sources import universe
from wealthos_pipeline.data.sources.base import FAILURES, RawFrames, Request, SourceInfo, complete
from wealthos_pipeline.data.sources.fetching import Fetcher, Limits, NotAskedError, StoppedError
from wealthos_pipeline.utils.config import FetchSettings, KeySettings, SourceSettings
from wealthos_pipeline.utils.logging import get_logger

T = TypeVar("T")

BY_SYMBOL = ("prices", "profile", "fundamentals", "earnings", "news")
WHOLE = ("series", "macro", "membership")
GIVES = (*BY_SYMBOL, *WHOLE)
"""What a vendor can give. The first are asked symbol by symbol, the others at once."""

REFRESH = timedelta(days=7)
"""Profiles and statements are asked again after so long."""

_INSTANT = pl.Datetime("us", "UTC")


@dataclass
class Log:
    """What a fetch could not give in full, row by row of ``meta.failures``."""

    rows: list[tuple[str, str, str, str | None]] = field(default_factory=list)

    def add(self, symbol: str, reason: str, what: str, kept: str | None = None) -> None:
        self.rows.append((symbol, reason, what, kept))

    def frame(self) -> pl.DataFrame:
        return pl.DataFrame(self.rows, schema=FAILURES, orient="row")


class Vendor(ABC):
    """A source behind a network. Give ``name``, ``limits``, ``gives`` and the methods it names.

    Each of them is called inside the ``Fetcher``: TransientError to be asked again,
    UnknownSymbolError, AccessError or SourceError with the vendor's own words.
    """

    name: ClassVar[str]
    limits: ClassVar[Limits]
    gives: ClassVar[tuple[str, ...]]

    def __init__(
        self,
        settings: SourceSettings,
        fetch: FetchSettings,
        keys: KeySettings,
        *,
        fetcher: Fetcher | None = None,
    ) -> None:
        self.settings = settings
        self.fetch_settings = fetch
        self.keys = keys
        self.fetcher = fetcher or Fetcher(self.limits, fetch)
        self.symbols: tuple[str, ...] = ()
        if any(self.wants(what) for what in BY_SYMBOL):
            self.symbols = universe.symbols(settings, self.name)

    # what a vendor overrides

    @abstractmethod
    def info(self) -> SourceInfo:
        """Licence, provenance, biases and what is missing."""

    def bars(self, symbol: str, start: date | None, end: date | None) -> pl.DataFrame:
        """Bars in [start, end], sorted: columns of ``raw.prices`` without source, symbol, fetched_at."""
        raise NotImplementedError

    def profile(self, symbol: str) -> dict[str, object]:
        """Columns of ``raw.instruments`` without source, symbol, fetched_at."""
        raise NotImplementedError

    def fundamentals(self, symbol: str) -> pl.DataFrame:
        """Columns of ``raw.fundamentals`` without source, symbol, fetched_at."""
        raise NotImplementedError

    def earnings(self, symbol: str) -> pl.DataFrame:
        """Columns of ``raw.earnings`` without source, symbol, fetched_at."""
        raise NotImplementedError

    def news(self, symbol: str, since: datetime | None) -> pl.DataFrame:
        """Columns of ``raw.news`` without source, symbol, fetched_at; published after ``since``."""
        raise NotImplementedError

    def series(self, request: Request) -> pl.DataFrame:
        """``raw.series`` without source, fetched_at."""
        raise NotImplementedError

    def macro(self, request: Request) -> pl.DataFrame:
        """``raw.macro`` without source, fetched_at."""
        raise NotImplementedError

    def membership(self, request: Request) -> pl.DataFrame:
        """``raw.membership`` without source, fetched_at."""
        raise NotImplementedError

    # what is the same for all

    def wants(self, what: str) -> bool:
        """Whether this vendor gives ``what`` and the settings want it."""
        wanted = self.settings.gives
        return what in self.gives and (wanted is None or what in wanted)

    def secret(self, name: str) -> str:
        """The key called ``name`` in the settings; AccessError says how to give it."""
        found = getattr(self.keys, name, None)
        if not isinstance(found, SecretStr) or not found.get_secret_value():
            raise AccessError(
                f"{self.name} needs a key: set the environment variable "
                f"WEALTHOS_KEYS__{name.upper()}"
            )
        return found.get_secret_value()

    def base_url(self, usual: str) -> str:
        """The vendor's address, or the one that ``fetch.base_url`` puts in its place."""
        return (self.fetch_settings.base_url or usual).rstrip("/")

    def fetch(self, request: Request) -> RawFrames:
        """Everything that this vendor gives and the settings want. SourceError if nothing came."""
        log = Log()
        frames: dict[str, pl.DataFrame] = {}
        if self.wants("prices"):
            frames["prices"], frames["rejected"] = self._prices(request, log)
        if self.wants("profile") or self.wants("prices"):
            frames["instruments"] = self._profiles(request, log)
        for what in ("fundamentals", "earnings", "news"):
            if self.wants(what):
                frames[what] = self._by_symbol(what, request, log)
        for what in WHOLE:
            if self.wants(what):
                frames[what] = self._whole(what, request, log)
        empty = {
            n: contract(f"raw.{n}").empty()
            for n in ("prices", "series", "instruments", "membership")
        }
        return RawFrames(**(empty | frames), failures=log.frame())  # type: ignore[arg-type]

    def _prices(self, request: Request, log: Log) -> tuple[pl.DataFrame, pl.DataFrame]:
        stored = self._stored(request, "raw.prices")
        last = dict(stored.group_by("symbol").agg(pl.col("date").max()).iter_rows())
        back = -self.fetch_settings.overlap_sessions

        def start(symbol: str) -> date | None:
            if symbol not in last:
                return request.start
            again = request.calendar.offset(last[symbol], back)
            return again if request.start is None else max(again, request.start)

        def ask(symbol: str) -> pl.DataFrame:
            return self._dressed(
                "prices", symbol, self.bars(symbol, start(symbol), request.end), request
            )

        got = self._each(self.symbols, ask, "prices", log, lambda s: _through(last.get(s)))
        parts = [contract("raw.prices").empty(), *got.values()]
        rows, early = complete(pl.concat(parts), request)
        rejected = early.with_columns(
            pl.lit(self.name).alias("source"),
            pl.lit(request.now).cast(_INSTANT).alias("fetched_at"),
            pl.lit("raw.prices").alias("table"),
            pl.lit(request.now).cast(_INSTANT).alias("known_at"),
        )
        return contract("raw.prices").conform(rows), contract("clean.quarantine").conform(rejected)

    def _profiles(self, request: Request, log: Log) -> pl.DataFrame:
        """Profiles of the symbols whose last one is old; the plainest one where none is given."""
        table = contract("raw.instruments")
        stored = self._stored(request, "raw.instruments")
        plain = {
            "asset_class": "equity",
            "exchange": self.settings.exchange,
            "currency": self.settings.currency,
        }

        def ask(symbol: str) -> pl.DataFrame:
            body = plain | {k: v for k, v in self.profile(symbol).items() if v is not None}
            return self._dressed("instruments", symbol, pl.DataFrame([body]), request)

        got: dict[str, pl.DataFrame] = {}
        if self.wants("profile"):
            due = self._due(stored, request)
            got = self._each(due, ask, "profile", log, lambda s: None)
        known = {*stored["symbol"], *got}
        bare = [
            self._dressed("instruments", s, pl.DataFrame([plain]), request)
            for s in self.symbols
            if s not in known
        ]
        return table.conform(pl.concat([table.empty(), *got.values(), *bare]))

    def _by_symbol(self, what: str, request: Request, log: Log) -> pl.DataFrame:
        table = contract(f"raw.{what}")
        stored = self._stored(request, table.name)
        symbols: Sequence[str] = self.symbols
        since: dict[str, datetime] = {}
        if what == "fundamentals":
            symbols = self._due(stored, request)
        if what == "news":
            newest = stored.group_by("symbol").agg(pl.col("published_at").max())
            since = {s: t for s, t in newest.iter_rows() if t is not None}

        def ask(symbol: str) -> pl.DataFrame:
            if what == "news":
                found = self.news(symbol, since.get(symbol))
            else:
                found = getattr(self, what)(symbol)
            return self._dressed(what, symbol, found, request)

        have = set(stored["symbol"])
        got = self._each(
            symbols, ask, what, log, lambda s: "what was stored before" if s in have else None
        )
        return table.conform(pl.concat([table.empty(), *got.values()]))

    def _whole(self, what: str, request: Request, log: Log) -> pl.DataFrame:
        table = contract(f"raw.{what}")

        def ask(_: str) -> pl.DataFrame:
            return self._dressed(what, None, getattr(self, what)(request), request)

        have = self._stored(request, table.name).height > 0
        kept = "what was stored before" if have else None
        got = self._each(["*"], ask, what, log, lambda _: kept)
        return table.conform(pl.concat([table.empty(), *got.values()]))

    def _each(
        self,
        symbols: Sequence[str],
        ask: Callable[[str], pl.DataFrame],
        what: str,
        log: Log,
        kept: Callable[[str], str | None],
    ) -> dict[str, pl.DataFrame]:
        """Symbol → what came; what did not goes to ``log``, once for those that were not asked."""
        got: dict[str, pl.DataFrame] = {}
        not_asked: list[str] = []
        words = ""
        for symbol, found in self.fetcher.each(symbols, lambda s: _guarded(s, ask)):
            if isinstance(found, StoppedError):
                raise found
            if isinstance(found, NotAskedError):
                not_asked.append(symbol)
                words = str(found)
            elif isinstance(found, SourceError):
                log.add(symbol, str(found), what, kept(symbol))
            else:
                got[symbol] = found
        if not_asked:
            log.add("*", f"{len(not_asked)} of {len(symbols)} {words}", what, None)
        return got

    def _due(self, stored: pl.DataFrame, request: Request) -> list[str]:
        """Symbols whose last description is older than ``REFRESH``."""
        last = dict(stored.group_by("symbol").agg(pl.col("fetched_at").max()).iter_rows())
        return [s for s in self.symbols if s not in last or request.now - last[s] >= REFRESH]

    def _stored(self, request: Request, table: str) -> pl.DataFrame:
        if request.stored is None:
            return contract(table).empty()
        return request.stored(table).filter(pl.col("source") == self.name)

    def _dressed(
        self, what: str, symbol: str | None, frame: pl.DataFrame, request: Request
    ) -> pl.DataFrame:
        stamps = [
            pl.lit(self.name).alias("source"),
            pl.lit(request.now).cast(_INSTANT).alias("fetched_at"),
        ]
        if symbol is not None:
            stamps.append(pl.lit(symbol).alias("symbol"))
        return contract(f"raw.{what}").conform(frame.with_columns(stamps))


def _guarded(symbol: str, ask: Callable[[str], T]) -> T:
    """``ask(symbol)``; an answer of another shape than expected is a failure of this symbol alone."""
    try:
        return ask(symbol)
    except (SourceError, ConfigError, NotImplementedError):
        raise
    except Exception as error:
        get_logger("sources").debug("%s: unexpected answer", symbol, exc_info=error)
        said = str(error).splitlines()[0] if str(error) else ""
        what = said if isinstance(error, ContractError) else f"{type(error).__name__}: {said}"
        raise SourceError(f"the answer has another shape than expected: {what}") from error


def _through(last: date | None) -> str | None:
    return None if last is None else f"bars through {last}"
