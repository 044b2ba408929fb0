"""Building the warehouse's file: which tables it holds, and how they are filled or brought up to date."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import duckdb
import polars as pl

from wealthos_pipeline.core import data as declared
from wealthos_pipeline.core.data import TableContract
from wealthos_pipeline.data.storage import schema
from wealthos_pipeline.data.storage import warehouse_sql as sql
from wealthos_pipeline.data.storage.lake import Lake
from wealthos_pipeline.data.storage.manifest import RUNS, Manifest, Snapshot

RECENT_SESSIONS = 252
RECENT = "factors.values_recent"
SMALL_ROWS = 100_000
"""Tables up to this size are made anew; of larger ones only the changed dates are replaced."""


@dataclass(frozen=True, slots=True)
class Base:
    """The file that a new one starts from: its run's table versions and contract fingerprints."""

    path: Path
    increments: int
    versions: Mapping[str, int]
    contracts: Mapping[str, str]


class Builder:
    """One build. ``pinned`` is the folder for hard links; None puts everything into the file."""

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        lake: Lake,
        manifest: Manifest,
        catalog: pl.DataFrame | None,
        base: Base | None,
        pinned: Path | None,
    ) -> None:
        self.connection = connection
        self.lake = lake
        self.manifest = manifest
        self.snapshot = Snapshot(lake, manifest)
        self.catalog = catalog
        self.base = base
        self.pinned = pinned

    def build(self) -> None:
        """Everything, ending in a file without a write-ahead log."""
        run = self.connection.execute
        run("SET TimeZone = 'UTC'")
        run("SET preserve_insertion_order = true")
        contracts = self._contracts()
        for layer in sorted({c.layer for c in contracts.values()}):
            run(f"CREATE SCHEMA IF NOT EXISTS {sql.name(layer)}")
        run("BEGIN")
        for name, contract in contracts.items():
            if name == RUNS:
                runs = self.lake.read(RUNS).filter(
                    pl.col("finished_at") <= self.manifest.finished_at
                )
                self._from_frame(contract, runs)
            elif name == "meta.catalog" and self.catalog is not None:
                self._from_frame(contract, contract.conform(self.catalog))
            elif self._is_view(contract):
                self._view(contract)
            else:
                self._native(contract)
        self._recent([c for c in contracts.values() if _family(c)])
        self._remember(contracts)
        for statement in (*sql.macros(), *sql.README):
            run(statement)
        self._readme()
        run("COMMIT")
        run("CHECKPOINT")

    def _readme(self) -> None:
        """``main.readme``: every table, view and macro."""
        for name, kind, description in self.connection.execute(sql.OBJECTS).fetchall():
            rows = self._rows(name) if kind == "table" else None
            self.connection.execute(
                "INSERT INTO readme VALUES (?, ?, ?, ?)", [name, kind, rows, description]
            )

    def _contracts(self) -> dict[str, TableContract]:
        """Every table of the run and every declared one, so that queries find even empty ones."""
        names = set(self.snapshot.tables()) | set(declared.load())
        names |= {f"{n}_history" for n, c in declared.load().items() if c.restatable}
        return {n: self.lake.contract(n) for n in sorted(names)}

    def _is_view(self, contract: TableContract) -> bool:
        return self.pinned is not None and (contract.layer == "raw" or _family(contract))

    def _files(self, contract: TableContract, start: date | None = None) -> list[Path]:
        version = self.snapshot.version(contract.name)
        return [] if version is None else self.lake.files(contract.name, version, start=start)

    def _select(self, contract: TableContract, files: Sequence[Path], where: str = "") -> str:
        relation = sql.source(files)
        listed = ", ".join(sql.text(p) for p in files)
        present = self.connection.execute(
            f"SELECT DISTINCT name FROM parquet_schema([{listed}])"
        ).fetchall()
        chosen = sql.columns(contract, (row[0] for row in present))
        order = ", ".join(sql.name(c) for c in contract.sort_columns)
        ordered = contract.sort_columns[0] == contract.date_column and len(files) > 0
        tail = "" if ordered and contract.partition == "year" else f" ORDER BY {order}"
        return f"SELECT {chosen} FROM {relation}{where}{tail}"

    def _native(self, contract: TableContract) -> None:
        """A table in the file: kept, replaced from a date on, or made."""
        target = sql.table(contract.name)
        dirty = self._dirty(contract)
        if dirty is None:
            return
        run = self.connection.execute
        if dirty > date.min and self._rows(contract.name) > SMALL_ROWS:
            day = sql.name(str(contract.date_column))
            where = f" WHERE {day} >= DATE {sql.text(dirty)}"
            run(f"DELETE FROM {target}{where}")
            files = self._files(contract, dirty)
            if files:
                run(f"INSERT INTO {target} {self._select(contract, files, where)}")
            return
        run(f"CREATE OR REPLACE TABLE {target} ({sql.definition(contract)})")
        files = self._files(contract)
        if files:
            run(f"INSERT INTO {target} {self._select(contract, files)}")
        for statement in sql.comments(contract, target, "TABLE"):
            run(statement)

    def _dirty(self, contract: TableContract) -> date | None:
        """First date that differs from the base; ``date.min`` where the table is to be made."""
        base, version = self.base, self.snapshot.version(contract.name)
        if base is None or base.contracts.get(contract.name) != _fingerprint(contract):
            return date.min
        before = base.versions.get(contract.name)
        if before == version:
            return None
        return self.lake.dirty_from(contract.name, before, until=version)

    def _rows(self, name: str) -> int:
        found = self.connection.execute(f"SELECT count(*) FROM {sql.table(name)}").fetchone()
        return int(found[0]) if found else 0

    def _from_frame(self, contract: TableContract, frame: pl.DataFrame) -> None:
        target = sql.table(contract.name)
        self.connection.execute(f"CREATE OR REPLACE TABLE {target} ({sql.definition(contract)})")
        self.connection.register("incoming", frame.select(contract.column_names).to_arrow())
        self.connection.execute(f"INSERT INTO {target} FROM incoming")
        self.connection.unregister("incoming")
        for statement in sql.comments(contract, target, "TABLE"):
            self.connection.execute(statement)

    def _view(self, contract: TableContract) -> None:
        """A view over this run's own links to the table's files."""
        assert self.pinned is not None
        target = sql.table(contract.name)
        files = self._files(contract)
        if not files:
            body = f"SELECT {sql.columns(contract, ())} WHERE false"
        else:
            folder = self.pinned / contract.name
            folder.mkdir(parents=True, exist_ok=True)
            links = [_link(path, folder) for path in files]
            body = self._select(contract, links).partition(" ORDER BY ")[0]
        self.connection.execute(f"CREATE OR REPLACE VIEW {target} AS {body}")
        note = "A view over files beside this one; `wealthos warehouse export --full` includes it."
        for statement in sql.comments(contract, target, "VIEW", note):
            self.connection.execute(statement)

    def _recent(self, families: Sequence[TableContract]) -> None:
        """All equity factors of the last sessions side by side, in the file."""
        equity = [c for c in families if c.name.startswith("factors.equity_")]
        equity = [c for c in equity if self.snapshot.version(c.name) is not None]
        names = [c.name for f in equity for c in f.columns[2:]]
        columns: list[declared.Column] = []
        wide: pl.DataFrame | None = None
        first = self._first_recent(equity)
        for family in equity if first is not None else ():
            short = family.name.removeprefix("factors.equity_")
            new = {
                c.name: c.name if names.count(c.name) == 1 else f"{short}_{c.name}"
                for c in family.columns[2:]
            }
            rows = self.snapshot.read(family.name, start=first).rename(new)
            columns += [
                declared.Column(new[c.name], c.dtype, f"{c.doc} ({family.name})", c.unit, True)
                for c in family.columns[2:]
            ]
            wide = (
                rows
                if wide is None
                else wide.join(rows, on=["date", "instrument_id"], how="full", coalesce=True)
            )
        contract = declared.wide_contract(
            RECENT,
            f"Values of all equity factors, side by side, of the last {RECENT_SESSIONS} sessions.",
            columns,
        )
        rows = contract.empty() if wide is None else wide.sort("date", "instrument_id")
        self._from_frame(contract, rows)

    def _first_recent(self, families: Sequence[TableContract]) -> date | None:
        dates = [
            self.snapshot.scan(c.name, columns=["date"], start=_back(self.manifest.as_of))
            .unique()
            .collect()["date"]
            for c in families
        ]
        if not dates:
            return None
        sessions = pl.concat(dates).unique().sort(descending=True).head(RECENT_SESSIONS)
        first = sessions.min()
        return first if isinstance(first, date) else None

    def _remember(self, contracts: Mapping[str, TableContract]) -> None:
        """What the next build needs to know about this one."""
        frame = pl.DataFrame(
            {
                "run_id": [self.manifest.run_id],
                "increments": [0 if self.base is None else self.base.increments + 1],
                "versions": [json.dumps(dict(self.manifest.tables), sort_keys=True)],
                "contracts": [json.dumps({n: _fingerprint(c) for n, c in contracts.items()})],
            },
            schema_overrides={"increments": pl.Int32},
        )
        self._from_frame(_BUILD, frame)


