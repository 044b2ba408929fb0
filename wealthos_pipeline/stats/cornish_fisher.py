"""The Cornish–Fisher quantile of a distribution with known skewness and kurtosis, where it is one.

``z(q) = q + (q² − 1) s / 6 + (q³ − 3q) k / 24 − (2q³ − 5q) s² / 36`` turns a normal q into a skewed,
fat-tailed z. Two things are often forgotten (Maillard 2012, "A user's guide to the Cornish Fisher
expansion"): s and k are parameters, and the skewness and kurtosis of z are others, so they are
solved for here; and z must rise with q everywhere, or it is no quantile function:

    ``s² / 9 ≤ 4 (k / 8 − s² / 6) (1 − k / 8 + 5 s² / 36)``, with ``k / 8 ≥ s² / 6``.

Outside that domain there is no value: NaN.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(9)
"""Exact for polynomials to degree 17; the fourth power of z has degree 12."""
_WEIGHTS = _WEIGHTS / _WEIGHTS.sum()
STEPS = 60
TOLERANCE = 1e-10


@dataclass(frozen=True, eq=False)
class Expansion:
    """Parameters s and k (n of each), and the standard deviation of z; NaN where there are none."""

    s: Floats
    k: Floats
    scale: Floats

    def quantile(self, probability: float) -> Floats:
        """Standardised quantile (mean 0, variance 1), n of them."""
        q = NormalDist().inv_cdf(probability)
        return _z(q, self.s, self.k) / self.scale

    def tail_mean(self, probability: float) -> Floats:
        """Mean of what lies below ``quantile(probability)``: the moments of a truncated normal."""
        q = NormalDist().inv_cdf(probability)
        density = NormalDist().pdf(q) / probability
        m1, m2, m3 = -density, 1.0 - q * density, -(q * q + 2.0) * density
        s, k = self.s, self.k
        z = (
            m1
            + (m2 - 1.0) * s / 6.0
            + (m3 - 3.0 * m1) * k / 24.0
            - (2.0 * m3 - 5.0 * m1) * s * s / 36.0
        )
        return z / self.scale


def fit(skewness: Floats, excess_kurtosis: Floats) -> Expansion:
    """The expansion whose z has these moments; NaN where there is none within the domain.

    skewness, excess_kurtosis: 1-D of the same length; NaN gives NaN. Newton's method with halved
    steps, elementwise: a value does not depend on its neighbours.
    """
    want_s, want_k = np.asarray(skewness, np.float64), np.asarray(excess_kurtosis, np.float64)
    s, k = np.zeros(len(want_s)), np.zeros(len(want_s))
    best = np.full(len(want_s), np.inf)
    step_s, step_k = want_s * 0.5, np.clip(want_k, -1.0, 4.0) * 0.5
    base_s, base_k = s, k
    reach = np.ones(len(want_s))
    for _ in range(STEPS):
        s, k = base_s + reach * step_s, base_k + reach * step_k
        got_s, got_k, jacobian = _moments_and_slopes(s, k)
        miss_s, miss_k = got_s - want_s, got_k - want_k
        size = np.abs(miss_s) + np.abs(miss_k)
        # what has arrived stays: how often others are tried must not change it
        better = (size < best) & (best > TOLERANCE)
        best = np.where(better, size, best)
        base_s, base_k = np.where(better, s, base_s), np.where(better, k, base_k)
        a, b, c, d = jacobian
        det = a * d - b * c
        det = np.where(np.abs(det) > 1e-12, det, np.inf)
        step_s = np.where(better, -(d * miss_s - b * miss_k) / det, step_s)
        step_k = np.where(better, -(a * miss_k - c * miss_s) / det, step_k)
        reach = np.where(better, 1.0, 0.5 * reach)
        if not (best > TOLERANCE).any():
            break
    good = (best <= 1e-8) & valid(base_s, base_k)
    s, k = np.where(good, base_s, np.nan), np.where(good, base_k, np.nan)
    return Expansion(s, k, np.sqrt(_second(s, k)))


def valid(s: Floats, k: Floats) -> NDArray[np.bool_]:
    """Whether z rises with q everywhere for the parameters s and k (Maillard 2012, section 2)."""
    lead, level = k / 8.0 - s * s / 6.0, 1.0 - k / 8.0 + 5.0 * s * s / 36.0
    out: NDArray[np.bool_] = (lead >= 0) & (s * s / 9.0 <= 4.0 * lead * level)
    return out


def _z(q: float | Floats, s: Floats, k: Floats) -> Floats:
    q2 = q * q
    out: Floats = q + (q2 - 1) * s / 6 + (q2 - 3) * q * k / 24 - (2 * q2 - 5) * q * s * s / 36
    return out


def _second(s: Floats, k: Floats) -> Floats:
    total = np.zeros(len(s))
    for q, weight in zip(_NODES.tolist(), _WEIGHTS.tolist(), strict=True):
        total += weight * _z(q, s, k) ** 2
    return total


def _moments_and_slopes(
    s: Floats, k: Floats
) -> tuple[Floats, Floats, tuple[Floats, Floats, Floats, Floats]]:
    """Skewness and excess kurtosis of z, and their derivatives by s and by k.

    The mean of z is 0 for any s and k: its terms are Hermite polynomials, or odd.
    """
    n = len(s)
    m = {p: np.zeros(n) for p in (2, 3, 4)}
    by_s = {p: np.zeros(n) for p in (2, 3, 4)}
    by_k = {p: np.zeros(n) for p in (2, 3, 4)}
    for q, weight in zip(_NODES.tolist(), _WEIGHTS.tolist(), strict=True):
        z = _z(q, s, k)
        slope_s = (q * q - 1) / 6 - (2 * q * q - 5) * q * s / 18
        slope_k = (q * q - 3) * q / 24
        power = z
        for p in (2, 3, 4):
            by_s[p] += weight * p * power * slope_s
            by_k[p] += weight * p * power * slope_k
            power = power * z
            m[p] += weight * power
    root = np.sqrt(m[2])
    skew, kurt = m[3] / (root * m[2]), m[4] / (m[2] * m[2])
    ds = by_s[3] / (root * m[2]) - 1.5 * skew * by_s[2] / m[2]
    dk = by_k[3] / (root * m[2]) - 1.5 * skew * by_k[2] / m[2]
    es = by_s[4] / (m[2] * m[2]) - 2.0 * kurt * by_s[2] / m[2]
    ek = by_k[4] / (m[2] * m[2]) - 2.0 * kurt * by_k[2] / m[2]
    return skew, kurt - 3.0, (ds, dk, es, ek)
