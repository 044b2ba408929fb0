"""Every family through the walk-forward: nothing absent, what was planted is found, incremental = full."""

from __future__ import annotations

from datetime import UTC, datetime

import polars as pl
import pytest

from wealthos_pipeline import ml
from wealthos_pipeline.ml import predictors
from wealthos_pipeline.utils.config import ModelSettings

FEATURES = ("signal", "noise_a", "noise_b", "sparse")
FOREVER = datetime(2100, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> ModelSettings:
    """One model a family, refitted once a year."""
    folder = tmp_path_factory.mktemp("models")
    (folder / "stack.yaml").write_text(
        "name: stacked\nfamily: stacked\nmembers: [ridge, ic_weighted]\n", "utf-8"
    )
    (folder / "up.yaml").write_text(
        "name: direction\nfamily: direction\nlabel: direction\n", "utf-8"
    )
    return ModelSettings(
        names=tuple(predictors.FAMILIES),
        specs=folder,
        horizon=5,
        train_sessions=300,
        min_train_sessions=120,
        every=2,
        lightgbm_trees=12,
    )


def run(world, settings: ModelSettings, **more):
    return ml.fit_and_predict(
        world.scores, world.prices, world.universe, world.calendar, settings,
        feature_names=FEATURES, end=world.end, **more,
    )  # fmt: skip


def test_every_family_walks_forward_and_an_incremental_run_gives_the_same_bits(
    world, settings: ModelSettings
) -> None:
    full = run(world, settings)
    # the data begin in 2001: the first fit has no history yet, for all of them alike
    assert full.absences["refit_date"].unique().len() <= 1
    found = ml.evaluate(full.predictions, world.prices, world.calendar, 5, known_until=FOREVER)
    ics = found.group_by("model").agg(pl.col("rank_ic").mean())
    assert set(ics["model"]) == set(predictors.FAMILIES)
    assert ics["rank_ic"].min() > 0.02

    start = full.predictions["date"].unique().sort()[-4]
    again = run(world, settings, start=start, registry=full.registry)
    wanted = full.predictions.filter(pl.col("date") >= start)
    keys = ["model", "kind", "date", "instrument_id"]
    assert again.predictions.sort(keys).equals(wanted.sort(keys))
