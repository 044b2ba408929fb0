"""Stacks: out-of-fold predictions are purged, weights are non-negative least squares of them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from training_rows import training_rows

from wealthos_pipeline.core.errors import ConfigError, ModelError
from wealthos_pipeline.core.model import ModelSpec
from wealthos_pipeline.ml import predictors, splitters
from wealthos_pipeline.ml.datasets import Training
from wealthos_pipeline.ml.predictors.linear import FittedLinear
from wealthos_pipeline.ml.predictors.ridge import Ridge
from wealthos_pipeline.ml.predictors.stacked import FittedStack, Member, Stacked

NAMES = ("a", "b", "c")


@dataclass(frozen=True)
class Fixed:
    """Predicts with coefficients that it was given; remembers what it was shown."""

    name: str
    coefficients: tuple[float, ...]
    seen: list[Training] = field(default_factory=list)
    params = {}  # noqa: RUF012

    def fit(self, rows: Training) -> FittedLinear:
        self.seen.append(rows)
        return FittedLinear("ridge", rows.features, self.coefficients)


@pytest.fixture(scope="module")
def rows() -> Training:
    rng = np.random.default_rng(2)
    dates, names = 80, 15
    n = dates * names
    X = rng.standard_normal((n, 3)).astype(np.float32)
    y = 0.5 * X[:, 0] + 0.2 * X[:, 1] + rng.standard_normal(n)
    days = np.repeat(np.datetime64("2001-01-01") + 7 * np.arange(dates), names)
    w = rng.uniform(0.5, 1.5, n) / names
    return training_rows(X, y, w, days, NAMES, horizon_days=25)


def fit(rows: Training, *members: Fixed, alpha: float = 0.0, folds: int = 4) -> FittedStack:
    found = Stacked(tuple(Member(m, "fixed") for m in members), folds=folds, alpha=alpha).fit(rows)
    assert isinstance(found, FittedStack)
    return found


def z(rows: Training, x: np.ndarray) -> np.ndarray:
    out = np.empty(len(x))
    for day in np.unique(rows.dates):
        on = rows.dates == day
        out[on] = (x[on] - x[on].mean()) / x[on].std()
    return out


def demeaned(rows: Training) -> np.ndarray:
    out = rows.y.copy()
    for day in np.unique(rows.dates):
        on = rows.dates == day
        out[on] -= np.average(rows.y[on], weights=rows.w[on])
    return out


def test_weights_are_non_negative_least_squares_of_standardised_predictions(rows: Training) -> None:
    from scipy.optimize import nnls

    members = (Fixed("one", (2.0, 0, 0)), Fixed("two", (0, 0.1, 0)), Fixed("bad", (-1.0, 0, 0)))
    found = fit(rows, *members)
    P = np.column_stack([z(rows, rows.X.astype(float) @ m.coefficients) for m in members])
    root = np.sqrt(rows.w)
    wanted = nnls(P * root[:, None], demeaned(rows) * root)[0]
    np.testing.assert_allclose(list(found.weights.values()), wanted, rtol=1e-8)
    assert found.weights["bad"] == 0.0
    # a deviation within a date of the second member is 0.1, whatever its unit
    assert found.members[1].deviation == pytest.approx(0.1, rel=0.05)
    score = wanted[0] * 2 * rows.X[:, 0] / found.members[0].deviation
    score = score + wanted[1] * 0.1 * rows.X[:, 1] / found.members[1].deviation
    np.testing.assert_allclose(found.predict(rows.X), score, rtol=1e-6)


def test_a_strong_pull_gives_equal_weights(rows: Training) -> None:
    members = (Fixed("one", (1.0, 0, 0)), Fixed("two", (0, 1.0, 0)))
    free = list(fit(rows, *members).weights.values())
    half = list(fit(rows, *members, alpha=80.0).weights.values())
    equal = list(fit(rows, *members, alpha=1e9).weights.values())
    assert equal[0] == pytest.approx(equal[1], rel=1e-6)
    assert free[0] > half[0] > equal[0] > half[1] > free[1] > 0


def test_each_fold_is_predicted_from_rows_whose_labels_do_not_reach_into_it(rows: Training) -> None:
    member, other = Fixed("one", (1.0, 0, 0)), Fixed("two", (0, 1.0, 0))
    fit(rows, member, other, folds=5)
    folds = splitters.purged_kfold(rows, 5)
    assert len(member.seen) == 6
    for shown, fold in zip(member.seen, folds, strict=False):
        np.testing.assert_array_equal(shown.y, rows.y[fold.train])
        first, last = rows.dates[fold.test].min(), rows.label_end[fold.test].max()
        assert ((shown.label_end < first) | (shown.dates > last)).all()
    assert len(member.seen[-1]) == len(rows)


def test_a_member_sees_the_features_that_it_names(rows: Training) -> None:
    member = Fixed("narrow", (1.0,))
    stack = Stacked((Member(member, "fixed", ("b",)), Member(Ridge(alpha=1.0), "ridge")))
    found = stack.fit(rows)
    assert member.seen[0].features == ("b",)
    parts = found.contributions(rows.X[:30])
    np.testing.assert_allclose(parts.sum(axis=1), found.predict(rows.X[:30]), atol=1e-12)
    with pytest.raises(ModelError, match=r"member narrow wants zz_\*, which is not among"):
        Stacked((Member(member, "fixed", ("zz_*",)), Member(member, "fixed"))).fit(rows)


def test_members_that_foresaw_nothing_get_no_stack(rows: Training) -> None:
    bad = Fixed("bad", (-1.0, 0, 0)), Fixed("worse", (0, -1.0, 0))
    with pytest.raises(ModelError, match=r"no member gets a weight: .*bad -0\.4\d+, worse -0\.1"):
        fit(rows, *bad)
    silent = fit(rows, Fixed("one", (1.0, 0, 0)), Fixed("silent", (0, 0, 0)), alpha=50.0)
    assert silent.weights["silent"] == 0.0


def test_a_member_that_cannot_be_fitted_is_named_with_its_fold(rows: Training) -> None:
    @dataclass(frozen=True)
    class Broken(Fixed):
        def fit(self, rows: Training) -> FittedLinear:
            raise ModelError("nothing works")

    with pytest.raises(ModelError, match="member late on fold 1 of 4: nothing works"):
        fit(rows, Broken("late", ()), Fixed("one", (1.0, 0, 0)))


def test_a_stack_is_made_of_members_that_can_be_combined(rows: Training) -> None:
    def spec(family: str, **params: object) -> ModelSpec:
        return ModelSpec.model_validate({"name": family, "family": family, "params": params})

    with pytest.raises(ConfigError) as caught:
        predictors.make(
            spec("stacked", folds=1), members=[spec("ridge", alpha=-1), spec("direction")]
        )
    for part in (
        "folds must be",
        "member ridge: family ridge: alpha",
        "direction cannot be a member",
    ):
        assert part in str(caught.value)
    with pytest.raises(ConfigError, match=r"family ridge has no members, found \['ridge'\]"):
        predictors.make(spec("ridge"), members=[spec("ridge")])
    with pytest.raises(ModelError, match="model stacked has 0 members, two are needed"):
        predictors.make(spec("stacked")).fit(rows)


def test_params_of_a_stack_hold_those_of_its_members() -> None:
    stack = Stacked((Member(Ridge(alpha=2.0), "ridge", ("m_*",)),), folds=3)
    assert stack.params == {
        "folds": 3, "embargo": 0, "alpha": 0.0,
        "ridge.family": "ridge", "ridge.features": "m_*", "ridge.alpha": 2.0,
    }  # fmt: skip


def test_on_noise_the_weights_are_small_or_there_is_no_stack(rows: Training) -> None:
    members = (Fixed("one", (1.0, 0, 0)), Fixed("two", (0, 0, 1.0)))
    assert fit(rows, *members).weights["one"] > 0.4
    for seed in range(5):
        noise = replace(rows, y=np.random.default_rng(seed).standard_normal(len(rows)))
        P = np.column_stack([z(rows, rows.X[:, j].astype(float)) for j in (0, 2)])
        if (P.T @ (rows.w * demeaned(noise)) < 0).all():
            with pytest.raises(ModelError, match="no member gets a weight"):
                fit(noise, *members)
        else:
            assert sum(fit(noise, *members).weights.values()) < 0.12
