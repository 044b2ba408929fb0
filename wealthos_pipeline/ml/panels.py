"""Features of cross-sections, read date by date and standardised within each.

A cross-section is one date's universe, ordered by instrument. What a date's rows are depends on that
date alone, so scores may be read in blocks of dates, from memory or from files, and the same bits come
out whatever the blocks.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import polars as pl

from wealthos_pipeline.core.errors import ModelError

KEY = ("date", "instrument_id")
CELLS = 2_000_000
"""Values in a block that is read at once: 8 MB of Float32, of which reading holds some four copies."""

Frame = pl.DataFrame | pl.LazyFrame


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


class Scores:
    """Columns of scores by ``date, instrument_id``: a frame, a lazy scan, or several side by side.

    Of several the first one's rows count, as in ``factors.transforms.side_by_side``. Nothing is read
    before it is asked for, and then only those dates and columns.
    """

    def __init__(self, parts: Frame | Sequence[Frame]) -> None:
        given = (parts,) if isinstance(parts, pl.DataFrame | pl.LazyFrame) else tuple(parts)
        self._parts = tuple(part.lazy() for part in given)
        self._columns = [part.collect_schema().names() for part in self._parts]

    @property
    def columns(self) -> list[str]:
        """All columns in order, the keys first."""
        return [*KEY, *(c for names in self._columns for c in names if c not in KEY)]

    def dates(self, until: date) -> pl.Series:
        """The dates that have scores, up to ``until``, ascending."""
        days = self._parts[0].select("date").filter(pl.col("date") <= until).unique()
        return days.collect()["date"].sort()

    def read(self, dates: Sequence[date], features: Sequence[str]) -> pl.DataFrame:
        """Rows of ``dates`` (ascending): the keys and ``features``."""
        from wealthos_pipeline.factors.transforms import side_by_side

        frames = []
        for i, (part, names) in enumerate(zip(self._parts, self._columns, strict=True)):
            wanted = [f for f in features if f in names]
            if wanted or not i:
                frames.append(_on(part, dates).select(*KEY, *wanted).collect())
        out = frames[0] if len(frames) == 1 else side_by_side(frames)
        return out.select(*KEY, *features)


def panel(
    scores: Frame | Sequence[Frame] | Scores,
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
    source = scores if isinstance(scores, Scores) else Scores(scores)
    require(source, feature_names)
    days = sorted(dates)
    members = _on(universe.lazy(), days).select(KEY).unique().collect()
    rows = (
        source.read(days, feature_names)
        .filter(pl.any_horizontal(pl.col(f).is_finite() for f in feature_names))
        .join(members, on=KEY, how="semi")
        .sort(KEY)
    )
    keys = rows.select(KEY)
    offsets = date_offsets(keys["date"].to_numpy())
    X = np.empty((len(rows), len(feature_names)), dtype=np.float32)
    for j, name in enumerate(feature_names):
        values = rows[name].cast(pl.Float64).fill_null(float("nan")).to_numpy()
        X[:, j] = standardise(values, offsets)
    return Panel(keys, X, offsets, tuple(feature_names))


def require(scores: Scores, feature_names: Sequence[str]) -> None:
    """ModelError if there is no feature, or one is not a column of ``scores``."""
    there = scores.columns
    absent = [f for f in feature_names if f not in there]
    if absent or not feature_names:
        raise ModelError(
            f"the scores have no column {absent}; they have: {', '.join(there)}. "
            "Compute those factors first or leave them out of the model's features."
        )


def blocks(
    scores: Scores, universe: pl.DataFrame, feature_names: Sequence[str], dates: Collection[date]
) -> Iterator[Panel]:
    """``panel`` in blocks of dates, ascending, of some ``CELLS`` values each."""
    days = sorted(dates)
    if not days:
        return
    names = max(universe.height // max(universe["date"].n_unique(), 1), 1)
    step = max(1, CELLS // (names * max(len(feature_names), 1)))
    for i in range(0, len(days), step):
        yield panel(scores, universe, feature_names, days[i : i + step])


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


def date_offsets(dates: np.ndarray) -> np.ndarray:
    """Boundaries of runs of equal dates, with the end; ``[0]`` when there are no rows."""
    if not len(dates):
        return np.zeros(1, dtype=np.int64)
    new = np.flatnonzero(dates[1:] != dates[:-1]) + 1
    return np.concatenate([[0], new, [len(dates)]]).astype(np.int64)


def _on(rows: pl.LazyFrame, days: Sequence[date]) -> pl.LazyFrame:
    """Rows of ``days``; the interval is said as well, because files are skipped by it."""
    if not days:
        return rows.filter(pl.lit(False))
    wanted = pl.Series(days, dtype=pl.Date).implode()
    return rows.filter(pl.col("date").is_between(days[0], days[-1]) & pl.col("date").is_in(wanted))
