"""Labelled rows, and what of them a fit may see.

A cross-section is one date's universe, ordered by instrument. Features are standardised within it
(again: the scores' universe may be another one), labels are made within it. Rows are sorted by date and
instrument, so a fit never depends on the order or the extent of the frames that came in. The features
of all rows lie in one matrix: a fold whose rows follow each other is a view of it, not a copy.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from wealthos_pipeline.core.errors import ModelError
from wealthos_pipeline.core.model import LabelKind, Weighting
from wealthos_pipeline.ml import labels as targets
from wealthos_pipeline.ml import preprocessing
from wealthos_pipeline.ml import weights as weighting_of
from wealthos_pipeline.ml.labels import gaussian_rank
from wealthos_pipeline.ml.panels import KEY, Panel, Scores, blocks, date_offsets, panel, standardise
from wealthos_pipeline.ml.validation import Window, admissible, certify

if TYPE_CHECKING:
    from wealthos_pipeline.ml.splitters import Fold

__all__ = [
    "MIN_NAMES",
    "FoldData",
    "Label",
    "Labels",
    "Panel",
    "Training",
    "Unlabelled",
    "assemble",
    "fold",
    "fold_data",
    "gaussian_rank",
    "panel",
    "standardise",
    "training",
    "training_dates",
]

MIN_NAMES = 5
"""Fewer labelled names on a date: the date is no cross-section and is not trained on."""


@dataclass(frozen=True, slots=True)
class Training:
    """Labelled rows in the order of the panel (by date, then instrument); see ``training``.

    X: float32 (rows, features). y: float64, the label. w: float64 weight, 1 / names of the date, so that
    every date counts the same, times what a specification's weighting says. dates, label_end:
    datetime64[D]. known_at: datetime64[us], naive UTC. names: int32, a number for each instrument, in
    the order of ``instrument_id``. outcome: float64, the plain forward return. features: the columns of X.
    """

    X: np.ndarray
    y: np.ndarray
    w: np.ndarray
    dates: np.ndarray
    label_end: np.ndarray
    known_at: np.ndarray
    names: np.ndarray
    outcome: np.ndarray
    features: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.y)

    def take(self, rows: np.ndarray | slice) -> Training:
        """Some of the rows; a view where they follow each other."""
        rows = _as_slice(rows, len(self))
        return Training(
            self.X[rows],
            self.y[rows],
            self.w[rows],
            self.dates[rows],
            self.label_end[rows],
            self.known_at[rows],
            self.names[rows],
            self.outcome[rows],
            self.features,
        )


@dataclass(frozen=True, slots=True)
class Unlabelled:
    """The test side of a fold as a fit's reader sees it: X, dates and names as in ``Training``."""

    X: np.ndarray
    dates: np.ndarray
    names: np.ndarray


@dataclass(frozen=True, slots=True)
class FoldData:
    """One fold: what is fitted on, and the features that are predicted. Test labels are in neither."""

    train: Training
    test: Unlabelled


@dataclass(frozen=True, slots=True)
class Label:
    """Which label: what is learnt of the return over how many sessions."""

    kind: LabelKind
    horizon: int


@dataclass(frozen=True, slots=True)
class Labels:
    """Forward returns by horizon (``factors.labels.forward_returns``) and, where a label needs it, the
    trailing volatility known at each date (``labels.trailing_volatility``)."""

    returns: Mapping[int, pl.DataFrame]
    volatility: pl.DataFrame | None = None

    def on(self, panel: Panel, label: Label) -> pl.DataFrame:
        """Rows of ``panel`` that have the label: ``row`` (in the panel) and what it is made from."""
        frame = self.returns[label.horizon].filter(pl.col("label").is_finite())
        if panel.keys.height:
            first, last = panel.keys["date"][0], panel.keys["date"][-1]
            frame = frame.filter(pl.col("date").is_between(first, last))
        wanted = (*KEY, "label", "label_end", "known_at")
        rows = panel.keys.with_row_index("row").join(frame.select(wanted), on=KEY, how="inner")
        if label.kind == "volatility_scaled":
            if self.volatility is None:
                raise ModelError(
                    "label volatility_scaled needs the trailing volatility of each name"
                )
            rows = rows.join(self.volatility.select(*KEY, "volatility"), on=KEY, how="inner")
        return rows.sort("row")


@dataclass(frozen=True, slots=True)
class _Part:
    """The labelled rows of one block: their places in the panel, and all of ``Training`` but X."""

    row: np.ndarray
    y: np.ndarray
    w: np.ndarray
    dates: np.ndarray
    label_end: np.ndarray
    known_at: np.ndarray
    names: np.ndarray
    outcome: np.ndarray


