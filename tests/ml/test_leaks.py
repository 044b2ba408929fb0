"""What knows the future is caught, with words that say why; what does not passes."""

from __future__ import annotations

from datetime import date

import numpy as np
import polars as pl
import pytest

from wealthos_pipeline.core.errors import ModelError
from wealthos_pipeline.factors.labels import forward_returns
from wealthos_pipeline.ml import datasets, leaks, panels, splitters, validation

H = 5
CUTS = (date(2002, 3, 4), date(2003, 1, 6), date(2003, 11, 28))


@pytest.fixture(scope="module")
def labels(world) -> pl.DataFrame:
    return forward_returns(world.prices, H, world.calendar)


@pytest.fixture(scope="module")
def features(world) -> pl.DataFrame:
    """Two honest features and two that leak, of the same prices and states."""
    one = forward_returns(
        world.prices, 1, world.calendar
    )  # from the close of t + 1 to that of t + 2
    tomorrow = one.select("date", "instrument_id", pl.col("label").alias("tomorrow"))
    noise = pl.Series(np.random.default_rng(1).standard_normal(world.scores.height))
    made = _standardised(world.scores, world.end).join(
        world.scores.select("date", "instrument_id", "signal", noise_c=noise),
        on=["date", "instrument_id"],
    )
    return made.join(tomorrow, on=["date", "instrument_id"], how="left")


def _standardised(scores: pl.DataFrame, until: date) -> pl.DataFrame:
    """``hindsight``: less the name's mean over all that there is, later dates too. ``trailing``: over the
    last 20 of its rows."""
    rows = scores.filter(pl.col("date") <= until).sort("instrument_id", "date")
    x = pl.col("noise_a")
    return rows.select(
        "date",
        "instrument_id",
        hindsight=(x - x.mean().over("instrument_id")) / x.std().over("instrument_id"),
        trailing=x - x.rolling_mean(20, min_samples=1).over("instrument_id"),
    )


def test_tomorrows_return_is_caught_by_its_information(features, labels) -> None:
    report = leaks.leak_report(features, labels)
    assert not report.clean
    (words,) = report.findings
    assert words.startswith("tomorrow: a mean rank IC of +0.")
    assert "more than a feature can know; one session late it is" in words
    assert "returns of after its date" in words


def test_a_weaker_leak_is_caught_by_what_one_session_costs_it(features, labels) -> None:
    """Under noise the IC is one that a feature might have; that it is gone a session later is not."""
    noise = pl.Series(np.random.default_rng(2).standard_normal(features.height)) * 0.08
    weak = features.select("date", "instrument_id", weak=pl.col("tomorrow") + noise)
    (words,) = leaks.by_information(weak, labels, ["weak"])
    assert "falls to" in words
    assert "one session late" in words


def test_standardising_with_later_data_is_caught_by_computing_again(
    world, features, labels
) -> None:
    report = leaks.leak_report(
        features, labels, features=["hindsight", "trailing"],
        recompute=lambda day: _standardised(world.scores, day), cuts=CUTS,
    )  # fmt: skip
    (words,) = report.findings
    assert words.startswith("hindsight: ")
    assert "when nothing later than the date exists" in words
    assert "made with data of later dates" in str(report)


def test_an_unpurged_split_is_caught_and_a_purged_one_passes(world, features, labels) -> None:
    days = world.calendar.sessions(date(2002, 1, 2), date(2002, 12, 31))
    panel = panels.panel(world.scores, world.universe, ("signal",), days)
    rows = datasets.training(panel, labels, "rank", H)
    n, middle = len(rows), len(rows) // 2
    unpurged = splitters.Fold(np.arange(middle), np.arange(middle, n))
    twice = splitters.Fold(np.arange(middle + 3), np.arange(middle, n))
    found = leaks.by_split(rows, [unpurged, twice])
    assert "fold 1: " in found[0]
    assert "training labels overlap the test side" in found[0]
    assert "Purge by label interval" in found[0]
    assert found[1] == "fold 2: 3 rows are on the training and on the test side"
    report = leaks.leak_report(
        features, labels, features=["signal", "trailing", "noise_c"], rows=rows,
        folds=splitters.purged_kfold(rows, 4, embargo=3),
    )  # fmt: skip
    assert report.clean
    assert "no leak found in 3 features" in str(report)
    with pytest.raises(ModelError, match="needs the rows"):
        leaks.leak_report(features, labels, folds=[unpurged])


def test_a_fold_of_an_unpurged_split_is_refused_by_the_data(world, labels) -> None:
    days = world.calendar.sessions(date(2002, 1, 2), date(2002, 6, 28))
    rows = datasets.training(
        panels.panel(world.scores, world.universe, ("signal",), days), labels, "rank", H
    )
    middle = len(rows) // 2
    with pytest.raises(ModelError, match="overlap the test side"):
        datasets.fold_data(rows, splitters.Fold(np.arange(middle), np.arange(middle, len(rows))))
    window = validation.window(world.calendar, date(2002, 4, 1), H, 50)
    (fold,) = splitters.walk_forward(rows, [window], [None])
    made = datasets.fold_data(rows, fold)
    assert made.train.label_end.max() < made.test.dates.min()
    assert not any(hasattr(made.test, name) for name in ("y", "outcome", "label_end"))
