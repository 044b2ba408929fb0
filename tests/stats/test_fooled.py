"""Small versions of the simulations of ``docs/research/statistics.md``: noise must not pass for skill."""

from __future__ import annotations

import math

import numpy as np
import pytest

from wealthos_pipeline.stats.mean_test import mean_test
from wealthos_pipeline.stats.pbo import overfitting_probability
from wealthos_pipeline.stats.sharpe import deflated_sharpe, judge, moments
from wealthos_pipeline.stats.spa import spa
from wealthos_pipeline.stats.trials import deflation, ratios, trial_variance

LEVEL = 0.05


def at_most(rejected: int, draws: int, level: float = LEVEL) -> bool:
    """Whether a count is within three Monte-Carlo standard errors of the nominal one, or below it."""
    return rejected <= level * draws + 3.0 * math.sqrt(level * (1 - level) * draws)


def worthless(rng: np.random.Generator, k: int, rho: float, *, heavy: bool) -> np.ndarray:
    def shocks(columns: int) -> np.ndarray:
        size = (200, columns)
        return rng.standard_t(4, size) if heavy else rng.standard_normal(size)

    return math.sqrt(1 - rho) * shocks(k) + math.sqrt(rho) * shocks(1)


@pytest.mark.parametrize(("k", "rho"), [(1, 0.0), (2, 0.9), (10, 0.5), (50, 0.9)])
@pytest.mark.parametrize("heavy", [False, True])
def test_the_best_of_worthless_trials_rarely_has_a_dsr_above_95_percent(
    k: int, rho: float, heavy: bool
) -> None:
    rng = np.random.default_rng(1000 + k)
    by_raw = by_effective = naive = 0
    draws = 100
    for _ in range(draws):
        x = worthless(rng, k, rho, heavy=heavy)
        sharpe = ratios(x)
        best = x[:, int(np.argmax(sharpe))]
        by = deflation(x)
        judged = judge(best, trials=by.effective, variance=by.variance)
        naive += judged.psr > 0.95
        by_effective += judged.dsr > 0.95
        skew, kurtosis = moments(best)
        by_raw += (
            deflated_sharpe(
                judged.ratio, len(best), trials=k, variance=trial_variance(sharpe), skew=skew,
                kurtosis=kurtosis,
            ) > 0.95
        )  # fmt: skip
    assert at_most(by_raw, draws)
    assert at_most(by_effective, draws)
    if k == 10:
        assert not at_most(naive, draws)  # what would be believed if nobody counted


@pytest.mark.parametrize("k", [3, 8])
def test_the_mean_probability_of_overfitting_of_noise_is_a_half(k: int) -> None:
    rng = np.random.default_rng(k)
    found = [
        overfitting_probability(rng.standard_normal((160, k)), 6).probability for _ in range(300)
    ]
    assert np.mean(found) == pytest.approx(0.5, abs=0.05)


def test_nominal_size_tests_keep_their_size() -> None:
    rng = np.random.default_rng(8)
    draws = 120
    superior = {0.05: 0, 0.10: 0}
    means = 0
    for i in range(draws):
        p = spa(rng.standard_t(5, (250, 4)), mean_block=3.0, draws=200, seed=i).p_value
        for level in superior:
            superior[level] += p < level
        overlapping = np.convolve(rng.standard_normal(309), np.ones(10), "valid")
        means += mean_test(overlapping, 10).p_value < LEVEL
    assert at_most(means, draws)
    for level, rejected in superior.items():
        assert at_most(rejected, draws, level)


def test_skill_is_seen() -> None:
    """A daily ratio of 0.2 (3 a year) for a year, among nine worthless trials."""
    rng = np.random.default_rng(9)
    draws, seen = 40, {"dsr": 0, "spa": 0}
    for i in range(draws):
        x = rng.standard_normal((500, 10))
        x[:, 4] += 0.25
        by = deflation(x)
        seen["dsr"] += judge(x[:, 4], trials=by.effective, variance=by.variance).dsr > 0.95
        seen["spa"] += spa(x, mean_block=2.0, draws=100, seed=i).p_value < LEVEL
    assert seen["dsr"] > 0.8 * draws
    assert seen["spa"] > 0.95 * draws
