"""Ridge regression in closed form.

Minimises Σ w (y − Xβ)² + α‖β‖² with weights that sum to 1 within a date, so α counts in dates: a
feature alone, uncorrelated with the others, whose mean cross-sectional correlation with the target
over D dates is c gets the coefficient c · D / (D + α). Features and target have mean 0 within a
date; there is no intercept. A missing feature is 0, the date's mean.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from wealthos_pipeline.core.errors import ModelError

if TYPE_CHECKING:
    from wealthos_pipeline.core.model import Value
    from wealthos_pipeline.ml.datasets import Training
    from wealthos_pipeline.ml.predictors.base import Fitted

FORMAT = 1
_BLOCK = 64
"""Dates in one block of X'X; fixed, because it fixes the order of the additions."""


@dataclass(frozen=True, slots=True)
class FittedRidge:
    """Coefficients by feature, float64."""

    features: tuple[str, ...]
    coefficients: tuple[float, ...]

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Sum of coefficient × feature in the order of the features, missing as 0."""
        out = np.zeros(len(X))
        for j, beta in enumerate(self.coefficients):
            out += np.nan_to_num(X[:, j].astype(np.float64)) * beta
        return out

    def gain(self) -> np.ndarray:
        """Absolute coefficients: features have a standard deviation of 1."""
        return np.abs(np.array(self.coefficients))

    def contributions(self, X: np.ndarray) -> np.ndarray:
        """Coefficient × feature: exact for a linear model whose features have mean 0."""
        out = np.zeros((len(X), len(self.features) + 1))
        out[:, :-1] = np.nan_to_num(X.astype(np.float64)) * np.array(self.coefficients)
        return out

    def to_text(self) -> str:
        body = {
            "format": FORMAT,
            "model": "ridge",
            "features": list(self.features),
            "coefficients": [c.hex() for c in self.coefficients],
        }
        return json.dumps(body, separators=(",", ":"))


@dataclass(frozen=True, slots=True)
class Ridge:
    """Ridge with penalty ``alpha``, in dates."""

    alpha: float
    name: str = "ridge"

    @property
    def params(self) -> Mapping[str, Value]:
        return {"alpha": self.alpha}

    def fit(self, rows: Training) -> Fitted:
        """Accumulate X'X and X'y over blocks of dates in order, in float64, on one thread."""
        from threadpoolctl import threadpool_limits

        X, y, w, dates = rows.X, rows.y, rows.w, rows.dates
        p = X.shape[1]
        starts = np.flatnonzero(np.append(True, dates[1:] != dates[:-1]))
        edges = np.append(starts[::_BLOCK], len(dates))
        gram = np.zeros((p + 1, p + 1))
        with threadpool_limits(limits=1, user_api="blas"):
            for a, b in pairwise(edges):
                block = np.empty((b - a, p + 1))
                block[:, :p] = np.nan_to_num(X[a:b].astype(np.float64))
                block[:, p] = y[a:b]
                block *= np.sqrt(w[a:b])[:, None]
                gram += block.T @ block
            if not np.any(gram[:p, :p]):
                raise ModelError(
                    f"ridge: none of the {p} features has a value that differs within a date, in "
                    f"{len(y)} training rows; check the factor tables of these dates"
                )
            beta = np.linalg.solve(gram[:p, :p] + self.alpha * np.eye(p), gram[:p, p])
        return FittedRidge(rows.features, tuple(float(b) for b in beta))

    def from_text(self, text: str) -> Fitted:
        body = json.loads(text)
        if (body.get("model"), body.get("format")) != ("ridge", FORMAT):
            raise ModelError(
                f"the artefact is {body.get('model')!r} format {body.get('format')!r}, expected "
                f"'ridge' format {FORMAT}; refit the model"
            )
        coefficients = tuple(float.fromhex(c) for c in body["coefficients"])
        return FittedRidge(tuple(body["features"]), coefficients)
