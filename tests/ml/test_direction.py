"""The direction classifier against scikit-learn, and its probabilities against what happens."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from training_rows import training_rows

from wealthos_pipeline.core.errors import ModelError
from wealthos_pipeline.ml import splitters
from wealthos_pipeline.ml.classifiers import calibration
from wealthos_pipeline.ml.classifiers.direction import Direction, FittedDirection
from wealthos_pipeline.ml.datasets import Training
from wealthos_pipeline.ml.predictors.lightgbm import LightGBM

NAMES = ("a", "b", "c")


def make_rows(strength: float, seed: int = 6, dates: int = 150) -> Training:
    rng = np.random.default_rng(seed)
    names = 20
    n = dates * names
    X = rng.standard_normal((n, 3)).astype(np.float32)
    y = rng.random(n) < calibration.sigmoid(strength * (X[:, 0] - 0.5 * X[:, 1]) + 0.4)
    X[rng.random((n, 3)) < 0.05] = np.nan
    days = np.repeat(np.datetime64("2001-01-01") + 7 * np.arange(dates), names)
    w = rng.uniform(0.5, 1.5, n) / names
    return training_rows(X, y.astype(float), w, days, NAMES, horizon_days=20)


@pytest.fixture(scope="module")
def rows() -> Training:
    return make_rows(0.8)


def fit(model: Direction, rows: Training) -> FittedDirection:
    found = model.fit(rows)
    assert isinstance(found, FittedDirection)
    return found


def trees(**changes: object) -> Direction:
    grown = LightGBM(trees=15, seed=3, objective="binary")
    return Direction(learner="lightgbm", trees=replace(grown, **changes))


def test_log_odds_are_the_penalised_likelihood_of_statsmodels_on_all_rows(rows: Training) -> None:
    """The gradient of Σ w · loss + ½ α ‖β‖² is 0 at the learner's coefficients."""
    found = fit(Direction(alpha=5.0), rows)
    X = np.nan_to_num(rows.X.astype(float))
    raw = found.learnt.raw(rows.X)
    beta = found.learnt.contributions(np.eye(3, dtype=np.float32))[:, :-1].diagonal()
    np.testing.assert_allclose(raw, X @ beta + found.learnt.contributions(rows.X)[0, -1])
    gap = rows.w * (calibration.sigmoid(raw) - rows.y)
    np.testing.assert_allclose(X.T @ gap + 5.0 * beta, 0, atol=1e-6)
    assert np.sum(gap) == pytest.approx(0, abs=1e-6)


def test_calibration_is_learnt_from_purged_out_of_fold_log_odds(rows: Training) -> None:
    from sklearn.linear_model import LogisticRegression

    found = fit(Direction(alpha=5.0, folds=3), rows)
    raw = np.zeros(len(rows))
    X = np.nan_to_num(rows.X.astype(float))
    for fold in splitters.purged_kfold(rows, 3):
        peer = LogisticRegression(C=0.2, solver="newton-cholesky", tol=1e-9)
        peer.fit(X[fold.train], rows.y[fold.train], sample_weight=rows.w[fold.train])
        odds = peer.decision_function(X)
        raw[fold.test] = odds[fold.test] - np.average(odds[fold.train], weights=rows.w[fold.train])
    wanted = calibration.platt(raw, rows.y, rows.w)
    assert found.platt.slope == pytest.approx(wanted.slope, rel=1e-6)
    centre = np.average(found.learnt.raw(rows.X), weights=rows.w)
    assert found.log_odds(rows.X) == pytest.approx(
        wanted.slope * (found.learnt.raw(rows.X) - centre) + wanted.intercept, rel=1e-5
    )


def test_years_that_rise_and_years_that_fall_do_not_hide_what_tells_names_apart() -> None:
    """Base rates of 80 and 20 % in turn: the fold that leaves one out has learnt too much of the other."""
    rng = np.random.default_rng(4)
    rows = make_rows(0.0)
    x = np.nan_to_num(rows.X[:, 0].astype(float))
    block = np.arange(len(rows)) * 4 // len(rows)
    y = rng.random(len(rows)) < calibration.sigmoid(0.15 * x + np.where(block % 2, 1.4, -1.4))
    found = fit(Direction(alpha=1.0), replace(rows, y=y.astype(float)))
    assert 0.4 < found.platt.slope < 2.0


