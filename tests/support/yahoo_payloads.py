"""Yahoo's answers beside charts, in its shapes: summaries, statements; and a whole Yahoo on a wire."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
from wire import Ask, Bar, Reply, Wire, within, yahoo_chart

from wealthos_pipeline.core.data import contract
from wealthos_pipeline.data.processors import raw
from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.data.sources.base import RawFrames, Request
from wealthos_pipeline.data.sources.fetching import Fetcher
from wealthos_pipeline.data.sources.yahoo import Yahoo
from wealthos_pipeline.utils.config import FetchSettings, KeySettings, SourceSettings


def regular(day: date, zone: str, opens: time = time(9, 30), hours: float = 6.5) -> dict[str, Any]:
    """``currentTradingPeriod`` with the session of ``day``."""
    start = int(datetime.combine(day, opens, ZoneInfo(zone)).timestamp())
    return {"regular": {"start": start, "end": start + int(hours * 3600)}}


def summary(**modules: Mapping[str, Any]) -> dict[str, Any]:
    return {"quoteSummary": {"result": [modules], "error": None}}


def company(name: str, sector: str, *, code: str = "NYQ", currency: str = "USD") -> dict[str, Any]:
    return summary(
        assetProfile={"sector": sector, "industry": "Widgets", "country": "United States"},
        quoteType={"exchange": code, "quoteType": "EQUITY", "longName": name},
        price={"currency": currency, "quoteType": "EQUITY"},
    )


def no_summary(symbol: str) -> Reply:
    words = f"No fundamentals data found for symbol: {symbol}"
    error = {"code": "Not Found", "description": words}
    return Reply({"quoteSummary": {"result": None, "error": error}}, 404)


def statements(
    prefix: str, figures: Mapping[str, Mapping[date, float]], currency: str = "USD"
) -> dict[str, Any]:
    """figures: Yahoo's name → period end → value."""
    result = [
        {
            "meta": {"symbol": ["X"], "type": [prefix + name]},
            prefix + name: [
                {
                    "asOfDate": end.isoformat(),
                    "currencyCode": currency,
                    "reportedValue": {"raw": value, "fmt": f"{value:g}"},
                }
                for end, value in values.items()
            ],
        }
        for name, values in figures.items()
    ]
    return {"timeseries": {"result": result, "error": None}}


@dataclass
class Listing:
    """One symbol: traded closes as they were, and events. Split-adjusted as of each asking."""

    days: Sequence[date]
    closes: Sequence[float]
    splits: dict[date, tuple[float, float]] = field(default_factory=dict)
    dividends: dict[date, float] = field(default_factory=dict)
    currency: str = "USD"
    zone: str = "America/New_York"
    exchange: str = "NYQ"
    kind: str = "EQUITY"
    opens: time = time(9, 30)
    hours: float = 6.5
    volume: float = 1_000_000.0

    def chart(self, symbol: str, ask: Ask, now: datetime) -> dict[str, Any]:
        """The chart as Yahoo would give it at ``now``, the running session included."""
        today = now.astimezone(ZoneInfo(self.zone)).date()
        days = [d for d in self.days if d <= today]
        splits = {d: s for d, s in self.splits.items() if d <= today}
        paid = {d: a for d, a in self.dividends.items() if d <= today}
        rows, cash = [], {}
        share = dict.fromkeys(days, 1.0)
        for d in days:
            for when, (new, old) in splits.items():
                if when > d:
                    share[d] *= new / old
        adjust = 1.0
        for i in range(len(days) - 1, -1, -1):
            d = days[i]
            close = self.closes[i] / share[d]
            rows.append(
                Bar(
                    d,
                    close,
                    open=close * 0.995,
                    high=close * 1.01,
                    low=close * 0.99,
                    volume=self.volume * share[d],
                    adj_close=close * adjust,
                )
            )
            if d in paid and i:
                before = self.closes[i - 1] / share[days[i - 1]]
                adjust *= 1.0 - paid[d] / share[d] / before
        for d, amount in paid.items():
            cash[d] = amount / share.get(d, 1.0)
        rows.reverse()
        current = max((d for d in days if d <= today), default=today)
        return yahoo_chart(
            symbol,
            within(ask, rows),
            currency=self.currency,
            splits={d: s for d, s in splits.items() if _asked(ask, d)},
            dividends={d: a for d, a in cash.items() if _asked(ask, d)},
            zone=self.zone,
            exchange=self.exchange,
            opens=self.opens,
            instrumentType=self.kind,
            firstTradeDate=regular(self.days[0], self.zone, self.opens)["regular"]["start"],
            currentTradingPeriod=regular(current, self.zone, self.opens, self.hours),
        )


