"""One Delta table on disk: its log, its files, and atomic commits. Knows nothing of dates' meaning.

Data files are written by Polars and committed by an explicit transaction of ``add`` and ``remove``
actions, so that a write of any number of files and blocks is one version. What a commit did is kept
in its ``commitInfo`` under ``wealthos`` (see ``Commit``).
"""

from __future__ import annotations

import json
import os
import time
import uuid
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
from deltalake import CommitProperties, DeltaTable
from deltalake.transaction import AddAction, RemoveAction, create_table_with_add_actions

from wealthos_pipeline.core.data import TableContract
from wealthos_pipeline.core.errors import StorageError
from wealthos_pipeline.data.storage.content import Digest
from wealthos_pipeline.data.storage.faults import RETENTION_DAYS, first_line, wrapped
from wealthos_pipeline.data.storage.schema import delta_schema, describe, field

ROW_GROUP = 1 << 16
KEY = "wealthos"


@dataclass(frozen=True, slots=True)
class DataFile:
    """One Parquet file of a version; ``path`` is relative to the table."""

    path: str
    size: int
    rows: int
    year: int | None
    first: date | None
    last: date | None

    @property
    def years(self) -> tuple[int, int] | None:
        """First and last calendar year of the rows; None where rows have no date."""
        if self.first is None or self.last is None:
            return None
        return self.first.year, self.last.year


@dataclass(frozen=True, slots=True)
class State:
    """A table at one version."""

    version: int
    files: tuple[DataFile, ...]
    types: dict[str, str]
    description: str


@dataclass(frozen=True, slots=True)
class Commit:
    """What one version did.

    dirty_from: first date whose rows differ from the version before; None if no row does.
    restored: the version that this one restored; −1 for "before the table existed".
    digests: the rows after the commit, by calendar year, or under ``""`` without a date column;
        None where the commit was not made by this module.
    """

    op: str
    dirty_from: date | None
    digests: dict[str, Digest] | None
    restored: int | None = None

    def metadata(self) -> dict[str, Any]:
        body: dict[str, Any] = {"op": self.op}
        if self.dirty_from is not None:
            body["dirty_from"] = self.dirty_from.isoformat()
        if self.restored is not None:
            body["restored"] = self.restored
        if self.digests is not None:
            body["digests"] = {k: d.text for k, d in self.digests.items()}
        return {KEY: body}


