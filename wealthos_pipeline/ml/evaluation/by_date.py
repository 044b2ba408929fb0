"""How good the out-of-sample predictions were."""

from __future__ import annotations

from datetime import date, datetime
from itertools import pairwise

import numpy as np
import polars as pl

from wealthos_pipeline.core.data import contract
from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.stats.correlation import pearson, spearman
from wealthos_pipeline.stats.newey_west import (
    conservative_tstat,
    detectable_mean,
    mean_tstat,
    non_overlapping_tstat,
)

FIFTHS = 5


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
) -> pl.DataFrame:
    """``models.evaluation`` of the walk-forward predictions, for prediction dates ≥ ``start``.

    predictions: ``models.predictions``; other kinds and horizons are left out. universe:
    ``date, instrument_id``; None: every predicted name. known_until: labels known later are not
    used. A date appears once at least one of its names has a label.
    ic, rank_ic: null with fewer than three names or without differences. spread: mean label of the
    top fifth by prediction minus that of the bottom fifth (n // 5 names each; ties by
    instrument_id); null with fewer than five names.
    After new or changed bars from date D on, call with ``start=first_affected(calendar, D, horizon)``.
    """
    from wealthos_pipeline.factors.labels import forward_returns

    table = contract("models.evaluation")
    rows = predictions.filter(
        (pl.col("kind") == "walk_forward")
        & (pl.col("horizon") == horizon)
        & pl.col("prediction").is_finite()
        & (pl.col("date") >= (start or date.min))
    ).select("model", "date", "instrument_id", "prediction")
    if universe is not None:
        members = universe.select("date", "instrument_id").unique()
        rows = rows.join(members, on=["date", "instrument_id"], how="semi")
    labels = forward_returns(prices, horizon, calendar, start=start).filter(
        (pl.col("known_at") <= known_until) & pl.col("label").is_finite()
    )
    rows = rows.join(labels, on=["date", "instrument_id"], how="inner").sort(
        "model", "date", "instrument_id"
    )
    if rows.is_empty():
        return table.empty()
    groups = rows.select(pl.struct("model", "date").rle_id())["model"].to_numpy()
    edges = np.flatnonzero(np.diff(groups, prepend=-1, append=groups[-1] + 1))
    score = rows["prediction"].to_numpy()
    label = rows["label"].to_numpy()
    measured = [(b - a, *_measure(score[a:b], label[a:b])) for a, b in pairwise(edges)]
    known = rows.group_by("model", "date", maintain_order=True).agg(pl.col("known_at").max())
    out = known.with_columns(
        pl.lit(horizon, dtype=pl.Int32).alias("horizon"),
        *(
            pl.Series(name, [m[i] for m in measured], dtype=pl.Float64).fill_nan(None)
            for i, name in enumerate(("n", "ic", "rank_ic", "spread"))
        ),
    ).with_columns(pl.col("n").cast(pl.Int32))
    return table.conform(out.select(table.column_names))


def summary(evaluation: pl.DataFrame, horizon: int) -> pl.DataFrame:
    """One row a model: what its evaluation says, with t-statistics that overlap does not flatter.

    Columns: ``model, horizon, dates, mean_ic, mean_rank_ic, t_newey_west`` (2h lags),
    ``t_non_overlapping, t_conservative`` (the one nearer 0), ``detectable_ic`` (2.8 of the larger
    standard error: the smallest mean rank IC that this panel can show), ``mean_spread`` (decimal, a
    horizon). The t-statistics are of the rank IC; null where there are too few dates.
    """
    rows = []
    for (model,), part in (
        evaluation.filter(pl.col("horizon") == horizon)
        .sort("model", "date")
        .group_by("model", maintain_order=True)
    ):
        rank_ic = _column(part, "rank_ic")
        mean, se, t = conservative_tstat(rank_ic, horizon)
        rows.append(
            {
                "model": model,
                "horizon": horizon,
                "dates": int(np.isfinite(rank_ic).sum()),
                "mean_ic": mean_tstat(_column(part, "ic"), 0)[0],
                "mean_rank_ic": mean,
                "t_newey_west": mean_tstat(rank_ic, 2 * horizon)[2],
                "t_non_overlapping": non_overlapping_tstat(rank_ic, horizon)[2],
                "t_conservative": t,
                "detectable_ic": detectable_mean(se),
                "mean_spread": mean_tstat(_column(part, "spread"), 0)[0],
            }
        )
    floats = (
        "mean_ic", "mean_rank_ic", "t_newey_west", "t_non_overlapping", "t_conservative",
        "detectable_ic", "mean_spread",
    )  # fmt: skip
    schema = {"model": pl.String, "horizon": pl.Int32, "dates": pl.Int32} | dict.fromkeys(
        floats, pl.Float64
    )
    return pl.DataFrame(rows, schema=schema).with_columns(pl.col(*floats).fill_nan(None))


def _measure(score: np.ndarray, label: np.ndarray) -> tuple[float, float, float]:
    spread = float("nan")
    size = len(score) // FIFTHS
    if size:
        order = np.argsort(score, kind="stable")
        spread = float(np.mean(label[order[-size:]]) - np.mean(label[order[:size]]))
    return pearson(score, label), spearman(score, label), spread


def _column(frame: pl.DataFrame, name: str) -> np.ndarray:
    return frame[name].fill_null(float("nan")).to_numpy()
