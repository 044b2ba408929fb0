"""Covariances shrunk towards a multiple of the identity, and EWMA, for universes of up to some 100 names.

Each is kept as exposures, factor covariance and specific volatility, exactly: from the eigenvalues λ and
vectors V of the sample covariance S, ``(1 − δ) S + δ μ I`` is ``B = √n V``, ``F = (1 − δ) diag(λ) / n``,
``d² = δ μ``. No dense matrix is stored. Of more than ``COMPONENTS`` components the smaller ones are
not kept as such: what they explain of each name becomes specific variance, and variances stay exact.

- **Ledoit–Wolf** (2004, "A well-conditioned estimator for large-dimensional covariance matrices"): δ
  is the estimated optimum, for returns that are independent over time.
- **OAS** (Chen, Wiesel, Eldar & Hero 2010, equation 23 without its terms of order 1/n, as
  scikit-learn has it): the same for normal returns, and better when there are few.
- **EWMA**: sessions weighted ``0.5^(age / risk_half_life)``, no shrinkage. With more names than
  effective observations it is singular but for the floor of specific volatility: portfolios that are
  optimised with it look far too safe. It is there to compare with.

The two shrinkages weight all ``risk_sessions`` alike: their optimum is derived for that. A name's mean
is that of its own observations; a missing return is 0 after that, and the name's column is stretched so
that its variance is that of its observations.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import numpy as np

from wealthos_pipeline.portfolio.risk.eigen import signs
from wealthos_pipeline.portfolio.risk.model import VOLATILITY_FLOOR, Floats, RiskModel
from wealthos_pipeline.portfolio.risk.statistical import components
from wealthos_pipeline.utils.config import PortfolioSettings

COMPONENTS = 100
"""Components kept as factors: beyond them the form costs more than it tells."""


def ledoit_wolf(
    window: Floats, ids: Sequence[str], day: date, settings: PortfolioSettings
) -> RiskModel:
    """Sample covariance shrunk to ``μ I`` by the share of Ledoit & Wolf (2004), in factor form.

    window: sessions × names, oldest first, NaN where there is no return.
    """
    X = _columns(window, None)
    return _shrunk(X, ledoit_wolf_share(X), ids, day)


def oas(window: Floats, ids: Sequence[str], day: date, settings: PortfolioSettings) -> RiskModel:
    """The same with the oracle approximating share of Chen et al. (2010)."""
    X = _columns(window, None)
    return _shrunk(X, oas_share(X), ids, day)


def ewma(window: Floats, ids: Sequence[str], day: date, settings: PortfolioSettings) -> RiskModel:
    """Exponentially weighted covariance in factor form; specific volatility is the floor."""
    return _shrunk(_columns(window, settings.risk_half_life), 0.0, ids, day)


def ledoit_wolf_share(X: Floats) -> float:
    """δ in [0, 1]. X: sessions × names, columns with mean 0, all sessions alike.

    Lemmas 3.2 to 3.5: ``b² / d²`` with ``d² = ‖S − μI‖²/n`` and ``b²`` the mean squared distance of the
    sessions' own ``x x'`` from S, at most d².
    """
    S, n = X.shape
    squares, gram = X**2, _gram(X)
    total = float((gram**2).sum()) / S**2  # tr(S²), from the smaller of X'X and XX'
    mu = float(squares.sum()) / S / n
    fourth = float((squares.sum(axis=1) ** 2).sum())
    distance = total - n * mu**2
    noise = min((fourth / S - total) / S, distance)
    return noise / distance if noise > 0.0 else 0.0


def oas_share(X: Floats) -> float:
    """ρ in [0, 1]: ``(tr(S²) + tr²(S)) / ((T + 1)(tr(S²) − tr²(S)/n))``, at most 1."""
    S, n = X.shape
    total = float((_gram(X) ** 2).sum()) / S**2
    trace = float((X**2).sum()) / S
    below = (S + 1.0) * (total - trace**2 / n)
    return 1.0 if below <= 1e-14 * total else min((total + trace**2) / below, 1.0)


def _gram(X: Floats) -> Floats:
    return X @ X.T if X.shape[1] > X.shape[0] else X.T @ X


def _columns(window: Floats, half_life: float | None) -> Floats:
    """X with ``X'X / sessions`` the covariance: centred by name, gaps 0, columns stretched for them."""
    S = len(window)
    weight = np.ones(S) if half_life is None else 0.5 ** (np.arange(S - 1, -1, -1) / half_life)
    seen = np.isfinite(window)
    there = seen.any(axis=1)
    window, weight, seen = window[there], weight[there], seen[there]
    w = seen * weight[:, None]
    total = w.sum(axis=0)
    mean = np.where(seen, w * window, 0.0).sum(axis=0) / total
    centred = np.where(seen, window - mean, 0.0)
    return centred * np.sqrt(len(window) * weight)[:, None] / np.sqrt(total)


def _shrunk(X: Floats, share: float, ids: Sequence[str], day: date) -> RiskModel:
    """``(1 − share) X'X/T + share μ I`` as a RiskModel."""
    from scipy.linalg import eigh

    S, n = X.shape
    variance = (X**2).sum(axis=0) / S
    dual = n > S
    values, vectors = eigh(_gram(X) / S, check_finite=False)
    values, vectors = values[::-1], vectors[:, ::-1]
    keep = values > max(1e-13 * values[0], 1e-30)
    keep[COMPONENTS:] = False
    values, vectors = values[keep], vectors[:, keep]
    V = (X.T @ vectors) / np.sqrt(values * S) if dual else vectors
    V = np.ascontiguousarray(V * signs(V)) if len(values) else np.empty((n, 0))
    cut = np.maximum(variance - ((V**2) * values).sum(axis=1), 0.0)
    cut[cut < 1e-12 * variance] = 0.0
    own = share * float(variance.mean()) + (1.0 - share) * cut
    return RiskModel(
        date=day,
        ids=tuple(ids),
        factors=components(len(values)),
        B=np.ascontiguousarray(V * np.sqrt(n)),
        F=np.diag((1.0 - share) * values / n),
        d=np.maximum(np.sqrt(own), VOLATILITY_FLOOR),
    )
