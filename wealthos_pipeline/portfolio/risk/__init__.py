"""The risk model: exposures B, factor covariance F and specific volatility d, never a dense matrix.

Estimators, by ``portfolio.risk_model`` of the settings:

- ``statistical``: principal components, the default (``statistical``);
- ``fundamental``: regressions on our own factors and sectors (``fundamental``);
- ``ledoit_wolf``, ``oas``, ``ewma``: for small universes (``shrinkage``).

Small universes: names carry one factor for every three of them, so that with 20 names a fundamental model
is a market and five sectors, without styles. On the 20 stocks of the sample it and shrinkage both found
calmer minimum variance portfolios than components, and its losses were the best
(``docs/research/risk.md``); shrinkage needs neither scores nor sectors. With more than 100 names shrinkage
keeps the 100 largest components only, which cost the optimiser what 100 factors cost: take a factor model.

``estimate`` gives models by date, ``produce`` the rows that are stored, ``exposures_on`` what attribution
needs. How good they were afterwards: ``quality``.
"""

from __future__ import annotations

from wealthos_pipeline.portfolio.risk.estimation import Produced, estimate, lookback, produce
from wealthos_pipeline.portfolio.risk.factor_returns import Exposures, exposures_on
from wealthos_pipeline.portfolio.risk.model import (
    VOLATILITY_FLOOR,
    RiskModel,
    from_frames,
    to_frames,
)
from wealthos_pipeline.portfolio.risk.statistical import from_returns
from wealthos_pipeline.portfolio.risk.window import (
    MIN_COVERAGE,
    estimation_dates,
    membership_matrix,
)

__all__ = [
    "MIN_COVERAGE",
    "VOLATILITY_FLOOR",
    "Exposures",
    "Produced",
    "RiskModel",
    "estimate",
    "estimation_dates",
    "exposures_on",
    "from_frames",
    "from_returns",
    "lookback",
    "membership_matrix",
    "produce",
    "to_frames",
]
