"""Finnhub's answers as rows of the raw tables. Pure functions of the payload.

Instants: EDGAR's acceptance times are New York's. A filing accepted after 17:30 carries the next
business day's ``filedDate`` and is shown from 06:00 of that day, so the later of the two counts; a
filing with a day only counts from 22:00, when EDGAR closes.
"""

from __future__ import annotations

import calendar
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, time
from math import isfinite
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl

from wealthos_pipeline.data.sources.finnhub_concepts import MEANING, metric_of, plain_concept

NEW_YORK = ZoneInfo("America/New_York")
SHOWN_FROM, CLOSES = time(6), time(22)
A_QUARTER = 100
"""Days. A longer stretch in a quarterly report is the year to date."""

EXCHANGES = (
    ("NASDAQ", "XNYS"),
    ("NEW YORK STOCK EXCHANGE", "XNYS"),
    ("NYSE", "XNYS"),
    ("CBOE", "XNYS"),
    ("BATS", "XNYS"),
    ("LONDON", "XLON"),
    ("LSE", "XLON"),
    ("TORONTO", "XTSE"),
    ("TSX", "XTSE"),
    ("TOKYO", "XTKS"),
    ("HONG KONG", "XHKG"),
    ("HKEX", "XHKG"),
    ("XETRA", "XETR"),
    ("DEUTSCHE BOERSE", "XFRA"),
    ("FRANKFURT", "XFRA"),
    ("EURONEXT PARIS", "XPAR"),
    ("EURONEXT AMSTERDAM", "XAMS"),
    ("EURONEXT BRUSSELS", "XBRU"),
    ("EURONEXT LISBON", "XLIS"),
    ("SWISS", "XSWX"),
    ("STOCKHOLM", "XSTO"),
    ("COPENHAGEN", "XCSE"),
    ("HELSINKI", "XHEL"),
    ("OSLO", "XOSL"),
    ("MADRID", "XMAD"),
    ("BOLSA DE MADRID", "XMAD"),
    ("BORSA ITALIANA", "XMIL"),
    ("AUSTRALIAN", "XASX"),
    ("JOHANNESBURG", "XJSE"),
    ("KOREA", "XKRX"),
    ("SHANGHAI", "XSHG"),
    ("SHENZHEN", "XSHG"),
    ("BOMBAY", "XBOM"),
    ("NATIONAL STOCK EXCHANGE OF INDIA", "XBOM"),
    ("SAO PAULO", "BVMF"),
    ("TAIWAN", "XTAI"),
    ("SINGAPORE", "XSES"),
)
"""Words in Finnhub's name of an exchange → calendar; the first that fits. The exchanges of New York
keep one calendar."""

STATEMENTS = ("ic", "bs", "cf")
FUNDAMENTALS = {
    "metric": pl.String(),
    "period": pl.String(),
    "period_end": pl.Date(),
    "vintage": pl.String(),
    "value": pl.Float64(),
    "currency": pl.String(),
    "form": pl.String(),
    "published_at": pl.Datetime("us", "UTC"),
}
BARS = {
    "date": pl.Date(),
    **dict.fromkeys(("open", "high", "low", "close", "volume"), pl.Float64()),
}
NEWS = {
    "news_id": pl.String(),
    "published_at": pl.Datetime("us", "UTC"),
    "headline": pl.String(),
    "summary": pl.String(),
    "url": pl.String(),
    "publisher": pl.String(),
}
_EARNINGS_VALUES = ("eps_estimate", "eps_actual", "revenue_estimate", "revenue_actual")
EARNINGS = {
    "period_end": pl.Date(),
    "report_date": pl.Date(),
    "hour": pl.String(),
    **dict.fromkeys(_EARNINGS_VALUES, pl.Float64()),
}
_HOURS = {"bmo": "before", "amc": "after", "dmh": "during"}


def calendar_of(exchange: str) -> str | None:
    """Name of the trading calendar of what Finnhub calls the exchange; None if it is not known."""
    said = exchange.upper()
    return next((name for words, name in EXCHANGES if words in said), None)


