"""Nested tuning: the same trials every time, nothing after the fit seen, faults and crashes told, noise not believed."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest
from training_rows import training_rows

from wealthos_pipeline.core.errors import ConfigError, ModelError
from wealthos_pipeline.core.model import ModelSpec, Range, Search
from wealthos_pipeline.ml import fits, search, tuning, validation
from wealthos_pipeline.ml.datasets import Training
from wealthos_pipeline.ml.predictors.ridge import Ridge
from wealthos_pipeline.ml.search_process import Child, Score, TrialError, Trials
from wealthos_pipeline.ml.splitters import purged_kfold
from wealthos_pipeline.stats.correlation import spearman
from wealthos_pipeline.utils.config import ModelSettings

ALPHA = {"alpha": Range(low=0.1, high=10_000.0, log=True)}
SPEC = ModelSpec(
    name="ridge",
    family="ridge",
    features=("noise_*", "sparse"),
    horizon=5,
    train_sessions=300,
    min_train_sessions=120,
    every=2,
    params={"alpha": 10.0},
    search=Search(trials=6, folds=3, space=ALPHA),
)


def labelled(beta: float, seed: int = 1, days: int = 60, names: int = 20) -> Training:
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((days * names, 6)).astype(np.float32)
    y = beta * X[:, 0] + rng.standard_normal(days * names)
    dates = np.repeat(np.datetime64("2010-01-04") + 7 * np.arange(days), names)
    return training_rows(X, y, np.full(days * names, 1 / names), dates, [f"f{i}" for i in range(6)])


class HereBench(tuning.Bench):
    """Trials in this process, of which some may be told to fail."""

    def __init__(
        self, spec: ModelSpec, rows: Training, fails: Mapping[int, str] | None = None
    ) -> None:
        super().__init__(spec, rows, 1)
        self.trials, self.fails, self.asked = Trials(), dict(fails or {}), 0
        self.trials.load(spec, (), rows, 1)

    def inside(self, params: Mapping[str, object]) -> Score:
        self.asked += 1
        if self.asked - 1 in self.fails:
            raise TrialError(self.fails[self.asked - 1])
        return self.trials.inside(params)  # type: ignore[arg-type]


def here(spec: ModelSpec, rows: Training) -> tuning.Found:
    return tuning.run(spec, HereBench(spec, rows))


def test_the_score_is_the_mean_rank_ic_of_purged_out_of_fold_predictions() -> None:
    rows = labelled(0.1)
    found = here(SPEC, rows)
    assert SPEC.search is not None
    for trial in found.trials[:2]:
        ics = []
        for fold in purged_kfold(rows, SPEC.search.folds):
            fitted = Ridge(alpha=float(trial.params["alpha"])).fit(rows.take(fold.train))
            test = rows.take(fold.test)
            values = fitted.predict(test.X)
            ics.append([
                spearman(values[test.dates == d], test.outcome[test.dates == d])
                for d in np.unique(test.dates)
            ])  # fmt: skip
        assert trial.folds == pytest.approx([np.mean(f) for f in ics], abs=1e-12)
        assert trial.score == pytest.approx(np.mean(np.concatenate(ics)), abs=1e-12)
    assert found.trials[0].params == {"alpha": 10.0}
    assert found.best.score == max(t.score for t in found.trials)


def test_the_same_rows_and_seed_give_the_same_trials_on_one_and_two_threads_and_in_a_child() -> (
    None
):
    spec = SPEC.model_copy(
        update={
            "family": "lightgbm",
            "params": {"trees": 4},
            "search": Search(
                trials=12,  # past the sampler's random start
                folds=2,
                space={
                    "leaves": Range(low=3, high=20, integer=True),
                    "learning_rate": Range(low=0.01, high=0.3, log=True),
                    "max_bin": Range(choices=(15, 63)),
                },
            ),
        }
    )
    rows = labelled(0.3, days=30)
    inner = here(spec, rows)
    assert tuning.tune(spec, rows, threads=2).text == inner.text
    other = here(spec.model_copy(update={"seed": 8}), rows)
    assert [t.params for t in other.trials[1:]] != [t.params for t in inner.trials[1:]]


def test_ties_and_worse_trials_leave_the_models_own_parameters() -> None:
    class Flat(HereBench):
        def inside(self, params: Mapping[str, object]) -> Score:
            return Score(0.02, (0.02,), 10)

    assert tuning.run(SPEC, Flat(SPEC, labelled(0.0))).best.number == 0


def test_parameters_that_come_again_are_one_configuration() -> None:
    few = SPEC.model_copy(
        update={"search": Search(trials=6, folds=2, space={"alpha": Range(choices=(10.0, 100.0))})}
    )
    bench = HereBench(few, labelled(0.1))
    found = tuning.run(few, bench)
    assert len(found.trials) == 6
    assert found.distinct == bench.asked == 2
    assert {t.params["alpha"] for t in found.trials} == {10.0, 100.0}


def test_own_parameters_outside_the_space_are_still_the_first_trial() -> None:
    narrow = SPEC.model_copy(
        update={"search": Search(trials=3, folds=2, space={"alpha": Range(low=100.0, high=200.0)})}
    )
    found = here(narrow, labelled(0.1))
    assert found.own.params == {"alpha": 10.0}
    assert all(100 <= float(t.params["alpha"]) <= 200 for t in found.trials[1:])


def test_a_failed_trial_is_recorded_and_the_search_goes_on() -> None:
    bench = HereBench(SPEC, labelled(0.1), fails={0: "no luck", 2: "nor here"})
    found = tuning.run(SPEC, bench)
    assert [t.failed for t in found.trials] == [True, False, True, False, False, False]
    assert found.failed == 2
    assert found.best.number in (1, 3, 4, 5)
    assert json.loads(found.text)[2]["failed"] == "nor here"


def test_when_every_trial_fails_each_reason_is_told() -> None:
    every = {i: f"reason {i}" for i in range(6)}
    with pytest.raises(ModelError, match=r"none of 6 trials.*\n.*reason 0(.|\n)*reason 5"):
        tuning.run(SPEC, HereBench(SPEC, labelled(0.1), fails=every))


def test_a_child_that_dies_fails_its_trial_alone() -> None:
    rows = labelled(0.1, days=20)
    with tuning.Bench(SPEC, rows, 1) as bench:
        before = bench.inside({"alpha": 3.0})
        assert isinstance(bench._child, Child)
        os.kill(bench._child.process.pid, signal.SIGKILL)
        with pytest.raises(TrialError, match="ended by signal 9"):
            bench.inside({"alpha": 3.0})
        assert bench.inside({"alpha": 3.0}) == before  # in another child
        with pytest.raises(TrialError, match="alpha must be a number above 0"):
            bench.inside({"alpha": -1.0})


def test_a_constant_prediction_is_no_configuration() -> None:
    rows = labelled(0.1)
    flat = replace(rows, X=np.zeros_like(rows.X))
    trials = Trials()
    trials.load(SPEC, (), flat, 1)
    with pytest.raises((TrialError, ModelError)):
        trials.inside({"alpha": 1.0})


def test_every_fault_of_a_search_is_listed_before_anything_is_fitted() -> None:
    wrong = ModelSpec(
        name="mine",
        family="lightgbm",
        search=Search(
            space={
                "leafs": Range(low=2, high=8, integer=True),
                "trees": Range(low=10, high=50),
                "learning_rate": Range(low=-0.1, high=0.3),
                "max_bin": Range(choices=(63, 63)),
            }
        ),
    )
    with pytest.raises(ConfigError) as error:
        tuning.check(wrong)
    said = str(error.value)
    for words in ("did you mean leaves", "trees: takes whole numbers", "learning_rate", "twice"):
        assert words in said
    with pytest.raises(ConfigError, match="nothing to search"):
        tuning.check(wrong.model_copy(update={"search": None}))


@pytest.fixture(scope="module")
def searched(world: Any, settings: ModelSettings) -> search.Searched:
    w = world
    refits = validation.refit_dates(w.calendar, w.scores["date"][0], w.end, "quarter")
    return search.search([SPEC], w.scores, w.prices, w.universe, w.calendar, settings, refits[-4:])


def test_on_noise_the_score_inside_flatters_and_the_table_keeps_both(
    searched: search.Searched,
) -> None:
    rows = searched.searches
    inside = rows.filter(pl.col("side") == "inside").sort("refit_date")
    outside = rows.filter(pl.col("side") == "outside").sort("refit_date")
    assert inside.height == 4
    assert outside.height == 3  # the labels after the last refit are not all known
    assert outside["params"].to_list() == inside["params"].to_list()[:3]
    assert (inside["score"] >= inside["own_score"]).all()
    assert inside["score"].mean() > inside["own_score"].mean()  # the best of six
    se = outside["score"].std() / 3**0.5  # type: ignore[operator]
    assert abs(outside["score"].mean()) < 3 * se + 0.01  # type: ignore[arg-type,operator]


def test_the_best_of_many_on_noise_is_optimistic_inside_and_nothing_outside() -> None:
    """Fifteen independent samples: the first half of each is tuned on, the second judges."""
    gaps, outer = [], []
    for seed in range(15):
        rows = labelled(0.0, seed=seed, days=40, names=10)
        first, second = rows.take(slice(0, 200)), rows.take(slice(200, 400))
        spec = SPEC.model_copy(
            update={"search": Search(trials=6, folds=2, space={"alpha": Range(low=0.01, high=1e5, log=True)})}
        )  # fmt: skip
        bench = HereBench(spec, first)
        found = tuning.run(spec, bench)
        gaps.append(found.best.score - float(np.mean([t.score for t in found.trials])))
        outer.append(bench.trials.outside(found.best.params, second).mean)
    se = np.std(outer, ddof=1) / np.sqrt(len(outer))
    assert np.mean(gaps) > 3 * np.std(gaps, ddof=1) / np.sqrt(len(gaps))
    assert abs(np.mean(outer)) < 3 * se


def test_nothing_after_the_refit_reaches_a_search(
    world: Any, settings: ModelSettings, searched: search.Searched
) -> None:
    refit = searched.searches["refit_date"].unique().sort()[2]
    w = world.until(world.calendar.offset(refit, -1))
    alone = search.search(
        [SPEC], w.scores, w.prices, w.universe, w.calendar, settings, [refit]
    ).searches
    whole = searched.searches.filter((pl.col("refit_date") == refit) & (pl.col("side") == "inside"))
    assert alone.equals(whole)
    assert (alone["known_at"] <= w.calendar.known_at(w.end)).all()


def test_searches_that_stand_are_not_made_again_and_others_are(
    world: Any,
    settings: ModelSettings,
    searched: search.Searched,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def never(*_: object) -> None:
        raise AssertionError("searched again")

    monkeypatch.setattr(tuning, "run", never)
    w = world
    refits = searched.searches["refit_date"].unique().to_list()
    given = (w.scores, w.prices, w.universe, w.calendar, settings, refits)
    again = search.search([SPEC], *given, existing=searched.searches)
    assert again.searches.equals(searched.searches)
    assert again.trials.equals(searched.trials)
    other = SPEC.model_copy(update={"train_sessions": 250})
    with pytest.raises(AssertionError, match="searched again"):
        search.search([other], *given, existing=searched.searches)


def test_what_a_search_tried_counts_once_and_a_fit_takes_what_it_found(
    searched: search.Searched,
) -> None:
    assert searched.trials.height == 5  # the sixth is the model itself
    assert set(searched.trials["kind"]) == {"search"}
    assert searched.trials["rank_ic"].null_count() == 0
    rows = searched.searches.filter(pl.col("side") == "inside").sort("refit_date")
    third = rows.row(2, named=True)
    taken = fits.tuned(searched.searches, SPEC, third["refit_date"])
    assert taken is not None
    assert taken["params"] == third["params"]
    tried = json.loads(third["tried"])
    assert len(tried) == 6
    assert all(len(t["folds"]) == 3 for t in tried)


def test_a_refit_without_enough_history_is_told(world: Any, settings: ModelSettings) -> None:
    w = world
    refit = w.calendar.offset(w.scores["date"][0], 30)
    made = search.search([SPEC], w.scores, w.prices, w.universe, w.calendar, settings, [refit])
    assert made.searches.is_empty()
    assert "too little history" in made.absences["reason"][0]
