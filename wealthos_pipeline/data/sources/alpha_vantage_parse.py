"""Alpha Vantage's answers as rows of the raw tables. Pure functions of the payload.

It answers HTTP 200 whatever happened; a refusal is a sentence under ``Note``, ``Information`` or
``Error Message``, and may repeat the key.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date, datetime
from math import isfinite
from typing import Any

import polars as pl

from wealthos_pipeline.core.errors import (
    AccessError,
    SourceError,
    TransientError,
    UnknownSymbolError,
)
from wealthos_pipeline.data.sources import tabular
from wealthos_pipeline.data.sources.fetching import NotAskedError

MINUTE = 60.0

BAR = {
    "1. open": "open",
    "2. high": "high",
    "3. low": "low",
    "4. close": "close",
    "5. volume": "volume",
}
ADJUSTED_BAR = {
    "1. open": "open",
    "2. high": "high",
    "3. low": "low",
    "4. close": "close",
    "5. adjusted close": "adj_close",
    "6. volume": "volume",
    "7. dividend amount": "dividend",
    "8. split coefficient": "split_ratio",
}
STATEMENTS = {
    "INCOME_STATEMENT": {
        "totalRevenue": "revenue",
        "costOfRevenue": "cost_of_revenue",
        "grossProfit": "gross_profit",
        "researchAndDevelopment": "research_and_development",
        "sellingGeneralAndAdministrative": "selling_general_administrative",
        "sellingGeneralAdministrative": "selling_general_administrative",
        "operatingExpenses": "operating_expenses",
        "totalOperatingExpense": "operating_expenses",
        "operatingIncome": "operating_income",
        "interestExpense": "interest_expense",
        "incomeBeforeTax": "pretax_income",
        "incomeTaxExpense": "income_tax",
        "netIncome": "net_income",
    },
    "BALANCE_SHEET": {
        "totalAssets": "total_assets",
        "totalCurrentAssets": "current_assets",
        "cashAndCashEquivalentsAtCarryingValue": "cash",
        "currentNetReceivables": "receivables",
        "inventory": "inventory",
        "propertyPlantEquipment": "property_plant_equipment",
        "goodwill": "goodwill",
        "totalLiabilities": "total_liabilities",
        "totalCurrentLiabilities": "current_liabilities",
        "longTermDebt": "long_term_debt",
        "shortLongTermDebtTotal": "total_debt",
        "totalShareholderEquity": "total_equity",
        "retainedEarnings": "retained_earnings",
        "commonStockSharesOutstanding": "shares_outstanding",
    },
    "CASH_FLOW": {
        "operatingCashflow": "operating_cash_flow",
        "cashflowFromInvestment": "investing_cash_flow",
        "cashflowFromFinancing": "financing_cash_flow",
        "capitalExpenditures": "capital_expenditure",
        "depreciationDepletionAndAmortization": "depreciation_amortization",
        "dividendPayout": "dividends_paid",
        "paymentsForRepurchaseOfCommonStock": "share_repurchases",
    },
}
"""Function → its fields that have a standard name; others keep their own, in lower case."""

OVERVIEW = {
    "MarketCapitalization": "market_cap",
    "SharesOutstanding": "shares_outstanding",
    "BookValue": "book_value_per_share",
    "PERatio": "pe_ratio",
    "PEGRatio": "peg_ratio",
    "EVToEBITDA": "ev_to_ebitda",
    "EVToRevenue": "ev_to_revenue",
    "EPS": "eps",
    "DilutedEPSTTM": "eps_diluted_ttm",
}
"""Fields of the overview with a name of ours; other numbers keep their own, in lower case."""
_NO_NUMBERS = ("CIK", "Symbol")

SECTORS = {
    "basic materials": "Materials",
    "communication services": "Communication Services",
    "consumer cyclical": "Consumer Discretionary",
    "consumer defensive": "Consumer Staples",
    "energy": "Energy",
    "financial services": "Financials",
    "healthcare": "Health Care",
    "industrials": "Industrials",
    "real estate": "Real Estate",
    "technology": "Information Technology",
    "utilities": "Utilities",
}
"""Alpha Vantage's sectors that are one GICS sector. Its older ones (LIFE SCIENCES, TRADE & SERVICES)
are not, and give none."""

EXCHANGES = dict.fromkeys(("NYSE", "NASDAQ", "NYSE ARCA", "NYSE MKT", "AMEX", "BATS"), "XNYS")
REGIONS = {
    "united states": "XNYS",
    "united kingdom": "XLON",
    "toronto": "XTSE",
    "toronto venture": "XTSE",
    "xetra": "XETR",
    "frankfurt": "XFRA",
    "paris": "XPAR",
    "amsterdam": "XAMS",
    "hong kong": "XHKG",
    "india/bombay": "XBOM",
    "shanghai": "XSHG",
    "shenzhen": "XSHG",
    "brazil/sao paolo": "BVMF",
}
_FUNDS = ("etf", "mutual fund")
_HOURS = {"pre-market": "before", "post-market": "after"}
_UNITS = (
    ("percent", "percent", 1.0),
    ("index", "index", 1.0),
    ("billions of", "usd", 1e9),
    ("millions of", "usd", 1e6),
    ("thousands of persons", "persons", 1e3),
    ("dollars", "usd", 1.0),
)
_EVERY = {
    "daily": "day",
    "weekly": "week",
    "monthly": "month",
    "quarterly": "quarter",
    "annual": "year",
}

FUNDAMENTALS = {
    "metric": pl.String(),
    "period": pl.String(),
    "period_end": pl.Date(),
    "vintage": pl.String(),
    "value": pl.Float64(),
    "currency": pl.String(),
}


class DailyLimitError(NotAskedError, AccessError):
    """The day's requests are used up: the ``Fetcher`` asks nothing more. ``words`` say so."""

    def __init__(self, words: str) -> None:
        self.words = words
        SourceError.__init__(self, f"not asked: {words}")


