"""Several models in one run, each with its own horizon, label, window, weights and parameters; what
cannot be fitted says so and disturbs no other."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date

import numpy as np
import polars as pl
import pytest
from training_rows import training_rows

from wealthos_pipeline import ml
from wealthos_pipeline.core.errors import ModelError
from wealthos_pipeline.core.model import ModelSpec, Range, Search, Weighting
from wealthos_pipeline.ml import checks, fits, predictors, registry, schedule

FEATURES = ("signal", "noise_a", "noise_b", "sparse")
WINDOWS = {"train_sessions": 250, "min_train_sessions": 120, "every": 2}


def spec(name: str, **body: object) -> ModelSpec:
    return ModelSpec.model_validate({"name": name, "family": "ridge", "horizon": 5, **WINDOWS, **body})  # fmt: skip


MODELS = (
    spec("plain"),
    spec("month", horizon=20, label="excess", every=4),
    spec("steady", label="volatility_scaled", features=("signal", "noise_*")),
    spec("growing", window="expanding", weighting=Weighting(uniqueness=True, half_life=120.0)),
    spec("trees", family="lightgbm", label="direction", params={"trees": 8}),
)


def run(world, settings, models=MODELS, **more):
    keywords = {"feature_names": FEATURES, "end": world.end} | more
    return ml.fit_and_predict(
        world.scores, world.prices, world.universe, world.calendar, settings, models=models,
        **keywords,
    )  # fmt: skip


@pytest.fixture(scope="module")
def short(world):
    return world.until(date(2003, 2, 14))


@pytest.fixture(scope="module")
def made(short, settings):
    return run(short, settings)


def test_each_model_has_what_its_specification_says(short, made) -> None:
    rows = {r["model"]: r for r in made.registry.filter(pl.col("kind") == "live").to_dicts()}
    assert {m: r["horizon"] for m, r in rows.items()} == {s.name: s.horizon for s in MODELS}
    assert json.loads(rows["steady"]["features"]) == ["signal", "noise_a", "noise_b"]
    assert [rows[s.name]["spec_hash"] for s in MODELS] == [s.spec_hash for s in MODELS]
    assert {rows[n]["family"] for n in ("plain", "trees")} == {"ridge", "lightgbm"}
    calendar = short.calendar
    for s in MODELS:
        row = rows[s.name]
        assert calendar.offset(row["train_cutoff"], 1 + s.horizon) < row["refit_date"]
        assert calendar.slot(row["train_cutoff"]) % s.every == 0
    first = calendar.date_of(calendar.slot(date(2001, 1, 2)) // 2 * 2 + 2)
    assert abs((rows["growing"]["train_start"] - first).days) <= 4  # from the beginning of the data
    span = calendar.slot(rows["plain"]["refit_date"]) - calendar.slot(rows["plain"]["train_start"])
    assert span <= 250 + 5 + 2
    horizons = made.predictions.select("model", "horizon").unique().sort("model")
    assert dict(horizons.rows()) == {s.name: s.horizon for s in MODELS}


def test_a_model_among_others_is_the_model_alone(short, settings, made) -> None:
    for name in ("plain", "growing"):
        own = tuple(s for s in MODELS if s.name == name)
        alone = run(short, settings, own)
        mine = pl.col("model") == name
        assert alone.predictions.equals(made.predictions.filter(mine))
        assert alone.registry.equals(made.registry.filter(mine))


def test_what_was_written_passes_its_checks_and_a_spoilt_table_does_not(short, made) -> None:
    calendar = short.calendar
    found = checks.faults(made.predictions, made.registry, calendar)
    assert not any(found.values())
    p, r = made.predictions, made.registry
    late = r.with_columns(refit_date=pl.lit(date(2003, 2, 14)))
    spoilt = {
        "fits_on_record": (p, r.filter(pl.col("model") != "plain"), "does not have"),
        "fitted_before_predicting": (p, late, "was fitted on 2003-02-14, later"),
        "labels_known_at_fit": (p, r.with_columns(train_cutoff="refit_date"), "fitted before the open"),
        "predictions_vary": (p.with_columns(prediction=pl.lit(np.nan)), r, "no finite numbers"),
        "z_centred": (p.with_columns(pl.col("z") + 0.1), r, "z has a mean of 0.1"),
    }  # fmt: skip
    for check, (predictions, fitted, words) in spoilt.items():
        assert words in checks.faults(predictions, fitted, calendar)[check][0]
    flat = p.with_columns(prediction=pl.lit(0.5))
    assert "same prediction on" in checks.vary(flat)[0]


class Fails:
    """A family whose fits end in ``error``."""

    params: dict[str, float] = {}  # noqa: RUF012

    def __init__(self, error: Exception) -> None:
        self.name, self.error = "plain", error

    def fit(self, rows):
        if isinstance(self.error, FileNotFoundError):  # stands for a ValueError of a library
            import scipy.linalg

            scipy.linalg.solve(np.full((2, 2), np.nan), np.ones(2))
        raise self.error


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ModelError("the class 1 never occurs in 100 training rows"), "plain: the class 1 never occurs"),
        (np.linalg.LinAlgError("Singular matrix"), "(LinAlgError: Singular matrix)"),
        (FileNotFoundError(), "(ValueError: array must not contain infs or NaNs)"),
    ],
)  # fmt: skip
def test_a_family_that_cannot_be_fitted_disturbs_no_other(
    short, settings, made, monkeypatch, error, words
) -> None:
    honest = predictors.make
    monkeypatch.setattr(
        predictors, "make",
        lambda s, **more: Fails(error) if s.name == "plain" else honest(s, **more),
    )  # fmt: skip
    got = run(short, settings, MODELS[:2])
    reasons = got.absences.filter(pl.col("model") == "plain")["reason"]
    assert words in reasons[-1]
    other = pl.col("model") == "month"
    assert got.predictions.equals(made.predictions.filter(other))


class Stumbles(Fails):
    """A family whose fits are made and then cannot predict."""

    def fit(self, rows):
        return self

    features = ("signal",)

    def to_text(self) -> str:
        return "{}"

    def predict(self, X):
        raise self.error


@pytest.mark.parametrize("family", [Fails, Stumbles])
@pytest.mark.parametrize("error", [TypeError("no such field"), KeyError("beta"), MemoryError()])
def test_a_fault_of_the_program_in_one_model_is_told_as_such_and_disturbs_no_other(
    short, settings, made, monkeypatch, family, error
) -> None:
    honest = predictors.make
    monkeypatch.setattr(
        predictors, "make",
        lambda s, **more: family(error) if s.name == "plain" else honest(s, **more),
    )  # fmt: skip
    got = run(short, settings, MODELS[:2])
    reasons = got.absences.filter((pl.col("model") == "plain") & (pl.col("kind") == "live"))[
        "reason"
    ]
    assert type(error).__name__ in reasons[0]
    assert "a fault of the program (test_train_models.py:" in reasons[0]
    assert got.predictions.equals(made.predictions.filter(pl.col("model") == "month"))
    assert not fits.cannot(ValueError("raised here"))


def test_bad_input_is_absent_in_words(short, settings, made) -> None:
    lost = spec("lost", features=("momentum_*",))
    young = spec("young", min_train_sessions=2000, train_sessions=2520)
    typo = spec("typo", params={"alpa": 1.0})
    flat = short.prices.with_columns(
        tr_index=pl.col("slot").cast(pl.Float64)
    )  # every name has the same return
    rise = spec("rise", family="direction", label="direction")
    up = short.prices.with_columns(
        tr_index=pl.col("slot") * (2.0 + pl.col("instrument_id").rank("dense"))
    )
    got = run(short, settings, (MODELS[0], lost, young, typo))
    last = {r["model"]: r["reason"] for r in got.absences.to_dicts()}
    assert "the scores have no column momentum_*" in last["lost"]
    assert "2000 are needed" in last["young"]
    assert "no parameter 'alpa' (did you mean alpha?)" in last["typo"]
    assert got.predictions.equals(made.predictions.filter(pl.col("model") == "plain"))

    constant = run(replace(short, prices=flat), settings, (MODELS[0],))
    assert "differing labels" in constant.absences["reason"][-1]
    blind = short.scores.with_columns(pl.lit(None, dtype=pl.Float32).alias(f) for f in FEATURES)
    nothing = run(replace(short, scores=blind), settings, (MODELS[0],))
    assert "names with features" in nothing.absences["reason"][-1]
    grown = up.with_columns(tr_index=pl.col("tr_index").pow(1.0 + pl.col("instrument_id").rank("dense") / 100))  # fmt: skip
    never = run(replace(short, prices=grown), settings, (rise,))
    assert never.predictions.is_empty()
    assert "never occurs" in never.absences["reason"][-1] or "one class" in never.absences["reason"][-1]  # fmt: skip


def test_a_search_serves_fits_from_its_own_refit_date_on(short, settings) -> None:
    space = {"alpha": Range(low=1.0, high=1e4, log=True)}
    model = spec("tuned", search=Search(trials=5, space=space), params={"alpha": 10.0})
    found = pl.DataFrame(
        {
            "model": ["tuned", "tuned", "other", "tuned"],
            "refit_date": [
                date(2002, 4, 1),
                date(2002, 10, 1),
                date(2002, 7, 1),
                date(2002, 10, 1),
            ],
            "side": ["inside", "inside", "inside", "outside"],
            "params": ['{"alpha": 250.0}', '{"alpha": 777.0}', '{"alpha": 1.0}', '{"alpha": 2.0}'],
            "trials": [5, 4, 9, 9],
            "spec_hash": [model.spec_hash] * 4,
        }
    )
    got = run(short, settings, (model,), searches=found)
    walk = got.registry.filter(pl.col("kind") == "walk_forward").sort("refit_date")
    alphas = {
        r["refit_date"]: (json.loads(r["params"])["alpha"], r["trials"]) for r in walk.to_dicts()
    }
    assert alphas[date(2002, 1, 2)] == (10.0, None)
    assert alphas[date(2002, 4, 1)] == alphas[date(2002, 7, 1)] == (250.0, 5)
    assert alphas[date(2002, 10, 1)] == (777.0, 4)
    edited = model.model_copy(update={"every": 3})  # another definition: not searched yet
    assert fits.tuned(found, edited, date(2002, 12, 2)) is None


def test_a_search_that_finds_what_was_there_is_said_of_the_fits_that_stand(short, settings) -> None:
    """The rows are those of a run that fits everything after the search."""
    space = {"alpha": Range(low=1.0, high=1e4, log=True)}
    model = spec("tuned", search=Search(trials=5, space=space), params={"alpha": 10.0})
    found = pl.DataFrame(
        {"model": ["tuned"], "refit_date": [date(2002, 4, 1)], "side": ["inside"],
         "params": ['{"alpha": 10.0}'], "trials": [5], "spec_hash": [model.spec_hash]}
    )  # fmt: skip
    before = run(short, settings, (model,))
    full = run(short, settings, (model,), searches=found)
    start, at = date(2002, 4, 1), short.calendar.known_at(short.end)
    got = run(
        short, settings, (model,), searches=found, start=start, registry=before.registry, keep_at=at
    )
    assert got.fits.is_empty()
    rows = registry.merged(before.registry, got.registry, start)
    assert rows.sort("model_id").equals(full.registry.sort("model_id"))


def test_a_pinned_fit_serves_instead_of_the_live_one(short, settings, made) -> None:
    old = made.registry.filter(
        (pl.col("model") == "plain") & (pl.col("refit_date") == date(2002, 7, 1))
    ).row(0, named=True)
    kept = json.loads(json.dumps(old, default=str))
    got = run(short, settings, MODELS[:2], pins={"plain": kept})
    live = got.predictions.filter(pl.col("kind") == "live")
    assert set(live.filter(pl.col("model") == "plain")["model_id"]) == {old["model_id"]}
    assert set(live.filter(pl.col("model") == "plain")["train_cutoff"]) == {old["train_cutoff"]}
    month = pl.col("model") == "month"
    assert got.predictions.filter(month).equals(made.predictions.filter(month))
    walk = (pl.col("model") == "plain") & (pl.col("kind") == "walk_forward")
    assert got.predictions.filter(walk).equals(made.predictions.filter(walk))
    assert not checks.on_record(got.predictions, got.registry)
    wrong = {
        "its artefact is damaged": kept | {"artefact": kept["artefact"] + " "},
        "it is a fit of month": kept | {"model": "month"},
        "lacks artefact": {k: v for k, v in kept.items() if k != "artefact"},
        "after 2003-02-14": kept | {"refit_date": "2003-03-03"},
    }
    for words, record in wrong.items():
        spoilt = run(short, settings, MODELS[:1], pins={"plain": record})
        (reason,) = spoilt.absences.filter(pl.col("kind") == "live").filter(pl.col("refit_date") > date(2003, 1, 31))["reason"]  # fmt: skip
        assert words in reason


def test_a_stored_fit_of_another_version_is_made_again_and_told(short, settings, made) -> None:
    day = date(2003, 2, 3)
    other = made.registry.with_columns(artefact=pl.col("artefact").str.replace('"format":', '"format":9', literal=True))  # fmt: skip
    other = other.with_columns(
        artefact_hash=pl.col("artefact").map_elements(registry.artefact_hash, pl.String)
    )
    got = run(short, settings, MODELS[:1], start=day, registry=other)
    later = (pl.col("model") == "plain") & (pl.col("date") >= day)
    assert got.predictions.equals(made.predictions.filter(later))
    assert got.remarks
    assert "is fitted again" in got.remarks[0]
    reused = run(short, settings, MODELS[:1], start=day, registry=made.registry)
    assert not reused.remarks
    assert reused.fits.filter(pl.col("kind") == "walk_forward").is_empty()
    assert reused.predictions.equals(got.predictions)
    merged = registry.merged(made.registry, got.registry, day)
    assert set(got.predictions["model_id"]) <= set(merged["model_id"])


def test_how_far_back_a_run_must_reach(settings) -> None:
    assert schedule.lookback((), settings) == ml.lookback(settings)
    assert schedule.lookback([spec("x", window="expanding")], settings) is None
    scaled = spec("x", label="volatility_scaled", train_sessions=1000)
    plain = spec("x", train_sessions=1000)
    assert schedule.lookback([scaled], settings) == schedule.lookback([plain], settings) + 64


def test_no_model_sees_the_future_and_new_days_equal_the_full_run(short, settings, made) -> None:
    day = date(2002, 11, 6)
    past = run(short.until(day), settings)
    walk = pl.col("kind") == "walk_forward"
    assert past.predictions.filter(walk).equals(
        made.predictions.filter(walk & (pl.col("date") <= day))
    )
    assert past.registry.filter(walk).equals(
        made.registry.filter(walk & (pl.col("refit_date") <= day))
    )
    start = short.calendar.offset(day, 1)
    new = run(short, settings, start=start, registry=past.registry)
    assert new.predictions.equals(made.predictions.filter(pl.col("date") >= start))
    assert registry.merged(past.registry, new.registry, start).equals(made.registry)


def test_two_threads_give_the_bits_of_one_on_many_rows() -> None:
    """Enough rows that LightGBM really uses the second thread, in fit and prediction."""
    rng = np.random.default_rng(1)
    n, days = 120_000, 240
    X = rng.standard_normal((n, 5)).astype(np.float32)
    y = 0.1 * X[:, 0] + rng.standard_normal(n)
    dates = np.datetime64("2010-01-04") + np.repeat(np.arange(days), n // days)
    rows = training_rows(X, y, np.full(n, days / n), dates, list("abcde"))
    model = spec("trees", family="lightgbm", params={"trees": 6})
    one, two = (predictors.make(model, threads=t).fit(rows) for t in (1, 2))
    assert one.to_text() == two.to_text()
    assert one.predict(X).tobytes() == two.predict(X).tobytes()


def test_a_model_that_is_added_or_changed_costs_no_fit_of_the_others(short, settings, made) -> None:
    """Rows and predictions are those of the run that fits everything, bit for bit."""
    changed = spec("plain", params={"alpha": 77.0})
    models = (changed, *MODELS[1:], spec("added"))
    everything = run(short, settings, models)
    got = run(short, settings, models, proven=made.registry)
    assert set(got.fits["model"]) == {"plain", "added"}
    assert got.registry.equals(everything.registry)
    assert got.predictions.equals(everything.predictions)

    damaged = made.registry.with_columns(pl.col("artefact") + " ")
    assert set(run(short, settings, MODELS[:1], proven=damaged).fits["model"]) == {"plain"}
    first = short.prices["instrument_id"].min()
    hit = (pl.col("date") == date(2002, 3, 1)) & (pl.col("instrument_id") == first)
    moved = pl.when(hit).then(pl.col("tr_index") * 1.5).otherwise("tr_index")
    other = short.prices.with_columns(tr_index=moved)
    restated = replace(short, prices=other)
    again = run(restated, settings, MODELS[:1], proven=made.registry)
    assert again.registry.equals(run(restated, settings, MODELS[:1]).registry)
    refitted = set(again.fits.filter(pl.col("kind") == "walk_forward")["refit_date"])
    assert refitted
    assert min(refitted) > date(2002, 3, 1), "fits that had ended before the restated bar are taken"
