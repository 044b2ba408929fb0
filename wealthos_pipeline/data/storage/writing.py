"""How the lake writes: what is compared, which files are rewritten, what one commit says.

Frames that arrive here conform to their contract and are sorted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import TYPE_CHECKING

import polars as pl

from wealthos_pipeline.core import data as declared
from wealthos_pipeline.core.data import TableContract
from wealthos_pipeline.core.errors import ContractError
from wealthos_pipeline.data.storage import content, history, layout, schema
from wealthos_pipeline.data.storage.content import Dated, Digest
from wealthos_pipeline.data.storage.delta import Commit, DataFile, State
from wealthos_pipeline.data.storage.lake import Write

if TYPE_CHECKING:
    from wealthos_pipeline.data.storage.lake import Lake


def append(lake: Lake, contract: TableContract, frame: pl.DataFrame) -> Write:
    """Add ``frame`` as new files; many small old files are merged with it."""
    state = prepared(lake, contract)
    if frame.is_empty() and state is not None:
        return unchanged(lake, contract, state, 0)
    _refuse_existing(lake, contract, frame)
    before = lake.digests(contract.name, state)
    crowd = layout.small_files(state.files if state else ())
    merged = frame
    if crowd:
        merged = pl.concat([lake.rows(contract, crowd), frame])
        merged = layout.in_order(merged, contract.sort_columns)
    dirty = None if frame.is_empty() else _first_date(contract, frame)
    after = content.add(before, content.digests(frame, contract))
    return _write(lake, contract, merged, crowd, Commit("append", dirty, after), frame.height)


def replace(
    lake: Lake,
    contract: TableContract,
    frame: pl.DataFrame,
    start: date | None,
    end: date | None,
) -> Write:
    """Make ``frame`` the rows of [start, end], rewriting only the years that change."""
    check_range(contract, frame, start, end)
    whole = start is None and end is None
    state = prepared(lake, contract, reshape=whole)
    files = state.files if state else ()
    before = lake.digests(contract.name, state)
    if contract.date_column is None:
        after = content.digests(frame, contract)
        if state is not None and after == before:
            return unchanged(lake, contract, state, frame.height)
        commit = Commit("replace", date.min if after != before else None, after)
        return _write(lake, contract, frame, files, commit, frame.height)
    new = content.digest_by_date(frame, contract)
    dirty, after = _compared(lake, contract, files, before, new, start, end)
    if state is not None and dirty is None:
        return unchanged(lake, contract, state, frame.height)
    years = {int(y) for y in before.keys() | after.keys() if before.get(y) != after.get(y)}
    touched, held = layout.touched(files, years, contract)
    day = pl.col(contract.date_column)
    rows = frame
    if held is not None and not held >= {int(y) for y in after}:
        rows = frame.filter(day.dt.year().cast(pl.Int64).is_in(sorted(held)))
    if touched and not whole:
        outside = pl.lit(False)
        outside = outside if start is None else outside | (day < start)
        outside = outside if end is None else outside | (day > end)
        rows = pl.concat([lake.rows(contract, touched).filter(outside), rows])
        rows = layout.in_order(rows, contract.sort_columns)
    return _write(lake, contract, rows, touched, Commit("replace", dirty, after), frame.height)


def restate(
    lake: Lake,
    contract: TableContract,
    frame: pl.DataFrame,
    now: datetime,
    start: date | None,
    end: date | None,
    earlier: pl.DataFrame | None = None,
) -> Write:
    """``replace`` that keeps what was believed before. The history is written first: a run that
    dies between the two is rolled back in both."""
    check_range(contract, frame, start, end)
    if earlier is not None:
        check_range(contract, earlier, start, end)
    past = declared.history_contract(contract)
    rows, versions = history.restated(
        contract,
        frame,
        current=lake.read(contract.name, start=start, end=end),
        past=lambda: lake.read(past.name, start=start, end=end),
        now=now,
        earlier=earlier,
    )
    latest = lake.version(contract.name)
    if versions is not None:
        replace(lake, past, versions, start, end)
    elif latest is not None:
        return unchanged(lake, contract, lake.state(contract.name, latest), frame.height)
    return replace(lake, contract, rows, start, end)


def compact(lake: Lake, contract: TableContract) -> bool:
    """Merge small files in a version that changes no row; False if there is nothing to merge."""
    latest = lake.version(contract.name)
    if latest is None:
        return False
    state = lake.state(contract.name, latest)
    crowd = layout.small_files(state.files, at_least=2)
    if not crowd:
        return False
    commit = Commit("compact", None, lake.digests(contract.name, state))
    rows = lake.rows(contract, crowd)
    _write(lake, contract, rows, crowd, commit, rows.height, data_change=False)
    return True


def _compared(
    lake: Lake,
    contract: TableContract,
    files: Sequence[DataFile],
    before: Mapping[str, Digest],
    new: Dated,
    start: date | None,
    end: date | None,
) -> tuple[date | None, dict[str, Digest]]:
    """First date that a replace changes (None: none), and the digests after it.

    A whole year is compared by its digest; stored rows are read only for the first year that
    differs, to find the date, and for years of which the range holds a part.
    """
    fresh, after = new.years(), dict(before)
    dirty: date | None = None
    for year in sorted({int(y) for y in before.keys() | fresh.keys()}):
        name, first, last = str(year), date(year, 1, 1), date(year, 12, 31)
        if (start is not None and last < start) or (end is not None and first > end):
            continue
        whole = (start is None or start <= first) and (end is None or end >= last)
        if whole and (before.get(name) == fresh.get(name) or dirty is not None):
            after[name] = fresh.get(name, Digest())
            continue
        stored = lake.rows(contract, layout.pruned(files, first, last))
        inside = content.digest_by_date(stored, contract).within(first, last).within(start, end)
        mine = new.within(first, last)
        changed = inside.changed(mine)
        if changed:
            dirty = dirty or changed[0]
            after[name] = before.get(name, Digest()) - inside.total() + mine.total()
    return dirty, {k: d for k, d in sorted(after.items()) if d.rows}


def prepared(lake: Lake, contract: TableContract, *, reshape: bool = False) -> State | None:
    """The newest state if the contract fits it; None if there is no table.

    reshape: the table is about to be replaced whole, so that a registered table (a factor family)
    may lose columns or change their types; for declared ones that is a migration's work.
    """
    latest = lake.version(contract.name)
    if latest is None:
        return None
    state = lake.state(contract.name, latest)
    own = contract.name in lake.registered
    retyped = schema.retyped(contract, state.types)
    removed = schema.removed(contract, state.types)
    if own and reshape and (retyped or removed):
        lake.table(contract.name).overwrite_schema(contract)
        return prepared(lake, contract)
    faults = retyped + ([] if own else [f"{n} is stored but not declared" for n in removed])
    if faults:
        step = "replace the whole table" if own else "run `wealthos data migrate`"
        raise ContractError(f"{contract.name}: {'; '.join(faults)}. Nothing was written; {step}.")
    return state


def _write(
    lake: Lake,
    contract: TableContract,
    rows: pl.DataFrame,
    removes: Sequence[DataFile],
    commit: Commit,
    handed_in: int,
    *,
    data_change: bool = True,
) -> Write:
    """Write ``rows`` as new files, drop ``removes``, commit both as one version."""
    table = lake.table(contract.name)
    adds: list[DataFile] = []
    try:
        for block in layout.blocks(rows, contract, lake.block_bytes):
            adds.append(table.write_file(block.frame, contract, block.year))
    except BaseException:
        table.discard(adds)
        raise
    return committed(lake, contract, adds, removes, commit, handed_in, data_change=data_change)


def committed(
    lake: Lake,
    contract: TableContract,
    adds: Sequence[DataFile],
    removes: Sequence[DataFile],
    commit: Commit,
    handed_in: int,
    *,
    data_change: bool = True,
) -> Write:
    """Make one version of files that are written and files that it drops; if that fails the former
    are deleted."""
    table = lake.table(contract.name)
    latest = table.latest()
    if latest is not None:
        state = lake.state(contract.name, latest)
        if state.description != schema.describe(contract):
            try:
                table.evolve(contract, state)
            except BaseException:
                table.discard(adds)
                raise
    version = table.create_or_commit(contract, adds, removes, commit, data_change=data_change)
    lake.written += [table.path / f.path for f in adds]
    lake.written.append(table.log_entry(version))
    digest = content.total(commit.digests or {})
    return Write(contract.name, version, True, handed_in, commit.dirty_from, digest.hash)


def unchanged(lake: Lake, contract: TableContract, state: State, rows: int) -> Write:
    digest = content.total(lake.digests(contract.name, state))
    return Write(contract.name, state.version, False, rows, None, digest.hash)


def _refuse_existing(lake: Lake, contract: TableContract, frame: pl.DataFrame) -> None:
    """ContractError if a key of ``frame`` is stored already."""
    if not frame.height or lake.version(contract.name) is None:
        return
    start = end = None
    if contract.date_column in contract.key:
        start, end = frame[contract.date_column].min(), frame[contract.date_column].max()
    rows = lake.scan(
        contract.name,
        columns=contract.key,
        start=start if isinstance(start, date) else None,
        end=end if isinstance(end, date) else None,
    )
    lead = frame[contract.key[0]].unique()
    if len(lead) <= 8:
        rows = rows.filter(pl.col(contract.key[0]).is_in(lead.to_list()))
    mine = frame.lazy().select(contract.key)
    with lake.table(contract.name).wrapped("read"):
        twice = rows.join(mine, on=list(contract.key), how="semi").head(3).collect()
    if twice.height:
        raise ContractError(
            f"{contract.name}: keys {list(contract.key)} exist already, for example "
            f"{twice.rows()}; appended rows must be new"
        )


def check_range(
    contract: TableContract, frame: pl.DataFrame, start: date | None, end: date | None
) -> None:
    """ContractError if the range makes no sense or rows lie outside of it."""
    if start is None and end is None:
        return
    if contract.date_column is None:
        raise ContractError(f"{contract.name} has no date column; replace it whole")
    if start is not None and end is not None and end < start:
        raise ContractError(f"{contract.name}: the range {start} to {end} is empty")
    days = frame[contract.date_column]
    inside = days.is_between(start or date.min, end or date.max)
    stray = days.filter(~inside)
    if len(stray):
        raise ContractError(
            f"{contract.name}: {len(stray)} rows lie outside of {start or '…'} to {end or '…'}, "
            f"for example {contract.date_column} = {stray[0]}"
        )


def _first_date(contract: TableContract, frame: pl.DataFrame) -> date:
    """First date of rows that are there; ``date.min`` without a date column."""
    first = None if contract.date_column is None else frame[contract.date_column].min()
    return first if isinstance(first, date) else date.min
