"""All that is said of predictions by date, from one look at them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, datetime

import polars as pl

from wealthos_pipeline.core.data import contract
from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.ml.evaluation.by_date import table as by_date
from wealthos_pipeline.ml.evaluation.calibration import table as by_bin
from wealthos_pipeline.ml.evaluation.lags import table as by_lag
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
        by_date(found, calendar, classifiers),
        by_lag(found, calendar),
        by_bin(found, calendar, classifiers),
    )
