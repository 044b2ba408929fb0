"""The warehouse: one DuckDB file that analysts open, built aside and swapped in by one rename.

``<root>/wealthos.duckdb`` is a link to ``<root>/warehouse/<run_id>.duckdb``. Narrow tables are in
the file; raw tables and the full history of factors are views over Parquet files that are pinned
for the run by hard links under ``<root>/warehouse/<run_id>/``. A reader that has the old file open
keeps it. A new file starts as a copy of the last one and replaces what changed since.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import polars as pl

from wealthos_pipeline.core.errors import NoManifestError, StorageError
from wealthos_pipeline.data.storage import manifest as manifests
from wealthos_pipeline.data.storage.lake import Lake
from wealthos_pipeline.data.storage.manifest import Manifest
from wealthos_pipeline.data.storage.warehouse_build import Base, Builder

LINK = "wealthos.duckdb"
KEEP = 3
"""Versioned files that stay for readers which opened them earlier."""

MAX_INCREMENTS = 60
"""Replacing rows leaves gaps in the file; after this many times it is built from nothing."""


def publish(
    lake: Lake,
    manifest: Manifest,
    catalog: pl.DataFrame | None = None,
    *,
    full: bool = False,
    threads: int = 0,
) -> Path:
    """Build the warehouse of ``manifest`` and make it the current one; returns its file.

    catalog: rows for ``meta.catalog``; those of the run if not given.
    full: build from nothing instead of from a copy of the current file.
    threads: for DuckDB; 0 means all cores.
    StorageError if it cannot be built; the current file then stays.
    """
    folder = lake.root.resolve() / "warehouse"
    target = folder / f"{manifest.run_id}.duckdb"
    building = folder / f".{manifest.run_id}.{os.getpid()}.building"
    with _failing("build the warehouse", target, building):
        folder.mkdir(parents=True, exist_ok=True)
        base = None if full else _base(lake)
        if base is not None:
            shutil.copyfile(base.path, building)
        with duckdb.connect(str(building)) as connection:
            if threads:
                connection.execute(f"SET threads = {int(threads)}")
            pinned = folder / manifest.run_id
            Builder(connection, lake, manifest, catalog, base, pinned).build()
        building.replace(target)
        _point(lake.root, target)
    _clean(folder, target)
    return target


def export_full(lake: Lake, manifest: Manifest, path: str | Path) -> Path:
    """One self-contained file with every table in it, full factor history included."""
    target = Path(path)
    building = target.with_name(f".{target.name}.{os.getpid()}.building")
    with _failing("export the warehouse", target, building):
        target.parent.mkdir(parents=True, exist_ok=True)
        with duckdb.connect(str(building)) as connection:
            Builder(connection, lake, manifest, None, None, None).build()
        building.replace(target)
    return target


def connect(root: str | Path) -> duckdb.DuckDBPyConnection:
    """A read-only connection to the current file. Close it; a run swaps files, not contents.

    Instants come in UTC. NoManifestError if nothing has been published.
    """
    link = Path(root) / LINK
    if not link.exists():
        raise NoManifestError(
            f"there is no warehouse under {root} yet; `wealthos run` publishes one"
        )
    path = link.resolve()
    try:
        connection = duckdb.connect(str(path), read_only=True)
        connection.execute("SET TimeZone = 'UTC'")
    except duckdb.Error as error:
        raise StorageError(
            f"cannot open the warehouse {path}: {_line(error)}. If another program holds the file "
            "for writing, close it; `wealthos warehouse rebuild` makes the file again."
        ) from error
    return connection


_READS = {
    duckdb.StatementType.SELECT,
    duckdb.StatementType.EXPLAIN,
    duckdb.StatementType.RELATION,
    duckdb.StatementType.PRAGMA,
}


def query(root: str | Path, text: str, limit: int | None = None) -> pl.DataFrame:
    """Rows of one SELECT over the current warehouse, at most ``limit``.

    Works while a run writes. StorageError for statements that write and, with DuckDB's words, for
    SQL that it refuses; an unknown table brings the list of those there are.
    """
    with connect(root) as connection:
        try:
            statements = connection.extract_statements(text)
            if len(statements) != 1:
                raise StorageError(f"expected one SQL statement, found {len(statements)}: {text!r}")
            if statements[0].type not in _READS:
                raise StorageError(
                    f"the warehouse is read-only, and {statements[0].type.name} is not a query. "
                    "Rows are changed by a run; write results with `wealthos sql --output FILE`."
                )
            if statements[0].type == duckdb.StatementType.SELECT and limit is not None:
                return connection.sql(text).limit(limit).pl()
            return connection.execute(text).pl()
        except duckdb.CatalogException as error:
            raise StorageError(f"the query failed: {error}\n{_hint(connection)}") from error
        except duckdb.Error as error:
            raise StorageError(f"the query failed: {error}") from error


def _base(lake: Lake) -> Base | None:
    """The current file, if a new one can start from it: it is of a run of this very lake."""
    link = lake.root / LINK
    if not link.exists():
        return None
    path = link.resolve()
    try:
        with duckdb.connect(str(path), read_only=True) as connection:
            row = connection.execute(
                "SELECT run_id, increments, versions, contracts FROM meta.warehouse"
            ).fetchone()
    except duckdb.Error:
        return None
    if row is None or row[1] >= MAX_INCREMENTS:
        return None
    run_id, increments, versions = row[0], row[1], json.loads(row[2])
    for manifest in reversed(manifests.history(lake)):
        if manifest.run_id == run_id and manifest.tables == versions:
            return Base(path, increments, versions, json.loads(row[3]))
    return None


def _point(root: Path, target: Path) -> None:
    """Make the link name ``target``, in one rename."""
    aside = root / f".{LINK}.{os.getpid()}"
    aside.unlink(missing_ok=True)
    aside.symlink_to(Path("warehouse") / target.name)
    aside.replace(root / LINK)


def _clean(folder: Path, current: Path) -> None:
    """Delete all but the newest files, and links that belong to no file."""
    files = sorted(folder.glob("*.duckdb"), key=lambda p: p.stat().st_mtime_ns, reverse=True)
    keep = {current, *files[:KEEP]}
    for path in files:
        if path not in keep:
            path.unlink(missing_ok=True)
    for path in folder.glob(".*.building*"):
        path.unlink(missing_ok=True)
    names = {p.stem for p in keep}
    for path in folder.iterdir():
        if path.is_dir() and path.name not in names:
            shutil.rmtree(path, ignore_errors=True)


@contextmanager
def _failing(doing: str, target: Path, building: Path) -> Iterator[None]:
    """Remove what was half built; errors as StorageError."""
    try:
        yield
    except (duckdb.Error, OSError) as error:
        raise StorageError(
            f"cannot {doing} ({target}): {_line(error)}. The current warehouse is untouched; free "
            "space if the disk is full, then `wealthos warehouse rebuild`."
        ) from error
    finally:
        building.unlink(missing_ok=True)
        building.with_name(f"{building.name}.wal").unlink(missing_ok=True)


def _hint(connection: duckdb.DuckDBPyConnection) -> str:
    rows = connection.execute(
        "SELECT table_schema || '.' || table_name FROM information_schema.tables ORDER BY 1"
    ).fetchall()
    return f"Tables: {', '.join(row[0] for row in rows)}. `FROM readme` describes them."


def _line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
