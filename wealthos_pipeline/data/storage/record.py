"""The record of what a run issued: numbers as they left the house, never rewritten (DESIGN §6)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import polars as pl

from wealthos_pipeline.core.data import contract


def rows(frames: Mapping[str, pl.DataFrame], *, run_id: str, issued_at: datetime) -> pl.DataFrame:
    """``record.issued`` rows of one run.

    frames: the latest session's rows of models.predictions, portfolio.targets, portfolio.trades,
    portfolio.risk and monitor.alerts; absent ones issue nothing. Predictions and targets count
    when they are live; risk forecasts count for every mandate's backtest portfolio.
    """
    issued = contract("record.issued")
    parts = [
        make(frames[name])
        for name, make in _MAKERS.items()
        if name in frames and frames[name].height
    ]
    if not parts:
        return issued.empty()
    body = pl.concat(parts, how="diagonal_relaxed").with_columns(
        pl.lit(run_id).alias("run_id"), pl.lit(issued_at).alias("issued_at")
    )
    return issued.conform(body)


def _numbers(frame: pl.DataFrame, names: tuple[str, ...], index: list[str]) -> pl.DataFrame:
    long = frame.unpivot(on=list(names), index=index, variable_name="name", value_name="number")
    return long.rename({"number": "value"})


def _predictions(frame: pl.DataFrame) -> pl.DataFrame:
    live = frame.filter(pl.col("kind") == "live").with_columns(pl.col("model").alias("mandate"))
    out = _numbers(
        live, ("prediction", "z"), ["mandate", "instrument_id", "horizon", "date", "model_id"]
    )
    return out.rename({"model_id": "text"}).with_columns(pl.lit("prediction").alias("kind"))


def _targets(frame: pl.DataFrame) -> pl.DataFrame:
    live = frame.filter(pl.col("run_kind") == "live")
    out = _numbers(live, ("weight", "weight_before", "alpha"), ["mandate", "instrument_id", "date"])
    return out.with_columns(pl.lit("target").alias("kind"), pl.lit(0, pl.Int32).alias("horizon"))


def _trades(frame: pl.DataFrame) -> pl.DataFrame:
    live = frame.filter(pl.col("run_kind") == "live").with_columns(pl.col("reason").alias("text"))
    out = _numbers(live, ("value", "units", "cost"), ["mandate", "instrument_id", "date", "text"])
    return out.with_columns(pl.lit("trade").alias("kind"), pl.lit(0, pl.Int32).alias("horizon"))


def _risk(frame: pl.DataFrame) -> pl.DataFrame:
    out = _numbers(
        frame,
        ("volatility", "var_95", "var_99", "cvar_95", "cvar_99"),
        ["mandate", "run_kind", "date"],
    )
    return out.rename({"run_kind": "text"}).with_columns(
        pl.lit("risk").alias("kind"),
        pl.lit("").alias("instrument_id"),
        pl.lit(1, pl.Int32).alias("horizon"),
    )


def _alerts(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.select(
        pl.lit("alert").alias("kind"),
        pl.lit("").alias("mandate"),
        pl.col("subject").alias("instrument_id"),
        pl.lit(0, pl.Int32).alias("horizon"),
        "date",
        pl.col("alert").alias("name"),
        "value",
        (pl.col("severity") + ": " + pl.col("text")).alias("text"),
    )


_MAKERS = {
    "models.predictions": _predictions,
    "portfolio.targets": _targets,
    "portfolio.trades": _trades,
    "portfolio.risk": _risk,
    "monitor.alerts": _alerts,
}
