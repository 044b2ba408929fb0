"""Panels, targets and folds."""

from dataclasses import replace
from datetime import UTC, date, datetime

import numpy as np
import polars as pl
import pytest
from scipy import stats

from wealthos_pipeline.core.errors import ModelError
from wealthos_pipeline.factors.labels import forward_returns
from wealthos_pipeline.ml import datasets, validation

FEATURES = ("signal", "noise_a", "noise_b", "sparse")


def test_features_are_standardised_over_the_universe_of_the_date(world) -> None:
    day = date(2003, 5, 7)
    found = datasets.panel(world.scores, world.universe, FEATURES, [day])
    rows = world.scores.filter(
        (pl.col("date") == day)
        & pl.col("instrument_id").is_in(found.keys["instrument_id"].implode())
    ).sort("instrument_id")
    assert "N07" not in found.keys["instrument_id"]
    for j, name in enumerate(FEATURES):
        x = rows[name].fill_null(np.nan).to_numpy().astype(np.float64)
        expected = (x - np.nanmean(x)) / np.nanstd(x)
        np.testing.assert_allclose(found.X[:, j], expected, rtol=1e-6, atol=1e-6)


def test_row_order_and_extent_of_the_input_do_not_matter(world) -> None:
    days = world.calendar.sessions(date(2002, 3, 1), date(2002, 4, 1))
    full = datasets.panel(world.scores, world.universe, FEATURES, days)
    shuffled = world.scores.sample(fraction=1.0, shuffle=True, seed=3)
    part = datasets.panel(
        shuffled.filter(pl.col("date") >= days[5]), world.universe, FEATURES, days[5:]
    )
    tail = full.offsets[5]
    assert full.keys[tail:].equals(part.keys)
    assert full.X[tail:].tobytes() == part.X.tobytes()


def test_what_is_missing_constant_or_infinite() -> None:
    day = date(2020, 1, 2)
    scores = pl.DataFrame(
        {
            "date": [day] * 4,
            "instrument_id": ["A", "B", "C", "D"],
            "x": [1.0, np.inf, None, None],
            "flat": [0.1, 0.1, 0.1, None],
        }
    )
    found = datasets.panel(scores, scores, ("x", "flat"), [day])
    assert found.keys["instrument_id"].to_list() == ["A", "B", "C"]  # D has no feature at all
    np.testing.assert_array_equal(found.X, [[0, 0], [np.nan, 0], [np.nan, 0]])
    with pytest.raises(ModelError, match=r"no column \['y'\].*instrument_id"):
        datasets.panel(scores, scores, ("x", "y"), [day])


def test_gaussian_rank_against_scipy() -> None:
    x = np.random.default_rng(1).integers(0, 30, 40).astype(float)
    expected = stats.norm.ppf((stats.rankdata(x) - 0.5) / 40)
    np.testing.assert_allclose(datasets.gaussian_rank(x), stats.zscore(expected), rtol=1e-9)
    assert not datasets.gaussian_rank(np.full(4, 0.2)).any()


def test_training_rows_have_the_label_and_equal_weight_by_date(world) -> None:
    days = world.calendar.sessions(date(2003, 1, 2), date(2003, 3, 31))
    features = datasets.panel(world.scores, world.universe, FEATURES, days)
    labels = forward_returns(world.prices, 5, world.calendar)
    rows = datasets.training(features, labels)
    keys = features.keys.join(labels, on=["date", "instrument_id"]).sort("date", "instrument_id")
    assert len(rows) == keys.height
    for day in (days[0], days[-1]):
        at = rows.dates == np.datetime64(day)
        label = keys.filter(pl.col("date") == day)["label"].to_numpy()
        assert stats.spearmanr(rows.y[at], label).statistic == pytest.approx(1.0)
        assert rows.w[at].sum() == pytest.approx(1.0)
        assert set(rows.label_end[at]) == {np.datetime64(world.calendar.offset(day, 6))}