def bars(candles: Mapping[str, Any]) -> pl.DataFrame:
    """Daily candles (arrays ``t o h l c v``) as bars sorted by date; nothing where there is none.

    The timestamps of daily candles are midnights UTC of their day.
    """
    columns = {name: candles.get(name) or [] for name in "tohlcv"}
    if not columns["t"]:
        return pl.DataFrame(schema=BARS)
    days = [datetime.fromtimestamp(int(t), UTC).date() for t in columns["t"]]
    frame = pl.DataFrame(
        {
            "date": days,
            "open": columns["o"],
            "high": columns["h"],
            "low": columns["l"],
            "close": columns["c"],
            "volume": columns["v"],
        },
        schema=BARS,
        strict=False,
    )
    return frame.unique("date", keep="last", maintain_order=True).sort("date")


def with_events(
    frame: pl.DataFrame,
    splits: Sequence[Mapping[str, Any]] | None,
    dividends: Sequence[Mapping[str, Any]] | None,
) -> pl.DataFrame:
    """``frame`` with ``split_ratio`` and ``dividend``: 1 and 0 on ordinary days, null throughout where
    the plan does not give the list. Dividends in the basis of the prices, adjusted for splits."""
    ratio: dict[date, float] = {}
    for event in splits or ():
        day, new, old = (
            _day(event.get("date")),
            _n(event.get("toFactor")),
            _n(event.get("fromFactor")),
        )
        if day is not None and new and old:
            ratio[day] = ratio.get(day, 1.0) * new / old
    paid: dict[date, float] = {}
    for event in dividends or ():
        day, amount = _day(event.get("date")), _n(event.get("adjustedAmount"))
        if day is not None and amount is None and (whole := _n(event.get("amount"))) is not None:
            amount = whole
            for ex, factor in sorted(ratio.items()):
                if ex > day:
                    amount /= factor
        if day is not None and amount is not None:
            paid[day] = paid.get(day, 0.0) + amount
    return frame.with_columns(
        _on_days(frame, ratio, 1.0, known=splits is not None).alias("split_ratio"),
        _on_days(frame, paid, 0.0, known=dividends is not None).alias("dividend"),
    )


def _on_days(
    frame: pl.DataFrame, events: Mapping[date, float], ordinary: float, *, known: bool
) -> pl.Series:
    """Events on their session; one between two sessions belongs to the later."""
    if not known:
        return pl.Series([None] * frame.height, dtype=pl.Float64)
    values = dict.fromkeys(frame["date"].to_list(), ordinary)
    days = sorted(values)
    for day, value in sorted(events.items()):
        at = next((d for d in days if d >= day), None)
        if at is not None and day >= days[0]:
            values[at] = values[at] * value if ordinary else values[at] + value
    return pl.Series(list(values.values()), dtype=pl.Float64)


def profile(
    basic: Mapping[str, Any], full: Mapping[str, Any] | None, listing: Mapping[str, Any] | None
) -> dict[str, object]:
    """A row of ``raw.instruments``. basic: profile 2. full: the premium profile, with ISIN and GICS
    sector. listing: the entry of the exchange's symbol list, with the share-class FIGI.

    ``exchange`` and ``currency`` are None where Finnhub does not say. ``finnhubIndustry`` is a class
    of Finnhub's own and no GICS sector, so it is the ``industry``.
    """
    full = full or {}
    name = basic.get("name") or full.get("name")
    return {
        "name": name or None,
        "asset_class": "equity",
        "sector": full.get("gsector") or None,
        "exchange": calendar_of(str(basic.get("exchange") or full.get("exchange") or "")),
        "currency": basic.get("currency") or full.get("currency") or None,
        "industry": basic.get("finnhubIndustry") or full.get("finnhubIndustry") or None,
        "country": basic.get("country") or full.get("country") or None,
        "isin": full.get("isin") or None,
        "figi": (listing or {}).get("shareClassFIGI") or None,
        "first_trade": _day(basic.get("ipo") or full.get("ipo")),
    }


