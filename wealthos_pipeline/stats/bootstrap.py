"""The stationary bootstrap: resampling a series in blocks of random length.

Politis & Romano (1994): blocks start uniformly, wrap around the end, and have geometric lengths with
a given mean, so that the resampled series is stationary and keeps short-range dependence.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np


def stationary_indices(n: int, mean_block: float, draws: int, seed: int) -> np.ndarray:
    """Row indices of ``draws`` resamples of a series of length ``n``; int64, shape (draws, n).

    mean_block: expected block length in observations, ≥ 1 (1 is the ordinary bootstrap).
    The same arguments give the same indices. ValueError if an argument is out of range.
    """
    if n < 1 or draws < 1 or mean_block < 1:
        raise ValueError(
            f"n, draws and mean_block must be 1 or more; found n={n}, draws={draws}, "
            f"mean_block={mean_block}"
        )
    rng = np.random.default_rng(seed)
    starts = rng.integers(0, n, size=(draws, n))
    new = rng.random((draws, n)) < 1.0 / mean_block
    new[:, 0] = True
    at = np.arange(n)
    opened = np.maximum.accumulate(np.where(new, at, 0), axis=1)
    out: np.ndarray = (np.take_along_axis(starts, opened, axis=1) + at - opened) % n
    return out


def stationary_bootstrap(
    values: np.ndarray,
    statistic: Callable[[np.ndarray], float],
    *,
    mean_block: float,
    draws: int = 1000,
    seed: int = 0,
) -> np.ndarray:
    """``statistic`` of each resample of ``values`` (rows are observations); shape (draws,)."""
    x = np.asarray(values, dtype=np.float64)
    indices = stationary_indices(len(x), mean_block, draws, seed)
    return np.array([statistic(x[rows]) for rows in indices], dtype=np.float64)