def training(
    features: Panel, labels: pl.DataFrame, kind: LabelKind = "rank", horizon: int = 1
) -> Training:
    """The rows of ``features`` that have a label, with the label of each.

    labels: ``date, instrument_id, label, label_end, known_at`` (``factors.labels``). A date counts
    only if at least five names have a label and the forward returns differ. horizon: of the labels.
    """
    names = features.keys["instrument_id"].unique().sort()
    label = Label(kind, horizon)
    part = _labelled(features, Labels({horizon: labels}), label, names)
    return _joined(features.X[_as_slice(part.row, len(features.X))], [part], features.features)


def assemble(
    scores: Scores,
    universe: pl.DataFrame,
    feature_names: tuple[str, ...],
    dates: Collection[date],
    labels: Labels,
    wanted: Collection[Label],
) -> dict[Label, Training]:
    """Labelled rows of ``dates`` for each label in ``wanted``, their features in one shared matrix.

    The scores are read in blocks of dates and written into the matrix at once, so that beside it no more
    than a block of them is held. Rows as ``training``; where labels differ only in what they make of
    the returns, their features are views of the same rows.
    """
    days = pl.Series(sorted(dates), dtype=pl.Date)
    most = universe.filter(pl.col("date").is_in(days.implode())).height
    X = np.empty((most, len(feature_names)), dtype=np.float32)
    names = universe["instrument_id"].unique().sort()
    parts: dict[Label, list[_Part]] = {label: [] for label in wanted}
    places: dict[Label, list[np.ndarray]] = {label: [] for label in wanted}
    filled = 0
    for block in blocks(scores, universe, feature_names, dates):
        found = {label: _labelled(block, labels, label, names) for label in wanted}
        union = np.unique(np.concatenate([p.row for p in found.values()]))
        X[filled : filled + len(union)] = block.X[_as_slice(union, len(block.X))]
        for label, part in found.items():
            parts[label].append(part)
            places[label].append(filled + np.searchsorted(union, part.row))
        filled += len(union)
    out = {}
    for label, found_parts in parts.items():
        none = np.zeros(0, dtype=np.int64)
        rows = _as_slice(np.concatenate([none, *places.pop(label)]), filled)
        out[label] = _joined(X[:filled][rows], found_parts, feature_names)
    return out


def _labelled(block: Panel, labels: Labels, label: Label, names: pl.Series) -> _Part:
    """The rows of ``block`` that have ``label`` on a date that counts."""
    rows = labels.on(block, label)
    outcome = rows["label"].cast(pl.Float64).to_numpy()
    volatility = rows["volatility"].to_numpy() if label.kind == "volatility_scaled" else None
    y = np.zeros(len(rows))
    w = np.zeros(len(rows))
    for a, b in pairwise(date_offsets(rows["date"].to_numpy())):
        if b - a >= MIN_NAMES and np.ptp(outcome[a:b]) > 0:
            scale = None if volatility is None else volatility[a:b]
            y[a:b] = targets.target(label.kind, outcome[a:b], label.horizon, scale)
            w[a:b] = 1 / (b - a)
    kept = np.flatnonzero(w)
    known = rows["known_at"].dt.replace_time_zone(None).to_numpy()
    codes = rows["instrument_id"].cast(pl.Enum(names)).to_physical().cast(pl.Int32).to_numpy()
    return _Part(
        row=rows["row"].to_numpy()[kept].astype(np.int64),
        y=y[kept],
        w=w[kept],
        dates=rows["date"].to_numpy()[kept].astype("datetime64[D]"),
        label_end=rows["label_end"].to_numpy()[kept].astype("datetime64[D]"),
        known_at=known[kept].astype("datetime64[us]"),
        names=codes[kept],
        outcome=outcome[kept],
    )


def _joined(X: np.ndarray, parts: list[_Part], features: tuple[str, ...]) -> Training:
    """Parts in order as one; no part at all: no rows."""
    if not parts:
        day, second = np.zeros(0, "datetime64[D]"), np.zeros(0, "datetime64[us]")
        none, code = np.zeros(0), np.zeros(0, np.int32)
        return Training(X, none, none, day, day, second, code, none, features)

    def all_of(field: str) -> np.ndarray:
        return np.concatenate([getattr(p, field) for p in parts])

    return Training(
        X=X,
        y=all_of("y"),
        w=all_of("w"),
        dates=all_of("dates"),
        label_end=all_of("label_end"),
        known_at=all_of("known_at"),
        names=all_of("names"),
        outcome=all_of("outcome"),
        features=features,
    )


def training_dates(sessions: pl.DataFrame, windows: Collection[Window], every: int) -> list[date]:
    """Sessions that at least one window trains on: slots in it that ``every`` divides.

    sessions: ``date, slot`` of the calendar.
    """
    inside = pl.any_horizontal(
        pl.lit(False),
        *(pl.col("slot").is_between(w.first_slot, w.last_slot) for w in windows),
    )
    return sessions.filter(inside & (pl.col("slot") % every == 0))["date"].to_list()