class PremiumError(AccessError):
    """The plan does not allow this function, or this much of it."""


def refusal(payload: object, what: str, key: str) -> SourceError | None:
    """The error that an answer means; None where it is an answer. ``key`` appears nowhere."""
    if not isinstance(payload, Mapping):
        return TransientError(f"alpha_vantage {what}: expected an object, got {str(payload)[:80]}")
    for name in ("Error Message", "Information", "Note"):
        found = payload.get(name)
        if isinstance(found, str):
            words = _clean(found, key)
            return _meaning(name, words, f"alpha_vantage {what}: {words}")
    return None


def _meaning(name: str, words: str, message: str) -> SourceError:
    said = words.lower()
    if "calls per minute" in said or "requests per minute" in said:
        return TransientError(message, MINUTE)
    if "spreading out" in said or "per second" in said:
        return TransientError(message)
    if re.search(r"premium (endpoint|feature|function|data)", said):
        return PremiumError(message)
    if name != "Error Message" and re.search(r"per day|daily (rate )?limit", said):
        return DailyLimitError(message)
    if re.search(r"api ?key", said):
        return AccessError(f"{message} Check the key in WEALTHOS_KEYS__ALPHA_VANTAGE")
    return UnknownSymbolError(message) if name == "Error Message" else SourceError(message)


def _clean(words: str, key: str) -> str:
    """``words`` without the key, also where Alpha Vantage spells it otherwise."""
    text = " ".join(words.split())
    text = re.sub(r"(?i)(api key as )\S+", r"\1***", text)
    return (text.replace(key, "***") if key else text)[:300]


def bars(payload: Mapping[str, Any], fields: Mapping[str, str], what: str) -> pl.DataFrame:
    """Daily bars sorted by date, traded prices. ``fields``: ``BAR`` or ``ADJUSTED_BAR``."""
    days = next((v for k, v in payload.items() if k.startswith("Time Series")), None)
    if not isinstance(days, Mapping):
        raise TransientError(
            f"alpha_vantage {what}: no time series in the answer; it has {sorted(payload)}"
        )
    schema: dict[str, Any] = {"date": pl.Date(), **dict.fromkeys(fields.values(), pl.Float64())}
    rows = [
        {"date": _day(day), **{ours: _n(bar.get(name)) for name, ours in fields.items()}}
        for day, bar in days.items()
    ]
    return pl.DataFrame(rows, schema=schema).drop_nulls("date").sort("date")


def profile(overview: Mapping[str, Any]) -> dict[str, object]:
    """A row of ``raw.instruments`` from OVERVIEW; fields that it does not give are None."""
    country = _text(overview.get("Country"))
    return {
        "name": _text(overview.get("Name")),
        "asset_class": _class(overview.get("AssetType")),
        "sector": SECTORS.get(str(overview.get("Sector") or "").strip().lower()),
        "exchange": EXCHANGES.get(str(overview.get("Exchange") or "").strip().upper()),
        "currency": _text(overview.get("Currency")),
        "industry": _text(overview.get("Industry")),
        "country": "US" if country == "USA" else country,
    }


def match(search: Mapping[str, Any], symbol: str) -> dict[str, object] | None:
    """A row of ``raw.instruments`` from SYMBOL_SEARCH; None where the symbol itself is not found."""
    for row in search.get("bestMatches") or ():
        if str(row.get("1. symbol")).upper() == symbol.upper():
            region = str(row.get("4. region") or "").strip().lower()
            return {
                "name": _text(row.get("2. name")),
                "asset_class": _class(row.get("3. type")),
                "exchange": REGIONS.get(region),
                "currency": _text(row.get("8. currency")),
            }
    return None


def overview(payload: Mapping[str, Any], today: date) -> list[dict[str, object]]:
    """The numbers of OVERVIEW as values of ``today``."""
    money = _text(payload.get("Currency"))
    return [
        _row(OVERVIEW.get(field, tabular.plain(field)), "point", today, value, money)
        for field, text in payload.items()
        if field not in _NO_NUMBERS and (value := _n(text)) is not None
    ]


