"""Restated data leave fits as they are and mark those that saw them; new dates get new fits."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime

import numpy as np
import polars as pl
import pytest

from wealthos_pipeline import ml
from wealthos_pipeline.ml import predictors, specs

FEATURES = ("signal", "noise_a", "noise_b", "sparse")
FIRST, AGAIN = datetime(2004, 11, 18, tzinfo=UTC), datetime(2004, 11, 19, tzinfo=UTC)
MARKS = ("stale_since", "stale_reason")
SINCE = date(2004, 2, 12)
"""Restated from here on: inside the windows of the quarters from April on."""


def run(world, settings, start=None, **more):
    if start is not None:
        world = world.between(world.calendar.offset(start, -ml.lookback(settings)), world.end)
    return ml.fit_and_predict(
        world.scores, world.prices, world.universe, world.calendar, settings,
        feature_names=FEATURES, end=world.end, start=start, **more,
    )  # fmt: skip


@pytest.fixture(scope="module")
def before(world, settings):
    return run(world, settings)


def changed(world, day: date = SINCE, by: float = 3.0):
    """Signals of three names, on ten sessions from ``day`` on, are others."""
    days = world.calendar.sessions(day, world.calendar.offset(day, 9))
    hit = pl.col("date").is_in(days) & pl.col("instrument_id").is_in(["N01", "N02", "N05"])
    moved = pl.when(hit).then(pl.col("signal") + by).otherwise(pl.col("signal")).cast(pl.Float32)
    return replace(world, scores=world.scores.with_columns(signal=moved))


def merged(before, made, start: date) -> pl.DataFrame:
    """The registry after ``made`` was written from ``start`` on."""
    old = before.filter((pl.col("refit_date") < start) & (pl.col("kind") != "live"))
    old = old.filter(~pl.col("model_id").is_in(made["model_id"].to_list()))
    return pl.concat([old, made]).sort("model_id")


def test_new_dates_alone_equal_the_full_run(world, settings, before) -> None:
    day = world.calendar.offset(world.end, -30)
    past = run(world.until(world.calendar.offset(day, -1)), settings)
    made = run(world, settings, day, registry=past.registry, keep_at=FIRST)
    assert made.predictions.equals(before.predictions.filter(pl.col("date") >= day))
    walk = pl.col("kind") == "walk_forward"
    assert (
        merged(past.registry, made.registry, day)
        .filter(walk)
        .equals(before.registry.filter(walk).sort("model_id"))
    )
    assert made.registry["stale_since"].null_count() == made.registry.height


@pytest.fixture(scope="module")
def restated(world, settings, before):
    return run(changed(world), settings, SINCE, registry=before.registry, keep_at=FIRST)


def test_a_restatement_leaves_every_fit_and_marks_those_that_saw_it(
    world, settings, before, restated
) -> None:
    full = run(changed(world), settings)
    after = merged(before.registry, restated.registry, SINCE)
    assert after.drop(MARKS).equals(before.registry.drop(MARKS).sort("model_id"))
    stale = after.filter(pl.col("stale_since").is_not_null())
    assert set(stale["stale_since"]) == {FIRST}
    assert all(str(SINCE) in words for words in stale["stale_reason"])
    # what is not marked is what a full run makes; what is marked is not
    there = set(full.registry["model_id"])
    assert set(after["model_id"]) - there <= set(stale["model_id"])
    ridge = pl.col("model") == "ridge"
    assert not there & set(stale.filter(ridge)["model_id"])
    refits = stale.filter(ridge & (pl.col("kind") == "walk_forward"))["refit_date"].to_list()
    assert refits == world.calendar.firsts(SINCE, world.end, "quarter")


def test_changed_dates_are_predicted_by_the_fits_that_were_there(
    world, settings, before, restated
) -> None:
    world = changed(world)
    rows = restated.predictions.filter(
        (pl.col("model") == "ridge") & (pl.col("kind") == "walk_forward")
    )
    assert set(rows["model_id"]) <= set(before.registry["model_id"])
    ridge = predictors.make(specs.load(settings, ["ridge"])[0])
    day = world.calendar.offset(SINCE, 4)
    (fit,) = rows.filter(pl.col("date") == day)["model_id"].unique()
    text = before.registry.filter(pl.col("model_id") == fit)["artefact"].item()
    names = rows.filter(pl.col("date") == day)["instrument_id"]
    x = world.scores.filter(
        (pl.col("date") == day) & pl.col("instrument_id").is_in(names.implode())
    )
    x = x.sort("instrument_id").select(FEATURES).to_numpy().astype(np.float64)
    z = (x - np.nanmean(x, axis=0)) / np.nanstd(x, axis=0)
    np.testing.assert_allclose(
        ridge.from_text(text).predict(z.astype(np.float32)),
        rows.filter(pl.col("date") == day).sort("instrument_id")["prediction"].to_numpy(),
        rtol=1e-5, atol=1e-6,
    )  # fmt: skip


def test_the_first_mark_stays_and_goes_when_the_data_come_back(
    world, settings, before, restated
) -> None:
    after = merged(before.registry, restated.registry, SINCE)
    twice = run(changed(world, by=-2.0), settings, SINCE, registry=after, keep_at=AGAIN)
    stale = twice.registry.filter(pl.col("stale_since").is_not_null())
    assert set(stale["stale_since"]) == {FIRST}
    back = run(world, settings, SINCE, registry=after, keep_at=AGAIN)
    assert back.registry["stale_since"].null_count() == back.registry.height
    assert back.predictions.equals(before.predictions.filter(pl.col("date") >= SINCE))


def test_everything_again_has_no_marks(world, settings) -> None:
    full = run(changed(world), settings)
    assert full.registry["stale_since"].null_count() == full.registry.height


def test_a_fit_of_before_the_digest_is_marked_when_in_doubt(world, settings, before) -> None:
    old = before.registry.with_columns(pl.lit(None, pl.String).alias("data_hash"))
    made = run(world, settings, SINCE, registry=old, keep_at=FIRST)
    late = made.registry.filter(pl.col("refit_date") > SINCE)
    assert late["stale_since"].null_count() == 0
    assert late["stale_reason"].str.contains("may have seen").all()
