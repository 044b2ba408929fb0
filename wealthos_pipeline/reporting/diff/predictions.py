"""Why each prediction changed, by putting one cause after another into the stored models.

A live prediction is a stored fit applied to the scores of one date. Both runs keep their fits and
their scores, so the change from A to B is walked in steps that are computed, not estimated:

1. A's fit on A's scores of A's date, computed again: differs from what was issued only if the code
   that applies fits changed;
2. on the scores of A's date that A's data give with the code of now;
3. on B's scores of A's date: what is left is that past bars were restated;
4. on B's scores of B's date: new bars;
5. B's fit: model.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import polars as pl

from wealthos_pipeline.core.asset import AssetClass
from wealthos_pipeline.data.processors import membership
from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.data.storage.manifest import Snapshot
from wealthos_pipeline.factors import Library, transforms
from wealthos_pipeline.reporting.diff.facts import Facts
from wealthos_pipeline.reporting.diff.moves import CODE, MODEL, NEW, RESTATED, Numbers, Step
from wealthos_pipeline.utils.config import FactorSettings, ModelSettings

_AFTER = frozenset(
    ("performance", "summary", "predictions", "evaluation", "risk_model", "portfolios",
     "risk_quality", "risk_of_holdings", "risk_tests", "resampled_paths", "risk_contributions", "stress_tests",
     "attribution", "order_lists", "dates", "issued_orders", "fills", "shortfalls", "holdings_prices",
     "coverage", "alerts", "issued", "checks", "catalog", "regime", "signals", "opportunities", "holdings",
     "redundancy", "admissions", "model_returns", "model_summary", "market_state", "turbulence", "clusters",
     "searches", "importance", "drift", "cards", "champions", "live", "trials")
)  # fmt: skip
"""Stages that do not feed the scores."""


@dataclass(frozen=True, slots=True)
class Walk:
    """The way of one model's predictions from A to B.

    start: A's predictions computed again; start_cause: what separates them from the issued ones,
    None if nothing that is known. steps: then, one cause at a time.
    """

    start: Numbers
    start_cause: str | None
    steps: tuple[Step, ...]

    @classmethod
    def unknown(cls, before: Numbers, after: Numbers) -> Walk:
        """The way of numbers whose causes cannot be told: they jump with the model."""
        return cls(before, None, (Step(RESTATED, before), Step(NEW, before), Step(MODEL, after)))


@dataclass(frozen=True, slots=True)
class Context:
    """What the walks need besides the two runs."""

    calendar: TradingCalendar
    library: Library
    models: ModelSettings
    factors: FactorSettings


def features_code_changed(facts: Facts) -> bool:
    """Whether code or settings changed in a stage that the scores come from."""
    return any(s not in _AFTER for s in facts.stages)


def scores_at(run: Snapshot, day: date) -> pl.DataFrame:
    """The run's scores of one date, of all its tables of scores."""
    tables = [t for t in run.tables() if t.startswith(transforms.SCORES)]
    return transforms.side_by_side(run.read(t, start=day, end=day) for t in tables)


def universe_at(run: Snapshot, day: date) -> pl.DataFrame:
    """The run's universe of equities at one date."""
    instruments = run.read("clean.instruments")
    equities = instruments.filter(pl.col("asset_class") == "equity")["instrument_id"].unique()
    bars = run.read("clean.prices", columns=["date", "instrument_id", "flags"], start=day, end=day)
    bars = bars.filter(pl.col("instrument_id").is_in(equities.implode()))
    return membership.universe(bars, run.read("clean.membership"))


def rescored(run: Snapshot, day: date, context: Context) -> pl.DataFrame:
    """The scores of one date that the run's data give with the code of now."""
    from wealthos_pipeline import factors

    families = [f for f in context.library.families() if f.asset_class == AssetClass.EQUITY]
    reach = max(f.lookback for f in families)
    start = context.calendar.offset(day, -reach)
    prices = run.read("clean.prices", start=start, end=day)
    series = run.read("clean.series", end=day)
    instruments = run.read("clean.instruments")
    reported = run.read("clean.fundamentals") if any(f.statements for f in families) else None
    universe = universe_at(run, day)
    values = universe.select("date", "instrument_id").sort("date", "instrument_id")
    for family in families:
        part = factors.compute(
            family, prices, series, instruments=instruments, statements=reported,
            calendar=context.calendar, start=day,
        )  # fmt: skip
        values = values.join(part, on=["date", "instrument_id"], how="left", maintain_order="left")
    return transforms.scores(values, universe, instruments, context.factors, start=day)


