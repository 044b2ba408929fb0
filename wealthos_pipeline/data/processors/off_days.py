"""Dividends and splits of days on which the house's exchange was closed.

A share in London trades on the Fourth of July. Where New York's calendar counts the sessions, its bar
of that day is no bar (``not_a_session``), but a dividend or a split of that day happened. It counts
on the instrument's next bar, whose return spans the day: dividends are added, splits multiplied.

The versions of both are kept: a dividend that is listed or corrected later makes another version of
the bar that it counts on, fetched then.
"""

from __future__ import annotations

from datetime import timedelta

import polars as pl

from wealthos_pipeline.data.processors.raw import STAMP

RULE = "not_a_session"
FAR = timedelta(days=12)
"""A bar later than this after the day is of another time: exchanges do not close for so long."""

_BY = ["instrument_id", "source"]
_DIVIDEND = pl.col("dividend").fill_nan(None).fill_null(0.0)
_SPLIT = pl.col("split_ratio").fill_nan(None).fill_null(1.0)
_SOUND = (
    (_DIVIDEND >= 0) & _DIVIDEND.is_finite() & (_SPLIT > 0) & _SPLIT.is_finite()
)  # others are no events


def carried(rows: pl.DataFrame) -> pl.DataFrame:
    """``rows`` (versions of bars with ``rule``) with events of days without a session on the next bar.

    The rows of those days stay as they are; their ``detail`` (added where there are any) names the
    bar. Rows without such events come back untouched.
    """
    closed = rows.filter((pl.col("rule") == RULE) & pl.col("instrument_id").is_not_null() & _SOUND)
    days = closed.filter((_DIVIDEND != 0) | (_SPLIT != 1)).select(*_BY, "date").unique()
    if not days.height:
        return rows
    bars = rows.filter(pl.col("rule").is_null())
    nearest = bars.select(*_BY, "date").unique().with_columns(pl.col("date").alias("_bar"))
    days = days.sort("date").join_asof(
        nearest.sort("date"),
        on="date",
        by=_BY,
        strategy="forward",
        tolerance=FAR,
        check_sortedness=False,
    )
    days = days.drop_nulls("_bar")
    if not days.height:
        return rows
    told = closed.join(days, on=[*_BY, "date"], how="inner").select(
        *_BY, "_bar", "date", STAMP, _DIVIDEND.alias("_cash"), _SPLIT.alias("_ratio")
    )
    mine = bars.join(
        days.select(*_BY, "_bar").unique(),
        left_on=[*_BY, "date"],
        right_on=[*_BY, "_bar"],
        how="semi",
    )
    anew = _with_events(mine, told)
    others = rows.join(anew.select(*_BY, "date").unique(), on=[*_BY, "date"], how="anti")
    first = days.select(*_BY, "date", pl.col("_bar"))
    out = pl.concat([others, anew.select(rows.columns)])
    out = out.join(first, on=[*_BY, "date"], how="left", maintain_order="left")
    values = ("close", "adj_close", "split_ratio", "dividend")
    detail = pl.format(
        "close {}, adj_close {}, split {}, dividend {}; split and dividend count on {}",
        *(pl.col(n).cast(pl.String).fill_null("none") for n in values),
        pl.col("_bar"),
    )
    event = (pl.col("rule") == RULE) & ((_DIVIDEND != 0) | (_SPLIT != 1))
    return out.with_columns(pl.when(event).then(detail).alias("detail")).drop("_bar")


def _with_events(bars: pl.DataFrame, told: pl.DataFrame) -> pl.DataFrame:
    """Versions of ``bars`` with the events that were known with each, and a version more for each
    time that another event became known.

    told: ``_bar`` (date of the bar), ``date, fetched_at, _cash, _ratio`` of every version of a day.
    """
    key = [*_BY, "date"]
    first = bars.group_by(key).agg(pl.col(STAMP).min().alias("_first"))
    stamps = (
        told.select(*_BY, pl.col("_bar").alias("date"), STAMP)
        .join(first, on=key)
        .filter(pl.col(STAMP) > pl.col("_first"))
        .select(*key, STAMP)
    )
    grid = pl.concat([bars.select(*key, STAMP), stamps]).unique().sort(*key, STAMP)
    days = told.select(*_BY, "_bar", pl.col("date").alias("_day")).unique()
    known = (
        grid.join(days, left_on=key, right_on=[*_BY, "_bar"])
        .sort(STAMP)
        .join_asof(
            told.drop("_bar").rename({"date": "_day"}).sort(STAMP),
            on=STAMP,
            by=[*_BY, "_day"],
            strategy="backward",
            check_sortedness=False,
        )
        .sort(*key, STAMP, "_day")
        .group_by(*key, STAMP, maintain_order=True)
        .agg(
            pl.col("_cash").fill_null(0.0).sum(),
            pl.col("_ratio").fill_null(1.0).product(),
        )
    )
    own = bars.select(*key, STAMP, pl.lit(value=True).alias("_own"))
    known = known.join(own, on=[*key, STAMP], how="left").sort(*key, STAMP)
    same = pl.all_horizontal(
        (pl.col(n) == pl.col(n).shift(1).over(key)).fill_null(value=False)
        for n in ("_cash", "_ratio")
    )
    known = known.filter(pl.col("_own").is_not_null() | ~same).drop("_own").sort(STAMP)
    versions = bars.with_columns(pl.col(STAMP).alias("_at")).sort("_at")
    out = known.join_asof(
        versions.drop(STAMP),
        left_on=STAMP,
        right_on="_at",
        by=key,
        strategy="backward",
        check_sortedness=False,
    )
    # of prices as traded, what was paid before the bar's own split is for the old shares
    traded = pl.col("basis_vintage").is_null()
    cash = pl.when(traded).then(pl.col("_cash") / _SPLIT).otherwise("_cash")
    return out.with_columns(
        pl.when(pl.col("_cash") != 0)
        .then(_DIVIDEND + cash)
        .otherwise("dividend")
        .alias("dividend"),
        pl.when(pl.col("_ratio") != 1)
        .then(_SPLIT * pl.col("_ratio"))
        .otherwise("split_ratio")
        .alias("split_ratio"),
    )
