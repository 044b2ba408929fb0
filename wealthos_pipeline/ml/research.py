"""A model that somebody wants to know about: walked forward and judged, apart from everything live."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import polars as pl
from pydantic import ValidationError

from wealthos_pipeline.core.errors import ConfigError, ModelError
from wealthos_pipeline.core.model import ModelSpec
from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.ml import evaluation as judging
from wealthos_pipeline.ml import predictors, train, trials
from wealthos_pipeline.ml.panels import Frame
from wealthos_pipeline.utils.config import FactorSettings, ModelSettings

Say = Callable[[str], None]


@dataclass(frozen=True, eq=False)
class Research:
    """What a training made: the tables of the layer ``models``, by name, and fits that failed, in words."""

    spec: ModelSpec
    frames: Mapping[str, pl.DataFrame]
    absences: tuple[str, ...]

    @property
    def summary(self) -> dict[str, Any]:
        """The model's row of ``models.summary``."""
        mine = self.frames["summary"].filter(pl.col("model") == self.spec.name)
        return mine.row(0, named=True)


def changed(
    spec: ModelSpec,
    *,
    horizon: int | None = None,
    params: Mapping[str, Any] | None = None,
    features: Sequence[str] = (),
) -> ModelSpec:
    """``spec`` with other values. Keys of ``params`` are the family's, or the specification's own
    (``label``, ``train_sessions``, ``weighting.half_life`` …). ConfigError lists every fault."""
    body = spec.model_dump(mode="python")
    own = set(ModelSpec.model_fields) - {"name", "family", "params", "search", "members"}
    weighting = set(type(spec.weighting).model_fields)
    for key, value in (params or {}).items():
        part, dot, name = key.partition(".")
        if dot and part == "weighting" and name in weighting:
            body["weighting"] = dict(body["weighting"]) | {name: value}
        elif key in own - {"weighting"}:
            body[key] = value
        else:
            body["params"] = dict(body["params"]) | {key: value}
    if horizon is not None:
        body["horizon"] = horizon
    if features:
        body["features"] = tuple(features)
    try:
        made = ModelSpec.model_validate(body)
    except ValidationError as error:
        found = [
            f"{'.'.join(map(str, e['loc']))}: {e['msg']} (found {e['input']!r})"
            for e in error.errors(include_url=False, include_context=False)
        ]
    else:
        found = predictors.faults(made)
    if found:
        lines = "\n".join(f"  - {fault}" for fault in found)
        keys = ", ".join(
            [*sorted(own - {"weighting"}), *sorted(f"weighting.{w}" for w in weighting)]
        )
        raise ConfigError(
            f"{spec.name} cannot be trained with these values:\n{lines}\nKeys of every model: {keys}"
        )
    return made


def walk(
    spec: ModelSpec,
    scores: Sequence[Frame],
    prices: pl.DataFrame,
    universe: pl.DataFrame,
    calendar: TradingCalendar,
    settings: ModelSettings,
    factors: FactorSettings,
    *,
    columns: Sequence[str],
    end: date,
    known_until: datetime,
    tried: pl.DataFrame,
    beside: pl.DataFrame,
    performance: pl.DataFrame,
    start: date | None = None,
    threads: int = 1,
    say: Say = lambda words: None,
) -> Research:
    """Walk ``spec`` forward over the data and judge what it predicts, as a run does.

    columns: of ``scores``, which the model may choose its features from. tried: trials so far, this one
    among them. beside: ``models.returns`` of the published models, with which it was compared. performance:
    ``factors.performance``. start: first date that is predicted. ModelError where nothing could be fitted
    (the reason of the last fit is said) or nothing of it has an outcome yet.
    """
    say("fitting")
    made = train.fit_and_predict(
        scores, prices, universe, calendar, settings, feature_names=list(columns), end=end, start=start,
        threads=threads, models=[spec],
    )  # fmt: skip
    failed = made.absences.filter(pl.col("kind") == "walk_forward")["reason"].to_list()
    walked = made.predictions.filter(pl.col("kind") == "walk_forward")
    if walked.is_empty():
        why = f" {failed[-1]}" if failed else ""
        raise ModelError(
            f"{spec.name}: no year could be predicted from data up to {end}.{why} Ask for shorter windows "
            "(--set min_train_sessions=252), or a longer history."
        )
    say("judging")
    classifiers = (spec.name,) if predictors.family(spec.family).probability else ()
    found = judging.judge_by_date(
        walked, prices, calendar, spec.horizon, known_until=known_until, classifiers=classifiers
    )
    if found.evaluation.is_empty():
        raise ModelError(
            f"{spec.name}: none of its predictions has an outcome over {spec.horizon} sessions yet; ask for "
            "a shorter --horizon or a later --to"
        )
    say("holding books")
    books = judging.returns(
        walked, prices, universe, calendar, spec.horizon, costs_bp=factors.costs_bp, known_until=known_until
    )  # fmt: skip
    others = beside.filter((pl.col("horizon") == spec.horizon) & (pl.col("model") != spec.name))
    together = pl.concat([others.filter(pl.col("model") != "equal_weight"), books])
    matrix = judging.matrix(together, "long_short", common=False)
    spreads = trials.spreads(performance, min(factors.horizons))
    deflation = trials.deflation(tried, "model", [trials.Block(matrix.values), spreads])
    return Research(
        spec,
        {
            "registry": made.registry,
            "predictions": made.predictions,
            "evaluation": found.evaluation,
            "evaluation_lags": found.lags,
            "evaluation_bins": found.bins,
            "returns": books,
            "decay": judging.decay(found.lags),
            "calibration": judging.calibrate(found.bins),
            "summary": judging.summarise(found.evaluation, together, {spec.horizon: deflation}),
        },
        tuple(dict.fromkeys(failed)),
    )
