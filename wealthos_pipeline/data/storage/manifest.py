"""Manifests: which version of every table belongs to one complete run.

Delta is atomic for a table; a run is made atomic by one row of ``meta.runs``, appended last. Report,
warehouse and API read through a ``Snapshot`` of a manifest and therefore never see half a run.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import polars as pl

from wealthos_pipeline.core.data import TableContract
from wealthos_pipeline.core.errors import NoManifestError, StorageError
from wealthos_pipeline.data.storage.lake import Lake, names

RUNS = "meta.runs"


@dataclass(frozen=True, slots=True)
class Consumed:
    """What a stage had read: input versions (None: the table did not exist) and its definition."""

    inputs: Mapping[str, int | None]
    definition: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """One row of ``meta.runs`` with its JSON parsed.

    tables: version of every table after the run, without ``meta.runs``.
    consumed: by stage, what it had read when it last ran.
    """

    run_id: str
    started_at: datetime
    finished_at: datetime
    as_of: date
    source: str
    tables: Mapping[str, int]
    consumed: Mapping[str, Consumed]
    code_version: str
    config_hash: str
    config: Mapping[str, Any]
    lock_hash: str
    lake_version: int

    def row(self) -> pl.DataFrame:
        """The row of ``meta.runs``."""
        consumed = {
            stage: {"inputs": dict(c.inputs), "definition": c.definition}
            for stage, c in self.consumed.items()
        }
        return pl.DataFrame(
            [
                {
                    "run_id": self.run_id,
                    "started_at": self.started_at,
                    "finished_at": self.finished_at,
                    "as_of": self.as_of,
                    "source": self.source,
                    "tables": _json(dict(self.tables)),
                    "consumed": _json(consumed),
                    "code_version": self.code_version,
                    "config_hash": self.config_hash,
                    "config": _json(dict(self.config)),
                    "lock_hash": self.lock_hash,
                    "lake_version": self.lake_version,
                }
            ],
            schema_overrides={
                "started_at": pl.Datetime("us", "UTC"),
                "finished_at": pl.Datetime("us", "UTC"),
                "lake_version": pl.Int32(),
            },
        )

    @classmethod
    def parse(cls, row: Mapping[str, Any]) -> Manifest:
        """The inverse of ``row``."""
        consumed = {
            stage: Consumed(body["inputs"], body["definition"])
            for stage, body in json.loads(row["consumed"]).items()
        }
        return cls(
            **{
                **row,
                "tables": json.loads(row["tables"]),
                "consumed": consumed,
                "config": json.loads(row["config"]),
            }
        )


def history(lake: Lake) -> list[Manifest]:
    """All complete runs, oldest first."""
    return [Manifest.parse(row) for row in lake.read(RUNS).iter_rows(named=True)]


def last(lake: Lake) -> Manifest:
    """The newest complete run; NoManifestError if there is none."""
    found = last_or_none(lake)
    if found is None:
        raise NoManifestError(
            f"nothing has been published under {lake.root} yet; `wealthos run` makes the first run"
        )
    return found


def last_or_none(lake: Lake) -> Manifest | None:
    """The newest complete run, or None."""
    newest = lake.read(RUNS).tail(1)
    return Manifest.parse(newest.row(0, named=True)) if newest.height else None


def get(lake: Lake, run_id: str) -> Manifest:
    """The run called ``run_id``; StorageError lists the latest ones if there is no such run."""
    for row in lake.read(RUNS).filter(pl.col("run_id") == run_id).iter_rows(named=True):
        return Manifest.parse(row)
    known = lake.read(RUNS, columns=["run_id"])["run_id"].tail(5).to_list()
    if not known:
        last(lake)
    raise StorageError(f"no run {run_id!r}; the latest are: {', '.join(known)}")


class Snapshot:
    """The lake as one manifest names it: every read is pinned to the manifest's versions.

    A table that the manifest does not name is empty.
    """

    def __init__(self, lake: Lake, manifest: Manifest) -> None:
        self.lake = lake
        self.manifest = manifest

    def tables(self) -> list[str]:
        """Names of the tables, sorted."""
        return sorted(self.manifest.tables)

    def version(self, table: str) -> int | None:
        """Version of ``table`` in this run."""
        return self.manifest.tables.get(table)

    def contract(self, table: str) -> TableContract:
        return self.lake.contract(table)

    def scan(
        self,
        table: str,
        *,
        as_of: datetime | None = None,
        columns: Sequence[str] | None = None,
        start: date | None = None,
        end: date | None = None,
    ) -> pl.LazyFrame:
        """As ``Lake.scan``, at this run."""
        contract = self.contract(table)
        if as_of is not None and contract.restatable:
            past = f"{table}_history"
            version = self.version(past)
            if version is None:
                return contract.empty().lazy().select(names(contract, columns))
            rows = self.lake.scan(past, version=version, start=start, end=end)
            return self.lake.known(rows, contract, as_of).select(names(contract, columns))
        version = self.version(table)
        if version is None:
            return contract.empty().lazy().select(names(contract, columns))
        return self.lake.scan(
            table, version=version, as_of=as_of, columns=columns, start=start, end=end
        )

    def read(
        self,
        table: str,
        *,
        as_of: datetime | None = None,
        columns: Sequence[str] | None = None,
        start: date | None = None,
        end: date | None = None,
    ) -> pl.DataFrame:
        """As ``Lake.read``, at this run."""
        contract = self.contract(table)
        chosen = names(contract, columns)
        wanted = list(dict.fromkeys([*chosen, *contract.sort_columns]))
        rows = self.scan(table, as_of=as_of, columns=wanted, start=start, end=end)
        return self.lake.collect(rows, contract, self.version(table)).select(chosen)


def _json(body: Mapping[str, Any]) -> str:
    return json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
