"""Gradient-boosted trees by LightGBM: small, slow-learning, the same bits on any number of threads.

A missing feature is NaN, which each split sends to the better side.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from wealthos_pipeline.core.errors import ModelError
from wealthos_pipeline.ml.predictors import artefact, linear
from wealthos_pipeline.ml.predictors.parameters import Family, Parameter

if TYPE_CHECKING:
    from wealthos_pipeline.core.model import ModelSpec, Value
    from wealthos_pipeline.ml.datasets import Training
    from wealthos_pipeline.ml.predictors.base import Fitted, Predictor
    from wealthos_pipeline.ml.predictors.parameters import Members

FORMAT = 1

ROWS_A_THREAD = 50_000
"""Fewer rows than this are not worth a second thread, which costs more in waiting than it brings."""


def _threads(budget: int, rows: int) -> int:
    return max(1, min(budget, rows // ROWS_A_THREAD))


@dataclass(frozen=True, slots=True)
class FittedLightGBM:
    """Trees as LightGBM's own text, without its parameter section (which holds thread counts)."""

    features: tuple[str, ...]
    trees: str
    threads: int = 1
    _booster: Any = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        import lightgbm

        try:
            booster = lightgbm.Booster(model_str=self.trees)
        except lightgbm.basic.LightGBMError as error:
            raise ModelError(f"lightgbm cannot read the artefact: {error}; refit it") from error
        if booster.num_feature() != len(self.features):
            found = f"trees of {booster.num_feature()} features, {len(self.features)} names"
            raise artefact.damaged("lightgbm", found)
        object.__setattr__(self, "_booster", booster)

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Sum of the trees' leaves (a probability with a binary objective); each row by itself."""
        if not len(X):
            return np.zeros(0)
        out: np.ndarray = self._booster.predict(X, num_threads=_threads(self.threads, len(X)))
        return out

    def raw(self, X: np.ndarray) -> np.ndarray:
        """Sum of the trees' leaves before the objective's link: log-odds of a binary objective."""
        if not len(X):
            return np.zeros(0)
        threads = _threads(self.threads, len(X))
        out: np.ndarray = self._booster.predict(X, num_threads=threads, raw_score=True)
        return out

    def gain(self) -> np.ndarray:
        """Loss that the splits on each feature took away, summed over the trees."""
        out: np.ndarray = self._booster.feature_importance("gain")
        return out.astype(np.float64)

    def contributions(self, X: np.ndarray) -> np.ndarray:
        """TreeSHAP by LightGBM (Lundberg, Erion & Lee 2018): exact for these trees; of ``raw``."""
        if not len(X):
            return np.zeros((0, len(self.features) + 1))
        threads = _threads(self.threads, len(X) * len(self.features))
        out: np.ndarray = self._booster.predict(X, num_threads=threads, pred_contrib=True)
        return out

    def to_text(self) -> str:
        body = {"features": list(self.features), "trees": self.trees}
        return artefact.write("lightgbm", FORMAT, body)


