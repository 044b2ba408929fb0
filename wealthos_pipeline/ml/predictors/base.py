"""What a predictor is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from wealthos_pipeline.core.model import Value
    from wealthos_pipeline.ml.datasets import Training


class Fitted(Protocol):
    """A model that has been fitted; made of plain values and saved as text."""

    @property
    def features(self) -> tuple[str, ...]: ...

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Score of each row, float64. X: float32 (rows, features), NaN where missing.

        The score of a row depends on no other row.
        """
        ...

    def to_text(self) -> str:
        """JSON from which ``Predictor.from_text`` and ``predictors.read`` give a model with the same
        predictions, bit for bit. It says its family (``model``) and version (``format``)."""
        ...

    def gain(self) -> np.ndarray | None:
        """How much each feature was used, float64 (features,), at least 0, in the family's own unit: to be
        compared within a fit. None: the family has no such number."""
        ...

    def contributions(self, X: np.ndarray) -> np.ndarray | None:
        """What each feature adds to each row's score, float64 (rows, features + 1), the last column
        being what every row gets; rows sum to the score, those of a classifier to its log-odds. None: the
        family has no such numbers."""
        ...


class Predictor(Protocol):
    """A family of models with its parameters.

    ``params`` is everything that can change a fit, and nothing else (no thread counts).
    """

    @property
    def name(self) -> str: ...

    @property
    def params(self) -> Mapping[str, Value]: ...

    def fit(self, rows: Training) -> Fitted:
        """Fit on rows sorted by date and instrument (see ``datasets.Training``).

        Features are standardised within dates; ``y`` is the label that the model's specification names
        and has a mean of 0 within dates only where the label has. ModelError if nothing can be learnt.
        """
        ...

    def from_text(self, text: str) -> Fitted:
        """The fitted model in ``text``; ModelError if it is not one of this family and version."""
        ...
