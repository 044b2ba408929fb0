"""Labels of every kind and weights, against plain NumPy; blocks, files and folds give the same bits."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime

import numpy as np
import polars as pl
import pytest

from wealthos_pipeline.core.errors import ModelError
from wealthos_pipeline.core.model import Weighting
from wealthos_pipeline.factors.labels import forward_returns
from wealthos_pipeline.ml import datasets, labels, panels, splitters, weights

FEATURES = ("signal", "noise_a", "noise_b", "sparse")
H = 5
DAY = date(2003, 5, 7)


@pytest.fixture(scope="module")
def data(world):
    """Rows of some dates with every label, assembled at once."""
    days = list(world.calendar.sessions(date(2003, 1, 2), date(2003, 6, 30)))[::3]
    wanted = [datasets.Label(k, H) for k in ("rank", "forward", "excess", "volatility_scaled", "direction")]  # fmt: skip
    wanted.append(datasets.Label("rank", 20))
    known = datasets.Labels(
        {h: forward_returns(world.prices, h, world.calendar) for h in (H, 20)},
        labels.trailing_volatility(world.prices, world.calendar, pl.Series(days)),
    )
    scores = panels.Scores(world.scores)
    return days, known, datasets.assemble(scores, world.universe, FEATURES, days, known, wanted)


def test_each_label_of_one_date_against_numpy(world, data) -> None:
    days, _, found = data
    day = days[20]
    rows = {k.kind: v for k, v in found.items() if k.horizon == H}
    at = {kind: v.take(v.dates == np.datetime64(day)) for kind, v in rows.items()}
    r = at["forward"].outcome
    np.testing.assert_array_equal(at["forward"].y, r)
    np.testing.assert_allclose(at["excess"].y, r - r.mean(), rtol=1e-12, atol=1e-15)
    np.testing.assert_array_equal(at["direction"].y, r > 0)
    assert np.argsort(at["rank"].y).tolist() == np.argsort(r).tolist()
    scaled = at["volatility_scaled"]
    names = world.universe["instrument_id"].unique().sort()
    slot = world.calendar.slot(day)
    bars = world.prices.filter(pl.col("slot").is_between(slot - 63, slot))
    expected = []
    for code in scaled.names:
        own = dict(
            bars.filter(pl.col("instrument_id") == names[int(code)]).select("slot", "tr_index").rows()
        )  # fmt: skip
        daily = [own[s] / own[s - 1] - 1 for s in own if s - 1 in own]
        expected.append(np.std(daily, ddof=1) * np.sqrt(H))
    z = (scaled.outcome - scaled.outcome.mean()) / np.array(expected)
    np.testing.assert_allclose(scaled.y, np.clip(z, -4, 4), rtol=1e-9)


def test_volatility_knows_nothing_of_later_and_needs_enough_returns(world) -> None:
    full = labels.trailing_volatility(world.prices, world.calendar, pl.Series([DAY]))
    past = world.prices.filter(pl.col("date") <= DAY)
    assert labels.trailing_volatility(past, world.calendar, pl.Series([DAY])).equals(full)
    start = world.calendar.offset(DAY, -63)
    cut = past.filter(pl.col("date") >= start)  # the bits do not depend on where prices begin
    assert labels.trailing_volatility(cut, world.calendar, pl.Series([DAY])).equals(full)
    short = past.filter(pl.col("date") >= world.calendar.offset(DAY, -20))
    assert labels.trailing_volatility(short, world.calendar, pl.Series([DAY])).is_empty()
    huge = labels.target("volatility_scaled", np.array([0.9, 0, 0, 0, 0.0]), 1, np.full(5, 0.01))
    assert huge.max() == labels.CLIP
    with pytest.raises(ModelError, match="needs the trailing volatility"):
        labels.target("volatility_scaled", np.array([0.1, 0.2]), 1)


def test_labels_share_one_matrix_of_features(data) -> None:
    _, _, found = data
    rank, plain = found[datasets.Label("rank", H)], found[datasets.Label("forward", H)]
    assert np.shares_memory(rank.X, plain.X)
    assert np.shares_memory(rank.X, found[datasets.Label("rank", 20)].X)
    assert np.shares_memory(rank.take(np.arange(10, 50)).X, rank.X)
    assert np.shares_memory(rank.take(rank.dates > rank.dates[100]).X, rank.X)
    assert not np.shares_memory(rank.take(np.array([1, 3])).X, rank.X)


def test_blocks_and_files_give_the_same_bits(world, data, tmp_path, monkeypatch) -> None:
    days, known, found = data
    label = datasets.Label("rank", H)
    path = tmp_path / "scores.parquet"
    world.scores.sample(fraction=1.0, shuffle=True, seed=2).write_parquet(path)
    monkeypatch.setattr(panels, "CELLS", 300)
    halves = [
        pl.scan_parquet(path).select("date", "instrument_id", *part)
        for part in (FEATURES[:2], FEATURES[2:])
    ]
    again = datasets.assemble(
        panels.Scores(halves), world.universe, FEATURES, days, known, [label]
    )[label]
    for name in ("X", "y", "w", "dates", "label_end", "known_at", "names", "outcome"):
        assert getattr(again, name).tobytes() == getattr(found[label], name).tobytes()


def test_uniqueness_against_counting(world) -> None:
    """By the definition: on each session of a label's returns 1 / labels of the name that cover it."""
    rng = np.random.default_rng(3)
    sessions = world.calendar.frame()["date"].to_numpy().astype("datetime64[D]")
    first, h = 9000, 4
    slots = np.sort(rng.choice(60, 25, replace=False)) + first
    names = rng.integers(0, 3, 25)
    got = weights.uniqueness(names, sessions[slots], sessions[slots + 1 + h], sessions)
    for i in range(25):
        cover = []
        for s in range(slots[i] + 2, slots[i] + 2 + h):
            own = (names == names[i]) & (slots + 2 <= s) & (s <= slots + 1 + h)
            cover.append(1 / own.sum())
        assert got[i] == pytest.approx(np.mean(cover), rel=1e-12)
    alone = weights.uniqueness(np.arange(25), sessions[slots], sessions[slots + 1 + h], sessions)
    np.testing.assert_array_equal(alone, 1.0)
    with pytest.raises(ModelError, match="both must be sessions"):
        weights.uniqueness(names[:1], sessions[slots[:1]], np.array(["2016-01-02"], "datetime64[D]"), sessions)  # fmt: skip


