"""A vendor of a few symbols behind a ``Wire``, and ingestion day by day into a real lake.

with Wire() as wire:
    market = Market(calendar, ["AAA", "BBB"], sessions=30)
    market.open(wire)
    days = Days(tmp_path, calendar, lambda: small_vendor(wire.url, market.symbols))
    days.run(market.evening(20))
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from wire import Ask, Reply, Wire

from wealthos_pipeline.core.data import contract
from wealthos_pipeline.core.errors import SourceError, UnknownSymbolError
from wealthos_pipeline.data.processors import raw
from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.data.sources import Request, Source, SourceInfo, ingestion
from wealthos_pipeline.data.sources.fetching import Fetcher, Limits
from wealthos_pipeline.data.sources.vendor import Vendor
from wealthos_pipeline.data.storage.lake import Lake
from wealthos_pipeline.utils.config import FetchSettings, KeySettings, SourceSettings

FIRST = date(2024, 1, 2)


@dataclass
class Clock:
    """Seconds that pass only while somebody sleeps."""

    now: float = 0.0
    slept: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._lock = threading.Lock()

    def sleep(self, seconds: float) -> None:
        with self._lock:
            self.now += seconds
            self.slept.append(seconds)

    def monotonic(self) -> float:
        return self.now


class SmallVendor(Vendor):
    """Bars with events, split-adjusted as of each answer, as JSON at ``/bars/SYMBOL``."""

    name = "small"
    host = "http://vendor.invalid"
    limits = Limits(per_minute=6000, concurrency=1, retries=3, timeout=5.0)
    gives = ("prices",)

    def info(self) -> SourceInfo:
        return SourceInfo(self.name, "A small vendor", "none", "made of numbers", live=True)

    def bars(self, symbol: str, start: date | None, end: date | None) -> pl.DataFrame:
        query = {"start": str(start)} if start else {}
        body: Any = self.http.json(f"bars/{symbol}", query | ({"end": str(end)} if end else {}))
        if "bars" not in body:
            raise SourceError(f"an answer without bars: {sorted(body)}")
        if not body["bars"]:
            raise (
                UnknownSymbolError("no data found")
                if start is None
                else SourceError(f"no bars from {start} on")
            )
        return pl.DataFrame(body["bars"]).with_columns(
            pl.col("date").str.to_date(),
            pl.lit(date.fromisoformat(body["as_of"])).alias("basis_vintage"),
            pl.lit(body["currency"]).alias("currency"),
        )


def small_vendor(
    url: str, symbols: Sequence[str], *, clock: Clock | None = None, **fetch: Any
) -> SmallVendor:
    """The vendor at ``url``; it never really waits between two attempts."""
    clock = clock or Clock()
    settings = FetchSettings(base_url=url, **fetch)
    fetcher = Fetcher(
        SmallVendor.limits, settings, sleep=clock.sleep, monotonic=clock.monotonic, seed=1
    )
    return SmallVendor(
        SourceSettings(name="small", symbols=tuple(symbols)),
        settings,
        KeySettings(),
        fetcher=fetcher,
    )


class Market:
    """Traded closes and events of some symbols; what the vendor says of them on a day.

    today: position of the last session that is given. splits, dividends: (symbol, position) → ratio
    or amount. hidden: splits that move prices and are not in the vendor's list. dropped: positions
    not given. early: extra rows as the vendor makes them. currency: of all answers.
    """

    def __init__(
        self, calendar: TradingCalendar, symbols: Sequence[str], *, sessions: int = 40
    ) -> None:
        self.calendar = calendar
        self.symbols = tuple(symbols)
        first = calendar.slot(FIRST)
        self.days = [calendar.date_of(first + i) for i in range(sessions)]
        rng = np.random.default_rng(11)
        self.close = {
            s: np.round(80.0 * np.cumprod(np.exp(rng.normal(0.0, 0.01, sessions))), 2)
            for s in self.symbols
        }
        self.today = 0
        self.splits: dict[tuple[str, int], float] = {}
        self.dividends: dict[tuple[str, int], float] = {}
        self.hidden: set[tuple[str, int]] = set()
        self.dropped: set[int] = set()
        self.extra: dict[str, list[dict[str, Any]]] = {}
        self.currency = "USD"

    def evening(self, position: int) -> datetime:
        """Some minutes after the bar of ``position`` could be known; moves ``today`` there."""
        self.today = position
        return self.calendar.known_at(self.days[position]) + timedelta(minutes=30)

    def open(self, wire: Wire) -> None:
        wire.serve(r"^/bars/", self.answer)

    def answer(self, ask: Ask) -> object:
        symbol = ask.path.rsplit("/", 1)[1]
        if symbol not in self.close:
            return Reply({"error": f"no symbol {symbol}"}, 404)
        first, last = ask.query.get("start", ""), ask.query.get("end", "9999")
        rows = [
            row
            for i in range(self.today + 1)
            if i not in self.dropped and first <= str(self.days[i]) <= last
            for row in [self.bar(symbol, i)]
        ]
        return {
            "currency": self.currency,
            "as_of": str(self.days[self.today]),
            "bars": rows + [r for r in self.extra.get(symbol, []) if first <= r["date"]],
        }

    def bar(self, symbol: str, i: int) -> dict[str, Any]:
        split, paid = 1.0, 1.0
        for k in range(i + 1, self.today + 1):
            split *= self.splits.get((symbol, k), 1.0)
            amount = self.dividends.get((symbol, k), 0.0)
            paid *= 1.0 - amount / self.traded(symbol, k - 1)
        close = self.traded(symbol, i) / split
        ratio = 1.0 if (symbol, i) in self.hidden else self.splits.get((symbol, i), 1.0)
        return {
            "date": str(self.days[i]), "open": close, "high": close * 1.01, "low": close * 0.99,
            "close": close, "adj_close": close * paid, "volume": 1000.0 * split,
            "dividend": self.dividends.get((symbol, i), 0.0) / split, "split_ratio": ratio,
        }  # fmt: skip

    def traded(self, symbol: str, i: int) -> float:
        """Close as traded: each split so far divided it."""
        held = [r for (s, k), r in self.splits.items() if s == symbol and k <= i]
        return float(self.close[symbol][i] / np.prod(held or [1.0]))


class Days:
    """Ingestion run by run into a lake on disk. ``made`` gives the source of each run."""

    def __init__(self, folder: Path, calendar: TradingCalendar, made: Callable[[], Source]) -> None:
        self.lake = Lake(folder / "lake", calendar=calendar)
        self.calendar, self.made = calendar, made
        self.asked: datetime | None = None
        self.runs = 0

    def run(self, now: datetime, *, full: bool = False, **more: Any) -> dict[str, pl.DataFrame]:
        """One run at ``now``; what it appended, by table."""
        source = self.made()
        self.runs += 1
        stored = ingestion.Stored(
            self.lake, self.calendar, source.name, now=now, overlap=10,
            symbols=getattr(source, "symbols", ()),
        )  # fmt: skip
        request = Request(
            start=None,
            end=None,
            now=now,
            calendar=self.calendar,
            full=full,
            asked=self.asked,
            **more,
        )
        frames = ingestion.gather(source, self.lake, request, run_id=f"r{self.runs}", stored=stored)
        for table, frame in frames.items():
            if frame.is_empty():
                continue
            self.lake.append(table, contract(table).conform(frame))
        self.asked = now
        return frames

    @property
    def prices(self) -> pl.DataFrame:
        """All versions, in order."""
        return self.lake.read("raw.prices")

    @property
    def bars(self) -> pl.DataFrame:
        """The last version of every bar, by symbol and date."""
        return raw.latest(self.prices, contract("raw.prices")).sort("symbol", "date")

    def failures(self, run: int | None = None) -> list[dict[str, Any]]:
        """Rows of ``meta.failures`` of a run, the last if None."""
        rows = self.lake.read("meta.failures")
        return rows.filter(pl.col("run_id") == f"r{run or self.runs}").sort("symbol").to_dicts()

    def told(self) -> str:
        """What the last run says failed, in a user's order of words."""
        return "; ".join(f"{r['symbol']}: {r['reason']}" for r in self.failures())

    def kept(self) -> str:
        """What the last run says stands in its place."""
        return "; ".join(dict.fromkeys(r["kept"] for r in self.failures() if r["kept"]))


def traded(bars: pl.DataFrame) -> pl.DataFrame:
    """``symbol, date, close`` as traded, from rows of ``raw.prices`` and their own splits: by a plain
    loop, bar by bar."""
    out = []
    for (symbol,), part in bars.group_by("symbol", maintain_order=True):
        rows = part.sort("date").to_dicts()
        for row in rows:
            close = row["close"]
            for other in rows:
                if row["date"] < other["date"] <= row["basis_vintage"]:
                    close *= other["split_ratio"]
            out.append((symbol, row["date"], close))
    return pl.DataFrame(out, schema=["symbol", "date", "close"], orient="row")
