"""Answers in the shapes of Alpha Vantage, from made-up companies, and a ``Wire`` that gives them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from wire import Ask, Bar, Wire

COMPACT = 100
PREMIUM = (
    "Thank you for using Alpha Vantage! This is a premium endpoint. You may subscribe to any of the "
    "premium plans at https://www.alphavantage.co/premium/ to instantly unlock all premium endpoints"
)
FULL_IS_PREMIUM = (
    "Thank you for using Alpha Vantage! The outputsize=full parameter value is a premium feature for "
    "the TIME_SERIES_DAILY endpoint."
)
PER_MINUTE = (
    "Thank you for using Alpha Vantage! Our standard API call frequency is 5 calls per minute and 500 "
    "calls per day. Please visit https://www.alphavantage.co/premium/ to target a higher frequency."
)
BURST = (
    "Thank you for using Alpha Vantage! Please consider spreading out your free API requests more "
    "sparingly (1 request per second). You may subscribe to any of the premium plans at "
    "https://www.alphavantage.co/premium/ to lift the free key rate limit (25 requests per day)"
)


def daily_limit(key: str) -> dict[str, str]:
    return {
        "Information": f"We have detected your API key as {key} and our standard API rate limit is 25 "
        "requests per day. Please subscribe to any of the premium plans to remove all daily rate limits."
    }


def unknown(function: str) -> dict[str, str]:
    return {
        "Error Message": "Invalid API call. Please retry or visit the documentation "
        f"(https://www.alphavantage.co/documentation/) for {function}."
    }


@dataclass
class Company:
    """What the server knows of one symbol: traded bars and events."""

    symbol: str
    bars: Sequence[Bar] = ()
    splits: Mapping[date, float] = field(default_factory=dict)
    dividends: Mapping[date, float] = field(default_factory=dict)
    currency: str = "USD"


def adjusted(company: Company, bars: Sequence[Bar]) -> dict[str, Any]:
    return {
        "Meta Data": {"2. Symbol": company.symbol},
        "Time Series (Daily)": {
            b.date.isoformat(): {
                "1. open": f"{b.open:.4f}",
                "2. high": f"{b.high:.4f}",
                "3. low": f"{b.low:.4f}",
                "4. close": f"{b.close:.4f}",
                "5. adjusted close": f"{b.adj_close or b.close:.10f}",
                "6. volume": f"{b.volume:.0f}",
                "7. dividend amount": f"{company.dividends.get(b.date, 0.0):.4f}",
                "8. split coefficient": f"{company.splits.get(b.date, 1.0):.1f}",
            }
            for b in reversed(bars)
        },
    }


def daily(company: Company, bars: Sequence[Bar]) -> dict[str, Any]:
    return {
        "Meta Data": {"2. Symbol": company.symbol},
        "Time Series (Daily)": {
            b.date.isoformat(): {
                "1. open": f"{b.open:.4f}",
                "2. high": f"{b.high:.4f}",
                "3. low": f"{b.low:.4f}",
                "4. close": f"{b.close:.4f}",
                "5. volume": f"{b.volume:.0f}",
            }
            for b in reversed(bars)
        },
    }


def overview(company: Company) -> dict[str, Any]:
    return {
        "Symbol": company.symbol,
        "AssetType": "Common Stock",
        "Name": f"{company.symbol} Works",
        "CIK": "51143",
        "Exchange": "NASDAQ",
        "Currency": company.currency,
        "Country": "USA",
        "Sector": "TECHNOLOGY",
        "Industry": "SOFTWARE",
        "LatestQuarter": "2024-03-31",
        "MarketCapitalization": "114234572800",
        "PERatio": "None",
        "Beta": "1.2",
    }


def statement(function: str) -> dict[str, Any]:
    fields = {
        "INCOME_STATEMENT": {"totalRevenue": "1000", "netIncome": "90", "nonRecurring": "None"},
        "BALANCE_SHEET": {"totalAssets": "5000", "totalShareholderEquity": "2000"},
        "CASH_FLOW": {"operatingCashflow": "120", "netIncome": "90"},
    }[function]
    head = {"fiscalDateEnding": "2023-12-31", "reportedCurrency": "USD"}
    return {"annualReports": [head | fields], "quarterlyReports": [head | fields]}


EARNINGS = {
    "annualEarnings": [{"fiscalDateEnding": "2023-12-31", "reportedEPS": "9.5"}],
    "quarterlyEarnings": [
        {
            "fiscalDateEnding": "2024-03-31",
            "reportedDate": "2024-04-24",
            "reportedEPS": "1.68",
            "estimatedEPS": "1.6",
            "surprise": "0.08",
            "surprisePercentage": "5",
            "reportTime": "post-market",
        },
        {
            "fiscalDateEnding": "2023-12-31",
            "reportedDate": "2024-01-24",
            "reportedEPS": "None",
            "estimatedEPS": "3.78",
        },
    ],
}


def indicator(name: str, interval: str, unit: str, points: Mapping[str, str]) -> dict[str, Any]:
    return {
        "name": name,
        "interval": interval,
        "unit": unit,
        "data": [{"date": d, "value": v} for d, v in points.items()],
    }


def serve(wire: Wire, *companies: Company, plan: str = "paid") -> None:
    """Answer for ``companies``. plan: ``free`` has the last 100 traded bars without events."""
    known = {c.symbol: c for c in companies}

    def answer(ask: Ask) -> Any:
        function = ask.query.get("function", "")
        company = known.get(ask.query.get("symbol", ""))
        if function.startswith("TIME_SERIES_DAILY"):
            return prices(function, company, ask.query.get("outputsize", "compact"))
        if function == "OVERVIEW":
            return {} if company is None else overview(company)
        if function in ("INCOME_STATEMENT", "BALANCE_SHEET", "CASH_FLOW"):
            return {} if company is None else {"symbol": company.symbol} | statement(function)
        if function == "EARNINGS":
            return {} if company is None else {"symbol": company.symbol} | EARNINGS
        if function == "SYMBOL_SEARCH":
            return {"bestMatches": []}
        if function == "FX_DAILY":
            pair = {"2024-06-03": {"4. close": "1.27"}, "2024-06-04": {"4. close": "1.28"}}
            return {"Meta Data": {}, "Time Series FX (Daily)": pair}
        if function == "TREASURY_YIELD":
            days = {"2024-06-04": "4.33", "2024-06-03": ".", "2024-05-31": "4.51"}
            return indicator("Treasury", "daily", "percent", days)
        if function == "CPI":
            months = {"2024-05-01": "314.069", "2024-04-01": "313.548"}
            return indicator("CPI", "monthly", "index 1982-1984=100", months)
        if function == "REAL_GDP":
            return indicator(
                "GDP",
                "quarterly",
                "billions of dollars",
                {"2024-01-01": "5672.5", "2023-10-01": "."},
            )
        return indicator(function, "monthly", "percent", {"2024-05-01": "4.0"})

    def prices(function: str, company: Company | None, size: str) -> Any:
        paid = function.endswith("ADJUSTED")
        if plan == "free" and paid:
            return {"Information": PREMIUM}
        if plan == "free" and size == "full":
            return {"Information": FULL_IS_PREMIUM}
        if company is None:
            return unknown(function)
        bars = list(company.bars)[-COMPACT:] if size == "compact" else company.bars
        return adjusted(company, bars) if paid else daily(company, bars)

    wire.serve(r"^/query\?", answer)
