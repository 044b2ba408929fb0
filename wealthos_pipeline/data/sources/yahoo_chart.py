"""Yahoo's chart answer: daily bars with dividends and splits, and what it says of the instrument.

Prices, volumes and dividends come adjusted for every split up to the moment of asking. A bar is a row
with a close, on the exchange's local date, whose session is over. A split that takes effect after the
last of these (this morning, or after the end of the range) is not in any row, so its adjustment is
taken back: rows are always on the basis of the last bar that comes with them.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import polars as pl

from wealthos_pipeline.core.errors import SourceError
from wealthos_pipeline.data.processors.units import MINOR

SCHEMA = {
    "date": pl.Date,
    "open": pl.Float64,
    "high": pl.Float64,
    "low": pl.Float64,
    "close": pl.Float64,
    "adj_close": pl.Float64,
    "volume": pl.Float64,
    "dividend": pl.Float64,
    "split_ratio": pl.Float64,
    "currency": pl.String,
    "basis_vintage": pl.Date,
}

_PRICES = ("open", "high", "low", "close", "adj_close")


@dataclass(frozen=True, slots=True)
class Session:
    """The instrument's current session: local date, and when it begins and ends."""

    day: date
    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class Meta:
    """What the chart says of the instrument. Strings are Yahoo's codes; None where it is silent."""

    symbol: str
    kind: str
    exchange: str
    currency: str | None
    zone: ZoneInfo
    name: str | None
    first_trade: date | None
    session: Session | None


@dataclass(frozen=True, slots=True)
class Chart:
    """Bars (``SCHEMA``) sorted by date, and the instrument.

    received: rows in the answer. early: days that have a close though their session is not over.
    """

    bars: pl.DataFrame
    meta: Meta
    received: int
    early: tuple[date, ...]


def read(
    body: Mapping[str, Any],
    symbol: str,
    *,
    now: datetime,
    over: Callable[[date, Meta], bool],
    start: date | None = None,
    end: date | None = None,
) -> Chart:
    """Bars of ``symbol`` in [start, end] whose session is ``over``.

    now: the instant of the fetch; its date, UTC or at the exchange if that is earlier, is the
    ``basis_vintage``. SourceError where the answer is about something else.
    """
    results = (body.get("chart") or {}).get("result")
    if not results:
        raise SourceError(f"{symbol}: Yahoo's answer has no chart; it has: {', '.join(body)}")
    result = results[0]
    meta = _meta(result.get("meta") or {}, symbol)
    stamps = result.get("timestamp") or []
    columns = _columns(result, len(stamps), symbol)
    rows = _rows(stamps, columns["close"], meta.zone)
    early = tuple(d for d in sorted(rows) if not over(d, meta))
    days = [d for d in sorted(rows) if d not in early and (end is None or d <= end)]
    at = [rows[d] for d in days]
    data: dict[str, list[float | None]] = {
        n: [_number(columns[n][i]) for i in at] for n in (*_PRICES, "volume")
    }
    events = result.get("events") or {}
    ratios = [1.0] * len(days)
    pending = 1.0
    for day, ratio in _splits(events, meta.zone):
        place = bisect_left(days, day)
        if place == len(days):
            pending *= ratio
        elif not _before(day, days, start):
            ratios[place] *= ratio
    cash: list[float | None] = [0.0] * len(days)
    for day, amount in _dividends(events, meta):
        place = bisect_left(days, day)
        if place < len(days) and not _before(day, days, start):
            have = cash[place]
            cash[place] = None if amount is None or have is None else have + amount
    data |= {"dividend": cash, "split_ratio": list(ratios)}
    vintage = min(now.astimezone(UTC).date(), now.astimezone(meta.zone).date())
    if days and pending != 1.0 and 0.0 < pending < math.inf:
        vintage = min(vintage, days[-1])
        for name in (*_PRICES, "dividend"):
            data[name] = [None if v is None else v * pending for v in data[name]]
        data["volume"] = [None if v is None else v / pending for v in data["volume"]]
    keep = 0 if start is None else next((i for i, d in enumerate(days) if d >= start), len(days))
    frame = pl.DataFrame(
        {
            "date": days[keep:],
            **{n: v[keep:] for n, v in data.items()},
            "currency": [meta.currency] * (len(days) - keep),
            "basis_vintage": [vintage] * (len(days) - keep),
        },
        schema=SCHEMA,
    )
    return Chart(frame, meta, len(stamps), early)


