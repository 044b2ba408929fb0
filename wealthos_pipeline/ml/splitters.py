"""Folds of labelled rows whose training labels never reach into the test side.

Every splitter purges by the label's interval, from the date of the features to the last session of
the label, and not by a count of rows: what overlaps a test interval is out, whatever the horizon, the
holidays or the sessions that a name has missed. Where training follows test (k-fold, combinatorial),
an ``embargo`` leaves out what begins shortly after it, because features look back into the test side
(López de Prado 2018, ch. 7). Every fold is certified before it is handed out; the same rows give the
same folds.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import combinations, pairwise
from math import comb
from typing import TYPE_CHECKING

import numpy as np

from wealthos_pipeline.core.errors import ModelError
from wealthos_pipeline.ml.validation import Window, admissible, certify, overlapping

if TYPE_CHECKING:
    from wealthos_pipeline.ml.datasets import Training

MAX_COMBINATIONS = 1000
"""More folds than this is a slip of the pen, not a validation."""


@dataclass(frozen=True, slots=True, eq=False)
class Fold:
    """Row numbers, int64, ascending: what is fitted on and what is predicted."""

    train: np.ndarray
    test: np.ndarray


@dataclass(frozen=True, slots=True, eq=False)
class Combinations:
    """Folds of a combinatorial split and the paths that their predictions make.

    groups: int64 (rows,), the block of dates of each row. folds: in lexical order of the blocks that
    they test. paths: int64 (paths, groups): the fold whose prediction of a block belongs to a path.
    Each path covers every row once; each fold's prediction of a block is used by one path.
    """

    groups: np.ndarray
    folds: tuple[Fold, ...]
    paths: np.ndarray

    def path(self, i: int, predictions: Sequence[np.ndarray]) -> np.ndarray:
        """The i-th path's prediction of every row, float64. predictions: of each fold's test rows."""
        out = np.full(len(self.groups), np.nan)
        for group, number in enumerate(self.paths[i]):
            test = self.folds[number].test
            of_group = self.groups[test] == group
            out[test[of_group]] = predictions[number][of_group]
        return out


def purged_kfold(
    rows: Training, folds: int, *, embargo: int = 0, sessions: np.ndarray | None = None
) -> list[Fold]:
    """``folds`` blocks of consecutive dates; each is tested by what is trained on the others.

    rows: sorted by date. A training row's interval overlaps none of the test block, and does not begin
    within ``embargo`` sessions after the end of the block's last label. sessions: datetime64[D], the
    exchange's, ascending; None: the dates and label ends of the rows, which are some of the sessions, so
    that an embargo is never shorter than asked for. ModelError if there are fewer dates than folds, or
    if purging leaves a fold nothing to train on.
    """
    if folds < 2:
        raise ModelError(f"a k-fold split needs at least 2 folds, found {folds}")
    groups = blocks(rows.dates, folds)
    known = _sessions(rows, sessions, embargo)
    return [_split(rows, groups, (i,), embargo, known) for i in range(folds)]


def combinatorial(
    rows: Training,
    groups: int,
    test_groups: int,
    *,
    embargo: int = 0,
    sessions: np.ndarray | None = None,
) -> Combinations:
    """Combinatorial purged cross-validation (López de Prado 2018, §12.4).

    ``groups`` blocks of consecutive dates; every choice of ``test_groups`` of them is a test side once.
    Each block is thus tested comb(groups − 1, test_groups − 1) times, and so many paths over all rows
    come out. Purging, embargo and errors as ``purged_kfold``.
    """
    if not 1 <= test_groups < groups:
        raise ModelError(
            f"combinatorial split: test_groups must be between 1 and groups − 1, found {test_groups} "
            f"of {groups}"
        )
    if (number := comb(groups, test_groups)) > MAX_COMBINATIONS:
        raise ModelError(
            f"combinatorial split: {test_groups} of {groups} groups are {number} folds, more than "
            f"{MAX_COMBINATIONS}; use fewer groups"
        )
    of_row = blocks(rows.dates, groups)
    known = _sessions(rows, sessions, embargo)
    chosen = list(combinations(range(groups), test_groups))
    folds = tuple(_split(rows, of_row, c, embargo, known) for c in chosen)
    paths = [[i for i, c in enumerate(chosen) if g in c] for g in range(groups)]
    return Combinations(of_row, folds, np.array(paths, dtype=np.int64).T)


def walk_forward(
    rows: Training, windows: Sequence[Window], first_dates: Sequence[date | None]
) -> list[Fold]:
    """Fits in the order of time: each window's admissible rows, tested until the next refit.

    windows: in the order of their refit dates (``validation.window``). first_dates: the earliest
    training date of each; None: all there is (an expanding window). Rows before the first refit are
    tested by nobody. A fold whose training side is empty is handed out: who fits says why it cannot.
    """
    starts = [np.datetime64(w.refit_date) for w in windows]
    if any(b <= a for a, b in pairwise(starts)):
        raise ModelError("walk-forward windows must come in the order of their refit dates")
    out = []
    for i, (window, first) in enumerate(zip(windows, first_dates, strict=True)):
        train = admissible(rows.label_end, rows.known_at, window)
        if first is not None:
            train &= rows.dates >= np.datetime64(first)
        test = rows.dates >= starts[i]
        if i + 1 < len(starts):
            test &= rows.dates < starts[i + 1]
        fold = Fold(np.flatnonzero(train), np.flatnonzero(test))
        out.append(certified(rows, fold, f"fold of {window.refit_date}"))
    return out


def certified(rows: Training, fold: Fold, what: str) -> Fold:
    """``fold``, if none of its training labels overlaps a test label; else ModelError."""
    certify(
        rows.dates[fold.train],
        rows.label_end[fold.train],
        rows.dates[fold.test],
        rows.label_end[fold.test],
        what=what,
    )
    return fold


def blocks(dates: np.ndarray, number: int) -> np.ndarray:
    """Block of each row, int64: ``number`` runs of consecutive distinct dates, their lengths differing
    by at most one date. dates: ascending. ModelError if there are fewer dates than blocks."""
    new = np.append(True, dates[1:] != dates[:-1])[: len(dates)]
    if (dates[1:] < dates[:-1]).any():
        raise ModelError("a split needs rows sorted by date")
    count = int(new.sum())
    if count < number:
        raise ModelError(f"{number} blocks need at least {number} dates, found {count}")
    sizes = [len(part) for part in np.array_split(np.arange(count), number)]
    out: np.ndarray = np.repeat(np.arange(number, dtype=np.int64), sizes)[np.cumsum(new) - 1]
    return out


def _sessions(rows: Training, given: np.ndarray | None, embargo: int) -> np.ndarray:
    if embargo < 0:
        raise ModelError(f"an embargo is a number of sessions, at least 0, found {embargo}")
    if given is not None:
        return np.sort(given.astype("datetime64[D]"))
    return np.unique(np.concatenate([rows.dates, rows.label_end])).astype("datetime64[D]")


def _split(
    rows: Training, groups: np.ndarray, tested: Iterable[int], embargo: int, sessions: np.ndarray
) -> Fold:
    """The fold that tests the blocks ``tested``."""
    tested = tuple(tested)
    test = np.isin(groups, tested)
    start, end = rows.dates, rows.label_end
    train = ~test & ~overlapping(start, end, start[test], end[test])
    for block in tested if embargo else ():
        last = end[groups == block].max()
        after = np.searchsorted(sessions, last, side="right") + embargo - 1
        until = sessions[min(after, len(sessions) - 1)]
        train &= (start <= last) | (start > until)
    words = f"fold that tests block {', '.join(str(b + 1) for b in tested)} of {groups.max() + 1}"
    if not train.any():
        raise ModelError(
            f"{words}: purging{' and embargo' if embargo else ''} leave no row to train on; use fewer "
            f"folds, a shorter horizon or more history than {len(np.unique(start))} dates"
        )
    return certified(rows, Fold(np.flatnonzero(train), np.flatnonzero(test)), words)
