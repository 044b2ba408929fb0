"""Platt's map against statsmodels, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest

from wealthos_pipeline.core.errors import ModelError
from wealthos_pipeline.ml.classifiers import calibration

Cases = tuple[np.ndarray, np.ndarray, np.ndarray]


@pytest.fixture(scope="module")
def cases() -> Cases:
    rng = np.random.default_rng(5)
    scores = 2.0 * rng.standard_normal(600) + 0.4
    y = (rng.random(600) < calibration.sigmoid(0.5 * scores - 0.7)).astype(float)
    return scores, y, rng.uniform(0.2, 2.0, 600)


def smoothed(y: np.ndarray, w: np.ndarray) -> np.ndarray:
    up, down = w[y == 1].sum(), w[y == 0].sum()
    return np.where(y == 1, (up + 1) / (up + 2), 1 / (down + 2))


def test_platt_is_the_maximum_likelihood_of_statsmodels_on_smoothed_targets(cases: Cases) -> None:
    import statsmodels.api as sm

    scores, y, w = cases
    w = w / 20  # twenty rows are one observation, as where labels overlap
    design = np.column_stack([scores, np.ones(len(y))])
    # a weighted logistic likelihood of fractions: twice the rows, once as 1 and once as 0
    t = smoothed(y, w)
    peer = sm.GLM(
        np.repeat([1.0, 0.0], len(y)),
        np.vstack([design, design]),
        family=sm.families.Binomial(),
        freq_weights=np.concatenate([w * t, w * (1 - t)]),
    ).fit(tol=1e-12)
    found = calibration.platt(scores, y, w)
    np.testing.assert_allclose([found.slope, found.intercept], peer.params, rtol=1e-7)


def test_platt_stays_finite_where_the_scores_separate_the_classes() -> None:
    scores = np.array([-3.0, -2.0, -1.0, 1.0, 2.0, 3.0])
    found = calibration.platt(scores, (scores > 0).astype(float))
    p = found.apply(scores)
    assert 0.1 < p[0] < 0.25
    assert 0.75 < p[-1] < 0.9


def test_scores_that_rank_the_wrong_way_give_the_base_rate_to_everybody(cases: Cases) -> None:
    scores, y, w = cases
    found = calibration.platt(-scores, y, w)
    assert found.slope == 0.0
    np.testing.assert_allclose(found.apply(scores), np.average(smoothed(y, w), weights=w))
    assert calibration.platt(np.full(600, 3.0), y).slope == 0.0


def test_a_map_goes_through_its_body_bit_for_bit(cases: Cases) -> None:
    found = calibration.platt(*cases)
    again = calibration.Platt.of(found.body())
    assert again.apply(cases[0]).tobytes() == found.apply(cases[0]).tobytes()


def test_bad_rows_are_refused_in_words() -> None:
    x = np.arange(4.0)
    with pytest.raises(ModelError, match="outcome 1 never occurs in 4 rows"):
        calibration.platt(x, np.zeros(4))
    with pytest.raises(ModelError, match="outcome 0 never occurs"):
        calibration.platt(x, np.ones(4))
    with pytest.raises(ModelError, match=r"must be 0 or 1, found \[0.5\]"):
        calibration.platt(x, np.array([0, 0.5, 1, 1]))
    with pytest.raises(ModelError, match="1 of 4 scores not finite"):
        calibration.platt(np.array([0, np.nan, 1, 2]), np.array([0, 0, 1, 1]))
    with pytest.raises(ModelError, match="4 scores, 3 outcomes and 3 weights"):
        calibration.platt(x, np.array([0, 1, 1]))


def test_logit_and_sigmoid_undo_each_other_and_never_overflow() -> None:
    x = np.array([-800.0, -30.0, -1.0, 0.0, 1.0, 30.0, 800.0])
    p = calibration.sigmoid(x)
    assert np.isfinite(p).all()
    assert p[0] == 0.0
    assert p[-1] == 1.0
    np.testing.assert_allclose(calibration.logit(p)[2:5], x[2:5])
    assert np.isfinite(calibration.logit(p)).all()
