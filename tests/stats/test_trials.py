"""Effective trials against closed forms, and what is known of a Sharpe ratio's variance."""

from __future__ import annotations

import math

import numpy as np
import pytest

from wealthos_pipeline.stats.sharpe import expected_maximum
from wealthos_pipeline.stats.trials import (
    deflation,
    effective_trials,
    mean_correlation,
    trial_variance,
)


def with_correlation(target: np.ndarray, periods: int = 400) -> np.ndarray:
    """Returns whose sample correlations are exactly ``target``."""
    raw = np.random.default_rng(1).standard_normal((periods, len(target)))
    white = np.linalg.qr(raw - raw.mean(axis=0))[0]
    values, vectors = np.linalg.eigh(target)
    return 0.01 * math.sqrt(periods) * white @ (vectors * np.sqrt(np.maximum(values, 0.0))).T


def equal(k: int, rho: float) -> np.ndarray:
    return np.full((k, k), rho) + (1 - rho) * np.eye(k)


@pytest.mark.parametrize("rho", [0.3, 0.7, 0.95])
@pytest.mark.parametrize("k", [2, 5, 30])
def test_equal_correlations_give_the_rule_of_bailey_and_lopez_de_prado(k: int, rho: float) -> None:
    x = with_correlation(equal(k, rho), 20_000)
    assert effective_trials(x) == pytest.approx(rho + (1 - rho) * k, rel=2e-3)
    by_mean = effective_trials(x, rule="mean_correlation")
    assert by_mean == pytest.approx(rho + (1 - rho) * k, rel=1e-9)
    assert mean_correlation(x) == pytest.approx(rho)
    share = k * k / (k + k * (k - 1) * rho * rho)
    assert effective_trials(x, rule="participation") == pytest.approx(share, rel=2e-3)


def test_copies_opposites_and_multiples_are_one_trial() -> None:
    x = np.random.default_rng(2).standard_normal((300, 1))
    assert effective_trials(x) == 1.0
    assert effective_trials(np.hstack([x, x, 3 * x + 0.1])) == pytest.approx(1.0, abs=1e-6)
    assert effective_trials(np.hstack([x, -x])) == pytest.approx(1.0, abs=1e-6)


def test_clusters_are_counted_where_a_mean_correlation_sees_none() -> None:
    block = equal(5, 0.9)
    target = np.kron(np.eye(4), block)
    signs = np.tile([1.0, -1.0], 10)
    x = with_correlation(target, 5000) * signs
    # one for each cluster's own direction, 0.1 for each of the four others in it
    assert effective_trials(x) == pytest.approx(4 * (1 + 4 * 0.1), rel=0.01)
    assert effective_trials(x, rule="mean_correlation") > 19


@pytest.mark.parametrize("periods", [30, 120, 1000])
def test_few_periods_do_not_make_independent_trials_alike(periods: int) -> None:
    x = np.random.default_rng(periods).standard_normal((periods, 40))
    assert effective_trials(x) > 38
    unshrunk = np.linalg.eigvalsh(np.corrcoef(x.T))
    assert np.clip(unshrunk, 0, 1).sum() < effective_trials(x)


def test_missing_returns_are_left_out_pair_by_pair() -> None:
    rng = np.random.default_rng(4)
    shared = rng.standard_normal((600, 1))
    x = shared + 0.5 * rng.standard_normal((600, 3))
    x[:200, 0] = np.nan
    x[500:, 1] = np.nan
    both = np.isfinite(x[:, 0]) & np.isfinite(x[:, 1])
    expected = [np.corrcoef(x[both, 0], x[both, 1])[0, 1]]
    expected.append(np.corrcoef(x[200:, 0], x[200:, 2])[0, 1])
    expected.append(np.corrcoef(x[:500, 1], x[:500, 2])[0, 1])
    assert mean_correlation(x) == pytest.approx(np.mean(expected), rel=1e-10)
    order = rng.permutation(3)
    assert effective_trials(x[:, order]) == pytest.approx(effective_trials(x), rel=1e-12)


