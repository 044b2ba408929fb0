"""A result that is too good: whose doing it is, and when."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import polars as pl

from wealthos_pipeline.core.errors import ModelError
from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.ml.evaluation.by_date import ic_numbers, mean
from wealthos_pipeline.ml.evaluation.by_date import table as by_date
from wealthos_pipeline.ml.evaluation.sections import (
    Floats,
    Order,
    Sections,
    rank_correlation,
    sections,
)


@dataclass(frozen=True, slots=True)
class Investigation:
    """Whose doing a model's result is.

    by_name: ``instrument_id, dates, rank_ic`` (the name's part of the mean rank IC; the parts add up to it),
    ``spread`` (its part of the mean spread of top and bottom fifth, decimal), best first.
    by_year: ``year, dates, mean_rank_ic, t, mean_spread``.
    without: ``names`` left out, the best by rank IC first, ``mean_rank_ic, t, mean_spread`` of what is left;
    the first row leaves out none.
    """

    by_name: pl.DataFrame
    by_year: pl.DataFrame
    without: pl.DataFrame


def investigate(
    predictions: pl.DataFrame,
    prices: pl.DataFrame,
    calendar: TradingCalendar,
    horizon: int,
    model: str,
    universe: pl.DataFrame | None = None,
    *,
    known_until: datetime,
    best: tuple[int, ...] = (1, 5, 10),
) -> Investigation:
    """Contributions by name and year to the rank IC of ``model``, and what is left without the best names.

    best: how many of the names that contribute most are left out. Frames as for ``evaluate``. ModelError if the
    model has no prediction of this horizon.
    """
    mine = predictions.filter(pl.col("model") == model)
    found = sections(mine, prices, calendar, horizon, universe, known_until=known_until)
    if found is None:
        there = sorted(set(predictions["model"]))
        raise ModelError(
            f"no walk-forward prediction of model {model!r} over {horizon} sessions; there are "
            f"predictions of: {', '.join(there) or 'no model'}"
        )
    score, label = found.models[model], found.outcomes(horizon)
    by_name = _by_name(found, score, label)
    ranked = by_name["instrument_id"].to_list()
    rows = [_left(found, calendar, model, score, [])]
    rows += [_left(found, calendar, model, score, ranked[:k]) for k in best if k < len(ranked)]
    schema = {
        "names": pl.Int32,
        "mean_rank_ic": pl.Float64,
        "t": pl.Float64,
        "mean_spread": pl.Float64,
    }
    without = pl.DataFrame(rows, schema=schema)
    return Investigation(
        by_name,
        _by_year(by_date(found, calendar), horizon),
        without.with_columns(pl.col(pl.Float64).fill_nan(None)),
    )


def _by_name(found: Sections, score: Floats, label: Floats) -> pl.DataFrame:
    _, rank_ic, a, b = rank_correlation(score, label)
    dated = np.flatnonzero(np.isfinite(rank_ic))
    scale = np.sqrt((a * a).sum(axis=1) * (b * b).sum(axis=1))
    part = a[dated] * b[dated] / scale[dated, None]
    both = np.isfinite(score) & np.isfinite(label)
    side = np.zeros(score.shape)
    spread_dates = 0
    for rows, bottom, top in Order.of(np.where(both, score, np.nan)).fifths():
        side[rows[:, None], top] += 1.0 / top.shape[1]
        side[rows[:, None], bottom] -= 1.0 / bottom.shape[1]
        spread_dates += len(rows)
    earned = np.where(both, label, 0.0) * side
    seen = np.flatnonzero(both.any(axis=0))
    return pl.DataFrame(
        {
            "instrument_id": found.grid.ids.gather(seen),
            "dates": both[:, seen].sum(axis=0).astype(np.int32),
            "rank_ic": [math.fsum(part[:, i]) / max(len(dated), 1) for i in seen],
            "spread": [math.fsum(earned[:, i]) / max(spread_dates, 1) for i in seen],
        }
    ).sort("rank_ic", "instrument_id", descending=[True, False])


def _left(
    found: Sections, calendar: TradingCalendar, model: str, score: Floats, names: list[str]
) -> dict[str, float | int | str | None]:
    """The result without ``names``."""
    kept = ~found.grid.ids.is_in(names).to_numpy()
    rest = Sections(
        found.grid, found.horizon, {model: np.where(kept, score, np.nan)}, found.first, found.last
    )
    part = by_date(rest, calendar)
    numbers = ic_numbers(part, found.horizon)
    spread = mean(part["spread"].fill_null(math.nan).to_numpy())
    return {
        "names": len(names), "mean_rank_ic": numbers["mean_rank_ic"], "t": numbers["t"],
        "mean_spread": spread,
    }  # fmt: skip


def _by_year(evaluation: pl.DataFrame, horizon: int) -> pl.DataFrame:
    rows = []
    years = evaluation.sort("date").with_columns(pl.col("date").dt.year().alias("year"))
    for (year,), part in years.group_by("year", maintain_order=True):
        numbers = ic_numbers(part, horizon)
        rows.append(
            {
                "year": year, "dates": numbers["dates"], "mean_rank_ic": numbers["mean_rank_ic"],
                "t": numbers["t"], "mean_spread": mean(part["spread"].fill_null(math.nan).to_numpy()),
            }
        )  # fmt: skip
    schema = {"year": pl.Int32, "dates": pl.Int32} | dict.fromkeys(
        ("mean_rank_ic", "t", "mean_spread"), pl.Float64
    )
    return pl.DataFrame(rows, schema=schema).with_columns(pl.col(pl.Float64).fill_nan(None))
