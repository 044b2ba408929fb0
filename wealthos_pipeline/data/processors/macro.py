"""From raw statistics to ``clean.macro``: every version, with the instant from which it was known.

A vendor that dates its versions (FRED's vintages) gives ``published_at``; that instant counts. One
that gives today's history without dates (Alpha Vantage) is stamped by rule: the first version of a
value is taken as known so many days after the end of its period, at midnight in New York,

=========  ====  =========================================================================
frequency  days  longer than
=========  ====  =========================================================================
day           7  the weekly releases of daily figures
week         14  a weekly release with a holiday
month        62  the slowest of the usual monthly reports (house prices: two months)
quarter      95  the third estimate of the national accounts (some 87 days)
year        240  annual surveys and the tables of international bodies (July)
=========  ====  =========================================================================

and a later version from its fetch. Such a history has been revised since it was first published:
the rule says when *some* value was known, not that it was this one. Vintages have no such bias.

A version is never known before its period begins; one that a vendor dates so is no statistic but a
forecast, and is left out. Where several sources give a value, see ``series.one_source``; names say
what is seasonally adjusted and what is not, because two such series are not one.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import polars as pl

from wealthos_pipeline.core.data import contract
from wealthos_pipeline.core.errors import SourceError
from wealthos_pipeline.data.processors import raw
from wealthos_pipeline.data.processors.series import NEW_YORK, one_source

LAG_DAYS = {"day": 7, "week": 14, "month": 62, "quarter": 95, "year": 240}
"""Calendar days from the end of a period to the instant from which an undated value counts."""

_LENGTH = {"day": "1d", "week": "7d", "month": "1mo", "quarter": "3mo", "year": "1y"}


def midnight(day: pl.Expr) -> pl.Expr:
    """The instant (UTC) at which ``day`` begins in New York."""
    local = day.cast(pl.Datetime("us")).dt.replace_time_zone(NEW_YORK)
    return local.dt.convert_time_zone("UTC")


def assumed_known_at(frame: pl.DataFrame) -> pl.DataFrame:
    """``frame`` (rows of ``raw.macro``) with ``known_at``: publication, or the rule where undated.

    SourceError for a frequency that has no rule.
    """
    odd = sorted(set(frame["frequency"]) - set(LAG_DAYS))
    if odd:
        raise SourceError(
            f"raw.macro: unknown frequency {', '.join(map(repr, odd))}; expected {', '.join(LAG_DAYS)}"
        )
    frequency = pl.col("frequency")
    after = pl.col("date").dt.offset_by(frequency.replace_strict(_LENGTH, return_dtype=pl.String))
    lag = frequency.replace_strict(LAG_DAYS, return_dtype=pl.Int64)
    by_rule = midnight(after + pl.duration(days=lag))
    return frame.with_columns(pl.coalesce("published_at", by_rule).alias("known_at"))


def clean(raw_macro: pl.DataFrame, *, now: datetime, order: Sequence[str] = ()) -> pl.DataFrame:
    """``clean.macro`` as known at ``now``: one row a value and version that says something new.

    raw_macro: all rows of ``raw.macro``. order: sources, preferred ones first. ``basis`` is
    ``observed`` where the vendor or the fetch dates the version, ``assumed`` where the rule does.
    Missing and infinite values are no rows: a value that a vendor withdraws stays as last given.
    """
    table = contract("clean.macro")
    value = ["series", "date"]
    rows = _with_known_at(raw_macro).filter(
        pl.col("value").is_finite()
        & (pl.col("known_at") <= now)
        & (pl.col("known_at") >= midnight(pl.col("date")))
    )
    rows = one_source(rows, value, order)
    versions = (
        rows.sort(*value, "known_at", raw.STAMP, "vintage")
        .unique([*value, "known_at"], keep="last", maintain_order=True)
        .filter(pl.col("value").ne_missing(pl.col("value").shift(1).over(value)))
    )
    return table.conform(versions.select(table.column_names))


def _with_known_at(raw_macro: pl.DataFrame) -> pl.DataFrame:
    """Rows with ``known_at`` and ``basis``: of a version given twice, the later one is known from
    its fetch; so is a later version of a value that the vendor does not date."""
    key = raw.identity(contract("raw.macro"))
    first = pl.col(raw.STAMP) == pl.col(raw.STAMP).min().over(key)
    dated = pl.col("published_at").is_not_null()
    return assumed_known_at(raw_macro).with_columns(
        pl.when(first)
        .then("known_at")
        .otherwise(pl.max_horizontal("known_at", raw.STAMP))
        .alias("known_at"),
        pl.when(dated | ~first)
        .then(pl.lit("observed"))
        .otherwise(pl.lit("assumed"))
        .alias("basis"),
    )
