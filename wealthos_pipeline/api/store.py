"""Read access to the published warehouse that follows it from run to run.

The warehouse is a link to a versioned file. One read-only connection is kept to the file that the
link names now; each request works on a cursor of its own. When the link has moved, the next request
opens the new file, and the old one is let go when its last request ends. Writers never wait: they
build their file aside.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wealthos_pipeline.core.errors import NoManifestError

if TYPE_CHECKING:
    import duckdb

LINK = "wealthos.duckdb"


@dataclass(frozen=True, slots=True)
class RunInfo:
    """Which run the warehouse was published by."""

    run_id: str
    as_of: date
    source: str
    finished_at: datetime


@dataclass(frozen=True, slots=True)
class Reader:
    """One request's cursor over one published run."""

    run: RunInfo
    cursor: duckdb.DuckDBPyConnection

    def rows(self, sql: str, parameters: Sequence[object] = ()) -> list[dict[str, Any]]:
        """Rows of a query as dictionaries; values are passed as parameters only."""
        result = self.cursor.execute(sql, list(parameters))
        names = [d[0] for d in result.description or ()]
        return [dict(zip(names, row, strict=True)) for row in result.fetchall()]

    def column(self, sql: str, parameters: Sequence[object] = ()) -> list[Any]:
        """The first column of a query."""
        return [row[0] for row in self.cursor.execute(sql, list(parameters)).fetchall()]

    def tables(self) -> frozenset[str]:
        """``schema.table`` of everything that can be read."""
        return frozenset(
            self.column("SELECT table_schema || '.' || table_name FROM information_schema.tables")
        )


class Store:
    """The warehouse under one root."""

    def __init__(self, root: Path) -> None:
        self.root = Path(root)
        self._lock = threading.Lock()
        self._path: Path | None = None
        self._base: duckdb.DuckDBPyConnection | None = None
        self._run: RunInfo | None = None

    @contextmanager
    def reader(self) -> Iterator[Reader]:
        """A reader of the run that is published now; NoManifestError where none is."""
        with self._lock:
            base, run = self._current()
            cursor = base.cursor()
        try:
            yield Reader(run, cursor)
        finally:
            cursor.close()

    def close(self) -> None:
        """Let the file go."""
        with self._lock:
            if self._base is not None:
                self._base.close()
            self._base = self._path = self._run = None

    def _current(self) -> tuple[duckdb.DuckDBPyConnection, RunInfo]:
        link = self.root / LINK
        if not link.exists():
            raise NoManifestError(
                f"no run has been published under {self.root} yet. Start one with `wealthos run`."
            )
        path = link.resolve()
        if self._base is None or self._run is None or path != self._path:
            from wealthos_pipeline.data.storage import warehouse

            fresh = warehouse.connect(self.root)
            if self._base is not None:
                self._base.close()
            self._base, self._path, self._run = fresh, path, _run_of(fresh)
        return self._base, self._run


def _run_of(connection: duckdb.DuckDBPyConnection) -> RunInfo:
    row = connection.execute(
        "SELECT run_id, as_of, source, finished_at FROM meta.runs "
        "WHERE run_id = (SELECT run_id FROM meta.warehouse)"
    ).fetchone()
    if row is None:
        raise NoManifestError(
            "the warehouse names no run. Make it again: `wealthos warehouse rebuild`."
        )
    return RunInfo(*row)
