"""FRED and ALFRED, the data service of the Federal Reserve Bank of St. Louis. Needs a key.

Market series are taken as they stand today (they are hardly ever revised). Statistics come with all
their vintages: each version with the day on which it was published. The hour is not given, so a
version counts from the end of that day in New York.

Exchange rates are stored as US dollars for one unit of the other currency, tenor ``GBPUSD`` and so
on: those that the Federal Reserve quotes the other way round (yen per dollar) are inverted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import ClassVar

import polars as pl

from wealthos_pipeline.core.data import contract
from wealthos_pipeline.core.errors import AccessError, SourceError, TransientError
from wealthos_pipeline.data.processors import raw
from wealthos_pipeline.data.processors.macro import midnight
from wealthos_pipeline.data.sources.base import Bias, Request, SourceInfo
from wealthos_pipeline.data.sources.fetching import Limits
from wealthos_pipeline.data.sources.vendor import Vendor

HOST = "https://api.stlouisfed.org"
PATH = "fred/series/observations"
PAGE = 100_000
"""Observations in one answer, at most."""
BEGINNING, END = "1776-07-04", "9999-12-31"
"""What the service calls the first and the last day of its real time."""
OVERLAP = {"day": timedelta(days=14), "month": timedelta(days=100)}
"""Fetched again before the last stored value, to notice corrections."""
MISSING = "."


@dataclass(frozen=True, slots=True)
class Market:
    """One FRED series as ``series, tenor`` of ``raw.series``; ``inverse``: stored as 1 / value."""

    series: str
    tenor: str
    unit: str
    frequency: str = "day"
    inverse: bool = False


@dataclass(frozen=True, slots=True)
class Statistic:
    """One FRED series as a series of ``raw.macro``; values are multiplied by ``scale``."""

    series: str
    unit: str
    frequency: str
    scale: float = 1.0


def _fx(code: str, currency: str, *, inverse: bool) -> tuple[str, Market]:
    return code, Market("fx", f"{currency}USD", "rate", inverse=inverse)


YIELDS = {
    f"DGS{code}": Market("ust_par", tenor, "percent")
    for code, tenor in (
        ("1MO", "1M"), ("3MO", "3M"), ("6MO", "6M"), ("1", "1Y"), ("2", "2Y"), ("3", "3Y"),
        ("5", "5Y"), ("7", "7Y"), ("10", "10Y"), ("20", "20Y"), ("30", "30Y"),
    )
}  # fmt: skip
"""The same par curve as the Treasury's, by way of the H.15 release; not asked beside ``treasury``."""

MARKETS: Mapping[str, Market] = {
    **YIELDS,
    "VIXCLS": Market("vix", "", "index"),
    "BAMLC0A0CM": Market("credit_spread", "IG", "percent"),
    "BAMLH0A0HYM2": Market("credit_spread", "HY", "percent"),
    "T5YIE": Market("breakeven", "5Y", "percent"),
    "T10YIE": Market("breakeven", "10Y", "percent"),
    "AAA": Market("moody_yield", "AAA", "percent", "month"),
    "BAA": Market("moody_yield", "BAA", "percent", "month"),
    **dict(
        _fx(code, currency, inverse=False)
        for code, currency in (
            ("DEXUSEU", "EUR"), ("DEXUSUK", "GBP"), ("DEXUSAL", "AUD"), ("DEXUSNZ", "NZD"),
        )
    ),
    **dict(
        _fx(code, currency, inverse=True)
        for code, currency in (
            ("DEXJPUS", "JPY"), ("DEXCAUS", "CAD"), ("DEXSZUS", "CHF"), ("DEXSDUS", "SEK"),
            ("DEXNOUS", "NOK"), ("DEXDNUS", "DKK"), ("DEXHKUS", "HKD"), ("DEXSIUS", "SGD"),
            ("DEXCHUS", "CNY"), ("DEXKOUS", "KRW"), ("DEXTAUS", "TWD"), ("DEXINUS", "INR"),
            ("DEXSFUS", "ZAR"), ("DEXMXUS", "MXN"), ("DEXBZUS", "BRL"),
        )
    ),
}  # fmt: skip
"""FRED's name → what it is here."""

STATISTICS: Mapping[str, Statistic] = {
    "CPIAUCSL": Statistic("cpi_sa", "index", "month"),
    "UNRATE": Statistic("unemployment_rate", "percent", "month"),
    "PAYEMS": Statistic("nonfarm_payroll_sa", "persons", "month", 1e3),
    "INDPRO": Statistic("industrial_production_sa", "index", "month"),
    "FEDFUNDS": Statistic("federal_funds_rate", "percent", "month"),
    "GDPC1": Statistic("real_gdp_saar", "usd", "quarter", 1e9),
}
"""FRED's name → what it is here. ``_sa``: seasonally adjusted, where it is published unadjusted too;
``_saar``: at an annual rate besides."""


