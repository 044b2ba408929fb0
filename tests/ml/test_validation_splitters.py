"""No splitter lets a training label reach into its test side: k-fold, combinatorial, walk-forward."""

from __future__ import annotations

from itertools import combinations
from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wealthos_pipeline.core.errors import ModelError
from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.ml import splitters, validation
from wealthos_pipeline.ml.datasets import Training

EXCHANGES = [TradingCalendar(), TradingCalendar("XLON", 15)]
FRAMES = {c: c.frame() for c in EXCHANGES}
DAYS = {c: f["date"].to_numpy().astype("datetime64[D]") for c, f in FRAMES.items()}
KNOWN = {c: f["known_at"].dt.replace_time_zone(None).to_numpy() for c, f in FRAMES.items()}
FIRST, SPAN = 9_000, 120
QUIET = settings(deadline=None, derandomize=True, max_examples=60)


def labelled(calendar, slots: np.ndarray, horizon: int) -> Training:
    """A row a slot, in the order given."""
    ends, n = slots + 1 + horizon, len(slots)
    return Training(
        X=np.zeros((n, 1), np.float32), y=np.zeros(n), w=np.ones(n),
        dates=DAYS[calendar][slots], label_end=DAYS[calendar][ends],
        known_at=KNOWN[calendar][ends].astype("datetime64[us]"), names=np.zeros(n, np.int32),
        outcome=np.zeros(n), features=("x",),
    )  # fmt: skip


@st.composite
def panels(draw) -> tuple[TradingCalendar, Training, int]:
    """Names with sessions missing, every so many sessions, on an exchange with its holidays."""
    calendar = draw(st.sampled_from(EXCHANGES))
    horizon, every = draw(st.integers(1, 25)), draw(st.sampled_from([1, 2, 5]))
    gone = draw(st.sets(st.integers(FIRST, FIRST + SPAN), max_size=40))
    slots = np.array([s for s in range(FIRST, FIRST + SPAN) if s % every == 0 and s not in gone])
    names = draw(st.integers(1, 3))
    return calendar, labelled(calendar, np.repeat(slots, names), horizon), horizon


def honest(rows: Training, fold: splitters.Fold) -> None:
    """By the definition, pair by pair: closed intervals that share no day."""
    a, b = rows.dates[fold.train], rows.label_end[fold.train]
    c, d = rows.dates[fold.test], rows.label_end[fold.test]
    assert not np.any((a[:, None] <= d[None, :]) & (c[None, :] <= b[:, None]))
    assert not set(fold.train) & set(fold.test)


def refused_rightly(rows: Training, blocks: int, error: ModelError) -> bool:
    few = len(np.unique(rows.dates)) < blocks
    return ("need at least" if few else "leave no row to train on") in str(error)


@QUIET
@given(panel=panels(), folds=st.integers(2, 5), embargo=st.integers(0, 12), exact=st.booleans())
def test_purged_kfold(panel, folds: int, embargo: int, exact: bool) -> None:
    calendar, rows, _ = panel
    sessions = DAYS[calendar] if exact else None
    try:
        found = splitters.purged_kfold(rows, folds, embargo=embargo, sessions=sessions)
    except ModelError as error:
        if not refused_rightly(rows, folds, error):
            raise
        return
    assert sorted(np.concatenate([f.test for f in found])) == list(range(len(rows)))
    for fold in found:
        honest(rows, fold)
        # what begins within the embargo after the last test label is out, and no more than purging
        # and embargo ask for
        last = rows.label_end[fold.test].max()
        after = np.searchsorted(DAYS[calendar], last, side="right")
        until = DAYS[calendar][after + embargo - 1] if embargo else last
        assert not np.any((rows.dates[fold.train] > last) & (rows.dates[fold.train] <= until))
        start, end = rows.dates[fold.test].min(), last
        apart = (rows.label_end < start) | (rows.dates > (until if embargo else end))
        if exact or not embargo:
            np.testing.assert_array_equal(fold.train, np.flatnonzero(apart))
        else:
            assert not set(fold.train) - set(np.flatnonzero(apart))


