"""Walk-forward and live fits, and their predictions.

``walk_forward``: a fit at the first session of each year (``refit_history``) that predicts every
date until the next one; never sees a label that was not known before its open. ``live``: the fit of
the week (``refit_live``) that ``end`` lies in, predicting ``end`` alone.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from wealthos_pipeline.core.data import contract
from wealthos_pipeline.core.errors import ModelError
from wealthos_pipeline.ml import datasets, predictors, registry, specs, validation

if TYPE_CHECKING:
    from wealthos_pipeline.data.processors.calendar import TradingCalendar
    from wealthos_pipeline.ml.predictors.base import Fitted, Predictor
    from wealthos_pipeline.utils.config import ModelSettings


@dataclass(frozen=True, slots=True)
class ModelRun:
    """What a run of the models made.

    registry: ``models.registry`` rows of the fits made now, of those from ``start`` on that stand, and
        always those of the live fits that serve ``end``. Older fits that were reused are not repeated.
    predictions: ``models.predictions`` rows, both kinds, dates ≥ ``start``.
    absences: ``model, kind, refit_date, reason``: fits that could not be made, in words; their dates
        have no predictions.
    """

    registry: pl.DataFrame
    predictions: pl.DataFrame
    absences: pl.DataFrame


def lookback(settings: ModelSettings) -> int:
    """Sessions before ``start`` that the frames must reach back to.

    The active fit may be one refit period old; its window is ``train_sessions`` long and ends
    ``horizon + 2`` sessions before it.
    """
    periods = validation.PERIOD_SESSIONS
    period = max(periods[settings.refit_history], periods[settings.refit_live])
    return settings.train_sessions + settings.horizon + 2 + period


def definition(settings: ModelSettings, feature_names: Sequence[str]) -> str:
    """16 hex digits over everything but data that changes a prediction."""
    fits = {s.name: s.spec_hash for s in specs.load(settings)}
    schedule = [settings.horizon, settings.refit_history, settings.refit_live]
    body = json.dumps([fits, schedule, list(feature_names)], sort_keys=True)
    return hashlib.blake2b(body.encode(), digest_size=8).hexdigest()


def fit_and_predict(
    scores: pl.DataFrame,
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
) -> ModelRun:
    """Fit what is due and predict.

    scores: ``date, instrument_id`` and one column a feature. prices: ``instrument_id, date,
    tr_index``, and ``slot`` where it is at hand. universe: ``date, instrument_id``.
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

    A date's prediction exists for each name of its universe with at least one feature. ``z`` is the
    prediction standardised over them (null when all are equal). What cannot be fitted is listed in
    ``absences`` with its reason. ModelError when a feature is missing from ``scores``.
    """
    run = _Run(
        scores, prices, universe, calendar, settings, tuple(feature_names), end, start, keep_at
    )
    models = [
        predictors.make(spec, threads=threads, members=specs.members(spec, settings))
        for spec in specs.load(settings)
    ]
    return run.make(models, registry)


@dataclass(frozen=True, slots=True)
class _Job:
    """One refit date of one kind, and the dates that it predicts."""

    kind: str
    window: validation.Window
    dates: tuple[date, ...]


@dataclass
class _Run:
    scores: pl.DataFrame
    prices: pl.DataFrame
    universe: pl.DataFrame
    calendar: TradingCalendar
    settings: ModelSettings
    features: tuple[str, ...]
    end: date
    start: date | None
    keep_at: datetime | None = None
    _rows: list[dict[str, Any]] = field(default_factory=list)
    _absences: list[dict[str, Any]] = field(default_factory=list)

    def make(self, models: Sequence[Predictor], existing: pl.DataFrame | None) -> ModelRun:
        jobs = self._schedule()
        reused = {
            (job.kind, job.window.refit_date, m.name): self._reusable(m, job, existing)
            for job in jobs
            for m in models
        }
        due = {
            job.window.refit_date: job.window
            for job in jobs
            if any(reused[job.kind, job.window.refit_date, m.name] is None for m in models)
        }
        judged = {
            job.window.refit_date: job.window
            for job in jobs
            if self._may_have_changed(job.window)
            and any(reused[job.kind, job.window.refit_date, m.name] for m in models)
        }
        rows = self._training_rows(list({**due, **judged}.values()))
        hashes = {refit: self._data_hash(window, rows) for refit, window in judged.items()}
        fresh: dict[tuple[date, str], tuple[Fitted, datasets.Training]] = {}
        predictions: list[pl.DataFrame] = []
        for job in jobs:
            refit = job.window.refit_date
            fits: list[tuple[Predictor, dict[str, Any], Fitted]] = []
            for m in models:
                old = reused[job.kind, refit, m.name]
                if old is not None:
                    if refit in hashes:
                        old = self._judged(old, hashes[refit])
                    if job.kind == "live" or (self.start is not None and refit >= self.start):
                        self._rows.append(old)
                    fits.append((m, old, m.from_text(old["artefact"])))
                    continue
                try:
                    if (refit, m.name) not in fresh:
                        fresh[refit, m.name] = self._fit(m, job.window, rows)
                except ModelError as error:
                    self._absences.append(
                        {
                            "model": m.name,
                            "kind": job.kind,
                            "refit_date": refit,
                            "reason": str(error),
                        }
                    )
                    continue
                fitted, trained_on = fresh[refit, m.name]
                params = registry.fit_params(self.settings, m.params)
                row = registry.row(
                    m.name, job.kind, refit, self.settings.horizon, fitted, trained_on, params
                )
                self._rows.append(row)
                fits.append((m, row, fitted))
            predictions += self._predict(job, fits)
        table = contract("models.predictions")
        return ModelRun(
            registry.frame(self._rows),
            table.conform(pl.concat([table.empty(), *predictions])),
            pl.DataFrame(
                self._absences,
                schema={
                    "model": pl.String,
                    "kind": pl.String,
                    "refit_date": pl.Date,
                    "reason": pl.String,
                },
            ),
        )

    def _schedule(self) -> list[_Job]:
        """Refit dates that serve a date in [start, end], in order; the live one last."""
        known = self.scores.filter(pl.col("date") <= self.end)["date"].unique().sort()
        if known.is_empty():
            return []
        first = known[0]
        s = self.settings
        refits = validation.refit_dates(self.calendar, first, self.end, s.refit_history)
        jobs = []
        for i, refit in enumerate(refits):
            dates = known.filter(known >= max(refit, self.start or refit))
            if i + 1 < len(refits):
                dates = dates.filter(dates < refits[i + 1])
            if len(dates):
                jobs.append(self._job("walk_forward", refit, dates))
        live = validation.live_refit(self.calendar, self.end, s.refit_live)
        if self.start is None or self.start <= self.end:
            jobs.append(self._job("live", live, known.filter(known == self.end)))
        return jobs

    def _job(self, kind: str, refit: date, dates: Iterable[date]) -> _Job:
        s = self.settings
        window = validation.window(self.calendar, refit, s.horizon, s.train_sessions)
        return _Job(kind, window, tuple(dates))

    def _reusable(
        self, model: Predictor, job: _Job, existing: pl.DataFrame | None
    ) -> dict[str, Any] | None:
        if self.start is None or (self.keep_at is None and job.window.refit_date >= self.start):
            return None
        return registry.find(
            existing,
            model=model.name,
            kind=job.kind,
            refit_date=job.window.refit_date,
            horizon=self.settings.horizon,
            features=self.features,
            params=registry.fit_params(self.settings, model.params),
        )

    def _may_have_changed(self, window: validation.Window) -> bool:
        """Whether a fit of before saw dates that differ now."""
        return self.start is not None and window.last_session >= self.start

    def _data_hash(self, window: validation.Window, rows: datasets.Training | None) -> str | None:
        """Digest of what a fit of ``window`` would train on now; None: there is too little."""
        try:
            return registry.data_hash(self._fold(window, rows))
        except ModelError:
            return None

    def _judged(self, row: dict[str, Any], now: str | None) -> dict[str, Any]:
        """A fit that stands, marked if the rows that it was trained on are others now."""
        if now is not None and now == row["data_hash"]:
            return row | {"stale_since": None, "stale_reason": None}
        what = "rows that it was trained on" if row["data_hash"] else "rows that it may have seen"
        reason = f"{what} changed when data from {self.start} on were restated"
        kept = row["stale_since"] is not None
        return row | {
            "stale_since": row["stale_since"] if kept else self.keep_at,
            "stale_reason": row["stale_reason"] if kept else reason,
        }

    def _training_rows(self, windows: Sequence[validation.Window]) -> datasets.Training | None:
        """Labelled rows of every date that one of the fits trains on; None when there are none."""
        if not windows:
            return None
        from wealthos_pipeline.factors.labels import forward_returns

        dates = datasets.training_dates(self.calendar.frame(), windows, self.settings.every)
        panel = datasets.panel(self.scores, self.universe, self.features, dates)
        last = max(w.last_session for w in windows)
        prices = self.prices.filter(pl.col("date") <= last)
        labels = forward_returns(
            prices, self.settings.horizon, self.calendar, start=min(dates, default=None)
        )
        return datasets.training(panel, labels)

    def _fit(
        self, model: Predictor, window: validation.Window, rows: datasets.Training | None
    ) -> tuple[Fitted, datasets.Training]:
        chosen = self._fold(window, rows)
        return model.fit(chosen), chosen

    def _fold(self, window: validation.Window, rows: datasets.Training | None) -> datasets.Training:
        assert rows is not None
        return datasets.fold(
            rows,
            window,
            self.calendar.date_of(max(window.first_slot, 0)),
            every=self.settings.every,
            min_sessions=self.settings.min_train_sessions,
        )

    def _predict(
        self, job: _Job, fits: Sequence[tuple[Predictor, dict[str, Any], Fitted]]
    ) -> list[pl.DataFrame]:
        if not fits or not job.dates:
            return []
        panel = datasets.panel(self.scores, self.universe, self.features, job.dates)
        out = []
        for model, row, fitted in fits:
            values = fitted.predict(panel.X)
            z = datasets.standardise(values, panel.offsets)
            flat = np.repeat(_flat(values, panel.offsets), np.diff(panel.offsets))
            out.append(
                panel.keys.with_columns(
                    pl.lit(model.name).alias("model"),
                    pl.lit(job.kind).alias("kind"),
                    pl.lit(self.settings.horizon, dtype=pl.Int32).alias("horizon"),
                    pl.Series("prediction", values),
                    pl.Series("z", np.where(flat, np.nan, z)).fill_nan(None),
                    pl.lit(row["train_cutoff"]).alias("train_cutoff"),
                    pl.lit(row["model_id"]).alias("model_id"),
                ).select(contract("models.predictions").column_names)
            )
        return out


def _flat(values: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Which segments hold one value only; booleans, one a segment."""
    if not len(values):
        return np.zeros(0, dtype=bool)
    low = np.minimum.reduceat(values, offsets[:-1])
    out: np.ndarray = low == np.maximum.reduceat(values, offsets[:-1])
    return out
