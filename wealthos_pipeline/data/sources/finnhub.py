"""Finnhub (needs a key): profiles, statements, news, earnings dates; prices where the plan has them.

Asked through the vendor's own package. The free plan allows 60 requests a minute and refuses daily
candles (HTTP 403): then prices fail with Finnhub's words and everything else goes on. What the plan
refuses beside that (the lists of splits and dividends, the premium profile, filings) is asked once a
run, said in one line, and left out.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import polars as pl

from wealthos_pipeline.core.errors import AccessError, UnknownSymbolError
from wealthos_pipeline.data.sources import finnhub_parse as parse
from wealthos_pipeline.data.sources.base import (
    CHOSEN_TODAY,
    Bias,
    Request,
    SourceInfo,
)
from wealthos_pipeline.data.sources.fetching import Fetcher, Limits
from wealthos_pipeline.data.sources.finnhub_client import FinnhubDoor, need
from wealthos_pipeline.data.sources.vendor import Vendor

if TYPE_CHECKING:
    import finnhub

    from wealthos_pipeline.utils.config import FetchSettings, KeySettings, SourceSettings

NEWS_DAYS = 30
"""Days of news that a symbol's first request goes back."""
NEWS_PAGE = 100
"""An answer with so many stories may be cut: what is older is asked for again."""
NEWS_PAGES = 20
EVENTS = ("splits", "dividends")
CALENDAR_BACK, CALENDAR_AHEAD = timedelta(days=365), timedelta(days=120)


