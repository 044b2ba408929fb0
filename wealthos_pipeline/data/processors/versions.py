"""Tables that keep every version of a value: what was the last one known at an instant?

A version is a row of its own, stamped ``known_at``. What was believed at T is, for each value, its
last row with ``known_at <= T``. Intervals (``valid_to``) are closed by something that happens later,
so an end that lies ahead of T was not known at T.

Vendors that date a publication by its day alone give midnight UTC; such a row counts when that day
is over in New York, the last of the places from which these tables are filled.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TypeVar

import polars as pl

from wealthos_pipeline.core.data import TableContract
from wealthos_pipeline.core.errors import StorageError
from wealthos_pipeline.data.processors.instruments import identified as held
from wealthos_pipeline.data.processors.instruments import normalised

KNOWN = "known_at"
NEW_YORK = "America/New_York"
OPEN_END = "valid_to"
"""Column of tables of intervals: the last day, null while it lasts."""
WITHDRAWN = "withdrawn_at"
"""Column of tables of intervals: when the source took the row back, null while it stands."""

Frame = TypeVar("Frame", pl.DataFrame, pl.LazyFrame)


def value_key(contract: TableContract) -> tuple[str, ...] | None:
    """What a value is called where its versions are rows: the key without ``known_at``. None for
    tables that keep one row a key."""
    if KNOWN not in contract.key:
        return None
    return tuple(name for name in contract.key if name != KNOWN)


def known(frame: Frame, as_of: datetime, key: Sequence[str]) -> Frame:
    """The last version of each value that was known at ``as_of``, sorted by ``key``.

    frame: rows with ``known_at``; ``key``: the columns that name a value. Of two versions stamped
    alike the greater by the remaining columns, in their order, is taken, whatever the order of rows.
    StorageError where ``as_of`` has no time zone.
    """
    if as_of.tzinfo is None:
        raise StorageError(f"as_of={as_of} has no time zone; pass an aware instant")
    names = frame.collect_schema().names()
    rest = [n for n in names if n not in key and n != KNOWN]
    return (
        frame.filter(pl.col(KNOWN) <= as_of)
        .sort(*key, KNOWN, *rest, nulls_last=False)
        .unique(list(key), keep="last", maintain_order=True)
    )


def as_known(rows: pl.LazyFrame, contract: TableContract, as_of: datetime) -> pl.LazyFrame:
    """Rows of a table with ``known_at`` as they stood at ``as_of``: the last version of each value,
    and no end of an interval that lay ahead. What was withdrawn later still stood."""
    key = value_key(contract)
    out = rows.filter(pl.col(KNOWN) <= as_of) if key is None else known(rows, as_of, key)
    if WITHDRAWN in contract.column_names:
        gone = (pl.col(WITHDRAWN) <= as_of).fill_null(value=False)
        never = pl.lit(None, dtype=pl.Datetime("us", "UTC"))
        out = out.filter(~gone).with_columns(never.alias(WITHDRAWN))
    if OPEN_END in contract.column_names:
        past = pl.col(OPEN_END) < as_of.astimezone(UTC).date()
        out = out.with_columns(pl.when(past).then(OPEN_END).alias(OPEN_END))
    return out


def changes(rows: pl.DataFrame, key: Sequence[str], values: Sequence[str]) -> pl.DataFrame:
    """``rows`` without those that say what the version before them said, sorted by key and stamp.

    Of rows stamped alike the last in the given order stays. A first version without any value is no
    version; a later one is: the value was withdrawn.
    """
    ordered = rows.sort(*key, KNOWN, maintain_order=True).unique(
        [*key, KNOWN], keep="last", maintain_order=True
    )
    differs = [pl.col(v).ne_missing(pl.col(v).shift(1).over(list(key))) for v in values]
    return ordered.filter(pl.any_horizontal(differs)) if ordered.height else ordered


def with_before(rows: pl.DataFrame, series: Sequence[str], value: Sequence[str]) -> pl.DataFrame:
    """``rows`` with ``_before``: the last fetch before the row's that should have had it.

    The last one in which its source gave anything about the symbol, or any source gave this ``value``;
    null in the first load of the ``series``, whose history is as old as its own rules say. ``value`` is
    without source and symbol; symbols are compared as ``instruments.normalised``.
    """
    spelled = rows.select("symbol").unique()
    name = normalised(pl.col("symbol").cast(pl.String)).alias("_name")
    out = rows.join(
        spelled.with_columns(name).pipe(coded, "_name"),
        on="symbol",
        how="left",
        maintain_order="left",
    )
    whose = ["source", "symbol"]
    for by, column in ((list(series), "_own"), (whose, "_asked"), (["_name", *value], "_any")):
        stamps = out.select(*by, "fetched_at").unique().sort(*by, "fetched_at")
        before = stamps.with_columns(pl.col("fetched_at").shift(1).over(by).alias(column))
        again = before.filter(pl.col(column).is_not_null())
        out = out.join(again, on=[*by, "fetched_at"], how="left", maintain_order="left")
    last = pl.max_horizontal("_own", "_asked", "_any")
    return out.with_columns(
        pl.when(pl.col("_own").is_not_null()).then(last).alias("_before")
    ).drop("_name", "_own", "_asked", "_any")  # fmt: skip


def coded(rows: pl.DataFrame, *columns: str) -> pl.DataFrame:
    """``rows`` with texts as numbers in the order of the texts: grouping by them costs a tenth."""
    return rows.with_columns(
        pl.col(c).cast(pl.Enum(rows[c].cast(pl.String).unique().sort())) for c in columns
    )


def day_over(day: pl.Expr) -> pl.Expr:
    """The instant (UTC) at which ``day`` is over in New York."""
    midnight = (day + pl.duration(days=1)).cast(pl.Datetime("us"))
    return midnight.dt.replace_time_zone(NEW_YORK).dt.convert_time_zone("UTC")


def published(stamp: str = "published_at") -> pl.Expr:
    """The instant that a vendor's date of publication means: a bare day counts when it is over."""
    at = pl.col(stamp)
    bare = at == at.dt.truncate("1d")
    return pl.when(bare).then(day_over(at.dt.date())).otherwise(at)


