"""What a fit looks at: the planted feature comes first, noise is told from nothing, the numbers are the formula's."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl
import pytest

from wealthos_pipeline import ml
from wealthos_pipeline.core.data import contract
from wealthos_pipeline.ml import importance, importance_review
from wealthos_pipeline.ml.importance import Sample
from wealthos_pipeline.ml.predictors.lightgbm import LightGBM
from wealthos_pipeline.stats.correlation import spearman
from wealthos_pipeline.utils.config import ModelSettings

FEATURES = ("planted", "twin_a", "twin_b", "noise", "absent")
DAYS, NAMES = 60, 30


def drawn(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """X, outcome and dates: outcomes follow ``planted`` and the mean of twins that are nearly alike."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((DAYS * NAMES, len(FEATURES))).astype(np.float32)
    X[:, 2] = X[:, 1] + 0.05 * X[:, 2]
    X[:, 4] = np.nan
    y = 0.5 * X[:, 0] + 0.25 * X[:, 1] + rng.standard_normal(len(X))
    return X, y, np.repeat(np.datetime64("2015-01-05") + np.arange(DAYS), NAMES)


class Line:
    """A fitted model that is a plain sum, and says so."""

    features = FEATURES
    slopes = np.array([1.0, 0.3, 0.3, 0.05, 0.0])

    def predict(self, X: np.ndarray) -> np.ndarray:
        out: np.ndarray = np.nan_to_num(X.astype(np.float64)) @ self.slopes
        return out

    def gain(self) -> np.ndarray:
        return np.abs(self.slopes)

    def contributions(self, X: np.ndarray) -> np.ndarray:
        return np.column_stack(
            [np.nan_to_num(X.astype(np.float64)) * self.slopes, np.zeros(len(X))]
        )

    def to_text(self) -> str:
        return ""


@pytest.fixture(scope="module")
def sample() -> Sample:
    return Sample(*drawn(2))


def by_name(found: list[importance.Importance]) -> dict[str, importance.Importance]:
    return {i.feature: i for i in found}


def test_permutation_is_the_mean_drop_of_the_rank_ic_by_date(sample: Sample) -> None:
    found = by_name(importance.permutation(Line(), sample, seed="m", horizon=1, repeats=2))
    edges = np.arange(0, DAYS * NAMES + 1, NAMES)

    def mean_ic(X: np.ndarray) -> float:
        values = Line().predict(X)
        parts = [slice(a, b) for a, b in pairwise(edges)]
        return float(np.mean([spearman(values[p], sample.outcome[p]) for p in parts]))

    drops = []
    for repeat in range(2):
        order = importance.shuffle(edges, f"m/planted/{repeat}")
        assert (
            np.sort(order.reshape(DAYS, NAMES)) == np.arange(len(order)).reshape(DAYS, NAMES)
        ).all()
        mixed = sample.X.copy()
        mixed[:, 0] = sample.X[order, 0]
        drops.append(mean_ic(sample.X) - mean_ic(mixed))
    assert found["planted"].value == pytest.approx(np.mean(drops), abs=1e-12)
    assert "absent" not in found  # nothing to shuffle


def test_the_planted_feature_is_first_and_noise_is_not_distinguishable_from_nothing(
    sample: Sample,
) -> None:
    from training_rows import training_rows

    X, y, dates = drawn(1)
    rows = training_rows(X, y, np.full(len(y), 1 / NAMES), dates, FEATURES)
    fitted = LightGBM(trees=30, seed=7).fit(rows)
    shuffled = importance.permutation(fitted, sample, seed="fit", horizon=1)
    for found in (shuffled, importance.shap(fitted, sample), importance.gain(fitted)):
        assert importance.ranked(found)[0] == (1, by_name(found)["planted"])
    alone = by_name(shuffled)
    assert alone["planted"].value > 5 * alone["planted"].se
    assert abs(alone["noise"].value) < 2 * alone["noise"].se
    groups = {"twins": ["twin_a", "twin_b"], "others": ["elsewhere"]}
    together = by_name(importance.permutation(fitted, sample, seed="fit", horizon=1, groups=groups))
    assert set(together) == {"twins"}
    assert together["twins"].value > alone["twin_a"].value + alone["twin_b"].value
    assert importance.permutation(fitted, sample, seed="fit", horizon=1) == shuffled