def test_dates_with_few_names_or_equal_labels_are_left_out() -> None:
    days = [date(2020, 1, 2), date(2020, 1, 3), date(2020, 1, 6)]
    known = datetime(2020, 2, 1, tzinfo=UTC)
    rows = [(d, f"N{i}", float(i)) for d in days for i in range(6)]
    scores = pl.DataFrame(rows, schema=["date", "instrument_id", "x"], orient="row")
    labels = scores.with_columns(
        pl.when(pl.col("date") == days[1]).then(0.01).otherwise(pl.col("x")).alias("label"),
        pl.lit(date(2020, 1, 31)).alias("label_end"),
        pl.lit(known).alias("known_at"),
    ).filter((pl.col("date") != days[2]) | (pl.col("x") < 4))
    features = datasets.panel(scores, scores, ("x",), days)
    assert set(datasets.training(features, labels).dates) == {np.datetime64(days[0])}


def test_a_fold_holds_admissible_rows_of_its_window_and_says_when_they_are_too_few(world) -> None:
    refit = date(2003, 1, 2)
    window = validation.window(world.calendar, refit, 5, 200)
    days = datasets.training_dates(world.calendar.frame(), [window], 4)
    assert all(world.calendar.slot(d) % 4 == 0 for d in days)
    features = datasets.panel(
        world.scores, world.universe, FEATURES, world.calendar.sessions(date(2001, 1, 2), world.end)
    )
    rows = datasets.training(features, forward_returns(world.prices, 5, world.calendar))
    first = world.calendar.date_of(window.first_slot)
    chosen = datasets.fold(rows, window, first, every=1, min_sessions=200)
    assert chosen.dates.min() == np.datetime64(first)
    assert chosen.dates.max() == np.datetime64(world.calendar.offset(refit, -7))
    assert chosen.label_end.max() == np.datetime64(world.calendar.offset(refit, -1))
    with pytest.raises(ModelError, match=r"200 sessions have .* 201 are needed"):
        datasets.fold(rows, window, first, every=1, min_sessions=201)


def test_a_label_that_became_known_late_is_not_trained_on(world) -> None:
    refit = date(2003, 1, 2)
    window = validation.window(world.calendar, refit, 5, 200)
    days = world.calendar.sessions(date(2002, 6, 3), date(2002, 12, 2))
    features = datasets.panel(world.scores, world.universe, FEATURES, days)
    revised = date(2002, 9, 3)
    labels = forward_returns(world.prices, 5, world.calendar).with_columns(
        pl.when(pl.col("date") == revised)
        .then(pl.lit(datetime(2003, 1, 2, 12, tzinfo=UTC)))
        .otherwise(pl.col("known_at"))
        .alias("known_at")
    )
    rows = datasets.training(features, labels)
    chosen = datasets.fold(rows, window, days[0], every=1, min_sessions=1)
    assert np.datetime64(revised) in rows.dates
    assert np.datetime64(revised) not in chosen.dates


def test_names_of_a_fold_are_numbered_among_themselves(world) -> None:
    """Names that are listed after a fit, or were gone before it, change no bit of it: clustered errors are sums
    by name."""
    refit = date(2003, 1, 2)
    window = validation.window(world.calendar, refit, 5, 120)
    days = world.calendar.sessions(date(2002, 8, 1), date(2002, 12, 2))
    features = datasets.panel(world.scores, world.universe, FEATURES, days)
    rows = datasets.training(features, forward_returns(world.prices, 5, world.calendar))
    chosen = datasets.fold(rows, window, days[0], every=1, min_sessions=1)
    others = replace(rows, names=(3 * rows.names + 40).astype(np.int32))
    again = datasets.fold(others, window, days[0], every=1, min_sessions=1)
    np.testing.assert_array_equal(again.names, chosen.names)
    assert again.names.dtype == np.int32
    assert sorted(set(again.names.tolist())) == list(range(len(set(again.names.tolist()))))
