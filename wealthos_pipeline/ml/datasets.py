"""Features, targets and folds.

A cross-section is one date's universe, ordered by instrument. Features are standardised within it
(again: the scores' universe may be another one), the target is the Gaussian rank of the forward
return within it. Rows are sorted by date and instrument, so a fit never depends on the order or the
extent of the frames that came in.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import pairwise

import numpy as np
import polars as pl

from wealthos_pipeline.core.errors import ModelError
from wealthos_pipeline.ml.validation import Window, admissible, certify
from wealthos_pipeline.stats.correlation import average_ranks

MIN_NAMES = 5
"""Fewer labelled names on a date: the date is no cross-section and is not trained on."""


@dataclass(frozen=True, slots=True)
class Panel:
    """Standardised features of some dates.

    keys: ``date, instrument_id``, sorted. X: float32, (rows, features), NaN where missing.
    offsets: int64, (dates + 1); the rows of the i-th date are ``offsets[i]:offsets[i + 1]``.
    """

    keys: pl.DataFrame
    X: np.ndarray
    offsets: np.ndarray
    features: tuple[str, ...] = ()

    @property
    def dates(self) -> np.ndarray:
        """The dates, datetime64[D], one a cross-section."""
        column: np.ndarray = self.keys["date"].to_numpy()
        return column[self.offsets[:-1]].astype("datetime64[D]")


@dataclass(frozen=True, slots=True)
class Training:
    """Labelled rows in the order of the panel (by date, then instrument); see ``training``.

    X: float32 (rows, features). y: float64 target. w: float64 weight, 1 / names of the date, so that
    every date counts the same. dates, label_end: datetime64[D]. known_at: datetime64[us], naive UTC.
    names: int32, a number for each instrument, in the order of ``instrument_id``. outcome: float64,
    the plain forward return. features: the columns of X.
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


def panel(
    scores: pl.DataFrame,
    universe: pl.DataFrame,
    feature_names: Sequence[str],
    dates: Collection[date],
) -> Panel:
    """Features of the universe's names on ``dates``, standardised within each date.

    scores: ``date, instrument_id`` and the features. universe: ``date, instrument_id``.
    A name without any feature on a date has no row. Standardised: mean 0 and population standard
    deviation 1 over the names that have the feature; a feature that is the same for all is 0.
    Infinite values count as missing. ModelError if a feature is not a column of ``scores``.
    """
    absent = [f for f in feature_names if f not in scores.columns]
    if absent or not feature_names:
        raise ModelError(
            f"the scores have no column {absent}; they have: {', '.join(scores.columns)}. "
            "Compute those factors first or leave them out of the model's features."
        )
    wanted = pl.col("date").is_in(pl.Series(sorted(dates), dtype=pl.Date).implode())
    members = universe.filter(wanted).select("date", "instrument_id").unique()
    rows = (
        scores.filter(wanted)  # eager: what follows looks at these dates only
        .select("date", "instrument_id", *feature_names)
        .filter(pl.any_horizontal(pl.col(f).is_finite() for f in feature_names))
        .join(members, on=["date", "instrument_id"], how="semi")
        .sort("date", "instrument_id")
    )
    keys = rows.select("date", "instrument_id")
    offsets = _offsets(keys["date"].to_numpy())
    X = np.empty((len(rows), len(feature_names)), dtype=np.float32)
    for j, name in enumerate(feature_names):
        values = rows[name].cast(pl.Float64).fill_null(float("nan")).to_numpy()
        X[:, j] = standardise(values, offsets)
    return Panel(keys, X, offsets, tuple(feature_names))