@dataclass(frozen=True, slots=True)
class LightGBM:
    """Boosted regression trees.

    min_leaf_share: smallest leaf as a share of the training rows (at least 20 rows).
    bagging_fraction: share of the rows that each tree is grown on, drawn with the seed; 1: all.
    bin_rows: rows that the bins' edges are found on (drawn with the seed where there are more).
    threads: at most so many; speed only, not a parameter of the fit.
    """

    trees: int
    seed: int
    threads: int = 1
    leaves: int = 15
    learning_rate: float = 0.05
    min_leaf_share: float = 0.02
    feature_fraction: float = 0.7
    max_bin: int = 63
    bin_rows: int = 20_000
    bagging_fraction: float = 1.0
    lambda_l2: float = 0.0
    objective: Literal["regression", "binary"] = "regression"
    name: str = "lightgbm"

    @property
    def params(self) -> Mapping[str, Value]:
        return {
            "trees": self.trees,
            "seed": self.seed,
            "leaves": self.leaves,
            "learning_rate": self.learning_rate,
            "min_leaf_share": self.min_leaf_share,
            "feature_fraction": self.feature_fraction,
            "max_bin": self.max_bin,
            "bin_rows": self.bin_rows,
            "bagging_fraction": self.bagging_fraction,
            "lambda_l2": self.lambda_l2,
        }

    def fit(self, rows: Training) -> Fitted:
        """See ``grow``."""
        return self.grow(rows)

    def from_text(self, text: str) -> Fitted:
        return self.read(text)

    def grow(self, rows: Training) -> FittedLightGBM:
        """Fit by squared error (log loss if binary). The fitted model is read back from its text, as
        later readers do."""
        import lightgbm

        linear.usable(rows, "lightgbm")
        X, y, w = rows.X, rows.y, rows.w
        data = lightgbm.Dataset(X, label=y, weight=w / np.mean(w), free_raw_data=True)
        booster = lightgbm.train(
            {
                "objective": self.objective,
                "num_leaves": self.leaves,
                "learning_rate": self.learning_rate,
                "min_data_in_leaf": max(20, int(len(y) * self.min_leaf_share)),
                "feature_fraction": self.feature_fraction,
                "max_bin": self.max_bin,
                "bin_construct_sample_cnt": self.bin_rows,
                "seed": self.seed,
                "deterministic": True,
                "force_row_wise": True,
                "num_threads": _threads(self.threads, len(y)),
                "verbose": -1,
                **self._further(),
            },
            data,
            num_boost_round=self.trees,
        )
        text = booster.model_to_string(num_iteration=-1).split("\nparameters:\n", 1)[0] + "\n"
        return FittedLightGBM(rows.features, text, self.threads)

    def read(self, text: str) -> FittedLightGBM:
        """The trees in ``text``; ModelError if there are none of this version."""
        body = artefact.read(text, "lightgbm", FORMAT)
        with artefact.intact("lightgbm"):
            features, trees = tuple(body["features"]), str(body["trees"])
        return FittedLightGBM(features, trees, self.threads)

    def _further(self) -> dict[str, Value]:
        """What LightGBM is told only if it differs from its own defaults."""
        out: dict[str, Value] = {}
        if self.bagging_fraction < 1.0:
            out |= {"bagging_fraction": self.bagging_fraction, "bagging_freq": 1}
        if self.lambda_l2 > 0.0:
            out |= {"lambda_l2": self.lambda_l2}
        return out


def of(
    spec: ModelSpec,
    params: Mapping[str, Value],
    threads: int,
    *,
    objective: Literal["regression", "binary"] = "regression",
) -> LightGBM:
    """The trees that ``params`` (every one of ``PARAMETERS``) ask for."""
    return LightGBM(
        trees=int(params["trees"]),
        seed=spec.seed,
        threads=threads,
        leaves=int(params["leaves"]),
        learning_rate=float(params["learning_rate"]),
        min_leaf_share=float(params["min_leaf_share"]),
        feature_fraction=float(params["feature_fraction"]),
        max_bin=int(params["max_bin"]),
        bin_rows=int(params["bin_rows"]),
        bagging_fraction=float(params["bagging_fraction"]),
        lambda_l2=float(params["lambda_l2"]),
        objective=objective,
        name=spec.name,
    )


def _build(
    spec: ModelSpec, params: Mapping[str, Value], threads: int, members: Members
) -> Predictor:
    return of(spec, params, threads)


PARAMETERS = (
    Parameter("trees", 100, "trees that are added up", low=1, high=10_000),
    Parameter("leaves", 15, "leaves of a tree", low=2, high=1024),
    Parameter("learning_rate", 0.05, "share of each tree that is added", above=0.0, high=1.0),
    Parameter(
        "min_leaf_share",
        0.02,
        "smallest leaf, as a share of the training rows (never below 20 rows)",
        low=0.0,
        high=0.5,
    ),
    Parameter(
        "feature_fraction", 0.7, "share of the features that a tree may use", above=0.0, high=1.0
    ),
    Parameter("max_bin", 63, "values that a feature is cut into", low=2, high=255),
    Parameter("bin_rows", 20_000, "rows that the cuts are found on", low=1000),
    Parameter(
        "bagging_fraction", 1.0, "share of the rows that a tree is grown on", above=0.0, high=1.0
    ),
    Parameter("lambda_l2", 0.0, "squared penalty on the leaves", low=0.0),
)

FAMILY = Family(
    name="lightgbm",
    title="gradient-boosted trees",
    learns=(
        "Many small trees, each added with a small weight to mend what the ones before it missed. A "
        "missing feature goes to the side of each split that fits better."
    ),
    use="Where interactions and bends are expected, and there are many years of many names.",
    source="Friedman (2001); Ke et al. (2017)",
    parameters=PARAMETERS,
    build=_build,
)
