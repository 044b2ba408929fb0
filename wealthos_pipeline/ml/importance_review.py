"""``models.importance``: gain of every walk-forward fit, the rest of the latest that can be judged out of sample.

A fit is judged on dates that it predicted and whose labels were known when the month of the last session began: so
the numbers of a fit change once a month and not every day. Many names make few dates enough: at most some ``ROWS``
rows, on dates evenly apart.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from wealthos_pipeline.core.data import contract
from wealthos_pipeline.core.errors import ModelError
from wealthos_pipeline.ml import datasets, importance, predictors
from wealthos_pipeline.ml.panels import Frame, Scores, panel

if TYPE_CHECKING:
    from wealthos_pipeline.data.processors.calendar import TradingCalendar
    from wealthos_pipeline.ml.importance import Importance

MIN_DATES = 20
"""Known dates that a fit needs to be judged; of a fit with fewer the one before it is judged."""

ROWS = 4_000
"""Rows that importance out of sample is measured on, about."""


@dataclass(frozen=True, slots=True)
class Measured:
    """importance: ``models.importance``. remarks: fits that could not be read, in words."""

    importance: pl.DataFrame
    remarks: tuple[str, ...] = ()


def measure(
    registry: pl.DataFrame,
    scores: Frame | Sequence[Frame],
    prices: pl.DataFrame,
    universe: pl.DataFrame,
    clusters: pl.DataFrame,
    calendar: TradingCalendar,
    *,
    end: date,
    existing: pl.DataFrame | None = None,
) -> Measured:
    """registry: ``models.registry``. scores, prices, universe: as ``train.fit_and_predict`` takes them, from
    ``needed_from`` on. clusters: ``factors.clusters``; empty: no shuffling by cluster. end: last session of the data.
    existing: ``models.importance`` as it stands; what was measured on the same rows is taken from it.
    """
    table = contract("models.importance")
    world = _World(
        Scores(scores), prices, universe, clusters, calendar, end,
        table.empty() if existing is None else existing,
    )  # fmt: skip
    rows: list[Mapping[str, Any]] = []
    remarks: list[str] = []
    for mine in _walked(registry):
        for fit in mine:
            try:
                rows += _gain(fit, world)
            except ModelError as error:
                remarks.append(f"{fit['model_id']}: {error}")
        judged = _judged(calendar, mine, _cut(calendar, end))
        if judged is not None:
            try:
                rows += _out_of_sample(mine, judged[0], world)
            except ModelError as error:
                remarks.append(f"{mine[judged[0]]['model_id']}: {error}")
    made = pl.DataFrame(rows, schema=table.schema())
    return Measured(table.conform(made.with_columns(pl.col("se").fill_nan(None))), tuple(remarks))


def needed_from(registry: pl.DataFrame, calendar: TradingCalendar, end: date) -> date | None:
    """First date of scores and prices that ``measure`` looks at; None: there is nothing to judge."""
    cut = _cut(calendar, end)
    judged = [i for mine in _walked(registry) if (i := _judged(calendar, mine, cut)) is not None]
    return min((refit for _, refit in judged), default=None)


def _judged(
    calendar: TradingCalendar, fits: Sequence[Mapping[str, Any]], cut: int
) -> tuple[int, date] | None:
    """Place and refit date of the latest fit with enough known dates; None where there is none."""
    for i in reversed(range(len(fits))):
        if len(_slots(calendar, fits, i, cut)) >= MIN_DATES:
            return i, fits[i]["refit_date"]
    return None


def _walked(registry: pl.DataFrame) -> Iterator[list[dict[str, Any]]]:
    """Walk-forward fits of each model, by refit date."""
    fits = registry.filter(pl.col("kind") == "walk_forward").sort("model", "refit_date")
    for _, part in fits.group_by("model", maintain_order=True):
        yield part.to_dicts()


def _cut(calendar: TradingCalendar, end: date) -> int:
    """Slot of the last session before the month of ``end``."""
    first = end.replace(day=1)
    return calendar.slot(first) - (1 if calendar.is_session(first) else 0)


def _slots(calendar: TradingCalendar, fits: Sequence[Mapping[str, Any]], i: int, cut: int) -> range:
    """Slots that the i-th fit predicted and whose labels end by ``cut``."""
    fit = fits[i]
    last = cut - 1 - fit["horizon"]
    if i + 1 < len(fits):
        last = min(last, calendar.slot(fits[i + 1]["refit_date"]) - 1)
    return range(calendar.slot(fit["refit_date"]), last + 1)


@dataclass(frozen=True)
class _World:
    scores: Scores
    prices: pl.DataFrame
    universe: pl.DataFrame
    clusters: pl.DataFrame
    calendar: TradingCalendar
    end: date
    existing: pl.DataFrame

    def sample(self, fits: Sequence[Mapping[str, Any]], i: int) -> tuple[datasets.Training, int]:
        """Rows that the i-th fit is judged on, and how many sessions their dates are apart."""
        from wealthos_pipeline.factors.labels import forward_returns

        cut, fit = _cut(self.calendar, self.end), fits[i]
        slots = _slots(self.calendar, fits, i, cut)
        first, last = (self.calendar.date_of(slots[k]) for k in (0, -1))
        inside = self.universe.filter(pl.col("date").is_between(first, last))
        names = max(inside.height // max(inside["date"].n_unique(), 1), 1)
        apart = max(1, -(-len(slots) // max(MIN_DATES, ROWS // names)))
        dates = [self.calendar.date_of(s) for s in slots[::apart]]
        known = self.calendar.known_at(self.calendar.date_of(cut))
        prices = self.prices.filter(pl.col("date") >= first)
        labels = forward_returns(prices, fit["horizon"], self.calendar, start=first)
        features = panel(self.scores, inside, json.loads(fit["features"]), dates)
        labels = labels.filter(pl.col("known_at") <= known)
        return datasets.training(features, labels, "forward", fit["horizon"]), apart

    @cached_property
    def groups(self) -> dict[str, list[str]]:
        """Clusters of two factors and more: representative → factors."""
        if self.clusters.is_empty():
            return {}
        out = {}
        for _, part in self.clusters.sort("cluster", "factor").group_by(
            "cluster", maintain_order=True
        ):
            if part.height > 1:
                name = part.filter(pl.col("representative"))["factor"].to_list()
                out[str((name or part["factor"].to_list())[0])] = part["factor"].to_list()
        return out

    def stands(self, fit: Mapping[str, Any], **equal: str) -> list[dict[str, Any]]:
        """Rows of ``existing`` of this fit."""
        mine = pl.col("model_id") == fit["model_id"]
        same = [pl.col(k) == v for k, v in equal.items()]
        return self.existing.filter(mine, *same).to_dicts()


def _gain(fit: Mapping[str, Any], world: _World) -> list[dict[str, Any]]:
    """A fit's gain never changes: its name holds the digest of its artefact."""
    if old := world.stands(fit, method="gain"):
        return old
    slot = world.calendar.slot(fit["refit_date"])
    known = world.calendar.known_at(world.calendar.date_of(slot - 1))
    found = importance.gain(predictors.read(fit["artefact"]))
    return _rows(fit, "gain", found, known_at=known)


