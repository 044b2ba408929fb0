"""Second moments through time: exponential weights over a finite window, Newey–West, regime.

Weighted products of lag d are ``√(w_t w_{t−d}) x_t x_{t−d}'``: with the Bartlett kernel the result is then
positive semi-definite for any weights. Everything is a function of the window alone.
"""

from __future__ import annotations

import numpy as np

from wealthos_pipeline.portfolio.risk.model import Floats

REGIME_HALF_LIFE = 42
"""Sessions, of the volatility-regime adjustment (USE4S)."""
REGIME_SESSIONS = 4 * REGIME_HALF_LIFE
"""Its window: what is older weighs less than 1/16."""
REGIME_MIN = 60
"""Sessions with a bias statistic below which there is no adjustment."""
OUTLIER = 5.0
"""Standardised specific returns are cut here in the bias statistic: one event is no regime."""


def weights(sessions: int, half_life: float) -> Floats:
    """``0.5^(age / half_life)``, oldest first."""
    out: Floats = 0.5 ** (np.arange(sessions - 1, -1, -1) / half_life)
    return out


def scaled(x: Floats, half_life: float, *, centre: bool) -> Floats:
    """``√w (x − mean)`` with each column's weights summing to 1 over its own observations, gaps 0.

    x: sessions × series, NaN where missing. A series without any observation is 0.
    """
    w = np.isfinite(x) * weights(len(x), half_life)[:, None]
    total = w.sum(axis=0)
    w = w / np.where(total > 0, total, 1.0)
    value = np.where(np.isfinite(x), x, 0.0)
    if centre:
        value = value - (w * value).sum(axis=0)
    return np.sqrt(w) * value


def newey_west(x: Floats, half_life: float, lags: int) -> Floats:
    """Long-run covariance per session, series × series: ``Γ0 + Σ_d (1 − d/(L+1)) (Γ_d + Γ_d')``.

    x: sessions × series, oldest first. Newey & West (1987); positive semi-definite.
    """
    y = scaled(x, half_life, centre=True)
    out = y.T @ y
    for d in range(1, min(lags, len(y) - 1) + 1):
        cross = y[d:].T @ y[:-d]
        out += (1.0 - d / (lags + 1.0)) * (cross + cross.T)
    return out


def newey_west_variance(x: Floats, half_life: float, lags: int) -> Floats:
    """The same, the diagonal alone, of series with mean 0."""
    y = scaled(x, half_life, centre=False)
    out: Floats = (y**2).sum(axis=0)
    for d in range(1, min(lags, len(y) - 1) + 1):
        out = out + 2.0 * (1.0 - d / (lags + 1.0)) * (y[d:] * y[:-d]).sum(axis=0)
    return np.maximum(out, 0.0)


def standardised(x: Floats, sessions: int, half_life: float) -> Floats:
    """Each of the last sessions over the volatility forecast for it the session before.

    x: (last + sessions) × series. Result: last × series: ``x_t / σ_t`` with σ_t² the weighted mean of
    squares of the ``sessions`` before t (no lags: it is the volatility of one session). NaN where the
    value or half of the sessions before it is missing.
    """
    last = len(x) - sessions
    seen = np.isfinite(x)
    squares = np.where(seen, x, 0.0) ** 2
    w = weights(sessions, half_life)
    band = np.zeros((last, len(x)))
    for row in range(last):
        band[row, row : row + sessions] = w
    counts = np.concatenate([np.zeros((1, x.shape[1])), np.cumsum(seen, axis=0)])
    enough = (counts[sessions : sessions + last] - counts[:last]) >= 0.5 * sessions
    total = band @ seen.astype(np.float64)
    variance = np.divide(band @ squares, total, out=np.zeros_like(total), where=total > 0)
    usable = enough & seen[sessions:] & (variance > 1e-20)
    return np.where(usable, x[sessions:], np.nan) / np.sqrt(np.where(usable, variance, 1.0))


def regime(z: Floats) -> float:
    """Volatility multiplier λ: root of the weighted mean of squared bias statistics.

    z: sessions × series, standardised by their forecasts. A session's bias statistic is
    ``B_t = √(mean_k z_tk²)``; ``λ² = Σ w_t B_t² / Σ w_t`` with a half-life of 42 sessions. 1 where fewer
    than ``REGIME_MIN`` sessions have one. Menchero et al. (2011), section 4.3.
    """
    seen = np.isfinite(z)
    counts = seen.sum(axis=1)
    there = counts > 0
    if there.sum() < REGIME_MIN:
        return 1.0
    squares = np.where(seen, z, 0.0) ** 2
    bias = squares.sum(axis=1)[there] / counts[there]
    w = weights(len(z), REGIME_HALF_LIFE)[there]
    return float(np.sqrt((w * bias).sum() / w.sum()))


def factor_covariance(
    history: Floats, sessions: int, *, volatility: float, correlation: float, lags: tuple[int, int]
) -> tuple[Floats, float]:
    """F and the regime multiplier that is in it.

    history: (regime + sessions) × factors, oldest first. volatility, correlation: half-lives in
    sessions. lags: of variances and of correlations. ``F = λ² diag(σ) C diag(σ)``: variances and
    correlations each by Newey–West over the last ``sessions``, λ from the sessions of the regime.
    """
    own = history[-sessions:]
    variance = np.diag(newey_west(own, volatility, lags[0]))
    C = newey_west(own, correlation, lags[1])
    moving = (np.diag(C) > 1e-20) & (variance > 1e-20)
    root = np.where(moving, np.sqrt(np.where(moving, np.diag(C), 1.0)), 1.0)
    sigma = np.where(moving, np.sqrt(np.maximum(variance, 0.0)), 0.0)
    F = C / np.outer(root, root)
    F[np.diag_indices(len(F))] = 1.0
    multiplier = regime(standardised(history, sessions, volatility))
    F = multiplier**2 * F * np.outer(sigma, sigma)
    return 0.5 * (F + F.T), multiplier
