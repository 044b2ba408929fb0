"""Alpha Vantage (needs a key), over HTTP: bars as traded, statements, earnings, rates, statistics.

Paid plans have the daily series with dividends, splits and adjusted closes. The free one has the
last 100 traded bars without events, five requests a minute and 25 a day: after these nothing more is
asked, and the symbols whose data are oldest go first, so that the next day continues.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import polars as pl

from wealthos_pipeline.core.errors import SourceError, UnknownSymbolError
from wealthos_pipeline.data.processors.units import MINOR
from wealthos_pipeline.data.sources import alpha_vantage_parse as parse
from wealthos_pipeline.data.sources.base import (
    CHOSEN_TODAY,
    RESTATED_FUNDAMENTALS,
    Bias,
    Request,
    SourceInfo,
)
from wealthos_pipeline.data.sources.fetching import Fetcher, Limits
from wealthos_pipeline.data.sources.vendor import Vendor

if TYPE_CHECKING:
    from wealthos_pipeline.utils.config import FetchSettings, KeySettings, SourceSettings

ADDRESS = "https://www.alphavantage.co"
FREE_PER_MINUTE, FREE_PER_DAY = 5.0, 25
SPENT = (
    f"the {FREE_PER_DAY} requests a day of Alpha Vantage's free plan are used up; the rest follows "
    "tomorrow, the oldest first. With a paid plan set fetch.per_minute to its limit"
)
COMPACT = timedelta(days=130)
"""A range this short is inside the last 100 sessions, which is what a compact answer holds."""

MATURITIES = {
    "3month": "3M",
    "2year": "2Y",
    "5year": "5Y",
    "7year": "7Y",
    "10year": "10Y",
    "30year": "30Y",
}
STATISTICS = {
    "CPI": ("cpi", {"interval": "monthly"}),
    "UNEMPLOYMENT": ("unemployment_rate", {}),
    "REAL_GDP": ("real_gdp", {"interval": "quarterly"}),
    "FEDERAL_FUNDS_RATE": ("federal_funds_rate", {"interval": "monthly"}),
    "NONFARM_PAYROLL": ("nonfarm_payroll", {}),
    "RETAIL_SALES": ("retail_sales", {}),
    "DURABLES": ("durable_goods", {}),
    "INFLATION": ("inflation", {}),
}
"""Function → name of the series and parameters."""


class AlphaVantage(Vendor):
    """The vendor ``alpha_vantage``; ``WEALTHOS_KEYS__ALPHA_VANTAGE`` holds the key.

    ``fetch.per_minute`` above 5 says that the plan is a paid one, without a daily limit.
    """

    name = "alpha_vantage"
    host = ADDRESS
    limits = Limits(per_minute=FREE_PER_MINUTE, concurrency=1)
    gives = ("prices", "profile", "fundamentals", "earnings", "series", "macro")

    def __init__(
        self,
        settings: SourceSettings,
        fetch: FetchSettings,
        keys: KeySettings,
        *,
        fetcher: Fetcher | None = None,
    ) -> None:
        super().__init__(settings, fetch, keys, fetcher=fetcher)
        self._named = self.symbols
        self._lock = threading.Lock()
        self._forget()

    def info(self) -> SourceInfo:
        return SourceInfo(
            name=self.name,
            title="Alpha Vantage",
            licence="Alpha Vantage's terms of service; the free plan is for personal use",
            provenance="alphavantage.co, over HTTP",
            biases=(
                CHOSEN_TODAY,
                Bias(
                    "unknown_events",
                    "The free plan knows no splits and dividends",
                    "Its bars are as traded: a split looks like a fall, and returns are without "
                    "dividends. Paid plans give both as events.",
                ),
                RESTATED_FUNDAMENTALS,
            ),
            missing={
                "split_ratio": "the free plan has no splits; null there",
                "dividend": "the free plan has no dividends; null there",
                "adj_close": "the free plan has none",
                "history": "the free plan has the last 100 sessions",
                "news": "its news are by topic and score, not by story number",
            },
            live=True,
        )

    def begin(self, request: Request) -> None:
        self.secret("alpha_vantage")  # without a key nothing is asked
        self._forget()
        last = dict(
            self._stored(request, "raw.prices").group_by("symbol").agg(pl.col("date").max()).rows()
        )
        self.symbols = tuple(sorted(self._named, key=lambda s: last.get(s, date.min)))
        self._kept = self._stored(request, "raw.instruments")

    def bars(self, symbol: str, start: date | None, end: date | None) -> pl.DataFrame:
        """Traded bars. With a paid plan: with events and adjusted closes; else events are null."""
        self._turns.free = True
        short = start is not None and self.today - start < COMPACT
        frame = None
        if "events" not in self._refused:
            frame = self._series("TIME_SERIES_DAILY_ADJUSTED", symbol, parse.ADJUSTED_BAR, short)
        if frame is None:
            if not short and "history" not in self._refused:
                frame = self._series("TIME_SERIES_DAILY", symbol, parse.BAR, short=False)
            if frame is None:
                frame = self._series("TIME_SERIES_DAILY", symbol, parse.BAR, short=True)
        if frame is None:
            raise SourceError(f"alpha_vantage {symbol}: this plan gives no daily bars")
        if not frame.height:
            raise UnknownSymbolError(f"alpha_vantage {symbol}: the series is empty")
        return frame.filter(
            pl.lit(start).is_null() | (pl.col("date") >= pl.lit(start)),
            pl.lit(end).is_null() | (pl.col("date") <= pl.lit(end)),
        )

    def _series(
        self, function: str, symbol: str, fields: dict[str, str], short: bool
    ) -> pl.DataFrame | None:
        """None where the plan does not allow it, which is remembered."""
        size = "compact" if short else "full"
        try:
            found = self._ask(function, symbol=symbol, outputsize=size)
        except parse.PremiumError as error:
            what = "history" if function == "TIME_SERIES_DAILY" else "events"
            if what == "history" and short:
                raise
            with self._lock:
                if what not in self._refused:
                    self.miss("*", f"no {what} in this plan: {error}", "prices")
                self._refused.add(what)
            return None
        return parse.bars(found, fields, f"{function} {symbol}")

    def profile(self, symbol: str) -> dict[str, object]:
        """OVERVIEW; for what it does not describe (funds, other countries) the symbol search."""
        self._turns.free = True
        found = self._overview(symbol)
        body = parse.profile(found) if found.get("Name") else None
        if body is None:
            body = parse.match(self._ask("SYMBOL_SEARCH", keywords=symbol), symbol)
        if body is None:
            raise UnknownSymbolError(
                f"alpha_vantage: {symbol} is neither described nor found; check the symbol"
            )
        with self._lock:
            self._currencies.add(str(body.get("currency") or self.settings.currency))
        return body

    def fundamentals(self, symbol: str) -> pl.DataFrame:
        """Numbers of OVERVIEW as of today; the three statements, by year and quarter."""
        self._turns.free = True
        rows = parse.overview(self._overview(symbol), self.today)
        for function in parse.STATEMENTS:
            rows += parse.statement(self._ask(function, symbol=symbol), function)
        return parse.fundamentals(rows)

    def earnings(self, symbol: str) -> pl.DataFrame:
        """Quarterly reports with their day, estimate and outcome."""
        self._turns.free = True
        return parse.earnings(self._ask("EARNINGS", symbol=symbol))

    def parts(self, what: str, request: Request) -> Sequence[str] | None:
        """Rates of the currencies that the instruments trade in, and Treasury yields; statistics."""
        if what == "macro":
            return list(STATISTICS)
        base = self.settings.currency
        traded = self._currencies | set(self._kept["currency"].drop_nulls())
        return [*sorted({MINOR.get(c, c) + base for c in traded} - {2 * base}), *MATURITIES]

    def part(self, what: str, name: str, request: Request) -> pl.DataFrame:
        """One pair, maturity or statistic. Alpha Vantage dates no publication."""
        self._turns.free = True
        if what == "macro":
            series, more = STATISTICS[name]
            frame = parse.statistic(self._ask(name, **more), series)
        elif name in MATURITIES:
            found = self._ask("TREASURY_YIELD", interval="daily", maturity=name)
            frame = parse.yields(found, MATURITIES[name])
        else:
            legs = {"from_symbol": name[:3], "to_symbol": name[3:], "outputsize": "full"}
            frame = parse.rates(self._ask("FX_DAILY", **legs), name, f"FX_DAILY {name}")
        return replace(request, since=None).clip(frame)

    def _forget(self) -> None:
        """What one fetch learns: what the plan refuses, what was asked already."""
        paid = self.fetcher.limits.per_minute > FREE_PER_MINUTE
        self._left: int | None = None if paid else FREE_PER_DAY
        self._spent: str | None = None
        self._refused: set[str] = set()
        self._overviews: dict[str, dict[str, Any]] = {}
        self._currencies: set[str] = set()
        self._turns = threading.local()

    def _overview(self, symbol: str) -> dict[str, Any]:
        with self._lock:
            known = self._overviews.get(symbol)
        if known is None:
            known = self._ask("OVERVIEW", symbol=symbol)
            with self._lock:
                self._overviews[symbol] = known
        return known

    def _ask(self, function: str, **params: str) -> dict[str, Any]:
        """The answer of one function. The first of a method takes the turn that the base has waited
        for; each further one waits for its own."""
        if getattr(self._turns, "free", False):
            self._turns.free = False
            return self._once(function, params)
        return self.fetcher.call(lambda: self._once(function, params))

    def _once(self, function: str, params: dict[str, str]) -> dict[str, Any]:
        key = self.secret("alpha_vantage")
        with self._lock:
            if self._spent is not None:
                raise parse.DailyLimitError(self._spent)
            if self._left == 0:
                raise parse.DailyLimitError(SPENT)
            if self._left is not None:
                self._left -= 1
        what = " ".join((function, *params.values()))
        found = self.http.json("query", {"function": function, **params, "apikey": key})
        error = parse.refusal(found, what, key)
        if isinstance(error, parse.DailyLimitError):
            with self._lock:
                self._spent = error.words
        if error is not None:
            raise error
        assert isinstance(found, dict)
        return found