def identified(rows: pl.DataFrame, instruments: pl.DataFrame, *days: str) -> pl.DataFrame:
    """``rows`` (``source, symbol``) with ``instrument_id``: who held the symbol on all of ``days``.

    days: date columns of ``rows``. A source that gives no bars has no descriptions in the registry;
    its symbols are then looked up among those of all sources, by ``instruments.normalised``
    spelling. Rows whose symbol belongs to nobody on a day, or to different instruments on two of
    them, or may belong to several, are left out: a statement of a reused ticker is given to nobody
    rather than to the wrong company.
    """
    out = rows
    for i, day in enumerate(days):
        asked = rows.select("source", "symbol", day).unique(maintain_order=True)
        name = "_id" if i else "instrument_id"
        ids = asked.with_columns(_held(asked, instruments, day).alias(name))
        out = out.join(ids, on=["source", "symbol", day], how="left", maintain_order="left")
        if i:
            same = pl.col("instrument_id") == pl.col("_id")
            out = out.with_columns(pl.when(same).then("instrument_id").alias("instrument_id"))
    return out.drop("_id", strict=False).filter(pl.col("instrument_id").is_not_null())


def _held(rows: pl.DataFrame, instruments: pl.DataFrame, day: str) -> pl.Series:
    """``instrument_id`` of each row on ``day``; null where it is nobody's or in doubt."""
    texts = [pl.col(c).cast(pl.String) for c in ("source", "symbol")]
    asked = rows.select(*texts, pl.col(day).alias("date"))
    named = held(asked, instruments)
    own = named.select(pl.coalesce("instrument_id", "renamed")).to_series()
    described = instruments.select("source", "symbol").unique()
    foreign = asked.with_row_index("_row").join(described, on=["source", "symbol"], how="anti")
    if not foreign.height:
        return own
    spans = instruments.group_by(_name=normalised(pl.col("symbol")), _id="instrument_id").agg(
        pl.col("valid_from").min(),
        pl.when(pl.col("valid_to").is_null().any())
        .then(None)
        .otherwise(pl.col("valid_to").max())
        .alias("valid_to"),
    )
    then = (pl.col("date") >= pl.col("valid_from")) & (
        pl.col("valid_to").is_null() | (pl.col("date") <= pl.col("valid_to"))
    )
    hits = (
        foreign.with_columns(normalised(pl.col("symbol")).alias("_name"))
        .join(spans.with_columns(pl.len().over("_name").alias("_holders")), on="_name", how="inner")
        .filter((pl.col("_holders") == 1) | then)
        .group_by("_row")
        .agg(pl.col("_id").min(), pl.len().alias("_hits"))
        .filter(pl.col("_hits") == 1)
    )
    return (
        pl.DataFrame({"_own": own})
        .with_row_index("_row")
        .join(hits, on="_row", how="left", maintain_order="left")
        .select(pl.coalesce("_own", "_id"))
        .to_series()
    )
