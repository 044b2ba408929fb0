"""The stationary bootstrap: resampling a series in blocks of random length.

Politis & Romano (1994): blocks start uniformly, wrap around the end, and have geometric lengths with
a given mean, so that the resampled series is stationary and keeps short-range dependence.

For the mean nothing need be drawn to know the bootstrap's variance: their Lemma 1 gives it from the
autocovariances (``stationary_se``). Draws (``stationary_means``) are for what is not symmetric.
"""

from __future__ import annotations

import math
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


def stationary_means(values: np.ndarray, mean_block: float, draws: int, seed: int) -> np.ndarray:
    """Means of ``draws`` resamples of a 1-D series without NaN; shape (draws,).

    As ``stationary_bootstrap(values, np.mean, …)`` in distribution, from sums of whole blocks: it
    costs draws × n / mean_block. The same arguments give the same bits.
    """
    x = np.asarray(values, dtype=np.float64)
    n = len(x)
    if n < 1 or draws < 1 or mean_block < 1:
        raise ValueError(
            f"n, draws and mean_block must be 1 or more; found n={n}, draws={draws}, "
            f"mean_block={mean_block}"
        )
    rng = np.random.default_rng(seed)
    centre = math.fsum(x) / n
    running = np.concatenate([[0.0], np.cumsum(np.concatenate([x - centre, x - centre]))])
    wide = int(n / mean_block + 6.0 * math.sqrt(n / mean_block)) + 8
    total = np.zeros(draws)
    filled = np.zeros(draws, np.int64)
    while (filled < n).any():
        length = rng.geometric(1.0 / mean_block, size=(draws, wide)).astype(np.int64)
        start = rng.integers(0, n, size=(draws, wide))
        end = np.minimum(filled[:, None] + np.cumsum(np.minimum(length, n), axis=1), n)
        length = np.diff(end, axis=1, prepend=filled[:, None])
        total += (running[start + length] - running[start]).sum(axis=1)
        filled = end[:, -1]
    out: np.ndarray = centre + total / n
    return out


def stationary_se(values: np.ndarray, mean_block: float) -> float:
    """Standard error that the stationary bootstrap of the mean has with infinitely many draws.

    values: 1-D, no NaN, in time order. NaN for fewer than two values, 0 for a constant.
    Source: Politis & Romano (1994), Lemma 1, with circular autocovariances, which is the same sum.
    """
    x = np.asarray(values, dtype=np.float64)
    n = len(x)
    if mean_block < 1:
        raise ValueError(f"mean_block must be 1 or more, found {mean_block}")
    if n < 2:
        return math.nan
    if not np.ptp(x):
        return 0.0
    covariance = _autocovariances(x)
    k = np.arange(1, n)
    stay = 1.0 - 1.0 / mean_block
    weight = (1.0 - k / n) * stay**k + (k / n) * stay ** (n - k)
    variance = covariance[0] + 2.0 * float(np.sum(weight * covariance[1:]))
    return math.sqrt(max(variance, 0.0) / n)


def block_length(values: np.ndarray) -> float:
    """Mean block length that is best for the variance of the mean, at least 1.

    values: 1-D, no NaN. Source: Politis & White (2004), section 3.2, with the correction of Patton,
    Politis & White (2009); the length is at most min(3 √n, n / 3).
    """
    x = np.asarray(values, dtype=np.float64)
    n = len(x)
    if n < 10 or not np.ptp(x):
        return 1.0
    covariance = _autocovariances(x)
    correlation = np.abs(covariance / covariance[0])
    quiet = max(5, int(math.log10(n)))
    most = min(math.ceil(math.sqrt(n)) + quiet, n - 1)
    small = correlation[1 : most + 1] < 2.0 * math.sqrt(math.log10(n) / n)
    last = next(
        (m for m in range(len(small) - quiet + 1) if small[m : m + quiet].all()),
        None,
    )
    if last is None:
        above = np.flatnonzero(~small)
        last = int(above[-1]) + 1 if len(above) else 0
    # the flat-top window is 1 up to half its width
    width = min(2 * max(last, 1), most)
    k = np.arange(1, width + 1)
    taper = np.where(k / width <= 0.5, 1.0, 2.0 * (1.0 - k / width))
    level = covariance[0] + 2.0 * float(np.sum(taper * covariance[1 : width + 1]))
    slope = 2.0 * float(np.sum(taper * k * covariance[1 : width + 1]))
    if level == 0.0:
        return 1.0
    best = (slope * slope / level**2 * n) ** (1.0 / 3.0)
    return float(min(max(best, 1.0), math.ceil(min(3.0 * math.sqrt(n), n / 3.0))))


def _autocovariances(x: np.ndarray) -> np.ndarray:
    """Autocovariances at lags 0 … n − 1, divided by n."""
    n = len(x)
    size = 1 << (2 * n - 1).bit_length()
    spectrum = np.fft.rfft(x - math.fsum(x) / n, size)
    out: np.ndarray = np.fft.irfft(spectrum * np.conj(spectrum), size)[:n] / n
    return out