def _out_of_sample(
    fits: Sequence[Mapping[str, Any]], i: int, world: _World
) -> list[dict[str, Any]]:
    fit = fits[i]
    rows, apart = world.sample(fits, i)
    days = len(np.unique(rows.dates))
    if days < MIN_DATES // 2:
        raise ModelError(f"only {days} dates have five names with features and outcomes")
    sample = importance.Sample(rows.X, rows.outcome, rows.dates, apart)
    body = json.dumps([sample.digest, fit["horizon"], world.groups], sort_keys=True)
    digest = hashlib.blake2b(body.encode(), digest_size=8).hexdigest()
    if old := world.stands(fit, data_hash=digest):
        return old
    fitted = predictors.read(fit["artefact"])
    shuffled: dict[str, Any] = {"seed": fit["model_id"], "horizon": fit["horizon"]}
    known = np.max(rows.known_at).item()
    more = {
        "dates": days,
        "data_hash": digest,
        "known_at": known.replace(tzinfo=UTC),
    }
    clusters = importance.permutation(fitted, sample, groups=world.groups, **shuffled)
    return [
        *_rows(fit, "permutation", importance.permutation(fitted, sample, **shuffled), **more),
        *_rows(fit, "permutation_cluster", clusters, **more),
        *_rows(fit, "shap", importance.shap(fitted, sample), **more),
    ]


def _rows(
    fit: Mapping[str, Any], method: str, found: Sequence[Importance], **more: Any
) -> list[dict[str, Any]]:
    return [
        {
            "model": fit["model"], "model_id": fit["model_id"], "refit_date": fit["refit_date"],
            "method": method, "feature": i.feature, "value": i.value, "se": i.se, "rank": rank, **more,
        }
        for rank, i in importance.ranked(found)
    ]  # fmt: skip
