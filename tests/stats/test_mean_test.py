"""The careful test of a mean: it is the weakest of three, and its size is what it says."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from wealthos_pipeline.stats.bootstrap import block_length, stationary_se
from wealthos_pipeline.stats.mean_test import mean_test
from wealthos_pipeline.stats.newey_west import POWER, mean_tstat, non_overlapping_tstat


@pytest.mark.parametrize(("horizon", "seed"), [(1, 0), (5, 1), (20, 2), (20, 3)])
def test_the_t_nearest_0_decides(horizon: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = np.convolve(rng.standard_normal(600), np.ones(horizon), "valid") + 0.4
    x[rng.random(len(x)) < 0.02] = np.nan
    kept = x[~np.isnan(x)]
    found = mean_test(x, horizon)
    boot = stationary_se(kept, max(2.0 * horizon, block_length(kept)))
    _, se_nw, t_nw = mean_tstat(kept, 2 * horizon)
    _, se_apart, t_apart = non_overlapping_tstat(x, horizon)
    assert found.observations == len(kept)
    assert found.mean == pytest.approx(kept.mean())
    assert abs(found.t) == min(abs(t_nw), abs(t_apart), abs(kept.mean() / boot))
    assert getattr(found, f"t_{found.decided_by}") == found.t
    assert found.se == max(se_nw, se_apart, boot)
    assert found.detectable == POWER * found.se
    expected = 2 * stats.t.sf(abs(found.t), len(kept) // horizon - 1)
    assert found.p_value == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("values", [[], [0.1], [0.1] * 30, [math.nan] * 5])
def test_without_variation_there_is_no_t(values: list[float]) -> None:
    found = mean_test(np.array(values), 5)
    assert math.isnan(found.t)
    assert math.isnan(found.p_value)
    assert math.isnan(found.detectable)
    assert found.decided_by == ""


@pytest.mark.parametrize(("n", "horizon"), [(504, 20), (1000, 5)])
def test_a_true_null_is_rejected_as_often_as_said(n: int, horizon: int) -> None:
    """600 factors that know nothing; at 5 % nominal, three standard errors allow 7.7 %."""
    rng = np.random.default_rng(13)
    rejected = sum(
        mean_test(np.convolve(rng.standard_normal(n), np.ones(horizon), "valid"), horizon).p_value
        < 0.05
        for _ in range(600)
    )
    assert rejected / 600 <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 600)
    assert rejected / 600 >= 0.01  # and it is not a test that never rejects


def test_an_ic_of_the_detectable_size_is_usually_seen() -> None:
    rng = np.random.default_rng(17)
    seen = 0
    for _ in range(200):
        x = np.convolve(rng.standard_normal(1500), np.ones(10), "valid")
        x += mean_test(x, 10).detectable
        seen += mean_test(x, 10).p_value < 0.05
    assert seen / 200 > 0.68  # 80 % at 1.96; three standard errors and Student's t below


def test_dependence_beyond_the_horizon_is_seen() -> None:
    """ICs of a one-day label that wander: every date counts as apart, and only long blocks notice."""
    rng = np.random.default_rng(4)
    rejected, blind = 0, 0
    for _ in range(200):
        shocks, x, level = rng.standard_normal(1000), np.empty(1000), 0.0
        for i in range(1000):
            level = 0.9 * level + shocks[i]
            x[i] = level
        found = mean_test(x, 1)
        rejected += abs(found.t) > 1.96
        blind += abs(found.t_non_overlapping) > 1.96
    assert blind > 100
    assert rejected < 40