def test_shap_is_the_mean_absolute_contribution_and_gain_a_share(sample: Sample) -> None:
    found = by_name(importance.shap(Line(), sample, rows=len(sample.X)))
    sizes = np.abs(np.nan_to_num(sample.X.astype(np.float64)) * Line.slopes)
    assert [i.value for i in found.values()] == pytest.approx(sizes.mean(0), rel=1e-12)
    by_date = sizes.reshape(DAYS, NAMES, -1).mean(1)
    assert found["planted"].se == pytest.approx(by_date[:, 0].std(ddof=1) / DAYS**0.5)
    assert sum(i.value for i in importance.gain(Line())) == pytest.approx(1.0)


@pytest.fixture(scope="module")
def fitted_world(world: Any, settings: ModelSettings) -> tuple[Any, pl.DataFrame]:
    features = ("signal", "noise_a", "noise_b", "sparse")
    made = ml.fit_and_predict(
        world.scores, world.prices, world.universe, world.calendar, settings,
        feature_names=features, end=world.end,
    )  # fmt: skip
    return world, made.registry


def clusters(*rows: tuple[str, int, bool]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=["factor", "cluster", "representative"], orient="row")


GROUPS = clusters(("noise_a", 0, True), ("noise_b", 0, False), ("signal", 1, True))


def measured(w: Any, registry: pl.DataFrame, **more: Any) -> pl.DataFrame:
    given = {"end": w.end, **more}
    return importance_review.measure(
        registry, w.scores, w.prices, w.universe, GROUPS, w.calendar, **given
    ).importance


def test_the_review_measures_the_latest_fit_with_known_outcomes(
    fitted_world: tuple[Any, pl.DataFrame],
) -> None:
    w, registry = fitted_world
    found = measured(w, registry)
    walked = registry.filter(pl.col("kind") == "walk_forward")
    assert found.filter(pl.col("method") == "gain")["model_id"].n_unique() == walked.height
    outside = found.filter(pl.col("method") != "gain")
    assert outside["model_id"].n_unique() == 2  # one fit a model
    assert set(outside["method"]) == {"permutation", "permutation_cluster", "shap"}
    assert (outside["dates"] >= 10).all()
    first = w.calendar.firsts(w.end.replace(day=1), w.end, "month") or [w.end.replace(day=1)]
    assert (outside["known_at"] < w.calendar.known_at(first[0])).all()
    cluster = outside.filter(pl.col("method") == "permutation_cluster")
    assert cluster["feature"].unique().to_list() == ["noise_a"]


def test_a_later_run_that_keeps_what_stands_equals_the_full_one(
    fitted_world: tuple[Any, pl.DataFrame], monkeypatch: pytest.MonkeyPatch
) -> None:
    w, registry = fitted_world
    early = w.calendar.offset(w.end, -45)
    old = w.until(early)
    before = measured(old, registry.filter(pl.col("refit_date") <= early))
    full = measured(w, registry)
    assert measured(w, registry, existing=before).equals(full)
    monkeypatch.setattr(importance, "permutation", None)  # nothing is measured twice
    assert measured(w, registry, existing=full).equals(full)
    first = importance_review.needed_from(registry, w.calendar, w.end)
    assert measured(w.between(first, w.end), registry, existing=full).equals(full)


def test_without_fits_there_is_nothing(world: Any) -> None:
    assert measured(world, contract("models.registry").empty()).is_empty()


def test_an_artefact_that_cannot_be_read_is_told(fitted_world: tuple[Any, pl.DataFrame]) -> None:
    w, registry = fitted_world
    broken = registry.with_columns(pl.lit('{"model": "ridge", "format": 99}').alias("artefact"))
    made = importance_review.measure(
        broken, w.scores, w.prices, w.universe, GROUPS, w.calendar, end=w.end
    )
    assert made.importance.is_empty()
    assert made.remarks
