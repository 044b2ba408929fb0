"""How far the Sharpe ratio of a backtest can be believed, after all that was tried.

By session, not annualised: ``psr`` is the probability that the true ratio is above 0, ``dsr`` that it is above what the
best of ``effective_trials`` worthless portfolios would show (``stats.sharpe``, ``stats.trials``). Over the risk-free
rate where one is given, on the sessions where it is known.
"""

from __future__ import annotations

import math

import numpy as np
import polars as pl

from wealthos_pipeline.portfolio.returns import parts
from wealthos_pipeline.stats import trials as stats
from wealthos_pipeline.stats.sharpe import Judgement, judge

COLUMNS: dict[str, type[pl.DataType]] = {
    "psr": pl.Float64,
    "dsr": pl.Float64,
    "trials": pl.Int64,
    "effective_trials": pl.Float64,
}
BENCHMARK = "equal_weight"
"""Nobody picked it: it has a ``psr`` and nothing to be deflated by."""

Key = tuple[str, str]


def judged(
    nav: pl.DataFrame, rf: pl.DataFrame | None = None, *, tried: int = 0
) -> dict[Key, dict[str, object]]:
    """``COLUMNS`` by (mandate, run kind) of ``nav``; None where they cannot be had.

    tried: configurations that a portfolio was picked among (``ml.trials.counted``); at least those in ``nav`` count.
    Portfolios of one run kind are trials of each other, by the correlation of their returns; what was tried beyond
    them counts as independent. One that never held anything (limits that contradict each other) is none: cash less
    the risk-free rate has a ratio, and an absurd one.
    """
    series = {key: _excess(part, rf) for key, part in parts(nav)}
    held = {key for key, part in parts(nav) if part["return_net"].drop_nulls().n_unique() > 1}
    out: dict[Key, dict[str, object]] = {}
    for kind in dict.fromkeys(kind for _, kind in series):
        mine = {k: s for k, s in series.items() if k[1] == kind and k[0] != BENCHMARK and k in held}
        by = stats.Deflation(max(tried, 1), 1.0, 0.0)
        if mine:
            further = max(tried - len(mine), 0)
            by = stats.deflation(_matrix(list(mine.values())), further=further)
        for key, returns in series.items():
            if key[1] != kind:
                continue
            picked = key in mine
            if key not in held:
                out[key] = dict.fromkeys(COLUMNS)
                continue
            found = judge(
                returns["r"].to_numpy(),
                trials=by.effective if picked else 1.0,
                variance=by.variance if picked else 0.0,
            )
            out[key] = _row(found, by, picked=picked)
    return out


def _row(found: Judgement, by: stats.Deflation, *, picked: bool) -> dict[str, object]:
    deflated = picked and math.isfinite(found.dsr)
    return {
        "psr": found.psr if math.isfinite(found.psr) else None,
        "dsr": found.dsr if deflated else None,
        "trials": by.raw if picked else None,
        "effective_trials": by.effective if picked else None,
    }


def _excess(part: pl.DataFrame, rf: pl.DataFrame | None) -> pl.DataFrame:
    """``date, r`` of the sessions with a return, in order."""
    own = part.select("date", pl.col("return_net").alias("r")).drop_nulls().sort("date")
    if rf is None:
        return own
    both = own.join(rf.select("date", "rf"), on="date", how="inner").drop_nulls().sort("date")
    return both.select("date", pl.col("r") - pl.col("rf"))


def _matrix(series: list[pl.DataFrame]) -> np.ndarray:
    """(T, k) over the dates that any has, NaN where one has none."""
    days = pl.concat([s.select("date") for s in series]).unique().sort("date")
    columns = [
        days.join(s, on="date", how="left", maintain_order="left")["r"].fill_null(math.nan).to_numpy()
        for s in series
    ]  # fmt: skip
    return np.column_stack(columns)
