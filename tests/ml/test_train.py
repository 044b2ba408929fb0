"""Walk-forward and live runs: right, without look-ahead, incremental = full."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime

import numpy as np
import polars as pl
import pytest

from wealthos_pipeline import ml
from wealthos_pipeline.core.errors import ModelError
from wealthos_pipeline.factors.labels import forward_returns
from wealthos_pipeline.ml import validation

FEATURES = ("signal", "noise_a", "noise_b", "sparse")
FOREVER = datetime(2100, 1, 1, tzinfo=UTC)


def run(world, settings, **more):
    keywords = {"feature_names": FEATURES, "end": world.end} | more
    return ml.fit_and_predict(
        world.scores, world.prices, world.universe, world.calendar, settings, **keywords
    )


def rank_ic(world, made, horizon: int) -> pl.DataFrame:
    found = ml.evaluate(
        made.predictions, world.prices, world.calendar, horizon, known_until=FOREVER
    )
    return ml.summary(found, horizon)


@pytest.fixture(scope="module")
def full(world, settings):
    return run(world, settings)


def test_every_fit_saw_only_what_was_known_before_its_open(world, settings, full) -> None:
    walk = full.registry.filter(pl.col("kind") == "walk_forward")
    expected = validation.refit_dates(world.calendar, date(2001, 6, 1), world.end, "quarter")
    assert walk["refit_date"].unique().sort().to_list() == expected
    for row in full.registry.iter_rows(named=True):
        last = world.calendar.offset(row["train_cutoff"], 1 + settings.horizon)
        assert last < row["refit_date"]
        assert world.calendar.slot(row["train_cutoff"]) % settings.every == 0
        span = world.calendar.slot(row["refit_date"]) - world.calendar.slot(row["train_start"])
        assert span <= settings.train_sessions + settings.horizon + 1
        assert row["model_id"].startswith(f"{row['model']}.{row['kind']}.{row['refit_date']}.")
    live = full.registry.filter(pl.col("kind") == "live")
    assert set(live["refit_date"]) == {
        world.calendar.firsts(date(2004, 11, 1), world.end, "week")[-1]
    }


def test_each_date_is_predicted_by_the_fit_that_was_there(world, full) -> None:
    refits = full.registry.select("model_id", "refit_date", "train_cutoff")
    rows = full.predictions.join(refits, on="model_id", suffix="_fit")
    assert rows.height == full.predictions.height
    assert (rows["refit_date"] <= rows["date"]).all()
    assert (rows["train_cutoff"] == rows["train_cutoff_fit"]).all()
    walk = rows.filter(pl.col("kind") == "walk_forward")
    for day, refit in walk.select("date", "refit_date").unique().iter_rows():
        assert world.calendar.firsts(date(2001, 1, 1), day, "quarter")[-1] == refit
    live = rows.filter(pl.col("kind") == "live")
    assert set(live["date"]) == {world.end}
    members = world.universe.filter(pl.col("date") == world.end)["instrument_id"]
    assert set(live["instrument_id"]) == set(members)


def test_z_is_standardised_over_the_date(full) -> None:
    some = full.predictions.filter(
        (pl.col("date") == date(2003, 6, 3)) & (pl.col("model") == "ridge")
    )
    p = some["prediction"].to_numpy()
    np.testing.assert_allclose(some["z"].to_numpy(), (p - p.mean()) / p.std(), rtol=1e-9)


def test_planted_signal_is_found_out_of_sample(world, settings, full) -> None:
    for row in rank_ic(world, full, settings.horizon).iter_rows(named=True):
        assert row["mean_rank_ic"] > row["detectable_ic"]
        assert row["t"] > 3


@pytest.mark.parametrize("day", [date(2004, 7, 1), date(2004, 7, 21), date(2004, 10, 4), date(2004, 11, 17)])  # fmt: skip
@pytest.mark.parametrize("reuse", [True, False], ids=["registry", "refitted"])
def test_incremental_equals_full_bit_for_bit(world, settings, full, day, reuse) -> None:
    back = world.calendar.offset(day, -ml.lookback(settings))
    assert back > date(2001, 1, 2)
    before = full.registry.filter(pl.col("refit_date") < day) if reuse else None
    made = run(world.between(back, world.end), settings, start=day, registry=before)
    assert made.predictions.equals(full.predictions.filter(pl.col("date") >= day))
    due = (pl.col("refit_date") >= day) | (pl.col("kind") == "live")
    if not reuse:  # the fit that was active at the start had to be made again
        due |= pl.col("model_id").is_in(made.predictions["model_id"].unique().implode())
    assert made.registry.equals(full.registry.filter(due))


def test_fits_made_under_other_settings_are_not_reused(world, settings, full) -> None:
    day = date(2004, 11, 1)
    back = world.calendar.offset(day, -ml.lookback(settings))
    other = settings.model_copy(update={"ridge_alpha": 99.0})
    made = run(world.between(back, world.end), other, start=day, registry=full.registry)
    ridge = made.registry.filter((pl.col("model") == "ridge") & (pl.col("kind") == "walk_forward"))
    assert [json.loads(p)["alpha"] for p in ridge["params"]] == [99.0]
    assert ml.definition(other, FEATURES) != ml.definition(settings, FEATURES)
    assert ml.definition(settings, FEATURES) != ml.definition(settings, FEATURES[:2])


@pytest.mark.parametrize("day", [date(2003, 1, 2), date(2003, 9, 30), date(2004, 2, 12)])
def test_no_peeking(world, settings, full, day) -> None:
    past = run(world.until(day), settings)
    walk = pl.col("kind") == "walk_forward"
    assert past.predictions.filter(walk).equals(
        full.predictions.filter(walk & (pl.col("date") <= day))
    )
    assert past.registry.filter(walk).equals(
        full.registry.filter(walk & (pl.col("refit_date") <= day))
    )


def test_the_no_peeking_test_bites(world, settings, full, monkeypatch) -> None:
    """A fit that may use labels until one horizon after its open is seen, twice over."""
    day = date(2004, 7, 1)  # a refit date
    honest = validation.window

    def late(calendar, refit, horizon, train_sessions):
        return honest(calendar, calendar.offset(refit, horizon + 2), horizon, train_sessions)

    monkeypatch.setattr(validation, "window", late)
    leaking = run(world, settings)
    past = run(world.until(day), settings)
    at = (pl.col("kind") == "walk_forward") & (pl.col("date") == day)
    assert (
        not past.predictions.filter(at)
        .drop("model_id")
        .equals(leaking.predictions.filter(at).drop("model_id"))
    )
    cutoffs = leaking.registry.filter(pl.col("kind") == "walk_forward")
    known = [world.calendar.offset(d, 1 + settings.horizon) for d in cutoffs["train_cutoff"]]
    served = leaking.predictions.group_by("model_id").agg(pl.col("date").min())
    first = dict(served.iter_rows())
    assert any(k >= first[i] for k, i in zip(known, cutoffs["model_id"], strict=True))


def test_a_feature_that_is_the_future_is_loud_and_its_past_is_silent(world, settings) -> None:
    """The label itself as a feature gives an IC near 1; the same numbers moved to the date on which
    they were known give none on noise. Leaks of this size cannot hide in the evaluation."""
    noise = world.prices.sort("instrument_id", "slot").with_columns(
        pl.Series("r", np.random.default_rng(5).standard_normal(world.prices.height) * 0.02)
    )
    noise = noise.with_columns((pl.col("r") + 1).cum_prod().over("instrument_id").alias("tr_index"))
    h = settings.horizon
    labels = forward_returns(noise, h, world.calendar)
    leak = labels.select("date", "instrument_id", pl.col("label").cast(pl.Float32).alias("x"))
    honest = labels.select(
        pl.col("label_end").alias("date"),
        "instrument_id",
        pl.col("label").cast(pl.Float32).alias("x"),
    )
    found = {}
    for name, scores in {"leak": leak, "honest": honest}.items():
        made = ml.fit_and_predict(
            scores, noise, world.universe, world.calendar, settings,
            feature_names=("x",), end=world.end,
        )  # fmt: skip
        rows = ml.summary(
            ml.evaluate(made.predictions, noise, world.calendar, h, known_until=FOREVER), h
        )
        found[name] = rows.filter(pl.col("model") == "ridge").row(0, named=True)
    assert found["leak"]["mean_rank_ic"] > 0.99
    assert abs(found["honest"]["mean_rank_ic"]) < 0.03
    assert abs(found["honest"]["t"]) < 2


def test_row_order_and_threads_do_not_matter(world, settings, full) -> None:
    from dataclasses import replace

    mixed = replace(
        world,
        **{
            n: getattr(world, n).sample(fraction=1.0, shuffle=True, seed=4)
            for n in ("scores", "prices", "universe")
        },
    )
    again = run(mixed, settings, threads=2)
    assert again.predictions.equals(full.predictions)
    assert again.registry.equals(full.registry)


def test_a_symbols_name_does_not_matter(world, settings) -> None:
    """Renaming so that the order of instruments is reversed changes predictions by rounding only."""
    flip = pl.concat_str(
        pl.lit("M"), (99 - pl.col("instrument_id").str.slice(1).cast(pl.Int32)).cast(pl.String)
    ).alias("instrument_id")
    from dataclasses import replace

    early = world.until(date(2002, 7, 31))
    named = replace(
        early, **{n: getattr(early, n).with_columns(flip) for n in ("scores", "prices", "universe")}
    )
    ridge = settings.model_copy(update={"names": ("ridge",)})
    one = run(early, ridge).predictions.with_columns(flip).sort("kind", "date", "instrument_id")
    two = run(named, ridge).predictions.sort("kind", "date", "instrument_id")
    assert one["instrument_id"].equals(two["instrument_id"])
    np.testing.assert_allclose(one["prediction"], two["prediction"], rtol=1e-9, atol=1e-12)


def test_what_cannot_be_fitted_is_absent_with_a_reason(world, settings, full) -> None:
    early = full.absences.filter(pl.col("refit_date") == date(2001, 4, 2))
    assert set(early["model"]) == {"ridge", "lightgbm"}
    assert "too little history for the fit of 2001-04-02" in early["reason"][0]
    assert full.predictions["date"].min() == date(2001, 7, 2)

    flat = world.prices.with_columns(pl.lit(1.0).alias("tr_index"))
    made = ml.fit_and_predict(
        world.scores, flat, world.universe, world.calendar, settings,
        feature_names=FEATURES, end=world.end,
    )  # fmt: skip
    assert made.predictions.is_empty()
    assert made.registry.is_empty()
    assert made.absences["reason"].str.contains("differing labels").all()

    blind = world.scores.with_columns(pl.lit(None, dtype=pl.Float32).alias(f) for f in FEATURES)
    made = ml.fit_and_predict(
        blind, world.prices, world.universe, world.calendar, settings,
        feature_names=FEATURES, end=world.end,
    )  # fmt: skip
    assert made.predictions.is_empty()
    assert made.absences["reason"].str.contains("names with features").all()


def test_one_dead_feature_changes_nothing_for_ridge(world, settings) -> None:
    ridge = settings.model_copy(update={"names": ("ridge",)})
    early = world.until(date(2002, 7, 31))
    dead = early.scores.with_columns(pl.lit(None, dtype=pl.Float32).alias("sparse"))
    with_dead = ml.fit_and_predict(
        dead, early.prices, early.universe, early.calendar, ridge,
        feature_names=FEATURES, end=early.end,
    )  # fmt: skip
    without = run(early, ridge, feature_names=FEATURES[:3])
    np.testing.assert_allclose(
        with_dead.predictions["prediction"], without.predictions["prediction"], rtol=1e-9
    )


def test_empty_and_wrong_input(world, settings) -> None:
    none = run(world.until(date(1999, 1, 4)), settings)
    assert none.predictions.is_empty()
    with pytest.raises(ModelError, match=r"no column \['momentum'\]; they have: date"):
        run(world, settings, feature_names=("momentum",))
