"""What changes when a table is restated: rows that stay, that are new, that changed, that vanish.

``<table>_history`` keeps every version of a row with the interval ``[known_from, known_to)`` in
which it was believed. Intervals of one key never overlap and never run backwards.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import polars as pl

from wealthos_pipeline.core.data import TableContract

OPEN_ENDED = datetime.fromisoformat("9999-12-31T00:00:00+00:00")
"""``known_to`` of a version that has not been replaced."""

STAMPS = ("known_at", "basis")
"""Columns that say when and how a row was known, and not what it says."""


def restated(
    contract: TableContract,
    frame: pl.DataFrame,
    *,
    current: pl.DataFrame,
    past: Callable[[], pl.DataFrame],
    now: datetime,
) -> tuple[pl.DataFrame, pl.DataFrame | None]:
    """The table's rows after the restatement, and its history; None if no value changed.

    frame, current: rows of the range, new and stored; ``past`` gives the stored history.

    A new key is known from its own ``known_at``, unless the table has held it before: then it
    returns at ``now``. A changed row is known from ``now``, or from its ``known_at`` if that lies
    ahead. A version that was replaced before it could be known leaves no trace.
    """
    key = list(contract.key)
    instant = pl.lit(now).cast(pl.Datetime("us", "UTC"))
    if current.is_empty() and (history := past()).is_empty():
        if frame.is_empty():
            return frame, None
        return frame, _opened(frame, pl.col("known_at")).sort(
            [*contract.sort_columns, "known_from"]
        )

    same, changed, new, vanished = _differences(contract, frame, current)
    if changed.is_empty() and new.is_empty() and vanished.is_empty():
        return current, None
    history = past()
    names = history.columns

    switch = pl.max_horizontal(instant, pl.col("known_at"))
    gone = pl.concat(
        [
            changed.select(*key, switch.alias("until"), pl.lit(True).alias("stays")),
            vanished.select(*key, instant.alias("until"), pl.lit(False).alias("stays")),
        ]
    )
    open_ = pl.col("known_to") == OPEN_ENDED
    marked = history.join(gone, on=key, how="left", maintain_order="left")
    hit = pl.col("until").is_not_null() & open_
    unborn = hit & (pl.col("known_from") > instant)
    kept = (
        marked.with_columns(
            pl.when(hit).then(pl.col("until")).otherwise(pl.col("known_to")).alias("known_to")
        )
        .filter(~unborn & (pl.col("known_from") < pl.col("known_to")))
        .select(names)
    )

    before = kept.group_by(key).agg(pl.col("known_to").max().alias("until"))
    fresh = pl.concat([changed, new]).join(before, on=key, how="left", maintain_order="left")
    returned = pl.col("until").is_not_null()
    fresh = fresh.with_columns(
        pl.when(returned)
        .then(pl.max_horizontal(switch, pl.col("until")))
        .otherwise(pl.col("known_at"))
        .alias("known_at"),
        *(
            [pl.when(returned).then(pl.lit("observed")).otherwise(pl.col("basis")).alias("basis")]
            if "basis" in frame.columns
            else []
        ),
    ).select(frame.columns)
    rows = pl.concat([same, fresh]).sort(contract.sort_columns)
    versions = pl.concat([kept, _opened(fresh, pl.col("known_at")).select(names)])
    return rows, versions.sort([*contract.sort_columns, "known_from"])


def _differences(
    contract: TableContract, frame: pl.DataFrame, current: pl.DataFrame
) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Stored rows whose values stay, and rows that changed, are new, or vanished."""
    key = list(contract.key)
    values = [c for c in contract.column_names if c not in key and c not in STAMPS]
    if frame.height == current.height and frame.select(key).equals(current.select(key)):
        equal = _equal(frame.select(values), current.select(values))
        return current.filter(equal), frame.filter(~equal), frame.clear(), current.clear()
    mine = frame.with_row_index("at")
    theirs = current.select(*key).with_row_index("there")
    both = mine.select("at", *key).join(theirs, on=key, how="inner").sort("at")
    equal = _equal(frame[both["at"]].select(values), current[both["there"]].select(values))
    return (
        current[both["there"].filter(equal)],
        frame[both["at"].filter(~equal)],
        frame.join(theirs, on=key, how="anti", maintain_order="left"),
        current.join(mine, on=key, how="anti", maintain_order="left"),
    )


def _equal(left: pl.DataFrame, right: pl.DataFrame) -> pl.Series:
    """Row by row; null equals null, NaN equals NaN, and −0.0 differs from 0.0."""
    out = pl.repeat(True, left.height, eager=True)
    for c in left.columns:
        out &= left[c].eq_missing(right[c])
        if left[c].dtype.is_float():
            zero = (left[c] == 0).fill_null(False) & out
            if zero.any():
                sign = (1 / left[c]).eq_missing(1 / right[c])
                out &= ~zero | sign
    return out


def _opened(rows: pl.DataFrame, since: pl.Expr) -> pl.DataFrame:
    return rows.with_columns(
        since.alias("known_from"),
        pl.lit(OPEN_ENDED).cast(pl.Datetime("us", "UTC")).alias("known_to"),
    )
