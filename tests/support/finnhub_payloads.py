"""Answers in the shapes of Finnhub, from made-up companies, and a ``Wire`` that gives them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from typing import Any

from wire import Ask, Bar, Reply, Wire

from wealthos_pipeline.data import sources
from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.data.sources.fetching import Fetcher
from wealthos_pipeline.data.sources.finnhub import Finnhub
from wealthos_pipeline.utils.config import FetchSettings, KeySettings, SourceSettings

KEY = "c0ffee-sesame-finnhub"
FREE = ("profile", "fundamentals", "earnings", "news")
NOW = datetime(2024, 6, 28, 22, tzinfo=UTC)
NO_ACCESS = {"error": "You don't have access to this resource."}
BAD_KEY = {"error": "Invalid API key"}


@dataclass
class Company:
    """What the server knows of one symbol. splits: ex-date → (new, old); prices are adjusted for them."""

    symbol: str
    bars: Sequence[Bar] = ()
    splits: Mapping[date, tuple[int, int]] = field(default_factory=dict)
    dividends: Mapping[date, float] = field(default_factory=dict)
    stories: list[dict[str, Any]] = field(default_factory=list)
    filings: list[dict[str, Any]] = field(default_factory=list)
    reports: list[dict[str, Any]] = field(default_factory=list)
    coming: list[dict[str, Any]] = field(default_factory=list)
    profile: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        if self.profile is None:
            self.profile = profile2(self.symbol)


def profile2(symbol: str, **more: Any) -> dict[str, Any]:
    return {
        "country": "US",
        "currency": "USD",
        "estimateCurrency": "USD",
        "exchange": "NASDAQ NMS - GLOBAL MARKET",
        "finnhubIndustry": "Technology",
        "ipo": "1986-03-13",
        "logo": "",
        "marketCapitalization": 1234.5,
        "name": f"{symbol} Works Inc",
        "phone": "",
        "shareOutstanding": 100.25,
        "ticker": symbol,
        "weburl": "",
        **more,
    }


def candles(bars: Sequence[Bar]) -> dict[str, Any]:
    if not bars:
        return {"s": "no_data"}
    stamp = [int(datetime.combine(b.date, time(0), UTC).timestamp()) for b in bars]
    names = {"o": "open", "h": "high", "l": "low", "c": "close", "v": "volume"}
    return {k: [getattr(b, n) for b in bars] for k, n in names.items()} | {"s": "ok", "t": stamp}


def story(number: int, at: datetime, headline: str, **more: Any) -> dict[str, Any]:
    return {
        "category": "company",
        "datetime": int(at.timestamp()),
        "headline": headline,
        "id": number,
        "image": "",
        "related": "",
        "source": "The Gazette",
        "summary": "What happened.",
        "url": f"https://news.invalid/{number}",
        **more,
    }


def filing(
    number: str,
    form: str,
    span: tuple[str, str],
    accepted: str,
    filed: str,
    *,
    quarter: int = 0,
    **statements: list[tuple[str, object]],
) -> dict[str, Any]:
    """``ic=``, ``bs=``, ``cf=``: pairs of concept and value."""
    return {
        "accessNumber": number,
        "symbol": "",
        "cik": "1",
        "year": int(span[1][:4]),
        "quarter": quarter,
        "form": form,
        "startDate": f"{span[0]} 00:00:00",
        "endDate": f"{span[1]} 00:00:00",
        "filedDate": f"{filed} 00:00:00",
        "acceptedDate": accepted,
        "report": {
            name: [
                {
                    "concept": c,
                    "label": c,
                    "unit": "usd/shares" if "PerShare" in c else "usd",
                    "value": v,
                }
                for c, v in statements.get(name, [])
            ]
            for name in ("bs", "cf", "ic")
        },
    }


def basic(symbol: str) -> dict[str, Any]:
    return {
        "symbol": symbol,
        "metricType": "all",
        "metric": {
            "peTTM": 21.5,
            "marketCapitalization": 1234.5,
            "52WeekHigh": 180.25,
            "52WeekHighDate": "2024-06-03",
            "beta": None,
        },
        "series": {
            "annual": {"currentRatio": [{"period": "2023-12-31", "v": 1.5}]},
            "quarterly": {"eps": [{"period": "2024-03-31", "v": 0.75}]},
        },
    }


def serve(wire: Wire, *companies: Company, plan: str = "paid", key: str | None = None) -> None:
    """Answer for ``companies``. plan: ``free`` refuses candles, events, the premium profile.

    key: what ``X-Finnhub-Token`` must be; anything else is refused.
    """
    known = {c.symbol: c for c in companies}
    free = plan == "free"

    def route(path: str, give: Any, *, unknown: Any, paid: bool = False) -> None:
        def answer(ask: Ask) -> Reply:
            if key is not None and ask.headers.get("x-finnhub-token") != key:
                return Reply(BAD_KEY, 401)
            if paid and free:
                return Reply(NO_ACCESS, 403)
            company = known.get(ask.query.get("symbol", ""))
            return Reply(unknown if company is None else give(company, ask.query))

        wire.serve(rf"^{path}\?", answer)

    def in_range(rows: Sequence[Bar], query: Mapping[str, str]) -> list[Bar]:
        lo, hi = (datetime.fromtimestamp(int(query[n]), UTC).date() for n in ("from", "to"))
        return [b for b in rows if lo <= b.date <= hi]

    route(
        "/stock/candle",
        lambda c, q: candles(in_range(c.bars, q)),
        unknown={"s": "no_data"},
        paid=True,
    )
    route(
        "/stock/split",
        lambda c, q: [
            {"symbol": c.symbol, "date": d.isoformat(), "fromFactor": old, "toFactor": new}
            for d, (new, old) in c.splits.items()
            if q["from"] <= d.isoformat() <= q["to"]
        ],
        unknown=[],
        paid=True,
    )
    route(
        "/stock/dividend",
        lambda c, q: [
            {"symbol": c.symbol, "date": d.isoformat(), "amount": a, "currency": "USD"}
            for d, a in c.dividends.items()
            if q["from"] <= d.isoformat() <= q["to"]
        ],
        unknown=[],
        paid=True,
    )
    route("/stock/profile2", lambda c, q: c.profile, unknown={})
    route(
        "/stock/profile",
        lambda c, q: {"isin": f"US{c.symbol:0>9}0"[:12], "gsector": "Information Technology"},
        unknown={},
        paid=True,
    )
    route("/stock/metric", lambda c, q: basic(c.symbol), unknown={"metric": {}, "series": {}})
    route(
        "/stock/financials-reported",
        lambda c, q: {
            "cik": "1",
            "symbol": c.symbol,
            "data": [f for f in c.filings if (f["quarter"] == 0) == (q["freq"] == "annual")],
        },
        unknown={"cik": "", "symbol": "", "data": []},
    )
    route("/stock/earnings", lambda c, q: c.reports, unknown=[])
    route(
        "/calendar/earnings",
        lambda c, q: {
            "earningsCalendar": [r for r in c.coming if q["from"] <= r["date"] <= q["to"]]
        },
        unknown={"earningsCalendar": []},
    )
    route(
        "/company-news",
        lambda c, q: [
            s
            for s in c.stories
            if q["from"] <= datetime.fromtimestamp(s["datetime"], UTC).date().isoformat() <= q["to"]
        ],
        unknown=[],
    )
    wire.serve(
        r"^/stock/symbol\?",
        [{"symbol": s, "shareClassFIGI": f"BBG{s:0>9}"} for s in known],
    )


# asking


class Clock:
    """Time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


Fetch = Callable[..., sources.RawFrames]


def fetching(wire: Wire, calendar: TradingCalendar, clock: Clock) -> Fetch:
    """One fetch of a new vendor object; ``have`` are the frames that are stored."""

    def ask(
        *symbols: str,
        now: datetime = NOW,
        gives: tuple[str, ...] | None = None,
        have: sources.RawFrames | None = None,
        key: str | None = KEY,
        **settings: float,
    ) -> sources.RawFrames:
        limits = FetchSettings.model_validate({"base_url": wire.url, "retries": 2} | settings)
        fetcher = Fetcher(Finnhub.limits, limits, sleep=clock.sleep, monotonic=clock)
        source = Finnhub(
            SourceSettings(name="finnhub", symbols=symbols, gives=gives),
            limits,
            KeySettings(finnhub=key),  # type: ignore[arg-type]
            fetcher=fetcher,
        )
        stored = None
        if have is not None:
            stored = lambda table: getattr(have, table.removeprefix("raw."))  # noqa: E731
        return source.fetch(sources.Request(None, None, now, calendar, stored=stored))

    return ask
