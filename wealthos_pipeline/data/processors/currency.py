"""From the currency of a bar to the base currency.

A bar is converted at the last rate of its date or before that was known when the bar was: not older
than ``cleaning.fx_stale_sessions`` sessions, in the version that could be known then. A rate that is
revised later is a new version and changes no bar. Rates come from ``raw.series``, series ``fx``, tenor
``GBPUSD``: dollars for one pound. Taken are, in this order, the pair itself, its inverse, and the two
rates against the dollar. A bar without a usable rate is quarantined (``no_fx``).
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, timedelta

import numpy as np
import polars as pl

from wealthos_pipeline.data.processors import raw
from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.data.processors.effective import RATE

SERIES = "fx"
"""Series of exchange rates in ``raw.series``."""
HUB = "USD"
"""Currency that crosses go through."""

_Lookup = Callable[[date, datetime], float | None]


def rates_from(start: date | None, calendar: TradingCalendar, stale: int) -> date | None:
    """From which date rates are needed for bars from ``start`` on."""
    return None if start is None else calendar.offset(start, -stale) - timedelta(days=7)


def rated(
    frame: pl.DataFrame,
    series: pl.DataFrame | None,
    calendar: TradingCalendar,
    *,
    base: str,
    stale: int,
) -> pl.DataFrame:
    """``frame`` with ``RATE``: units of ``base`` for one unit of ``_money``; 1 where that is ``base``,
    null where no rate can be used.

    frame: bars with ``date, known_at, _money`` (ISO 4217; null counts as ``base``).
    series: rows of ``raw.series``, all versions; others than rates are ignored.
    """
    money = pl.col("_money").fill_null(base)
    asked = (
        frame.filter(money != base)
        .select("_money", "date", "known_at")
        .unique()
        .sort("_money", "date", "known_at")
    )
    if not asked.height:
        return frame.with_columns(pl.lit(1.0).alias(RATE))
    known = _known(series, calendar)
    found: list[float | None] = []
    lookups: dict[str, _Lookup] = {}
    for name, day, at in asked.iter_rows():
        if name not in lookups:
            lookups[name] = _route(known, name, base, calendar, stale)
        found.append(lookups[name](day, at))
    table = asked.with_columns(pl.Series("_rate", found, dtype=pl.Float64))
    return (
        frame.join(table, on=["_money", "date", "known_at"], how="left", maintain_order="left")
        .with_columns(pl.when(money == base).then(1.0).otherwise("_rate").alias(RATE))
        .drop("_rate")
    )


def _known(series: pl.DataFrame | None, calendar: TradingCalendar) -> dict[str, pl.DataFrame]:
    """Pair → ``date, known_at, value`` of every version, sorted."""
    if series is None:
        return {}
    rows = series.filter(
        (pl.col("series") == SERIES) & (pl.col("value") > 0) & pl.col("value").is_finite()
    )
    stamped = raw.with_known_at(rows, calendar, "raw.series").sort("date", "known_at", "source")
    parts = stamped.select("tenor", "date", "known_at", "value").partition_by(
        "tenor", as_dict=True, maintain_order=True
    )
    return {str(pair): part for (pair,), part in parts.items()}


def _route(
    known: dict[str, pl.DataFrame], money: str, base: str, calendar: TradingCalendar, stale: int
) -> _Lookup:
    direct = _pair(known, money, base, calendar, stale)
    if HUB in (money, base):
        return direct
    first, second = (
        _pair(known, money, HUB, calendar, stale),
        _pair(known, HUB, base, calendar, stale),
    )

    def look(day: date, at: datetime) -> float | None:
        rate = direct(day, at)
        if rate is not None:
            return rate
        one, two = first(day, at), second(day, at)
        return None if one is None or two is None else one * two

    return look


def _pair(
    known: dict[str, pl.DataFrame], money: str, base: str, calendar: TradingCalendar, stale: int
) -> _Lookup:
    """The pair, or its inverse where the pair has no usable rate."""
    straight = _series(known.get(f"{money}{base}"), calendar, stale)
    inverse = _series(known.get(f"{base}{money}"), calendar, stale)

    def look(day: date, at: datetime) -> float | None:
        rate = straight(day, at)
        if rate is not None:
            return rate
        other = inverse(day, at)
        return None if other is None else 1.0 / other

    return look


def _series(rows: pl.DataFrame | None, calendar: TradingCalendar, stale: int) -> _Lookup:
    if rows is None:
        return lambda day, at: None
    days = rows["date"].to_numpy()
    dates, stamps, values = (
        rows["date"].to_list(),
        rows["known_at"].to_list(),
        rows["value"].to_list(),
    )

    def look(day: date, at: datetime) -> float | None:
        last = calendar.slot(day)
        i = int(np.searchsorted(days, np.datetime64(day), side="right")) - 1
        while i >= 0 and last - calendar.slot(dates[i]) <= stale:
            if stamps[i] <= at:
                return float(values[i])
            i -= 1
        return None

    return look
