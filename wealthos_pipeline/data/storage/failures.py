"""Runs that failed: one JSON line each under ``<root>/failures.jsonl``, written without the lock.

A failed run publishes no manifest, so this is kept beside the lake; the next run's alerts read it.
"""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

import polars as pl

_SCHEMA: dict[str, pl.DataType] = {
    "run_id": pl.String(),
    "job": pl.String(),
    "message": pl.String(),
    "at": pl.Datetime("us", "UTC"),
}


def _path(root: str | Path) -> Path:
    return Path(root) / "failures.jsonl"


def record(root: str | Path, *, run_id: str, job: str, message: str, at: datetime) -> None:
    """Append one failed run; a run that is there already is not written twice."""
    path = _path(root)
    if run_id in set(read(root)["run_id"]):
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    line = {"run_id": run_id, "job": job, "message": message[:2000], "at": at.isoformat()}
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def read(root: str | Path, *, since: datetime | None = None) -> pl.DataFrame:
    """Columns ``run_id, job, message, at``, oldest first; those after ``since`` if it is given."""
    path = _path(root)
    rows = []
    if path.is_file():
        for line in path.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            rows.append({**row, "at": datetime.fromisoformat(row["at"])})
    frame = pl.DataFrame(rows, schema=_SCHEMA)
    return frame if since is None else frame.filter(pl.col("at") > since)