def standardise(values: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """z-score within each segment, float64; NaN and infinities give NaN, a constant segment 0."""
    if not len(values):
        return np.zeros(0)
    starts = offsets[:-1]
    repeats = np.diff(offsets)
    present = np.isfinite(values)
    count = np.maximum(np.add.reduceat(present.astype(np.float64), starts), 1.0)
    clean = np.where(present, values, 0.0)
    mean = np.add.reduceat(clean, starts) / count
    e = np.where(present, clean - np.repeat(mean, repeats), 0.0)
    scale = np.sqrt(np.add.reduceat(e * e, starts) / count)
    low = np.minimum.reduceat(np.where(present, values, np.inf), starts)
    high = np.maximum.reduceat(np.where(present, values, -np.inf), starts)
    scale = np.where((high > low) & (scale > 0), scale, np.inf)
    out: np.ndarray = np.where(present, e / np.repeat(scale, repeats), np.nan)
    return out


def gaussian_rank(values: np.ndarray) -> np.ndarray:
    """Normal scores Φ⁻¹((rank − ½) / n) of one cross-section, scaled to standard deviation 1.

    Ties share their average rank; a cross-section without differences is all 0. float64.
    """
    from scipy.special import ndtri

    if not len(values) or not np.ptp(values):
        return np.zeros(len(values))
    score = ndtri((average_ranks(values) - 0.5) / len(values))
    score -= np.mean(score)
    out: np.ndarray = score / np.sqrt(np.mean(score * score))
    return out


def training(features: Panel, labels: pl.DataFrame) -> Training:
    """The rows of ``features`` that have a label, with the target of each.

    labels: ``date, instrument_id, label, label_end, known_at`` (``factors.labels``). A date counts
    only if at least five names have a label and the labels differ.
    """
    rows = (
        features.keys.with_row_index("row")
        .join(
            labels.filter(pl.col("label").is_finite()).select(
                "date", "instrument_id", "label", "label_end", "known_at"
            ),
            on=["date", "instrument_id"],
            how="inner",
        )
        .sort("row")
    )
    label = rows["label"].cast(pl.Float64).to_numpy()
    offsets = _offsets(rows["date"].to_numpy())
    y = np.zeros(len(rows))
    w = np.zeros(len(rows))
    for a, b in pairwise(offsets):
        if b - a >= MIN_NAMES:
            y[a:b] = gaussian_rank(label[a:b])
            w[a:b] = np.any(y[a:b]) / (b - a)
    kept = np.flatnonzero(w)
    return Training(
        X=features.X[rows["row"].to_numpy()[kept]],
        y=y[kept],
        w=w[kept],
        dates=rows["date"].to_numpy()[kept].astype("datetime64[D]"),
        label_end=rows["label_end"].to_numpy()[kept].astype("datetime64[D]"),
        known_at=rows["known_at"]
        .dt.replace_time_zone(None)
        .to_numpy()[kept]
        .astype("datetime64[us]"),
        names=_codes(rows["instrument_id"])[kept],
        outcome=label[kept],
        features=features.features,
    )


def _codes(names: pl.Series) -> np.ndarray:
    """A number for each instrument, in the order of the names; int32."""
    return names.rank("dense").cast(pl.Int32).to_numpy() - 1


def training_dates(sessions: pl.DataFrame, windows: Collection[Window], every: int) -> list[date]:
    """Sessions that at least one window trains on: slots in it that ``every`` divides.

    sessions: ``date, slot`` of the calendar.
    """
    inside = pl.any_horizontal(
        pl.lit(False),
        *(pl.col("slot").is_between(w.first_slot, w.last_slot) for w in windows),
    )
    return sessions.filter(inside & (pl.col("slot") % every == 0))["date"].to_list()


def fold(
    rows: Training, window: Window, first_date: date, *, every: int, min_sessions: int
) -> Training:
    """What the fit of ``window`` trains on: admissible rows since ``first_date``, certified.

    first_date: date of ``window.first_slot``. ModelError if the training dates, ``every`` sessions
    each, cover fewer than ``min_sessions`` sessions.
    """
    inside = rows.dates >= np.datetime64(first_date)
    chosen = rows.take(inside & admissible(rows.label_end, rows.known_at, window))
    found = len(np.unique(chosen.dates)) * every
    if found < min_sessions:
        raise ModelError(
            f"too little history for the fit of {window.refit_date}: {found} sessions have at least "
            f"{MIN_NAMES} names with features and differing labels, {min_sessions} are needed. "
            "Wait for more data or lower models.min_train_sessions."
        )
    never = np.array([np.datetime64("9999-12-31")])
    test = np.array([np.datetime64(window.refit_date)])
    certify(chosen.dates, chosen.label_end, test, never, what=f"fit of {window.refit_date}")
    return chosen


def _offsets(dates: np.ndarray) -> np.ndarray:
    """Boundaries of runs of equal dates, with the end; ``[0]`` when there are no rows."""
    if not len(dates):
        return np.zeros(1, dtype=np.int64)
    new = np.flatnonzero(dates[1:] != dates[:-1]) + 1
    return np.concatenate([[0], new, [len(dates)]]).astype(np.int64)
