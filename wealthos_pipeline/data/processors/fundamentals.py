"""From raw statements to ``clean.fundamentals``: every version, with when it could have been known.

A vendor that dates its filings gives ``published_at``; that instant counts (``basis`` observed). Where
it does not, the first version of a figure is taken as known when the last day on which its report
could be filed is over (``basis`` assumed). The days are those that the United States' Securities and
Exchange Commission gives its smallest filers, the latest of all:

=======================================  ====  ====================================================
figure                                   days  from
=======================================  ====  ====================================================
a quarter, twelve months to date (ttm)     45  Form 10-Q, general instruction A.1
a year                                     90  Form 10-K, general instruction A(2)
a quarter that ends its company's year     90  it is published with the year
``form`` says 10-Q, 10-K, 20-F or 40-F         45, 90, 120 or 90
=======================================  ====  ====================================================

Nothing is known later than when it was fetched, and some things not before:

- a *point* figure (a profile's number of shares, a price to earnings) is of the day of its fetch;
- a version that differs from what the vendor had said before is known from its fetch, unless the
  vendor dates it after the fetch before;
- a figure that arrives when the vendor had already given one of a later period is known from its
  fetch.

A first load years later gives the past what the vendor says *today*. Where it dates no filings that
is the last restatement, not the figure of then: ``data.sources.base.RESTATED_FUNDAMENTALS``.

Where several sources give a figure, see ``series.one_source``. A figure belongs to the company that
held the symbol both at the end of the period and at the fetch.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import polars as pl

from wealthos_pipeline.core.data import contract
from wealthos_pipeline.data.processors import raw, versions
from wealthos_pipeline.data.processors.series import one_source

FORM_DAYS = {"10-Q": 45, "10-K": 90, "20-F": 120, "40-F": 90}
"""Calendar days from the end of the period to the last day for filing, by form."""

PERIOD_DAYS = {"quarter": 45, "ttm": 45, "year": 90}
"""The same where the form is unknown; other periods are known from their fetch."""

_FIGURE = ["source", "symbol", "metric", "period", "period_end"]
_VALUE = ["instrument_id", "metric", "period", "period_end"]


def with_known_at(raw_fundamentals: pl.DataFrame) -> pl.DataFrame:
    """``raw_fundamentals`` with ``known_at`` and ``basis`` of every row, by the rules above.

    The stamp of a row depends on rows only that were known before it.
    """
    fetched, said = pl.col(raw.STAMP), versions.published()
    dated = pl.col("published_at").is_not_null()
    by = [*_FIGURE, "_version"]
    rows = (
        raw_fundamentals.with_row_index("_row")
        .with_columns(pl.when(dated).then("vintage").otherwise(pl.lit("")).alias("_version"))
        .pipe(_with_late)
        .pipe(_with_days)
        .sort(*by, raw.STAMP, "vintage")
        .with_columns(fetched.shift(1).over(by).alias("_before"))
    )
    rule = versions.day_over(pl.col("period_end") + pl.duration(days=pl.col("_days")))
    first = pl.col("_before").is_null()
    own = pl.when(dated).then(said).when(first & ~pl.col("_late")).then(rule)
    # what was published since the fetch before; else it is known from this one
    stamp = pl.when(first | (own > pl.col("_before"))).then(own)
    by_rule = ~dated & first & ~pl.col("_late") & (rule <= fetched)
    return (
        rows.with_columns(
            pl.min_horizontal(stamp.fill_null(fetched), fetched).alias("known_at"),
            pl.when(by_rule.fill_null(False))
            .then(pl.lit("assumed"))
            .otherwise(pl.lit("observed"))
            .alias("basis"),
        )
        .sort("_row")
        .select(*raw_fundamentals.columns, "known_at", "basis")
    )


def clean(
    raw_fundamentals: pl.DataFrame,
    instruments: pl.DataFrame,
    *,
    now: datetime,
    order: Sequence[str] = (),
) -> pl.DataFrame:
    """``clean.fundamentals`` as known at ``now``: one row a figure and version that says something new.

    raw_fundamentals: all rows of ``raw.fundamentals``. instruments: ``clean.instruments``. order:
    sources, preferred ones first. A null value is a figure that the vendor withdrew.
    """
    table = contract("clean.fundamentals")
    value = pl.col("value").fill_nan(None)
    rows = (
        with_known_at(raw_fundamentals)
        .filter(pl.col("known_at") <= now)
        .with_columns(
            value.alias("value"),
            pl.when(value.is_not_null()).then("currency").alias("currency"),
            pl.col(raw.STAMP).dt.date().alias("_day"),
        )
    )
    rows = versions.identified(rows, instruments, "period_end", "_day")
    rows = one_source(rows, _VALUE, order).sort(*_VALUE, "known_at", raw.STAMP, "vintage", "symbol")
    return table.conform(
        versions.changes(rows, _VALUE, ["value", "currency"]).select(table.column_names)
    )


def _with_late(rows: pl.DataFrame) -> pl.DataFrame:
    """``_late``: the vendor had given this metric for a later period when the row came."""
    by = ["source", "symbol", "metric", "period"]
    later = (
        rows.group_by(*by, "period_end")
        .agg(pl.col(raw.STAMP).min().alias("_stamp"))
        .sort(*by, "period_end", descending=[False] * len(by) + [True])
        .with_columns(pl.col("_stamp").cum_min().shift(1).over(by).alias("_later"))
        .drop("_stamp")
    )
    late = (pl.col(raw.STAMP) > pl.col("_later")).fill_null(False)
    return (
        rows.join(later, on=[*by, "period_end"], how="left", maintain_order="left")
        .with_columns(late.alias("_late"))
        .drop("_later")
    )


def _with_days(rows: pl.DataFrame) -> pl.DataFrame:
    """``_days`` from the end of the period to the last day for filing; null where there is no rule."""
    by = ["source", "symbol", "period_end"]
    years = (
        rows.filter((pl.col("period") == "year") & ~pl.col("_late"))
        .group_by(by)
        .agg(pl.col(raw.STAMP).min().alias("_year"))
    )
    form = pl.col("form").replace_strict(FORM_DAYS, default=None, return_dtype=pl.Int64)
    usual = pl.col("period").replace_strict(PERIOD_DAYS, default=None, return_dtype=pl.Int64)
    closes_year = (pl.col("_year") <= pl.col(raw.STAMP)).fill_null(False)
    days = pl.when(closes_year).then(pl.max_horizontal(usual, PERIOD_DAYS["year"])).otherwise(usual)
    days = pl.when(usual.is_not_null()).then(pl.coalesce(form, days))  # a point has no rule
    return (
        rows.join(years, on=by, how="left", maintain_order="left")
        .with_columns(days.alias("_days"))
        .drop("_year")
    )
