"""The probability that a name rises: a classifier whose probabilities are calibrated on unseen rows.

The label is 0 or 1 (``label: direction``). A learner gives log-odds f(x): logistic regression with a squared
penalty, minimising Σ w · loss + ½ α ‖β‖² (weights sum to 1 within a date, so α counts in dates; no penalty on
the intercept; a missing feature is 0), or LightGBM's binary trees. Its out-of-fold log-odds, from folds purged
by label interval within the training rows, are mapped to probabilities by Platt's two numbers
(``calibration.platt``); then it is fitted on all rows. The prediction is sigmoid(slope · (f(x) − c) + intercept).

c is the mean of f over the rows that it was fitted on, taken off in each fold as well: a fold that leaves out a
crash has learnt a higher base rate than it meets, in every such split, and that alone would turn the slope
downwards, however well the names of a date are told apart.

Platt and not isotonic regression: overlapping labels of names that move together leave a few hundred
independent outcomes in ten years, and isotonic regression overfits such samples (Niculescu-Mizil & Caruana
2005); its steps would also make ties of names that the learner tells apart. A slope of 0 says that the learner
ranked nothing right out of fold: everybody then gets the base rate.
Source: Platt (1999).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np

from wealthos_pipeline.core.errors import ModelError
from wealthos_pipeline.ml.classifiers.calibration import Platt, platt, sigmoid
from wealthos_pipeline.ml.predictors import artefact, lightgbm, linear
from wealthos_pipeline.ml.predictors.parameters import Family, Parameter

if TYPE_CHECKING:
    from wealthos_pipeline.core.model import ModelSpec, Value
    from wealthos_pipeline.ml.datasets import Training
    from wealthos_pipeline.ml.predictors.base import Fitted, Predictor
    from wealthos_pipeline.ml.predictors.parameters import Members

FORMAT = 1

TOLERANCE = 1e-10
"""Largest slope of the loss left, as a share of the rows' weights."""

STEPS = 500


class _Learnt(Protocol):
    """A fitted learner: log-odds, and what they are made of."""

    @property
    def features(self) -> tuple[str, ...]: ...
    def raw(self, X: np.ndarray) -> np.ndarray: ...
    def gain(self) -> np.ndarray: ...
    def contributions(self, X: np.ndarray) -> np.ndarray: ...
    def to_text(self) -> str: ...


@dataclass(frozen=True, slots=True)
class _Logistic:
    """Log-odds that are a sum."""

    model: linear.FittedLinear

    @property
    def features(self) -> tuple[str, ...]:
        return self.model.features

    def raw(self, X: np.ndarray) -> np.ndarray:
        return self.model.predict(X)

    def gain(self) -> np.ndarray:
        return self.model.gain()

    def contributions(self, X: np.ndarray) -> np.ndarray:
        return self.model.contributions(X)

    def to_text(self) -> str:
        return self.model.to_text()


