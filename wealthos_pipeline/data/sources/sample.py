"""The sample: real market data that lie inside the installed wheels of ``skfolio`` and ``arch``.

The packaged files are read as text; neither package is imported. Nothing is invented: what the
files do not have (volume, high and low of the stocks, a yield curve) is missing, with the reason.
"""

from __future__ import annotations

import gzip
import io
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, metadata, version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from wealthos_pipeline.core.data import contract
from wealthos_pipeline.core.errors import SourceError
from wealthos_pipeline.data.sources.base import Bias, RawFrames, Request, SourceInfo

if TYPE_CHECKING:
    from wealthos_pipeline.data.processors.calendar import TradingCalendar

NAME = "sample"

STOCKS: dict[str, tuple[str, str]] = {
    "AAPL": ("Apple", "Information Technology"),
    "AMD": ("Advanced Micro Devices", "Information Technology"),
    "BAC": ("Bank of America", "Financials"),
    "BBY": ("Best Buy", "Consumer Discretionary"),
    "CVX": ("Chevron", "Energy"),
    "GE": ("General Electric", "Industrials"),
    "HD": ("Home Depot", "Consumer Discretionary"),
    "JNJ": ("Johnson & Johnson", "Health Care"),
    "JPM": ("JPMorgan Chase", "Financials"),
    "KO": ("Coca-Cola", "Consumer Staples"),
    "LLY": ("Eli Lilly", "Health Care"),
    "MRK": ("Merck", "Health Care"),
    "MSFT": ("Microsoft", "Information Technology"),
    "PEP": ("PepsiCo", "Consumer Staples"),
    "PFE": ("Pfizer", "Health Care"),
    "PG": ("Procter & Gamble", "Consumer Staples"),
    "RRC": ("Range Resources", "Energy"),
    "UNH": ("UnitedHealth", "Health Care"),
    "WMT": ("Walmart", "Consumer Staples"),
    "XOM": ("Exxon Mobil", "Energy"),
}
"""Symbol → name and GICS sector. The sectors are public knowledge of 2022 written down here, one
snapshot used for all years: reclassifications before are not in it."""

ETFS = {
    "MTUM": "US momentum factor ETF",
    "QUAL": "US quality factor ETF",
    "SIZE": "US size factor ETF",
    "USMV": "US minimum volatility ETF",
    "VLUE": "US value factor ETF",
}
INDICES = {
    "SP500": "S&P 500 price index",
    "NASDAQ": "NASDAQ Composite price index",
    "WTI": "West Texas Intermediate crude oil, spot, USD a barrel",
}


@dataclass(frozen=True, slots=True)
class SampleSource:
    """20 US stocks, factor ETFs, price indices, VIX, oil and bond yields from installed wheels."""

    name: str = NAME

    def info(self) -> SourceInfo:
        last = _wide("skfolio", "sp500_dataset")["date"].max()
        return SourceInfo(
            name=NAME,
            title="Sample: 20 US stocks 1990–2022 and market series, from installed packages",
            licence=f"skfolio: {_licence('skfolio')}; arch: {_licence('arch')}. The packages give "
            "the files for tests and examples only, not for trading.",
            provenance=f"skfolio {_version('skfolio')} (sp500_dataset, sp500_index, factors_dataset) "
            f"and arch {_version('arch')} (nasdaq, vix, wti, default, frenchdata); sectors: GICS "
            "as publicly known in 2022, written down in this program.",
            biases=(
                Bias(
                    "survivorship",
                    "20 survivors chosen in hindsight",
                    "The 20 stocks were chosen because they still traded, and were large, in 2022. "
                    "Every return made from them is too high, and no factor can be judged on them.",
                ),
                Bias(
                    "back_adjustment",
                    f"Closes are back-adjusted as of {last!s}",
                    "Past closes were multiplied by later splits and dividends and rounded to three "
                    "decimals, so traded price levels are unknown and small ones are coarse.",
                ),
                Bias(
                    "price_index",
                    "The indices are price indices",
                    "SP500 and NASDAQ leave dividends out, some 2 % a year; the stocks and ETFs "
                    "include them.",
                ),
                Bias(
                    "static_sectors",
                    "Sectors are one snapshot of 2022",
                    "They are used for all years, before they were known.",
                ),
                Bias(
                    "publication_lag",
                    "The oil price is used on its day",
                    "As an instrument, WTI is taken as known at the session's close; the statistical "
                    "release came days later. The series 'wti' carries the release's lag.",
                ),
            ),
            missing={
                "open": "the stock and ETF files have closes only (NASDAQ has open, high and low)",
                "high": "the stock and ETF files have closes only (NASDAQ has open, high and low)",
                "low": "the stock and ETF files have closes only (NASDAQ has open, high and low)",
                "volume": "the files have closes only; an index has no volume of its own",
                "dollar_volume": "there is no volume",
                "dividend": "dividends are inside the adjusted closes, not given as events",
                "split_ratio": "splits are inside the adjusted closes, not given as events",
                "market_cap": "neither shares outstanding nor traded prices are in the files",
                "yield_curve": "the packages hold no Treasury curve, only monthly AAA and BAA yields",
                "vix": "2014–2019 only",
                "risk_free": "monthly, until 2018-11",
                "membership": "the 20 stocks are a fixed list; no index membership is given",
            },
        )

    def fetch(self, request: Request) -> RawFrames:
        stamp = pl.lit(request.now).cast(pl.Datetime("us", "UTC")).alias("fetched_at")
        prices = request.clip(_prices(request.calendar)).with_columns(
            pl.lit(NAME).alias("source"), stamp
        )
        series = request.clip(_series()).with_columns(pl.lit(NAME).alias("source"), stamp)
        instruments = _instruments().with_columns(pl.lit(NAME).alias("source"), stamp)
        return RawFrames(
            prices=contract("raw.prices").conform(prices),
            series=contract("raw.series").conform(series),
            instruments=contract("raw.instruments").conform(instruments),
            membership=contract("raw.membership").empty(),
        )


