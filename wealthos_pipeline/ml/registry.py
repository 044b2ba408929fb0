"""Rows of ``models.registry``: every fit with what it was trained on, and the model itself as text."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import date
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from wealthos_pipeline.core.data import contract

if TYPE_CHECKING:
    from wealthos_pipeline.core.model import Value
    from wealthos_pipeline.ml.datasets import Training
    from wealthos_pipeline.ml.predictors.base import Fitted
    from wealthos_pipeline.utils.config import ModelSettings

TARGET = "gaussian_rank"

VERSION = 1
"""Raised when a change of code changes fits: old fits are then not reused."""


def fit_params(settings: ModelSettings, params: Mapping[str, Value]) -> str:
    """JSON of everything besides features, dates and data that a fit depends on."""
    body = {
        "version": VERSION,
        "target": TARGET,
        "train_sessions": settings.train_sessions,
        "min_train_sessions": settings.min_train_sessions,
        "every": settings.every,
        **params,
    }
    return json.dumps(body, sort_keys=True, separators=(",", ":"))


def artefact_hash(text: str) -> str:
    """BLAKE2b of the artefact, 16 hex digits."""
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def data_hash(rows: Training) -> str:
    """BLAKE2b of what a fit is made from, 16 hex digits: features, targets, weights, dates."""
    digest = hashlib.blake2b(digest_size=8)
    for part in (rows.X, rows.y, rows.w, rows.dates.astype(np.int64)):
        digest.update(str(part.shape).encode())
        digest.update(np.ascontiguousarray(part).tobytes())
    return digest.hexdigest()


def row(
    model: str,
    kind: str,
    refit_date: date,
    horizon: int,
    fitted: Fitted,
    trained_on: Training,
    params: str,
) -> dict[str, Any]:
    """One fit as a row of ``models.registry``."""
    text = fitted.to_text()
    digest = artefact_hash(text)
    return {
        "model_id": f"{model}.{kind}.{refit_date}.{digest[:8]}",
        "model": model,
        "kind": kind,
        "refit_date": refit_date,
        "horizon": horizon,
        "train_start": trained_on.dates[0].item(),
        "train_cutoff": trained_on.dates[-1].item(),
        "rows": len(trained_on),
        "features": json.dumps(list(fitted.features)),
        "params": params,
        "artefact": text,
        "artefact_hash": digest,
        "data_hash": data_hash(trained_on),
        "stale_since": None,
        "stale_reason": None,
    }


def frame(rows: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    """``rows`` as ``models.registry``."""
    table = contract("models.registry")
    return table.conform(pl.DataFrame(list(rows), schema=table.schema()))


def find(
    registry: pl.DataFrame | None,
    *,
    model: str,
    kind: str,
    refit_date: date,
    horizon: int,
    features: Sequence[str],
    params: str,
) -> dict[str, Any] | None:
    """The row of the fit that would come out again; None if it is not there or is damaged."""
    if registry is None:
        return None
    found = registry.filter(
        (pl.col("model") == model)
        & (pl.col("kind") == kind)
        & (pl.col("refit_date") == refit_date)
        & (pl.col("horizon") == horizon)
        & (pl.col("features") == json.dumps(list(features)))
        & (pl.col("params") == params)
    )
    for candidate in found.iter_rows(named=True):
        if artefact_hash(candidate["artefact"]) == candidate["artefact_hash"]:
            return candidate
    return None
