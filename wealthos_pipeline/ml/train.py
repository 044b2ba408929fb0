"""Walk-forward and live fits of all models, and their predictions.

``walk_forward``: a fit at the first session of each year (``refit_history``) that predicts every
date until the next one; never sees a label that was not known before its open. ``live``: the fit of
the week (``refit_live``) that ``end`` lies in, predicting ``end`` alone.

Fits are made one after another, each with all the threads there are: two at once would ask for the
same cores twice. Models that look at the same features of the same dates share one matrix of them,
which is gone before predictions are made, in blocks of dates.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from wealthos_pipeline.core.data import contract
from wealthos_pipeline.core.errors import ModelError
from wealthos_pipeline.ml import datasets, fits, labels, panels, registry, schedule, specs
from wealthos_pipeline.ml.fits import Fit
from wealthos_pipeline.ml.panels import Frame, Scores

if TYPE_CHECKING:
    from wealthos_pipeline.core.model import ModelSpec
    from wealthos_pipeline.data.processors.calendar import TradingCalendar
    from wealthos_pipeline.utils.config import ModelSettings


@dataclass(frozen=True, slots=True)
class ModelRun:
    """What a run of the models made.

    registry: ``models.registry`` rows of the fits made now, of those from ``start`` on that stand, and
        always those of the live fits that serve ``end``. Older fits that were reused are not repeated.
    predictions: ``models.predictions`` rows, both kinds, dates ≥ ``start``.
    absences: ``model, kind, refit_date, reason``: fits that could not be made, in words; their dates
        have no predictions.
    fits: ``model_id, model, kind, refit_date, seconds, seed`` of the fits made now.
    remarks: what else a person should know, in words.
    """

    registry: pl.DataFrame
    predictions: pl.DataFrame
    absences: pl.DataFrame
    fits: pl.DataFrame
    remarks: tuple[str, ...] = ()


def lookback(settings: ModelSettings) -> int | None:
    """Sessions before ``start`` that the frames must reach back to; None: all there are
    (``schedule.lookback``)."""
    return schedule.lookback(specs.load(settings), settings)


def definition(settings: ModelSettings, feature_names: Sequence[str]) -> str:
    """16 hex digits over everything but data that changes a prediction."""
    models = {s.name: s.spec_hash for s in specs.load(settings)}
    body = [models, settings.refit_history, settings.refit_live, list(feature_names)]
    text = json.dumps(body, sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def fit_and_predict(
    scores: Frame | Sequence[Frame],
    prices: pl.DataFrame,
    universe: pl.DataFrame,
    calendar: TradingCalendar,
    settings: ModelSettings,
    *,
    feature_names: Sequence[str],
    end: date,
    start: date | None = None,
    registry: pl.DataFrame | None = None,
    keep_at: datetime | None = None,
    threads: int = 1,
    models: Sequence[ModelSpec] | None = None,
    searches: pl.DataFrame | None = None,
    pins: Mapping[str, Mapping[str, Any]] | None = None,
    proven: pl.DataFrame | None = None,
) -> ModelRun:
    """Fit what is due and predict.

    scores: ``date, instrument_id`` and one column a feature; a frame, a lazy scan, or several of them
        side by side. Only what is needed is read, in blocks of dates. prices: ``instrument_id, date,
        tr_index``, and ``slot`` where it is at hand. universe: ``date, instrument_id``.
    feature_names: columns that models may choose from (their ``features``).
    end: last session of the data; live predictions are for it.
    start: first date whose inputs changed. Only dates ≥ start are predicted; a fit that was made
        before it (``refit_date < start``) is taken from ``registry`` if it is there. The frames must
        reach back ``lookback(settings)`` sessions before start (or to where the data begin); then the
        rows equal those of the full run, bit for bit. None: everything.
    registry: ``models.registry`` as it stands.
    keep_at: the run's instant. With it, fits of ``registry`` from ``start`` on stand as well, though the
        data before them were restated: they predict the changed dates again, and if the rows that they
        were trained on are others now, they are marked (``stale_since``, ``stale_reason``). Without it
        they are made again. Dates that are new have new fits either way.
    threads: for LightGBM; changes no number.
    models: None: those of ``settings``.
    searches: ``models.searches``; a fit of a model with a search takes the parameters of its latest
        row not after the refit date, else the specification's.
    pins: model → the row of ``models.registry`` that serves in place of its live fit.
    proven: rows of ``models.registry`` that this very code made. Where a fit is due and one of them has its
        definition, parameters, features and the same training rows (``data_hash``), that one would come out
        again and is taken: another model that was added or changed costs no fits of this one.

    A date's prediction exists for each name of its universe with at least one feature. ``z`` is the
    prediction standardised over them (null when all are equal). What cannot be fitted is listed in
    ``absences`` with its reason, and disturbs no other model. ModelError when one of ``feature_names``
    is missing from ``scores``.
    """
    source = Scores(scores)
    panels.require(source, feature_names)
    chosen = specs.load(settings) if models is None else models
    run = _Run(source, prices, universe, calendar, settings, end, start, keep_at, proven)
    run.plan(chosen, tuple(feature_names), registry, searches, dict(pins or {}), threads)
    return run.make()


@dataclass
class _Run:
    scores: Scores
    prices: pl.DataFrame
    universe: pl.DataFrame
    calendar: TradingCalendar
    settings: ModelSettings
    end: date
    start: date | None
    keep_at: datetime | None = None
    proven: pl.DataFrame | None = None
    fits: list[Fit] = field(default_factory=list)
    absences: list[dict[str, Any]] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def plan(
        self,
        models: Sequence[ModelSpec],
        columns: tuple[str, ...],
        existing: pl.DataFrame | None,
        searches: pl.DataFrame | None,
        pins: Mapping[str, Mapping[str, Any]],
        threads: int,
    ) -> None:
        """Every model at every refit date, with the stored fits that serve."""
        known = self.scores.dates(self.end)
        jobs = schedule.jobs(known, self.calendar, self.settings, end=self.end, start=self.start)
        for job in jobs:
            for spec in models:
                try:
                    pin = pins.get(spec.name) if job.kind == "live" else None
                    if pin is not None:
                        fit = fits.pinned(
                            spec, job, pin, threads, self.settings, self.calendar
                        )  # fmt: skip
                        panels.require(self.scores, fit.features)
                    else:
                        features = specs.chosen(spec, columns)
                        fit = fits.plan(
                            spec, job, features, self.settings, self.calendar, searches, threads
                        )
                        self._reuse(fit, existing)
                    self.fits.append(fit)
                except ModelError as error:
                    self.absences.append(fits.absence(spec.name, job, str(error)))

    def make(self) -> ModelRun:
        predictions: list[pl.DataFrame] = []
        for features in dict.fromkeys(f.features for f in self.fits):
            group = [f for f in self.fits if f.features == features]
            for every in dict.fromkeys(f.spec.every for f in group):
                self._fit([f for f in group if f.spec.every == every and not f.pinned], features)
            for job in dict.fromkeys(f.job for f in group):
                ready = [f for f in group if f.job == job and f.fitted is not None]
                predictions += self._predict(ready, features)
        table = contract("models.predictions")
        rows = [f.row for f in self.fits if f.row is not None and self._is_told(f)]
        absent = pl.DataFrame(self.absences, schema=fits.ABSENCES)
        return ModelRun(
            registry.frame(list({row["model_id"]: row for row in rows}.values())),
            table.conform(pl.concat([table.empty(), *predictions])),
            absent.sort("refit_date", "kind", "model", maintain_order=True),
            fits.made_now([f for f in self.fits if f.row is not None and f.fresh]),
            tuple(self.remarks),
        )

    def _reuse(self, fit: Fit, existing: pl.DataFrame | None) -> None:
        """Give ``fit`` the stored one that would come out again, if there is one."""
        refit = fit.job.refit
        if self.start is None or (self.keep_at is None and refit >= self.start):
            return
        self._stored(fit, existing)

    def _stored(self, fit: Fit, rows: pl.DataFrame | None, digest: str | None = None) -> bool:
        """Give ``fit`` its row of ``rows`` (trained on rows of ``digest``, where it is given) if it is there."""
        row = registry.find(
            rows, spec=fit.spec, kind=fit.job.kind, refit_date=fit.job.refit, features=fit.features,
            params=fit.params, data=digest,
        )  # fmt: skip
        if row is None:
            return False
        try:
            fit.fitted = fit.predictor.from_text(row["artefact"])
        except ModelError as error:
            self.remarks.append(f"{row['model_id']} is fitted again: {error}")
            return False
        fit.row = row | {"trials": fit.trials}  # a search since then may have found what it had
        if digest is not None:
            fit.row |= {"stale_since": None, "stale_reason": None}
        return True

    def _is_told(self, fit: Fit) -> bool:
        """Whether the registry's rows of this run hold ``fit``: not an old one that merely served."""
        recent = self.start is None or fit.job.refit >= self.start
        return fit.fresh or fit.job.kind == "live" or recent

    def _fit(self, group: Sequence[Fit], features: tuple[str, ...]) -> None:
        """Make the fits of ``group`` that are due, and judge those that stand. They share their features
        and training dates."""
        due = [f for f in group if f.row is None]
        judged = [f for f in group if f.row is not None and self._may_have_changed(f)]
        if not due and not judged:
            return
        data = self._data([*due, *judged], features)
        for fit in judged:
            fit.row = self._judged(fit, data)
        made: dict[tuple[date, str], Fit] = {}
        for fit in due:
            twin = made.get((fit.job.refit, fit.spec.name))
            if twin is not None and twin.params == fit.params:
                fit.same_as(twin)
                continue
            try:
                rows = fit.rows(data, self.calendar)
                digest = registry.data_hash(rows)
                if not self._stored(fit, self.proven, digest):
                    fit.make(rows, digest)
                made[fit.job.refit, fit.spec.name] = fit
            except ModelError as error:
                self.absences.append(fits.absence(fit.spec.name, fit.job, str(error)))

    def _data(
        self, group: Sequence[Fit], features: tuple[str, ...]
    ) -> dict[datasets.Label, datasets.Training]:
        """Labelled rows of every date that one of the fits trains on."""
        from wealthos_pipeline.factors.labels import forward_returns

        windows = list({(f.spec.horizon, f.window): f.window for f in group}.values())
        dates = datasets.training_dates(self.calendar.frame(), windows, group[0].spec.every)
        days = pl.Series(dates, dtype=pl.Date)
        prices = self.prices.filter(pl.col("date") <= max(w.last_session for w in windows))
        wanted = list(dict.fromkeys(f.label for f in group))
        first = min(dates, default=None)
        returns = {
            h: forward_returns(prices, h, self.calendar, start=first).filter(
                pl.col("date").is_in(days.implode())
            )
            for h in sorted({label.horizon for label in wanted})
        }
        volatility = None
        if any(label.kind == "volatility_scaled" for label in wanted):
            volatility = labels.trailing_volatility(prices, self.calendar, days)
        known = datasets.Labels(returns, volatility)
        return datasets.assemble(self.scores, self.universe, features, dates, known, wanted)

    def _may_have_changed(self, fit: Fit) -> bool:
        """Whether a fit of before saw dates that differ now."""
        return self.start is not None and fit.window.last_session >= self.start

    def _judged(self, fit: Fit, data: Mapping[datasets.Label, datasets.Training]) -> dict[str, Any]:
        """A fit that stands, marked if the rows that it was trained on are others now."""
        assert fit.row is not None
        row = fit.row
        try:
            now = registry.data_hash(fit.rows(data, self.calendar))
        except ModelError:  # there is too little now
            now = None
        if now is not None and now == row["data_hash"]:
            return row | {"stale_since": None, "stale_reason": None}
        what = "rows that it was trained on" if row["data_hash"] else "rows that it may have seen"
        reason = f"{what} changed when data from {self.start} on were restated"
        kept = row["stale_since"] is not None
        return row | {
            "stale_since": row["stale_since"] if kept else self.keep_at,
            "stale_reason": row["stale_reason"] if kept else reason,
        }

    def _predict(self, ready: Sequence[Fit], features: tuple[str, ...]) -> Iterator[pl.DataFrame]:
        """Predictions of fits of one job, block by block."""
        if not ready:
            return
        frames: dict[int, list[pl.DataFrame]] = {i: [] for i in range(len(ready))}
        job = ready[0].job
        for panel in panels.blocks(self.scores, self.universe, features, job.dates):
            for i, fit in enumerate(ready):
                if i not in frames:
                    continue
                try:
                    values = fit.predict(panel.X)
                except ModelError as error:
                    del frames[i]
                    self.absences.append(fits.absence(fit.spec.name, job, str(error)))
                    continue
                bad = int(np.count_nonzero(~np.isfinite(values)))
                if bad:
                    del frames[i]
                    reason = (
                        f"{fit.spec.name}: {bad} of {len(values)} predictions from {job.dates[0]} on are "
                        "no finite numbers; none of this fit's are kept. Look at its artefact."
                    )
                    self.absences.append(fits.absence(fit.spec.name, job, reason))
                    continue
                frames[i].append(_frame(fit, panel, values))
        yield from (frame for made in frames.values() for frame in made)


def _frame(fit: Fit, panel: panels.Panel, values: np.ndarray) -> pl.DataFrame:
    """Rows of ``models.predictions``."""
    assert fit.row is not None
    z = datasets.standardise(values, panel.offsets)
    flat = np.repeat(_flat(values, panel.offsets), np.diff(panel.offsets))
    return panel.keys.with_columns(
        pl.lit(fit.spec.name).alias("model"),
        pl.lit(fit.job.kind).alias("kind"),
        pl.lit(fit.spec.horizon, dtype=pl.Int32).alias("horizon"),
        pl.Series("prediction", values),
        pl.Series("z", np.where(flat, np.nan, z)).fill_nan(None),
        pl.lit(fit.row["train_cutoff"]).alias("train_cutoff"),
        pl.lit(fit.row["model_id"]).alias("model_id"),
    ).select(contract("models.predictions").column_names)


def _flat(values: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Which segments hold one value only; booleans, one a segment."""
    if not len(values):
        return np.zeros(0, dtype=bool)
    low = np.minimum.reduceat(values, offsets[:-1])
    out: np.ndarray = low == np.maximum.reduceat(values, offsets[:-1])
    return out
