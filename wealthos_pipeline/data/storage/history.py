"""What changes when a table is restated: rows that stay, that are new, that changed, that vanish.

``<table>_history`` keeps every version of a row with the interval ``[known_from, known_to)`` in
which it was believed. Intervals of one key never overlap and never run backwards.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import polars as pl

from wealthos_pipeline.core.data import TableContract
from wealthos_pipeline.core.errors import ContractError

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
    earlier: pl.DataFrame | None = None,
) -> tuple[pl.DataFrame, pl.DataFrame | None]:
    """The table's rows after the restatement, and its history; None if no value changed.

    frame, current: rows of the range, new and stored; ``past`` gives the stored history.

    A new key is known from its own ``known_at``, unless the table has held it before: then it
    returns at ``now``. A changed row is known from ``now``, or from its ``known_at`` if that lies
    ahead. A version that was replaced before it could be known leaves no trace.

    earlier: what was believed and is not any more by a rule that looks back (a spike until its
    reversal), one version a key, with ``known_from, known_to``. A version that the history lacks is
    added; one that it has is closed at ``known_to`` and not at ``now``, unless the table held a
    later row of the same series when the rule was not applied: then somebody changed their mind.
    """
    key = list(contract.key)
    instant = pl.lit(now).cast(pl.Datetime("us", "UTC"))
    order = [*contract.sort_columns, "known_from"]
    hindsight = None if earlier is None or earlier.is_empty() else _checked(contract, earlier)
    if current.is_empty() and (history := past()).is_empty():
        if frame.is_empty() and hindsight is None:
            return frame, None
        opened = _opened(frame, pl.col("known_at"))
        if hindsight is not None:
            opened = pl.concat([opened, hindsight.select(opened.columns)])
        return frame, opened.sort(order)

    same, changed, new, vanished = _differences(contract, frame, current)
    idle = changed.is_empty() and new.is_empty() and vanished.is_empty()
    if idle and hindsight is None:
        return current, None
    history = past()
    names = history.columns
    added = history.clear()
    if hindsight is not None:
        added = hindsight.join(history, on=key, how="anti", maintain_order="left").select(names)
        if idle and added.is_empty():
            return current, None
    timely = _timely(contract, hindsight, current)

    switch = pl.max_horizontal(instant, pl.col("known_at"))
    gone = pl.concat(
        [
            changed.select(*key, switch.alias("until")),
            vanished.select(*key, instant.alias("until")),
        ]
    )
    gone = (
        gone.join(timely, on=key, how="left", maintain_order="left")
        .with_columns(pl.coalesce("_until", "until").alias("until"))
        .drop("_until")
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
    fresh = (
        pl.concat([changed, new])
        .join(before, on=key, how="left", maintain_order="left")
        .join(timely, on=key, how="left", maintain_order="left")
    )
    returned = pl.col("until").is_not_null() & pl.col("_until").is_null()
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
    versions = pl.concat([kept, _opened(fresh, pl.col("known_at")).select(names), added])
    return rows, versions.sort(order)


def _checked(contract: TableContract, earlier: pl.DataFrame) -> pl.DataFrame:
    """``earlier``, one version a key that ended after it began; ContractError otherwise."""
    key = list(contract.key)
    twice = earlier.filter(pl.struct(key).is_duplicated())
    empty = earlier.filter(pl.col("known_from") >= pl.col("known_to"))
    for rows, words in ((twice, "two versions of one key"), (empty, "a version that never held")):
        if rows.height:
            raise ContractError(
                f"{contract.name}: what was believed earlier has {words}, for example "
                f"{rows.select(*key, 'known_from', 'known_to').row(0)}"
            )
    return earlier


def _timely(
    contract: TableContract, hindsight: pl.DataFrame | None, current: pl.DataFrame
) -> pl.DataFrame:
    """Key and ``_until`` of versions that end when their rule says: the table held no later row of
    the same series, or none that was known when the rule spoke."""
    key = list(contract.key)
    stamp = pl.Datetime("us", "UTC")
    day = contract.date_column
    if hindsight is None or day is None:
        return current.clear().select(*key, pl.lit(None, dtype=stamp).alias("_until"))
    series = [k for k in key if k != day]
    last = current.group_by(series).agg(
        pl.col(day).max().alias("_last"), pl.col("known_at").max().alias("_known")
    )
    return (
        hindsight.join(last, on=series, how="left", maintain_order="left")
        .filter(
            pl.col("_last").is_null()
            | (pl.col("_last") <= pl.col(day))
            | (pl.col("_known") < pl.col("known_to"))
        )
        .select(*key, pl.col("known_to").alias("_until"))
    )


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
