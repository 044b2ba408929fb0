"""From raw series to ``clean.series``: when was each value known, and whose value is it?

Rules for a first value (a revision is known from its fetch). Conservative where publication times
are not in the data. *Evening* is 19:00 in New York.

==========================  ====================================================================
``ust_par``                 evening of the session: the Treasury publishes the par curve of a day
                            by about 18:00, on half days too
``wti``                     the sixth session after: the statistical release is weekly
``moody_yield``             monthly average: close plus lag of the first session after the month
``risk_free``               the data library adds a month late: close plus lag of the last
                            session of the month after
any other, monthly          as ``moody_yield``
any other, daily            close of the session plus lag
from ``fred``: daily        evening of the next business day of the Federal Reserve; so is what
                            ``alpha_vantage`` passes on
from ``fred``: ``fx``       evening of the first such day of the week after: the H.10 release is
                            weekly
from ``fred``: monthly      evening of the second such day after the month
``fx`` of other vendors     the end of the day in UTC, when its last quote has been made
``fx`` from files           close of the session plus lag
==========================  ====================================================================

A day that is no session (bonds trade on some) takes the next session's instant. Series of the
United States (``UNITED_STATES``, and all of ``fred``) keep New York's sessions and clock, whatever
the exchange of the run: at Tokyo's close nobody knows New York's.

Where several sources give the value of a day, the one whose value was known first is used, with its
own corrections; among equals the order of the settings decides. So a value, once known, does not
change because another source catches up.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import cache

import numpy as np
import polars as pl
from numpy.typing import NDArray

from wealthos_pipeline.core.data import contract
from wealthos_pipeline.data.processors import quarantine, raw
from wealthos_pipeline.data.processors.calendar import EPOCH, TradingCalendar

NEW_YORK = "America/New_York"
EVENING = timedelta(hours=19)
WTI_SESSIONS = 6
UNITED_STATES = (
    "ust_par", "vix", "wti", "moody_yield", "risk_free", "credit_spread", "breakeven",
)  # fmt: skip

QUOTED = ("yahoo", "alpha_vantage", "finnhub")
"""Vendors whose exchange rate of a day is its last quote."""


def assumed_known_at(frame: pl.DataFrame, calendar: TradingCalendar) -> pl.DataFrame:
    """``frame`` (``series, frequency, date``, where there is one ``source``) with ``known_at`` by rule."""
    source = (
        frame["source"] if "source" in frame.columns else pl.repeat("", frame.height, eager=True)
    )
    at, names = frame["date"].to_numpy(), frame["series"].to_numpy()
    monthly = (frame["frequency"] == "month").to_numpy()
    stamp = _by_session(at, names, monthly, calendar)
    if calendar.exchange != "XNYS":
        home = TradingCalendar("XNYS", lag_minutes=int(calendar.lag.total_seconds() // 60))
        american = np.isin(names, UNITED_STATES)
        stamp = np.where(american, _by_session(at, names, monthly, home), stamp)
    fx = names == "fx"
    passed_on = (source == "fred").to_numpy() | ((source == "alpha_vantage").to_numpy() & ~fx)
    if passed_on.any():
        stamp = np.where(passed_on, _by_fed(at, fx, monthly), stamp)
    quoted = fx & source.is_in(QUOTED).to_numpy()
    stamp = np.where(quoted, (at + np.timedelta64(1, "D")).astype("datetime64[us]"), stamp)
    # before the calendar begins: two months are later than any of the rules
    old = at < np.datetime64(EPOCH)
    stamp = np.where(old, (at + np.timedelta64(62, "D")).astype("datetime64[us]"), stamp)
    return frame.with_columns(
        pl.Series("known_at", stamp.astype("datetime64[us]")).dt.replace_time_zone("UTC")
    )


def _by_session(
    at: NDArray[np.datetime64],
    names: NDArray[np.object_],
    monthly: NDArray[np.bool_],
    calendar: TradingCalendar,
) -> NDArray[np.datetime64]:
    sessions = calendar.frame()
    days = sessions["date"].to_numpy()
    known = sessions["known_at"].dt.replace_time_zone(None).to_numpy()
    # first session on or after the date; of a month: first session after it
    here = np.searchsorted(days, at, side="left")
    after = np.searchsorted(days, at, side="right")
    next_month = (at.astype("datetime64[M]") + 1 + 1).astype("datetime64[D]")
    late = np.searchsorted(days, next_month, side="left") - 1
    slot = np.select(
        [names == "risk_free", monthly, names == "wti"],
        [late, after, here + WTI_SESSIONS],
        here,
    ).clip(0, len(days) - 1)
    return np.where(names == "ust_par", evening(days[slot]), known[slot])


def _by_fed(
    at: NDArray[np.datetime64], fx: NDArray[np.bool_], monthly: NDArray[np.bool_]
) -> NDArray[np.datetime64]:
    days = _fed_days()
    after = np.searchsorted(days, at, side="right")
    weekday = (at.astype("datetime64[D]").astype(np.int64) + 3) % 7
    monday = at + (7 - weekday).astype("timedelta64[D]")
    week = np.searchsorted(days, monday, side="left")
    place = np.select([fx, monthly], [week, after + 1], after).clip(0, len(days) - 1)
    return evening(days[place])


def evening(days: NDArray[np.datetime64]) -> NDArray[np.datetime64]:
    """19:00 in New York on each of ``days``, as UTC without a zone."""
    local = pl.Series(days).cast(pl.Datetime("us")) + EVENING
    utc = local.dt.replace_time_zone(NEW_YORK).dt.convert_time_zone("UTC")
    return utc.dt.replace_time_zone(None).to_numpy()


@cache
def _fed_days() -> NDArray[np.datetime64]:
    """Sessions of New York on which the Federal Reserve was open too: fewer than its business days,
    so that what is counted in them is never early."""
    days = TradingCalendar("XNYS").frame()["date"]
    weekday, month, day = days.dt.weekday(), days.dt.month(), days.dt.day()
    monday = weekday == 1
    columbus = monday & (month == 10) & day.is_between(8, 14)
    veterans = (month == 11) & ((day == 11) | (monday & (day == 12)))
    king = monday & (month == 1) & day.is_between(15, 21)  # the exchange traded until 1997
    return days.filter(~(columbus | veterans | king)).to_numpy()


def clean(
    raw_series: pl.DataFrame,
    calendar: TradingCalendar,
    *,
    now: datetime,
    order: Sequence[str] = (),
) -> pl.DataFrame:
    """``clean.series`` as known at ``now``.

    raw_series: all versions. order: sources, preferred ones first; others follow by name.
    Null values are no rows. A value that was corrected carries the fetch of the correction as
    ``known_at`` and ``basis = 'observed'``. Rows that ``rejected`` names are left out.
    """
    judged = _judged(raw_series, calendar, now)
    good = judged.filter(pl.col("rule").is_null() & (pl.col("known_at") <= now))
    good = one_source(good, ["series", "tenor", "date"], order)
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


def one_source(frame: pl.DataFrame, by: list[str], order: Sequence[str] = ()) -> pl.DataFrame:
    """The rows of the source whose first value of ``by`` was known first (``source, known_at``)."""
    if frame["source"].n_unique() < 2:
        return frame
    rank = {name: f"{i:04d}" for i, name in enumerate(order)}
    prefer = pl.col("source").replace_strict(rank, default="9999", return_dtype=pl.String)
    chosen = (
        frame.group_by([*by, "source"])
        .agg(pl.col("known_at").min().alias("_first"))
        .sort(*by, "_first", prefer, "source")
        .unique(by, keep="first", maintain_order=True)
        .select(*by, "source")
    )
    return frame.join(chosen, on=[*by, "source"], how="semi", maintain_order="left")


def rejected(raw_series: pl.DataFrame, calendar: TradingCalendar, *, now: datetime) -> pl.DataFrame:
    """``clean.quarantine`` rows of ``raw.series``: dates in the future, infinite values, exchange
    rates that are not positive."""
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
        .when(pl.col("value").is_infinite() | ((pl.col("series") == "fx") & (pl.col("value") <= 0)))
        .then(pl.lit("bad_value"))
    )
    return raw.with_known_at(rows, calendar, "raw.series").with_columns(rule.alias("rule"))
