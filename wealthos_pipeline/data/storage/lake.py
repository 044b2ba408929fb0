"""The lake: Delta tables under ``<root>/lake/<layer>/<table>``, read at a version or instant.

Writing the same rows twice makes no new version. A write touches only the calendar years that it
changes, so that a day costs what a day costs; every version says from which date on it differs from
the one before (``dirty_from``), which is what lets later stages recompute only that.

One writer at a time (``run.Run`` holds the lock); readers never lock.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

import polars as pl

from wealthos_pipeline.core import data as declared
from wealthos_pipeline.core.data import TableContract
from wealthos_pipeline.core.errors import ContractError, StorageError
from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.data.storage import content, delta, layout
from wealthos_pipeline.data.storage.content import Dated, Digest
from wealthos_pipeline.data.storage.delta import Commit, DataFile, State, Table


@dataclass(frozen=True, slots=True)
class Write:
    """What a write did: ``rows`` handed in, ``dirty_from`` the first date that changed
    (``date.min`` for tables without dates, None if nothing changed)."""

    table: str
    version: int
    changed: bool
    rows: int
    dirty_from: date | None
    content_hash: str


class Lake:
    """All tables of one root.

    root: folder; ``<root>/lake`` is made by the first write.
    block_mb: no data file holds more than this much of a frame in memory.
    calendar: decides which session's bar was known at an instant; XNYS if not given.
    """

    def __init__(
        self,
        root: str | Path,
        *,
        block_mb: int = 512,
        calendar: TradingCalendar | None = None,
    ) -> None:
        self.root = Path(root)
        self.block_bytes = block_mb << 20
        self._calendar = calendar
        self._registered: dict[str, TableContract] = {}
        self._states: dict[tuple[str, int], State] = {}
        self._written: list[Path] = []

    @property
    def folder(self) -> Path:
        """Where the tables are."""
        return self.root / "lake"

    @property
    def calendar(self) -> TradingCalendar:
        if self._calendar is None:
            self._calendar = TradingCalendar()
        return self._calendar

    # contracts

    def register(self, *contracts: TableContract) -> None:
        """Declare tables that are not in ``core.tables``: factor families and scores."""
        self._registered.update((c.name, c) for c in contracts)

    def contract(self, table: str) -> TableContract:
        """The contract of ``table``: registered, declared, or as stored with the table itself."""
        if table in self._registered:
            return self._registered[table]
        try:
            return declared.contract(table)
        except ContractError:
            latest = self._table(table).latest() if "." in table else None
            if latest is not None:
                stored = delta.described(table, self._state(table, latest).description)
                if stored is not None:
                    return stored
            raise

    # reading

    def tables(self) -> list[str]:
        """Names of the tables that exist, sorted."""
        return sorted(
            f"{path.parent.parent.name}.{path.parent.name}"
            for path in self.folder.glob("*/*/_delta_log")
        )

    def version(self, table: str) -> int | None:
        """The newest version; None if the table does not exist."""
        return self._table(table).latest()

    def scan(
        self,
        table: str,
        *,
        version: int | None = None,
        as_of: datetime | None = None,
        columns: Sequence[str] | None = None,
        start: date | None = None,
        end: date | None = None,
    ) -> pl.LazyFrame:
        """Lazy rows of ``table``, in no promised order.

        version: a version of this table; the newest if None.
        as_of: only what could have been known at this instant (aware), by the contract's rule.
        start, end: inclusive range of the contract's date column.
        A table that does not exist is empty. StorageError if a version or file is gone.
        """
        contract = self.contract(table)
        if as_of is not None:
            if as_of.tzinfo is None:
                raise StorageError(
                    f"{table}: as_of={as_of} has no time zone; pass an aware instant"
                )
            if contract.restatable:
                if version is not None:
                    raise StorageError(
                        f"{table}: as_of reads its history, which has versions of its own; read "
                        "both at one run with Snapshot(lake, manifest)"
                    )
                rows = self._scan(f"{table}_history", None, start, end)
            else:
                rows = self._scan(table, version, start, end)
            rows = self.known(rows, contract, as_of)
        else:
            rows = self._scan(table, version, start, end)
        return rows.select(self._names(contract, columns))

    def read(
        self,
        table: str,
        *,
        version: int | None = None,
        as_of: datetime | None = None,
        columns: Sequence[str] | None = None,
        start: date | None = None,
        end: date | None = None,
    ) -> pl.DataFrame:
        """``scan``, collected in one chunk and sorted by the contract's ``sort_columns``."""
        contract = self.contract(table)
        names = self._names(contract, columns)
        wanted = list(dict.fromkeys([*names, *contract.sort_columns]))
        rows = self.scan(table, version=version, as_of=as_of, columns=wanted, start=start, end=end)
        return self.collect(rows, contract).select(names)

    def collect(self, rows: pl.LazyFrame, contract: TableContract) -> pl.DataFrame:
        """Collected, in one chunk, sorted; Polars' errors as StorageError."""
        with delta.wrapped(self._table(contract.name), "read"):
            return layout.in_order(rows.collect(), contract.sort_columns)

    def known(self, rows: pl.LazyFrame, contract: TableContract, as_of: datetime) -> pl.LazyFrame:
        """The rows that could have been known at ``as_of``; those of a restatable contract are
        its history's."""
        if contract.restatable:
            return rows.filter(
                (pl.col("known_from") <= as_of) & (pl.lit(as_of) < pl.col("known_to"))
            )
        if contract.known == "column":
            return rows.filter(pl.col("known_at") <= as_of)
        if contract.known == "bar" and contract.date_column is not None:
            return rows.filter(pl.col(contract.date_column) <= self.calendar.last_known(as_of))
        return rows

    # writing

    def append(self, table: str, frame: pl.DataFrame) -> Write:
        """Add rows. ContractError if a key exists already in an append-only table."""
        contract = self.contract(table)
        frame = contract.conform(frame)
        state = self._prepare(contract)
        if frame.is_empty() and state is not None:
            return self._unchanged(contract, state, 0)
        self._refuse_existing(contract, frame)
        digests = self._digest(contract, frame)
        before = self._digests(table, state)
        crowd = layout.small_files(state.files if state else ())
        merged = frame
        if crowd:
            merged = layout.in_order(
                pl.concat([self._rows(contract, crowd), frame]), contract.sort_columns
            )
        dirty = self._first_date(contract, frame)
        return self._write(
            contract, merged, crowd, Commit("append", dirty, content.add(before, digests)), frame
        )

    def replace(
        self,
        table: str,
        frame: pl.DataFrame,
        *,
        start: date | None = None,
        end: date | None = None,
    ) -> Write:
        """The rows with date in [start, end] become exactly ``frame`` (no bounds: all rows).

        Nothing is written if they already are; otherwise only the years that change.
        ContractError for append-only tables, for restatable ones (``restate`` keeps their
        history), and for rows outside of the range.
        """
        contract = self.contract(table)
        if contract.append_only:
            raise ContractError(f"{table} is append-only; use append")
        if contract.restatable:
            raise ContractError(
                f"{table} keeps a history; use restate, with the instant of the run"
            )
        return self._replace(contract, contract.conform(frame), start, end)

    def restate(
        self,
        table: str,
        frame: pl.DataFrame,
        *,
        now: datetime,
        start: date | None = None,
        end: date | None = None,
    ) -> Write:
        """Like ``replace``, for tables whose earlier versions must stay readable by ``as_of``.

        Rows that are equal but for ``known_at`` and ``basis`` stay as they are stored. A new key is
        known from its own ``known_at``; a changed row from ``now`` on (stored with that ``known_at``
        and basis ``observed``), its old values until then; a vanished one until ``now``.
        """
        from wealthos_pipeline.data.storage import history

        contract = self.contract(table)
        if not contract.restatable:
            raise ContractError(f"{table} keeps no history; use replace")
        if now.tzinfo is None:
            raise ContractError(f"{table}: now={now} has no time zone; pass an aware instant")
        frame = contract.conform(frame)
        self._check_range(contract, frame, start, end)
        past = declared.history_contract(contract)
        rows, versions = history.restated(
            contract,
            frame,
            current=self.read(table, start=start, end=end),
            past=lambda: self.read(past.name, start=start, end=end),
            now=now,
        )
        if versions is not None:
            self._replace(past, versions, start, end)
        elif (latest := self.version(table)) is not None:
            return self._unchanged(contract, self._state(table, latest), frame.height)
        return self._replace(contract, rows, start, end)

    # versions

    def dirty_from(
        self, table: str, since_version: int | None, *, until: int | None = None
    ) -> date | None:
        """First date whose rows may differ between ``since_version`` and ``until`` (default: the
        newest version); None if none does.

        since_version None: everything the table holds. ``date.min`` when the table has no dates
        or the log no longer reaches back. Versions form a tree (a restored version continues the
        one it restored), so that work which was rolled back does not count.
        """
        latest = self.version(table) if until is None else until
        if latest is None:
            return None if since_version is None else date.min
        now, then = self._lineage(table, latest), self._lineage(table, since_version)
        if now is None or then is None:
            return date.min
        apart = dict(now.items() ^ then.items())
        return min((d for d in apart.values() if d is not None), default=None)

    def content_hash(self, table: str, version: int | None = None) -> str:
        """32 hex digits over the rows, whatever the files and their order."""
        if version is None:
            version = self.version(table)
        state = None if version is None else self._state(table, version)
        return content.total(self._digests(table, state)).hash

    def restore(self, versions: Mapping[str, int | None]) -> list[str]:
        """Roll tables back to these versions (None: to empty); returns those that changed.

        A new version is made whose files are those of the old one.
        """
        done = []
        for table, target in sorted(versions.items()):
            latest = self.version(table)
            if latest is None or latest == target:
                continue
            state = self._state(table, latest)
            old = None if target is None else self._state(table, target)
            if self._same(table, latest, target):
                continue
            wanted = old.files if old else ()
            if old is not None:
                self._table(table).check_files(old.files)
            stored = delta.described(table, state.description)
            contract = stored if stored is not None else self.contract(table)
            have, want = {f.path for f in state.files}, {f.path for f in wanted}
            self._table(table).create_or_commit(
                contract,
                [f for f in wanted if f.path not in have],
                [f for f in state.files if f.path not in want],
                Commit(
                    "restore",
                    None,
                    self._digests(table, old),
                    restored=-1 if target is None else target,
                ),
                keep_files=True,
            )
            done.append(table)
        return done

    def compact(self, table: str) -> bool:
        """Merge the small files of a table; the rows stay the same. False if there is no need."""
        contract, latest = self.contract(table), self.version(table)
        if latest is None:
            return False
        state = self._state(table, latest)
        crowd = layout.small_files(state.files, at_least=2)
        if not crowd:
            return False
        rows = self._rows(contract, crowd)
        commit = Commit("compact", None, self._digests(table, state))
        self._write(contract, rows, crowd, commit, rows, data_change=False)
        return True

    def vacuum(self, table: str, *, keep: Sequence[int] = (), dry_run: bool = False) -> list[str]:
        """Delete files that neither the last 400 days nor the versions in ``keep`` need."""
        return self._table(table).vacuum(
            dry_run=dry_run, hours=delta.RETENTION_DAYS * 24, keep=keep
        )

    def files(
        self,
        table: str,
        version: int | None = None,
        *,
        start: date | None = None,
        end: date | None = None,
    ) -> list[Path]:
        """The Parquet files of a version that may hold rows of [start, end], ascending by date;
        partition columns are not in them."""
        if version is None:
            version = self.version(table)
        if version is None:
            return []
        base, files = (
            self._table(table),
            layout.pruned(self._state(table, version).files, start, end),
        )
        base.check_files(files)
        return [base.path / f.path for f in files]

    def flush(self) -> None:
        """Make everything that was written since the last flush survive a loss of power."""
        written, self._written = self._written, []
        for path in dict.fromkeys(p for w in written for p in (w, w.parent)):
            try:
                handle = os.open(path, os.O_RDONLY)
                try:
                    os.fsync(handle)
                finally:
                    os.close(handle)
            except FileNotFoundError:
                continue
            except OSError as error:
                raise StorageError(f"cannot write {path} to the disk: {error.strerror}") from error

    # inside

    def _table(self, table: str) -> Table:
        layer, dot, name = table.partition(".")
        if not dot or not layer or not name or "/" in table or ".." in table:
            raise ContractError(f"{table!r} is not a table's name; expected layer.table")
        return Table(self.folder / layer / name, table)

    def _state(self, table: str, version: int) -> State:
        key = (table, version)
        if key not in self._states:
            self._states[key] = self._table(table).state(version)
        return self._states[key]

    @staticmethod
    def _names(contract: TableContract, columns: Sequence[str] | None) -> list[str]:
        if columns is None:
            return list(contract.column_names)
        return [contract.column(c).name for c in columns]

    def _scan(
        self, table: str, version: int | None, start: date | None, end: date | None
    ) -> pl.LazyFrame:
        """All columns of the contract, limited to the range."""
        contract = self.contract(table)
        if (start is not None or end is not None) and contract.date_column is None:
            raise ContractError(f"{table} has no date column; read it without start and end")
        if version is None:
            version = self.version(table)
        if version is None:
            return contract.empty().lazy()
        state = self._state(table, version)
        faults = delta.retyped(contract, state)
        faults += [
            f"{c.name} is not stored and may not be null"
            for c in contract.columns
            if c.name not in state.types and not c.nullable
        ]
        if faults:
            raise ContractError(
                f"{table}: {'; '.join(faults)}. Run `wealthos data migrate` (declared tables), or "
                "recompute the table (factor families)."
            )
        files = layout.pruned(state.files, start, end)
        base = self._table(table)
        base.check_files(files)
        if not files:
            return contract.empty().lazy()
        rows = layout.scan(base.path, files, contract)
        if contract.date_column is not None:
            day = pl.col(contract.date_column)
            if start is not None:
                rows = rows.filter(day >= start)
            if end is not None:
                rows = rows.filter(day <= end)
        return rows

    def _rows(self, contract: TableContract, files: Sequence[DataFile]) -> pl.DataFrame:
        """All rows of some files, in the order of the contract."""
        base = self._table(contract.name)
        base.check_files(files)
        if not files:
            return contract.empty()
        return self.collect(layout.scan(base.path, files, contract), contract)

    def _prepare(self, contract: TableContract) -> State | None:
        """The newest state, with the contract's new columns added; None if there is no table."""
        latest = self.version(contract.name)
        if latest is None:
            return None
        state = self._state(contract.name, latest)
        faults = delta.retyped(contract, state)
        if contract.name not in self._registered:
            faults += [f"{n} is stored but not declared" for n in delta.removed(contract, state)]
        if faults:
            raise ContractError(
                f"{contract.name}: {'; '.join(faults)}. Run `wealthos data migrate`; nothing was written."
            )
        return state

    def _replace(
        self,
        contract: TableContract,
        frame: pl.DataFrame,
        start: date | None,
        end: date | None,
    ) -> Write:
        """``frame`` conforms and is sorted."""
        self._check_range(contract, frame, start, end)
        table = contract.name
        state = self._reshaped(contract) if start is None and end is None else None
        state = state or self._prepare(contract)
        before = self._digests(table, state)
        if contract.date_column is None:
            after = self._digest(contract, frame)
            if state is not None and after == before:
                return self._unchanged(contract, state, frame.height)
            files = state.files if state else ()
            dirty = date.min if after != before else None
            return self._write(contract, frame, files, Commit("replace", dirty, after), frame)
        files = state.files if state else ()
        new = content.digest_by_date(frame, contract)
        dirty, after = self._compare(contract, files, before, new, start, end)
        if state is not None and dirty is None:
            return self._unchanged(contract, state, frame.height)
        years = {int(y) for y in before.keys() | after.keys() if before.get(y) != after.get(y)}
        touched, held = layout.touched(files, years, contract)
        day = pl.col(contract.date_column)
        rows = frame
        if held is not None and not held >= set(map(int, after)):
            rows = frame.filter(day.dt.year().cast(pl.Int64).is_in(sorted(held)))
        if touched and (start is not None or end is not None):
            outside = pl.lit(False)
            if start is not None:
                outside |= day < start
            if end is not None:
                outside |= day > end
            kept = self._rows(contract, touched).filter(outside)
            rows = layout.in_order(pl.concat([kept, rows]), contract.sort_columns)
        return self._write(contract, rows, touched, Commit("replace", dirty, after), frame)

    def _compare(
        self,
        contract: TableContract,
        files: Sequence[DataFile],
        before: Mapping[str, Digest],
        new: Dated,
        start: date | None,
        end: date | None,
    ) -> tuple[date | None, dict[str, Digest]]:
        """First date that a replace changes, and all digests after it. Years whose digests are
        equal are not read."""
        fresh = new.years()
        lo = start.year if start else min(map(int, before.keys() | fresh.keys()), default=0)
        hi = end.year if end else max(map(int, before.keys() | fresh.keys()), default=0)
        after = dict(before)
        dirty: date | None = None
        for year in sorted(map(int, before.keys() | fresh.keys())):
            name = str(year)
            if not lo <= year <= hi:
                continue
            whole = (start is None or start <= date(year, 1, 1)) and (
                end is None or end >= date(year, 12, 31)
            )
            if whole and before.get(name) == fresh.get(name):
                continue
            if whole and dirty is not None:
                after[name] = fresh.get(name, Digest())
                continue
            first, last = date(year, 1, 1), date(year, 12, 31)
            old = content.digest_by_date(
                self._rows(contract, layout.pruned(files, first, last)), contract
            ).within(first, last)
            mine = new.within(first, last)
            inside = old.within(start, end)
            changed = inside.changed(mine)
            if not changed:
                continue
            dirty = dirty or changed[0]
            kept = before.get(name, Digest()) - inside.total()
            after[name] = kept + mine.total()
        return dirty, {k: d for k, d in sorted(after.items()) if d.rows}

    def _reshaped(self, contract: TableContract) -> State | None:
        """Give a registered table the contract's columns where some were removed or retyped."""
        latest = self.version(contract.name)
        if latest is None or contract.name not in self._registered:
            return None
        state = self._state(contract.name, latest)
        if not (delta.retyped(contract, state) or delta.removed(contract, state)):
            return None
        self._table(contract.name).overwrite_schema(contract)
        latest = self.version(contract.name)
        assert latest is not None
        return self._state(contract.name, latest)

    def _write(
        self,
        contract: TableContract,
        rows: pl.DataFrame,
        removes: Sequence[DataFile],
        commit: Commit,
        handed_in: pl.DataFrame,
        *,
        data_change: bool = True,
    ) -> Write:
        """Write ``rows`` as new files, drop ``removes``, commit both as one version."""
        table = self._table(contract.name)
        self._evolve(contract)
        adds: list[DataFile] = []
        try:
            for block in layout.blocks(rows, contract, self.block_bytes):
                adds.append(table.write_file(block.frame, contract, block.year))
        except BaseException:
            table.discard(adds)
            raise
        version = table.create_or_commit(contract, adds, removes, commit, data_change=data_change)
        digests = commit.digests or {}
        self._written += [table.path / f.path for f in adds]
        self._written.append(table.path / "_delta_log" / f"{version:020d}.json")
        return Write(
            contract.name,
            version,
            data_change,
            handed_in.height,
            commit.dirty_from,
            content.total(digests).hash,
        )

    def _evolve(self, contract: TableContract) -> None:
        latest = self.version(contract.name)
        if latest is not None:
            state = self._state(contract.name, latest)
            if state.description != delta.describe(contract):
                self._table(contract.name).evolve(contract, state)

    def _unchanged(self, contract: TableContract, state: State, rows: int) -> Write:
        return Write(
            contract.name,
            state.version,
            False,
            rows,
            None,
            content.total(self._digests(contract.name, state)).hash,
        )

    def _digest(self, contract: TableContract, frame: pl.DataFrame) -> dict[str, Digest]:
        if contract.date_column is not None:
            return content.digest_by_date(frame, contract).years()
        return {"": content.digest(frame, contract)} if frame.height else {}

    def _digests(self, table: str, state: State | None) -> dict[str, Digest]:
        """Digests of a version: from the log, or from the rows where the log has none."""
        if state is None:
            return {}
        version = state.version
        while version >= 0:
            commit = self._table(table).commit(version)
            if commit is None or commit.op == "foreign":
                break
            if commit.digests is not None:
                return commit.digests
            version -= 1
        contract = self.contract(table)
        return self._digest(contract, self._rows(contract, state.files))

    def _lineage(self, table: str, version: int | None) -> dict[int, date | None] | None:
        """Versions that ``version`` builds on, each with its ``dirty_from``; None if the log does
        not reach back to the first."""
        out: dict[int, date | None] = {}
        at = -1 if version is None else version
        while at >= 0:
            commit = self._table(table).commit(at)
            if commit is None:
                return None
            if commit.restored is not None:
                at = commit.restored
                continue
            out[at] = commit.dirty_from
            at -= 1
        return out

    def _same(self, table: str, version: int, target: int | None) -> bool:
        """Whether two versions hold the same rows because of restores."""
        now, then = self._lineage(table, version), self._lineage(table, target)
        return now is not None and now == then

    def _refuse_existing(self, contract: TableContract, frame: pl.DataFrame) -> None:
        """ContractError if a key of ``frame`` is stored already."""
        if not frame.height or self.version(contract.name) is None:
            return
        start = end = None
        if contract.date_column in contract.key:
            days = frame[contract.date_column]
            start, end = days.min(), days.max()
        rows = self._scan(
            contract.name,
            None,
            start if isinstance(start, date) else None,
            end if isinstance(end, date) else None,
        ).select(contract.key)
        lead = frame[contract.key[0]].unique()
        if len(lead) <= 8:
            rows = rows.filter(pl.col(contract.key[0]).is_in(lead.to_list()))
        with delta.wrapped(self._table(contract.name), "read"):
            twice = (
                rows.join(frame.lazy().select(contract.key), on=list(contract.key), how="semi")
                .head(3)
                .collect()
            )
        if twice.height:
            raise ContractError(
                f"{contract.name}: keys {list(contract.key)} exist already, for example "
                f"{twice.rows()}; appended rows must be new"
            )

    def _check_range(
        self, contract: TableContract, frame: pl.DataFrame, start: date | None, end: date | None
    ) -> None:
        if start is None and end is None:
            return
        if contract.date_column is None:
            raise ContractError(f"{contract.name} has no date column; replace it whole")
        if start is not None and end is not None and end < start:
            raise ContractError(f"{contract.name}: the range {start} to {end} is empty")
        days = frame[contract.date_column]
        stray = frame.filter(
            (days < start if start is not None else False)
            | (days > end if end is not None else False)
        )
        if stray.height:
            raise ContractError(
                f"{contract.name}: {stray.height} rows lie outside of {start or '…'} to {end or '…'}, "
                f"for example {contract.date_column} = {stray[contract.date_column][0]}"
            )

    @staticmethod
    def _first_date(contract: TableContract, frame: pl.DataFrame) -> date | None:
        if contract.date_column is None:
            return date.min
        first = frame[contract.date_column].min()
        return first if isinstance(first, date) else None
