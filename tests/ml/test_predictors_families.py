"""What holds for every family: text, rows by themselves, threads, bad rows, parameters that are checked."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from threadpoolctl import threadpool_limits
from training_rows import training_rows

from wealthos_pipeline.core.errors import ConfigError, ModelError
from wealthos_pipeline.core.model import ModelSpec
from wealthos_pipeline.ml import predictors, specs
from wealthos_pipeline.ml.datasets import Training
from wealthos_pipeline.ml.predictors import lightgbm
from wealthos_pipeline.ml.predictors.base import Fitted
from wealthos_pipeline.utils.config import ModelSettings

NAMES = ("a", "b", "c", "d")
SMALL = {"lightgbm": {"trees": 6}, "direction": {"alpha": 1.0}}


def spec(family: str, **params: object) -> ModelSpec:
    label = "direction" if family == "direction" else "rank"
    body = {"name": family, "family": family, "label": label}
    return ModelSpec.model_validate({**body, "params": {**SMALL.get(family, {}), **params}})


def make(family: str, **params: object):
    members = [spec(f) for f in ("ridge", "lightgbm", "ic_weighted")]
    return predictors.make(spec(family, **params), members=members if family == "stacked" else ())


def make_rows(dates: int = 60, names: int = 20, seed: int = 0) -> Training:
    rng = np.random.default_rng(seed)
    n = dates * names
    X = rng.standard_normal((n, 4)).astype(np.float32)
    y = 0.4 * X[:, 0] - 0.3 * X[:, 1] + rng.standard_normal(n)
    X[rng.random((n, 4)) < 0.1] = np.nan
    days = np.repeat(np.datetime64("2001-01-01") + 7 * np.arange(dates), names)
    return training_rows(X, y, np.full(n, 1 / names), days, NAMES, horizon_days=12)


def labelled(rows: Training, family: str) -> Training:
    return replace(rows, y=(rows.y > 0).astype(float)) if family == "direction" else rows


@pytest.fixture(scope="module")
def rows() -> Training:
    return make_rows()


@pytest.fixture(scope="module")
def fitted(rows: Training) -> dict[str, Fitted]:
    return {f: make(f).fit(labelled(rows, f)) for f in predictors.FAMILIES}


FAMILIES = list(predictors.FAMILIES)


@pytest.mark.parametrize("family", FAMILIES)
def test_text_gives_the_same_predictions_bit_for_bit(family: str, fitted) -> None:
    one = fitted[family]
    fresh = make_rows(7, 20, seed=9).X
    for again in (make(family).from_text(one.to_text()), predictors.read(one.to_text())):
        assert again.features == NAMES
        assert again.to_text() == one.to_text()
        assert again.predict(fresh).tobytes() == one.predict(fresh).tobytes()
    assert np.ptp(one.predict(fresh)) > 0


@pytest.mark.parametrize("family", FAMILIES)
def test_a_rows_score_depends_on_no_other_row(family: str, fitted, rows: Training) -> None:
    one = fitted[family]
    whole = one.predict(rows.X)
    alone = np.concatenate([one.predict(rows.X[i : i + 1]) for i in range(25)])
    assert whole[:25].tobytes() == alone.tobytes()
    assert len(one.predict(rows.X[:0])) == 0
    assert one.contributions(rows.X[:0]).shape == (0, 5)


@pytest.mark.parametrize("family", FAMILIES)
def test_contributions_add_up_to_the_score(family: str, fitted, rows: Training) -> None:
    one = fitted[family]
    parts = one.contributions(rows.X[:50])
    score = one.predict(rows.X[:50])
    if family == "direction":  # on the scale of log-odds
        score = np.log(score / (1 - score))
    np.testing.assert_allclose(parts.sum(axis=1), score, atol=1e-9)
    gain = one.gain()
    assert gain.shape == (4,)
    assert (gain >= 0).all()
    assert set(np.argsort(-gain)[:2]) == {0, 1}


@pytest.mark.parametrize("family", [f for f in FAMILIES if f not in ("ridge", "lightgbm")])
def test_one_and_two_threads_give_the_same_bits(family: str, rows: Training, monkeypatch) -> None:
    monkeypatch.setattr(lightgbm, "ROWS_A_THREAD", 1)
    members = [spec(f) for f in ("ridge", "lightgbm")] if family == "stacked" else []
    texts = set()
    for n in (1, 2):
        model = predictors.make(spec(family), threads=n, members=members)
        with threadpool_limits(limits=n):
            one = model.fit(labelled(rows, family))
            texts.add((one.to_text(), one.predict(rows.X).tobytes()))
    assert len(texts) == 1


@pytest.mark.parametrize("family", FAMILIES)
def test_rows_that_teach_nothing_are_refused_in_words(family: str, rows: Training) -> None:
    right = labelled(rows, family)
    model = make(family)
    nothing = replace(right, X=np.full_like(rows.X, np.nan))
    with pytest.raises(ModelError, match="none of the 4 features has a value that differs"):
        model.fit(nothing)
    constant = replace(right, y=np.ones(len(rows)))
    words = "label 0 never occurs" if family == "direction" else "all 1200 training labels are 1"
    with pytest.raises(ModelError, match=words):
        model.fit(constant)
    with pytest.raises(ModelError):
        model.fit(right.take(slice(0, 0)))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_feature_without_values_is_harmless(family: str, rows: Training) -> None:
    dead = rows.X.copy()
    dead[:, 3] = np.nan
    one = make(family).fit(replace(labelled(rows, family), X=dead))
    assert np.isfinite(one.predict(dead)).all()
    assert one.gain()[3] == 0


@pytest.mark.parametrize("family", FAMILIES)
def test_more_features_than_names_is_fitted_or_refused_in_words(family: str) -> None:
    few = make_rows(40, 6)
    X = np.tile(few.X, 3) + np.random.default_rng(1).standard_normal((240, 12)).astype(np.float32)
    wide = labelled(replace(few, X=X, features=tuple("abcdefghijkl")), family)
    if family == "fama_macbeth":
        with pytest.raises(ModelError, match=r"12 features need 17, a date has 6 at most"):
            make(family).fit(wide)
    else:
        assert np.isfinite(make(family).fit(wide).predict(X)).all()


@pytest.mark.parametrize("family", ["stacked", "direction"])
def test_one_date_is_too_few_for_folds(family: str, rows: Training) -> None:
    with pytest.raises(ModelError, match="4 blocks need at least 4 dates, found 1"):
        make(family).fit(labelled(rows, family).take(slice(0, 20)))


@pytest.mark.parametrize("family", FAMILIES)
def test_artefacts_that_are_not_its_own_are_refused_in_words(family: str, fitted) -> None:
    model, text = make(family), fitted[family].to_text()
    body = json.loads(text)
    other = "ridge" if family != "ridge" else "lightgbm"
    with pytest.raises(ModelError, match=f"{other}' format 1, expected '{family}' format 1; refit"):
        model.from_text(fitted[other].to_text())
    with pytest.raises(ModelError, match="format 99, expected"):
        model.from_text(json.dumps(body | {"format": 99}))
    for damaged in (text[: len(text) // 2], "[]", "null"):
        with pytest.raises(ModelError, match=r"damaged: it (is not JSON|holds a)"):
            model.from_text(damaged)
    for key in sorted(set(body) - {"format", "model"}):
        with pytest.raises(ModelError, match=f"damaged: '{key}' is missing; refit"):
            model.from_text(json.dumps({k: v for k, v in body.items() if k != key}))
    with pytest.raises(ModelError):
        model.from_text(json.dumps(body | {"features": ["a"]}))


def test_an_artefact_of_a_family_that_nobody_knows_is_refused() -> None:
    with pytest.raises(ModelError, match=r"family 'oracle', which this program does not know"):
        predictors.read('{"format":1,"model":"oracle"}')
    with pytest.raises(ModelError, match="damaged: it is not JSON"):
        predictors.read("{")


def test_every_parameter_that_is_wrong_is_named() -> None:
    bad = spec("lightgbm", trees=2.5, leaves=1, learning_rate=0, tress=10, max_bin="many")
    with pytest.raises(ConfigError) as caught:
        predictors.make(bad)
    words = str(caught.value)
    for part in (
        "trees must be a whole number at least 1, at most 10000, found 2.5",
        "leaves must be a whole number at least 2, at most 1024, found 1",
        "learning_rate must be a number above 0, at most 1, found 0",
        "no parameter 'tress' (did you mean trees?); there are: trees, leaves",
        "max_bin must be a whole number at least 2, at most 255, found 'many'",
    ):
        assert part in words
    assert len(predictors.faults(bad)) == 5
    with pytest.raises(
        ConfigError, match="combine must be one of ic, inverse_covariance, found 'no'"
    ):
        make("ic_weighted", combine="no")
    with pytest.raises(ConfigError, match="shrink must be true or false, found 1"):
        make("fama_macbeth", shrink=1)
    wild = spec("ridge").model_copy(update={"params": {"alpha": float("inf")}})
    assert predictors.faults(wild) == ["family ridge: alpha must be a number above 0, found inf"]
    with pytest.raises(ConfigError, match="alpha must be a number above 0, found True"):
        make("ridge", alpha=True)


def test_parameters_reach_the_predictor_in_their_own_types() -> None:
    assert make("ridge", alpha=3).params == {"alpha": 3.0}
    assert make("lightgbm", trees=7.0).params["trees"] == 7
    assert make("direction", learner="lightgbm", trees=9).params["trees"] == 9
    for family in predictors.families():
        assert predictors.faults(spec(family.name)) == []
        own = make(family.name).params
        wanted = {p.name for p in family.parameters}
        if family.name == "direction":
            own = own | make("direction", learner="lightgbm").params
        assert wanted <= set(own)


def test_a_label_that_the_family_cannot_learn_is_a_fault() -> None:
    wrong = spec("direction").model_copy(update={"label": "rank"})
    assert predictors.faults(wrong) == [
        "family direction learns the label direction, found 'rank'; write label: direction"
    ]
    with pytest.raises(ModelError, match=r"labels must be 0 or 1, found .*write label: direction"):
        predictors.make(wrong).fit(make_rows())
    assert predictors.faults(spec("oracle"))[0].startswith("unknown family 'oracle'; there are: ")


def test_every_model_of_the_files_can_be_made() -> None:
    settings = ModelSettings()
    found = specs.available(settings)
    files = Path(specs.folder(settings)).glob("*.yaml")
    assert {p.stem for p in files} >= set(FAMILIES)
    for one in found.values():
        assert predictors.faults(one) == []
        model = predictors.make(one, members=specs.members(one, settings))
        assert model.name == one.name


def test_every_family_says_what_it_is() -> None:
    for family in predictors.families():
        assert family.title
        assert family.learns.endswith(".")
        assert family.use.endswith(".")
        assert family.source
        for p in family.parameters:
            assert p.read(p.default) == p.default
            assert p.title
