"""Sharpe ratios and how far they can be believed.

Everything here is per period (not annualised): with daily returns, a daily ratio. Kurtosis is the
plain one (3 for a normal distribution).

Sources: Bailey & López de Prado, "The Sharpe ratio efficient frontier" (2012), and "The deflated
Sharpe ratio" (2014).
"""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np

_NORMAL = NormalDist()
EULER = 0.5772156649015329


def sharpe_ratio(returns: np.ndarray, risk_free: np.ndarray | float = 0.0) -> float:
    """Mean excess return over its standard deviation (ddof 1), per period; NaN are dropped.

    NaN with fewer than two returns or no variation. Multiply by √252 to annualise daily ratios.
    """
    x = np.asarray(returns, dtype=np.float64) - risk_free
    x = x[np.isfinite(x)]
    if len(x) < 2 or not np.ptp(x):
        return math.nan
    return float(np.mean(x) / np.std(x, ddof=1))


def moments(returns: np.ndarray) -> tuple[float, float]:
    """``(skewness, kurtosis)`` of the returns, population moments; NaN are dropped."""
    x = np.asarray(returns, dtype=np.float64)
    x = x[np.isfinite(x)]
    if len(x) < 2 or not np.ptp(x):
        return math.nan, math.nan
    e = x - np.mean(x)
    variance = float(np.mean(e**2))
    return float(np.mean(e**3)) / variance**1.5, float(np.mean(e**4)) / variance**2


def probabilistic_sharpe(
    ratio: float, periods: int, *, benchmark: float = 0.0, skew: float = 0.0, kurtosis: float = 3.0
) -> float:
    """PSR: probability that the true ratio is above ``benchmark``, both per period.

    periods: number of returns. NaN when the variance of the estimate is not positive.
    """
    variance = _variance(ratio, skew, kurtosis)
    if periods < 2 or not variance > 0:
        return math.nan
    return _NORMAL.cdf((ratio - benchmark) * math.sqrt((periods - 1) / variance))


def expected_maximum(trials: float, variance: float) -> float:
    """Expected best ratio of ``trials`` independent strategies whose true ratio is 0.

    variance: variance of the ratios across trials, per period. One trial gives 0, so that the
    deflated ratio falls back to the probabilistic one. ``trials`` may be an effective number.
    """
    if trials < 1 or variance < 0:
        raise ValueError(
            f"trials must be ≥ 1 and variance ≥ 0; found trials={trials}, variance={variance}"
        )
    if trials == 1:
        return 0.0
    first = _NORMAL.inv_cdf(1.0 - 1.0 / trials)
    second = _NORMAL.inv_cdf(1.0 - 1.0 / (trials * math.e))
    return math.sqrt(variance) * ((1.0 - EULER) * first + EULER * second)


def deflated_sharpe(
    ratio: float,
    periods: int,
    *,
    trials: float,
    variance: float,
    skew: float = 0.0,
    kurtosis: float = 3.0,
) -> float:
    """DSR: the PSR against the best ratio that ``trials`` worthless strategies would have shown.

    It is conservative: on noise DSR > 0.95 happens in 1.5 % of cases with 2 trials, 0.05 % with 10.
    """
    benchmark = max(expected_maximum(trials, variance), 0.0)
    return probabilistic_sharpe(ratio, periods, benchmark=benchmark, skew=skew, kurtosis=kurtosis)


def minimum_track_record(
    ratio: float,
    *,
    benchmark: float = 0.0,
    confidence: float = 0.95,
    skew: float = 0.0,
    kurtosis: float = 3.0,
) -> float:
    """Periods needed for the PSR against ``benchmark`` to reach ``confidence``; inf if it never does."""
    if not ratio > benchmark:
        return math.inf if not math.isnan(ratio) else math.nan
    z = _NORMAL.inv_cdf(confidence)
    return 1.0 + _variance(ratio, skew, kurtosis) * (z / (ratio - benchmark)) ** 2


def _variance(ratio: float, skew: float, kurtosis: float) -> float:
    return 1.0 - skew * ratio + (kurtosis - 1.0) / 4.0 * ratio**2
