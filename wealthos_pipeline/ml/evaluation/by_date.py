"""Information coefficients and what goes with them, by date."""

from __future__ import annotations

import math
from collections.abc import Collection
from datetime import date, datetime

import numpy as np
import polars as pl

from wealthos_pipeline.core.data import contract
from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.ml.evaluation.sections import (
    FIFTHS,
    Flags,
    Floats,
    Order,
    Sections,
    assemble,
    sections,
)
from wealthos_pipeline.stats.correlation import pearson, spearman
from wealthos_pipeline.stats.mean_test import MeanTest, mean_test

IC_COLUMNS = (
    "mean_ic", "mean_rank_ic", "icir", "t", "t_newey_west", "t_bootstrap", "t_non_overlapping", "p_value",
    "detectable_ic", "mean_spread",
)  # fmt: skip


def first_affected(calendar: TradingCalendar, start: date, horizon: int) -> date:
    """Earliest prediction date whose label a bar of ``start`` can change."""
    return calendar.offset(start, -(horizon + 1))


def evaluate(
    predictions: pl.DataFrame,
    prices: pl.DataFrame,
    calendar: TradingCalendar,
    horizon: int,
    universe: pl.DataFrame | None = None,
    *,
    start: date | None = None,
    known_until: datetime,
    classifiers: Collection[str] = (),
) -> pl.DataFrame:
    """``models.evaluation`` of the walk-forward predictions, for prediction dates ≥ ``start``.

    predictions: ``models.predictions``, from the session before ``start`` on (for the turnover); other
    kinds and horizons are left out. universe: ``date, instrument_id``; None: every predicted name.
    known_until: labels known later are not used. A date appears once at least one of its names has a
    label. classifiers: models whose predictions are probabilities of a return above 0;
    their outcome, for slope and brier, is whether it was.
    ic, rank_ic, slope: null with fewer than three names or without differences. spread: mean label of
    the top fifth by prediction minus that of the bottom fifth (n // 5 names each; ties by
    instrument_id); null with fewer than five names. turnover: of the top fifth of all names predicted,
    with or without a label; null without a fifth on this or on the session before.
    After new or changed bars from date D on, call with ``start=first_affected(calendar, D, horizon)``.
    """
    found = sections(
        predictions, prices, calendar, horizon, universe, start=start, known_until=known_until
    )
    return (
        contract("models.evaluation").empty()
        if found is None
        else table(found, calendar, classifiers)
    )


def table(
    found: Sections, calendar: TradingCalendar, classifiers: Collection[str] = ()
) -> pl.DataFrame:
    """``models.evaluation`` of ``found``."""
    label = found.outcomes(found.horizon)
    frames = []
    for model, score in found.models.items():
        both = np.isfinite(score) & np.isfinite(label)
        rows = np.flatnonzero(both.any(axis=1))
        rows = rows[rows >= found.first]
        if not len(rows):
            continue
        moved = turnover(score)
        measured = []
        for r in rows.tolist():
            x, y = score[r, both[r]], label[r, both[r]]
            up = model in classifiers
            line = _line(x, rose(y) if up else y)
            brier = brier_score(x, y) if up else math.nan
            measured.append((*_measure(x, y), moved[r], *line, brier))
        names = ("ic", "rank_ic", "spread", "turnover", "dispersion", "slope", "brier")
        columns = zip(names, np.array(measured).T, strict=True)
        frames.append(
            pl.DataFrame(
                {
                    "date": found.grid.days.gather(rows),
                    "n": both[rows].sum(axis=1).astype(np.int32),
                    "known_at": found.known_at(calendar, rows, 1 + found.horizon),
                    **{name: np.ascontiguousarray(values) for name, values in columns},
                }
            ).with_columns(
                pl.lit(model).alias("model"), pl.lit(found.horizon, pl.Int32).alias("horizon")
            )
        )
    return assemble("models.evaluation", frames)


def turnover(score: Floats) -> Floats:
    """Share of each session's top fifth that was not in that of the session before; NaN without one."""
    top: Flags = np.zeros(score.shape, dtype=bool)
    size = np.zeros(len(score))
    for rows, _, codes in Order.of(score).fifths():
        top[rows[:, None], codes] = True
        size[rows] = codes.shape[1]
    out = np.full(len(score), np.nan)
    held = size[1:] * (size[:-1] > 0)
    stayed = (top[1:] & top[:-1]).sum(axis=1)
    np.divide(size[1:] - stayed, held, out=out[1:], where=held > 0)
    return out


