"""The lake: Delta tables under ``<root>/lake/<layer>/<table>``, read at a version or instant.

Writing the same rows twice makes no new version. A write touches only the calendar years that it
changes, so that a day costs what a day costs; every version says from which date on it differs from
the one before (``dirty_from``), which is what lets later stages recompute only that.

One writer at a time (``run.Run`` holds the lock); readers never lock.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

import polars as pl

from wealthos_pipeline.core import data as declared
from wealthos_pipeline.core.data import TableContract
from wealthos_pipeline.core.errors import ContractError, StorageError
from wealthos_pipeline.data.processors import versions
from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.data.storage import content, layout, migrations, schema
from wealthos_pipeline.data.storage.content import Digest
from wealthos_pipeline.data.storage.delta import Commit, DataFile, State, Table
from wealthos_pipeline.data.storage.faults import RETENTION_DAYS

FACTORS = "factors."
"""Layer whose tables follow what people define."""


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
        self.registered: dict[str, TableContract] = {}
        self.written: list[Path] = []
        self._calendar = calendar
        self._states: dict[tuple[str, int], State] = {}
        self._checked = False

    @property
    def folder(self) -> Path:
        """Where the tables are."""
        return self.root / "lake"

    @property
    def calendar(self) -> TradingCalendar:
        """The calendar of as-of reads."""
        if self._calendar is None:
            self._calendar = TradingCalendar()
        return self._calendar

    # contracts

    def register(self, *contracts: TableContract) -> None:
        """Declare tables that are not in ``core.tables``: factor families and scores."""
        self.registered.update((c.name, c) for c in contracts)

    def contract(self, table: str) -> TableContract:
        """The contract of ``table``: registered, declared, or as stored with the table itself."""
        if table in self.registered:
            return self.registered[table]
        try:
            return declared.contract(table)
        except ContractError:
            latest = self.version(table) if "." in table else None
            if latest is not None:
                stored = schema.described(table, self.state(table, latest).description)
                if stored is not None:
                    return stored
            raise

    def declares(self, table: str) -> bool:
        """Whether the program still makes ``table``: a family of factors goes when its file does."""
        if table.startswith(FACTORS) and self.registered:
            kept = table.removesuffix("_history")
            return kept in self.registered or kept in declared.load()
        return True

    # reading

    def tables(self) -> list[str]:
        """Names of the tables that exist, sorted."""
        return sorted(
            f"{path.parent.parent.name}.{path.parent.name}"
            for path in self.folder.glob("*/*/_delta_log")
        )

    def version(self, table: str) -> int | None:
        """The newest version; None if the table does not exist."""
        return self.table(table).latest()

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
        if as_of is not None and contract.restatable:
            if version is not None:
                raise StorageError(
                    f"{table}: as_of reads its history, which has versions of its own; read "
                    "both at one run with Snapshot(lake, manifest)"
                )
            rows = self._range(f"{table}_history", None, start, end)
        else:
            rows = self._range(table, version, start, end)
        if as_of is not None:
            rows = self.known(rows, contract, as_of)
        return rows.select(names(contract, columns))

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
        chosen = names(contract, columns)
        wanted = list(dict.fromkeys([*chosen, *contract.sort_columns]))
        rows = self.scan(table, version=version, as_of=as_of, columns=wanted, start=start, end=end)
        return self.collect(rows, contract, version).select(chosen)

    def collect(
        self, rows: pl.LazyFrame, contract: TableContract, version: int | None = None
    ) -> pl.DataFrame:
        """``rows`` of a table at ``version``, in one chunk and sorted. StorageError naming the
        file if one is damaged."""
        table = self.table(contract.name)
        with table.wrapped("read"):
            try:
                return layout.in_order(rows.collect(), contract.sort_columns)
            except pl.exceptions.PolarsError:
                if version is None:
                    version = table.latest()
                if version is not None:
                    table.check_bytes(self.state(contract.name, version).files)
                raise

    def known(self, rows: pl.LazyFrame, contract: TableContract, as_of: datetime) -> pl.LazyFrame:
        """The rows that could have been known at ``as_of``; those of a restatable contract are
        its history's. Where versions are rows, the last of each value."""
        if as_of.tzinfo is None:
            raise StorageError(
                f"{contract.name}: as_of={as_of} has no time zone; pass an aware instant"
            )
        if contract.restatable:
            return rows.filter(
                (pl.col("known_from") <= as_of) & (pl.lit(as_of) < pl.col("known_to"))
            )
        if contract.known == "column":
            return versions.as_known(rows, contract, as_of)
        if contract.known == "bar" and contract.date_column is not None:
            return rows.filter(pl.col(contract.date_column) <= self.calendar.last_known(as_of))
        return rows

    # writing

    def append(self, table: str, frame: pl.DataFrame) -> Write:
        """Add rows. ContractError if a key exists already."""
        from wealthos_pipeline.data.storage import writing

        contract = self.contract(table)
        return writing.append(self, contract, contract.conform(frame))

    def replace(
        self,
        table: str,
        frame: pl.DataFrame | Iterable[pl.DataFrame],
        *,
        start: date | None = None,
        end: date | None = None,
    ) -> Write:
        """The rows with date in [start, end] become exactly ``frame`` (no bounds: all rows).

        frame: or frames in order of date, each date in one of them; of a table cut by year no more
        than a year of them is held. Nothing is written if the rows already are; otherwise only the
        years that change, as one version. ContractError for append-only tables, for restatable ones
        (``restate`` keeps their history), and for rows outside of the range.
        """
        from wealthos_pipeline.data.storage import streaming, writing

        contract = self.contract(table)
        if contract.append_only:
            raise ContractError(f"{table} is append-only; use append")
        if contract.restatable:
            raise ContractError(
                f"{table} keeps a history; use restate, with the instant of the run"
            )
        if isinstance(frame, pl.DataFrame):
            return writing.replace(self, contract, contract.conform(frame), start, end)
        return streaming.replace(self, contract, frame, start, end)

    def restate(
        self,
        table: str,
        frame: pl.DataFrame,
        *,
        now: datetime,
        start: date | None = None,
        end: date | None = None,
        earlier: pl.DataFrame | None = None,
    ) -> Write:
        """Like ``replace``, for tables whose earlier versions must stay readable by ``as_of``.

        Rows that are equal but for ``known_at`` and ``basis`` stay as they are stored. A new key is
        known from its own ``known_at``; a changed row from ``now`` on (stored with that ``known_at``
        and basis ``observed``), its old values until then; a vanished one until ``now``.

        earlier: rows with ``known_from, known_to`` that a rule of hindsight took back, inside of
        [start, end]: they were believed in that interval, whenever this is written.
        """
        from wealthos_pipeline.data.storage import writing

        contract = self.contract(table)
        if not contract.restatable:
            raise ContractError(f"{table} keeps no history; use replace")
        if now.tzinfo is None:
            raise ContractError(f"{table}: now={now} has no time zone; pass an aware instant")
        if earlier is not None:
            earlier = declared.history_contract(contract).conform(earlier)
        return writing.restate(self, contract, contract.conform(frame), now, start, end, earlier)

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
        return self._apart(
            table, -1 if latest is None else latest, -1 if since_version is None else since_version
        )

    def content_hash(self, table: str, version: int | None = None) -> str:
        """32 hex digits over the rows, whatever the files and their order."""
        if version is None:
            version = self.version(table)
        state = None if version is None else self.state(table, version)
        return content.total(self.digests(table, state)).hash

    def restore(self, versions: Mapping[str, int | None]) -> list[str]:
        """Roll tables back to these versions (None: to empty); returns those that changed.

        A new version is made whose files are those of the old one.
        """
        done = []
        for table, target in sorted(versions.items()):
            latest, old_version = self.version(table), -1 if target is None else target
            if latest is None or self._apart(table, latest, old_version) is None:
                continue
            state = self.state(table, latest)
            old = None if target is None else self.state(table, target)
            wanted = old.files if old else ()
            self.table(table).check_files(wanted)
            stored = schema.described(table, state.description)
            have, want = {f.path for f in state.files}, {f.path for f in wanted}
            self.table(table).create_or_commit(
                stored if stored is not None else self.contract(table),
                [f for f in wanted if f.path not in have],
                [f for f in state.files if f.path not in want],
                Commit("restore", None, self.digests(table, old), restored=old_version),
                keep_files=True,
            )
            done.append(table)
        return done

    def compact(self, table: str) -> bool:
        """Merge the small files of a table; the rows stay the same. False if there is no need."""
        from wealthos_pipeline.data.storage import writing

        return writing.compact(self, self.contract(table))

    def vacuum(self, table: str, *, keep: Sequence[int] = (), dry_run: bool = False) -> list[str]:
        """Delete files that neither the last 400 days nor the versions in ``keep`` need."""
        return self.table(table).vacuum(dry_run=dry_run, hours=RETENTION_DAYS * 24, keep=keep)

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
        found = layout.pruned(self.state(table, version).files, start, end)
        self.table(table).check_files(found)
        return [self.table(table).path / f.path for f in found]

    def flush(self) -> None:
        """Make everything that was written since the last flush survive a loss of power."""
        written, self.written = self.written, []
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

    # for the other modules of this package

    def table(self, table: str) -> Table:
        """The Delta table called ``table``; NewerLakeError if a newer program wrote the lake."""
        if not self._checked:
            migrations.refuse_newer(self.root)
            self._checked = True
        layer, dot, name = table.partition(".")
        if not dot or not layer or not name or "/" in table or ".." in table:
            raise ContractError(f"{table!r} is not a table's name; expected layer.table")
        return Table(self.folder / layer / name, table)

    def state(self, table: str, version: int) -> State:
        """Files and columns of a version; remembered, as versions never change."""
        key = (table, version)
        if key not in self._states:
            self._states[key] = self.table(table).state(version)
        return self._states[key]

    def rows(self, contract: TableContract, files: Sequence[DataFile]) -> pl.DataFrame:
        """All rows of some files of the newest version, in the contract's order."""
        if not files:
            return contract.empty()
        table = self.table(contract.name)
        table.check_files(files)
        return self.collect(layout.scan(table.path, files, contract), contract)

    def digests(self, table: str, state: State | None) -> dict[str, Digest]:
        """Digests of a version: from the log, or from the rows where the log has none."""
        if state is None:
            return {}
        for version in range(state.version, -1, -1):
            commit = self.table(table).commit(version)
            if commit is None or commit.op == "foreign":
                break
            if commit.digests is not None:
                return commit.digests
        contract = self.contract(table)
        return content.digests(self.rows(contract, state.files), contract)

    def _range(
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
        state = self.state(table, version)
        faults = schema.retyped(contract, state.types) + schema.lacking(contract, state.types)
        if faults:
            raise ContractError(
                f"{table}: {'; '.join(faults)}. Run `wealthos data migrate` (declared tables), or "
                "recompute the table (factor families)."
            )
        files = layout.pruned(state.files, start, end)
        self.table(table).check_files(files)
        if not files:
            return contract.empty().lazy()
        rows = layout.scan(self.table(table).path, files, contract)
        if contract.date_column is not None:
            day = pl.col(contract.date_column)
            rows = rows if start is None else rows.filter(day >= start)
            rows = rows if end is None else rows.filter(day <= end)
        return rows

    def _apart(self, table: str, one: int, two: int) -> date | None:
        """First date in which two versions differ (−1: before the table existed), by walking up
        to their common ancestor; ``date.min`` where the log does not reach it."""
        dirty: list[date] = []
        while one != two:
            at = max(one, two)
            commit = self.table(table).commit(at)
            if commit is None:
                return date.min
            if commit.restored is None and commit.dirty_from is not None:
                dirty.append(commit.dirty_from)
            up = at - 1 if commit.restored is None else commit.restored
            one, two = (up, two) if one == at else (one, up)
        return min(dirty, default=None)


def names(contract: TableContract, columns: Sequence[str] | None) -> list[str]:
    """``columns``, each checked against the contract; all if None."""
    if columns is None:
        return list(contract.column_names)
    return [contract.column(c).name for c in columns]