_BUILD = TableContract(
    "meta.warehouse",
    "How this file was built: the run, and how often it was brought up to date since it was new.",
    (
        declared.Column("run_id", "str", "run whose tables these are"),
        declared.Column("increments", "i32", "times it was brought up to date from a copy"),
        declared.Column("versions", "str", "JSON: version of every table in the lake"),
        declared.Column("contracts", "str", "JSON: fingerprint of every table's contract"),
    ),
    ("run_id",),
)


def _family(contract: TableContract) -> bool:
    """Whether this is a wide table by date and instrument."""
    return contract.layer == "factors" and contract.key == ("date", "instrument_id")


def _fingerprint(contract: TableContract) -> str:
    return hashlib.blake2b(schema.describe(contract).encode(), digest_size=8).hexdigest()


def _back(day: date) -> date:
    """A date before which none of the last sessions lies."""
    return date.fromordinal(day.toordinal() - 2 * RECENT_SESSIONS)


def _link(path: Path, folder: Path) -> Path:
    """A hard link to ``path``; a copy where links are not possible."""
    year = path.parent.name.removeprefix("year=") if "=" in path.parent.name else ""
    target = folder / f"{year}{'-' if year else ''}{path.name}"
    try:
        os.link(path, target)
    except FileExistsError:
        return target
    except OSError:
        shutil.copyfile(path, target)
    return target
