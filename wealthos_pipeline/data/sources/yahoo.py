"""Yahoo Finance (no key): bars with dividends and splits, profiles, statements, earnings, VIX, rates
of exchange.

Asked through yfinance's client (``yahoo_client``); the answers are read here, because yfinance's own
tables cost ten times as much a symbol and leave out what a row must say: the currency of a statement,
which rows are bars of a session that is over (``docs/data.md`` has the numbers).
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any

import polars as pl

from wealthos_pipeline.core.data import contract
from wealthos_pipeline.core.errors import SourceError, UnknownSymbolError
from wealthos_pipeline.data.processors.units import MINOR
from wealthos_pipeline.data.sources import yahoo_chart as chart
from wealthos_pipeline.data.sources import yahoo_company as company
from wealthos_pipeline.data.sources.base import (
    RESTATED_FUNDAMENTALS,
    Bias,
    Request,
    SourceInfo,
)
from wealthos_pipeline.data.sources.fetching import Fetcher, Limits
from wealthos_pipeline.data.sources.vendor import Vendor
from wealthos_pipeline.data.sources.yahoo_client import NothingThereError, YahooClient

if TYPE_CHECKING:
    from wealthos_pipeline.utils.config import FetchSettings, KeySettings, SourceSettings

CHART = "/v8/finance/chart/{symbol}"
SUMMARY = "/v10/finance/quoteSummary/{symbol}"
STATEMENTS = "/ws/fundamentals-timeseries/v1/finance/timeseries/{symbol}"

EVENTS = "div,splits,capitalGains"
FIRST = date(1927, 12, 30)
"""Yahoo has no bars before this day."""
MARGIN = timedelta(days=7)
"""Asked for before the range, so that an event on a day without a bar finds the bar after it."""
BEFORE = timedelta(days=7)
"""Rates of exchange are taken from so long before the bars."""
STATEMENTS_SINCE = date(2016, 12, 31)
"""Yahoo gives four years and five quarters, whatever is asked for."""
VIX = "^VIX"


class Yahoo(Vendor):
    """The vendor ``yahoo``."""

    name = "yahoo"
    # Yahoo publishes no limit; one request a second is what it bears for hours
    limits = Limits(per_minute=60, concurrency=4)
    gives = ("prices", "profile", "fundamentals", "earnings", "series")

    def __init__(
        self,
        settings: SourceSettings,
        fetch: FetchSettings,
        keys: KeySettings,
        *,
        fetcher: Fetcher | None = None,
    ) -> None:
        super().__init__(settings, fetch, keys, fetcher=fetcher)
        self.client = YahooClient(fetch.base_url, self.fetcher.limits.timeout)
        # filled by the threads of the fetcher: single assignments
        self._metas: dict[str, chart.Meta] = {}

    def info(self) -> SourceInfo:
        return SourceInfo(
            name=self.name,
            title="Yahoo Finance",
            licence="Yahoo's terms of service: personal use, no redistribution",
            provenance="finance.yahoo.com, asked through yfinance",
            biases=(
                Bias(
                    "survivors",
                    "Only names that trade today",
                    "Yahoo drops the history of most instruments once they are delisted; a universe "
                    "of names that it still has flatters every backtest.",
                ),
                Bias(
                    "sector_snapshot",
                    "Sectors are today's, and Morningstar's",
                    "Yahoo gives the present sector alone, by Morningstar's classification; it is "
                    "shown under the GICS sector of the nearest meaning.",
                ),
                RESTATED_FUNDAMENTALS,
            ),
            missing={
                "published_at": "Yahoo does not say when a statement was filed",
                "revenue_actual": "Yahoo's history of reports has earnings per share alone",
                "isin": "Yahoo does not give it",
                "figi": "Yahoo does not give it",
                "membership": "Yahoo has no history of index members",
            },
            live=True,
        )

    def begin(self, request: Request) -> None:
        self._metas.clear()

    def close(self) -> None:
        self.client.close()

    def bars(self, symbol: str, start: date | None, end: date | None) -> pl.DataFrame:
        """Split-adjusted bars in [start, end] with dividends and split ratios.

        ``basis_vintage`` is the day of the fetch, or of the last bar if a split takes effect after it. Always asked up to now: later splits are needed to know what earlier prices mean.
        UnknownSymbolError where there are no bars at all, SourceError where the range has none.
        """
        now = self.request.now
        begin = FIRST if start is None else start - MARGIN
        body = self.client.json(
            CHART,
            symbol,
            {
                "period1": _midnight(begin),
                "period2": _midnight(self.today + timedelta(days=2)),
                "interval": "1d",
                "includePrePost": "false",
                "events": EVENTS,
            },
        )
        read = chart.read(
            body,
            symbol,
            now=now,
            over=self._over,
            start=start,
            end=end,
        )
        self._metas[symbol] = read.meta
        if read.early and read.early[-1] > now.astimezone(read.meta.zone).date():
            self.miss(symbol, _ahead(read.early[-1], read.meta, now), "prices")
        if not read.received and start is None:
            raise UnknownSymbolError(
                f"{symbol}: Yahoo knows the symbol and has no bars for it. See finance.yahoo.com."
            )
        if not read.received:
            raise SourceError(f"{symbol}: Yahoo sent no bars from {begin} on")
        return read.bars

    def profile(self, symbol: str) -> dict[str, object]:
        """Chart's description, completed for shares with sector, industry and country."""
        meta = self._metas.get(symbol)
        known = {} if meta is None else company.described(meta, self.settings.exchange)
        if meta is not None and meta.kind != "EQUITY":
            return known
        try:
            body = self._summary(symbol, "assetProfile,quoteType,price")
        except (NothingThereError, UnknownSymbolError):
            if meta is None:
                raise
            return known
        found = company.profile(body, symbol, self.settings.exchange)
        return found | {k: v for k, v in known.items() if v is not None}

    def fundamentals(self, symbol: str) -> pl.DataFrame:
        """Income statement, balance sheet and cash flow: the last four years and five quarters."""
        parts = [self._statements(symbol, prefix) for prefix in company.PERIODS]
        return pl.concat(parts)

    def earnings(self, symbol: str) -> pl.DataFrame:
        """The last four quarters with estimate and actual, and what is expected next."""
        meta = self._metas.get(symbol)
        empty = contract("raw.earnings").empty().drop("source", "symbol", "fetched_at")
        if meta is not None and meta.kind != "EQUITY":
            return empty
        try:
            body = self._summary(symbol, "earningsHistory,earningsTrend,calendarEvents")
        except NothingThereError:
            return empty
        return company.earnings(body, symbol, meta)

    def parts(self, what: str, request: Request) -> list[str]:
        """Of the series: the VIX, and the pair of every currency of the universe's bars."""
        return ["vix", *self._pairs(request)]

    def part(self, what: str, name: str, request: Request) -> pl.DataFrame:
        """``vix`` (index points), or ``fx`` of one pair: ``GBPUSD`` is the price of a pound in dollars."""
        series, tenor, unit = ("vix", "", "index") if name == "vix" else ("fx", name, "rate")
        stored = self._stored(request, "raw.series").filter(series=series, tenor=tenor)
        start = request.start
        if stored.height:
            last: date = stored["date"].max()  # type: ignore[assignment]
            back = request.calendar.offset(last, -self.fetch_settings.overlap_sessions)
            start = back if start is None else max(back, start)
        if series == "fx" and start is not None:
            start -= BEFORE  # the first bars are converted at a rate that was known before them
        bars = self.bars(VIX if name == "vix" else f"{name}=X", start, request.end)
        return bars.select(
            pl.lit(series).alias("series"),
            pl.lit(tenor).alias("tenor"),
            "date",
            pl.col("close").alias("value"),
            pl.lit(unit).alias("unit"),
            pl.lit("day").alias("frequency"),
        )

    def _pairs(self, request: Request) -> list[str]:
        """Pairs that turn the currencies of the universe's bars into ``source.currency``."""
        stored = self._stored(request, "raw.prices").filter(pl.col("symbol").is_in(self.symbols))
        seen = {m.currency for s, m in self._metas.items() if s in self.symbols}
        seen |= {*stored["currency"].drop_nulls().unique()}
        whole = {MINOR.get(c, c) for c in seen if c}
        base = MINOR.get(self.settings.currency, self.settings.currency)
        return [f"{c}{base}" for c in sorted(whole - {base})]

    def _statements(self, symbol: str, prefix: str) -> pl.DataFrame:
        meta = self._metas.get(symbol)
        nothing: dict[str, Any] = {"timeseries": {"result": []}}
        until = self.today + timedelta(days=1)

        def ask() -> dict[str, Any]:
            if meta is not None and meta.kind != "EQUITY":
                return nothing
            return self.client.json(
                STATEMENTS,
                symbol,
                {
                    "symbol": symbol,
                    "type": company.figures(prefix),
                    "period1": _midnight(STATEMENTS_SINCE),
                    "period2": _midnight(until),
                },
            )

        try:  # the base waits for its turn once a symbol; the second request takes its own
            body = ask() if prefix == "annual" else self.fetcher.call(ask)
        except NothingThereError:
            body = nothing
        return company.fundamentals(body, symbol, prefix)

    def _summary(self, symbol: str, modules: str) -> dict[str, Any]:
        return self.client.json(
            SUMMARY,
            symbol,
            {"modules": modules, "corsDomain": "finance.yahoo.com", "formatted": "false"},
        )

    def _over(self, day: date, meta: chart.Meta) -> bool:
        """Whether the session of ``day`` had ended, plus lag, at the instrument's exchange and in the
        calendar of this house: a bar that the next step would refuse must not carry a split away."""
        asked, session = self.request, meta.session
        if (asked.now.date() - day).days > 3:
            return True
        today = asked.now.astimezone(meta.zone).date()
        closed = asked.calendar.is_session(day) and asked.calendar.known_at(day) <= asked.now
        if asked.calendar.is_session(day) and not closed:
            return False
        if session is None or session.day != day:
            return day < today or (session is None and day == today and closed)
        return asked.now >= session.end + asked.calendar.lag


def _ahead(day: date, meta: chart.Meta, now: datetime) -> str:
    return (
        f"Yahoo sent a bar of {day}, which is not there yet by this machine's clock "
        f"({now.astimezone(meta.zone):%Y-%m-%d %H:%M} at the exchange); it is left out. Check the clock."
    )


def _midnight(day: date) -> int:
    return int(datetime.combine(day, time(), UTC).timestamp())