class Table:
    """The Delta table in ``path``; it need not exist."""

    def __init__(self, path: Path, name: str) -> None:
        self.path = path
        self.name = name

    def latest(self) -> int | None:
        """The newest version; None if the table does not exist."""
        try:
            versions = [
                int(e.name[:20])
                for e in os.scandir(self.path / "_delta_log")
                if e.name[:20].isdigit() and e.name[20:].startswith((".json", ".checkpoint."))
            ]
        except FileNotFoundError:
            return None
        return max(versions, default=None)

    def state(self, version: int) -> State:
        """Files and columns at ``version``; StorageError if the log no longer reaches it."""
        with self.wrapped(f"open version {version} of"):
            table = self._open(version)
            actions = pl.DataFrame(table.get_add_actions(flatten=True))
            meta = table.metadata()
            types = {f.name: str(getattr(f.type, "type", f.type)) for f in table.schema().fields}
        columns = actions.columns

        def optional(names: Sequence[str]) -> list[Any]:
            found = next((n for n in names if n in columns), None)
            return [None] * actions.height if found is None else actions[found].to_list()

        marker = _date_column(actions)
        files = [
            DataFile(path, size, rows or 0, None if year is None else int(year), first, last)
            for path, size, rows, year, first, last in zip(
                optional(["path"]),
                optional(["size_bytes"]),
                optional(["num_records"]),
                optional(["partition.year"]),
                optional([f"min.{marker}"]),
                optional([f"max.{marker}"]),
                strict=True,
            )
        ]
        files.sort(key=lambda f: (f.year or 0, f.first or date.min, f.path))
        return State(version, tuple(files), types, meta.description or "")

    def commit(self, version: int) -> Commit | None:
        """What ``version`` did; None if its log entry has expired."""
        try:
            text = self.log_entry(version).read_text("utf-8")
        except FileNotFoundError:
            return None
        info: dict[str, Any] = {}
        changes = False
        for line in text.splitlines():
            entry = json.loads(line)
            info = entry.get("commitInfo", info)
            for kind in ("add", "remove"):
                changes |= bool(entry.get(kind, {}).get("dataChange", False))
        body = info.get(KEY)
        if body is None:
            return Commit("foreign" if changes else "metadata", date.min if changes else None, None)
        dirty = body.get("dirty_from")
        digests = body.get("digests")
        return Commit(
            op=body["op"],
            dirty_from=None if dirty is None else date.fromisoformat(dirty),
            digests=None
            if digests is None
            else {k: Digest.parse(text) for k, text in digests.items()},
            restored=body.get("restored"),
        )

    def log_entry(self, version: int) -> Path:
        """The file of the log that made ``version``."""
        return self.path / "_delta_log" / f"{version:020d}.json"

    def write_file(
        self, frame: pl.DataFrame, contract: TableContract, year: int | None
    ) -> DataFile:
        """One new data file, not yet part of any version. ``year`` is its partition.

        Polars gives texts and dates dictionaries, and floats none. Wide tables, whose columns
        beside the key are all floats, have no minima and maxima: nobody selects rows by them.
        """
        beside = (c for c in contract.columns if c.name not in contract.key)
        bounds = not all(c.dtype in ("f32", "f64") for c in beside)
        folder = self.path if year is None else self.path / f"year={year}"
        path = folder / f"{uuid.uuid4().hex}.parquet"
        first = last = None
        if contract.date_column is not None and frame.height:
            days = frame[contract.date_column]
            first, last = days.min(), days.max()
        with self.wrapped("write to", path):
            folder.mkdir(parents=True, exist_ok=True)
            try:
                frame.write_parquet(
                    path,
                    compression="zstd",
                    compression_level=1,
                    statistics={"min": bounds, "max": bounds, "null_count": True},
                    row_group_size=ROW_GROUP,
                )
                size = path.stat().st_size
            except BaseException:
                path.unlink(missing_ok=True)
                raise
        relative = path.relative_to(self.path).as_posix()
        return DataFile(
            relative,
            size,
            frame.height,
            year,
            first if isinstance(first, date) else None,
            last if isinstance(last, date) else None,
        )

    def create_or_commit(
        self,
        contract: TableContract,
        adds: Sequence[DataFile],
        removes: Sequence[DataFile],
        commit: Commit,
        *,
        data_change: bool = True,
        keep_files: bool = False,
    ) -> int:
        """Make one new version; returns it. If that fails the files of ``adds`` are deleted,
        unless ``keep_files`` (they belong to an older version)."""
        now = int(time.time() * 1000)
        properties = CommitProperties(custom_metadata=commit.metadata())
        partition = ["year"] if contract.partition == "year" else []
        schema = delta_schema(contract)
        actions: list[AddAction | RemoveAction] = [
            AddAction(f.path, f.size, _partition(f), now, data_change, _statistics(f, contract))
            for f in adds
        ]
        version = self.latest()
        try:
            with self.wrapped("commit to"):
                if version is None:
                    create_table_with_add_actions(
                        str(self.path),
                        schema,
                        actions,  # type: ignore[arg-type]  # nothing to remove from a new table
                        mode="error",
                        partition_by=partition,
                        name=contract.name,
                        description=describe(contract),
                        configuration=_configuration(contract),
                        commit_properties=properties,
                    )
                else:
                    actions += [
                        RemoveAction(f.path, data_change, now, f.size, _partition(f))
                        for f in removes
                    ]
                    self._open(version).create_write_transaction(
                        actions, "append", schema, partition, commit_properties=properties
                    )
        except BaseException:
            if not keep_files:
                self.discard(adds)
            raise
        latest = self.latest()
        assert latest is not None
        return latest

    def discard(self, files: Sequence[DataFile]) -> None:
        """Delete files that belong to no version."""
        for f in files:
            (self.path / f.path).unlink(missing_ok=True)

    def evolve(self, contract: TableContract, state: State) -> None:
        """Add the contract's new columns and store its new text, in versions without rows."""
        missing = [field(c) for c in contract.columns if c.name not in state.types]
        with self.wrapped("add columns to"):
            if missing:
                self._open(state.version).alter.add_columns(missing)
            if state.description != (text := describe(contract)):
                DeltaTable(str(self.path)).alter.set_table_description(text)

    def overwrite_schema(self, contract: TableContract) -> None:
        """Empty the table and give it exactly the contract's columns, as one version."""
        from deltalake import write_deltalake

        schema = contract.schema()
        if contract.partition == "year":
            schema = {**schema, "year": pl.Int32()}
        with self.wrapped("change the columns of"):
            write_deltalake(
                str(self.path),
                pl.DataFrame(schema=schema),
                mode="overwrite",
                schema_mode="overwrite",
                partition_by=["year"] if contract.partition == "year" else None,
                commit_properties=CommitProperties(
                    custom_metadata=Commit("columns", date.min, {}).metadata()
                ),
            )
            DeltaTable(str(self.path)).alter.set_table_description(describe(contract))

    def check_files(self, files: Sequence[DataFile]) -> None:
        """StorageError naming the first file that is gone or cut short."""
        for f in files:
            path = self.path / f.path
            try:
                size = path.stat().st_size
            except OSError:
                size = -1
            if size != f.size:
                found = "it is missing" if size < 0 else f"it has {size} bytes"
                raise self.damaged(path, f"{found}, the table's log says {f.size}")

    def check_bytes(self, files: Sequence[DataFile]) -> None:
        """StorageError naming the first file that is whole by its size and cannot be read."""
        for f in files:
            path = self.path / f.path
            try:
                pl.read_parquet(path, hive_partitioning=False)
            except (OSError, pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
                raise self.damaged(path, first_line(error)) from error

    def damaged(self, path: Path, found: str) -> StorageError:
        """The error about a data file that cannot be used."""
        return StorageError(
            f"{self.name}: data file {path} is damaged: {found}. Restore the file from a backup, "
            f"or rebuild the table: move {self.path} away and run the pipeline again."
        )

    def vacuum(self, *, dry_run: bool, hours: int, keep: Sequence[int]) -> list[str]:
        """Delete files that no kept version needs; returns their paths."""
        latest = self.latest()
        if latest is None:
            return []
        with self.wrapped("vacuum"):
            return self._open(latest).vacuum(
                retention_hours=hours,
                dry_run=dry_run,
                enforce_retention_duration=False,
                full=True,
                keep_versions=list(keep) or None,
            )

    def wrapped(self, doing: str, path: Path | None = None) -> AbstractContextManager[None]:
        """Errors inside become one StorageError about this table (or ``path``)."""
        return wrapped(doing, self.name, path or self.path)

    def _open(self, version: int) -> DeltaTable:
        return DeltaTable(str(self.path), version=version)


def _partition(f: DataFile) -> dict[str, str | None]:
    return {} if f.year is None else {"year": str(f.year)}


def _statistics(f: DataFile, contract: TableContract) -> str:
    body: dict[str, Any] = {"numRecords": f.rows, "minValues": {}, "maxValues": {}, "nullCount": {}}
    if f.first is not None and f.last is not None:
        column = contract.date_column
        body["minValues"][column] = f.first.isoformat()
        body["maxValues"][column] = f.last.isoformat()
        body["nullCount"][column] = 0
    return json.dumps(body)


def _configuration(contract: TableContract) -> dict[str, str | None]:
    keep = f"interval {RETENTION_DAYS} days"
    return {
        "delta.logRetentionDuration": keep,
        "delta.deletedFileRetentionDuration": keep,
        "delta.dataSkippingStatsColumns": ",".join(contract.key),
    }


def _date_column(actions: pl.DataFrame) -> str:
    """The column that has statistics: we write them for the date column only."""
    for name in actions.columns:
        values = actions[name]
        if name.startswith("min.") and values.dtype == pl.Date and not values.is_null().all():
            return name.removeprefix("min.")
    return ""
