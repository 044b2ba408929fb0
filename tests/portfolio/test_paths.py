"""Resampled futures: what the stationary bootstrap must keep, and the rows of the table."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from wealthos_pipeline.portfolio import paths as room
from wealthos_pipeline.portfolio import performance
from wealthos_pipeline.portfolio.backtest import Backtest


def test_mean_growth_of_the_paths_is_that_of_the_past(core_run: Backtest) -> None:
    made = performance.paths(core_run.nav, 60, draws=4000, seed=1)
    r = core_run.nav["return_net"].drop_nulls()
    assert made.wealth.shape == (4000, 61)
    assert (made.wealth[:, 0] == 1.0).all()
    logs = np.log(made.wealth[:, -1])
    se = logs.std() / np.sqrt(4000)
    assert logs.mean() == pytest.approx(60 * float(np.log1p(r.to_numpy()).mean()), abs=5 * se)
    again = performance.paths(core_run.nav, 60, draws=4000, seed=1)
    assert again.wealth.tobytes() == made.wealth.tobytes()
    assert performance.paths(core_run.nav, 60, draws=10, seed=2).wealth.shape == (10, 61)


def test_blocks_are_runs_of_the_past_of_the_length_that_is_stated() -> None:
    rows = room._indices(1000, 250, 20.0, 400, 3)
    follows = (np.diff(rows, axis=1) % 1000) == 1
    assert 1 / (1 - follows.mean()) == pytest.approx(20.0, rel=0.05)
    assert np.bincount(rows.ravel(), minlength=1000).min() > 0


def test_quantiles_and_drawdowns_are_those_of_the_paths(core_run: Backtest) -> None:
    made = performance.paths(core_run.nav, 30, draws=50, seed=0)
    path = made.wealth[7]
    deepest = min(path[j] / path[i] - 1 for i in range(31) for j in range(i, 31))
    assert made.drawdown(30)[7] == pytest.approx(deepest)
    assert made.loss_probability(30) == np.mean(made.wealth[:, 30] < 1)
    assert made.quantiles(30, (0.5,))[0] == pytest.approx(np.median(made.wealth[:, 30]))


def test_table_has_ordered_quantiles_a_portfolio_and_horizon(
    core_run: Backtest, benchmark_run: Backtest
) -> None:
    table = room.table(pl.concat([core_run.nav, benchmark_run.nav]))
    assert table.height == 2 * len(room.HORIZONS)
    assert (table["wealth_05"] < table["wealth_50"]).all()
    assert (table["drawdown_05"] < table["drawdown_50"]).all()
    assert (table["mean_block"] >= 1).all()
    assert room.table(core_run.nav.head(room.LEAST)).height == 0
    with pytest.raises(ValueError, match="2 returns"):
        performance.paths(core_run.nav.head(1), 10)
