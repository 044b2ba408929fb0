"""Delistings as a person states them: the last session, and what holders got.

``data/inputs/delistings.csv`` has the columns ``symbol`` or ``instrument_id``, ``date`` (the last
session with a bar), ``terminal_return`` (decimal, from the last close to what holders got; empty
where nobody knows), ``reason`` and ``known_on`` (the day that it became known; empty: at once).

A stated return becomes one bar of the session after ``date`` (flag TERMINAL): no price at which
anything is bought or sold, but the value that a holder ends with. A total loss is stored as
``FLOOR``, so that the total-return index stays positive and every ratio of it is defined.
"""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from wealthos_pipeline.core.data import contract
from wealthos_pipeline.data.processors import inputs
from wealthos_pipeline.data.processors.flags import Flag

if TYPE_CHECKING:
    from wealthos_pipeline.data.processors.calendar import TradingCalendar

FILE = "delistings.csv"
"""Its name in the folder of inputs, and the ``source`` of terminal bars."""

FLOOR = 1e-6
"""What is left of a total loss: a return of −99.9999 %."""

COLUMNS = {
    "symbol": pl.String(),
    "instrument_id": pl.String(),
    "date": pl.Date(),
    "terminal_return": pl.Float64(),
    "reason": pl.String(),
    "known_on": pl.Date(),
}
"""Columns of the file; ``date`` and one of the first two are required."""

UNKNOWN = "terminal return unknown: taken as 0"
"""What is said of a delisting without a stated return."""


def read(path: Path, calendar: TradingCalendar) -> pl.DataFrame:
    """The file as ``COLUMNS``; empty where there is none. ConfigError lists every fault."""
    text = inputs.read(path, COLUMNS, [("date",), ("symbol", "instrument_id")])
    faults: list[str] = []
    out = inputs.typed(text, COLUMNS, faults)
    for i, row in enumerate(out.iter_rows(named=True), 2):
        day, value, given = row["date"], row["terminal_return"], text.row(i - 2, named=True)
        if row["symbol"] is None and row["instrument_id"] is None:
            faults.append(f"row {i}: neither symbol nor instrument_id")
        if given["date"] is None:
            faults.append(f"row {i}: date is empty")
        elif day is not None and not calendar.is_session(day):
            faults.append(f"row {i}: {day} is no session of {calendar.exchange}")
        if value is not None and not -1 <= value < float("inf"):
            faults.append(f"row {i}: terminal_return {value} is not a decimal of at least -1")
    who = pl.coalesce("instrument_id", "symbol")
    for name in (
        out.filter(who.is_duplicated()).select(who).to_series().unique().sort().drop_nulls()
    ):
        faults.append(f"{name!r} has several rows")
    inputs.refuse(path, faults)
    return out


def resolved(
    stated: pl.DataFrame, instruments: pl.DataFrame, calendar: TradingCalendar
) -> pl.DataFrame:
    """``instrument_id, date, terminal_return, reason, ends, slot, told_at``, one row an instrument.

    ends: session of the terminal bar, the one after ``date``; slot: its slot. told_at: its close
    plus lag, or that of ``known_on`` if that is later. A symbol means the instrument that had it on
    ``date``; rows of instruments that are not in the registry are left out (``unmatched``).
    """
    by_symbol = _on_their_day(stated, instruments)
    known = set(instruments["instrument_id"].unique())
    rows = []
    for row, found in zip(stated.iter_rows(named=True), by_symbol, strict=True):
        name = row["instrument_id"] or found
        if name not in known:
            continue
        ends = calendar.offset(row["date"], 1)
        told = calendar.known_at(ends)
        if row["known_on"] is not None:
            told = max(told, calendar.known_at(calendar.on_or_after(row["known_on"])))
        rows.append(
            {
                "instrument_id": name,
                "date": row["date"],
                "terminal_return": row["terminal_return"],
                "reason": row["reason"],
                "ends": ends,
                "slot": calendar.slot(ends),
                "told_at": told,
            }
        )
    schema = {
        "instrument_id": pl.String(), "date": pl.Date(), "terminal_return": pl.Float64(),
        "reason": pl.String(), "ends": pl.Date(), "slot": pl.Int32(),
        "told_at": pl.Datetime("us", "UTC"),
    }  # fmt: skip
    out = pl.DataFrame(rows, schema=schema)
    return out.sort("instrument_id", "date").unique(
        "instrument_id", keep="last", maintain_order=True
    )


