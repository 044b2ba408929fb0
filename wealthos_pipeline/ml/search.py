"""Searches of refit dates, as rows of ``models.searches`` and as trials that count.

Each refit date is searched on the rows that its own fit would train on (``tuning``). What was chosen is then judged
on the dates from it until the next refit, beside the model's own parameters, once every label of these dates is
known: a row that stands is never made again for more of them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from wealthos_pipeline.core.data import contract
from wealthos_pipeline.core.errors import ConfigError, ModelError
from wealthos_pipeline.ml import (
    datasets,
    labels,
    predictors,
    registry,
    schedule,
    specs,
    trials,
    tuning,
    validation,
)
from wealthos_pipeline.ml.panels import KEY, Frame, Scores
from wealthos_pipeline.ml.search_process import Score, TrialError

if TYPE_CHECKING:
    from wealthos_pipeline.core.model import ModelSpec, Value
    from wealthos_pipeline.data.processors.calendar import TradingCalendar
    from wealthos_pipeline.ml.datasets import Training
    from wealthos_pipeline.utils.config import ModelSettings

INSIDE, OUTSIDE = "inside", "outside"


@dataclass(frozen=True, slots=True)
class Searched:
    """searches: ``models.searches``. trials: rows for ``record.trials``, without ``run_id`` and ``recorded_at``
    (``ml.trials.new``). absences: ``model, refit_date, reason``: refit dates that could not be searched."""

    searches: pl.DataFrame
    trials: pl.DataFrame
    absences: pl.DataFrame


def search(
    models: Sequence[ModelSpec],
    scores: Frame | Sequence[Frame],
    prices: pl.DataFrame,
    universe: pl.DataFrame,
    calendar: TradingCalendar,
    settings: ModelSettings,
    refits: Iterable[date],
    threads: int = 1,
    *,
    end: date | None = None,
    existing: pl.DataFrame | None = None,
    say: Callable[[str], None] = lambda words: None,
) -> Searched:
    """Search every one of ``models`` at every one of ``refits``.

    models: with ``search``. scores, prices, universe: as ``train.fit_and_predict`` takes them, reaching back as far
    as the training windows do. refits: dates of fits, ``validation.refit_dates``. end: last session of the data,
    that of ``prices`` if not given. existing: ``models.searches`` as it stands; a search on the same rows with the
    same definition is taken from it. say: is told what has been searched. threads: speed only.

    ConfigError lists everything that is wrong with any of the searches before the first is made.
    """
    if not models:
        raise ConfigError("no model to search: name at least one whose file has a key `search`")
    faults = [fault for spec in models if (fault := _fault(spec))]
    if faults:
        raise ConfigError("\n".join(faults))
    source = Scores(scores)
    last = end or prices["date"].max()
    assert isinstance(last, date) or last is None
    rows: list[dict[str, Any]] = []
    absences: list[dict[str, Any]] = []
    wanted = sorted(set(refits))
    for spec in models:
        data = _Data(spec, source, prices, universe, calendar, settings, last or date.min)
        for i, refit in enumerate(wanted):
            following = wanted[i + 1] if i + 1 < len(wanted) else None
            try:
                made = _Refit(data, refit, following, existing, threads).made()
            except ModelError as error:
                absences.append({"model": spec.name, "refit_date": refit, "reason": str(error)})
                continue
            rows += made
            say(f"{spec.name} at {refit}: {_words(made)}")
    table = contract("models.searches")
    found = table.conform(pl.DataFrame(rows, schema=table.schema()))
    counted = [_counted(spec, found.filter(pl.col("model") == spec.name)) for spec in models]
    return Searched(
        found,
        pl.concat(counted),
        pl.DataFrame(
            absences, schema={"model": pl.String, "refit_date": pl.Date, "reason": pl.String}
        ),
    )


def _fault(spec: ModelSpec) -> str:
    try:
        tuning.check(spec)
    except ConfigError as error:
        return str(error)
    return ""


@dataclass(frozen=True)
class _Data:
    """What the fits of one model are made from."""

    spec: ModelSpec
    scores: Scores
    prices: pl.DataFrame
    universe: pl.DataFrame
    calendar: TradingCalendar
    settings: ModelSettings
    end: date

    @cached_property
    def features(self) -> tuple[str, ...]:
        return specs.chosen(self.spec, [c for c in self.scores.columns if c not in KEY])

    @cached_property
    def members(self) -> tuple[ModelSpec, ...]:
        combines = predictors.family(self.spec.family).combines
        return tuple(specs.members(self.spec, self.settings)) if combines else ()

    def labelled(self, window: validation.Window, last: date) -> datasets.Training:
        """Labelled rows of the dates of ``window``, from bars up to ``last``."""
        from wealthos_pipeline.factors.labels import forward_returns

        label = datasets.Label(self.spec.label, self.spec.horizon)
        dates = datasets.training_dates(self.calendar.frame(), [window], self.spec.every)
        prices = self.prices.filter(pl.col("date") <= last)
        first = min(dates, default=None)
        returns = {
            label.horizon: forward_returns(prices, label.horizon, self.calendar, start=first)
        }
        volatility = None
        if label.kind == "volatility_scaled":
            days = pl.Series(dates, dtype=pl.Date)
            volatility = labels.trailing_volatility(prices, self.calendar, days)
        known = datasets.Labels(returns, volatility)
        made = datasets.assemble(self.scores, self.universe, self.features, dates, known, [label])
        return made[label]

    def training(self, refit: date) -> Training:
        """What the fit of ``refit`` trains on (``fits.Fit.rows``); ModelError where that is too little."""
        window = schedule.window(self.calendar, self.spec, refit)
        return datasets.fold(
            self.labelled(window, window.last_session),
            window,
            self.calendar.date_of(max(window.first_slot, 0)),
            every=self.spec.every,
            min_sessions=self.spec.min_train_sessions,
            weighting=self.spec.weighting,
            sessions=self.calendar.frame()["date"].to_numpy().astype("datetime64[D]"),
        )

    def after(self, refit: date, following: date | None) -> Training | None:
        """Labelled rows from ``refit`` until ``following``; None while one of their labels is not known."""
        if following is None:
            return None
        slot, stop = self.calendar.slot(refit), self.calendar.slot(following)
        if self.calendar.slot(self.end) < stop + self.spec.horizon:
            return None
        window = validation.Window(
            following, slot, stop - 1, self.end, self.calendar.known_at(self.end)
        )
        rows = self.labelled(window, self.end)
        return rows if len(rows) else None


@dataclass(frozen=True)
class _Refit:
    data: _Data
    refit: date
    following: date | None
    existing: pl.DataFrame | None
    threads: int

    def made(self) -> list[dict[str, Any]]:
        """The rows of this refit date: inside, and outside where that can be told."""
        spec = self.data.spec
        rows = self.data.training(self.refit)
        digest = registry.data_hash(rows)
        old = self._old(digest)
        test = None if OUTSIDE in old else self.data.after(self.refit, self.following)
        if INSIDE in old and test is None:
            return list(old.values())
        with tuning.Bench(spec, rows, self.threads, self.data.members) as bench:
            if INSIDE not in old:
                old[INSIDE] = self._inside(tuning.run(spec, bench), rows, digest)
            if test is not None:
                judged = self._outside(old[INSIDE], bench, test)
                old |= {} if judged is None else {OUTSIDE: judged}
        return list(old.values())

    def _old(self, digest: str) -> dict[str, dict[str, Any]]:
        """Rows that stand, by side."""
        if self.existing is None:
            return {}
        same = self.existing.filter(
            (pl.col("model") == self.data.spec.name)
            & (pl.col("refit_date") == self.refit)
            & (pl.col("spec_hash") == self.data.spec.spec_hash)
            & (pl.col("data_hash") == digest)
        )
        found = {row["side"]: row for row in same.sort("side").iter_rows(named=True)}
        return found if INSIDE in found else {}

    def _inside(self, found: tuning.Found, rows: Training, digest: str) -> dict[str, Any]:
        spec = self.data.spec
        return {
            "model": spec.name,
            "refit_date": self.refit,
            "side": INSIDE,
            "params": json.dumps(dict(found.best.params), sort_keys=True, separators=(",", ":")),
            "score": found.best.score,
            "own_score": None if found.own.failed else found.own.score,
            "dates": found.best.dates,
            "trials": found.distinct,
            "failed": found.failed,
            "seed": spec.seed,
            "spec_hash": spec.spec_hash,
            "data_hash": digest,
            "tried": found.text,
            "known_at": _known(rows),
        }

    def _outside(
        self, inside: Mapping[str, Any], bench: tuning.Bench, test: Training
    ) -> dict[str, Any] | None:
        """None where the chosen parameters cannot be fitted on all rows, or predict all names alike."""
        chosen = _judged(bench, json.loads(inside["params"]), test)
        if chosen is None:
            return None
        own = _judged(bench, tuning.own_params(self.data.spec), test)
        return {
            **inside,
            "side": OUTSIDE,
            "score": chosen.mean,
            "own_score": None if own is None else own.mean,
            "dates": chosen.dates,
            "tried": None,
            "known_at": _known(test),
        }


def _judged(bench: tuning.Bench, params: Mapping[str, Value], test: Training) -> Score | None:
    try:
        return bench.outside(params, test)
    except TrialError:
        return None


def _known(rows: Training) -> datetime:
    """When the last of the labels was known."""
    last: datetime = np.max(rows.known_at).item()
    return last.replace(tzinfo=UTC)


def _counted(spec: ModelSpec, found: pl.DataFrame) -> pl.DataFrame:
    """Trials of the latest search, with what each configuration was and how it looked inside."""
    inside = found.filter(pl.col("side") == INSIDE).sort("refit_date")
    if inside.is_empty():
        return trials.of_search(spec, 0)
    latest = inside.row(-1, named=True)
    tried = [t for t in json.loads(latest["tried"]) if "same_as" not in t]
    rows = trials.of_search(spec, max(inside["trials"].to_list()))
    known = pl.DataFrame(
        {
            "name": [f"{spec.name} #{i}" for i in range(1, len(tried))],
            "said": [
                json.dumps({"model": spec.name, "configuration": i, **t["params"]}, sort_keys=True)
                for i, t in enumerate(tried[1:], 1)
            ],
            "ic": [t["score"] for t in tried[1:]],
        },
        schema={"name": pl.String, "said": pl.String, "ic": pl.Float64},
    )
    return (
        rows.join(known, on="name", how="left", maintain_order="left")
        .with_columns(pl.coalesce("said", "params").alias("params"), pl.col("ic").alias("rank_ic"))
        .select(rows.columns)
    )


def _words(made: Sequence[Mapping[str, Any]]) -> str:
    out = []
    for row in made:
        own = "" if row["own_score"] is None else f" (own parameters {row['own_score']:+.4f})"
        out.append(f"{row['side']} {row['score']:+.4f}{own}")
    return f"{made[0]['params']}, rank IC {', '.join(out)}".replace("-", "−")