def basic_financials(payload: Mapping[str, Any], today: date) -> list[dict[str, object]]:
    """``metric`` as values of ``today``; ``series`` as values of their periods."""
    rows: dict[tuple[str, str, date], dict[str, object]] = {}

    def add(field: str, period: str, day: date | None, value: object) -> None:
        number = _n(value)
        if day is None or number is None:
            return
        metric, factor = metric_of(field)
        key = (metric, period, day)
        rows.setdefault(key, _row(metric, period, day, number * factor))

    for field, value in (payload.get("metric") or {}).items():
        add(field, "point", today, value)
    series = payload.get("series") or {}
    for name, period in (("annual", "year"), ("quarterly", "quarter")):
        for field, points in (series.get(name) or {}).items():
            for point in points or ():
                add(field, period, _day(point.get("period")), point.get("v"))
    return list(rows.values())


def reported_financials(payload: Mapping[str, Any]) -> list[dict[str, object]]:
    """Every figure of every filing, with the filing's form, number and instant.

    What covers the year to date in a quarterly report (cash flows, and income from the second
    quarter on) is named ``<metric>_ytd``: a quarter's own figure is not in the filing.
    """
    return [row for filing in payload.get("data") or () for row in _filing(filing)]


def _filing(filing: Mapping[str, Any]) -> Iterable[dict[str, object]]:
    end, start = _day(filing.get("endDate")), _day(filing.get("startDate"))
    number = str(filing.get("accessNumber") or "")
    if end is None:
        return []
    form = str(filing.get("form") or "") or None
    quarter = int(_n(filing.get("quarter")) or 0)
    annual = quarter == 0 or (form or "").upper().startswith(("10-K", "20-F", "40-F"))
    period = "year" if annual else "quarter"
    to_date = not annual and ((end - start).days > A_QUARTER if start else quarter > 1)
    published = _published(filing.get("acceptedDate"), filing.get("filedDate"))
    best: dict[str, tuple[int, dict[str, object]]] = {}
    report = filing.get("report") or {}
    for statement in STATEMENTS:
        for concept, value, unit in _figures(report.get(statement)):
            metric, rank = MEANING.get(concept, (concept, 0))
            if metric in best and best[metric][0] > rank:  # a better name of the same thing
                loser = best.pop(metric)[1]
                own = str(loser["_concept"])
                best.setdefault(own, (0, {**loser, "metric": own + str(loser["_suffix"])}))
            elif metric in best:
                if best[metric][0] == rank:
                    continue  # the same concept again, in another statement
                metric = concept
            suffix = "_ytd" if to_date and statement != "bs" else ""
            row = _row(metric + suffix, period, end, value)
            row |= {"vintage": number, "form": form, "published_at": published}
            row |= {"currency": _currency(unit), "_concept": concept, "_suffix": suffix}
            best.setdefault(metric, (rank, row))
    return [{k: v for k, v in row.items() if not k.startswith("_")} for _, (_, row) in best.items()]


def _figures(statement: object) -> Iterable[tuple[str, float, str]]:
    """Concept, value, unit; older answers are an object of values by concept."""
    if isinstance(statement, Mapping):
        statement = [{"concept": k, "value": v} for k, v in statement.items()]
    for item in statement if isinstance(statement, list) else ():
        value = _n(item.get("value"))
        concept = plain_concept(str(item.get("concept") or ""))
        if value is not None and concept:
            yield concept, value, str(item.get("unit") or "")


def fundamentals(rows: Sequence[Mapping[str, object]]) -> pl.DataFrame:
    """Rows as a frame with one row a metric, period, period end and vintage; the first counts."""
    frame = pl.DataFrame(list(rows), schema=FUNDAMENTALS)
    return frame.unique(
        ["metric", "period", "period_end", "vintage"], keep="first", maintain_order=True
    )