def rose(outcome: Floats) -> Floats:
    """What a classifier of direction foretells (``ml.labels``): 1 where the return is above 0, else 0."""
    return (outcome > 0).astype(np.float64)


def brier_score(probability: Floats, outcome: Floats) -> float:
    """Mean squared distance of the probabilities from what happened (Brier 1950)."""
    gap = probability - rose(outcome)
    return float(np.mean(gap * gap))


def ic_test(part: pl.DataFrame, horizon: int) -> MeanTest:
    """The careful test of the mean rank IC of one model's rows of ``models.evaluation``."""
    return mean_test(column(part, "rank_ic"), horizon)


def ic_numbers(part: pl.DataFrame, horizon: int) -> dict[str, float | int | str | None]:
    """What ``part`` (one model's rows of ``models.evaluation``, by date) says of the IC; NaN: unknown."""
    test = ic_test(part, horizon)
    rank_ic = column(part, "rank_ic")
    known = rank_ic[np.isfinite(rank_ic)]
    spread = float(np.std(known, ddof=1)) if len(known) > 1 else 0.0
    return {
        "dates": test.observations,
        "mean_ic": mean(column(part, "ic")),
        "mean_rank_ic": test.mean,
        "icir": test.mean / spread if spread > 0 else math.nan,
        "t": test.t,
        "t_newey_west": test.t_newey_west,
        "t_bootstrap": test.t_bootstrap,
        "t_non_overlapping": test.t_non_overlapping,
        "decided_by": test.decided_by or None,
        "p_value": test.p_value,
        "detectable_ic": test.detectable,
    }


def summary(evaluation: pl.DataFrame, horizon: int) -> pl.DataFrame:
    """One row a model: what its rows of ``models.evaluation`` say, with the tests of ``stats.mean_test``.

    Columns as those of ``models.summary`` up to ``detectable_ic``, and ``mean_spread`` (decimal, a
    horizon). The tests are of the rank IC; null where there are too few dates.
    """
    rows = []
    mine = evaluation.filter(pl.col("horizon") == horizon).sort("model", "date")
    for (model,), part in mine.group_by("model", maintain_order=True):
        numbers = ic_numbers(part, horizon)
        numbers["mean_spread"] = mean(column(part, "spread"))
        rows.append({"model": model, "horizon": horizon, **numbers})
    words: dict[str, type[pl.DataType]] = {
        "model": pl.String, "horizon": pl.Int32, "dates": pl.Int32, "decided_by": pl.String,
    }  # fmt: skip
    schema = words | dict.fromkeys(IC_COLUMNS, pl.Float64)
    return pl.DataFrame(rows, schema=schema).with_columns(pl.col(pl.Float64).fill_nan(None))


def column(frame: pl.DataFrame, name: str) -> Floats:
    """A column as Float64, null as NaN."""
    out: Floats = frame[name].cast(pl.Float64).fill_null(math.nan).to_numpy()
    return out


def mean(values: Floats) -> float:
    """Mean of what is known, summed exactly; NaN without any."""
    known = values[np.isfinite(values)]
    return math.fsum(known) / len(known) if len(known) else math.nan


def _measure(score: Floats, label: Floats) -> tuple[float, float, float]:
    spread = math.nan
    size = len(score) // FIFTHS
    if size:
        order = np.argsort(score, kind="stable")
        spread = float(np.mean(label[order[-size:]]) - np.mean(label[order[:size]]))
    return pearson(score, label), spearman(score, label), spread


def _line(x: Floats, y: Floats) -> tuple[float, float]:
    """Standard deviation of x (population), and the least-squares slope of y on it."""
    if len(x) < 3:
        return math.nan, math.nan
    if not np.ptp(x):
        return 0.0, math.nan
    e = x - np.mean(x)
    square = float(np.sum(e * e))
    if not square > 0:
        return 0.0, math.nan
    return math.sqrt(square / len(x)), float(np.sum(e * (y - np.mean(y)))) / square
