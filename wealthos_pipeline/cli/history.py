"""Dagster's history of a root: the same SQLite files as Dagster's own storage, opened once a process.

Dagster opens and closes a database for every event. Closing the last connection folds SQLite's log
back into the file, and every commit waits for the disk: half the time of a run that has nothing to do.
Here the connection stays open and commits do not wait. A killed process loses nothing; a machine that
loses its power can lose the last events, not the database. What was published is told by the lake.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dagster._core.storage.event_log.sqlite.sqlite_event_log import (
    INDEX_SHARD_NAME,
    SqliteEventLogStorage,
)
from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage
from dagster._serdes import ConfigurableClassData
from sqlalchemy import create_engine, event
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.pool import StaticPool

OPEN = 4
"""Databases of single runs that a process keeps open: the UI reads many, one after the other."""


class History(DagsterSqliteStorage):
    """``storage`` of ``dagster.yaml``: Dagster's own, with ``Events`` for its event log."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        super().__init__(base_dir, inst_data)
        self._event_log_storage = Events(self._event_log_storage._base_dir)

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Any
    ) -> History:
        return cls.from_local(inst_data=inst_data, **config_value)


class Events(SqliteEventLogStorage):
    """The event log with one open connection a database; ``_db_lock`` gives it to one thread at a time."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        self._engines: dict[str, Engine] = {}
        self._tables: set[str] = set()
        super().__init__(base_dir, inst_data)

    @contextmanager
    def _connect(self, shard: str) -> Iterator[Connection]:
        if shard not in self._initialized_dbs or not Path(self.path_for_shard(shard)).exists():
            self._initialized_dbs.discard(shard)
            self._forget(shard)
            with super()._connect(shard):
                pass
        with self._db_lock, self._engine(shard).connect() as connection, connection.begin():
            yield connection

    def has_table(self, table_name: str) -> bool:
        """As Dagster's own, which opens the index anew for each of some hundred questions a run."""
        if table_name not in self._tables and super().has_table(table_name):
            self._tables.add(table_name)
        return table_name in self._tables

    def _engine(self, shard: str) -> Engine:
        """The open database of ``shard``, the last one asked for; the longest unasked is closed."""
        engine = self._engines.pop(shard, None)
        if engine is None:
            engine = create_engine(
                self.conn_string_for_shard(shard),
                poolclass=StaticPool,
                connect_args={"timeout": SQLITE_BUSY_TIMEOUT_SECONDS, "check_same_thread": False},
            )
            event.listen(engine, "connect", _without_waiting)
        self._engines[shard] = engine
        runs = [s for s in self._engines if s != INDEX_SHARD_NAME]
        for old in runs[:-OPEN]:
            self._engines.pop(old).dispose()
        return engine

    def _forget(self, *shards: str) -> None:
        with self._db_lock:
            for shard in shards:
                if engine := self._engines.pop(shard, None):
                    engine.dispose()

    def wipe(self) -> None:
        self._forget(*self._engines)
        super().wipe()

    def dispose(self) -> None:
        self._forget(*self._engines)
        super().dispose()


def _without_waiting(connection: Any, _: object) -> None:
    """Commit to SQLite's log without waiting for the disk; the log is synced when it is folded in."""
    connection.execute("PRAGMA synchronous=NORMAL")
