"""Gradient-boosted trees by LightGBM: small, slow-learning, the same bits on any number of threads.

A missing feature is NaN, which each split sends to the better side.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from wealthos_pipeline.core.errors import ModelError

if TYPE_CHECKING:
    from wealthos_pipeline.core.model import Value
    from wealthos_pipeline.ml.datasets import Training
    from wealthos_pipeline.ml.predictors.base import Fitted

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
        object.__setattr__(self, "_booster", booster)

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Sum of the trees' leaves; each row by itself."""
        if not len(X):
            return np.zeros(0)
        out: np.ndarray = self._booster.predict(X, num_threads=_threads(self.threads, len(X)))
        return out

    def gain(self) -> np.ndarray:
        """Loss that the splits on each feature took away, summed over the trees."""
        out: np.ndarray = self._booster.feature_importance("gain")
        return out.astype(np.float64)

    def contributions(self, X: np.ndarray) -> np.ndarray:
        """TreeSHAP by LightGBM (Lundberg, Erion & Lee 2018): exact for these trees."""
        if not len(X):
            return np.zeros((0, len(self.features) + 1))
        threads = _threads(self.threads, len(X) * len(self.features))
        out: np.ndarray = self._booster.predict(X, num_threads=threads, pred_contrib=True)
        return out

    def to_text(self) -> str:
        body = {
            "format": FORMAT,
            "model": "lightgbm",
            "features": list(self.features),
            "trees": self.trees,
        }
        return json.dumps(body, separators=(",", ":"))


@dataclass(frozen=True, slots=True)
class LightGBM:
    """Boosted regression trees.

    min_leaf_share: smallest leaf as a share of the training rows (at least 20 rows).
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
        }

    def fit(self, rows: Training) -> Fitted:
        """Fit by squared error. The fitted model is read back from its text, as later readers do."""
        import lightgbm

        X, y, w = rows.X, rows.y, rows.w
        filled = np.nan_to_num(X)
        if not np.any(filled.min(axis=0) < filled.max(axis=0)):
            raise ModelError(
                f"lightgbm: none of the {X.shape[1]} features has values that differ in {len(y)} "
                "training rows; check the factor tables of these dates"
            )
        data = lightgbm.Dataset(X, label=y, weight=w / np.mean(w), free_raw_data=True)
        booster = lightgbm.train(
            {
                "objective": "regression",
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
            },
            data,
            num_boost_round=self.trees,
        )
        text = booster.model_to_string(num_iteration=-1).split("\nparameters:\n", 1)[0] + "\n"
        return FittedLightGBM(rows.features, text, self.threads)

    def from_text(self, text: str) -> Fitted:
        body = json.loads(text)
        if (body.get("model"), body.get("format")) != ("lightgbm", FORMAT):
            raise ModelError(
                f"the artefact is {body.get('model')!r} format {body.get('format')!r}, expected "
                f"'lightgbm' format {FORMAT}; refit the model"
            )
        return FittedLightGBM(tuple(body["features"]), body["trees"], self.threads)
