"""Calibration maps against scikit-learn and statsmodels, and what shows whether probabilities hold."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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
    v = w * len(w) / w.sum()
    up, down = v[y == 1].sum(), v[y == 0].sum()
    return np.where(y == 1, (up + 1) / (up + 2), 1 / (down + 2))


def test_platt_is_the_maximum_likelihood_of_statsmodels_on_smoothed_targets(cases: Cases) -> None:
    import statsmodels.api as sm

    scores, y, w = cases
    v = w * len(w) / w.sum()
    design = np.column_stack([scores, np.ones(len(y))])
    # a weighted logistic likelihood of fractions: twice the rows, once as 1 and once as 0
    t = smoothed(y, w)
    peer = sm.GLM(
        np.repeat([1.0, 0.0], len(y)),
        np.vstack([design, design]),
        family=sm.families.Binomial(),
        freq_weights=np.concatenate([v * t, v * (1 - t)]),
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


def test_isotonic_never_falls_and_is_the_mean_of_each_block() -> None:
    scores = np.array([1.0, 2.0, 3.0, 4.0, 5.0])
    y = np.array([0.0, 1.0, 0.0, 1.0, 1.0])
    found = calibration.isotonic(scores, y)
    np.testing.assert_allclose(found.apply(scores), [0.0, 0.5, 0.5, 1.0, 1.0])
    np.testing.assert_allclose(found.apply(np.array([-9.0, 9.0])), [0.0, 1.0])


@pytest.mark.parametrize("fit", [calibration.platt, calibration.isotonic])
def test_maps_go_through_their_body_bit_for_bit(fit, cases: Cases) -> None:
    found = fit(*cases)
    again = type(found).of(found.body())
    assert again.apply(cases[0]).tobytes() == found.apply(cases[0]).tobytes()


@pytest.mark.parametrize("fit", [calibration.platt, calibration.isotonic])
def test_bad_rows_are_refused_in_words(fit) -> None:
    x = np.arange(4.0)
    with pytest.raises(ModelError, match="outcome 1 never occurs in 4 rows"):
        fit(x, np.zeros(4))
    with pytest.raises(ModelError, match="outcome 0 never occurs"):
        fit(x, np.ones(4))
    with pytest.raises(ModelError, match=r"must be 0 or 1, found \[0.5\]"):
        fit(x, np.array([0, 0.5, 1, 1]))
    with pytest.raises(ModelError, match="1 of 4 scores not finite"):
        fit(np.array([0, np.nan, 1, 2]), np.array([0, 0, 1, 1]))
    with pytest.raises(ModelError, match="4 scores, 3 outcomes and 3 weights"):
        fit(x, np.array([0, 1, 1]))


def test_losses_against_scikit_learn(cases: Cases) -> None:
    from sklearn import metrics

    scores, y, w = cases
    p = calibration.sigmoid(scores)
    assert calibration.brier(p, y, w) == pytest.approx(
        metrics.brier_score_loss(y, p, sample_weight=w)
    )
    assert calibration.log_loss(p, y, w) == pytest.approx(metrics.log_loss(y, p, sample_weight=w))
    assert calibration.brier(p, y) == pytest.approx(metrics.brier_score_loss(y, p))
    assert math.isnan(calibration.brier(p[:0], y[:0]))
    assert calibration.log_loss(np.array([0.0]), np.array([1.0])) == pytest.approx(34.54, abs=0.01)


def test_logit_and_sigmoid_undo_each_other_and_never_overflow() -> None:
    x = np.array([-800.0, -30.0, -1.0, 0.0, 1.0, 30.0, 800.0])
    p = calibration.sigmoid(x)
    assert np.isfinite(p).all()
    assert p[0] == 0.0
    assert p[-1] == 1.0
    np.testing.assert_allclose(calibration.logit(p)[2:5], x[2:5])
    assert np.isfinite(calibration.logit(p)).all()


@settings(max_examples=30, deadline=None)
@given(st.permutations(range(40)), st.integers(2, 10))
def test_reliability_covers_every_row_and_does_not_mind_their_order(
    order: list[int], bins: int
) -> None:
    p = np.round(np.linspace(0.05, 0.95, 40), 1)
    y = (np.arange(40) % 3 == 0).astype(float)
    found = calibration.reliability(p, y, bins=bins)
    assert found.equals(calibration.reliability(p[order], y[order], bins=bins))
    assert found["n"].sum() == 40
    assert (found["high"][:-1] < found["low"][1:]).all()
    total = (found["mean_outcome"] * found["n"]).sum()
    assert total == pytest.approx(y.sum())


def test_reliability_leaves_out_what_is_missing_and_takes_no_rows() -> None:
    found = calibration.reliability(np.array([0.1, np.nan, 0.9]), np.array([0.0, 1.0, 1.0]), bins=2)
    assert found["n"].to_list() == [1, 1]
    assert found["mean_outcome"].to_list() == [0.0, 1.0]
    assert calibration.reliability(np.zeros(0), np.zeros(0)).height == 0
