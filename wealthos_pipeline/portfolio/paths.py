"""Where a portfolio may stand in some sessions: its own returns resampled in blocks.

The stationary bootstrap (Politis & Romano 1994): blocks of returns of random, geometric length, its mean
that of Politis & White (2004), keep clusters of volatility shorter than a block and nothing longer. It knows no
loss larger than the past's, and no drift but the past's mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from wealthos_pipeline.core.data import contract
from wealthos_pipeline.portfolio.problem import Floats
from wealthos_pipeline.portfolio.returns import parts

HORIZONS = (21, 63, 126, 252)
DRAWS = 2000
SEED = 1994
LEAST = 250
"""Returns without which nothing is resampled."""


@dataclass(frozen=True, eq=False)
class Paths:
    """wealth: draws × (horizon + 1), 1 at the beginning. mean_block: sessions."""

    wealth: Floats
    mean_block: float

    def quantiles(self, session: int, at: Sequence[float]) -> Floats:
        """Quantiles of wealth after ``session`` sessions."""
        out: Floats = np.quantile(self.wealth[:, session], at)
        return out

    def drawdown(self, session: int) -> Floats:
        """Deepest drawdown of each path within ``session`` sessions; draws, ≤ 0."""
        path = self.wealth[:, : session + 1]
        out: Floats = (path / np.maximum.accumulate(path, axis=1) - 1.0).min(axis=1)
        return out

    def loss_probability(self, session: int) -> float:
        """Share of paths below 1 after ``session`` sessions."""
        return float((self.wealth[:, session] < 1.0).mean())


def paths(nav: pl.DataFrame, horizon: int, draws: int = DRAWS, seed: int = SEED) -> Paths:
    """Resampled wealth of one portfolio, from its ``return_net`` (nulls left out).

    The same arguments give the same bits. ValueError without two returns or with an argument below 1.
    """
    from wealthos_pipeline.stats.bootstrap import block_length

    r = nav.sort("date")["return_net"].drop_nulls().to_numpy()
    if len(r) < 2 or horizon < 1 or draws < 1:
        raise ValueError(
            f"expected 2 returns or more, horizon ≥ 1 and draws ≥ 1; found {len(r)}, {horizon}, {draws}"
        )
    # clusters are of volatility: blocks are as long as squared returns ask for, if that is longer
    block = max(block_length(r), block_length(r * r))
    picked = r[_indices(len(r), horizon, block, draws, seed)]
    wealth = np.ones((draws, horizon + 1))
    np.cumprod(1.0 + picked, axis=1, out=wealth[:, 1:])
    return Paths(wealth, block)


def table(nav: pl.DataFrame, horizons: Sequence[int] = HORIZONS) -> pl.DataFrame:
    """Rows of ``portfolio.paths``: one a portfolio with ``LEAST`` returns or more, and horizon."""
    terms = contract("portfolio.paths")
    rows = []
    for (mandate, run_kind), part in parts(nav):
        known = part.filter(pl.col("return_net").is_not_null())
        if known.height < LEAST or not known["return_net"].to_numpy().any():
            continue
        made = paths(known, max(horizons))
        for h in horizons:
            quantiles = made.quantiles(h, (0.05, 0.25, 0.5, 0.75, 0.95)).tolist()
            falls = np.quantile(made.drawdown(h), (0.05, 0.5)).tolist()
            names = [f"wealth_{q:02d}" for q in (5, 25, 50, 75, 95)]
            rows.append(
                {
                    "mandate": mandate,
                    "run_kind": run_kind,
                    "date": known["date"][-1],
                    "horizon": h,
                    "draws": DRAWS,
                    "mean_block": made.mean_block,
                    **dict(zip(names, quantiles, strict=True)),
                    "drawdown_05": falls[0],
                    "drawdown_50": falls[1],
                    "loss_probability": made.loss_probability(h),
                }
            )
    return terms.conform(pl.DataFrame(rows, schema=terms.schema()))


def _indices(n: int, horizon: int, mean_block: float, draws: int, seed: int) -> NDArray[np.int64]:
    """Rows of a series of n for paths of ``horizon``: ``stats.bootstrap.stationary_indices`` for a length
    that is not the series' own."""
    rng = np.random.default_rng(seed)
    starts = rng.integers(0, n, size=(draws, horizon))
    new = rng.random((draws, horizon)) < 1.0 / mean_block
    new[:, 0] = True
    at = np.arange(horizon)
    opened = np.maximum.accumulate(np.where(new, at, 0), axis=1)
    out: NDArray[np.int64] = (np.take_along_axis(starts, opened, axis=1) + at - opened) % n
    return out