@QUIET
@given(panel=panels(), groups=st.integers(3, 6), data=st.data())
def test_combinatorial_folds_and_paths(panel, groups: int, data) -> None:
    calendar, rows, _ = panel
    k = data.draw(st.integers(1, groups - 1))
    embargo = data.draw(st.integers(0, 8))
    try:
        found = splitters.combinatorial(
            rows, groups, k, embargo=embargo, sessions=DAYS[calendar]
        )  # fmt: skip
    except ModelError as error:
        if not refused_rightly(rows, groups, error):
            raise
        return
    assert len(found.folds) == comb(groups, k)
    for fold, tested in zip(found.folds, combinations(range(groups), k), strict=True):
        honest(rows, fold)
        assert set(found.groups[fold.test]) == set(tested)
        for block in tested:
            last = rows.label_end[found.groups == block].max()
            after = np.searchsorted(DAYS[calendar], last, side="right")
            begun = np.searchsorted(DAYS[calendar], rows.dates[fold.train])
            assert not np.any((begun >= after) & (begun < after + embargo))
    # every path covers every row once, with a prediction of a fold that tested it, used once only
    assert found.paths.shape == (comb(groups - 1, k - 1), groups)
    numbered = [np.full(len(f.test), float(i)) for i, f in enumerate(found.folds)]
    used = set()
    for i in range(len(found.paths)):
        path = found.path(i, numbered)
        assert not np.isnan(path).any()
        pairs = {(int(f), int(g)) for f, g in zip(path, found.groups, strict=True)}
        assert len(pairs) == groups
        assert not used & pairs
        used |= pairs


@QUIET
@given(panel=panels(), every=st.sampled_from(["week", "month"]), rolling=st.none() | st.integers(5, 60))  # fmt: skip
def test_walk_forward(panel, every: str, rolling: int | None) -> None:
    calendar, rows, horizon = panel
    first, last = rows.dates[0].item(), rows.dates[-1].item()
    refits = validation.refit_dates(calendar, first, last, every)
    windows = [validation.window(calendar, r, horizon, rolling or 10_000) for r in refits]
    firsts = [calendar.date_of(w.first_slot) if rolling else None for w in windows]
    found = splitters.walk_forward(rows, windows, firsts)
    for i, (fold, w) in enumerate(zip(found, windows, strict=True)):
        honest(rows, fold)
        before = np.datetime64(w.refit_date)
        known = np.datetime64(w.known_by.replace(tzinfo=None), "us")
        expected = (rows.label_end < before) & (rows.known_at <= known)
        if rolling:
            expected &= rows.dates >= np.datetime64(firsts[i])
        np.testing.assert_array_equal(fold.train, np.flatnonzero(expected))
    served = np.concatenate([f.test for f in found]) if found else np.zeros(0)
    begun = rows.dates >= np.datetime64(refits[0]) if refits else np.zeros(len(rows), bool)
    np.testing.assert_array_equal(served, np.flatnonzero(begun))


def test_the_blocks_are_those_of_skfolio() -> None:
    """Same test sides and paths as skfolio's splitter, which purges by a count of rows; with a label of
    h + 1 sessions on consecutive ones the two purges agree as well."""
    from skfolio.model_selection import CombinatorialPurgedCV

    horizon, n = 3, 90
    rows = labelled(EXCHANGES[0], np.arange(FIRST, FIRST + n), horizon)
    found = splitters.combinatorial(rows, 6, 2)
    peer = CombinatorialPurgedCV(n_folds=6, n_test_folds=2, purged_size=horizon + 1, embargo_size=0)
    assert len(found.paths) == peer.n_test_paths
    for fold, (train, tests) in zip(found.folds, peer.split(rows.X), strict=True):
        assert sorted(np.concatenate(tests)) == fold.test.tolist()
        assert np.asarray(train).tolist() == fold.train.tolist()


def test_what_cannot_be_split_is_said() -> None:
    rows = labelled(EXCHANGES[0], np.arange(FIRST, FIRST + 10), 5)
    with pytest.raises(ModelError, match="at least 2 folds, found 1"):
        splitters.purged_kfold(rows, 1)
    with pytest.raises(ModelError, match="12 blocks need at least 12 dates, found 10"):
        splitters.purged_kfold(rows, 12)
    with pytest.raises(ModelError, match="leave no row to train on; use fewer folds"):
        splitters.purged_kfold(rows, 3)
    with pytest.raises(ModelError, match="at least 0, found -1"):
        splitters.purged_kfold(rows, 2, embargo=-1)
    with pytest.raises(ModelError, match="test_groups must be between 1 and groups"):
        splitters.combinatorial(rows, 3, 3)
    with pytest.raises(ModelError, match="are 184756 folds"):
        splitters.combinatorial(rows, 20, 10)
    backwards = rows.take(np.arange(10)[::-1])
    with pytest.raises(ModelError, match="sorted by date"):
        splitters.purged_kfold(backwards, 2)
