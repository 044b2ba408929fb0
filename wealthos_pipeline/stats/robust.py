"""Location and scale that a few bad prints cannot move."""

from __future__ import annotations

import numpy as np

NORMAL_SCALE = 1.482602218505602
"""1 / Φ⁻¹(¾): makes the median absolute deviation estimate σ of a normal distribution."""


def median_mad(values: np.ndarray) -> tuple[float, float]:
    """``(median, scaled median absolute deviation)``; NaN are dropped, NaN when nothing is left."""
    x = np.asarray(values, dtype=np.float64).ravel()
    x = x[~np.isnan(x)]
    if not len(x):
        return float("nan"), float("nan")
    centre = float(np.median(x))
    return centre, NORMAL_SCALE * float(np.median(np.abs(x - centre)))


def winsorise(values: np.ndarray, mads: float) -> np.ndarray:
    """``values`` cut at median ± ``mads`` scaled MADs; NaN stay; a MAD of 0 cuts nothing."""
    x = np.asarray(values, dtype=np.float64)
    centre, scale = median_mad(x)
    if not scale > 0:
        return x.copy()
    out: np.ndarray = np.clip(x, centre - mads * scale, centre + mads * scale)
    return out
