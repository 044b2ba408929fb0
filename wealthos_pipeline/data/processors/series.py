"""From raw series to ``clean.series``: when was each value known?

Rules for a first value (a revision is known from its fetch). Conservative where publication times
are not in the data:

=====================  =========================================================================
``ust_par``            close of the session plus three hours: the Treasury publishes the par curve
                       of a day in the early evening
``wti``                the sixth session after: the statistical release is weekly
``moody_yield``        monthly average: close plus lag of the first session after the month
``risk_free``          the data library adds a month late: close plus lag of the last session of
                       the month after
any other, monthly     as ``moody_yield``
any other, daily       close of the session plus lag
=====================  =========================================================================

A day that is no session of the exchange (bonds trade on some) takes the next session's instant.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import polars as pl

from wealthos_pipeline.core.data import contract
from wealthos_pipeline.data.processors import quarantine, raw
from wealthos_pipeline.data.processors.calendar import EPOCH, TradingCalendar

TREASURY_DELAY = timedelta(hours=3)
WTI_SESSIONS = 6


def assumed_known_at(frame: pl.DataFrame, calendar: TradingCalendar) -> pl.DataFrame:
    """``frame`` (``series, frequency, date``) with ``known_at`` by rule."""
    sessions = calendar.frame()
    days = sessions["date"].to_numpy()
    known = sessions["known_at"].dt.replace_time_zone(None).to_numpy()
    closes = sessions["close_at"].dt.replace_time_zone(None).to_numpy()
    at = frame["date"].to_numpy()
    # first session on or after the date; of a month: first session after it
    here = np.searchsorted(days, at, side="left")
    after = np.searchsorted(days, at, side="right")
    last = len(days) - 1
    series, monthly = frame["series"].to_numpy(), (frame["frequency"] == "month").to_numpy()
    next_month = (at.astype("datetime64[M]") + 1 + 1).astype("datetime64[D]")
    late = np.searchsorted(days, next_month, side="left") - 1
    slot = np.select(
        [series == "risk_free", monthly, series == "wti"],
        [late, after, here + WTI_SESSIONS],
        here,
    ).clip(0, last)
    stamp = known[slot]
    treasury = series == "ust_par"
    stamp = np.where(treasury, closes[slot] + np.timedelta64(TREASURY_DELAY), stamp)
    # before the calendar begins: two months are later than any of the rules
    old = at < np.datetime64(EPOCH)
    stamp = np.where(old, (at + np.timedelta64(62, "D")).astype("datetime64[us]"), stamp)
    return frame.with_columns(
        pl.Series("known_at", stamp.astype("datetime64[us]")).dt.replace_time_zone("UTC")
    )


def clean(raw_series: pl.DataFrame, calendar: TradingCalendar, *, now: datetime) -> pl.DataFrame:
    """``clean.series`` as known at ``now``.

    raw_series: all versions. Null values are no rows. A value that was corrected carries the fetch
    of the correction as ``known_at`` and ``basis = 'observed'``. Rows that ``rejected`` names are
    left out.
    """
    judged = _judged(raw_series, calendar, now)
    good = judged.filter(pl.col("rule").is_null() & (pl.col("known_at") <= now))
    raw_table, table = contract("raw.series"), contract("clean.series")
    key = raw.identity(raw_table)
    first = good.group_by(key).agg(pl.col(raw.STAMP).min().alias("_first"))
    assumed = pl.col(raw.STAMP) == pl.col("_first")
    out = (
        raw.latest(good, raw_table)
        .join(first, on=key, how="left", maintain_order="left")
        .with_columns(
            pl.when(assumed).then(pl.lit("assumed")).otherwise(pl.lit("observed")).alias("basis")
        )
    )
    return table.conform(out.select(table.column_names))


def rejected(raw_series: pl.DataFrame, calendar: TradingCalendar, *, now: datetime) -> pl.DataFrame:
    """``clean.quarantine`` rows of ``raw.series``: dates in the future, infinite values."""
    bad = _judged(raw_series, calendar, now).filter(pl.col("rule").is_not_null())
    return quarantine.collect(
        bad.with_columns(
            pl.lit("raw.series").alias("table"),
            pl.concat_str("series", "tenor", separator=" ").str.strip_chars().alias("symbol"),
            pl.format("value {}", "value").alias("detail"),
        )
    )


def _judged(raw_series: pl.DataFrame, calendar: TradingCalendar, now: datetime) -> pl.DataFrame:
    rows = raw_series.filter(pl.col("value").is_not_null() & ~pl.col("value").is_nan())
    rule = (
        pl.when((pl.col("date") > now.date()) | (pl.col("date") > pl.col(raw.STAMP).dt.date()))
        .then(pl.lit("future_date"))
        .when(pl.col("value").is_infinite())
        .then(pl.lit("bad_value"))
    )
    return raw.with_known_at(rows, calendar, "raw.series").with_columns(rule.alias("rule"))