def _meta(meta: Mapping[str, Any], symbol: str) -> Meta:
    said = meta.get("symbol")
    if said is None or str(said).upper() != symbol.upper():
        raise SourceError(f"{symbol}: Yahoo answered about {said!r} instead")
    grain = meta.get("dataGranularity", "1d")
    if grain != "1d":
        raise SourceError(f"{symbol}: daily bars were asked for, Yahoo sent bars of {grain}")
    try:
        zone = ZoneInfo(str(meta.get("exchangeTimezoneName")))
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise SourceError(
            f"{symbol}: Yahoo names the time zone {meta.get('exchangeTimezoneName')!r}, which this "
            "machine does not know; without it no bar has a date"
        ) from error
    regular = (meta.get("currentTradingPeriod") or {}).get("regular") or {}
    session = None
    if regular.get("start") is not None and regular.get("end") is not None:
        begin = datetime.fromtimestamp(regular["start"], zone)
        session = Session(begin.date(), begin, datetime.fromtimestamp(regular["end"], zone))
    first = meta.get("firstTradeDate")
    return Meta(
        symbol=symbol,
        kind=str(meta.get("instrumentType") or ""),
        exchange=str(meta.get("exchangeName") or ""),
        currency=meta.get("currency") or None,
        zone=zone,
        name=meta.get("longName") or meta.get("shortName") or None,
        first_trade=None if first is None else datetime.fromtimestamp(first, zone).date(),
        session=session,
    )


def _columns(result: Mapping[str, Any], length: int, symbol: str) -> dict[str, list[Any]]:
    """Price and volume lists, all as long as the time stamps; None where Yahoo left one out."""
    indicators = result.get("indicators") or {}
    quote = (indicators.get("quote") or [{}])[0] or {}
    adjusted = (indicators.get("adjclose") or [{}])[0] or {}
    found = {n: quote.get(n) for n in ("open", "high", "low", "close", "volume")}
    found["adj_close"] = adjusted.get("adjclose")
    columns = {n: [None] * length if v is None else v for n, v in found.items()}
    short = [f"{n} ({len(v)})" for n, v in columns.items() if len(v) != length]
    if short:
        raise SourceError(
            f"{symbol}: Yahoo sent {length} time stamps but other numbers of values: {', '.join(short)}"
        )
    return columns


def _rows(stamps: list[int], closes: list[Any], zone: ZoneInfo) -> dict[date, int]:
    """Local date → place of its row. Of two rows of one day the later one: Yahoo adds the last trade
    of the day as a row of its own. Rows without a close are no bars."""
    rows: dict[date, int] = {}
    for place, (stamp, close) in enumerate(zip(stamps, closes, strict=True)):
        if close is not None:
            rows[datetime.fromtimestamp(stamp, zone).date()] = place
    return rows


def _splits(events: Mapping[str, Any], zone: ZoneInfo) -> list[tuple[date, float]]:
    """Effective date and new shares per old share, in order."""
    found = []
    for event in (events.get("splits") or {}).values():
        new, old = float(event["numerator"]), float(event["denominator"])
        found.append((_day(event, zone), new / old if old else math.inf))
    return sorted(found)


def _dividends(events: Mapping[str, Any], meta: Meta) -> list[tuple[date, float | None]]:
    """Ex-date and amount in the currency of the bars: dividends, and gains that a fund distributes.

    None where the amount is in another currency, which this row cannot say.
    """
    found = []
    for kind in ("dividends", "capitalGains"):
        for event in (events.get(kind) or {}).values():
            amount = _in(event.get("currency"), meta.currency, _number(event.get("amount")))
            found.append((_day(event, meta.zone), amount))
    return sorted(found, key=lambda e: e[0])


def _in(paid: str | None, quoted: str | None, amount: float | None) -> float | None:
    if amount is None or not paid or not quoted or paid == quoted:
        return amount
    if MINOR.get(quoted) == paid:
        return amount * 100.0
    if MINOR.get(paid) == quoted:
        return amount / 100.0
    return None


def _before(day: date, days: list[date], start: date | None) -> bool:
    """Whether an event lies before the instrument's first bar; ``start`` None: all bars were asked for."""
    return start is None and day < days[0]


def _day(event: Mapping[str, Any], zone: ZoneInfo) -> date:
    return datetime.fromtimestamp(event["date"], zone).date()


def _number(value: Any) -> float | None:
    return None if value is None else float(value)
