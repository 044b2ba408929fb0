"""Means over dates of what each training date says, with errors that know that labels overlap."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from wealthos_pipeline.ml.predictors import linear
from wealthos_pipeline.stats.newey_west import mean_tstat

if TYPE_CHECKING:
    from wealthos_pipeline.ml.datasets import Training


@dataclass(frozen=True, slots=True)
class Means:
    """Of each column: mean, deviation over dates, Newey–West standard error, dates. float64, NaN where
    there are fewer than two dates (``dates``: 0 and up)."""

    mean: np.ndarray
    deviation: np.ndarray
    se: np.ndarray
    dates: np.ndarray

    @property
    def t(self) -> np.ndarray:
        """mean / se; NaN where se is 0 or unknown."""
        out = np.full(len(self.mean), np.nan)
        np.divide(self.mean, self.se, out=out, where=self.se > 0)
        return out


def lags(rows: Training) -> int:
    """Lags, in training dates, for series that have one value a training date.

    Twice the number of later training dates whose labels share sessions with a date's, and no fewer than
    ``⌊4 (T/100)^(2/9)⌋`` of T dates (Newey & West 1994). Even so the test rejects too often when labels
    overlap (``stats.newey_west``): its t is a guide, not a verdict.
    """
    starts = linear.first_rows(rows.dates)[:-1]
    days = rows.dates[starts]
    ends = np.maximum.reduceat(rows.label_end, starts)
    shared = np.searchsorted(days, ends, side="left") - np.arange(len(days)) - 1
    rule = math.floor(4.0 * (len(days) / 100.0) ** (2.0 / 9.0))
    return max(2 * int(shared.max()), rule)


def date_weights(rows: Training) -> np.ndarray:
    """Sum of the rows' weights of each date: what the date counts."""
    out: np.ndarray = np.add.reduceat(rows.w, linear.first_rows(rows.dates)[:-1])
    return out


def means(values: np.ndarray, weights: np.ndarray, lags: int) -> Means:
    """Weighted means of the columns of ``values`` over the dates that have a number.

    values: float64 (dates, columns), in time order, NaN where a date says nothing. weights: (dates,).
    The standard error is that of a weighted mean: Newey & West's (1987) of ω_t (v_t − mean) / mean(ω);
    with equal weights the one of the plain mean.
    """
    columns = values.shape[1]
    mean, deviation, se = (np.full(columns, np.nan) for _ in range(3))
    count = np.isfinite(values).sum(axis=0)
    for j in range(columns):
        there = np.isfinite(values[:, j])
        if count[j] < 2:
            continue
        v, weight = values[there, j], weights[there]
        total = float(np.sum(weight))
        mean[j] = float(np.sum(weight * v)) / total
        e = v - mean[j]
        deviation[j] = math.sqrt(float(np.sum(weight * e * e)) / total)
        se[j] = mean_tstat(weight * e * (len(v) / total), lags)[1]
    return Means(mean, deviation, se, count.astype(np.int64))


def kept(coefficients: np.ndarray, se: np.ndarray, *, min_t: float, shrink: bool) -> np.ndarray:
    """Coefficients that a model uses: 0 where unknown or |t| < ``min_t``; with ``shrink`` the others
    times max(0, 1 − 1/t²) (James & Stein 1961, positive part, one coefficient at a time)."""
    t = np.zeros(len(coefficients))
    known = np.isfinite(coefficients) & (se > 0)
    np.divide(coefficients, se, out=t, where=known)
    out = np.where(known & (np.abs(t) >= min_t), coefficients, 0.0)
    if shrink:
        square = np.maximum(t * t, 1.0)
        out = out * (1.0 - 1.0 / square)
    return out
