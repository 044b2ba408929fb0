"""Daily returns of the factors of a stored model, and the exposures that they belong to.

The contract of factor attribution: what a portfolio earned on session s is ``Σ_k (w'B)_k f_k,s`` and the
rest, with f of ``portfolio.factor_returns`` on s and B of the last month end before s
(``exposures_on``); w are the weights at the close before s. B of the latest date of the data is not
used: it is not there the day after.

A fundamental model's factor returns are its own daily regressions, on exposures of the day before. Of
other models they are the expected factor returns given the names' returns,
``f = (F⁻¹ + B'D⁻¹B)⁻¹ B'D⁻¹ r`` with D the specific variances: weighted least squares, held to the size
that the model expects, so that it exists with as many factors as names. Components are those of their
own month: ``pc03`` need not mean the same in the next one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import polars as pl
from numpy.typing import NDArray

from wealthos_pipeline.core.data import contract
from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.portfolio.panel import Panel
from wealthos_pipeline.portfolio.risk.model import Floats, RiskModel
from wealthos_pipeline.portfolio.risk.window import returns


@dataclass(frozen=True, eq=False)
class Exposures:
    """Exposures that were known before a session. date: when they were estimated (a month end).

    B: names × factors; known: whether the model knows the name (others have its mean exposures).
    """

    date: date
    factors: tuple[str, ...]
    B: Floats
    known: NDArray[np.bool_]


def exposures_on(
    models: Mapping[date, RiskModel], day: date, ids: Sequence[str], calendar: TradingCalendar
) -> Exposures | None:
    """Exposures of ``ids`` for session ``day``: of the last month-end model before it, None without one."""
    before = [d for d in models if d < day and month_end(d, calendar)]
    if not before:
        return None
    model = models[max(before)]
    B, _, known = model.align(ids)
    return Exposures(model.date, model.factors, B, known)


def month_end(day: date, calendar: TradingCalendar) -> bool:
    """Whether ``day`` is the last session of its month."""
    after = calendar.offset(day, 1)
    return (after.year, after.month) != (day.year, day.month)


def of_models(
    models: Mapping[date, RiskModel],
    panel: Panel,
    calendar: TradingCalendar,
    *,
    start: date | None = None,
) -> pl.DataFrame:
    """Rows of ``portfolio.factor_returns`` of statistical models, sessions ≥ ``start``.

    Session s has those of the last month-end model before s, from the names of that model with a
    return on s. ``t`` is null: nothing is regressed freely. Call it on one BLAS thread.
    """
    table = contract("portfolio.factor_returns")
    daily = returns(panel)
    place = {name: i for i, name in enumerate(panel.ids)}
    ends = [d for d in sorted(models) if month_end(d, calendar)]
    parts = [table.empty()]
    for i, day in enumerate(ends):
        model = models[day]
        if not model.factors:
            continue
        first = panel.row(calendar.slot(day)) + 1
        stop = panel.row(calendar.slot(ends[i + 1])) + 1 if i + 1 < len(ends) else len(panel.dates)
        rows = [
            r
            for r in range(max(first, 0), min(stop, len(panel.dates)))
            if start is None or panel.dates[r] >= start
        ]
        columns = np.array([place.get(name, -1) for name in model.ids], dtype=np.int64)
        half = _half(model.F)
        values = [np.where(columns >= 0, daily[r, columns], np.nan) for r in rows]
        found = [
            (panel.dates[r], expected(model, half, value))
            for r, value in zip(rows, values, strict=True)
            if np.isfinite(value).any()
        ]
        k = len(model.factors)
        days = pl.Series("date", [d for d, _ in found], dtype=pl.Date)
        labels = pl.Series("factor", model.factors, dtype=pl.String)
        parts.append(
            pl.DataFrame(
                {
                    "date": days.gather(np.repeat(np.arange(len(found)), k)),
                    "factor": labels.gather(np.tile(np.arange(k), len(found))),
                    "value": np.array([f for _, f in found], dtype=np.float64).ravel(),
                    "t": pl.repeat(None, len(found) * k, dtype=pl.Float64, eager=True),
                }
            )
        )
    return table.conform(pl.concat(parts))


def expected(model: RiskModel, half: Floats, value: Floats) -> Floats:
    """``E[f | r]`` of one session; value: returns of the model's names, NaN where there is none."""
    there = np.isfinite(value)
    A = (model.B[there] @ half) / model.d[there, None]
    inner = np.eye(A.shape[1]) + A.T @ A
    out: Floats = half @ np.linalg.solve(inner, A.T @ (value[there] / model.d[there]))
    return out


def _half(F: Floats) -> Floats:
    """L with ``L L' = F``, also of a singular F."""
    values, vectors = np.linalg.eigh(F)
    return np.asarray(vectors * np.sqrt(np.maximum(values, 0.0)))
