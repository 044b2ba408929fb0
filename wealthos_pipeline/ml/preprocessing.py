"""Preprocessing that learns from data, and therefore belongs to a fold.

Standardising within a date learns nothing beyond the date. What is learnt over many dates (a median that
stands for a missing value, the limits of what is believed) must be learnt on the training side alone and
travel with the fit: ``learn`` sees the rows that are fitted on, ``Learnt.apply`` serves both sides.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wealthos_pipeline.core.errors import ModelError

MAD_TO_SIGMA = 1.4826
"""Median absolute deviation × this = standard deviation of a normal distribution (1 / Φ⁻¹(¾))."""


@dataclass(frozen=True, slots=True, eq=False)
class Learnt:
    """What was learnt of each feature, float64 (features,): ``fill`` stands for what is missing, values
    are held within ``low`` and ``high``, then less ``mean`` and divided by ``scale``."""

    fill: np.ndarray
    low: np.ndarray
    high: np.ndarray
    mean: np.ndarray
    scale: np.ndarray

    def apply(self, X: np.ndarray) -> np.ndarray:
        """Rows of the same features, float32, without NaN; each row by itself."""
        if X.shape[1] != len(self.fill):
            raise ModelError(
                f"preprocessing was learnt on {len(self.fill)} features, found {X.shape[1]} columns"
            )
        out = np.empty(X.shape, dtype=np.float32)
        for j in range(X.shape[1]):  # a column at a time: no second matrix in float64
            out[:, j] = self._column(X[:, j], j)
        return out

    def _column(self, column: np.ndarray, j: int) -> np.ndarray:
        x = column.astype(np.float64)
        x = np.where(np.isfinite(x), x, self.fill[j])
        out: np.ndarray = (np.clip(x, self.low[j], self.high[j]) - self.mean[j]) / self.scale[j]
        return out


def learn(X: np.ndarray, w: np.ndarray, *, limit: float | None = 5.0) -> Learnt:
    """Learn from the training side.

    X: float32 (rows, features), NaN where missing. w: weights of the rows, above 0. Missing values are
    given the median of those that are there; values are held within median ± ``limit`` · 1.4826 · MAD
    (None, or a MAD of 0: as they are); what comes out has a weighted mean of 0 and standard deviation of 1.
    A feature that is never there or always the same becomes 0. ModelError if no feature varies.
    """
    p = X.shape[1]
    fill, mean = np.zeros(p), np.zeros(p)
    low, high, scale = np.full(p, -np.inf), np.full(p, np.inf), np.ones(p)
    total = float(np.sum(w))
    varies = 0
    for j in range(p):
        x = X[:, j].astype(np.float64)
        there = np.isfinite(x)
        if not there.any():
            low[j] = high[j] = 0.0
            continue
        fill[j] = np.median(x[there])
        spread = MAD_TO_SIGMA * np.median(np.abs(x[there] - fill[j]))
        if limit is not None and spread > 0:
            low[j], high[j] = fill[j] - limit * spread, fill[j] + limit * spread
        x = np.clip(np.where(there, x, fill[j]), low[j], high[j])
        mean[j] = np.sum(w * x) / total
        sigma = np.sqrt(np.sum(w * (x - mean[j]) ** 2) / total)
        if np.ptp(x) > 0 and sigma > 0:
            scale[j] = sigma
            varies += 1
        else:
            low[j] = high[j] = mean[j] = fill[j]
    if not varies:
        raise ModelError(
            f"none of the {p} features has values that differ in {len(X)} training rows; check the "
            "factor tables of these dates"
        )
    return Learnt(fill, low, high, mean, scale)
