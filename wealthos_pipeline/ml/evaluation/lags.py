"""How long predictions foretell: rank IC with outcomes over more and more sessions."""

from __future__ import annotations

from datetime import date, datetime

import numpy as np
import polars as pl

from wealthos_pipeline.core.data import contract
from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.ml.evaluation.by_date import column
from wealthos_pipeline.ml.evaluation.sections import (
    Sections,
    assemble,
    rank_correlation,
    sections,
)
from wealthos_pipeline.stats.mean_test import mean_test

LAGS = (1, 2, 5, 10, 20, 40, 60)
"""Sessions of the outcomes, from the close of the session after the prediction on."""


def by_lag(
    predictions: pl.DataFrame,
    prices: pl.DataFrame,
    calendar: TradingCalendar,
    horizon: int,
    universe: pl.DataFrame | None = None,
    *,
    start: date | None = None,
    known_until: datetime,
) -> pl.DataFrame:
    """``models.evaluation_lags`` for prediction dates ≥ ``start``; arguments as of ``evaluate``.

    A date and lag appear once the outcome is known for at least one name; rank_ic is null for fewer
    than three names or without differences. A bar of D can change dates from 61 sessions before on.
    """
    found = sections(
        predictions, prices, calendar, horizon, universe, start=start, known_until=known_until
    )
    return contract("models.evaluation_lags").empty() if found is None else table(found, calendar)


def table(found: Sections, calendar: TradingCalendar) -> pl.DataFrame:
    """``models.evaluation_lags`` of ``found``."""
    frames = []
    for lag in LAGS:
        outcome = found.outcomes(lag)[found.first :]
        for model, score in found.models.items():
            n, rank_ic, _, _ = rank_correlation(score[found.first :], outcome)
            kept = np.flatnonzero(n)
            rows = kept + found.first
            frames.append(
                pl.DataFrame(
                    {
                        "date": found.grid.days.gather(rows),
                        "n": n[kept].astype(np.int32),
                        "rank_ic": rank_ic[kept],
                        "known_at": found.known_at(calendar, rows, 1 + lag),
                    }
                ).with_columns(
                    pl.lit(model).alias("model"),
                    pl.lit(found.horizon, pl.Int32).alias("horizon"),
                    pl.lit(lag, pl.Int32).alias("lag"),
                )
            )
    return assemble("models.evaluation_lags", frames)


def decay(lags: pl.DataFrame) -> pl.DataFrame:
    """``models.decay`` from all rows of ``models.evaluation_lags``.

    t, p_value: of ``stats.mean_test`` with the overlap that the lag has; null for too few dates. A model
    and lag without a single rank IC has no row.
    """
    terms = contract("models.decay")
    rows = []
    known = lags.filter(pl.col("rank_ic").is_not_null()).sort("model", "horizon", "lag", "date")
    for (model, horizon, lag), part in known.group_by(
        "model", "horizon", "lag", maintain_order=True
    ):
        test = mean_test(column(part, "rank_ic"), int(str(lag)))
        rows.append(
            {
                "model": model, "horizon": horizon, "lag": lag, "dates": test.observations,
                "mean_rank_ic": test.mean, "t": test.t, "p_value": test.p_value,
                "known_at": part["known_at"].max(),
            }
        )  # fmt: skip
    frame = pl.DataFrame(rows, schema=terms.schema())
    return terms.conform(frame.with_columns(pl.col(pl.Float64).fill_nan(None)))