def test_a_fold_weighs_its_own_rows_and_hides_the_labels_of_its_test_side(world, data) -> None:
    _, _, found = data
    rows = found[datasets.Label("rank", H)]
    sessions = world.calendar.frame()["date"].to_numpy().astype("datetime64[D]")
    fold = splitters.purged_kfold(rows, 3, embargo=2, sessions=sessions)[1]
    how = Weighting(uniqueness=True, half_life=40.0)
    made = datasets.fold_data(
        rows, fold, weighting=how, sessions=sessions, fitted=date(2003, 7, 31)
    )
    plain = datasets.fold_data(rows, fold)
    assert not hasattr(made.test, "y")
    np.testing.assert_array_equal(made.test.X, rows.X[fold.test])
    fitted = np.searchsorted(sessions, np.datetime64("2003-07-31"))
    age = fitted - np.searchsorted(sessions, made.train.dates)
    own = weights.uniqueness(
        made.train.names, made.train.dates, made.train.label_end, sessions
    )  # fmt: skip
    np.testing.assert_allclose(made.train.w, plain.train.w * own * 0.5 ** (age / 40), rtol=1e-12)
    # what the test side holds changes nothing that is trained on
    spoilt = replace(rows, y=rows.y.copy(), outcome=rows.outcome.copy(), X=rows.X.copy())
    for part in (spoilt.y, spoilt.outcome, spoilt.X):
        part[fold.test] = 99.0
    again = datasets.fold_data(
        spoilt, fold, weighting=how, sessions=sessions, fitted=date(2003, 7, 31)
    )
    for name in ("X", "y", "w", "outcome"):
        assert getattr(again.train, name).tobytes() == getattr(made.train, name).tobytes()
    # nor what is learnt of features on the way: a median for what is missing, limits, mean and scale
    prepared = datasets.fold_data(rows, fold, prepare=True)
    assert np.isfinite(prepared.train.X).all()
    assert np.isfinite(prepared.test.X).all()
    spoilt_too = datasets.fold_data(spoilt, fold, prepare=True)
    assert spoilt_too.train.X.tobytes() == prepared.train.X.tobytes()
    with pytest.raises(ModelError, match="need the exchange's sessions"):
        datasets.fold_data(rows, fold, weighting=how)


def test_a_row_is_trained_on_only_if_its_label_was_known(data) -> None:
    _, _, found = data
    rows = found[datasets.Label("rank", H)]
    everything = splitters.Fold(np.arange(len(rows)), np.zeros(0, np.int64))
    at = datetime(2003, 4, 1, tzinfo=UTC)
    made = datasets.fold_data(rows, everything, known_by=at)
    expected = rows.known_at <= np.datetime64("2003-04-01")
    assert 0 < len(made.train) == expected.sum() < len(rows)


def test_a_delisted_name_keeps_its_label_and_one_that_was_never_bought_has_none(world) -> None:
    """N04's last bars: held to its last price, then cash; after them there is no row."""
    bars = world.prices.filter(pl.col("instrument_id") == "N04").sort("slot")
    last = bars["slot"][-1]
    ends = forward_returns(world.prices, H, world.calendar).filter(pl.col("instrument_id") == "N04")
    slots = [world.calendar.slot(d) for d in ends["date"]]
    index = dict(bars.select("slot", "tr_index").rows())
    inside = [s for s in slots if s > last - H - 1]
    assert inside
    assert max(slots) < last
    for s in inside:
        label = ends.filter(pl.col("date") == world.calendar.date_of(s))["label"].item()
        assert label == pytest.approx(index[last] / index[s + 1] - 1)
