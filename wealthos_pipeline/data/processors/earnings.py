"""From the raw earnings calendar to ``clean.earnings``: what was expected, then what was reported.

One raw row holds two kinds of things, known at different times:

- what was *reported* (``eps_actual``, ``revenue_actual`` and the day of the report) is known by the
  report: one before the session at that session's open (New York's, where the root opens earlier), any other (after it, during it, hour
  unknown) when its day is over in New York;
- what was *expected* (estimates, the day that is announced) is known from its fetch: a vendor's list
  of past estimates may have been changed since.

A report that is first fetched years later becomes a version without estimates, known at the report,
and one with them, known at the fetch. Nothing is known later than its fetch. An actual that differs
from what the vendor had given before, or that came only after a fetch which should have had it
(``versions.with_before``), is known from its fetch, and so is one whose day lies before its period was
over. Figures belong to the company that held the symbol both at the end of the period
and at the fetch; where several sources cover a report, see ``series.one_source``.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import polars as pl

from wealthos_pipeline.core.data import contract
from wealthos_pipeline.data.processors import raw, versions
from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.data.processors.series import one_source

_REPORT = ["source", "symbol", "period_end"]
_VALUE = ["instrument_id", "period_end"]
_ACTUAL = ["eps_actual", "revenue_actual"]
EXPECTED = ["eps_estimate", "revenue_estimate"]
_OTHER = ["report_date", "hour", "currency"]


def reported_at(frame: pl.DataFrame, calendar: TradingCalendar) -> pl.DataFrame:
    """``frame`` (``report_date, hour``) with ``reported_at``: from when a report could be known by
    rule; null without a day."""
    days = frame["report_date"].drop_nulls().unique().sort()
    opening = {calendar.exchange: calendar, "XNYS": TradingCalendar("XNYS")}.values()
    opens = pl.DataFrame(
        {"report_date": days, "_open": [max(c.open_at(d) for c in opening) for d in days]},
        schema={"report_date": pl.Date, "_open": pl.Datetime("us", "UTC")},
    )
    at = pl.when(pl.col("hour") == "before").then("_open").otherwise(
        versions.day_over(pl.col("report_date"))
    )  # fmt: skip
    return (
        frame.join(opens, on="report_date", how="left", maintain_order="left")
        .with_columns(at.alias("reported_at"))
        .drop("_open")
    )


def with_known_at(raw_earnings: pl.DataFrame, calendar: TradingCalendar) -> pl.DataFrame:
    """``raw_earnings`` with ``known_at``, the instant from which anything in the row was known: what
    was reported, else the fetch; and ``basis``."""
    fetched, before = pl.col(raw.STAMP), pl.col("_before")
    has = pl.any_horizontal(pl.col(_ACTUAL).is_not_null())
    rows = reported_at(raw_earnings, calendar).pipe(
        versions.with_before, ["source", "symbol"], ["period_end"]
    )
    in_time = before.is_null() | (pl.col("reported_at") > before)
    over = pl.col("report_date") >= pl.col("period_end")  # an earlier day is a slip
    by_rule = (has & over & (pl.col("reported_at") <= fetched) & in_time).fill_null(False)
    return rows.with_columns(
        pl.when(by_rule).then("reported_at").otherwise(fetched).alias("known_at"),
        pl.when(by_rule).then(pl.lit("assumed")).otherwise(pl.lit("observed")).alias("basis"),
    ).select(*raw_earnings.columns, "known_at", "basis")


def clean(
    raw_earnings: pl.DataFrame,
    instruments: pl.DataFrame,
    calendar: TradingCalendar,
    *,
    now: datetime,
    order: Sequence[str] = (),
) -> pl.DataFrame:
    """``clean.earnings`` as known at ``now``: one row a report and version that says something new.

    raw_earnings: all rows of ``raw.earnings``. instruments: ``clean.instruments``. order: sources,
    preferred ones first.
    """
    table = contract("clean.earnings")
    rows = with_known_at(raw_earnings, calendar).with_columns(
        pl.col(c).fill_nan(None) for c in (*_ACTUAL, *EXPECTED)
    )
    rows = rows.with_columns(pl.col(raw.STAMP).dt.date().alias("_day"))
    rows = versions.identified(rows, instruments, "period_end", "_day")
    told = _events(rows).filter(pl.col("known_at") <= now)
    told = one_source(told, _VALUE, order).sort(*_VALUE, "known_at", "_at", "symbol")
    values = [*_OTHER, *EXPECTED, *_ACTUAL]
    return table.conform(versions.changes(told, _VALUE, values).select(table.column_names))


def _events(rows: pl.DataFrame) -> pl.DataFrame:
    """Two events a row: the report as it was known then, with what was expected before it; and the
    whole row at its fetch."""
    by = ["instrument_id", *_REPORT]
    ordered = rows.sort(*by, raw.STAMP)
    report = ordered.with_columns(
        pl.col(c).shift(1).over(by).alias(c) for c in EXPECTED
    ).filter(pl.col("known_at") < pl.col(raw.STAMP))  # fmt: skip
    fetch = ordered.with_columns(pl.col(raw.STAMP).alias("known_at"), basis=pl.lit("observed"))
    return pl.concat([report, fetch]).with_columns(pl.col(raw.STAMP).alias("_at"))
