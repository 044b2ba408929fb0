"""How rows are laid out in files.

Rows with a date are grouped by calendar year: a file of a partitioned table holds (part of) one
year, a file of another table one or more whole years, so that small tables are one file and a
replaced day rewrites one year of a large one. Tables without dates are one group.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import polars as pl

from wealthos_pipeline.core.data import TableContract
from wealthos_pipeline.data.storage.delta import DataFile

SEGMENT_ROWS = 50_000
"""Consecutive years of an unpartitioned table share a file until it has this many rows."""

CROWD = 32
"""An append merges small files once there are this many."""


@dataclass(frozen=True, slots=True)
class Block:
    """Rows of one file to be."""

    frame: pl.DataFrame
    year: int | None


def blocks(rows: pl.DataFrame, contract: TableContract, block_bytes: int) -> Iterator[Block]:
    """Cut ``rows`` (sorted) into files: by year, and by size where a year is larger."""
    if contract.date_column is None or not rows.height:
        for frame in _sized(rows, block_bytes):
            yield Block(frame, None)
        return
    years = rows[contract.date_column].dt.year()
    counts = years.value_counts().sort(years.name)
    column, partitioned = counts[years.name].to_list(), contract.partition == "year"
    ordered = bool(years.is_sorted())
    at, pending, group = 0, 0, [0, 0]
    spans: list[tuple[int, int, int]] = []
    for year, n in zip(column, counts["count"].to_list(), strict=True):
        if not pending:
            group = [year, year]
        group[1] = year
        pending += n
        if partitioned or pending >= SEGMENT_ROWS:
            spans.append((group[0], group[1], pending))
            pending = 0
    if pending:
        spans.append((group[0], group[1], pending))
    for first, last, n in spans:
        part = rows.slice(at, n) if ordered else rows.filter(years.is_between(first, last))
        at += n
        for frame in _sized(part, block_bytes):
            yield Block(frame, first if partitioned else None)


def _sized(rows: pl.DataFrame, block_bytes: int) -> Iterator[pl.DataFrame]:
    if not rows.height:
        return
    pieces = -(-int(rows.estimated_size()) // block_bytes)
    step = -(-rows.height // max(pieces, 1))
    for lo in range(0, rows.height, step):
        yield rows.slice(lo, step)


def scan(folder: Path, files: Sequence[DataFile], contract: TableContract) -> pl.LazyFrame:
    """The contract's columns of some files; columns that a file lacks are null."""
    return pl.scan_parquet(
        [folder / f.path for f in files],
        schema=contract.schema(),
        missing_columns="insert",
        extra_columns="ignore",
        hive_partitioning=False,
        glob=False,
    )


def pruned(files: Sequence[DataFile], start: date | None, end: date | None) -> tuple[DataFile, ...]:
    """The files that may hold rows of [start, end]."""
    return tuple(
        f
        for f in files
        if (start is None or f.last is None or f.last >= start)
        and (end is None or f.first is None or f.first <= end)
    )


def touched(
    files: Sequence[DataFile], years: set[int], contract: TableContract
) -> tuple[tuple[DataFile, ...], set[int] | None]:
    """The files to rewrite when ``years`` change, with all years that they hold: those that share
    a year with them, transitively. A new year joins the file of the last one while that is small.
    Where a file does not say its years (another program wrote it) all are rewritten: years None.
    """
    if any(f.years is None for f in files):
        return tuple(files), None
    found: dict[str, DataFile] = {}
    wanted = set(years)
    if not years:
        return (), wanted
    small = [f for f in files if f.rows < SEGMENT_ROWS and f.years is not None]
    if contract.partition is None and small:
        tail = max(small, key=lambda f: f.last or date.min)
        newest = max((f.last for f in files if f.last is not None), default=None)
        if tail.last == newest and tail.years is not None and max(years) > tail.years[1]:
            wanted.update(range(tail.years[0], tail.years[1] + 1))
    grew = True
    while grew:
        grew = False
        for f in files:
            held = set() if f.years is None else set(range(f.years[0], f.years[1] + 1))
            if f.path not in found and held & wanted:
                found[f.path] = f
                wanted |= held
                grew = True
    return tuple(found.values()), wanted


def small_files(files: Sequence[DataFile], at_least: int = CROWD) -> tuple[DataFile, ...]:
    """Files worth merging: the small ones, once there are many; those of one year together."""
    small = [f for f in files if f.rows < SEGMENT_ROWS]
    by_year: dict[int | None, list[DataFile]] = {}
    for f in small:
        by_year.setdefault(f.year, []).append(f)
    return tuple(f for group in by_year.values() if len(group) >= at_least for f in group)


def in_order(rows: pl.DataFrame, columns: Sequence[str]) -> pl.DataFrame:
    """One chunk, sorted by ``columns``; rows that are in order already are not sorted again."""
    rows = rows.rechunk()
    if rows.height < 2:
        return rows
    less, equal = pl.lit(False), pl.lit(True)
    for c in columns:
        before = pl.col(c).shift(1)
        less |= equal & (before < pl.col(c))
        equal &= before.eq_missing(pl.col(c))
    if rows.select((less | equal).slice(1).fill_null(False).all()).item():
        return rows
    return rows.sort(columns, maintain_order=True).rechunk()