@dataclass(frozen=True, slots=True)
class FittedDirection:
    """A learner on all training rows, and the map from its log-odds to probabilities."""

    learner: str
    learnt: _Learnt
    platt: Platt

    @property
    def features(self) -> tuple[str, ...]:
        return self.learnt.features

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Probability that the label is 1; each row by itself."""
        return sigmoid(self.log_odds(X))

    def log_odds(self, X: np.ndarray) -> np.ndarray:
        """Calibrated log-odds: log(p / (1 − p)) of ``predict``."""
        return self.platt.logits(self.learnt.raw(X))

    def gain(self) -> np.ndarray:
        """Of the learner: absolute coefficients, or the loss that splits took away."""
        return self.learnt.gain()

    def contributions(self, X: np.ndarray) -> np.ndarray:
        """On the scale of log-odds: rows sum to ``log_odds``, not to the probability."""
        out = self.platt.slope * self.learnt.contributions(X)
        out[:, -1] += self.platt.intercept
        return out

    def to_text(self) -> str:
        body = {
            "features": list(self.features),
            "learner": self.learner,
            "platt": self.platt.body(),
            "text": self.learnt.to_text(),
        }
        return artefact.write("direction", FORMAT, body)


@dataclass(frozen=True, slots=True)
class Direction:
    """learner: ``logistic`` or ``lightgbm``. alpha: penalty of logistic, in dates. folds, embargo: of the
    purged split that the calibration is learnt on. trees: of lightgbm."""

    alpha: float = 10.0
    learner: str = "logistic"
    folds: int = 4
    embargo: int = 0
    trees: lightgbm.LightGBM = field(
        default_factory=lambda: lightgbm.LightGBM(trees=100, seed=7, objective="binary")
    )
    name: str = "direction"

    @property
    def params(self) -> Mapping[str, Value]:
        own: dict[str, Value] = {
            "learner": self.learner,
            "folds": self.folds,
            "embargo": self.embargo,
        }
        if self.learner == "logistic":
            return own | {"alpha": self.alpha}
        return own | dict(self.trees.params)

    def fit(self, rows: Training) -> Fitted:
        """ModelError also if labels are not 0 and 1, or one of them never occurs, in all rows or in the
        training side of a fold."""
        from wealthos_pipeline.ml.splitters import purged_kfold

        _both_classes(rows)
        linear.usable(rows, "direction")
        unseen = np.zeros(len(rows))
        for i, fold in enumerate(purged_kfold(rows, self.folds, embargo=self.embargo), 1):
            train = rows.take(fold.train)
            try:
                _both_classes(train)
                learnt, centre = self._learn(train)
            except ModelError as error:
                raise ModelError(f"{error} (calibration, fold {i} of {self.folds})") from error
            unseen[fold.test] = learnt.raw(rows.take(fold.test).X) - centre
        learnt, centre = self._learn(rows)
        found = platt(unseen, rows.y, rows.w)
        at_raw = Platt(found.slope, found.intercept - found.slope * centre)
        return FittedDirection(self.learner, learnt, at_raw)

    def from_text(self, text: str) -> Fitted:
        body = artefact.read(text, "direction", FORMAT)
        learnt: _Learnt
        with artefact.intact("direction"):
            learner, inner, calibration = body["learner"], body["text"], Platt.of(body["platt"])
            if learner == "logistic":
                learnt = _Logistic(linear.from_text(inner, "logistic"))
            elif learner == "lightgbm":
                learnt = self.trees.read(inner)
            else:
                raise ValueError(f"its learner is {learner!r}")
            if learnt.features != tuple(body["features"]):
                raise ValueError("its learner has other features")
        return FittedDirection(learner, learnt, calibration)

    def _learn(self, rows: Training) -> tuple[_Learnt, float]:
        """The learner on ``rows``, and the weighted mean of its log-odds over them."""
        if self.learner == "lightgbm":
            learnt: _Learnt = self.trees.grow(rows)
        else:
            learnt = _Logistic(_logistic(rows, self.alpha))
        return learnt, float(np.sum(rows.w * learnt.raw(rows.X)) / np.sum(rows.w))


def _both_classes(rows: Training) -> None:
    y = rows.y
    odd = np.setdiff1d(y, (0.0, 1.0))
    if len(odd):
        raise ModelError(
            f"direction: labels must be 0 or 1, found {', '.join(f'{v:g}' for v in odd[:3])}; write "
            "label: direction in the model's file"
        )
    for value, words in ((1, "rose"), (0, "did not rise")):
        if not np.any(y == value):
            raise ModelError(
                f"direction: label {value} never occurs in {len(y)} training rows: no name {words}. "
                "Without both there is no probability to learn; use more history"
            )


def _logistic(rows: Training, alpha: float) -> linear.FittedLinear:
    """Penalised maximum likelihood by Newton steps with a curvature that is never too small: ¼ Σ w a a',
    which bounds that of the logistic likelihood, so every step lowers the loss and one decomposition serves
    them all (Böhning & Lindsay 1988). Returns of stocks are hard to foresee, probabilities stay near ½ where
    the bound is tight, and a dozen steps do. Rows are read in blocks; ModelError if the steps do not end.
    """
    p = rows.X.shape[1]
    with linear.one_thread():
        curvature = linear.gram(rows, intercept=True)[:-1, :-1] / 4.0
        curvature[np.arange(p), np.arange(p)] += alpha
        total = 4.0 * curvature[p, p]
        root = np.linalg.inv(np.linalg.cholesky(curvature))
        beta = np.zeros(p + 1)
        for _ in range(STEPS):
            slope = np.append(alpha * beta[:-1], 0.0)
            for part in linear.blocks(rows.dates):
                A = np.ones((part.stop - part.start, p + 1))
                A[:, :-1] = linear.filled(rows.X[part])
                slope += (rows.w[part] * (sigmoid(A @ beta) - rows.y[part])) @ A
            if np.max(np.abs(slope)) <= TOLERANCE * total:
                return linear.FittedLinear(
                    "logistic", rows.features, tuple(beta[:-1].tolist()), float(beta[-1])
                )
            beta -= root.T @ (root @ slope)
    raise ModelError(
        f"direction: logistic regression does not settle in {STEPS} steps: the features separate the labels "
        f"almost wholly, which real returns never do. Look for a feature that knows the future, or raise "
        f"alpha (now {alpha:g})"
    )


def _build(
    spec: ModelSpec, params: Mapping[str, Value], threads: int, members: Members
) -> Predictor:
    return Direction(
        alpha=float(params["alpha"]),
        learner=str(params["learner"]),
        folds=int(params["folds"]),
        embargo=int(params["embargo"]),
        trees=lightgbm.of(spec, params, threads, objective="binary"),
        name=spec.name,
    )


FAMILY = Family(
    name="direction",
    title="calibrated probability that a name rises",
    learns=(
        "Logistic regression or boosted trees on whether the return was above 0, calibrated by Platt's map "
        "on purged out-of-fold predictions within the training rows. The prediction is a probability."
    ),
    use="Where a probability is wanted, to be judged by its Brier score against the base rate.",
    source="Platt (1999); Niculescu-Mizil & Caruana (2005)",
    parameters=(
        Parameter(
            "learner",
            "logistic",
            "logistic regression or boosted trees",
            choices=("logistic", "lightgbm"),
        ),
        Parameter(
            "alpha", 10.0, "squared penalty of logistic, in dates; lightgbm has none", above=0.0
        ),
        Parameter("folds", 4, "blocks of dates that the calibration is learnt on", low=2, high=20),
        Parameter("embargo", 0, "sessions left out after each block, besides the purge", low=0),
        *lightgbm.PARAMETERS,
    ),
    build=_build,
    labels=("direction",),
    probability=True,
)
