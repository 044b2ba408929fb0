"""How many independent things were tried, and how far apart their Sharpe ratios lie.

Trials resemble each other: a hundred variants of one idea are not a hundred ideas. ``effective_trials`` says how
many independent ones they are worth; the raw number belongs beside it wherever it is shown.

The rule: ``N̂ = Σ min(λ, 1)`` over the eigenvalues λ of the trials' correlations. With equal correlations ρ it is
``ρ + (1 − ρ) N``, which is that of Bailey & López de Prado (2014), appendix 3; where trials come in clusters or as
each other's opposites, which a mean correlation cannot see, it counts the clusters. It is Li & Ji's (2005) rule
without the fractional parts of large eigenvalues, which make theirs jump. Correlations that are only noise are
shrunk towards 0 first (Schäfer & Strimmer 2005), so that few periods do not make independent trials look alike.

Alike trials also have Sharpe ratios that lie near each other: of worthless ones the variance across trials is
``(1 − ρ̄) / T``, that of each ``1 / T``. To deflate by N̂ *and* by the first counts the likeness twice, and lets
noise through in 10 % of cases at 5 % (``docs/research/statistics.md``); ``trial_variance`` adds what is missing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

SHORT = 0.5
"""Returns over less than this share of the periods of the longest do not say how far apart ratios lie: theirs are
mostly noise, and of another size than that of the others. They count as trials all the same."""

Rule = Literal["eigenvalues", "mean_correlation", "participation"]


@dataclass(frozen=True, slots=True)
class Deflation:
    """What a Sharpe ratio has to be deflated by.

    raw: trials. effective: independent ones that they are worth, 1 ≤ effective ≤ raw. variance: of the per-period
    ratio of an independent trial; 0 where fewer than two ratios are known.
    """

    raw: int
    effective: float
    variance: float


def effective_trials(returns: np.ndarray, *, rule: Rule = "eigenvalues") -> float:
    """Number of independent trials that the columns of ``returns`` are worth, from 1 to their number.

    returns: (T, k) per-period returns, one column a trial, k ≥ 1; NaN where a trial has none, correlations are over
    the periods that two have in common. What cannot be correlated (constant, fewer than three periods in common)
    counts as independent. rule: ``eigenvalues`` as the module says; ``mean_correlation`` Bailey & López de Prado's
    ``ρ̄ + (1 − ρ̄) k``; ``participation`` the participation ratio ``(Σλ)² / Σλ²``. ValueError without columns.
    """
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1, "blas"):  # the bits must not depend on the number of threads
        return _effective(*_correlations(returns), rule)


def _effective(r: np.ndarray, n: np.ndarray, rule: Rule = "eigenvalues") -> float:
    k = len(r)
    if k == 1:
        return 1.0
    if rule == "mean_correlation":
        rho = _mean_off_diagonal(r)
        found = rho + (1.0 - rho) * k
    elif rule == "participation":
        found = k * k / float(np.sum(_shrunk(r, n) ** 2))
    else:
        found = float(np.sum(np.clip(np.linalg.eigvalsh(_shrunk(r, n)), 0.0, 1.0)))
    return min(max(found, 1.0), float(k))


def mean_correlation(returns: np.ndarray) -> float:
    """Mean correlation among the columns of ``returns`` (as in ``effective_trials``); 0 for one column."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1, "blas"):
        return _mean_off_diagonal(_correlations(returns)[0])


def trial_variance(
    sharpes: np.ndarray, *, mean_correlation: float = 0.0, periods: float = math.inf
) -> float:
    """Variance of the per-period Sharpe ratio of an independent trial, from those of ``sharpes``; NaN are dropped.

    The sample variance (ddof 1), which is Bailey & López de Prado's V, and what their likeness has taken away from
    it: ``ρ̄ / T``, with T ``periods`` of returns (where they differ, their harmonic mean). Use that with
    ``effective_trials``, and the plain variance (neither argument) with the raw number. A negative correlation takes
    nothing away. 0 for fewer than two ratios.
    """
    x = np.asarray(sharpes, dtype=np.float64).ravel()
    x = x[np.isfinite(x)]
    if len(x) < 2:
        return 0.0
    return float(np.var(x, ddof=1)) + max(mean_correlation, 0.0) / periods


def long_enough(returns: np.ndarray) -> np.ndarray:
    """Which columns of ``returns`` (T, k) have ``SHORT`` of the periods of the longest: booleans (k,)."""
    counts = np.isfinite(np.asarray(returns, dtype=np.float64)).sum(axis=0)
    out: np.ndarray = counts >= SHORT * counts.max(initial=0)
    return out


