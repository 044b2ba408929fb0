"""Replacing a table from blocks of dates: one year in memory at a time, one version at the end.

What is compared, which files are rewritten and what the commit says is as for a frame handed in
whole (``writing.replace``). Files of finished years are on disk before the commit; until then they
belong to no version, and a failure deletes them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING

import polars as pl

from wealthos_pipeline.core.data import TableContract
from wealthos_pipeline.core.errors import ContractError
from wealthos_pipeline.data.storage import content, layout, writing
from wealthos_pipeline.data.storage.content import Digest
from wealthos_pipeline.data.storage.delta import Commit, DataFile, State

if TYPE_CHECKING:
    from wealthos_pipeline.data.storage.lake import Lake, Write


def replace(
    lake: Lake,
    contract: TableContract,
    blocks: Iterable[pl.DataFrame],
    start: date | None,
    end: date | None,
) -> Write:
    """Make the rows of ``blocks`` the rows of [start, end].

    blocks: frames whose dates ascend from one to the next; no date is in two of them. Tables that
    are not cut by year, or hold files of another program, are collected and replaced whole.
    """
    whole = start is None and end is None
    if contract.partition != "year" or contract.date_column is None:
        return writing.replace(lake, contract, _collected(contract, blocks), start, end)
    state = writing.prepared(lake, contract, reshape=whole)
    files = state.files if state else ()
    if any(f.years is None or f.years[0] != f.years[1] for f in files):
        return writing.replace(lake, contract, _collected(contract, blocks), start, end)
    work = _Years(lake, contract, state, lake.digests(contract.name, state), start, end)
    rows = 0
    try:
        for year, frame in _by_year(contract, blocks, start, end):
            rows += frame.height
            work.put(year, frame)
        work.finish()
    except BaseException:
        lake.table(contract.name).discard(work.adds)
        raise
    if state is not None and work.dirty is None:
        return writing.unchanged(lake, contract, state, rows)
    after = {k: d for k, d in sorted(work.after.items()) if d.rows}
    commit = Commit("replace", work.dirty, after)
    return writing.committed(lake, contract, work.adds, work.removes, commit, rows)


@dataclass
class _Years:
    """The years of one replace: those done, and the files that they add and remove."""

    lake: Lake
    contract: TableContract
    state: State | None
    before: dict[str, Digest]
    start: date | None
    end: date | None
    after: dict[str, Digest] = field(init=False)
    dirty: date | None = None
    adds: list[DataFile] = field(default_factory=list)
    removes: list[DataFile] = field(default_factory=list)
    done: int = -1

    def __post_init__(self) -> None:
        self.after = dict(self.before)

    def put(self, year: int, frame: pl.DataFrame) -> None:
        """The rows of ``year``, after those of earlier years; years between have none."""
        for gap in sorted(int(y) for y in self.before):
            if self.done < gap < year:
                self._one(gap, frame.clear())
        self._one(year, frame)
        self.done = year

    def finish(self) -> None:
        """The years after the last one have no rows."""
        for gap in sorted(int(y) for y in self.before):
            if gap > self.done:
                self._one(gap, self.contract.empty())

    def _one(self, year: int, frame: pl.DataFrame) -> None:
        name, first, last = str(year), date(year, 1, 1), date(year, 12, 31)
        start, end = self.start, self.end
        if (start is not None and last < start) or (end is not None and first > end):
            return
        mine = content.digest_by_date(frame, self.contract)
        had = self.before.get(name, Digest())
        files = layout.pruned(self.state.files if self.state else (), first, last)
        rows = frame
        if (start is None or start <= first) and (end is None or end >= last):
            total = mine.total()
            if total == had:
                return
            if self.dirty is None:
                stored = self.lake.rows(self.contract, files)
                self.dirty = content.digest_by_date(stored, self.contract).changed(mine)[0]
        else:
            stored = self.lake.rows(self.contract, files)
            inside = content.digest_by_date(stored, self.contract).within(start, end)
            changed = inside.changed(mine)
            if not changed:
                return
            self.dirty = self.dirty or changed[0]
            total = had - inside.total() + mine.total()
            day = pl.col(self.contract.date_column or "")
            outside = pl.lit(False)
            outside = outside if start is None else outside | (day < start)
            outside = outside if end is None else outside | (day > end)
            rows = pl.concat([stored.filter(outside), frame])
            rows = layout.in_order(rows, self.contract.sort_columns)
        self.after[name] = total
        self.removes += files
        table = self.lake.table(self.contract.name)
        for block in layout.blocks(rows, self.contract, self.lake.block_bytes):
            self.adds.append(table.write_file(block.frame, self.contract, block.year))


def _by_year(
    contract: TableContract, blocks: Iterable[pl.DataFrame], start: date | None, end: date | None
) -> Iterator[tuple[int, pl.DataFrame]]:
    """The rows of each year, conformed; ContractError where blocks are not in order of date."""
    assert contract.date_column is not None
    pending: list[pl.DataFrame] = []
    year, last = -1, date.min
    for given in blocks:
        block = contract.conform(given)
        writing.check_range(contract, block, start, end)
        if block.is_empty():
            continue
        days = block[contract.date_column]
        low, high = days.min(), days.max()
        assert isinstance(low, date)
        assert isinstance(high, date)
        if low <= last:
            raise ContractError(
                f"{contract.name}: a block begins on {low} and one before it ends on {last}; "
                "blocks must come in order of date, each date in one of them"
            )
        last = high
        for here in range(low.year, high.year + 1):
            part = block if low.year == high.year else block.filter(days.dt.year() == here)
            if part.is_empty():
                continue
            if here != year and pending:
                yield year, _joined(contract, pending)
                pending = []
            year = here
            pending.append(part)
    if pending:
        yield year, _joined(contract, pending)


def _joined(contract: TableContract, parts: list[pl.DataFrame]) -> pl.DataFrame:
    if len(parts) == 1:
        return parts[0]
    return layout.in_order(pl.concat(parts), contract.sort_columns)


def _collected(contract: TableContract, blocks: Iterable[pl.DataFrame]) -> pl.DataFrame:
    parts = [contract.conform(b) for b in blocks]
    return contract.conform(pl.concat(parts)) if parts else contract.empty()
