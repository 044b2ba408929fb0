"""t-statistics of the mean of a serially correlated series.

Overlapping labels make daily information coefficients autocorrelated by construction. At a nominal
5 % the Newey–West test still rejects 7–12 % of true nulls with 2h lags, and 11–14 % with h − 1; what
decides is ``mean_test``, of which this is a part.
"""

from __future__ import annotations

import math

import numpy as np

POWER = 2.8
"""Standard errors of the smallest mean seen with 80 % power at 5 % two-sided (1.96 + 0.84)."""


def mean_tstat(values: np.ndarray, lags: int) -> tuple[float, float, float]:
    """``(mean, standard error, t)`` of the mean with a Bartlett kernel over ``lags`` lags.

    values: 1-D, in time order; NaN are dropped. lags ≥ 0, cut at one less than the observations.
    Autocovariances divide by n, without small-sample correction. Fewer than two observations give
    NaN; a constant series has standard error 0 and t NaN.
    Source: Newey & West (1987), equation 5, for a regression on a constant.
    """
    if lags < 0:
        raise ValueError(f"lags must be 0 or more, found {lags}")
    x = _finite(values)
    n = len(x)
    if n < 2:
        return (float(x[0]) if n else math.nan), math.nan, math.nan
    mean = math.fsum(x) / n
    e = x - mean
    if not np.ptp(x):
        return mean, 0.0, math.nan
    total = float(np.sum(e * e))
    for lag in range(1, min(lags, n - 1) + 1):
        total += 2.0 * (1.0 - lag / (lags + 1)) * float(np.sum(e[lag:] * e[:-lag]))
    se = math.sqrt(max(total, 0.0)) / n
    return mean, se, mean / se if se > 0 else math.nan


def non_overlapping_tstat(values: np.ndarray, step: int) -> tuple[float, float, float]:
    """``(mean, standard error, t)`` from every ``step``-th value, averaged over the step's shifts.

    Each shift is a sample without overlap and has an ordinary t (ddof 1); the t and standard errors
    of the shifts are averaged, so that nobody chooses the shift. NaN keep their place in the grid
    and are dropped within a shift; shifts with fewer than two values do not count.
    """
    if step < 1:
        raise ValueError(f"step must be 1 or more, found {step}")
    x = np.asarray(values, dtype=np.float64).ravel()
    ses: list[float] = []
    ts: list[float] = []
    for shift in range(step):
        part = _finite(x[shift::step])
        if len(part) < 2 or not np.ptp(part):
            continue
        se = float(np.std(part, ddof=1)) / math.sqrt(len(part))
        ses.append(se)
        ts.append(math.fsum(part) / len(part) / se)
    kept = _finite(x)
    mean = math.fsum(kept) / len(kept) if len(kept) else math.nan
    if not ts:
        return mean, math.nan, math.nan
    return mean, math.fsum(ses) / len(ses), math.fsum(ts) / len(ts)


def detectable_mean(standard_error: float) -> float:
    """Smallest mean (an IC, say) that would be seen with 80 % power at 5 % two-sided."""
    return POWER * standard_error


def _finite(values: np.ndarray) -> np.ndarray:
    x = np.ascontiguousarray(values, dtype=np.float64).ravel()
    return x[np.isfinite(x)]
