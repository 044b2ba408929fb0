"""Expected returns from a benchmark and a person's views (Black & Litterman 1992), by skfolio.

The prior is what makes the benchmark optimal: ``π = γ Σ_h b``, a return over the horizon. A view is a return a
year and is brought to the horizon by ``h/252``; its confidence sets its uncertainty by Idzorek's rule in
Walters' closed form, ``Ω = diag((1/c − 1) P τΣ P')``, with which the posterior mean does not depend on τ. The risk
model stays as it is: the posterior adds at most τ of Σ for the uncertainty of the mean, and a volatility limit
should mean the same for every mandate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from wealthos_pipeline.core.errors import PortfolioError
from wealthos_pipeline.core.mandate import View
from wealthos_pipeline.portfolio.problem import SESSIONS_PER_YEAR, Floats, Problem


def posterior(p: Problem, views: Sequence[View], symbols: Sequence[str]) -> Problem:
    """``p`` with the posterior returns as its alphas; B, F and d unchanged.

    symbols: n, as the views call the names. PortfolioError lists views that cannot be read.
    """
    alpha = expected_returns(
        symbols, (p.B, p.F, p.d), views, p.benchmark, p.risk_aversion, p.horizon
    )
    return replace(p, alpha=alpha)


def expected_returns(
    symbols: Sequence[str],
    risk: tuple[Floats, Floats, Floats],
    views: Sequence[View],
    benchmark: Floats,
    risk_aversion: float,
    horizon: int,
) -> Floats:
    """Posterior mean returns over the horizon (n) from daily (B, F, d) and benchmark weights (n)."""
    B, F, d = risk
    sigma = horizon * (B @ F @ B.T + np.diag(d**2))
    prior = risk_aversion * (sigma @ benchmark)
    if not views:
        return prior
    fitted: list[str] = []
    for view in views:
        try:
            _fit(symbols, prior, sigma, [view], horizon)
        except Exception as error:
            fitted.append(f"{view.view!r}: {error}")
    if fitted:
        raise PortfolioError(
            "views cannot be read: "
            + "; ".join(fitted)
            + ". Expected e.g. 'AAPL - JNJ == 0.03' or "
            "'AAPL == 0.08', returns a year, of names of the universe."
        )
    return _fit(symbols, prior, sigma, views, horizon)


def _fit(
    symbols: Sequence[str], prior: Floats, sigma: Floats, views: Sequence[View], horizon: int
) -> Floats:
    from skfolio.prior import BasePrior, BlackLitterman, ReturnDistribution

    class Known(BasePrior):  # type: ignore[misc]
        """The prior that is handed in."""

        def __init__(self, mean: Floats, covariance: Floats) -> None:
            self.mean = mean
            self.covariance = covariance

        def fit(self, X: Any, y: Any = None, **_: Any) -> Any:
            self.return_distribution_ = ReturnDistribution(
                mu=self.mean, covariance=self.covariance, returns=np.asarray(X)
            )
            return self

    year = SESSIONS_PER_YEAR / horizon
    model = BlackLitterman(
        views=[v.view for v in views],
        groups=np.array([list(symbols)]),
        prior_estimator=Known(prior * year, sigma * year),
        view_confidences=np.array([v.confidence for v in views], dtype=np.float64),
    )
    model.fit(np.zeros((2, len(symbols))))
    return np.asarray(model.return_distribution_.mu, dtype=np.float64) / year