def test_what_cannot_be_correlated_counts_as_independent() -> None:
    x = np.random.default_rng(5).standard_normal((100, 1))
    constant = np.full((100, 1), 0.01)
    nothing = np.full((100, 1), np.nan)
    apart = np.where(np.arange(100)[:, None] < 50, x, np.nan)
    other = np.where(np.arange(100)[:, None] < 50, np.nan, x)
    assert effective_trials(np.hstack([x, constant])) == 2.0
    assert effective_trials(np.hstack([x, nothing, x])) == pytest.approx(2.0, abs=1e-6)
    assert effective_trials(np.hstack([apart, other])) == 2.0
    for bad in (np.zeros(5), np.zeros((5, 0))):
        with pytest.raises(ValueError, match="trial"):
            effective_trials(bad)


def test_the_variance_of_alike_trials_is_that_of_one_again() -> None:
    """T = 400 returns without skill: the variance of a ratio is 1 / T, whatever the correlation."""
    rng = np.random.default_rng(6)
    found, plain = [], []
    for _ in range(120):
        x = math.sqrt(0.2) * rng.standard_normal((400, 12))
        x += math.sqrt(0.8) * rng.standard_normal((400, 1))
        found.append(deflation(x).variance)
        plain.append(trial_variance(x.mean(axis=0) / x.std(axis=0, ddof=1)))
    assert np.mean(found) * 400 == pytest.approx(1.0, abs=0.15)
    assert np.mean(plain) * 400 == pytest.approx(0.2, abs=0.03)


def test_trial_variance_of_little() -> None:
    assert trial_variance(np.array([0.1, np.nan])) == 0.0
    assert trial_variance(np.array([])) == 0.0
    x = np.array([0.1, 0.2, 0.4])
    assert trial_variance(x) == pytest.approx(np.var(x, ddof=1))
    alike = trial_variance(x, mean_correlation=0.5, periods=100)
    assert alike == pytest.approx(np.var(x, ddof=1) + 0.005)
    assert trial_variance(x, mean_correlation=-0.5, periods=100) == trial_variance(x)


def test_a_short_record_counts_as_a_trial_and_does_not_widen_the_variance() -> None:
    rng = np.random.default_rng(2)
    x = rng.standard_normal((2000, 5))
    short = np.full((2000, 1), np.nan)
    short[-20:, 0] = rng.standard_normal(20) + 1.0
    both = deflation(np.hstack([x, short]))
    assert both.variance == deflation(x).variance < 3 / 2000
    assert (both.raw, deflation(x).raw) == (6, 5)
    assert both.effective > deflation(x).effective
    half = x.copy()
    half[:1000, 0] = np.nan
    assert deflation(half).variance != deflation(half[:, 1:]).variance


def test_trials_without_returns_count_one_each() -> None:
    x = with_correlation(equal(4, 0.9), 20_000)
    alone, more = deflation(x), deflation(x, further=10)
    assert (alone.raw, more.raw) == (4, 14)
    assert more.effective == pytest.approx(alone.effective + 10)
    assert more.variance == alone.variance
    none = deflation(np.zeros((0, 0)), further=3, sharpes=np.array([0.0, 0.1, np.nan]))
    assert (none.raw, none.effective) == (3, 3.0)
    assert none.variance == pytest.approx(0.005)
    with pytest.raises(ValueError, match="no trial"):
        deflation(np.zeros((5, 0)))


def test_the_expected_best_grows_from_nothing_with_the_number_of_trials() -> None:
    numbers = [1.0, 1.0 + 1e-12, 1.2, 1.6, 2.0, 2.5, 10.0, 200.0]
    values = [expected_maximum(n, 1.0) for n in numbers]
    assert values[0] == 0.0
    assert values == sorted(values)
    # two ratios that are correlated by ρ: the larger one is √((1 − ρ) / π) on average
    for rho in (0.2, 0.5, 0.9):
        assert expected_maximum(2 - rho, 1.0) == pytest.approx(
            math.sqrt((1 - rho) / math.pi), rel=0.1
        )