def unmatched(stated: pl.DataFrame, instruments: pl.DataFrame) -> list[str]:
    """Names in the file that no instrument has."""
    known = set(instruments["instrument_id"].unique())
    found = _on_their_day(stated, instruments)
    return sorted(
        row["instrument_id"] or row["symbol"]
        for row, name in zip(stated.iter_rows(named=True), found, strict=True)
        if (row["instrument_id"] or name) not in known
    )


def _on_their_day(stated: pl.DataFrame, instruments: pl.DataFrame) -> list[str | None]:
    """The instrument that had each row's symbol on its date; None where there is none."""
    spans = instruments.select("symbol", "instrument_id", "valid_from", "valid_to")
    hits = (
        stated.select("symbol", "date")
        .with_row_index("_row")
        .join(spans, on="symbol", how="inner")
        .filter(
            (pl.col("valid_from") <= pl.col("date"))
            & (pl.col("valid_to").is_null() | (pl.col("date") <= pl.col("valid_to")))
        )
    )
    by_row = dict(hits.sort("_row", "valid_from").select("_row", "instrument_id").iter_rows())
    return [by_row.get(i) for i in range(stated.height)]


def due(ends: pl.DataFrame, since: datetime, now: datetime) -> date | None:
    """First date of a delisting that became known in (since, now]."""
    fresh = ends.filter((pl.col("told_at") > since) & (pl.col("told_at") <= now))
    first = fresh["date"].min()
    return first if isinstance(first, date) else None


def terminal(last: pl.DataFrame, ends: pl.DataFrame, now: datetime) -> pl.DataFrame:
    """Terminal bars, rows of ``clean.prices``, of the delistings that are known at ``now``.

    last: the last clean row of instruments, of ``STATE``'s columns or all. An instrument whose last
    bar lies after the stated date, or that has none, gets none.
    """
    table = contract("clean.prices")
    known = ends.filter((pl.col("told_at") <= now) & pl.col("terminal_return").is_not_null()).drop(
        "reason"
    )
    rows = last.rename({"date": "_date", "slot": "_slot"}).join(
        known.rename({"date": "_stated"}), on="instrument_id", how="inner"
    )
    factor = pl.max_horizontal(1 + pl.col("terminal_return"), pl.lit(FLOOR))
    watched = (pl.col("basis") == "observed") & (pl.col("known_at") > pl.col("told_at"))
    return table.conform(
        rows.filter(pl.col("_date") <= pl.col("_stated"))
        .with_columns(
            pl.col("ends").alias("date"),
            (pl.col("close") * factor).alias("close"),
            (pl.col("tr_index") * factor).alias("tr_index"),
            pl.lit(1.0).alias("split_ratio"),
            pl.lit(0.0).alias("volume"),
            pl.lit(0.0).alias("dollar_volume"),
            pl.lit(None, dtype=pl.Float64).alias("dividend"),
            *(pl.lit(None, dtype=pl.Float64).alias(n) for n in ("open", "high", "low")),
            pl.lit(int(Flag.TERMINAL), dtype=pl.Int32).alias("flags"),
            pl.lit(FILE).alias("source"),
            pl.when(watched).then(pl.lit("observed")).otherwise(pl.lit("assumed")).alias("basis"),
            pl.max_horizontal("told_at", pl.when(watched).then("known_at")).alias("known_at"),
        )
        .select(table.column_names)
    )


def logged(bars: pl.DataFrame, last: pl.DataFrame, ends: pl.DataFrame) -> pl.DataFrame:
    """``clean.adjustments`` of terminal bars; ``last`` as handed to ``terminal``."""
    table = contract("clean.adjustments")
    words = pl.col("reason").fill_null("no reason given")
    rows = bars.join(ends.drop("date", "slot"), on="instrument_id", how="inner").join(
        last.select("instrument_id", pl.col("close").alias("before")), on="instrument_id"
    )
    return table.conform(
        rows.with_columns(
            pl.lit("terminal_return").alias("rule"),
            pl.lit("close").alias("field"),
            pl.col("close").alias("after"),
            pl.format("stated return {}: {}", "terminal_return", words).alias("detail"),
        ).select(table.column_names)
    )
