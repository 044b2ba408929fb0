"""The base of every vendor that is asked over the network.

A vendor says how fast it may be asked (``limits``), what it gives (``gives``) and how to get one
symbol's bars, profile, statements or news. Everything else is the same for all and lives here: which
range is missing, the overlap, what failed and what stands in its place, and the stamp on every row.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import ClassVar, TypeVar
from zlib import crc32

import polars as pl

from wealthos_pipeline.core.data import TableContract, contract
from wealthos_pipeline.core.errors import (
    AccessError,
    ConfigError,
    ContractError,
    SourceError,
    UnknownSymbolError,
)
from wealthos_pipeline.data.processors import raw
from wealthos_pipeline.data.sources import incremental, universe
from wealthos_pipeline.data.sources.base import FAILURES, RawFrames, Request, SourceInfo, complete
from wealthos_pipeline.data.sources.failures import Log
from wealthos_pipeline.data.sources.fetching import Fetcher, Limits, NotAskedError, StoppedError
from wealthos_pipeline.data.sources.http import Http
from wealthos_pipeline.utils.config import FetchSettings, KeySettings, SourceSettings
from wealthos_pipeline.utils.logging import get_logger

T = TypeVar("T")

BY_SYMBOL = ("prices", "profile", "fundamentals", "earnings", "news")
WHOLE = ("series", "macro", "membership")
GIVES = (*BY_SYMBOL, *WHOLE)
"""What a vendor can give. The first are asked symbol by symbol, the others at once."""

WEEK = 7
"""Days after which profiles and statements are asked again."""

_INSTANT = pl.Datetime("us", "UTC")


class Vendor(ABC):
    """A source behind a network. Give ``name``, ``limits``, ``gives`` and the methods it names.

    Each of them is called inside the ``Fetcher``: TransientError to be asked again,
    UnknownSymbolError, AccessError or SourceError with the vendor's own words.
    """

    name: ClassVar[str]
    limits: ClassVar[Limits]
    gives: ClassVar[tuple[str, ...]]
    host: ClassVar[str] = ""
    """The address that ``self.http`` asks; empty for vendors with a client of their own."""
    plans: ClassVar[bool] = True
    """It finds out by itself what is missing (``Request.stored``)."""

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
        self.http = Http(self.base_url(self.host), self.fetcher.limits.timeout)
        self.symbols: tuple[str, ...] = ()
        self._request: Request | None = None
        self._missed: list[tuple[str, str, str, str | None]] = []
        if any(self.wants(what) for what in BY_SYMBOL):
            self.symbols = universe.symbols(settings, self.name)

    # what a vendor overrides

    @abstractmethod
    def info(self) -> SourceInfo:
        """Licence, provenance, biases and what is missing."""

    def bars(self, symbol: str, start: date | None, end: date | None) -> pl.DataFrame:
        """Bars in [start, end], sorted: columns of ``raw.prices`` without source, symbol, fetched_at."""
        raise self._lacks("bars")

    def profile(self, symbol: str) -> dict[str, object]:
        """Columns of ``raw.instruments`` without source, symbol, fetched_at."""
        raise self._lacks("profile")

    def fundamentals(self, symbol: str) -> pl.DataFrame:
        """Columns of ``raw.fundamentals`` without source, symbol, fetched_at."""
        raise self._lacks("fundamentals")

    def earnings(self, symbol: str) -> pl.DataFrame:
        """Columns of ``raw.earnings`` without source, symbol, fetched_at."""
        raise self._lacks("earnings")

    def news(self, symbol: str, since: datetime | None) -> pl.DataFrame:
        """Columns of ``raw.news`` without source, symbol, fetched_at; published after ``since``."""
        raise self._lacks("news")

    def series(self, request: Request) -> pl.DataFrame:
        """``raw.series`` without source, fetched_at."""
        raise self._lacks("series")

    def macro(self, request: Request) -> pl.DataFrame:
        """``raw.macro`` without source, fetched_at."""
        raise self._lacks("macro")

    def membership(self, request: Request) -> pl.DataFrame:
        """``raw.membership`` without source, fetched_at."""
        raise self._lacks("membership")

    def parts(self, what: str, request: Request) -> Sequence[str] | None:
        """In which requests ``what`` (one of ``WHOLE``) is asked: years, names of series.

        Each is asked again, fails and is kept by itself. None: the method called ``what`` gives it
        in one.
        """
        return None

    def part(self, what: str, name: str, request: Request) -> pl.DataFrame:
        """One of ``parts``: columns of the table without source, fetched_at."""
        raise self._lacks("part")

    def begin(self, request: Request) -> None:  # noqa: B027 (not every vendor learns something)
        """Called before anything is asked: forget what the fetch before has learnt."""

    # what is the same for all

    def _lacks(self, method: str) -> ConfigError:
        return ConfigError(
            f"the vendor {self.name!r} says that it gives {', '.join(self.gives)} and has no method "
            f"{method!r}; add it to {type(self).__name__}, see docs/vendors.md"
        )

    def wants(self, what: str) -> bool:
        """Whether this vendor gives ``what`` and the settings want it."""
        wanted = self.settings.gives
        return what in self.gives and (wanted is None or what in wanted)

    def secret(self, name: str) -> str:
        """The key called ``name`` in the settings; AccessError says how to give it."""
        found = self.keys.of(name)
        if found is None:
            raise AccessError(
                f"{self.name} needs a key: set the environment variable "
                f"WEALTHOS_KEYS__{name.upper()}"
            )
        return found

    def base_url(self, usual: str) -> str:
        """The vendor's address, or the one that ``fetch.base_url`` puts in its place."""
        return (self.fetch_settings.base_url or usual).rstrip("/")

    def fetch(self, request: Request) -> RawFrames:
        """Everything that this vendor gives and the settings want.

        What failed is in ``failures``. SourceError with the vendor's words when nothing came, or no
        bars where bars are wanted and none are stored.
        """
        self._request = request
        self._missed.clear()
        try:
            self.begin(request)
            frames = self._fetch(request)
        finally:
            self.close()
        missed = pl.DataFrame(self._missed, schema=FAILURES, orient="row")
        return replace(frames, failures=pl.concat([frames.failures, missed]))

    @property
    def request(self) -> Request:
        """The request that is being fetched."""
        assert self._request is not None, "asked outside fetch()"
        return self._request

    @property
    def today(self) -> date:
        """Its day (UTC)."""
        return self.request.now.astimezone(UTC).date()

    def miss(self, symbol: str, reason: str, what: str) -> None:
        """Say in ``failures`` that ``what`` of ``symbol`` ("*": of all) did not come, beside what the
        methods raise. May be called by any thread."""
        self._missed.append((symbol, reason, what, None))

    def close(self) -> None:
        """Let go of the connections that ``fetch`` opened."""
        self.http.close()

    def _fetch(self, request: Request) -> RawFrames:
        log = Log()
        frames: dict[str, pl.DataFrame] = {}
        known: Sequence[str] = self.symbols
        if self.wants("prices"):
            frames["prices"], frames["rejected"], known = self._prices(request, log)
        if self.wants("profile") or self.wants("prices"):
            frames["instruments"] = self._profiles(known, request, log)
        for what in ("fundamentals", "earnings", "news"):
            if self.wants(what):
                frames[what] = self._by_symbol(what, known, request, log)
        for what in WHOLE:
            if self.wants(what):
                frames[what] = self._whole(what, request, log)
        bars = not self.wants("prices") or "prices" in log.came
        if log.rows and not (log.came and (bars or self._stored(request, "raw.prices").height)):
            raise SourceError(f"{self.name} gave nothing: {log.words()}")
        empty = ("prices", "series", "instruments", "membership")
        frames = {n: contract(f"raw.{n}").empty() for n in empty} | frames
        return RawFrames(**frames, failures=log.frame())

    def _prices(
        self, request: Request, log: Log
    ) -> tuple[pl.DataFrame, pl.DataFrame, Sequence[str]]:
        """Rows to store, rows rejected, and the symbols that the vendor knows."""
        table = contract("raw.prices")
        stored = self._stored(request, table.name)
        last = incremental.last_bars(stored, request)
        overlap = self.fetch_settings.overlap_sessions
        first = incremental.starts(self.symbols, last, request, overlap)
        unknown: set[str] = set()

        def kept(symbol: str) -> str | None:
            return f"bars through {last[symbol]}" if symbol in last else None

        def ask(symbol: str) -> pl.DataFrame:
            try:
                rows = self.bars(symbol, first[symbol], request.end)
            except UnknownSymbolError:
                unknown.add(symbol)
                raise
            if not rows.height:
                raise SourceError("no bars came" + _since(first[symbol]))
            return _plain(rows, table)

        got = self._each(self.symbols, ask, "prices", log, kept)
        rows, early = complete(self._bars(got, request), request)
        verdict = incremental.judge(rows, stored, request)
        for notice in verdict.notices:
            log.add(notice.symbol, notice.reason, "prices", notice.kept)
        if verdict.again:
            first |= dict.fromkeys(verdict.again, request.start)
            for symbol, reason in verdict.again.items():
                log.add(symbol, f"{reason}: fetched again in full", "prices", "the new rows")
            anew = self._each(list(verdict.again), ask, "prices", log, kept)
            whole, _ = complete(self._bars(anew, request), request)
            rows = pl.concat([rows.filter(~pl.col("symbol").is_in(list(verdict.again))), whole])
            log.drop({s: "the new rows" for s in verdict.again if s not in anew})
        rows = rows.filter(~pl.col("symbol").is_in(list(verdict.refused)))
        rejected = early.with_columns(
            *self._stamps(request),
            pl.lit("raw.prices").alias("table"),
            pl.lit(request.now).cast(_INSTANT).alias("known_at"),
        )
        return (
            table.conform(rows),
            contract("clean.quarantine").conform(rejected),
            [s for s in self.symbols if s in got or (s in last and s not in unknown)],
        )

    def _bars(self, got: Mapping[str, pl.DataFrame], request: Request) -> pl.DataFrame:
        """The symbols' bars in one frame, stamped."""
        table = contract("raw.prices")
        empty = table.empty().drop("source", "symbol", "fetched_at")
        rows = pl.concat([empty, *got.values()], how="diagonal")
        names = pl.Series("symbol", [s for s, f in got.items() for _ in range(f.height)], pl.String)
        return table.conform(rows.with_columns(names, *self._stamps(request)))

    def _profiles(self, symbols: Sequence[str], request: Request, log: Log) -> pl.DataFrame:
        """Profiles of the symbols whose turn it is; the plainest one where there is none."""
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
            have = set(stored["symbol"])
            due = self._due(symbols, stored, request)
            got = self._each(
                due, ask, "profile", log, lambda s: "the profile before" if s in have else None
            )
        known = {*stored["symbol"], *got}
        bare = [
            self._dressed("instruments", s, pl.DataFrame([plain]), request)
            for s in symbols
            if s not in known
        ]
        return table.conform(pl.concat([table.empty(), *got.values(), *bare]))

    def _by_symbol(
        self, what: str, symbols: Sequence[str], request: Request, log: Log
    ) -> pl.DataFrame:
        table = contract(f"raw.{what}")
        stored = self._stored(request, table.name)
        since: dict[str, datetime] = {}
        if what == "fundamentals":
            symbols = self._due(symbols, stored, request)
        if what == "news":
            past = pl.col("published_at") <= pl.col(
                "fetched_at"
            )  # a date that lies ahead ends nothing
            newest = stored.filter(past).group_by("symbol").agg(pl.col("published_at").max())
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

        names = self.parts(what, request)

        def ask(name: str) -> pl.DataFrame:
            whole = names is None
            found = getattr(self, what)(request) if whole else self.part(what, name, request)
            return self._dressed(what, None, found, request)

        stored = self._stored(request, table.name)
        kept = "what was stored before" if stored.height else None
        got = self._each(["*"] if names is None else names, ask, what, log, lambda _: kept)
        return raw.new_rows(stored, pl.concat([table.empty(), *got.values()]), table)

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
                log.came.add(what)
        if not_asked:
            log.add("*", f"{len(not_asked)} of {len(symbols)} {words}", what, None)
        return got

    def _due(self, symbols: Sequence[str], stored: pl.DataFrame, request: Request) -> Sequence[str]:
        """Symbols of which nothing is stored, and those whose day of the week came since the last run.

        A symbol's day is a function of its name: a week's work is spread over the week.
        """
        if request.full or request.asked is None:
            return symbols
        have = set(stored["symbol"])
        days = (request.now.date() - request.asked.date()).days
        today = request.now.date().toordinal()
        return [s for s in symbols if s not in have or (today - crc32(s.encode())) % WEEK < days]

    def _stored(self, request: Request, table: str) -> pl.DataFrame:
        if request.stored is None:
            return contract(table).empty()
        return request.stored(table).filter(pl.col("source") == self.name)

    def _dressed(
        self, what: str, symbol: str | None, frame: pl.DataFrame, request: Request
    ) -> pl.DataFrame:
        stamps = self._stamps(request)
        if symbol is not None:
            stamps.append(pl.lit(symbol).alias("symbol"))
        return contract(f"raw.{what}").conform(frame.with_columns(stamps))

    def _stamps(self, request: Request) -> list[pl.Expr]:
        return [
            pl.lit(self.name).alias("source"),
            pl.lit(request.now).cast(_INSTANT).alias("fetched_at"),
        ]


