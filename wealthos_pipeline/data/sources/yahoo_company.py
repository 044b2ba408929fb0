"""What Yahoo says of a company: profile, statements, earnings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl

from wealthos_pipeline.core.errors import SourceError
from wealthos_pipeline.data.sources import yahoo_names as names
from wealthos_pipeline.data.sources.yahoo_chart import Meta

PERIODS = {"annual": "year", "quarterly": "quarter"}
"""Prefix of Yahoo's figures → period of ``raw.fundamentals``."""

_FUNDAMENTALS = {
    "metric": pl.String,
    "period": pl.String,
    "period_end": pl.Date,
    "vintage": pl.String,
    "value": pl.Float64,
    "currency": pl.String,
}
_EARNINGS = {
    "period_end": pl.Date,
    "report_date": pl.Date,
    "hour": pl.String,
    "eps_estimate": pl.Float64,
    "eps_actual": pl.Float64,
    "revenue_estimate": pl.Float64,
    "revenue_actual": pl.Float64,
    "currency": pl.String,
}


def described(meta: Meta, exchange: str) -> dict[str, object]:
    """Columns of ``raw.instruments`` that the chart alone gives. exchange: calendar if none is known."""
    return {
        "name": meta.name,
        "asset_class": names.asset_class(meta.kind),
        "exchange": names.calendar(meta.exchange, meta.zone.key, exchange),
        "currency": meta.currency,
        "first_trade": meta.first_trade,
    }


def profile(body: Mapping[str, Any], symbol: str, exchange: str) -> dict[str, object]:
    """Columns of ``raw.instruments`` from the modules assetProfile, price and quoteType."""
    modules = _modules(body, symbol)
    firm = modules.get("assetProfile") or modules.get("summaryProfile") or {}
    price, kind = modules.get("price") or {}, modules.get("quoteType") or {}
    out: dict[str, object] = {
        "name": kind.get("longName") or price.get("longName") or price.get("shortName"),
        "sector": names.sector(firm.get("sector")),
        "industry": firm.get("industry") or None,
        "country": firm.get("country") or None,
        "currency": price.get("currency") or None,
    }
    quoted = kind.get("quoteType") or price.get("quoteType")
    if quoted:
        out["asset_class"] = names.asset_class(str(quoted))
    code = kind.get("exchange") or price.get("exchange")
    zone = str(kind.get("timeZoneFullName") or "")
    if code:
        out["exchange"] = names.calendar(str(code), zone, exchange)
    first = kind.get("firstTradeDateEpochUtc")
    if first is not None and zone:
        out["first_trade"] = datetime.fromtimestamp(first, ZoneInfo(zone)).date()
    return {k: v for k, v in out.items() if v is not None}


def figures(prefix: str) -> str:
    """The list of figures to ask for, all of one period."""
    return ",".join(prefix + name for name in names.FIGURES)


def fundamentals(body: Mapping[str, Any], symbol: str, prefix: str) -> pl.DataFrame:
    """Rows of ``raw.fundamentals`` of one period; Yahoo dates no filing, so ``vintage`` is ''."""
    results = (body.get("timeseries") or {}).get("result")
    if results is None:
        raise SourceError(f"{symbol}: Yahoo's answer has no statements; it has: {', '.join(body)}")
    rows = []
    for part in results:
        for key, points in part.items():
            metric = names.FIGURES.get(key.removeprefix(prefix))
            if not key.startswith(prefix) or metric is None:
                continue
            for point in points or ():
                value = _raw((point or {}).get("reportedValue"))
                if value is None:
                    continue
                money = None if metric in names.SHARES else point.get("currencyCode")
                end = date.fromisoformat(point["asOfDate"])
                signed = -value if metric in names.PAID else value
                rows.append((metric, PERIODS[prefix], end, "", signed + 0.0, money or None))
    frame = pl.DataFrame(rows, schema=_FUNDAMENTALS, orient="row")
    return frame.unique(["metric", "period", "period_end"], keep="last").sort(
        "metric", "period_end"
    )


def earnings(body: Mapping[str, Any], symbol: str, meta: Meta | None) -> pl.DataFrame:
    """Rows of ``raw.earnings``: the last four quarters as reported, and the expected ones.

    Yahoo gives the day of the next report alone, with the time of day once it is announced.
    """
    modules = _modules(body, symbol)
    rows: dict[date, dict[str, Any]] = {}
    for past in (modules.get("earningsHistory") or {}).get("history") or ():
        stamp = _raw(past.get("quarter"))
        if stamp is None:
            continue
        rows[datetime.fromtimestamp(stamp, UTC).date()] = {
            "hour": "unknown",
            "eps_estimate": _raw(past.get("epsEstimate")),
            "eps_actual": _raw(past.get("epsActual")),
            "currency": past.get("currency"),
        }
    coming = (modules.get("calendarEvents") or {}).get("earnings") or {}
    for period, end, trend in _quarters(modules):
        if end in rows and rows[end].get("eps_actual") is not None:
            continue
        eps, revenue = trend.get("earningsEstimate") or {}, trend.get("revenueEstimate") or {}
        day, hour = _report(coming, meta) if period == "0q" else (None, "unknown")
        rows[end] = {
            "report_date": day if day is None or day > end else None,
            "hour": hour,
            "eps_estimate": _raw(eps.get("avg")),
            "revenue_estimate": _raw(revenue.get("avg")),
            "currency": eps.get("earningsCurrency"),
        }
    known = [{"period_end": end, **row} for end, row in sorted(rows.items())]
    return pl.DataFrame(known, schema=_EARNINGS)


def _quarters(modules: Mapping[str, Any]) -> Iterator[tuple[str, date, dict[str, Any]]]:
    for trend in (modules.get("earningsTrend") or {}).get("trend") or ():
        if trend.get("period") in ("0q", "+1q") and trend.get("endDate"):
            yield trend["period"], date.fromisoformat(trend["endDate"]), trend


def _report(coming: Mapping[str, Any], meta: Meta | None) -> tuple[date | None, str]:
    """Day of the next report at the exchange, and whether it lies before, during or after the session."""
    stamps = [s for s in (_raw(v) for v in coming.get("earningsDate") or ()) if s is not None]
    if not stamps:
        return None, "unknown"
    zone = UTC if meta is None else meta.zone
    at = datetime.fromtimestamp(min(stamps), zone)
    guessed = coming.get("isEarningsDateEstimate", True) or len(stamps) > 1
    if guessed or meta is None or meta.session is None:
        return at.date(), "unknown"
    if at.timetz() < meta.session.start.timetz():
        return at.date(), "before"
    return at.date(), "during" if at.timetz() < meta.session.end.timetz() else "after"


def _modules(body: Mapping[str, Any], symbol: str) -> Mapping[str, Any]:
    results = (body.get("quoteSummary") or {}).get("result")
    if not results:
        raise SourceError(f"{symbol}: Yahoo's answer has no summary; it has: {', '.join(body)}")
    found: Mapping[str, Any] = results[0]
    return found


def _raw(value: Any) -> float | None:
    """A number, plain or as ``{raw, fmt}``."""
    if isinstance(value, Mapping):
        value = value.get("raw")
    return None if value is None else float(value)
