"""Labelled rows for tests of models, from plain arrays."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from wealthos_pipeline.ml.datasets import Training


def training_rows(
    X: np.ndarray,
    y: np.ndarray,
    w: np.ndarray,
    dates: np.ndarray,
    features: Sequence[str],
    *,
    horizon_days: int = 7,
) -> Training:
    """``Training`` of rows sorted by date; labels end ``horizon_days`` calendar days after their date,
    outcomes are y in percent, instruments are numbered within the date."""
    days = dates.astype("datetime64[D]")
    first = np.searchsorted(days, days, side="left")
    ends = days + horizon_days
    return Training(
        X, y, w, days, ends, ends.astype("datetime64[us]"),
        (np.arange(len(y)) - first).astype(np.int32), y / 100.0, tuple(features),
    )  # fmt: skip
