"""Backtests of value-at-risk forecasts from their exceptions.

Kupiec (1995): is the number of exceptions right? Christoffersen (1998): do they come in clusters?
Both are likelihood ratios with χ² p-values; with few expected exceptions their power is low, and
``kupiec_power`` and ``independence_power`` say how low. ``traffic_light`` is the Basel Committee's (1996). For CVaR
see ``stats.es_tests``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np


@dataclass(frozen=True, slots=True)
class LikelihoodRatio:
    """A likelihood-ratio statistic with its asymptotic p-value."""

    statistic: float
    p_value: float


@dataclass(frozen=True, slots=True)
class Coverage:
    """Christoffersen's tests: independence (χ² with 1 degree), conditional coverage (2)."""

    independence: LikelihoodRatio
    conditional: LikelihoodRatio


def kupiec(exceptions: int, observations: int, probability: float) -> LikelihoodRatio:
    """Proportion-of-failures test that exceptions happen with ``probability`` (0.05 for VaR 95 %)."""
    if not 0 <= exceptions <= observations or observations < 1 or not 0 < probability < 1:
        raise ValueError(
            "expected 0 ≤ exceptions ≤ observations, observations ≥ 1 and 0 < probability < 1; "
            f"found {exceptions}, {observations}, {probability}"
        )
    miss = observations - exceptions
    null = _loglik(exceptions, miss, probability)
    found = _loglik(exceptions, miss, exceptions / observations)
    return _ratio(null, found, 1)


def christoffersen(exceptions: np.ndarray, probability: float) -> Coverage:
    """Independence and conditional coverage of a series of exceptions in time order.

    exceptions: booleans, no missing values, at least two. Independence is tested against a
    first-order Markov chain, on the transitions; the conditional statistic is the Kupiec
    statistic on the same observations (all but the first) plus that of independence.
    """
    hits = np.asarray(exceptions, dtype=bool).ravel()
    if len(hits) < 2:
        raise ValueError(f"at least 2 observations are needed, found {len(hits)}")
    before, after = hits[:-1], hits[1:]
    n00, n01 = int(np.sum(~before & ~after)), int(np.sum(~before & after))
    n10, n11 = int(np.sum(before & ~after)), int(np.sum(before & after))
    pooled = (n01 + n11) / len(after)
    null = _loglik(n01 + n11, n00 + n10, pooled)
    chain = _loglik(n01, n00, _share(n01, n00)) + _loglik(n11, n10, _share(n11, n10))
    independence = _ratio(null, chain, 1)
    coverage = kupiec(n01 + n11, len(after), probability)
    both = coverage.statistic + independence.statistic
    return Coverage(independence, LikelihoodRatio(both, _chi2_sf(both, 2)))


def kupiec_power(observations: int, probability: float, true: float, size: float = 0.05) -> float:
    """Chance that ``kupiec`` rejects at ``size`` if exceptions happen with probability ``true``: exact.

    The sum of the binomial probabilities of all counts that are rejected. At ``true = probability`` it is the
    actual size of the test, which a discrete count keeps off the nominal one.
    """
    from scipy.special import bdtr

    n = observations
    if n < 1:
        return math.nan
    low, high = _accepted(n, probability, size)
    return float(1.0 - (bdtr(high, n, true) - (bdtr(low - 1, n, true) if low > 0 else 0.0)))


@lru_cache(maxsize=64)
def _accepted(n: int, probability: float, size: float) -> tuple[int, int]:
    """Smallest and largest count that Kupiec's test accepts: the ratio rises on both sides of n p."""
    centre = min(max(round(n * probability), 0), n)
    low = high = centre
    while low > 0 and kupiec(low - 1, n, probability).p_value >= size:
        low -= 1
    while high < n and kupiec(high + 1, n, probability).p_value >= size:
        high += 1
    return low, high


@lru_cache(maxsize=64)
def independence_power(
    observations: int,
    probability: float,
    after: float = 0.2,
    *,
    size: float = 0.05,
    draws: int = 500,
    seed: int = 1998,
) -> float:
    """Chance that the test of independence rejects at ``size`` where an exception follows upon an exception
    with probability ``after``, and the unconditional rate is ``probability``; simulated, seeded.
    """
    if observations < 2:
        return math.nan
    rng = np.random.default_rng(seed)
    calm = probability * (1.0 - after) / (1.0 - probability)
    state = rng.random(draws) < probability
    counts = np.zeros((4, draws), dtype=np.int64)
    for _ in range(observations - 1):
        then = rng.random(draws) < np.where(state, after, calm)
        counts[2 * state + then, np.arange(draws)] += 1
        state = then
    rejected = 0
    for n00, n01, n10, n11 in counts.T.tolist():
        null = _loglik(n01 + n11, n00 + n10, (n01 + n11) / (observations - 1))
        chain = _loglik(n01, n00, _share(n01, n00)) + _loglik(n11, n10, _share(n11, n10))
        rejected += _ratio(null, chain, 1).p_value < size
    return rejected / draws


def traffic_light(exceptions: int, observations: int, probability: float = 0.01) -> str:
    """green, yellow or red: the Basel Committee's zones (1996), for any number of observations.

    Yellow begins where so many exceptions or fewer have a probability of 95 % under a right forecast, red
    at 99.99 %: 5 and 10 of 250 at 99 %.
    """
    from scipy.special import bdtr

    below = float(bdtr(exceptions, observations, probability))
    return "green" if below < 0.95 else "yellow" if below < 0.9999 else "red"


def _share(hits: int, misses: int) -> float:
    return hits / (hits + misses) if hits + misses else 0.0


def _loglik(hits: int, misses: int, p: float) -> float:
    value = 0.0
    if hits:
        value += hits * math.log(p)
    if misses:
        value += misses * math.log1p(-p)
    return value


def _ratio(null: float, found: float, degrees: int) -> LikelihoodRatio:
    statistic = max(2.0 * (found - null), 0.0)
    return LikelihoodRatio(statistic, _chi2_sf(statistic, degrees))


def _chi2_sf(x: float, degrees: int) -> float:
    """Upper tail of χ² with 1 or 2 degrees of freedom, in closed form."""
    return math.erfc(math.sqrt(x / 2.0)) if degrees == 1 else math.exp(-x / 2.0)
