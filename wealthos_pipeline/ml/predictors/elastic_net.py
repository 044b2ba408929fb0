"""Elastic net: least squares with a penalty that sets weak coefficients to 0 and shrinks the others.

Minimises ½ Σ w (y − b − Xβ)² / Σ w + α (ρ σ ‖β‖₁ + ½ (1 − ρ) ‖β‖²), where σ is the weighted standard
deviation of the labels and ρ is ``l1_ratio``. So α counts in correlations, whatever the label's unit and
however many dates there are: a feature alone, uncorrelated with the others, whose correlation with the
label is c gets the coefficient σ · sign(c) max(|c| − α ρ, 0) / (1 + α (1 − ρ)). The intercept b carries no
penalty; a missing feature is 0, the date's mean. Source: Zou & Hastie (2005), "naive" form.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from wealthos_pipeline.core.errors import ModelError
from wealthos_pipeline.ml.predictors import linear
from wealthos_pipeline.ml.predictors.parameters import Family, Parameter

if TYPE_CHECKING:
    from wealthos_pipeline.core.model import ModelSpec, Value
    from wealthos_pipeline.ml.datasets import Training
    from wealthos_pipeline.ml.predictors.base import Fitted, Predictor
    from wealthos_pipeline.ml.predictors.parameters import Members

TOLERANCE = 1e-8
"""Optimality, in correlations."""

SWEEPS = 100_000


@dataclass(frozen=True, slots=True)
class ElasticNet:
    """Penalty ``alpha``, in correlations, of which the share ``l1_ratio`` is on absolute values."""

    alpha: float
    l1_ratio: float
    name: str = "elastic_net"

    @property
    def params(self) -> Mapping[str, Value]:
        return {"alpha": self.alpha, "l1_ratio": self.l1_ratio}

    def fit(self, rows: Training) -> Fitted:
        """Coordinate descent on the weighted Gram matrix, in a fixed order.

        ModelError also if every coefficient is 0, or the descent does not arrive.
        """
        from wealthos_pipeline.ml.predictors._descent import descend

        linear.usable(rows, "elastic_net")
        G, c, mean, sigma = _centred(rows)
        cut = self.alpha * self.l1_ratio
        beta, missed = descend(
            G, c / sigma, cut, self.alpha * (1.0 - self.l1_ratio), TOLERANCE, SWEEPS
        )
        if missed > TOLERANCE:
            raise ModelError(
                f"elastic_net: no convergence in {SWEEPS:,} sweeps (optimality missed by "
                f"{missed:.1e}): some of the {len(c)} features say the same. Lower l1_ratio (now "
                f"{self.l1_ratio:g}), raise alpha (now {self.alpha:g}) or leave features out"
            )
        if not beta.any():
            raise ModelError(
                f"elastic_net: every coefficient is 0: the largest correlation of a feature with the "
                f"label is {np.max(np.abs(c)) / sigma:.4f}, the penalty takes {cut:.4f}. Lower alpha"
            )
        beta = beta * sigma
        intercept = float(mean[-1] - np.sum(mean[:-1] * beta))
        return linear.FittedLinear(
            "elastic_net", rows.features, tuple(float(b) for b in beta), intercept
        )

    def from_text(self, text: str) -> Fitted:
        return linear.from_text(text, "elastic_net")


def _centred(rows: Training) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """Weighted covariances of the features, theirs with the label, all means, deviation of the label."""
    moments = linear.gram(rows, intercept=True)
    p = rows.X.shape[1]
    which = np.r_[0:p, p + 1]
    mean = moments[p, which] / moments[p, p]
    cov = moments[np.ix_(which, which)] / moments[p, p] - np.outer(mean, mean)
    # what is left of a column that never varies is rounding
    still = np.diag(cov) <= 1e-12 * np.maximum(np.diag(moments)[which] / moments[p, p], 1e-300)
    cov[still] = 0.0
    cov[:, still] = 0.0
    return np.ascontiguousarray(cov[:p, :p]), cov[:p, p].copy(), mean, float(np.sqrt(cov[p, p]))


def _build(
    spec: ModelSpec, params: Mapping[str, Value], threads: int, members: Members
) -> Predictor:
    return ElasticNet(float(params["alpha"]), float(params["l1_ratio"]), spec.name)


FAMILY = Family(
    name="elastic_net",
    title="linear, absolute and squared penalty",
    learns=(
        "One coefficient a feature by weighted least squares; those whose correlation with the label is "
        "too weak are exactly 0, the others are shrunk."
    ),
    use="Where there are many features and a short list of those that count is wanted.",
    source="Zou & Hastie (2005); Friedman, Hastie & Tibshirani (2010)",
    parameters=(
        Parameter(
            "alpha",
            0.01,
            "penalty, in correlations: a lone feature whose correlation with the label is below "
            "alpha × l1_ratio gets 0",
            above=0.0,
        ),
        Parameter(
            "l1_ratio",
            0.5,
            "share of the penalty that is on absolute values; 0 is a ridge, 1 the lasso",
            low=0.0,
            high=1.0,
        ),
    ),
    build=_build,
)
