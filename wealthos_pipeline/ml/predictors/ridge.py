"""Ridge regression in closed form.

Minimises Σ w (y − Xβ)² + α‖β‖² with weights that sum to 1 within a date, so α counts in dates: a
feature alone, uncorrelated with the others, whose mean cross-sectional correlation with the target
over D dates is c gets the coefficient c · D / (D + α). Features and target have mean 0 within a
date; there is no intercept. A missing feature is 0, the date's mean.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from wealthos_pipeline.ml.predictors import artefact, linear
from wealthos_pipeline.ml.predictors.parameters import Family, Parameter

if TYPE_CHECKING:
    from wealthos_pipeline.core.model import ModelSpec, Value
    from wealthos_pipeline.ml.datasets import Training
    from wealthos_pipeline.ml.predictors.base import Fitted, Predictor
    from wealthos_pipeline.ml.predictors.parameters import Members

FORMAT = 1


@dataclass(frozen=True, slots=True)
class FittedRidge:
    """Coefficients by feature, float64."""

    features: tuple[str, ...]
    coefficients: tuple[float, ...]

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Sum of coefficient × feature in the order of the features, missing as 0."""
        return linear.sums(X, self.coefficients)

    def gain(self) -> np.ndarray:
        """Absolute coefficients: features have a standard deviation of 1."""
        return np.abs(np.array(self.coefficients))

    def contributions(self, X: np.ndarray) -> np.ndarray:
        """Coefficient × feature: exact for a linear model whose features have mean 0."""
        return linear.parts(X, self.coefficients)

    def to_text(self) -> str:
        body = {
            "features": list(self.features),
            "coefficients": artefact.hexes(self.coefficients),
        }
        return artefact.write("ridge", FORMAT, body)


@dataclass(frozen=True, slots=True)
class Ridge:
    """Ridge with penalty ``alpha``, in dates."""

    alpha: float
    name: str = "ridge"

    @property
    def params(self) -> Mapping[str, Value]:
        return {"alpha": self.alpha}

    def fit(self, rows: Training) -> Fitted:
        """Accumulate X'X and X'y over blocks of dates in order, in float64, on one thread."""
        linear.usable(rows, "ridge")
        moments = linear.gram(rows)
        p = rows.X.shape[1]
        with linear.one_thread():
            beta = np.linalg.solve(moments[:p, :p] + self.alpha * np.eye(p), moments[:p, p])
        return FittedRidge(rows.features, tuple(float(b) for b in beta))

    def from_text(self, text: str) -> Fitted:
        body = artefact.read(text, "ridge", FORMAT)
        with artefact.intact("ridge"):
            found = FittedRidge(tuple(body["features"]), artefact.floats(body["coefficients"]))
            if len(found.features) != len(found.coefficients):
                raise ValueError(
                    f"{len(found.coefficients)} coefficients for {len(found.features)} features"
                )
        return found


def _build(
    spec: ModelSpec, params: Mapping[str, Value], threads: int, members: Members
) -> Predictor:
    return Ridge(name=spec.name, alpha=float(params["alpha"]))


FAMILY = Family(
    name="ridge",
    title="linear, squared penalty on the coefficients",
    learns=(
        "One coefficient a feature by weighted least squares, all of them shrunk towards 0; features "
        "that say the same share the coefficient."
    ),
    use="First, always: what is more elaborate has to be better than this.",
    source="Hoerl & Kennard (1970)",
    parameters=(
        Parameter(
            "alpha",
            10.0,
            "squared penalty, in dates: a lone feature keeps D / (D + alpha) of its coefficient "
            "after D training dates",
            above=0.0,
        ),
    ),
    build=_build,
)
