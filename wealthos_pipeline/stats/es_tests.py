"""Backtests of expected shortfall (CVaR): the first two tests of Acerbi & Székely (2014).

``X_t`` is a return, ``I_t`` whether ``−X_t`` exceeded VaR, p the tail probability, N = Σ I_t:

    ``Z1 = Σ (X_t I_t / ES_t) / N + 1``   given the exceptions, are they as large as ES says?
    ``Z2 = Σ (X_t I_t / (T p ES_t)) + 1``  number and size together.

Both are 0 in expectation where the forecasts are right, and negative where risk was understated.

The null has no closed form. Here it is simulated from the forecasts alone: an exception happens with
probability p, its loss is ``VaR + (ES − VaR) · E`` with E of mean 1, a generalised Pareto variable of shape
``SHAPE``, the tail of Student's t with 1 / SHAPE degrees of freedom. That is what is known of a forecast's tail
from its VaR and ES; the critical values hardly depend on the shape, as the paper's table 4 finds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

SHAPE = 0.2
DRAWS = 1000
SEED = 20140101
SIZE = 0.05


@dataclass(frozen=True, slots=True)
class Shortfall:
    """Statistics and one-sided p-values (small: CVaR was too small), and the powers of both at 5 %.

    power_z1: chance of rejection if excesses over VaR were twice what is forecast; power_z2: if exceptions
    were twice as frequent. NaN where there is no exception (Z1), or no observation.
    """

    z1: float
    p1: float
    z2: float
    p2: float
    power_z1: float
    power_z2: float


def statistics(returns: Floats, var: Floats, es: Floats, probability: float) -> tuple[float, float]:
    """``(Z1, Z2)``; Z1 is NaN without an exception. var, es: positive losses, as returns 1-D, no NaN."""
    hit = -returns > var
    ratio = returns[hit] / es[hit]
    count = int(hit.sum())
    total = math.fsum(ratio)
    z1 = total / count + 1.0 if count else math.nan
    return z1, total / (len(returns) * probability) + 1.0


def acerbi_szekely(
    returns: Floats,
    var: Floats,
    es: Floats,
    probability: float,
    *,
    shape: float = SHAPE,
    draws: int = DRAWS,
    seed: int = SEED,
) -> Shortfall:
    """Both tests; the same arguments give the same bits. ValueError if they do not fit each other."""
    n = len(returns)
    if not n == len(var) == len(es) or not 0 < probability < 1:
        raise ValueError(
            f"expected returns, var and es of one length and 0 < probability < 1; found {n}, {len(var)}, "
            f"{len(es)} and {probability}"
        )
    if not n or not (es > 0).all():
        return Shortfall(*[math.nan] * 6)
    z1, z2 = statistics(returns, var, es, probability)
    v = var / es
    null = _simulated(v, probability, probability, shape, draws, seed, 1.0)
    worse = _simulated(v, probability, probability, shape, draws, seed + 1, 2.0)
    often = _simulated(v, probability, min(2 * probability, 1.0), shape, draws, seed + 2, 1.0)
    return Shortfall(
        z1,
        _tail(null[0], z1),
        z2,
        _tail(null[1], z2),
        _power(null[0], worse[0]),
        _power(null[1], often[1]),
    )


def _simulated(
    v: Floats,
    nominal: float,
    true: float,
    shape: float,
    draws: int,
    seed: int,
    stretch: float,
) -> tuple[Floats, Floats]:
    """``draws`` of Z1 and Z2 where exceptions have the probability ``true`` and excesses over VaR are
    ``stretch`` times what is forecast. v: VaR over ES."""
    draw, at, excess = _exceptions(len(v), true, shape, draws, seed)
    loss = v[at] + stretch * (1.0 - v[at]) * excess
    total = np.bincount(draw, weights=loss, minlength=draws)
    count = np.bincount(draw, minlength=draws)
    z1 = np.where(count > 0, 1.0 - total / np.maximum(count, 1), np.nan)
    return z1, 1.0 - total / (len(v) * nominal)


@lru_cache(maxsize=16)
def _exceptions(
    n: int, probability: float, shape: float, draws: int, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], Floats]:
    """Draw, observation and size (mean 1) of each exception of ``draws`` samples of n observations."""
    rng = np.random.default_rng(seed)
    block = max(1, 4_000_000 // max(n, 1))
    draw, at = [], []
    for first in range(0, draws, block):
        hit = rng.random((min(block, draws - first), n)) < probability
        d, t = np.nonzero(hit)
        draw.append(d + first)
        at.append(t)
    which = np.concatenate(draw).astype(np.int64)
    u = 1.0 - rng.random(len(which))
    size = -np.log(u) if shape == 0 else (1.0 - shape) * (u**-shape - 1.0) / shape
    return which, np.concatenate(at).astype(np.int64), size


def _tail(null: Floats, z: float) -> float:
    """Share of the null at or below z, the sample itself counted among them."""
    if math.isnan(z):
        return math.nan
    known = null[np.isfinite(null)]
    return (1 + int((known <= z).sum())) / (len(known) + 1)


def _power(null: Floats, other: Floats) -> float:
    known, seen = null[np.isfinite(null)], other[np.isfinite(other)]
    if not len(known) or not len(seen):
        return math.nan
    return float((seen <= np.quantile(known, SIZE)).mean())
