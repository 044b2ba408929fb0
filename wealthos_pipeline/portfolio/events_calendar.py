"""Dates of held names, a few behind and some weeks ahead, from what the lake knows.

Behind: dividends and splits of ``clean.prices``. Both ways: reports of ``clean.earnings`` and joining and leaving
of ``clean.membership``, as they were announced. Ahead: the last days of overrides. What no source gives is said
(``unknown``) and never guessed: a dividend is known here on its ex-day only.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta

import polars as pl

from wealthos_pipeline.core.data import contract
from wealthos_pipeline.core.mandate import Mandate
from wealthos_pipeline.data.processors.calendar import TradingCalendar

AHEAD = 30
"""Calendar days after the last session that are shown."""
BEHIND = 14
"""Calendar days before it."""


def upcoming(
    mandates: Sequence[Mandate],
    targets: pl.DataFrame,
    *,
    prices: pl.DataFrame,
    earnings: pl.DataFrame,
    membership: pl.DataFrame,
    instruments: pl.DataFrame,
    end: date,
    calendar: TradingCalendar,
    ahead: int = AHEAD,
    behind: int = BEHIND,
) -> pl.DataFrame:
    """``portfolio.calendar`` of every live mandate for the last session ``end``.

    targets: ``portfolio.targets``; a name is held where its weight before or after the live decision of ``end`` is not
    0. prices: ``instrument_id, date, dividend, split_ratio, currency, known_at`` of the last days. earnings,
    membership, instruments: the clean tables.
    """
    table = contract("portfolio.calendar")
    first, last = end - timedelta(days=behind), end + timedelta(days=ahead)
    known = calendar.known_at(end)
    live = targets.filter((pl.col("run_kind") == "live") & (pl.col("date") == end))
    held = live.filter((pl.col("weight") != 0.0) | (pl.col("weight_before") != 0.0)).select(
        "mandate", "instrument_id"
    )
    found = pl.concat(
        [
            _dividends(prices), _splits(prices), _reports(earnings, known),
            _changes(membership, known),
        ]
    )  # fmt: skip
    inside = found.filter(
        (pl.col("date") >= first) & (pl.col("date") <= last) & (pl.col("known_at") <= known)
    )
    rows = held.join(inside, on="instrument_id", how="inner")
    names = [m for m in mandates if m.live]
    rows = pl.concat([rows.select(_COLUMNS), _overrides(names, instruments, end, last, known)])
    return table.conform(
        rows.unique(_COLUMNS[:-1], keep="first", maintain_order=True)
        .with_columns(pl.lit("live").alias("run_kind"), pl.lit(end).alias("as_of"))
        .select(table.column_names)
    )


_COLUMNS = ["mandate", "instrument_id", "date", "kind", "detail", "known_at"]
_EVENT = _COLUMNS[1:]


def _event(rows: pl.DataFrame, kind: str, detail: pl.Expr) -> pl.DataFrame:
    return rows.with_columns(pl.lit(kind).alias("kind"), detail.alias("detail")).select(_EVENT)


def _dividends(prices: pl.DataFrame) -> pl.DataFrame:
    paid = prices.filter(pl.col("dividend").fill_null(0.0) > 0)
    words = pl.format("dividend of {} {} a share", pl.col("dividend").round(4), "currency")
    return _event(paid, "ex_dividend", words)


def _splits(prices: pl.DataFrame) -> pl.DataFrame:
    split = prices.filter(pl.col("split_ratio") != 1.0)
    words = pl.format("split: {} new shares for one old", pl.col("split_ratio").round(4))
    return _event(split, "split", words)


def _reports(earnings: pl.DataFrame, known: datetime) -> pl.DataFrame:
    """The day of each report as it was last announced by ``known``."""
    rows = earnings.filter((pl.col("known_at") <= known) & pl.col("report_date").is_not_null())
    last = rows.sort("known_at").unique(
        ["instrument_id", "period_end"], keep="last", maintain_order=True
    )
    hour = (
        pl.when(pl.col("hour").is_not_null()).then(pl.format(" ({})", "hour")).otherwise(pl.lit(""))
    )
    done = pl.col("eps_actual").is_not_null() | pl.col("revenue_actual").is_not_null()
    verb = pl.when(done).then(pl.lit("reported")).otherwise(pl.lit("is to report"))
    words = pl.format("{} the period to {}{}", verb, pl.col("period_end").cast(pl.String), hour)
    return _event(last.with_columns(pl.col("report_date").alias("date")), "earnings", words)  # fmt: skip


def _changes(membership: pl.DataFrame, known: datetime) -> pl.DataFrame:
    stands = pl.col("withdrawn_at").is_null() | (pl.col("withdrawn_at") > known)
    rows = membership.filter(stands)
    joins = _event(
        rows.with_columns(pl.col("valid_from").alias("date")), "index_change",
        pl.format("joins {}", "universe"),
    )  # fmt: skip
    leaves = _event(
        rows.filter(pl.col("valid_to").is_not_null()).with_columns(pl.col("valid_to").alias("date")),
        "index_change", pl.format("leaves {}: its last day", "universe"),
    )  # fmt: skip
    return pl.concat([joins, leaves])


def _overrides(
    mandates: Sequence[Mandate],
    instruments: pl.DataFrame,
    end: date,
    last: date,
    known: datetime,
) -> pl.DataFrame:
    """Overrides whose last day is near, whether the name is held or not."""
    ordered = instruments.filter(pl.col("valid_from") <= end).sort("valid_from")
    ids = dict(ordered.select("symbol", "instrument_id").iter_rows())
    rows = [
        (
            m.name, ids[o.symbol], o.expires, "expiry_of_override",
            f"{o.action.replace('_', ' ')} of {o.owner} ends: {o.reason}", known,
        )
        for m in mandates
        for o in m.overrides
        if end <= o.expires <= last and o.symbol in ids
    ]  # fmt: skip
    schema = contract("portfolio.calendar").schema()
    return pl.DataFrame(rows, schema={n: schema[n] for n in _COLUMNS}, orient="row")


def unknown(earnings: pl.DataFrame, membership: pl.DataFrame, prices: pl.DataFrame) -> list[str]:
    """What the calendar cannot know, in words."""
    out = ["dividends and splits ahead: no source announces them"]
    if not prices["dividend"].drop_nulls().len():
        out.append("dividends behind: the prices have none")
    if not earnings.height:
        out.append("earnings: no source gives dates of reports")
    if not membership.height:
        out.append("index changes: no source gives members")
    return out
