"""All that is said of predictions by date, from one look at them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, datetime

import polars as pl

from wealthos_pipeline.core.data import contract
from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.ml.evaluation import by_date, calibration, lags
from wealthos_pipeline.ml.evaluation.sections import sections


@dataclass(frozen=True, slots=True)
class ByDate:
    """``models.evaluation``, ``models.evaluation_lags`` and ``models.evaluation_bins``."""

    evaluation: pl.DataFrame
    lags: pl.DataFrame
    bins: pl.DataFrame


def judge_by_date(
    predictions: pl.DataFrame,
    prices: pl.DataFrame,
    calendar: TradingCalendar,
    horizon: int,
    universe: pl.DataFrame | None = None,
    *,
    start: date | None = None,
    known_until: datetime,
    classifiers: Collection[str] = (),
) -> ByDate:
    """``evaluate``, ``by_lag`` and ``bins`` with the same arguments."""
    found = sections(
        predictions, prices, calendar, horizon, universe, start=start, known_until=known_until
    )
    if found is None:
        names = ("evaluation", "evaluation_lags", "evaluation_bins")
        return ByDate(*(contract(f"models.{n}").empty() for n in names))
    return ByDate(
        by_date.table(found, calendar, classifiers),
        lags.table(found, calendar),
        calibration.table(found, calendar, classifiers),
    )
