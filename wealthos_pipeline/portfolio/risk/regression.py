"""Returns of fundamental factors on one session: weighted least squares across names, by QR.

``r_i = f_market + Σ_s D_is f_s + Σ_k X_ik f_k + u_i`` with weights v_i and ``Σ_s c_s f_s = 0``, where c_s
is the sum of the weights of the sector's names: sectors are measured against the market, and the
market is the weighted mean return where styles are 0. The constraint is put in by writing the return
of the heaviest sector as that of the others (Heston & Rouwenhorst 1994; Menchero et al., "The Barra US
Equity Model (USE4)", 2011, section 2).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wealthos_pipeline.portfolio.risk.model import Floats

COLLINEAR = 1e-7
"""A column is dropped if this share of its length, or less, is left beside the columns before it."""


@dataclass(frozen=True, eq=False)
class Fit:
    """One cross-section. f, t: by label, NaN where dropped. residual: by name, NaN where no return.

    dropped: numbers of labels that are combinations of those before them.
    """

    f: Floats
    t: Floats
    residual: Floats
    dropped: tuple[int, ...]


def fit(X: Floats, sectors: int, returns: Floats, weights: Floats) -> Fit | None:
    """Factor returns of one session; None with fewer names with a return than factors + 2.

    X: n × K, known the day before: the market's ones, ``sectors`` dummies, styles. returns: n, NaN
    where there is none. weights: n, positive.
    """
    n, K = X.shape
    there = np.isfinite(returns)
    if there.sum() < K + 2:
        return None
    A, r, v = X[there], returns[there], weights[there]
    v = v / v.mean()
    root = np.sqrt(v)
    free, T = _free(A, sectors, v)
    kept = list(range(free.shape[1]))
    M = root[:, None] * free
    lengths = np.sqrt((M**2).sum(axis=0))
    Q, R = np.linalg.qr(M)
    left = np.abs(np.diag(R)) > COLLINEAR * np.where(lengths > 0, lengths, np.inf)
    if not left.all():
        kept = np.flatnonzero(left).tolist()
        Q, R = np.linalg.qr(np.ascontiguousarray(M[:, kept]))
    y = root * r
    inverse = np.linalg.inv(R)
    g = inverse @ (Q.T @ y)
    rest = y - M[:, kept] @ g
    variance = float((rest**2).sum()) / (len(r) - len(kept))
    T = T[:, kept]
    spread = T @ inverse
    f = T @ g
    error = np.sqrt(variance * (spread**2).sum(axis=1))
    missing = (T == 0.0).all(axis=1)
    t = np.divide(f, error, out=np.full(K, np.nan), where=~missing & (error > 0))
    residual = np.full(n, np.nan)
    residual[there] = rest / root
    return Fit(np.where(missing, np.nan, f), t, residual, tuple(np.flatnonzero(missing).tolist()))


def _free(A: Floats, sectors: int, v: Floats) -> tuple[Floats, Floats]:
    """Columns without the constraint, and T (K × free) that gives the factor returns back."""
    K = A.shape[1]
    if not sectors:
        return A, np.eye(K)
    heavy = v @ A[:, 1 : 1 + sectors]
    last = int(heavy.argmax())
    T = np.delete(np.eye(K), 1 + last, axis=1)
    others = [s for s in range(sectors) if s != last]
    for column, s in enumerate(others, start=1):
        T[1 + last, column] = -heavy[s] / heavy[last]
    return np.ascontiguousarray(A @ T), T


def regression_weights(median_volume: Floats) -> Floats:
    """√(median dollar volume), cut at its 95 % quantile; names without one get the median of the others.

    The regression's errors are taken to have variance 1/√size, as size is what is left of market value
    where that is unknown.
    """
    known = np.isfinite(median_volume) & (median_volume > 0)
    root = np.sqrt(median_volume[known])
    out = np.full(len(median_volume), float(np.median(root)))
    out[known] = root
    return np.minimum(out, float(np.quantile(out, 0.95)))


def inverse_variances(variance: Floats) -> Floats:
    """1 / specific variance, which is bounded to [1/10, 10] of its median; NaN get the median."""
    known = np.isfinite(variance) & (variance > 0)
    if not known.any():
        return np.ones(len(variance))
    middle = float(np.median(variance[known]))
    out = np.where(known, variance, middle)
    return 1.0 / np.clip(out, middle / 10.0, middle * 10.0)
