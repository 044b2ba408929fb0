"""What must be true of fits and predictions that are written, as faults in words; none: all is well."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import polars as pl

if TYPE_CHECKING:
    from wealthos_pipeline.data.processors.calendar import TradingCalendar

_BY = ("model", "kind", "date")
TOLERANCE = 1e-6
"""Distance of a mean of z from 0 that is not rounding any more."""


def faults(
    predictions: pl.DataFrame, registry: pl.DataFrame, calendar: TradingCalendar
) -> Mapping[str, list[str]]:
    """All that is wrong, by check.

    predictions: ``models.predictions``, all or from some date on. registry: ``models.registry``, all.
    """
    return {
        "fits_on_record": on_record(predictions, registry),
        "fitted_before_predicting": fitted_before(predictions, registry),
        "labels_known_at_fit": labels_known(registry, calendar),
        "predictions_vary": vary(predictions),
        "z_centred": centred(predictions),
    }


def on_record(predictions: pl.DataFrame, registry: pl.DataFrame) -> list[str]:
    """Every prediction's fit is in the registry."""
    used = predictions.group_by("model_id").agg(pl.len(), pl.col("date").min())
    lost = used.join(registry, on="model_id", how="anti").sort("model_id")
    return [
        f"{n} predictions from {day} on name the fit {fit}, which models.registry does not have"
        for fit, n, day in lost.iter_rows()
    ]


def fitted_before(predictions: pl.DataFrame, registry: pl.DataFrame) -> list[str]:
    """No prediction is dated before the refit date of its fit."""
    used = predictions.group_by("model_id").agg(pl.col("date").min())
    rows = used.join(registry.select("model_id", "refit_date"), on="model_id")
    early = rows.filter(pl.col("date") < pl.col("refit_date")).sort("model_id")
    return [
        f"{fit} predicts {day} and was fitted on {refit}, later" for fit, day, refit in early.rows()
    ]


def labels_known(registry: pl.DataFrame, calendar: TradingCalendar) -> list[str]:
    """The label of the last training date had ended before the open of the refit date."""
    out = []
    rows = registry.select("model_id", "refit_date", "train_cutoff", "horizon").sort("model_id")
    for fit, refit, cutoff, horizon in rows.iter_rows():
        ends = calendar.offset(cutoff, 1 + horizon)
        if ends >= refit:
            out.append(
                f"{fit} was trained up to {cutoff}, whose label over {horizon} sessions ends on {ends}; "
                f"it was fitted before the open of {refit}"
            )
    return out


def vary(predictions: pl.DataFrame) -> list[str]:
    """Predictions of a date are numbers, and not all the same."""
    wrong = pl.col("prediction").is_nan() | pl.col("prediction").is_infinite()
    by_date = predictions.group_by(*_BY).agg(
        wrong.sum().alias("wrong"), (pl.col("prediction").n_unique() == 1).alias("flat"), pl.len()
    )
    out = []
    by_model = by_date.group_by("model", "kind").agg(
        pl.col("wrong").sum(),
        (pl.col("flat") & (pl.col("len") > 1)).sum().alias("flat"),
        pl.len().alias("dates"),
    )
    for model, kind, no_number, flat, dates in by_model.sort("model", "kind").iter_rows():
        if no_number:
            out.append(f"{model}, {kind}: {no_number} predictions are no finite numbers")
        if flat:
            out.append(f"{model}, {kind}: all names have the same prediction on {flat} of {dates} dates")  # fmt: skip
    return out


def centred(predictions: pl.DataFrame) -> list[str]:
    """z has a mean of 0 on every date."""
    means = predictions.group_by(*_BY).agg(pl.col("z").mean())
    off = means.filter(pl.col("z").abs() > TOLERANCE).sort(*_BY)
    return [f"{m}, {k}: z has a mean of {z:.3g} on {d}" for m, k, d, z in off.head(20).iter_rows()]
