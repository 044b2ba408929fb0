"""From a model's score to an expected return (DESIGN §11).

``alpha_i = IC_shrunk(h, known at t) · σ_specific,i(h) · z_i``: a return over the horizon h
(Grinold, "Alpha is volatility times IC times score", J. of Portfolio Management 1994).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import numpy as np
import polars as pl
from numpy.typing import NDArray

from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.utils.config import PortfolioSettings

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ShrunkIC:
    """The information coefficient used at one instant.

    value: shrunk and floored at 0. raw: the mean before that, NaN without observations.
    sessions: dates that it was averaged over.
    """

    value: float
    raw: float
    sessions: int


def shrunk_ic(
    evaluation: pl.DataFrame,
    calendar: TradingCalendar,
    settings: PortfolioSettings,
    *,
    model: str,
    horizon: int,
    instant: datetime,
) -> ShrunkIC:
    """Mean out-of-sample rank IC that could have been known at ``instant``, shrunk towards 0.

    Rows of ``models.evaluation`` with this model and horizon, ``known_at ≤ instant`` and a date
    in the trailing ``ic_sessions`` sessions. With n of them, ``value = max(0, mean · n / (n +
    ic_prior_sessions))``. No rows, or none that is finite: 0.
    """
    last = calendar.slot(calendar.last_known(instant))
    first = calendar.date_of(max(last - settings.ic_sessions + 1, 0))
    rows = evaluation.filter(
        (pl.col("model") == model)
        & (pl.col("horizon") == horizon)
        & (pl.col("known_at") <= instant)
        & (pl.col("date") >= first)
        & pl.col("rank_ic").is_finite()
    ).sort("date")
    values = rows["rank_ic"].cast(pl.Float64).to_numpy()
    n = len(values)
    if n == 0:
        return ShrunkIC(0.0, float("nan"), 0)
    raw = float(np.mean(np.ascontiguousarray(values)))
    return ShrunkIC(max(0.0, raw * n / (n + settings.ic_prior_sessions)), raw, n)


def expected_returns(z: Floats, specific_vol: Floats, ic: float, horizon: int) -> Floats:
    """Expected returns over ``horizon`` sessions, decimal.

    z: standardised scores; NaN (no prediction) gives 0. specific_vol: daily, decimal.
    """
    score = np.where(np.isfinite(z), z, 0.0)
    return ic * (specific_vol * np.sqrt(float(horizon))) * score
