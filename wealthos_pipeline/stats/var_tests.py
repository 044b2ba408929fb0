"""Backtests of value-at-risk forecasts from their exceptions.

Kupiec (1995): is the number of exceptions right? Christoffersen (1998): do they come in clusters?
Both are likelihood ratios with χ² p-values; with few expected exceptions their power is low.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

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