def _asked(ask: Ask, day: date) -> bool:
    at = datetime.combine(day, time(14, 30), UTC).timestamp()
    return int(ask.query["period1"]) <= at < int(ask.query["period2"])


@dataclass
class Market:
    """Yahoo on a wire. Set ``now`` and what it knows moves on."""

    listings: dict[str, Listing]
    now: datetime
    summaries: dict[str, Any] = field(default_factory=dict)
    figures: dict[str, dict[str, Any]] = field(default_factory=dict)

    def serve(self, wire: Wire) -> Market:
        wire.serve(r"^/\?", "")
        wire.serve("^/v1/test/getcrumb", "a.crumb")
        wire.serve("^/v8/finance/chart/", self._chart)
        wire.serve("^/v10/finance/quoteSummary/", self._summary)
        wire.serve("/finance/timeseries/", self._statements)
        return self

    def _chart(self, ask: Ask) -> Any:
        symbol = ask.path.rsplit("/", 1)[-1]
        if symbol not in self.listings:
            words = "No data found, symbol may be delisted"
            error = {"code": "Not Found", "description": words}
            return Reply({"chart": {"result": None, "error": error}}, 404)
        return self.listings[symbol].chart(symbol, ask, self.now)

    def _summary(self, ask: Ask) -> Any:
        symbol = ask.path.rsplit("/", 1)[-1]
        return self.summaries.get(symbol) or no_summary(symbol)

    def _statements(self, ask: Ask) -> Any:
        symbol = ask.path.rsplit("/", 1)[-1]
        kind = "quarterly" if ask.query["type"].startswith("quarterly") else "annual"
        found = self.figures.get(symbol, {}).get(kind, {})
        return statements(kind, found)


def evening(day: date) -> datetime:
    """22:30 UTC: New York has closed, the lag is over."""
    return datetime.combine(day, time(22, 30), UTC)


def morning(day: date) -> datetime:
    """15:00 UTC: New York is open."""
    return datetime.combine(day, time(15), UTC)


def weekdays(first: date, count: int) -> list[date]:
    found: list[date] = []
    while len(found) < count:
        if first.weekday() < 5:
            found.append(first)
        first += timedelta(days=1)
    return found


class Lake:
    """What a vendor is told that is stored, and what a run appends."""

    def __init__(self) -> None:
        self.tables: dict[str, pl.DataFrame] = {}

    def __call__(self, table: str) -> pl.DataFrame:
        return self.tables.get(table, contract(table).empty())

    def add(self, frames: RawFrames) -> dict[str, int]:
        """Append what is new; rows by table."""
        count = {}
        for name in ("prices", "series", "instruments", "fundamentals", "earnings"):
            table = contract(f"raw.{name}")
            new = raw.new_rows(self(table.name), getattr(frames, name), table)
            self.tables[table.name] = pl.concat([self(table.name), new])
            count[name] = new.height
        return count

    def latest(self, symbol: str) -> pl.DataFrame:
        """The latest version of every bar, by date."""
        rows = self("raw.prices").filter(pl.col("symbol") == symbol).sort("date", "fetched_at")
        return rows.unique(["date"], keep="last", maintain_order=True)


def asking(
    wire: Wire | str, calendar: TradingCalendar, lake: Lake, *symbols: str, **more: Any
) -> Callable[..., RawFrames]:
    """A function of ``now`` that fetches. more: of the settings, ``gives`` and so on; ``waits``: a list
    that takes the pauses instead of waiting."""
    waits: list[float] = more.pop("waits", [])
    clock = [0.0]

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        clock[0] += seconds

    address = wire if isinstance(wire, str) else wire.url
    ways = {"base_url": address, "per_minute": 1e6, "retries": 2} | more.pop("fetch", {})
    fetch = FetchSettings(**ways)
    settings = SourceSettings(name="yahoo", symbols=symbols, **({"gives": ("prices",)} | more))
    fetcher = Fetcher(Yahoo.limits, fetch, sleep=sleep, monotonic=lambda: clock[0])
    vendor = Yahoo(settings, fetch, KeySettings(), fetcher=fetcher)

    def at(now: datetime, *, end: date | None = None, start: date | None = None) -> RawFrames:
        return vendor.fetch(Request(start, end, now, calendar, stored=lake))

    return at
