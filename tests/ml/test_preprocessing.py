"""What is learnt from data is learnt on the training side."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wealthos_pipeline.core.errors import ModelError
from wealthos_pipeline.ml import preprocessing


def rows(seed: int, n: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    X = rng.standard_t(3, (n, 4)).astype(np.float32) * np.float32([1, 10, 0.1, 1])
    X[rng.random(X.shape) < 0.2] = np.nan
    return X


@settings(deadline=None, derandomize=True, max_examples=30)
@given(seed=st.integers(0, 10_000), scale=st.floats(-1e6, 1e6), cut=st.integers(30, 90))
def test_the_test_side_changes_nothing_of_the_training_side(seed, scale, cut) -> None:
    """Whatever stands in the rows that are predicted, what is learnt and each row's result are the same."""
    X = rows(seed, 120)
    other = X.copy()
    other[cut:] = np.nan_to_num(other[cut:]) * np.float32(scale) + np.float32(3.0)
    learnt = [preprocessing.learn(A[:cut], np.ones(cut)) for A in (X, other)]
    for part in ("fill", "low", "high", "mean", "scale"):
        assert getattr(learnt[0], part).tobytes() == getattr(learnt[1], part).tobytes()
    one = learnt[0].apply(X)
    assert one[:cut].tobytes() == learnt[1].apply(other)[:cut].tobytes()
    alone = np.vstack([learnt[0].apply(X[i : i + 1]) for i in range(cut, 120)])
    assert alone.tobytes() == one[cut:].tobytes()


def test_against_numpy() -> None:
    X, w = rows(1, 200), np.random.default_rng(2).uniform(0.5, 2.0, 200)
    got = preprocessing.learn(X, w).apply(X)
    for j in range(4):
        x = X[:, j].astype(np.float64)
        median = np.nanmedian(x)
        mad = 1.4826 * np.nanmedian(np.abs(x - median))
        x = np.clip(np.where(np.isnan(x), median, x), median - 5 * mad, median + 5 * mad)
        mean = np.average(x, weights=w)
        z = (x - mean) / np.sqrt(np.average((x - mean) ** 2, weights=w))
        np.testing.assert_allclose(got[:, j], z, rtol=1e-5, atol=1e-6)


def test_other_features_than_it_learnt_are_refused() -> None:
    learnt = preprocessing.learn(rows(3, 100), np.ones(100), limit=None)
    with pytest.raises(ModelError, match="learnt on 4 features, found 3"):
        learnt.apply(rows(4, 5)[:, :3])


def test_what_never_varies_is_zero_and_nothing_at_all_is_refused() -> None:
    X = rows(5, 60)
    X[:, 1], X[:, 2] = np.nan, 0.5
    got = preprocessing.learn(X, np.ones(60)).apply(rows(6, 10))
    assert not got[:, 1:3].any()
    assert np.isfinite(got).all()
    with pytest.raises(ModelError, match="none of the 2 features has values that differ in 60"):
        preprocessing.learn(X[:, 1:3], np.ones(60))
