"""Predictions as they were issued against what came: the record that no recomputation can flatter."""

from __future__ import annotations

import math
from datetime import date, datetime
from itertools import pairwise

import numpy as np
import polars as pl

from wealthos_pipeline.core.data import contract
from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.stats.correlation import spearman
from wealthos_pipeline.stats.mean_test import mean_test

REACH = 254
"""Sessions before new bars whose outcomes can become known: the longest horizon of a model, and 2."""


def live(
    issued: pl.DataFrame,
    prices: pl.DataFrame,
    evaluation: pl.DataFrame,
    calendar: TradingCalendar,
    *,
    known_until: datetime,
    start: date | None = None,
) -> pl.DataFrame:
    """``models.live`` of prediction dates ≥ ``start``.

    issued: ``record.issued``; the predictions of each model, horizon and date as they were issued first.
    What was issued after the close of t + 1, when a trade on it would have been filled, was issued with
    hindsight and does not count. prices: ``clean.prices`` from the first date on. evaluation:
    ``models.evaluation``, for what was expected: the mean walk-forward rank IC known at ``issued_at``.
    known_until: labels known later are not used. After new or changed bars from date D on, call with a start
    ``REACH`` sessions before D. rank_ic: null with fewer than three names or without differences.
    """
    from wealthos_pipeline.factors.labels import forward_returns

    table = contract("models.live")
    said = issued.filter(
        (pl.col("kind") == "prediction")
        & (pl.col("name") == "prediction")
        & pl.col("value").is_finite()
        & (pl.col("date") >= (start or date.min))
        & (pl.col("issued_at") <= known_until)
    ).rename({"mandate": "model"})
    fill = calendar.frame().select(pl.col("date"), pl.col("known_at").shift(-1).alias("filled_at"))
    key = ["model", "horizon", "date"]
    first = (
        said.select(*key, "run_id", "issued_at")
        .unique()
        .sort(*key, "issued_at", "run_id")
        .unique(key, keep="first", maintain_order=True)
        .join(fill, on="date", how="inner")
        .filter(pl.col("issued_at") < pl.col("filled_at"))
    )
    said = said.join(first, on=[*key, "run_id", "issued_at"], how="inner")
    parts = [table.empty()]
    for (horizon,), rows in said.sort(*key, "instrument_id").group_by(
        "horizon", maintain_order=True
    ):
        labels = forward_returns(prices, int(str(horizon)), calendar, start=start).filter(
            (pl.col("known_at") <= known_until) & pl.col("label").is_finite()
        )
        both = rows.join(labels, on=["date", "instrument_id"], how="inner").sort(
            "model", "date", "instrument_id"
        )
        if both.height:
            parts.append(_measured(both, evaluation).select(table.column_names))
    return table.conform(pl.concat(parts, how="vertical_relaxed"))


def beside(live: pl.DataFrame, evaluation: pl.DataFrame) -> pl.DataFrame:
    """One row a model and horizon that was live: what came beside what the walk-forward promised.

    Columns: ``model, horizon, dates, mean_rank_ic, t`` (careful, against 0), ``detectable``,
    ``expected`` (mean walk-forward rank IC), ``gap`` (live less expected), ``t_gap`` (of the gap, by the
    standard error of the live mean alone, as the walk-forward is long). NaN are null.
    """
    rows = []
    for (model, horizon), part in live.sort("model", "horizon", "date").group_by(
        "model", "horizon", maintain_order=True
    ):
        test = mean_test(part["rank_ic"].fill_null(math.nan).to_numpy(), int(str(horizon)))
        walked = evaluation.filter((pl.col("model") == model) & (pl.col("horizon") == horizon))
        promised = _mean(walked["rank_ic"])
        gap = test.mean - promised
        rows.append(
            {
                "model": model,
                "horizon": horizon,
                "dates": test.observations,
                "mean_rank_ic": test.mean,
                "t": test.t,
                "detectable": test.detectable,
                "expected": promised,
                "gap": gap,
                "t_gap": gap / test.se if test.se > 0 else math.nan,
            }
        )
    floats = ("mean_rank_ic", "t", "detectable", "expected", "gap", "t_gap")
    schema = {"model": pl.String, "horizon": pl.Int32, "dates": pl.Int32} | dict.fromkeys(
        floats, pl.Float64
    )
    return pl.DataFrame(rows, schema=schema).with_columns(pl.col(*floats).fill_nan(None))


def _measured(rows: pl.DataFrame, evaluation: pl.DataFrame) -> pl.DataFrame:
    """n and rank IC of each model and date; rows sorted by model, date, instrument."""
    groups = rows.select(pl.struct("model", "date").rle_id())["model"].to_numpy()
    edges = np.flatnonzero(np.diff(groups, prepend=-1, append=groups[-1] + 1))
    score, label = rows["value"].to_numpy(), rows["label"].to_numpy()
    measured = [(int(b - a), spearman(score[a:b], label[a:b])) for a, b in pairwise(edges)]
    out = rows.group_by("model", "date", maintain_order=True).agg(
        pl.col("horizon", "run_id", "issued_at").first(), pl.col("known_at").max()
    )
    expected = [
        _mean(
            evaluation.filter(
                (pl.col("model") == model)
                & (pl.col("horizon") == horizon)
                & (pl.col("known_at") <= at)
            )["rank_ic"]
        )
        for model, horizon, at in out.select("model", "horizon", "issued_at").iter_rows()
    ]
    return out.with_columns(
        pl.Series("n", [m[0] for m in measured], dtype=pl.Int32),
        pl.Series("rank_ic", [m[1] for m in measured], dtype=pl.Float64).fill_nan(None),
        pl.Series("expected_rank_ic", expected, dtype=pl.Float64).fill_nan(None),
    )


def _mean(values: pl.Series) -> float:
    x = values.drop_nulls().drop_nans().to_numpy()
    return math.fsum(x) / len(x) if len(x) else math.nan