def typical_periods(returns: np.ndarray) -> float:
    """Harmonic mean of the periods that the columns of ``returns`` (T, k) have; inf without any."""
    counts = np.isfinite(np.asarray(returns, dtype=np.float64)).sum(axis=0)
    counts = counts[counts > 1]
    return float(len(counts) / np.sum(1.0 / counts)) if len(counts) else math.inf


def deflation(
    returns: np.ndarray, *, further: int = 0, sharpes: np.ndarray | None = None
) -> Deflation:
    """What to deflate by: the trials whose returns are known, and others that were tried.

    returns: (T, k) as in ``effective_trials``; k may be 0. further: trials without returns; each counts as
    independent. sharpes: their per-period ratios where known, for the variance. The variance is of the ratios of
    those that are ``long_enough``.
    """
    x = np.asarray(returns, dtype=np.float64)
    if x.ndim != 2 or further < 0:
        raise ValueError(
            f"returns must be periods × trials and further ≥ 0; found shape {x.shape}, {further}"
        )
    k = x.shape[1]
    if not k and not further:
        raise ValueError("no trial: nothing to deflate by")
    from threadpoolctl import threadpool_limits

    rho, effective, long = 0.0, 0.0, long_enough(x)
    if k:
        with threadpool_limits(1, "blas"):
            r, n = _correlations(x)
            rho, effective = _mean_off_diagonal(r[np.ix_(long, long)]), _effective(r, n)
    own = ratios(x[:, long])
    others = np.zeros(0) if sharpes is None else np.asarray(sharpes, dtype=np.float64).ravel()
    known, unknown = int(np.isfinite(own).sum()), int(np.isfinite(others).sum())
    pairs = (known + unknown) * (known + unknown - 1)
    rho = rho * known * (known - 1) / pairs if pairs else 0.0
    variance = trial_variance(
        np.concatenate([own, others]), mean_correlation=rho, periods=typical_periods(x[:, long])
    )
    return Deflation(k + further, effective + further, variance)


def ratios(returns: np.ndarray) -> np.ndarray:
    """Per-period Sharpe ratio of each column of ``returns`` (T, k), NaN dropped by column; shape (k,)."""
    from wealthos_pipeline.stats.sharpe import sharpe_ratio

    return np.array([sharpe_ratio(column) for column in np.asarray(returns).T], dtype=np.float64)


def _correlations(returns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Correlations (k, k), 1 on the diagonal and 0 where unknown, and the periods that they are of."""
    x = np.asarray(returns, dtype=np.float64)
    if x.ndim != 2 or not x.shape[1]:
        raise ValueError(f"returns must be periods × at least 1 trial, found shape {x.shape}")
    known = np.isfinite(x)
    m = known.astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        count = m.sum(axis=0)
        centre = np.where(count > 0, np.where(known, x, 0.0).sum(axis=0) / count, 0.0)
        e = np.where(known, x - centre, 0.0)
        scale = np.sqrt((e * e).sum(axis=0) / np.maximum(count, 1.0))
        varies = np.array(
            [bool(np.ptp(c[k])) if k.any() else False for c, k in zip(x.T, known.T, strict=True)]
        )
        e = np.where(varies, e / np.where(scale > 0, scale, 1.0), 0.0)
        n = m.T @ m
        first, square = e.T @ m, (e * e).T @ m
        # moments over the periods in common: row i of ``first`` is of trial i, where j is known too
        covariance = e.T @ e - first * first.T / n
        spread = (square - first * first / n) * (square.T - first.T * first.T / n)
        r = covariance / np.sqrt(spread)
    r = np.where((n > 2) & (spread > 1e-12) & np.isfinite(r), np.clip(r, -1.0, 1.0), 0.0)
    np.fill_diagonal(r, 1.0)
    return r, n


def _shrunk(r: np.ndarray, n: np.ndarray) -> np.ndarray:
    """``r`` shrunk towards independence by what of it is noise (Schäfer & Strimmer 2005, equation 10)."""
    off = ~np.eye(len(r), dtype=bool) & (n > 2)
    total = float(np.sum(r[off] ** 2))
    if not total > 0:
        return r
    noise = float(np.sum((1.0 - r[off] ** 2) ** 2 / (n[off] - 1.0)))
    out = (1.0 - min(noise / total, 1.0)) * r
    np.fill_diagonal(out, 1.0)
    return out


def _mean_off_diagonal(r: np.ndarray) -> float:
    k = len(r)
    if k < 2:
        return 0.0
    return (math.fsum(r.ravel()) - k) / (k * (k - 1))