@pytest.mark.parametrize("model", [Direction(alpha=5.0), trees()], ids=lambda m: m.learner)
def test_probabilities_hold_on_rows_never_seen(model: Direction, rows: Training) -> None:
    from sklearn import metrics

    found = fit(model, rows)
    fresh = make_rows(0.8, seed=11)
    p = found.predict(fresh.X)
    base = np.full(len(fresh), rows.y.mean())
    brier, of_base = (metrics.brier_score_loss(fresh.y, x) for x in (p, base))
    assert brier < of_base - 0.02
    assert metrics.log_loss(fresh.y, p) < metrics.log_loss(fresh.y, base)
    fifths = np.array_split(np.argsort(p, kind="stable"), 5)
    assert max(abs(p[i].mean() - fresh.y[i].mean()) for i in fifths) < 0.08


def test_trees_that_overfit_are_drawn_back_to_what_held_out_of_fold() -> None:
    noise = make_rows(0.05)
    wild = fit(trees(learning_rate=0.5, leaves=63, min_leaf_share=0.0), noise)
    raw = calibration.sigmoid(wild.learnt.raw(noise.X))
    assert np.ptp(raw) > 0.6
    assert wild.platt.slope < 0.2
    assert np.ptp(wild.predict(noise.X)) < 0.2


def test_a_learner_that_ranks_the_wrong_way_gives_the_base_rate(monkeypatch) -> None:
    """Where the relation turns over in every fold, what was learnt elsewhere is wrong."""
    rows = make_rows(0.0)
    half = np.arange(len(rows)) < len(rows) // 2
    x = np.nan_to_num(rows.X[:, 0].astype(float))
    turned = replace(rows, y=np.where(half, x > 0, x <= 0).astype(float))
    found = fit(Direction(alpha=1.0, folds=2), turned)
    assert found.platt.slope == 0.0
    p = found.predict(rows.X)
    assert np.ptp(p) == 0
    assert p[0] == pytest.approx(np.average(turned.y, weights=rows.w), abs=1e-3)


def test_contributions_are_on_the_scale_of_log_odds(rows: Training) -> None:
    for model in (Direction(), trees()):
        found = fit(model, rows)
        p = found.predict(rows.X[:40])
        parts = found.contributions(rows.X[:40])
        np.testing.assert_allclose(parts.sum(axis=1), calibration.logit(p), atol=1e-9)
        assert ((p > 0) & (p < 1)).all()


def test_trees_go_through_their_text_and_threads_bit_for_bit(rows: Training, monkeypatch) -> None:
    from wealthos_pipeline.ml.predictors import lightgbm

    monkeypatch.setattr(lightgbm, "ROWS_A_THREAD", 1)
    one, two = (fit(trees(threads=n), rows) for n in (1, 2))
    assert one.to_text() == two.to_text()
    again = trees().from_text(one.to_text())
    assert again.predict(rows.X).tobytes() == one.predict(rows.X).tobytes()


def test_a_feature_that_knows_the_future_is_learnt_with_a_penalty_and_named_without(
    rows: Training,
) -> None:
    X = np.column_stack([rows.X[:, 1:], np.where(rows.y > 0, 1.0, -1.0)]).astype(np.float32)
    leak = replace(rows, X=X)
    assert fit(Direction(alpha=1.0), leak).gain()[2] > 1.0
    with pytest.raises(
        ModelError, match="Look for a feature that knows the future, or raise alpha"
    ):
        Direction(alpha=1e-9).fit(leak)


def test_a_class_that_never_occurs_is_said_in_words(rows: Training) -> None:
    for model in (Direction(), trees()):
        with pytest.raises(ModelError, match="label 1 never occurs in 3000 training rows: no name"):
            model.fit(replace(rows, y=np.zeros(len(rows))))
    # both occur, but all rises lie in the block that the first fold leaves out
    early = (np.arange(len(rows)) < 100).astype(float)
    with pytest.raises(ModelError, match=r"label 1 never occurs .*\(calibration, fold 1 of 4\)"):
        Direction().fit(replace(rows, y=early))
    with pytest.raises(ModelError, match=r"labels must be 0 or 1, found 0\.5"):
        Direction().fit(replace(rows, y=np.where(early > 0, 0.5, rows.y)))
