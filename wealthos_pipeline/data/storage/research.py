"""What a quant's trainings leave: a folder each under ``<root>/research/models``, beside the lake and never in it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from wealthos_pipeline.core.errors import StorageError

RESULT = "result.json"
TABLES = (
    "registry", "predictions", "evaluation", "evaluation_lags", "evaluation_bins", "returns", "decay",
    "calibration", "summary",
)  # fmt: skip


def folder(root: str | Path) -> Path:
    """Where the trainings of a root lie."""
    return Path(root) / "research" / "models"


def write(path: Path, frames: Mapping[str, pl.DataFrame], body: Mapping[str, Any]) -> None:
    """Each frame as Parquet, then ``result.json``: a training without it is not complete."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        (path / RESULT).unlink(missing_ok=True)
        for name, frame in frames.items():
            frame.write_parquet(path / f"{name}.parquet")
        part = path / f"{RESULT}.{os.getpid()}"
        part.write_text(json.dumps(body, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        part.replace(path / RESULT)
    except OSError as error:
        raise StorageError(
            f"{path} cannot be written: {error.strerror}. Free some space."
        ) from error


def trainings(root: str | Path) -> dict[str, dict[str, Any]]:
    """Name of the folder → what its ``result.json`` says, of every complete training, by name."""
    where = folder(root)
    found = sorted(where.glob(f"*/{RESULT}")) if where.is_dir() else []
    return {path.parent.name: json.loads(path.read_text(encoding="utf-8")) for path in found}


def read(root: str | Path, name: str, table: str) -> pl.DataFrame | None:
    """A table of a training; None where it has none."""
    path = folder(root) / name / f"{table}.parquet"
    return pl.read_parquet(path) if path.is_file() else None
