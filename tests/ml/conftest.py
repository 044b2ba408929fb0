"""A seeded panel with gaps, a late listing and a delisting, whose returns one feature can foresee."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date

import numpy as np
import polars as pl
import pytest

from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.utils.config import ModelSettings

FEATURES = ("signal", "noise_a", "noise_b", "sparse")


@dataclass(frozen=True)
class World:
    """Frames as the models take them."""

    calendar: TradingCalendar
    scores: pl.DataFrame
    prices: pl.DataFrame
    universe: pl.DataFrame
    end: date

    def until(self, end: date) -> World:
        """What physically existed at the close of ``end``."""
        return self.between(date.min, end)

    def between(self, start: date, end: date) -> World:
        inside = pl.col("date").is_between(start, end)
        frames = {n: getattr(self, n).filter(inside) for n in ("scores", "prices", "universe")}
        return replace(self, **frames, end=end)


def make_world(seed: int = 1, strength: float = 0.6) -> World:
    """25 names, 2001–2004. ``signal`` at t is a slow state that drives the returns from t + 1 on."""
    calendar = TradingCalendar()
    sessions = calendar.frame(date(2001, 1, 2), date(2004, 11, 17))
    days, n = sessions.height, 25
    rng = np.random.default_rng(seed)
    state = np.zeros((days, n))
    shocks = rng.standard_normal((days, n))
    for t in range(1, days):
        state[t] = 0.95 * state[t - 1] + 0.31 * shocks[t]
    returns = 0.02 * rng.standard_normal((days, n))
    returns[1:] += 0.02 * 0.1 * strength * state[:-1]
    values = {
        "signal": state,
        "noise_a": rng.standard_normal((days, n)),
        "noise_b": rng.standard_normal((days, n)),
        "sparse": np.where(rng.random((days, n)) < 0.6, np.nan, rng.standard_normal((days, n))),
    }
    alive = np.ones((days, n), dtype=bool)
    alive[:300, 3] = False  # listed late
    alive[700:, 4] = False  # delisted
    alive[rng.random((days, n)) < 0.01] = False  # days without a bar
    names = [f"N{i:02d}" for i in range(n)]
    grid = sessions.select("date", "slot").join(pl.DataFrame({"instrument_id": names}), how="cross")
    grid = grid.with_columns(
        pl.Series("tr_index", np.cumprod(1 + returns, axis=0).ravel()),
        pl.Series("alive", alive.ravel()),
        *(
            pl.Series(k, v.ravel().astype(np.float32)).fill_nan(None).alias(k)
            for k, v in values.items()
        ),
    ).filter("alive")
    return World(
        calendar,
        grid.select("date", "instrument_id", *FEATURES),
        grid.select("instrument_id", "date", "slot", "tr_index"),
        grid.filter(pl.col("instrument_id") != "N07").select("date", "instrument_id"),
        sessions["date"][-1],
    )


@pytest.fixture(scope="session")
def world() -> World:
    return make_world()


@pytest.fixture(scope="session")
def settings() -> ModelSettings:
    return ModelSettings(
        horizon=5,
        train_sessions=300,
        min_train_sessions=120,
        every=2,
        refit_history="quarter",
        lightgbm_trees=12,
    )