def fold_data(
    rows: Training,
    fold: Fold,
    *,
    known_by: datetime | None = None,
    weighting: Weighting | None = None,
    sessions: np.ndarray | None = None,
    fitted: date | None = None,
    prepare: bool = False,
    what: str = "fold",
) -> FoldData:
    """The training side of ``fold`` with labels, weights and intervals; of the test side the features.

    known_by: the instant of the fit; rows whose label was known later are left out. weighting: what
    multiplies the weights of ``rows``: uniqueness among the labels of this training side, decay up to
    ``fitted`` (default: the session after the last label's end). sessions: datetime64[D], the
    exchange's; needed for a weighting. prepare: fill what is missing, clip and standardise both sides by
    what is learnt on the training side (``preprocessing``). ModelError if a training label overlaps a
    test label.
    """
    chosen = fold.train
    if known_by is not None:
        chosen = chosen[rows.known_at[chosen] <= _naive(known_by)]
    train, test = rows.take(chosen), _as_slice(fold.test, len(rows))
    certify(train.dates, train.label_end, rows.dates[test], rows.label_end[test], what=what)
    train = _weighted(train, weighting, sessions, fitted)
    unseen = Unlabelled(rows.X[test], rows.dates[test], rows.names[test])
    if prepare:
        learnt = preprocessing.learn(train.X, train.w)
        train = replace(train, X=learnt.apply(train.X))
        unseen = replace(unseen, X=learnt.apply(unseen.X))
    return FoldData(train, unseen)


def fold(
    rows: Training,
    window: Window,
    first_date: date,
    *,
    every: int,
    min_sessions: int,
    weighting: Weighting | None = None,
    sessions: np.ndarray | None = None,
) -> Training:
    """What the fit of ``window`` trains on: admissible rows since ``first_date``, certified.

    first_date: date of ``window.first_slot``. weighting, sessions: as ``fold_data``. ModelError if the
    training dates, ``every`` sessions each, cover fewer than ``min_sessions`` sessions.
    """
    from wealthos_pipeline.ml.splitters import Fold

    what = f"fit of {window.refit_date}"
    inside = rows.dates >= np.datetime64(first_date)
    inside &= admissible(rows.label_end, rows.known_at, window)
    none = np.zeros(0, dtype=np.int64)
    chosen = fold_data(
        rows, Fold(np.flatnonzero(inside), none), known_by=window.known_by, weighting=weighting,
        sessions=sessions, fitted=window.refit_date, what=what,
    ).train  # fmt: skip
    found = (len(date_offsets(chosen.dates)) - 1) * every
    if found < min_sessions:
        raise ModelError(
            f"too little history for the {what}: {found} sessions have at least "
            f"{MIN_NAMES} names with features and differing labels, {min_sessions} are needed. "
            "Wait for more data or lower models.min_train_sessions."
        )
    # what comes from the refit date on is the test side, whatever its labels
    never = np.array([np.datetime64("9999-12-31")])
    test = np.array([np.datetime64(window.refit_date)])
    certify(chosen.dates, chosen.label_end, test, never, what=what)
    # numbered among themselves: names that only come later, or are long gone, change no bit of a fit
    return replace(chosen, names=np.unique(chosen.names, return_inverse=True)[1].astype(np.int32))


def _weighted(
    rows: Training, how: Weighting | None, sessions: np.ndarray | None, fitted: date | None
) -> Training:
    if how is None or not (how.uniqueness or how.half_life) or not len(rows):
        return rows
    if sessions is None:
        raise ModelError("weights by uniqueness or decay need the exchange's sessions")
    w = rows.w
    if how.uniqueness:
        w = w * weighting_of.uniqueness(rows.names, rows.dates, rows.label_end, sessions)
    if how.half_life is not None:
        after = np.searchsorted(sessions, rows.label_end.max(), side="right")
        last = sessions[min(after, len(sessions) - 1)]
        at = last if fitted is None else np.datetime64(fitted)
        w = w * weighting_of.decay(rows.dates, at, how.half_life, sessions)
    return replace(rows, w=w)


def _naive(instant: datetime) -> np.datetime64:
    return np.datetime64(instant.astimezone(UTC).replace(tzinfo=None), "us")


def _as_slice(rows: np.ndarray | slice, length: int) -> np.ndarray | slice:
    """``rows`` as a slice where they are a run of row numbers: slices are views, and copy nothing."""
    if isinstance(rows, slice):
        return rows
    if rows.dtype == bool:
        rows = np.flatnonzero(rows)
    if not len(rows):
        return slice(0, 0)
    first, last = int(rows[0]), int(rows[-1])
    run = last - first + 1 == len(rows) and first >= 0 and last < length
    return slice(first, last + 1) if run and bool((np.diff(rows) == 1).all()) else rows