def _prices(calendar: TradingCalendar) -> pl.DataFrame:
    adjusted = [
        _long(_wide("skfolio", n), adjusted=True) for n in ("sp500_dataset", "factors_dataset")
    ]
    index = _long(_wide("skfolio", "sp500_index"), adjusted=False)
    wti = _wide("arch", "wti").rename({"DCOILWTICO": "WTI"})
    nasdaq = _wide("arch", "nasdaq").select(
        "date",
        pl.lit("NASDAQ").alias("symbol"),
        pl.col("Open", "High", "Low", "Close").name.to_lowercase(),
    )
    # oil is also priced on days when the stock exchange is closed: those stay in the series `wti`
    oil = _long(wti, adjusted=False).join(calendar.frame().select("date"), on="date", how="semi")
    frames = [*adjusted, index, oil, nasdaq]
    return pl.concat(frames, how="diagonal").with_columns(pl.lit("USD").alias("currency"))


def _long(wide: pl.DataFrame, *, adjusted: bool) -> pl.DataFrame:
    """Closes by symbol and date. ``adjusted``: ``adj_close`` is the close, with its vintage."""
    vintage = wide["date"].max() if adjusted else None
    out = wide.unpivot(index="date", variable_name="symbol", value_name="close").drop_nulls("close")
    if not adjusted:
        return out
    return out.with_columns(
        pl.col("close").alias("adj_close"),
        pl.lit(vintage, dtype=pl.Date).alias("basis_vintage"),
    )


def _series() -> pl.DataFrame:
    def one(
        frame: pl.DataFrame, column: str, name: str, tenor: str, unit: str, every: str
    ) -> pl.DataFrame:
        return frame.select(
            "date",
            pl.col(column).alias("value"),
            pl.lit(name).alias("series"),
            pl.lit(tenor).alias("tenor"),
            pl.lit(unit).alias("unit"),
            pl.lit(every).alias("frequency"),
        ).drop_nulls("value")

    month_end = pl.col("date").dt.month_end()
    moody = _wide("arch", "default").with_columns(month_end)
    french = _wide("arch", "frenchdata").with_columns(month_end)
    return pl.concat(
        [
            one(_wide("arch", "vix"), "vix", "vix", "", "index", "day"),
            one(_wide("arch", "wti"), "DCOILWTICO", "wti", "", "usd", "day"),
            one(moody, "AAA", "moody_yield", "AAA", "percent", "month"),
            one(moody, "BAA", "moody_yield", "BAA", "percent", "month"),
            # percent for the month, not a year: the one-month bill held to maturity
            one(french, "RF", "risk_free", "1M", "percent", "month"),
            one(_wide("skfolio", "sp500_index"), "SP500", "sp500_price_index", "", "index", "day"),
            one(_wide("arch", "nasdaq"), "Close", "nasdaq_price_index", "", "index", "day"),
        ]
    )


def _instruments() -> pl.DataFrame:
    rows: list[tuple[str, str, str, str | None]]
    rows = [(s, n, "equity", sector) for s, (n, sector) in STOCKS.items()]
    rows += [(s, n, "cross_asset", None) for s, n in {**ETFS, **INDICES}.items()]
    return pl.DataFrame(
        rows,
        schema={
            "symbol": pl.String,
            "name": pl.String,
            "asset_class": pl.String,
            "sector": pl.String,
        },
        orient="row",
    ).with_columns(pl.lit("XNYS").alias("exchange"), pl.lit("USD").alias("currency"))


@cache
def _wide(package: str, name: str) -> pl.DataFrame:
    """A packaged file as ``date`` and Float64 columns; text such as ``.`` is null."""
    folder = {
        "skfolio": Path("datasets", "data", f"{name}.csv.gz"),
        "arch": Path("data", name, f"{name}.csv.gz"),
    }[package]
    spec = find_spec(package)
    path = Path(str(spec.origin)).parent / folder if spec else Path(package) / folder
    if not path.is_file():
        raise SourceError(
            f"the sample source reads {folder.name} inside the package {package!r}, and it is not "
            "there; install the versions in requirements.lock (`make venv`)"
        )
    frame = pl.read_csv(io.BytesIO(gzip.decompress(path.read_bytes())), infer_schema=False)
    day = pl.col("Date").str.strip_chars()
    # three spellings in these files: 2014-01-02, 1/2/2014 and 201401 (the month)
    parsed = pl.coalesce(
        day.str.to_date("%Y-%m-%d", strict=False),
        day.str.to_date("%m/%d/%Y", strict=False),
        (day + "01").str.to_date("%Y%m%d", strict=False),
    )
    return frame.select(
        parsed.alias("date"),
        pl.exclude("Date").str.strip_chars().cast(pl.Float64, strict=False),
    )


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "?"


def _licence(package: str) -> str:
    """What the package's own metadata say, first line."""
    try:
        about = metadata(package)
    except PackageNotFoundError:
        return "unknown (not installed)"
    for field in ("License-Expression", "License"):
        if field in about:
            return str(about[field]).strip().splitlines()[0]
    return "not stated"
