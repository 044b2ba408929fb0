"""Monthly reviews of drift, as rows of ``models.drift``.

At the first session of each month every walk-forward fit in use is reviewed. Its features are compared with the
reviews within the dates that it was trained on: scores as they stand in their tables, of the universe's names. Its
predictions are compared with the model's walk-forward predictions at the reviews before, which earlier fits may have
made; in-sample predictions would be no reference, because they are further from 0 than any that follow. A new fit has
its own scale, so a prediction that drifts at a refit says that the fit has changed, not the market.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from wealthos_pipeline.core.data import contract
from wealthos_pipeline.ml import drift
from wealthos_pipeline.ml.panels import KEY, date_offsets

if TYPE_CHECKING:
    from wealthos_pipeline.data.processors.calendar import TradingCalendar

PREDICTION = "prediction"
BEFORE = 36
"""Reviews that predictions are compared with."""

FIFTHS = 5


def review_dates(calendar: TradingCalendar, first: date, last: date) -> list[date]:
    """First sessions of the months in [first, last]."""
    return calendar.firsts(first, last, "month")


def needed_from(registry: pl.DataFrame, start: date | None) -> date | None:
    """First date that reviews from ``start`` on look back to: the first training date of a fit in use, or
    ``BEFORE`` reviews of predictions, whichever is earlier, and the review before it. None: everything."""
    if start is None:
        return None
    fits = registry.filter(pl.col("kind") == "walk_forward").sort("refit_date")
    used = [
        part.filter(pl.col("refit_date") <= start).tail(1)["train_start"].to_list()
        + part.filter(pl.col("refit_date") > start)["train_start"].to_list()
        for _, part in fits.group_by("model", maintain_order=True)
    ]
    first = min([start - timedelta(31 * BEFORE), *(d for days in used for d in days)])
    return first - timedelta(62)


def review(
    scores: pl.DataFrame,
    universe: pl.DataFrame,
    predictions: pl.DataFrame,
    registry: pl.DataFrame,
    calendar: TradingCalendar,
    *,
    start: date | None = None,
) -> pl.DataFrame:
    """``models.drift`` of the reviews from ``start`` on.

    scores: ``date, instrument_id`` and the features; only rows of review dates are used, and need be there, from
    ``needed_from`` on. universe: ``date, instrument_id``. predictions: ``models.predictions``. registry:
    ``models.registry``. A subject appears once its reference has ``drift.MIN_REVIEWS`` reviews; a feature that the
    scores do not have any more is left out.
    """
    table = contract("models.drift")
    fits = registry.filter(pl.col("kind") == "walk_forward").sort("model", "refit_date")
    if scores.is_empty() or fits.is_empty():
        return table.empty()
    sections = _Sections.of(scores, universe, calendar)
    rows: list[dict[str, Any]] = []
    for (model,), mine in fits.group_by("model", maintain_order=True):
        in_use = _Fits(mine)
        said = predictions.filter(
            (pl.col("model") == model) & (pl.col("kind") == "walk_forward")
        ).select("date", "instrument_id", PREDICTION)
        rows += _features(str(model), in_use, sections, start)
        rows += _predictions(str(model), in_use, said, sections, start)
    stamps = {d: calendar.known_at(d) for d in sections.dates}
    made = [row | {"known_at": stamps[row["date"]]} for row in rows]
    out = pl.DataFrame(made, schema=table.schema())
    floats = [c for c, t in out.schema.items() if t == pl.Float64]
    return table.conform(out.with_columns(pl.col(floats).fill_nan(None)))


@dataclass(frozen=True)
class _Fits:
    """The walk-forward fits of one model, by refit date."""

    rows: pl.DataFrame
    refits: list[date] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "refits", self.rows["refit_date"].to_list())

    def at(self, day: date) -> Mapping[str, Any] | None:
        """The fit that serves ``day``; None before the first."""
        place = bisect_right(self.refits, day) - 1
        return None if place < 0 else self.rows.row(place, named=True)


@dataclass(frozen=True)
class _Sections:
    """Cross-sections of the review dates.

    dates: with names. keys: ``date, instrument_id`` of all of them, sorted. offsets: rows of each date. codes: number
    of each row's name. counts: (dates, features, cells + 1). stability: (dates, features) with the review before, NaN
    at the first. place: feature → its number.
    """

    dates: list[date]
    keys: pl.DataFrame
    offsets: np.ndarray
    codes: np.ndarray
    place: dict[str, int]
    counts: np.ndarray
    stability: np.ndarray
    _made: dict[tuple[int, int, int, float], _Made] = field(default_factory=dict, init=False)

    @classmethod
    def of(
        cls, scores: pl.DataFrame, universe: pl.DataFrame, calendar: TradingCalendar
    ) -> _Sections:
        features = [c for c in scores.columns if c not in KEY]
        first, last = scores["date"].min(), scores["date"].max()
        assert isinstance(first, date)
        assert isinstance(last, date)
        days = pl.Series(review_dates(calendar, first, last), dtype=pl.Date)
        wanted = pl.col("date").is_in(days.implode())
        members = universe.filter(wanted).select(KEY).unique()
        rows = members.join(scores.filter(wanted), on=KEY, how="left").sort(KEY)
        edges = date_offsets(rows["date"].to_numpy())
        codes = rows["instrument_id"].rank("dense").to_numpy().astype(np.int64)
        matrix = rows.select(pl.col(features).cast(pl.Float64).fill_null(np.nan)).to_numpy()
        number = len(edges) - 1
        counts = np.zeros((number, len(features), drift.CELLS + 1), np.int64)
        stability = np.full((number, len(features)), np.nan)
        parts = [slice(a, b) for a, b in pairwise(edges)]
        for i, part in enumerate(parts):
            counts[i] = drift.cells(matrix[part])
            if i:
                old = parts[i - 1]
                stability[i] = _same_place(codes[part], matrix[part], codes[old], matrix[old])
        dates = rows["date"].gather(edges[:-1]).to_list()
        place = {f: j for j, f in enumerate(features)}
        return cls(dates, rows.select(KEY), edges, codes, place, counts, stability)

    def part(self, i: int) -> slice:
        """Rows of the i-th date."""
        return slice(int(self.offsets[i]), int(self.offsets[i + 1]))

    def between(self, first: date, last: date) -> slice:
        """Reviews in [first, last]."""
        lo = int(np.searchsorted(np.array(self.dates), np.datetime64(first)))
        return slice(lo, bisect_right(self.dates, last))

    def compared(
        self, i: int, j: int, window: slice, chance: float
    ) -> tuple[drift.Shift, tuple[float, float]]:
        """The i-th review of the feature ``j`` against those of ``window``, and the bounds of its stability."""
        made = self._made.setdefault((window.start, window.stop, j, chance), _Made({}, {}))
        if made.reference is None:
            made.reference = drift.Reference(self.counts[window, j], chance)
        present = int(self.counts[i, j, :-1].sum())
        if i not in made.shifts:
            made.shifts[i] = made.reference.shift(self.counts[i, j])
        if present not in made.bounds:
            made.bounds[present] = drift.bounds(self.stability[window, j], present, chance)
        return made.shifts[i], made.bounds[present]


@dataclass
class _Made:
    """What reviews and models that share a feature and a window need once. shifts: by review; bounds: by names."""

    shifts: dict[int, drift.Shift]
    bounds: dict[int, tuple[float, float]]
    reference: drift.Reference | None = None


def _same_place(
    codes: np.ndarray, values: np.ndarray, old_codes: np.ndarray, old: np.ndarray
) -> np.ndarray:
    """``drift.same_place`` of the names that both reviews have. codes: ascending."""
    _, mine, theirs = np.intersect1d(codes, old_codes, assume_unique=True, return_indices=True)
    return drift.same_place(values[mine], old[theirs])


def _row(
    model: str, day: date, subject: str, fit: Mapping[str, Any], found: drift.Shift,
    stability: float, bounds: tuple[float, float], turnover: tuple[float, float],
) -> dict[str, Any]:  # fmt: skip
    low, high = bounds
    moved = bool(stability < low or stability > high)  # False where one of them is not known
    return {
        "model": model,
        "date": day,
        "subject": subject,
        "psi": found.psi,
        "psi_limit": found.limit,
        "rows": found.rows,
        "reference_rows": found.reference_rows,
        "missing": found.missing,
        "missing_before": found.missing_before,
        "stability": stability,
        "stability_low": low,
        "stability_high": high,
        "turnover": turnover[0],
        "turnover_before": turnover[1],
        "drifted": found.drifted or moved,
        "model_id": fit["model_id"],
    }


NO_TURNOVER = (float("nan"), float("nan"))


def _features(
    model: str, fits: _Fits, s: _Sections, start: date | None
) -> Iterator[dict[str, Any]]:
    for i, day in enumerate(s.dates):
        fit = fits.at(day)
        if fit is None or (start is not None and day < start):
            continue
        window = s.between(fit["train_start"], fit["train_cutoff"])
        features = [f for f in json.loads(fit["features"]) if f in s.place]
        if window.stop - window.start < drift.MIN_REVIEWS:
            continue
        chance = drift.FALSE_ALARMS / (len(features) + 1)
        for feature in features:
            j = s.place[feature]
            found, limits = s.compared(i, j, window, chance)
            subject = f"{feature} (feature)" if feature == PREDICTION else feature
            yield _row(model, day, subject, fit, found, s.stability[i, j], limits, NO_TURNOVER)


def _predictions(
    model: str, fits: _Fits, said: pl.DataFrame, s: _Sections, start: date | None
) -> Iterator[dict[str, Any]]:
    values = _values(said, s)
    there = np.array([bool(np.isfinite(v).any()) for v in values])
    stability = np.full(len(s.dates), np.nan)
    turnover = np.full(len(s.dates), np.nan)
    for a, b in pairwise(range(len(s.dates))):
        if there[a] and there[b]:
            old, new = s.codes[s.part(a)], s.codes[s.part(b)]
            stability[b] = _same_place(new, values[b][:, None], old, values[a][:, None])[0]
            turnover[b] = _turnover(_top(old, values[a]), _top(new, values[b]))
    for i, day in enumerate(s.dates):
        fit = fits.at(day)
        if not there[i] or fit is None or (start is not None and day < start):
            continue
        before = [k for k in range(max(0, i - BEFORE), i) if there[k]]
        if len(before) < drift.MIN_REVIEWS:
            continue
        chance = drift.FALSE_ALARMS / (len(json.loads(fit["features"])) + 1)
        edges = drift.deciles(np.concatenate([values[k] for k in before]))
        counts = np.stack([drift.counted(values[k], edges) for k in before])
        found = drift.Reference(counts, chance).shift(drift.counted(values[i], edges))
        present = int(np.isfinite(values[i]).sum())
        limits = drift.bounds(stability[before], present, chance)
        usual = turnover[before][np.isfinite(turnover[before])]
        changed = (turnover[i], float(np.mean(usual)) if len(usual) else np.nan)
        yield _row(model, day, PREDICTION, fit, found, stability[i], limits, changed)


def _values(said: pl.DataFrame, s: _Sections) -> list[np.ndarray]:
    """Predictions of each review's names, NaN where there is none."""
    both = s.keys.join(said, on=KEY, how="left", maintain_order="left")
    every = both[PREDICTION].cast(pl.Float64).fill_null(np.nan).to_numpy()
    return [every[s.part(i)] for i in range(len(s.dates))]


def _top(codes: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Names of the top fifth; ties in the order of the names."""
    filled = np.where(np.isfinite(values), values, -np.inf)
    size = int(np.isfinite(values).sum()) // FIFTHS
    out: np.ndarray = codes[np.argsort(-filled, kind="stable")[:size]]
    return out


def _turnover(old: np.ndarray, new: np.ndarray) -> float:
    if not len(new) or not len(old):
        return float("nan")
    return float(np.mean(~np.isin(new, old)))


def latest(rows: pl.DataFrame) -> Sequence[tuple[str, pl.DataFrame]]:
    """(model, rows of its latest review that drifted, the largest PSI first)."""
    out = []
    for (model,), mine in rows.sort("model", "date").group_by("model", maintain_order=True):
        last = mine.filter((pl.col("date") == mine["date"][-1]) & pl.col("drifted"))
        out.append((str(model), last.sort("psi", "subject", descending=[True, False])))
    return out
