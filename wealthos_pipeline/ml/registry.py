"""Rows of ``models.registry``: every fit with what it was trained on, and the model itself as text."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from wealthos_pipeline.core.data import contract
from wealthos_pipeline.core.errors import ModelError

if TYPE_CHECKING:
    from wealthos_pipeline.core.model import ModelSpec, Value
    from wealthos_pipeline.ml.datasets import Training
    from wealthos_pipeline.ml.predictors.base import Fitted

VERSION = 2
"""Raised when a change of code changes fits: old fits are then not reused."""


def fit_params(spec: ModelSpec, params: Mapping[str, Value]) -> str:
    """JSON of everything besides features, dates and data that a fit depends on.

    params: the predictor's, every one of them with its value.
    """
    body = {
        "version": VERSION,
        "label": spec.label,
        "window": spec.window,
        "train_sessions": spec.train_sessions,
        "min_train_sessions": spec.min_train_sessions,
        "every": spec.every,
        "uniqueness": spec.weighting.uniqueness,
        "half_life": spec.weighting.half_life,
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
        digest.update(np.ascontiguousarray(part).reshape(-1).data)
    return digest.hexdigest()


def row(
    spec: ModelSpec,
    kind: str,
    refit_date: date,
    fitted: Fitted,
    trained_on: Training,
    params: str,
    *,
    trials: int | None = None,
    data: str | None = None,
) -> dict[str, Any]:
    """One fit as a row of ``models.registry``.

    spec: as the person wrote it; params: as ``fit_params`` of what was fitted. trials: of the search
    that found them. data: ``data_hash(trained_on)`` where it is at hand.
    """
    text = fitted.to_text()
    digest = artefact_hash(text)
    return {
        "model_id": f"{spec.name}.{kind}.{refit_date}.{digest[:8]}",
        "model": spec.name,
        "kind": kind,
        "refit_date": refit_date,
        "horizon": spec.horizon,
        "train_start": trained_on.dates[0].item(),
        "train_cutoff": trained_on.dates[-1].item(),
        "rows": len(trained_on),
        "features": json.dumps(list(fitted.features)),
        "params": params,
        "artefact": text,
        "artefact_hash": digest,
        "data_hash": data or data_hash(trained_on),
        "stale_since": None,
        "stale_reason": None,
        "family": spec.family,
        "spec_hash": spec.spec_hash,
        "trials": trials,
    }


def frame(rows: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    """``rows`` as ``models.registry``."""
    table = contract("models.registry")
    return table.conform(pl.DataFrame(list(rows), schema=table.schema()))


def of_record(record: Mapping[str, Any]) -> dict[str, Any]:
    """A row that was kept as JSON (dates and instants as ISO text), as ``frame`` takes it. ModelError
    names columns that it lacks."""
    table = contract("models.registry")
    lost = [c.name for c in table.columns if not c.nullable and record.get(c.name) is None]
    if lost:
        raise ModelError(
            f"the stored fit {record.get('model_id')!r} lacks {', '.join(lost)}; it is no row of "
            "models.registry"
        )
    out: dict[str, Any] = {}
    for c in table.columns:
        value = record.get(c.name)
        if isinstance(value, str) and c.dtype == "date":
            value = date.fromisoformat(value)
        if isinstance(value, str) and c.dtype == "instant":
            value = datetime.fromisoformat(value)
        out[c.name] = value
    return out


def find(
    registry: pl.DataFrame | None,
    *,
    spec: ModelSpec,
    kind: str,
    refit_date: date,
    features: Sequence[str],
    params: str,
    data: str | None = None,
) -> dict[str, Any] | None:
    """The row of the fit that would come out again; None if it is not there or is damaged.

    data: ``data_hash`` of its training rows, where that has to be the same."""
    if registry is None:
        return None
    found = registry.filter(
        (pl.col("model") == spec.name)
        & (pl.col("kind") == kind)
        & (pl.col("refit_date") == refit_date)
        & (pl.col("spec_hash") == spec.spec_hash)
        & (pl.col("features") == json.dumps(list(features)))
        & (pl.col("params") == params)
        & (pl.lit(True) if data is None else pl.col("data_hash").eq_missing(pl.lit(data)))
    )
    for candidate in found.iter_rows(named=True):
        if artefact_hash(candidate["artefact"]) == candidate["artefact_hash"]:
            return candidate
    return None


def merged(before: pl.DataFrame, made: pl.DataFrame, start: date | None) -> pl.DataFrame:
    """``models.registry`` after a run from ``start`` on: what was there before it and still serves, and
    what the run gives. A live fit serves one week and is replaced by the next one."""
    if start is None:
        return made
    kept = before.filter(
        (pl.col("refit_date") < start)
        & (pl.col("kind") != "live")
        & ~pl.col("model_id").is_in(made["model_id"].implode())
    )
    return contract("models.registry").conform(pl.concat([kept, made]))