def predict(
    fit: Mapping[str, Any],
    scores: pl.DataFrame,
    universe: pl.DataFrame,
    day: date,
    models: ModelSettings,
) -> dict[str, float]:
    """z of every name at ``day`` from one row of ``models.registry``, as the run computes it.

    A feature that ``scores`` lack is missing, as in a fit.
    """
    from wealthos_pipeline.ml import datasets, predictors, specs

    features = json.loads(fit["features"])
    absent = [f for f in features if f not in scores.columns]
    complete = scores.with_columns(pl.lit(None, dtype=pl.Float32).alias(f) for f in absent)
    panel = datasets.panel(complete, universe, features, [day])
    if not panel.keys.height:
        return {}
    (spec,) = specs.load(models, (fit["model"],))
    model = predictors.make(spec, members=specs.members(spec, models))
    values = model.from_text(fit["artefact"]).predict(panel.X)
    if np.min(values) == np.max(values):
        return {}
    z = datasets.standardise(values, panel.offsets)
    return dict(zip(panel.keys["instrument_id"], z.tolist(), strict=True))


def fit_of(run: Snapshot, model_id: str | None) -> dict[str, Any] | None:
    """The registry's row of a fit; None if it is not there."""
    if model_id is None:
        return None
    rows = run.scan("models.registry").filter(pl.col("model_id") == model_id).collect()
    return rows.row(0, named=True) if rows.height else None


@dataclass(frozen=True, slots=True)
class Inputs:
    """Scores and universes that all models' walks share."""

    scores_a: pl.DataFrame
    universe_a: pl.DataFrame
    now_a: pl.DataFrame | None
    past: pl.DataFrame
    past_universe: pl.DataFrame
    scores_b: pl.DataFrame
    universe_b: pl.DataFrame


def prepare(a: Snapshot, b: Snapshot, facts: Facts, context: Context) -> Inputs:
    """Read what the walks need; A's data are scored again only if code and data both changed."""
    day_a, day_b = a.manifest.as_of, b.manifest.as_of
    both = features_code_changed(facts) and bool(facts.past_changed)
    return Inputs(
        scores_at(a, day_a),
        universe_at(a, day_a),
        rescored(a, day_a, context) if both else None,
        scores_at(b, day_a),
        universe_at(b, day_a),
        scores_at(b, day_b),
        universe_at(b, day_b),
    )


def walk(
    fit_a: Mapping[str, Any],
    fit_b: Mapping[str, Any],
    inputs: Inputs,
    a: Snapshot,
    b: Snapshot,
    facts: Facts,
    context: Context,
) -> Walk:
    """The steps of one model from A to B."""
    day_a, day_b = a.manifest.as_of, b.manifest.as_of

    def z(
        fit: Mapping[str, Any], scores: pl.DataFrame, universe: pl.DataFrame, day: date
    ) -> Numbers:
        return predict(fit, scores, universe, day, context.models)

    i = inputs
    steps = []
    if i.now_a is not None:
        steps.append(Step(CODE, z(fit_a, i.now_a, i.universe_a, day_a)))
        steps.append(Step(RESTATED, z(fit_a, i.past, i.past_universe, day_a)))
    else:
        cause = CODE if features_code_changed(facts) else RESTATED
        steps.append(Step(cause, z(fit_a, i.past, i.past_universe, day_a)))
    steps.append(Step(NEW, z(fit_a, i.scores_b, i.universe_b, day_b)))
    steps.append(Step(MODEL, z(fit_b, i.scores_b, i.universe_b, day_b)))
    start = z(fit_a, i.scores_a, i.universe_a, day_a)
    return Walk(start, CODE if "predictions" in facts.stages else None, tuple(steps))