class Finnhub(Vendor):
    """The vendor ``finnhub``; ``WEALTHOS_KEYS__FINNHUB`` holds the key."""

    name = "finnhub"
    # 60 a minute in any minute: an even 56 and the four that may go at once
    limits = Limits(per_minute=56, concurrency=4)
    gives = ("prices", "profile", "fundamentals", "earnings", "news")

    def __init__(
        self,
        settings: SourceSettings,
        fetch: FetchSettings,
        keys: KeySettings,
        *,
        fetcher: Fetcher | None = None,
    ) -> None:
        super().__init__(settings, fetch, keys, fetcher=fetcher)
        self._lock = threading.Lock()
        self._refused: set[str] = set()
        self._figis: dict[str, dict[str, dict[str, Any]]] = {}
        self._door: FinnhubDoor | None = None

    def info(self) -> SourceInfo:
        return SourceInfo(
            name=self.name,
            title="Finnhub",
            licence="Finnhub's terms of service; the free plan is for personal use",
            provenance="finnhub.io, asked through finnhub-python",
            biases=(
                CHOSEN_TODAY,
                Bias(
                    "restated_series",
                    "Ratios by period are as stated today",
                    "Finnhub's series of ratios carry no filing date and are restated; figures from "
                    "filings carry theirs.",
                ),
            ),
            missing={
                "prices": "daily candles are refused on the free plan",
                "split_ratio": "the list of splits needs a plan that has it; null where it has not",
                "dividend": "the list of dividends needs a plan that has it; null where it has not",
                "adj_close": "Finnhub gives no close adjusted for dividends",
                "sector": "finnhubIndustry is no GICS sector; the premium profile has one",
                "isin": "in the premium profile only",
            },
            live=True,
        )

    def begin(self, request: Request) -> None:
        self.secret("finnhub")  # without a key nothing is asked
        self._refused.clear()
        self._figis.clear()

    def close(self) -> None:
        if self._door is not None:
            self._door.close()

    def bars(self, symbol: str, start: date | None, end: date | None) -> pl.DataFrame:
        """Split-adjusted candles; events where the plan lists them, otherwise null.

        ``basis_vintage`` is the day of the fetch: the prices are in its basis.
        """
        first = 0 if start is None else int(_midnight(start).timestamp())
        after = self.today + timedelta(days=1) if end is None else end + timedelta(days=1)
        last = int(_midnight(after).timestamp()) - 1
        what = f"candles of {symbol}"
        candles = need(
            self._ask(what, lambda c: c.stock_candles(symbol, "D", first, last)), dict, what
        )
        frame = parse.bars(candles)
        if start is None and not frame.height:
            raise UnknownSymbolError(
                f"finnhub {what}: {candles.get('s') or 'nothing'}; check the symbol on finnhub.io"
            )
        if not frame.height:
            return frame
        since, today = frame["date"][0].isoformat(), self.today.isoformat()
        splits = self._premium(
            "splits", f"splits of {symbol}", lambda c: c.stock_splits(symbol, since, today)
        )
        paid = self._premium(
            "dividends", f"dividends of {symbol}", lambda c: c.stock_dividends(symbol, since, today)
        )
        dated = parse.with_events(frame, splits, paid)
        return dated.with_columns(pl.lit(self.today).alias("basis_vintage"))

    def profile(self, symbol: str) -> dict[str, object]:
        """The free profile, completed from the premium one and the exchange's list of symbols."""
        what = f"profile of {symbol}"
        basic = need(self._ask(what, lambda c: c.company_profile2(symbol=symbol)), dict, what)
        if not basic:
            raise UnknownSymbolError(
                f"finnhub {what}: nothing; check the symbol on finnhub.io (funds have no profile there)"
            )
        full = self._premium("profile", what, lambda c: c.company_profile(symbol=symbol), dict)
        return parse.profile(basic, full, self._listed(symbol))

    def fundamentals(self, symbol: str) -> pl.DataFrame:
        """Ratios and per-share figures of today and by period; every figure of every filing."""
        what = f"basic financials of {symbol}"
        basic = need(
            self._ask(what, lambda c: c.company_basic_financials(symbol, "all")), dict, what
        )
        rows = parse.basic_financials(basic, self.today)
        for freq in ("annual", "quarterly"):
            filed = partial(_filings, symbol=symbol, freq=freq)
            found = self._premium("filings", f"{freq} filings of {symbol}", filed, dict)
            rows += parse.reported_financials(found or {})
        return parse.fundamentals(rows)

    def earnings(self, symbol: str) -> pl.DataFrame:
        """Reports of the last quarters, and the dates that the calendar has."""
        what = f"earnings of {symbol}"
        history = need(self._ask(what, lambda c: c.company_earnings(symbol)), list, what)
        since = (self.today - CALENDAR_BACK).isoformat()
        until = (self.today + CALENDAR_AHEAD).isoformat()
        dates = self._premium(
            "earnings calendar",
            f"earnings calendar of {symbol}",
            lambda c: c.earnings_calendar(_from=since, to=until, symbol=symbol),
            dict,
        )
        return parse.earnings(history, (dates or {}).get("earningsCalendar") or ())

    def news(self, symbol: str, since: datetime | None) -> pl.DataFrame:
        """Stories from the day of ``since`` on (None: the last 30 days)."""
        what = f"news of {symbol}"
        first = self.today - timedelta(days=NEWS_DAYS) if since is None else since.date()
        last = self.today

        def page(client: finnhub.Client) -> Any:
            return client.company_news(symbol, _from=first.isoformat(), to=last.isoformat())

        got = need(self._ask(what, page), list, what)
        stories = list(got)
        for _ in range(NEWS_PAGES):
            oldest = parse.news(got)["published_at"].min()
            if len(got) < NEWS_PAGE or not isinstance(oldest, datetime):
                break
            # a day that fills an answer by itself cannot be continued: on with the day before
            last = min(oldest.date(), last - timedelta(days=1))
            if last < first:
                break
            got = self.fetcher.call(lambda: need(self._ask(what, page), list, what))
            stories += got
        return parse.news(stories)

    def _ask(self, what: str, call: Callable[[finnhub.Client], Any]) -> Any:
        with self._lock:
            if self._door is None:
                self._door = FinnhubDoor(
                    self.secret("finnhub"),
                    self.fetch_settings.base_url,
                    self.fetcher.limits.timeout,
                )
        return self._door.ask(what, call)

    def _premium(
        self, topic: str, what: str, call: Callable[[finnhub.Client], Any], kind: type = list
    ) -> Any:
        """What not every plan gives: None where this one refuses ``topic``, asked once a fetch."""
        with self._lock:
            if topic in self._refused:
                return None
        try:
            return self.fetcher.call(lambda: need(self._ask(what, call) or kind(), kind, what))
        except AccessError as error:
            with self._lock:
                if topic not in self._refused:
                    self._refused.add(topic)
                    what = "prices" if topic in EVENTS else topic
                    self.miss("*", f"not in this plan: {error}", what)
            return None

    def _listed(self, symbol: str) -> dict[str, Any] | None:
        """The symbol's entry in its exchange's list, which is read once a fetch."""
        exchange = symbol.rpartition(".")[2] if "." in symbol[-4:] else "US"
        with self._lock:
            known = self._figis.get(exchange)
        if known is None:
            rows = self._premium(
                f"list of symbols of {exchange}",
                f"list of symbols of {exchange}",
                lambda c: c.stock_symbols(exchange),
            )
            known = {str(r.get("symbol")): r for r in rows or ()}
            with self._lock:
                self._figis[exchange] = known
        return known.get(symbol)


def _filings(client: finnhub.Client, symbol: str, freq: str) -> Any:
    return client.financials_reported(symbol=symbol, freq=freq)


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(0), UTC)
