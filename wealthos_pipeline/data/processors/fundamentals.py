"""From raw statements to ``clean.fundamentals``: every version, with when it could have been known.

A vendor that dates its filings gives ``published_at``; that instant counts (``basis`` observed). Where
it does not, the first version of a figure is taken as known when the last day on which its report
could be filed is over (``basis`` assumed). The days are those that the United States' Securities and
Exchange Commission gives its smallest filers, the latest of its own:

=======================================  ====  ====================================================
figure                                   days  from
=======================================  ====  ====================================================
a quarter, twelve months to date (ttm)     45  Form 10-Q, general instruction A.1
a year                                     90  Form 10-K, general instruction A(2)
a quarter that ends its company's year     90  it is published with the year
figures in another currency than dollars   90  a quarter; 120 a year: ``ABROAD_DAYS``
``form`` says 10-Q, 10-K, 20-F or 40-F         45, 90, 120 or 90
=======================================  ====  ====================================================

Nothing is known later than when it was fetched, and some things not before:

- a *point* figure (a profile's number of shares, a price to earnings) is of the day of its fetch;
- a version that differs from what was said before is known from its fetch, unless its publication
  lies after the fetch before; and so is a figure that an earlier fetch should have had and had not,
  unless publication or deadline lie after that fetch.
  A fetch that brought anything about the symbol should have what the vendor gives of it for other
  periods, and what another source had given. What comes with the first load of a metric is as old as publication or deadline say.

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

ABROAD_DAYS = {"quarter": 90, "ttm": 90, "year": 120}
"""The same for figures in another currency than dollars: three months for a half year and four for a
year are what the European Union (Directive 2004/109/EC, articles 4 and 5), London and Hong Kong give."""

_SERIES = ["source", "symbol", "metric", "period"]
_VALUE = ["instrument_id", "metric", "period", "period_end"]


def with_known_at(raw_fundamentals: pl.DataFrame) -> pl.DataFrame:
    """``raw_fundamentals`` with ``known_at`` and ``basis`` of every row, by the rules above.

    The stamp of a row depends on rows only that were known before it.
    """
    return _stamped(raw_fundamentals).cast(raw_fundamentals.schema)


def _stamped(raw_fundamentals: pl.DataFrame) -> pl.DataFrame:
    """``with_known_at``, texts of the key as numbers."""
    fetched, before = pl.col(raw.STAMP), pl.col("_before")
    # nobody files before the period is over: such a date is a slip
    dated = (pl.col("published_at").dt.date() >= pl.col("period_end")).fill_null(False)
    value = [*_SERIES, "period_end"]
    given = [*value, raw.STAMP]
    rows = (
        raw_fundamentals.with_columns(dated.alias("_dated"))
        .pipe(versions.coded, "source", "symbol", "metric", "period", "vintage")
        .pipe(versions.with_before, _SERIES, ["metric", "period", "period_end"])
        .pipe(_with_deadline)
    )
    # of several undated versions in one answer the first by name is taken for the original
    dated = pl.col("_dated")
    original = pl.col("vintage") == pl.col("vintage").min().over(*given, "_dated")
    # fetches that brought nothing new left no row: what differs now was not there at the deadline
    original = dated | (original & (fetched == fetched.min().over(*value, "_dated")))
    own = pl.when(dated).then(versions.published()).when(original).then("_deadline")
    stamp = pl.when(before.is_null() | (own > before)).then(own)
    assumed = (~dated & (stamp <= fetched)).fill_null(False)
    return rows.with_columns(
        pl.min_horizontal(stamp.fill_null(fetched), fetched).alias("known_at"),
        pl.when(assumed).then(pl.lit("assumed")).otherwise(pl.lit("observed")).alias("basis"),
    ).select(*raw_fundamentals.columns, "known_at", "basis")


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
        _stamped(raw_fundamentals)
        .filter(pl.col("known_at") <= now)
        .with_columns(
            value.alias("value"),
            pl.when(value.is_not_null()).then("currency").alias("currency"),
            pl.col(raw.STAMP).dt.date().alias("_day"),
        )
    )
    rows = versions.identified(rows, instruments, "period_end", "_day")
    rows = versions.coded(rows, "instrument_id").with_columns(pl.col("source").cast(pl.String))
    rows = one_source(rows, _VALUE, order).sort(*_VALUE, "known_at", raw.STAMP, "vintage", "symbol")
    changed = versions.changes(rows, _VALUE, ["value", "currency"])
    return table.conform(changed.select(table.column_names))


def _with_deadline(rows: pl.DataFrame) -> pl.DataFrame:
    """``_deadline``: when the last day for filing is over; null where there is no rule."""
    by = ["source", "symbol", "period_end"]
    form = pl.col("form").replace_strict(FORM_DAYS, default=None, return_dtype=pl.Int64)
    period = pl.col("period").cast(pl.String)
    abroad = (pl.col("currency") != "USD").fill_null(False)

    def by_period(home: dict[str, int], away: dict[str, int]) -> pl.Expr:
        days = (period.replace_strict(d, default=None, return_dtype=pl.Int64) for d in (away, home))
        return pl.when(abroad).then(next(days)).otherwise(next(days))

    usual = by_period(PERIOD_DAYS, ABROAD_DAYS)

    def over(days: pl.Expr) -> pl.Expr:
        return versions.day_over(pl.col("period_end") + pl.duration(days=days))

    year = over(pl.coalesce(form, usual))
    in_time = pl.col("_before").is_null() | (year > pl.col("_before"))
    years = (
        rows.filter((period == "year") & ~pl.col("_dated") & in_time)
        .group_by(by)
        .agg(pl.col(raw.STAMP).min().alias("_year"))
    )
    closes_year = (pl.col("_year") <= pl.col(raw.STAMP)).fill_null(False)
    yearly = pl.when(abroad).then(ABROAD_DAYS["year"]).otherwise(PERIOD_DAYS["year"])
    days = pl.when(closes_year).then(pl.max_horizontal(usual, yearly)).otherwise(usual)
    days = pl.when(usual.is_not_null()).then(pl.coalesce(form, days))  # a point has no deadline
    return (
        rows.join(years, on=by, how="left", maintain_order="left")
        .with_columns(over(days).alias("_deadline"))
        .drop("_year")
    )
