"""One model at one refit date: its parameters there, whether a stored fit serves, and the fit itself."""

from __future__ import annotations

import json
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from wealthos_pipeline.core.data import contract
from wealthos_pipeline.core.errors import ConfigError, ModelError
from wealthos_pipeline.ml import datasets, predictors, registry, schedule, specs, validation
from wealthos_pipeline.ml.schedule import Job
from wealthos_pipeline.utils.logging import get_logger

if TYPE_CHECKING:
    from wealthos_pipeline.core.model import ModelSpec
    from wealthos_pipeline.data.processors.calendar import TradingCalendar
    from wealthos_pipeline.ml.predictors.base import Fitted, Predictor
    from wealthos_pipeline.utils.config import ModelSettings

_LOG = get_logger("models")

NUMERICAL = frozenset(("lightgbm", "scipy", "sklearn", "statsmodels", "optuna"))
"""Packages whose ValueError about some data is the model's failing, not a fault of this program."""


@dataclass
class Fit:
    """A model of one job. row and fitted: None until there is a fit; a stored one has both at once.

    fresh: made now, in ``seconds`` of wall time.
    """

    spec: ModelSpec
    job: Job
    features: tuple[str, ...]
    predictor: Predictor
    window: validation.Window
    params: str
    trials: int | None = None
    row: dict[str, Any] | None = None
    fitted: Fitted | None = None
    pinned: bool = False
    fresh: bool = False
    seconds: float = 0.0

    @property
    def label(self) -> datasets.Label:
        return datasets.Label(self.spec.label, self.spec.horizon)

    def rows(
        self, data: Mapping[datasets.Label, datasets.Training], calendar: TradingCalendar
    ) -> datasets.Training:
        """What it trains on; ModelError if that is too little."""
        return datasets.fold(
            data[self.label],
            self.window,
            calendar.date_of(max(self.window.first_slot, 0)),
            every=self.spec.every,
            min_sessions=self.spec.min_train_sessions,
            weighting=self.spec.weighting,
            sessions=calendar.frame()["date"].to_numpy().astype("datetime64[D]"),
        )

    def make(self, rows: datasets.Training, data: str | None = None) -> None:
        """Fit on ``rows`` (``data``: their ``registry.data_hash`` where it is at hand). ModelError in words if
        the family cannot, whatever it raises: one model's fault stops no other."""
        begun = time.perf_counter()
        try:
            fitted = self.predictor.fit(rows)
            self.row = registry.row(
                self.spec, self.job.kind, self.job.refit, fitted, rows, self.params,
                trials=self.trials, data=data,
            )  # fmt: skip
        except Exception as error:
            raise ModelError(failing(self.spec, error)) from error
        self.fitted = fitted
        self.fresh, self.seconds = True, time.perf_counter() - begun

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Scores of the rows of ``X``. ModelError in words if the family cannot."""
        assert self.fitted is not None
        try:
            return self.fitted.predict(X)
        except Exception as error:
            raise ModelError(failing(self.spec, error, "predict with")) from error

    def same_as(self, other: Fit) -> None:
        """Take over the fit of the same model at the same date, made for the other kind."""
        assert other.row is not None
        kind, refit = self.job.kind, self.job.refit
        digest = other.row["artefact_hash"]
        name = f"{self.spec.name}.{kind}.{refit}.{digest[:8]}"
        self.fitted, self.row = other.fitted, {**other.row, "kind": kind, "model_id": name}
        self.fresh, self.seconds = other.fresh, other.seconds


def plan(
    spec: ModelSpec,
    job: Job,
    features: tuple[str, ...],
    settings: ModelSettings,
    calendar: TradingCalendar,
    searches: pl.DataFrame | None,
    threads: int,
) -> Fit:
    """``spec`` at ``job`` with the parameters that it has there. ModelError where a search left some that
    the family does not take."""
    found = tuned(searches, spec, job.refit)
    at = spec
    if found is not None:
        at = spec.model_copy(update={"params": {**spec.params, **json.loads(found["params"])}})
    combines = predictors.family(spec.family).combines
    try:
        predictor = predictors.make(
            at, threads=threads, members=specs.members(spec, settings) if combines else ()
        )
    except ConfigError as error:
        raise ModelError(str(error)) from error
    params = registry.fit_params(spec, predictor.params)
    window = schedule.window(calendar, spec, job.refit)
    return Fit(
        spec, job, features, predictor, window, params, None if found is None else found["trials"]
    )


def tuned(searches: pl.DataFrame | None, spec: ModelSpec, refit: date) -> dict[str, Any] | None:
    """The row of ``models.searches`` that a fit at ``refit`` uses: the latest of this definition that was
    made for a refit date not after it."""
    if searches is None or spec.search is None:
        return None
    own = (pl.col("model") == spec.name) & (pl.col("refit_date") <= refit)
    if "side" in searches.columns:  # outside: what the choice was worth afterwards
        own &= pl.col("side") == "inside"
    if "spec_hash" in searches.columns:
        own &= pl.col("spec_hash") == spec.spec_hash
    rows = searches.filter(own).sort("refit_date")
    return rows.row(-1, named=True) if rows.height else None


def pinned(spec: ModelSpec, job: Job, record: Mapping[str, Any], threads: int, settings: ModelSettings, calendar: TradingCalendar) -> Fit:  # fmt: skip
    """The fit in ``record``, a row of ``models.registry``, in place of the live one. ModelError if it
    cannot serve: it is damaged, of another model, or later than the dates that it would predict."""
    row = registry.of_record(record)
    faults = []
    if row["model"] != spec.name:
        faults.append(f"it is a fit of {row['model']}")
    if registry.artefact_hash(row["artefact"]) != row["artefact_hash"]:
        faults.append("its artefact is damaged: the digest is another one")
    if row["horizon"] != spec.horizon:
        faults.append(f"its horizon is {row['horizon']} sessions, the model's {spec.horizon}")
    late = [d for d in job.dates if d < row["refit_date"]]
    if late:
        faults.append(f"it was made for {row['refit_date']}, after {late[0]}")
    if faults:
        raise ModelError(
            f"model {spec.name}: the pinned fit {row['model_id']} cannot serve: {'; '.join(faults)}. "
            "Take the pin back, or pin another fit."
        )
    fit = plan(
        spec, job, tuple(json.loads(row["features"])), settings, calendar, None, threads
    )  # fmt: skip
    fit.fitted = fit.predictor.from_text(row["artefact"])
    fit.row, fit.pinned = row, True
    return fit


def cannot(error: BaseException) -> bool:
    """Whether ``error`` says that a model cannot be fitted to some data, or that this program is wrong."""
    if isinstance(error, ModelError | np.linalg.LinAlgError | ArithmeticError):
        return True
    if type(error).__module__.split(".")[0] in NUMERICAL:
        return True
    if not isinstance(error, ValueError):
        return False
    trace = error.__traceback__
    while trace is not None:
        if str(trace.tb_frame.f_globals.get("__name__", "")).split(".")[0] in NUMERICAL:
            return True
        trace = trace.tb_next
    return False


def failing(spec: ModelSpec, error: BaseException, doing: str = "fit") -> str:
    """``error`` in a sentence that names the model, and says whose fault it seems to be."""
    words = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, ModelError):
        return words if words.startswith(spec.name) else f"{spec.name}: {words}"
    said = f"{spec.name}: could not {doing} the family {spec.family} ({type(error).__name__}: {words}); "
    if cannot(error):
        return said + "look at the features of these dates and at the model's params"
    _LOG.error(said, exc_info=error)
    return (
        f"{said}this is a fault of the program{_where(error)}, not of the data: other models go on "
        "without it; the log has the trace"
    )


def _where(error: BaseException) -> str:
    """`` (file:line)`` where ``error`` was raised."""
    frames = traceback.extract_tb(error.__traceback__)
    return f" ({frames[-1].filename.rsplit('/', 1)[-1]}:{frames[-1].lineno})" if frames else ""


ABSENCES = {"model": pl.String, "kind": pl.String, "refit_date": pl.Date, "reason": pl.String}


def absence(model: str, job: Job, reason: str) -> dict[str, Any]:
    return {"model": model, "kind": job.kind, "refit_date": job.refit, "reason": reason}


def made_now(fits: list[Fit]) -> pl.DataFrame:
    """``model_id, model, kind, refit_date, seconds, seed`` of the fits in ``fits``, for ``meta.fits``."""
    shape = contract("meta.fits").schema()
    columns = ("model_id", "model", "kind", "refit_date", "seconds", "seed")
    body = [
        {
            "model_id": f.row["model_id"], "model": f.spec.name, "kind": f.job.kind,
            "refit_date": f.job.refit, "seconds": f.seconds, "seed": f.spec.seed,
        }
        for f in fits if f.row is not None
    ]  # fmt: skip
    return pl.DataFrame(body, schema={c: shape[c] for c in columns})
