"""A statistical factor model: principal components of the correlations, with a fixed rule for signs.

From the daily total returns of the ``risk_sessions`` sessions that end with the date:

- sessions are weighted ``0.5^(age / risk_half_life)``, ages in calendar slots;
- a name's mean and volatility come from its own observations, weights renormalised over them. Its
  returns are standardised; a missing one is 0 there (its expected value) for the principal
  components only;
- the components of the weighted correlation matrix are those of the largest k eigenvalues, in
  falling order, ``k = min(risk_factors, max(1, n // 5))``; each is turned so that its loadings sum
  to a positive number (if they sum to 0: so that the largest is positive). Order and sign depend on
  the date's own data only, never on the date before;
- with ``risk_denoise`` only eigenvalues above the Marchenko–Pastur edge count (``above_the_edge``);
- a name with gaps gets its exposures by weighted least squares of its own observations on the
  factor returns of those sessions, so that gaps do not shrink them; a name without gaps gets the
  same from its loadings directly;
- specific volatility is that of the weighted residuals, shrunk towards the median of the names
  by ``20 / (20 + effective observations)`` and at least 10 % of the name's volatility and 1e-4.

Exposures are in units of return: ``r_i = Σ_k B_ik f_k + e_i``; a factor's variance is the share of
the standardised variance that it explains. Everything is daily. Computed on one BLAS thread:
the same bits with any number of threads and any length of history before the window.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import numpy as np

from wealthos_pipeline.portfolio.risk.eigen import largest, signs
from wealthos_pipeline.portfolio.risk.model import VOLATILITY_FLOOR, Floats, RiskModel
from wealthos_pipeline.utils.config import PortfolioSettings

PRIOR_OBSERVATIONS = 20.0
"""Weight of the cross-sectional median in a name's specific volatility."""
SPECIFIC_SHARE = 0.1
"""Specific volatility is at least this share of the name's volatility."""


def above_the_edge(values: Floats, trace: float, size: int, observations: float) -> int:
    """How many of the largest eigenvalues stand out of the noise; at least 1 if there are any.

    values: the largest eigenvalues of a correlation matrix of ``size`` names, falling. trace: sum of
    all. observations: effective ones, ``(Σw)² / Σw²`` with weights. The edge is that of Marchenko &
    Pastur (1967), ``σ² (1 + √(size / observations))²``, with σ² the mean eigenvalue without the first,
    the market's (Laloux, Cizeau, Bouchaud & Potters 1999). Taking out more of them would lower σ² below
    the noise of names that the factors explain little of. With exponential weights the edge holds
    approximately.
    """
    if len(values) < 2:
        return len(values)
    noise = (trace - float(values[0])) / (size - 1)
    edge = noise * (1.0 + float(np.sqrt(size / observations))) ** 2
    return max(int((values > edge).sum()), 1)


def from_returns(
    window: Floats, ids: Sequence[str], day: date, settings: PortfolioSettings
) -> RiskModel:
    """The risk model of one window of daily returns.

    window: sessions × names, oldest first, NaN where there is no return; names as in ``ids``.
    Call it under ``threadpool_limits(1)`` where the bits matter.
    """
    S, n = window.shape
    weight = 0.5 ** (np.arange(S - 1, -1, -1) / settings.risk_half_life)
    seen = np.isfinite(window)
    there = seen.any(axis=1)  # sessions before the data begin are no gaps of anybody
    if not there.all():
        window, weight, seen = window[there], weight[there], seen[there]
    S = len(window)
    w = seen * weight[:, None]
    total = w.sum(axis=0)
    known = np.where(seen, window, 0.0)
    mean = (w * known).sum(axis=0) / total
    centred = (known - mean) * seen
    sigma = np.sqrt((w * centred**2).sum(axis=0) / total)
    moving = sigma > 1e-12
    Z = np.where(moving, centred / np.where(moving, sigma, 1.0), 0.0)
    Y = Z * np.sqrt(weight / weight.sum())[:, None]

    k = min(settings.risk_factors, max(1, n // 5), S) if n > 1 else 0
    if k:
        dual = n > S
        gram = Y @ Y.T if dual else Y.T @ Y
        values, vectors = largest(gram, k)
        keep = values > 1e-10 * max(values[0], 1e-300)
        values, vectors = values[keep], vectors[:, keep]
        if settings.risk_denoise and len(values):
            effective = float(weight.sum() ** 2 / (weight**2).sum())
            found = above_the_edge(values, float(np.trace(gram)), n, effective)
            values, vectors = values[:found], vectors[:, :found]
        V = (Y.T @ vectors) / np.sqrt(values) if dual else vectors
        V = np.ascontiguousarray(V * signs(V))
        k = len(values)
    if not k:
        values, V = np.empty(0), np.empty((n, 0))

    loadings = V * np.sqrt(n)
    residual = np.maximum(1.0 - ((V**2) * values).sum(axis=1), 0.0)
    gappy = np.flatnonzero(moving & ~seen.all(axis=0))
    if k and len(gappy):
        f = (Z @ V) / np.sqrt(n)
        own = np.ascontiguousarray(w[:, gappy])
        squares = (f[:, :, None] * f[:, None, :]).reshape(S, k * k)
        normal = (own.T @ squares).reshape(len(gappy), k, k)
        ridge = 1e-12 * np.trace(normal, axis1=1, axis2=2)[:, None, None] * np.eye(k)
        found_loadings = np.linalg.solve(normal + ridge, ((own * Z[:, gappy]).T @ f)[:, :, None])
        loadings[gappy] = found_loadings[:, :, 0]
        rest = Z[:, gappy] - f @ loadings[gappy].T
        residual[gappy] = (own * rest**2).sum(axis=0) / total[gappy]

    specific = sigma * np.sqrt(residual)
    observations = total**2 / (w**2).sum(axis=0)
    pull = PRIOR_OBSERVATIONS / (PRIOR_OBSERVATIONS + observations)
    specific = (1.0 - pull) * specific + pull * np.median(specific)
    specific = np.maximum(np.maximum(specific, SPECIFIC_SHARE * sigma), VOLATILITY_FLOOR)
    return RiskModel(
        date=day,
        ids=tuple(ids),
        factors=components(k),
        B=np.ascontiguousarray(loadings * sigma[:, None]),
        F=np.diag(values / n),
        d=np.ascontiguousarray(specific),
    )


def components(k: int) -> tuple[str, ...]:
    """``pc01`` …: as many digits as let the names ascend."""
    digits = max(2, len(str(k)))
    return tuple(f"pc{i + 1:0{digits}d}" for i in range(k))
