"""What is learnt of the forward return: a target for each row of a cross-section.

The forward return itself, its interval and when it is known are ``factors.labels``'. Here it becomes the
label that a specification names. Everything is a function of one date's labelled names, and of the
volatility known at that date where one is needed.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from wealthos_pipeline.core.errors import ModelError
from wealthos_pipeline.core.model import LabelKind
from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.stats.correlation import average_ranks

VOLATILITY_SESSIONS = 63
VOLATILITY_MIN = 21
"""A trailing volatility is that of the daily returns of 63 sessions, of which 21 at least are there."""

CLIP = 4.0
"""A return scaled by volatility is held within so many standard deviations: one crash is one crash."""


def target(
    kind: LabelKind, outcome: np.ndarray, horizon: int, volatility: np.ndarray | None = None
) -> np.ndarray:
    """The label of each name of one cross-section, float64.

    outcome: forward returns over ``horizon`` sessions, decimal. volatility: of daily returns, decimal,
    above 0; needed for ``volatility_scaled``.

    - ``forward``: the return itself; ``excess``: less the mean of the cross-section;
    - ``rank``: Gaussian rank, mean 0 and standard deviation 1;
    - ``volatility_scaled``: excess / (volatility · √horizon), held within ± ``CLIP``;
    - ``direction``: 1 where the return is above 0, else 0.
    """
    if kind == "rank":
        return gaussian_rank(outcome)
    if kind == "forward":
        return outcome.astype(np.float64)
    if kind == "direction":
        return (outcome > 0).astype(np.float64)
    excess = outcome - np.mean(outcome)
    if kind == "excess":
        return np.asarray(excess)
    if volatility is None:
        raise ModelError("label volatility_scaled needs the trailing volatility of each name")
    return np.clip(excess / (volatility * np.sqrt(horizon)), -CLIP, CLIP)


def gaussian_rank(values: np.ndarray) -> np.ndarray:
    """Normal scores Φ⁻¹((rank − ½) / n) of one cross-section, scaled to standard deviation 1.

    Ties share their average rank; a cross-section without differences is all 0. float64.
    """
    from scipy.special import ndtri

    if not len(values) or not np.ptp(values):
        return np.zeros(len(values))
    score = ndtri((average_ranks(values) - 0.5) / len(values))
    score -= np.mean(score)
    out: np.ndarray = score / np.sqrt(np.mean(score * score))
    return out


def trailing_volatility(
    prices: pl.DataFrame, calendar: TradingCalendar, dates: pl.Series
) -> pl.DataFrame:
    """Standard deviation (n − 1) of the daily total returns of the last 63 sessions up to each date.

    prices: ``instrument_id, date, tr_index`` (``slot`` where at hand). A return needs bars on two
    sessions running. Returns ``date, instrument_id, volatility`` for the names with 21 returns at
    least that are not all the same; each window is summed by itself, so where the prices begin
    changes nothing.
    """
    from wealthos_pipeline.factors.labels import slots

    shape = {"date": pl.Date, "instrument_id": pl.String, "volatility": pl.Float64}
    empty = pl.DataFrame(schema=shape)
    bars = prices.select(
        "instrument_id", pl.Series("slot", slots(prices, calendar)), pl.col("tr_index").cast(pl.Float64)
    ).filter((pl.col("slot") >= 0) & pl.col("tr_index").is_not_null())  # fmt: skip
    if bars.is_empty() or dates.is_empty():
        return empty
    names = bars["instrument_id"].unique().sort()
    column = bars["instrument_id"].cast(pl.Enum(names)).to_physical().to_numpy()
    slot = bars["slot"].to_numpy()
    first = int(slot.min())
    index = np.full((int(slot.max()) - first + 1, len(names)), np.nan)
    index[slot - first, column] = bars["tr_index"].to_numpy()
    returns = np.full_like(index, np.nan)
    returns[1:] = index[1:] / index[:-1] - 1.0
    out = []
    for day in dates.unique().sort():
        at = calendar.slot(day) - first
        window = returns[max(at - VOLATILITY_SESSIONS + 1, 0) : at + 1]
        there = np.isfinite(window)
        count = there.sum(axis=0)
        kept = np.flatnonzero(count >= VOLATILITY_MIN)
        values = np.ascontiguousarray(np.where(there[:, kept], window[:, kept], 0.0))
        mean = values.sum(axis=0) / count[kept]
        e = np.where(there[:, kept], values - mean, 0.0)
        sigma = np.sqrt((e * e).sum(axis=0) / (count[kept] - 1))
        alive = sigma > 0
        out.append(
            pl.DataFrame(
                {"instrument_id": names.gather(kept[alive]), "volatility": sigma[alive]}
            ).with_columns(date=pl.lit(day))
        )
    return pl.concat([empty, *(f.select(*shape) for f in out)])