def statement(payload: Mapping[str, Any], function: str) -> list[dict[str, object]]:
    """Every figure of ``annualReports`` and ``quarterlyReports``."""
    names = STATEMENTS[function]
    rows = []
    for reports, period in (("annualReports", "year"), ("quarterlyReports", "quarter")):
        for report in payload.get(reports) or ():
            end, money = _day(report.get("fiscalDateEnding")), _text(report.get("reportedCurrency"))
            for field, text in report.items():
                value = _n(text)
                if end is not None and value is not None:
                    metric = names.get(field, tabular.plain(field))
                    rows.append(_row(metric, period, end, value, money))
    return rows


def fundamentals(rows: list[dict[str, object]]) -> pl.DataFrame:
    """Rows as a frame; where two statements give a figure, the first counts."""
    return pl.DataFrame(rows, schema=FUNDAMENTALS).unique(
        ["metric", "period", "period_end", "vintage"], keep="first", maintain_order=True
    )


def earnings(payload: Mapping[str, Any]) -> pl.DataFrame:
    """Quarterly reports: day, hour, expected and reported earnings per share."""
    rows: dict[date, dict[str, object]] = {}
    for report in payload.get("quarterlyEarnings") or ():
        end = _day(report.get("fiscalDateEnding"))
        if end is not None:
            rows.setdefault(
                end,
                {
                    "period_end": end,
                    "report_date": _day(report.get("reportedDate")),
                    "hour": _HOURS.get(str(report.get("reportTime") or "").lower(), "unknown"),
                    "eps_estimate": _n(report.get("estimatedEPS")),
                    "eps_actual": _n(report.get("reportedEPS")),
                },
            )
    schema = {
        "period_end": pl.Date(),
        "report_date": pl.Date(),
        "hour": pl.String(),
        "eps_estimate": pl.Float64(),
        "eps_actual": pl.Float64(),
    }
    return pl.DataFrame(list(rows.values()), schema=schema).sort("period_end")


def rates(payload: Mapping[str, Any], pair: str, what: str) -> pl.DataFrame:
    """FX_DAILY as ``raw.series``: closes of ``pair``, price of one unit of the first currency."""
    frame = bars(payload, {"4. close": "value"}, what)
    return frame.with_columns(
        pl.lit("fx").alias("series"),
        pl.lit(pair).alias("tenor"),
        pl.lit("rate").alias("unit"),
        pl.lit("day").alias("frequency"),
    ).drop_nulls("value")


def yields(payload: Mapping[str, Any], tenor: str) -> pl.DataFrame:
    """TREASURY_YIELD (daily, percent) as ``raw.series`` ``ust_par``."""
    return _points(payload).with_columns(
        pl.lit("ust_par").alias("series"),
        pl.lit(tenor).alias("tenor"),
        pl.lit("percent").alias("unit"),
        pl.lit("day").alias("frequency"),
    )


def statistic(payload: Mapping[str, Any], name: str) -> pl.DataFrame:
    """A macro function as ``raw.macro``; values in whole units, dates first days of their periods.

    Alpha Vantage takes the series that are not seasonally adjusted, save the unemployment rate.
    """
    said = str(payload.get("unit") or "").lower()
    unit, factor = next(
        ((u, f) for words, u, f in _UNITS if words in said), (said or "number", 1.0)
    )
    interval = str(payload.get("interval") or "").lower()
    if interval not in _EVERY:
        raise SourceError(
            f"alpha_vantage {name}: unknown interval {interval!r}; expected {', '.join(_EVERY)}"
        )
    return _points(payload).with_columns(
        pl.col("value") * factor,
        pl.lit(name).alias("series"),
        pl.lit("").alias("vintage"),
        pl.lit(unit).alias("unit"),
        pl.lit(_EVERY[interval]).alias("frequency"),
    )


def _points(payload: Mapping[str, Any]) -> pl.DataFrame:
    rows = [(_day(p.get("date")), _n(p.get("value"))) for p in payload.get("data") or ()]
    frame = pl.DataFrame(rows, schema={"date": pl.Date(), "value": pl.Float64()}, orient="row")
    return frame.drop_nulls().sort("date")


def _row(metric: str, period: str, end: date, value: float, money: str | None) -> dict[str, object]:
    return {
        "metric": metric,
        "period": period,
        "period_end": end,
        "vintage": "",
        "value": value,
        "currency": money,
    }


def _class(kind: object) -> str:
    return "cross_asset" if str(kind or "").strip().lower() in _FUNDS else "equity"


def _text(value: object) -> str | None:
    text = str(value or "").strip()
    return None if text.lower() in tabular.EMPTY else text


def _day(value: object) -> date | None:
    try:
        return datetime.fromisoformat(str(value or "").strip()).date()
    except ValueError:
        return None


def _n(value: object) -> float | None:
    try:
        number = float(str(value))
    except ValueError:
        return None
    return number if isfinite(number) else None
