"""Specific volatility: of each name's own residuals, of names like it, and shrunk towards their mean.

Steps, after Menchero et al. (2011), section 5: EWMA with Newey–West over the name's residuals; a name
with fewer than ``YOUNG + GROWN`` observations is blended with what its exposures say (a regression of
log volatility across the grown names; their median if they are too few), a name with ``YOUNG`` or fewer
has that alone; Bayesian shrinkage towards the mean of its size bucket; the volatility regime.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from wealthos_pipeline.portfolio.risk.model import VOLATILITY_FLOOR, Floats
from wealthos_pipeline.portfolio.risk.timeseries import (
    OUTLIER,
    newey_west_variance,
    regime,
    standardised,
)

YOUNG = 60
"""Observations up to which a name's own residuals say nothing."""
GROWN = 120
"""Further ones after which they say everything."""
SHRINKAGE = 0.1
"""q of the Bayesian shrinkage: 0 is none (USE4)."""
BUCKETS = 5
"""Size buckets, where there are ``BUCKET_NAMES`` names for each."""
BUCKET_NAMES = 10
FLOOR_SHARE = 0.2
"""Specific volatility is at least this share of the median: no name is riskless by itself."""


def specific(
    residuals: Floats,
    X: Floats,
    size: Floats | None,
    sessions: int,
    *,
    half_life: float,
    lags: int,
) -> tuple[Floats, float]:
    """Daily specific volatilities and the regime multiplier that is in them.

    residuals: (regime + sessions) × n, oldest first, NaN where there is none. X: n × K exposures.
    size: median dollar volume of the names, NaN where unknown; None where it is not known at all.
    """
    own = residuals[-sessions:]
    observations = np.isfinite(own).sum(axis=0).astype(np.float64)
    sigma = np.sqrt(newey_west_variance(own, half_life, lags))
    sigma = blended(sigma, observations, X)
    sigma = shrunk(sigma, buckets(size, len(sigma)))
    z = np.clip(standardised(residuals, sessions, half_life), -OUTLIER, OUTLIER)
    multiplier = regime(z)
    sigma = multiplier * sigma
    floor = max(VOLATILITY_FLOOR, FLOOR_SHARE * float(np.median(sigma)))
    return np.maximum(sigma, floor), multiplier


def blended(sigma: Floats, observations: Floats, X: Floats) -> Floats:
    """Own volatility and the structural one, by how long the name has been seen."""
    trust = np.clip((observations - YOUNG) / GROWN, 0.0, 1.0)
    trust = np.where(sigma > VOLATILITY_FLOOR / 10, trust, 0.0)
    if (trust >= 1.0).all():
        return sigma
    grown = trust >= 1.0
    if not grown.any():
        seen = sigma[sigma > 0]
        middle = float(np.median(seen)) if len(seen) else VOLATILITY_FLOOR
        return trust * sigma + (1.0 - trust) * middle
    structural = np.full(len(sigma), float(np.median(sigma[grown])))
    if grown.sum() >= 3 * X.shape[1]:
        coefficients = np.linalg.lstsq(X[grown], np.log(sigma[grown]), rcond=1e-8)[0]
        fitted = np.exp(X @ coefficients)
        level = float((sigma[grown] / fitted[grown]).mean())
        low, high = float(sigma[grown].min()), float(sigma[grown].max())
        structural = np.clip(level * fitted, low, high)
    return trust * sigma + (1.0 - trust) * structural


def buckets(size: Floats | None, n: int) -> NDArray[np.int64]:
    """Number of each name's size bucket; names of unknown size form one of their own."""
    out = np.zeros(n, dtype=np.int64)
    if size is None or n < BUCKETS * BUCKET_NAMES:
        return out
    known = np.flatnonzero(np.isfinite(size))
    if len(known) < BUCKETS * BUCKET_NAMES:
        return out
    order = known[np.argsort(size[known], kind="stable")]
    out[:] = BUCKETS
    out[order] = np.arange(len(order)) * BUCKETS // len(order)
    return out


def shrunk(sigma: Floats, bucket: NDArray[np.int64]) -> Floats:
    """``v m + (1 − v) σ`` with m the bucket's mean, ``v = q|σ − m| / (Δ + q|σ − m|)``, Δ its deviation.

    Menchero et al. (2011), equations 5.8 to 5.10: the farther out, the more is taken to be luck.
    """
    out = sigma.copy()
    for b in range(int(bucket.max(initial=0)) + 1):
        inside = bucket == b
        if not inside.any():
            continue
        mean = float(sigma[inside].mean())
        away = np.abs(sigma[inside] - mean)
        deviation = float(np.sqrt((away**2).mean()))
        if deviation > 0:
            v = SHRINKAGE * away / (deviation + SHRINKAGE * away)
            out[inside] = v * mean + (1.0 - v) * sigma[inside]
    return out
