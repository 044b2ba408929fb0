"""How good were the probabilities? Brier score, log loss and reliability, beside two forecasts that
anybody could have made: the base rate, which is the share of turbulent spans that each fit had seen, and
the nominal rate, which is the share that the definition aims at (a fifth). The harder of the two is the one
to beat: after a short history that holds a crisis the base rate is a poor forecast and flatters the model.
Spans of neighbouring dates share sessions, so whether a difference is more than luck is judged as for
labels that overlap (``stats.mean_test``).
"""

from __future__ import annotations

import numpy as np
import polars as pl

BINS = 10
NOMINAL = 0.2
TINY = 1e-6
"""Probabilities are taken this far from 0 and 1 in log losses."""


def quality(table: pl.DataFrame, *, nominal: float = NOMINAL) -> pl.DataFrame:
    """One row a horizon of ``models.turbulence``, over the dates with a probability and an outcome.

    ``first, last, dates, turbulent`` (share that was), ``mean_p``; ``brier, brier_base, brier_nominal``
    (mean squared error of the probability, of the base rate and of ``nominal``; 0 is best), ``skill`` =
    1 − brier / brier_base and ``skill_nominal``; ``t`` and ``p_value`` of the mean difference of the squared
    errors to the harder of the two; ``log_loss, log_loss_base`` (nats); ``calibration`` = mean_p less
    turbulent; ``verdict`` in words. No rows: no rows.
    """
    from wealthos_pipeline.stats.mean_test import mean_test

    out = []
    for horizon, rows in _judged(table):
        p, base, y = (rows[c].to_numpy() for c in ("p_turbulent", "base_rate", "outcome"))
        errors = [(x - y) ** 2 for x in (p, base, np.full(len(y), nominal))]
        brier, of_base, of_nominal = (float(np.mean(e)) for e in errors)
        harder = errors[1] if of_base <= of_nominal else errors[2]
        test = mean_test(harder - errors[0], horizon)
        out.append(
            {
                "horizon": horizon, "first": rows["date"][0], "last": rows["date"][-1],
                "dates": len(y), "turbulent": float(np.mean(y)), "mean_p": float(np.mean(p)),
                "brier": brier, "brier_base": of_base, "brier_nominal": of_nominal,
                "skill": 1.0 - brier / of_base if of_base > 0 else 0.0,
                "skill_nominal": 1.0 - brier / of_nominal, "t": test.t, "p_value": test.p_value,
                "log_loss": _log_loss(p, y), "log_loss_base": _log_loss(base, y),
                "calibration": float(np.mean(p) - np.mean(y)),
                "verdict": _verdict(brier, of_base, of_nominal, test.p_value),
            }
        )  # fmt: skip
    return pl.DataFrame(out, schema=_SCHEMA).with_columns(pl.col(pl.Float64).fill_nan(None))


def reliability(table: pl.DataFrame, bins: int = BINS) -> pl.DataFrame:
    """What was said beside what came: ``horizon, bin, low, high, dates, mean_p, turbulent``.

    Bins of equal width; those without a date are left out. Of a calibrated forecast ``turbulent`` is
    ``mean_p`` in each, up to chance.
    """
    parts = []
    for horizon, rows in _judged(table):
        place = (pl.col("p_turbulent") * bins).floor().clip(0, bins - 1).cast(pl.Int32)
        parts.append(
            rows.with_columns((place + 1).alias("bin"))
            .group_by("bin")
            .agg(
                pl.len().cast(pl.Int32).alias("dates"),
                pl.col("p_turbulent").mean().alias("mean_p"),
                pl.col("outcome").mean().alias("turbulent"),
            )
            .sort("bin")
            .select(
                pl.lit(horizon, pl.Int32).alias("horizon"),
                "bin",
                ((pl.col("bin") - 1) / bins).alias("low"),
                (pl.col("bin") / bins).alias("high"),
                "dates",
                "mean_p",
                "turbulent",
            )
        )
    kinds = {"horizon": pl.Int32, "bin": pl.Int32, "low": pl.Float64, "high": pl.Float64,
             "dates": pl.Int32, "mean_p": pl.Float64, "turbulent": pl.Float64}  # fmt: skip
    return pl.concat(parts) if parts else pl.DataFrame(schema=kinds)


_SCHEMA = {
    "horizon": pl.Int32, "first": pl.Date, "last": pl.Date, "dates": pl.Int32,
    **dict.fromkeys(("turbulent", "mean_p", "brier", "brier_base", "brier_nominal", "skill", "skill_nominal",
                     "t", "p_value", "log_loss", "log_loss_base", "calibration"), pl.Float64),
    "verdict": pl.String,
}  # fmt: skip


def _judged(table: pl.DataFrame) -> list[tuple[int, pl.DataFrame]]:
    """Horizon and its rows with probability and outcome, one a date, sorted."""
    rows = table.drop_nulls(["p_turbulent", "outcome"]).sort("horizon", "date", "known_at")
    rows = rows.unique(["horizon", "date"], keep="last", maintain_order=True)
    rows = rows.with_columns(pl.col("outcome").cast(pl.Float64))
    return [(int(h[0]), part) for h, part in rows.group_by("horizon", maintain_order=True)]


def _log_loss(p: np.ndarray, y: np.ndarray) -> float:
    p = np.clip(p, TINY, 1.0 - TINY)
    return float(-np.mean(y * np.log(p) + (1.0 - y) * np.log(1.0 - p)))


def _verdict(brier: float, of_base: float, of_nominal: float, p_value: float) -> str:
    if brier >= min(of_base, of_nominal):
        worse = "the base rate" if brier >= of_base else "the nominal rate"
        return f"no better than {worse}"
    if p_value < 0.05:
        return "better than both the base rate and the nominal rate"
    return "smaller errors than the base rate and the nominal rate, which chance could explain"
