"""Sharpe ratios and how far they can be believed.

Everything here is per period (not annualised): with daily returns, a daily ratio. Kurtosis is the
plain one (3 for a normal distribution).

Sources: Bailey & López de Prado, "The Sharpe ratio efficient frontier" (2012), and "The deflated
Sharpe ratio" (2014).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

_NORMAL = NormalDist()
EULER = 0.5772156649015329
SAME = 1e-12
"""Returns whose standard deviation is below this part of their mean do not vary: that is rounding."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a series of returns says about its Sharpe ratio, all per period.

    observations: returns that are known. ratio, skew, kurtosis: of them. psr: probability that the true ratio is
    above 0. dsr: that it is above what the best of the trials would show by luck. minimum: periods that ``psr``
    needs to reach 95 % (inf where the ratio is not above 0). NaN where there are fewer than two returns or they do
    not vary.
    """

    observations: int
    ratio: float
    skew: float
    kurtosis: float
    psr: float
    dsr: float
    minimum: float


def judge(
    returns: np.ndarray, *, trials: float = 1.0, variance: float = 0.0, spacing: int = 1
) -> Judgement:
    """The Sharpe ratio of ``returns`` (1-D, in time order, NaN dropped) judged against ``trials``.

    trials, variance: see ``deflated_sharpe``; those of ``stats.trials.deflation`` belong together. The variance counts
    as at least 1 / observations, which is that of a worthless trial as long as these returns: longer records among
    the trials scatter less, and would make a lucky short one look proven. spacing: periods
    that neighbouring returns overlap by (returns of h sessions given every session: h); only every so many-th
    counts as an observation, and ratio, variance and minimum are then of such a longer period.
    """
    if spacing < 1:
        raise ValueError(f"spacing must be 1 or more, found {spacing}")
    x = np.asarray(returns, dtype=np.float64).ravel()
    x = x[np.isfinite(x)]
    n = len(x) // spacing if spacing > 1 else len(x)
    ratio = sharpe_ratio(x)
    skew, kurtosis = moments(x)
    shape = {"skew": skew, "kurtosis": kurtosis}
    if math.isnan(ratio) or not n:
        return Judgement(n, ratio, skew, kurtosis, math.nan, math.nan, math.nan)
    return Judgement(
        n, ratio, skew, kurtosis,
        probabilistic_sharpe(ratio, n, **shape),
        deflated_sharpe(ratio, n, trials=trials, variance=max(variance, 1.0 / n), **shape),
        minimum_track_record(ratio, **shape),
    )  # fmt: skip


def sharpe_ratio(returns: np.ndarray, risk_free: np.ndarray | float = 0.0) -> float:
    """Mean excess return over its standard deviation (ddof 1), per period; NaN are dropped.

    NaN with fewer than two returns or no variation (beyond rounding). Multiply by √252 to annualise daily ratios.
    """
    x = np.asarray(returns, dtype=np.float64) - risk_free
    x = x[np.isfinite(x)]
    if len(x) < 2 or not np.ptp(x):
        return math.nan
    mean, spread = float(np.mean(x)), float(np.std(x, ddof=1))
    return mean / spread if spread > SAME * abs(mean) else math.nan


def moments(returns: np.ndarray) -> tuple[float, float]:
    """``(skewness, kurtosis)`` of the returns, population moments; NaN are dropped."""
    x = np.asarray(returns, dtype=np.float64)
    x = x[np.isfinite(x)]
    if len(x) < 2 or not np.ptp(x):
        return math.nan, math.nan
    e = x - np.mean(x)
    variance = float(np.mean(e**2))
    if not variance > (SAME * float(np.mean(x))) ** 2:
        return math.nan, math.nan
    return float(np.mean(e**3)) / variance**1.5, float(np.mean(e**4)) / variance**2


def probabilistic_sharpe(
    ratio: float, periods: int, *, benchmark: float = 0.0, skew: float = 0.0, kurtosis: float = 3.0
) -> float:
    """PSR: probability that the true ratio is above ``benchmark``, both per period.

    periods: number of returns. NaN for fewer than two, and when the variance of the estimate is not positive:
    with moments of real returns (kurtosis ≥ skew² + 1) that is so only for returns that take two values.
    """
    variance = _variance(ratio, skew, kurtosis)
    if periods < 2 or not variance > 0:
        return math.nan
    return _NORMAL.cdf((ratio - benchmark) * math.sqrt((periods - 1) / variance))


def expected_maximum(trials: float, variance: float) -> float:
    """Expected best ratio of ``trials`` independent strategies whose true ratio is 0.

    variance: variance of the ratios across trials, per period. One trial gives 0, so that the
    deflated ratio falls back to the probabilistic one. ``trials`` may be an effective number. Between 1 and 2,
    where the approximation is bad (it is below 0 up to 1.6), its value at 2 is multiplied by ``√(trials − 1)``: so
    grows the expected best of two whose correlation is ``2 − trials``. ValueError for fewer than one trial, a
    negative variance, NaN.
    """
    if not (1.0 <= trials < math.inf and 0.0 <= variance < math.inf):
        raise ValueError(
            f"trials must be ≥ 1 and variance ≥ 0, both finite; found trials={trials}, "
            f"variance={variance}"
        )
    scale = math.sqrt(variance * min(trials - 1.0, 1.0))
    trials = max(trials, 2.0)
    first = _NORMAL.inv_cdf(1.0 - 1.0 / trials)
    second = _NORMAL.inv_cdf(1.0 - 1.0 / (trials * math.e))
    return scale * ((1.0 - EULER) * first + EULER * second)


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

    trials, variance: raw number and plain variance across trials, or effective number and the variance of an
    independent trial (``stats.trials``); a mixture of the two counts likeness twice. It is conservative: on noise
    DSR > 0.95 happens in 1.5 % of cases with 2 trials, 0.05 % with 10 (``docs/research/statistics.md``).
    """
    benchmark = expected_maximum(trials, variance)
    return probabilistic_sharpe(ratio, periods, benchmark=benchmark, skew=skew, kurtosis=kurtosis)


def minimum_track_record(
    ratio: float,
    *,
    benchmark: float = 0.0,
    confidence: float = 0.95,
    skew: float = 0.0,
    kurtosis: float = 3.0,
) -> float:
    """Periods needed for the PSR against ``benchmark`` to reach ``confidence``; inf if it never does.

    Source: Bailey & López de Prado (2012), equation 11. confidence: ½ or more, below 1.
    """
    if not 0.5 <= confidence < 1.0:
        raise ValueError(f"confidence must be at least 0.5 and below 1, found {confidence}")
    if not ratio > benchmark:
        return math.inf if not math.isnan(ratio) else math.nan
    z = _NORMAL.inv_cdf(confidence)
    return 1.0 + _variance(ratio, skew, kurtosis) * (z / (ratio - benchmark)) ** 2


def _variance(ratio: float, skew: float, kurtosis: float) -> float:
    return 1.0 - skew * ratio + (kurtosis - 1.0) / 4.0 * ratio**2
