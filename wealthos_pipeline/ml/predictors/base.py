"""What a predictor is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np


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
        """JSON from which ``Predictor.from_text`` gives a model with the same predictions, bit for bit."""
        ...


class Predictor(Protocol):
    """A family of models with its parameters.

    ``params`` is everything that can change a fit, and nothing else (no thread counts).
    """

    @property
    def name(self) -> str: ...

    @property
    def params(self) -> Mapping[str, float | int | str]: ...

    def fit(
        self,
        X: np.ndarray,
        y: np.ndarray,
        w: np.ndarray,
        dates: np.ndarray,
        feature_names: Sequence[str],
    ) -> Fitted:
        """Fit on rows sorted by date and instrument.

        X: float32 (rows, features), standardised within dates, NaN where missing. y: float64, mean 0
        within dates. w: float64 weights. dates: datetime64[D]. ModelError if nothing can be learnt.
        """
        ...

    def from_text(self, text: str) -> Fitted:
        """The fitted model in ``text``; ModelError if it is not one of this family and version."""
        ...