def _plain(rows: pl.DataFrame, table: TableContract) -> pl.DataFrame:
    """One symbol's bars with the contract's types. ContractError, so that one symbol fails alone."""
    schema = table.schema()
    if unknown := [n for n in rows.columns if n not in schema]:
        raise ContractError(f"columns {unknown} are not in {table.name}")
    fits = all(dtype == schema[n] for n, dtype in rows.schema.items())
    out = rows if fits else rows.select(pl.col(n).cast(schema[n]) for n in rows.columns)
    if out["date"].null_count() or out["date"].n_unique() < out.height:
        raise ContractError("dates are missing or given twice")
    return out


def _guarded(symbol: str, ask: Callable[[str], T]) -> T:
    """``ask(symbol)``; an answer of another shape than expected is a failure of this symbol alone."""
    try:
        return ask(symbol)
    except (SourceError, ConfigError):
        raise
    except Exception as error:
        get_logger("sources").debug("%s: unexpected answer", symbol, exc_info=error)
        said = str(error).splitlines()[0] if str(error) else ""
        what = said if isinstance(error, ContractError) else f"{type(error).__name__}: {said}"
        raise SourceError(f"the answer has another shape than expected: {what}") from error


def _since(start: date | None) -> str:
    return "" if start is None else f" from {start} on"