def news(stories: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    """Stories by number; those without a headline are no stories."""
    rows = [
        {
            "news_id": str(story["id"]),
            "published_at": datetime.fromtimestamp(int(seconds), UTC) if seconds else None,
            "headline": str(story["headline"]).strip(),
            "summary": str(story.get("summary") or "").strip() or None,
            "url": story.get("url") or None,
            "publisher": story.get("source") or None,
        }
        for story in stories
        if story.get("id") is not None and str(story.get("headline") or "").strip()
        for seconds in (_n(story.get("datetime")),)
    ]
    frame = pl.DataFrame(rows, schema=NEWS)
    return frame.unique("news_id", keep="first", maintain_order=True).sort(
        "published_at", "news_id"
    )


def earnings(
    history: Sequence[Mapping[str, Any]], dates: Sequence[Mapping[str, Any]]
) -> pl.DataFrame:
    """Reports by period end. history: ``company_earnings``; dates: the earnings calendar.

    The calendar numbers fiscal quarters; the history says on which day each ends. Quarters that it
    does not list are counted on from the nearest that it does; without any they are calendar
    quarters.
    """
    ends = {
        (int(r["year"]), int(r["quarter"])): day
        for r in history
        if (day := _day(r.get("period"))) and r.get("year") and r.get("quarter")
    }
    rows: dict[date, dict[str, object]] = {}
    for r in history:
        day = _day(r.get("period"))
        if day is not None:
            rows[day] = _report(day, r.get("estimate"), r.get("actual"))
    for r in sorted(dates, key=lambda r: str(r.get("date") or "")):
        if not r.get("year") or not r.get("quarter"):
            continue
        end = _period_end(int(r["year"]), int(r["quarter"]), ends)
        row = _report(end, r.get("epsEstimate"), r.get("epsActual"))
        row |= {
            "report_date": _day(r.get("date")),
            "hour": _HOURS.get(str(r.get("hour") or "").lower(), "unknown"),
            "revenue_estimate": _n(r.get("revenueEstimate")),
            "revenue_actual": _n(r.get("revenueActual")),
        }
        before = rows.get(end, {})
        rows[end] = {k: before.get(k) if v is None else v for k, v in row.items()}
    return pl.DataFrame(list(rows.values()), schema=EARNINGS).sort("period_end")


def _report(end: date, estimate: object, actual: object) -> dict[str, object]:
    row: dict[str, object] = dict.fromkeys(EARNINGS)
    return row | {
        "period_end": end,
        "hour": "unknown",
        "eps_estimate": _n(estimate),
        "eps_actual": _n(actual),
    }


def _period_end(year: int, quarter: int, ends: Mapping[tuple[int, int], date]) -> date:
    if (year, quarter) in ends:
        return ends[year, quarter]
    place = 4 * year + quarter
    if ends:
        known = min(ends, key=lambda k: (abs(4 * k[0] + k[1] - place), k))
        base, steps = ends[known], place - (4 * known[0] + known[1])
    else:
        base, steps = date(year, 3 * quarter, 1), 0
    months = base.year * 12 + base.month - 1 + 3 * steps
    y, m = divmod(months, 12)
    return date(y, m + 1, calendar.monthrange(y, m + 1)[1])


def _published(accepted: object, filed: object) -> datetime | None:
    """The instant (UTC) from which a filing could be read; see the module's first lines."""
    at, day = _instant(accepted), _day(filed)
    if at is None and day is None:
        return None
    if at is None and day is not None:
        return datetime.combine(day, CLOSES, NEW_YORK).astimezone(UTC)
    assert at is not None
    local = at.replace(tzinfo=NEW_YORK)
    if day is not None and day > local.date():
        local = datetime.combine(day, SHOWN_FROM, NEW_YORK)
    return local.astimezone(UTC)


def _instant(text: object) -> datetime | None:
    """A time of day; a bare midnight is a day without one."""
    try:
        at = datetime.fromisoformat(str(text or "").strip()).replace(tzinfo=None)
    except ValueError:
        return None
    return None if at.time() == time(0) or at.year < 1990 else at


def _day(text: object) -> date | None:
    try:
        day = datetime.fromisoformat(str(text or "").strip()).date()
    except ValueError:
        return None
    return day if day.year > 1800 else None


def _n(value: object) -> float | None:
    """A finite number, also written as text; None otherwise."""
    if isinstance(value, bool) or value is None:
        return None
    try:
        number = float(str(value))
    except ValueError:
        return None
    return number if isfinite(number) else None


def _currency(unit: str) -> str | None:
    code = unit.split("/")[0].strip().upper()
    return code if len(code) == 3 and code.isalpha() else None


def _row(metric: str, period: str, end: date, value: float) -> dict[str, object]:
    row: dict[str, object] = dict.fromkeys(FUNDAMENTALS)
    return row | {
        "metric": metric,
        "period": period,
        "period_end": end,
        "vintage": "",
        "value": value,
    }
