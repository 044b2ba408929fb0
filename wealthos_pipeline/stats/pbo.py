"""Probability of backtest overfitting by combinatorially symmetric cross-validation (CSCV).

Bailey, Borwein, López de Prado & Zhu (2017), "The probability of backtest overfitting".
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations

import numpy as np


@dataclass(frozen=True, slots=True)
class Overfitting:
    """Result of CSCV.

    probability: share of splits in which the best in sample is below the out-of-sample median; where it is the
    median itself (an odd number of strategies) half a split, so that noise gives ½ for any number.
    logits: log(ω / (1 − ω)) of the winner's relative rank out of sample, one a split.
    On noise the probability is near ½ but scatters widely (5–95 % range 0.18–0.80).
    """

    probability: float
    logits: np.ndarray


def overfitting_probability(returns: np.ndarray, blocks: int = 16) -> Overfitting:
    """PBO of choosing the best Sharpe ratio among the columns of ``returns``.

    returns: (periods, strategies), at least two strategies, finite; ``blocks`` is even; periods that
    do not fill a block are dropped from the start. Costs C(blocks, blocks/2) splits, each from
    block sums. Ties out of sample count half. ValueError names what does not fit.
    """
    x = np.asarray(returns, dtype=np.float64)
    if x.ndim != 2 or x.shape[1] < 2:
        raise ValueError(f"returns must be periods × at least 2 strategies, found shape {x.shape}")
    if blocks < 2 or blocks % 2:
        raise ValueError(f"blocks must be even and at least 2, found {blocks}")
    length = len(x) // blocks
    if length < 2:
        raise ValueError(f"{len(x)} periods are too few for {blocks} blocks of 2 or more")
    if not np.isfinite(x).all():
        raise ValueError("returns must be finite; drop or fill what is missing first")
    x = x[len(x) - length * blocks :]
    mean = np.mean(x, axis=0)
    x = x - mean  # moments about the overall mean: no cancellation in the variances
    cut = x.reshape(blocks, length, -1)
    sums, squares = cut.sum(axis=1), (cut**2).sum(axis=1)
    n = length * blocks // 2
    logits = []
    every = np.arange(blocks)
    for chosen in combinations(range(blocks), blocks // 2):
        inside = np.array(chosen)
        outside = np.setdiff1d(every, inside)
        best = int(np.argmax(_sharpe(sums[inside], squares[inside], n, mean)))
        out = _sharpe(sums[outside], squares[outside], n, mean)
        below = np.count_nonzero(out < out[best])
        ties = np.count_nonzero(out == out[best])
        omega = (below + (ties + 1) / 2) / (len(out) + 1)
        logits.append(math.log(omega / (1.0 - omega)))
    found = np.array(logits)
    return Overfitting(float(np.mean(found < 0.0) + 0.5 * np.mean(found == 0.0)), found)


def _sharpe(sums: np.ndarray, squares: np.ndarray, n: int, mean: np.ndarray) -> np.ndarray:
    total = sums.sum(axis=0)
    variance = (squares.sum(axis=0) - total * total / n) / (n - 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio: np.ndarray = (mean + total / n) / np.sqrt(variance)
    return np.where(variance > 0, ratio, -np.inf)
