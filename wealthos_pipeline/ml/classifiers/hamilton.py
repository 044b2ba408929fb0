"""Two-state Markov-switching Gaussian: Hamilton's (1989) filter and an EM with fixed iterations.

Sequential loops in a fixed order, compiled; no fastmath, no LAPACK. A test compares the fit with
statsmodels' ``MarkovRegression``.
"""

from __future__ import annotations

import math

import numba
import numpy as np

ITERATIONS = 200


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def filtered(x: np.ndarray, parameters: np.ndarray) -> np.ndarray:
    """P(state 1 | x up to and including t), from the stationary distribution before the first x.

    parameters: means (2), variances (2), P(stay in 0), P(stay in 1).
    """
    out = np.empty(x.size)
    m0, m1, v0, v1, p00, p11 = parameters
    prior = (1.0 - p00) / (2.0 - p00 - p11)
    for t in range(x.size):
        a = -0.5 * (math.log(v0) + (x[t] - m0) ** 2 / v0)
        b = -0.5 * (math.log(v1) + (x[t] - m1) ** 2 / v1)
        top = max(a, b)
        f0 = (1.0 - prior) * math.exp(a - top)
        f1 = prior * math.exp(b - top)
        now = f1 / (f0 + f1)
        out[t] = now
        prior = now * p11 + (1.0 - now) * (1.0 - p00)
    return out


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def log_likelihood(x: np.ndarray, parameters: np.ndarray) -> float:
    """Log-likelihood of ``x`` under ``parameters``."""
    m0, m1, v0, v1, p00, p11 = parameters
    prior = (1.0 - p00) / (2.0 - p00 - p11)
    total = 0.0
    for t in range(x.size):
        a = -0.5 * (math.log(2.0 * math.pi * v0) + (x[t] - m0) ** 2 / v0)
        b = -0.5 * (math.log(2.0 * math.pi * v1) + (x[t] - m1) ** 2 / v1)
        top = max(a, b)
        f0 = (1.0 - prior) * math.exp(a - top)
        f1 = prior * math.exp(b - top)
        total += top + math.log(f0 + f1)
        now = f1 / (f0 + f1)
        prior = now * p11 + (1.0 - now) * (1.0 - p00)
    return total


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def fit(x: np.ndarray, iterations: int) -> np.ndarray:
    """Parameters after ``iterations`` of EM (Hamilton 1990), state 1 having the larger variance.

    Starts from half and two and a half times the sample's variance. The layout is that of
    ``filtered``. Variances are kept above 1e-4 of the sample's, probabilities of staying within
    [0.5, 0.9995].
    """
    n = x.size
    mean = 0.0
    for t in range(n):
        mean += x[t]
    mean /= n
    variance = 0.0
    for t in range(n):
        variance += (x[t] - mean) ** 2
    variance /= n
    floor = 1e-4 * variance
    p = np.array([mean, mean, 0.5 * variance, 2.5 * variance, 0.97, 0.94])
    ahead = np.empty(n)
    now = np.empty(n)
    for _ in range(iterations):
        m0, m1, v0, v1, p00, p11 = p
        prior = (1.0 - p00) / (2.0 - p00 - p11)
        for t in range(n):
            ahead[t] = prior
            a = -0.5 * (math.log(v0) + (x[t] - m0) ** 2 / v0)
            b = -0.5 * (math.log(v1) + (x[t] - m1) ** 2 / v1)
            top = max(a, b)
            f0 = (1.0 - prior) * math.exp(a - top)
            f1 = prior * math.exp(b - top)
            now[t] = f1 / (f0 + f1)
            prior = now[t] * p11 + (1.0 - now[t]) * (1.0 - p00)
        # Kim's (1994) smoother backwards, gathering what the M step needs
        s = now[n - 1]
        w1 = s
        x0, x1 = (1.0 - s) * x[n - 1], s * x[n - 1]
        xx0, xx1 = (1.0 - s) * x[n - 1] ** 2, s * x[n - 1] ** 2
        from0, from1, stay0, stay1 = 0.0, 0.0, 0.0, 0.0
        for t in range(n - 2, -1, -1):
            r1 = s / ahead[t + 1]
            r0 = (1.0 - s) / (1.0 - ahead[t + 1])
            j11 = now[t] * p11 * r1
            j10 = now[t] * (1.0 - p11) * r0
            j00 = (1.0 - now[t]) * p00 * r0
            j01 = (1.0 - now[t]) * (1.0 - p00) * r1
            s = j11 + j10
            stay0 += j00
            stay1 += j11
            from0 += j00 + j01
            from1 += s
            w1 += s
            x0 += (1.0 - s) * x[t]
            x1 += s * x[t]
            xx0 += (1.0 - s) * x[t] ** 2
            xx1 += s * x[t] ** 2
        w0 = n - w1
        if w0 < 1.0 or w1 < 1.0:
            break
        m0, m1 = x0 / w0, x1 / w1
        p = np.array(
            [
                m0,
                m1,
                max(xx0 / w0 - m0 * m0, floor),
                max(xx1 / w1 - m1 * m1, floor),
                min(max(stay0 / from0, 0.5), 0.9995),
                min(max(stay1 / from1, 0.5), 0.9995),
            ]
        )
    if p[2] > p[3]:
        p = np.array([p[1], p[0], p[3], p[2], p[5], p[4]])
    return p
