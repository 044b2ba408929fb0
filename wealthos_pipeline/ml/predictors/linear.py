"""What linear families share: weighted moments of the rows, and a fitted model that is a sum."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from wealthos_pipeline.core.errors import ModelError
from wealthos_pipeline.ml.predictors import artefact

if TYPE_CHECKING:
    from wealthos_pipeline.ml.datasets import Training

FORMAT = 1
_BLOCK = 64
"""Dates in one block of X'X; fixed, because it fixes the order of the additions."""


@contextmanager
def one_thread() -> Iterator[None]:
    """BLAS and LAPACK on one thread: the order of their additions depends on how many there are."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(limits=1, user_api="blas"):
        yield


def first_rows(dates: np.ndarray) -> np.ndarray:
    """Row at which each date begins, and the number of rows after the last; int64. dates: sorted."""
    new = np.append(True, dates[1:] != dates[:-1])[: len(dates)]
    return np.append(np.flatnonzero(new), len(dates))


def blocks(dates: np.ndarray) -> Iterator[slice]:
    """Rows of ``_BLOCK`` dates at a time, in order."""
    starts = first_rows(dates)[:-1]
    for a, b in pairwise(np.append(starts[::_BLOCK], len(dates)).tolist()):
        yield slice(a, b)


def filled(X: np.ndarray) -> np.ndarray:
    """Features in float64, missing as 0: the mean of the date."""
    out: np.ndarray = np.nan_to_num(X.astype(np.float64))
    return out


def gram(rows: Training, *, intercept: bool = False) -> np.ndarray:
    """Σ w a a' with a = (features, 1 if ``intercept``, y): float64, blocks of dates in order, on one
    thread."""
    p = rows.X.shape[1]
    size = p + 1 + intercept
    out = np.zeros((size, size))
    with one_thread():
        for part in blocks(rows.dates):
            block = np.empty((part.stop - part.start, size))
            block[:, :p] = filled(rows.X[part])
            block[:, p] = 1.0
            block[:, -1] = rows.y[part]
            block *= np.sqrt(rows.w[part])[:, None]
            out += block.T @ block
    return out


def usable(rows: Training, family: str) -> np.ndarray:
    """Which features have a value other than their dates' mean; booleans (features,).

    ModelError if there are no rows, the labels are all the same, or no feature says anything.
    """
    X, y = rows.X, rows.y
    if not len(y):
        raise ModelError(f"{family}: there are no training rows; check labels and features")
    if not np.isfinite(y).all():
        raise ModelError(f"{family}: {int((~np.isfinite(y)).sum())} of {len(y)} labels not finite")
    varies = np.array([bool(np.any(np.nan_to_num(X[:, j]))) for j in range(X.shape[1])])
    if not varies.any():
        raise ModelError(
            f"{family}: none of the {X.shape[1]} features has a value that differs within a date, in "
            f"{len(y)} training rows; check the factor tables of these dates"
        )
    if not np.ptp(y):
        raise ModelError(
            f"{family}: all {len(y)} training labels are {y[0]:g}; there is nothing to learn. Check "
            "the prices of these dates and the model's label"
        )
    return varies


@dataclass(frozen=True, slots=True)
class FittedLinear:
    """score = intercept + Σ coefficient · feature, missing as 0.

    figures: more numbers a feature, by name (``se``, ``t``, …), each as long as ``features``; NaN where
    unknown. facts: numbers of the fit (dates, lags).
    """

    family: str
    features: tuple[str, ...]
    coefficients: tuple[float, ...]
    intercept: float = 0.0
    figures: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    facts: Mapping[str, float] = field(default_factory=dict)

    def predict(self, X: np.ndarray) -> np.ndarray:
        """The sum in the order of the features: each row by itself."""
        return sums(X, self.coefficients, self.intercept)

    def gain(self) -> np.ndarray:
        """Absolute coefficients: features have a standard deviation of 1."""
        return np.abs(np.array(self.coefficients))

    def contributions(self, X: np.ndarray) -> np.ndarray:
        """Coefficient × feature, and the intercept: exact, as features have mean 0."""
        return parts(X, self.coefficients, self.intercept)

    def to_text(self) -> str:
        body = {
            "features": list(self.features),
            "intercept": float(self.intercept).hex(),
            "coefficients": artefact.hexes(self.coefficients),
            "figures": {k: artefact.hexes(v) for k, v in self.figures.items()},
            "facts": {k: float(v).hex() for k, v in self.facts.items()},
        }
        return artefact.write(self.family, FORMAT, body)


def from_text(text: str, family: str) -> FittedLinear:
    """The fitted model of ``family`` in ``text``; ModelError if there is none."""
    body = artefact.read(text, family, FORMAT)
    with artefact.intact(family):
        found = FittedLinear(
            family,
            tuple(body["features"]),
            artefact.floats(body["coefficients"]),
            float.fromhex(body["intercept"]),
            {k: artefact.floats(v) for k, v in body["figures"].items()},
            {k: float.fromhex(v) for k, v in body["facts"].items()},
        )
        for what, values in {"coefficients": found.coefficients, **found.figures}.items():
            if len(values) != len(found.features):
                raise ValueError(f"{len(values)} {what} for {len(found.features)} features")
    return found


def sums(X: np.ndarray, coefficients: tuple[float, ...], intercept: float = 0.0) -> np.ndarray:
    """intercept + Σ coefficient · feature, float64, feature after feature."""
    out = np.full(len(X), intercept)
    for j, beta in enumerate(coefficients):
        out += filled(X[:, j]) * beta
    return out


def parts(X: np.ndarray, coefficients: tuple[float, ...], intercept: float = 0.0) -> np.ndarray:
    """Each coefficient · feature, and the intercept in the last column."""
    out = np.full((len(X), len(coefficients) + 1), intercept)
    out[:, :-1] = filled(X) * np.array(coefficients)
    return out
