"""A factor's spread as a strategy that was picked among all that were tried: PSR and deflated Sharpe ratio.

The spread of h sessions is given every session, so that neighbours overlap: its ratio is by h sessions, and only
every h-th date counts as an observation. Nothing is annualised. See ``stats.sharpe`` and ``stats.trials``.
"""

from __future__ import annotations

import math

import numpy as np
import polars as pl

from wealthos_pipeline.stats import trials as stats
from wealthos_pipeline.stats.sharpe import judge

COLUMNS = ("psr", "dsr", "trials", "effective_trials")


def with_deflated(
    summary: pl.DataFrame, performance: pl.DataFrame, *, costs_bp: float, further: int = 0
) -> pl.DataFrame:
    """``summary`` with ``psr, dsr, trials, effective_trials`` of each factor's spread after costs.

    summary: ``factors.summary`` of all factors. performance: ``factors.performance``. costs_bp: one-way; two legs pay
    it where they are renewed. further: what else was tried (models). Trials are the factors of the summary and
    ``further``; those whose spreads are not known count as independent. Null where a factor has no spread.
    """
    tried = summary["factor"].n_unique() + further
    parts = []
    keys = ("universe", "horizon")
    net = pl.col("spread") - 4.0 * costs_bp / 1e4 * pl.col("renewal")
    rows = performance.select(*keys, "factor", "date", net.alias("net")).drop_nulls("net")
    for (universe, h), part in rows.partition_by(keys, as_dict=True).items():
        wide = part.pivot("factor", index="date", values="net").sort("date")
        names = sorted(c for c in wide.columns if c != "date")
        x = wide.select(pl.col(names).fill_null(math.nan)).to_numpy()
        apart = x[::h]
        effective = stats.effective_trials(apart) + (tried - len(names))
        long = stats.long_enough(x)
        variance = stats.trial_variance(
            stats.ratios(x[:, long]),
            mean_correlation=stats.mean_correlation(apart[:, long]),
            periods=stats.typical_periods(apart[:, long]),
        )
        judged = [judge(c, trials=effective, variance=variance, spacing=h) for c in x.T]
        parts.append(
            pl.DataFrame(
                {
                    "factor": names,
                    "psr": np.array([j.psr for j in judged]),
                    "dsr": np.array([j.dsr for j in judged]),
                }
            ).with_columns(
                pl.lit(universe, pl.String).alias("universe"),
                pl.lit(h, pl.Int32).alias("horizon"),
                pl.lit(tried, pl.Int32).alias("trials"),
                pl.lit(effective, pl.Float64).alias("effective_trials"),
            )
        )
    if not parts:
        return summary
    found = pl.concat(parts).with_columns(pl.col("psr", "dsr").fill_nan(None))
    left = summary.drop(COLUMNS, strict=False)
    return left.join(found, on=["factor", *keys], how="left", maintain_order="left")