class FredVendor(Vendor):
    """Yields, spreads, VIX, exchange rates; statistics with their vintages."""

    name: ClassVar[str] = "fred"
    host: ClassVar[str] = HOST
    limits: ClassVar[Limits] = Limits(per_minute=100, concurrency=2, timeout=60.0)
    gives: ClassVar[tuple[str, ...]] = ("series", "macro")

    def info(self) -> SourceInfo:
        return SourceInfo(
            name=self.name,
            title="FRED: yields, spreads, exchange rates; statistics by vintage",
            licence="terms of FRED; some series (VIX, ICE BofA, Moody's) belong to third parties",
            provenance="api.stlouisfed.org; H.15 and H.10 releases, Cboe, ICE, Moody's, BLS, BEA",
            biases=(
                Bias(
                    "fx_weekly",
                    "Exchange rates are published once a week",
                    "The rates of a week (noon in New York) are taken as known on the first business "
                    "day of the week after, so the latest known rate is two to seven sessions old.",
                ),
            ),
            live=True,
        )

    def parts(self, what: str, request: Request) -> Sequence[str]:
        """FRED's names of the series to ask for; AccessError without a key."""
        self.secret("fred")
        if what == "macro":
            return list(STATISTICS)
        beside = "treasury" in (self.settings.name, *self.settings.also)
        return [name for name in MARKETS if not (beside and name in YIELDS)]

    def part(self, what: str, name: str, request: Request) -> pl.DataFrame:
        """One series, from a little before the last stored value, or the last stored vintage, on."""
        if what == "macro":
            return self._statistic(name, STATISTICS[name], request)
        return self._market(name, MARKETS[name], request)

    def _market(self, name: str, market: Market, request: Request) -> pl.DataFrame:
        stored = self._stored(request, "raw.series").filter(
            (pl.col("series") == market.series) & (pl.col("tenor") == market.tenor)
        )
        last = None if request.full else stored["date"].max()
        start = request.start
        if isinstance(last, date):
            again = last - OVERLAP[market.frequency]
            start = again if start is None else max(start, again)
        rows = self._observations(name, start=start, end=request.end)
        day, value = pl.col("date"), pl.col("value")
        frame = _values(rows, name).filter(value.is_not_null())
        if market.inverse:
            _positive(frame, name)
        return frame.select(
            pl.lit(market.series).alias("series"),
            pl.lit(market.tenor).alias("tenor"),
            (day.dt.month_end() if market.frequency == "month" else day).alias("date"),
            (1.0 / value if market.inverse else value).alias("value"),
            pl.lit(market.unit).alias("unit"),
            pl.lit(market.frequency).alias("frequency"),
        )

    def _statistic(self, name: str, statistic: Statistic, request: Request) -> pl.DataFrame:
        """Versions of ``raw.macro`` since the last stored vintage.

        Asked from a day V on, the service dates whatever stood on V as of V. So of the versions
        dated V those are kept that differ from the stored ones.
        """
        table = contract("raw.macro")
        stored = self._stored(request, table.name).filter(pl.col("series") == statistic.series)
        if request.full:
            stored = stored.clear()
        since = stored["vintage"].max() if stored.height else BEGINNING
        rows = self._observations(
            name, start=None, end=request.end, realtime_start=str(since), realtime_end=END
        )
        frame = _values(rows, name).select(
            pl.lit(statistic.series).alias("series"),
            "date",
            "vintage",
            pl.col("value") * statistic.scale,
            pl.lit(statistic.unit).alias("unit"),
            pl.lit(statistic.frequency).alias("frequency"),
            midnight(pl.col("vintage").str.to_date() + pl.duration(days=1)).alias("published_at"),
        )
        if not stored.height:
            return frame
        # what stands: of each value the last vintage, as last fetched
        stands = (
            stored.sort("date", "vintage", raw.STAMP)
            .unique("date", keep="last", maintain_order=True)
            .select("date", pl.col("value").alias("_stands"), pl.lit(value=True).alias("_known"))
        )
        told = pl.col("_known") & pl.col("value").eq_missing(pl.col("_stands"))
        return (
            frame.join(stands, on="date", how="left", maintain_order="left")
            .filter((pl.col("vintage") > str(since)) | told.not_().fill_null(value=True))
            .drop("_stands", "_known")
        )

    def _observations(
        self, name: str, *, start: date | None, end: date | None, **more: str
    ) -> list[dict[str, object]]:
        params: dict[str, str | int | float] = {
            "series_id": name, "api_key": self.secret("fred"), "file_type": "json", "limit": PAGE,
            **({"observation_start": str(start)} if start is not None else {}),
            **({"observation_end": str(end)} if end is not None else {}),
            **more,
        }  # fmt: skip
        rows: list[dict[str, object]] = []
        while True:
            try:
                body = self.http.json(PATH, {**params, "offset": len(rows)})
            except AccessError as error:
                raise AccessError(f"{error} Check the key in WEALTHOS_KEYS__FRED.") from error
            if not isinstance(body, dict) or not isinstance(body.get("observations"), list):
                raise SourceError(f"FRED's answer for {name} has no list of observations")
            page = body["observations"]
            rows += page
            count = body.get("count", len(rows))
            if not isinstance(count, int) or len(rows) >= count:
                break
            if not page:
                raise TransientError(f"FRED gave {len(rows)} of {count} observations of {name}")
        if not rows and start is None:
            raise SourceError(f"FRED has no observation of {name}")
        return rows


def _values(rows: Sequence[Mapping[str, object]], name: str) -> pl.DataFrame:
    """``date, vintage, value`` sorted; ``.`` is null. SourceError lists what cannot be read."""
    out: list[tuple[date, str, float | None]] = []
    faults: list[str] = []
    for row in rows:
        try:
            day = date.fromisoformat(str(row["date"]))
            vintage = str(date.fromisoformat(str(row["realtime_start"])))
            text = str(row["value"]).strip()
            out.append((day, vintage, None if text in (MISSING, "") else float(text)))
        except (KeyError, ValueError) as error:
            faults.append(f"{dict(row)!r:.120}: {error}")
    if faults:
        raise SourceError(
            f"FRED's {name} has {len(faults)} observations that cannot be read, such as {faults[0]}"
        )
    schema = {"date": pl.Date, "vintage": pl.String, "value": pl.Float64}
    return pl.DataFrame(out, schema=schema, orient="row").sort("date", "vintage")


def _positive(frame: pl.DataFrame, name: str) -> None:
    bad = frame.filter(~(pl.col("value") > 0))
    if bad.height:
        raise SourceError(f"FRED's {name} has a rate that is not positive: {bad.row(0)}")
