"""Whether what is predicted is what comes, on average: tenths of each date's names by prediction.

A prediction is a cross-section's: it says who will do better than whom. So outcomes are returns less
their mean over the date's names, and the tenths are those of the date. Of a classifier, whose prediction is the
probability of a return above 0, the outcome is whether it was: mean prediction and mean outcome of a tenth
are its reliability.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from datetime import date, datetime

import numpy as np
import polars as pl

from wealthos_pipeline.core.data import contract
from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.ml.evaluation.by_date import column, rose
from wealthos_pipeline.ml.evaluation.sections import (
    FIFTHS,
    Floats,
    Ints,
    Order,
    Sections,
    assemble,
    sections,
)
from wealthos_pipeline.stats.mean_test import mean_test

BINS = 10


def bins(
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
    """``models.evaluation_bins`` for prediction dates ≥ ``start``; arguments as of ``evaluate``.

    The i-th of n names by prediction (from 0; ties by instrument_id) is in bin ``10 i // n + 1``, so fewer
    than ten names leave bins empty. No rows where fewer than five names have an outcome, or all
    predictions are the same.
    """
    found = sections(
        predictions, prices, calendar, horizon, universe, start=start, known_until=known_until
    )
    if found is None:
        return contract("models.evaluation_bins").empty()
    return table(found, calendar, classifiers)


def table(
    found: Sections, calendar: TradingCalendar, classifiers: Collection[str] = ()
) -> pl.DataFrame:
    """``models.evaluation_bins`` of ``found``."""
    label = found.outcomes(found.horizon)[found.first :]
    frames = []
    for model, every in found.models.items():
        score = every[found.first :]
        both = np.isfinite(score) & np.isfinite(label)
        order = Order.of(np.where(both, score, np.nan))
        flat = np.nanmax(np.where(both, score, -np.inf), axis=1, initial=-np.inf) <= np.nanmin(
            np.where(both, score, np.inf), axis=1, initial=np.inf
        )
        days = np.flatnonzero((order.n >= FIFTHS) & ~flat)
        if not len(days):
            continue
        day, place, x, y = _in_order(days, order, score, label)
        n = order.n[days]
        begin = np.concatenate([[0], np.cumsum(n)[:-1]])
        outcome = rose(y) if model in classifiers else _less_mean(y, begin, n)
        bin_ = place * BINS // np.repeat(n, n)
        edge = np.flatnonzero(np.diff(day * BINS + bin_, prepend=-1))
        size = np.diff(edge, append=len(day))
        rows = days[day[edge]] + found.first
        frames.append(
            pl.DataFrame(
                {
                    "date": found.grid.days.gather(rows),
                    "bin": (bin_[edge] + 1).astype(np.int32),
                    "n": size.astype(np.int32),
                    "mean_prediction": np.add.reduceat(x, edge) / size,
                    "mean_outcome": np.add.reduceat(outcome, edge) / size,
                    "known_at": found.known_at(calendar, rows, 1 + found.horizon),
                }
            ).with_columns(
                pl.lit(model).alias("model"), pl.lit(found.horizon, pl.Int32).alias("horizon")
            )
        )
    return assemble("models.evaluation_bins", frames)


def calibrate(by_date: pl.DataFrame) -> pl.DataFrame:
    """``models.calibration`` from all rows of ``models.evaluation_bins``.

    Every date counts the same. se: the largest of the three standard errors of ``stats.mean_test``, which
    know that outcomes overlap; null for fewer than two dates.
    """
    terms = contract("models.calibration")
    rows = []
    for (model, horizon, bin_), part in by_date.sort("model", "horizon", "bin", "date").group_by(
        "model", "horizon", "bin", maintain_order=True
    ):
        predicted = column(part, "mean_prediction")
        test = mean_test(column(part, "mean_outcome"), int(str(horizon)))
        rows.append(
            {
                "model": model, "horizon": horizon, "bin": bin_, "n": int(part["n"].sum()),
                "mean_prediction": math.fsum(predicted) / len(predicted),
                "mean_outcome": test.mean, "se": test.se, "known_at": part["known_at"].max(),
            }
        )  # fmt: skip
    frame = pl.DataFrame(rows, schema=terms.schema())
    return terms.conform(frame.with_columns(pl.col("se").fill_nan(None)))


def pooled_slope(evaluation: pl.DataFrame) -> float:
    """Slope of the outcome on the prediction within dates, all dates together (one model's rows of
    ``models.evaluation``): ``Σ n d² b / Σ n d²`` of their dispersions d and slopes b. NaN without any."""
    n, d, b = (column(evaluation, c) for c in ("n", "dispersion", "slope"))
    known = np.isfinite(d) & np.isfinite(b)
    weight = (n * d * d)[known]
    total = math.fsum(weight)
    return math.fsum(weight * b[known]) / total if total > 0 else math.nan


def _in_order(
    days: Ints, order: Order, score: Floats, label: Floats
) -> tuple[Ints, Ints, Floats, Floats]:
    """Names of ``days`` one after the other, by prediction: number of the day, place in it, prediction
    and outcome."""
    n = order.n[days]
    day = np.repeat(np.arange(len(days)), n)
    place = np.arange(len(day)) - np.repeat(np.cumsum(n) - n, n)
    code = order.order[days[day], place]
    return day, place, score[days[day], code], label[days[day], code]


def _less_mean(y: Floats, begin: Ints, n: Ints) -> Floats:
    out: Floats = y - np.repeat(np.add.reduceat(y, begin) / n, n)
    return out
