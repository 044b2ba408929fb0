"""Sharpe statistics against the papers' worked numbers, scipy and simulation."""

import math

import numpy as np
import pytest
from scipy import stats

from wealthos_pipeline.stats.sharpe import (
    deflated_sharpe,
    expected_maximum,
    minimum_track_record,
    moments,
    probabilistic_sharpe,
    sharpe_ratio,
)

DAILY = {"ratio": 2.5 / math.sqrt(250), "periods": 1250, "skew": -3.0, "kurtosis": 10.0}


@pytest.mark.parametrize(("trials", "published"), [(100, 0.9004), (46, 0.9505)])
def test_deflated_sharpe_of_the_paper(trials: int, published: float) -> None:
    found = deflated_sharpe(**DAILY, trials=trials, variance=0.5 / 250)
    assert found == pytest.approx(published, abs=5e-5)


def test_expected_maximum_of_the_paper() -> None:
    assert expected_maximum(100, 0.5 / 250) == pytest.approx(0.1132, abs=5e-5)


def test_expected_maximum_against_simulation() -> None:
    best = np.random.default_rng(2).standard_normal((20_000, 50)).max(axis=1).mean()
    assert expected_maximum(50, 1.0) == pytest.approx(best, abs=0.03)


def test_one_trial_falls_back_to_the_probabilistic_ratio() -> None:
    assert deflated_sharpe(**DAILY, trials=1, variance=0.1) == probabilistic_sharpe(**DAILY)
    assert deflated_sharpe(**DAILY, trials=2, variance=0.1) < probabilistic_sharpe(**DAILY)


def test_probabilistic_sharpe_of_the_paper() -> None:
    """Bailey & López de Prado (2012), section 4: two years of monthly returns with annualised ratio
    1.59, skew −2.448 and kurtosis 10.164 give PSR(0) = 0.913; normal returns would give 0.982."""
    monthly = 1.59 / math.sqrt(12)
    normal = probabilistic_sharpe(monthly, 24)
    skewed = probabilistic_sharpe(monthly, 24, skew=-2.448, kurtosis=10.164)
    assert normal == pytest.approx(0.982, abs=1.5e-3)
    assert skewed == pytest.approx(0.913, abs=1.5e-3)


def test_minimum_track_record_is_where_psr_reaches_the_confidence() -> None:
    n = minimum_track_record(0.1, benchmark=0.02, confidence=0.95, skew=-0.5, kurtosis=6.0)
    floor = probabilistic_sharpe(0.1, math.floor(n), benchmark=0.02, skew=-0.5, kurtosis=6.0)
    ceil = probabilistic_sharpe(0.1, math.ceil(n), benchmark=0.02, skew=-0.5, kurtosis=6.0)
    assert floor < 0.95 <= ceil
    assert minimum_track_record(0.02, benchmark=0.02) == math.inf
    assert math.isnan(minimum_track_record(math.nan))


def test_moments_and_ratio_against_scipy() -> None:
    x = np.random.default_rng(4).standard_t(5, 500) * 0.01 + 0.001
    skew, kurtosis = moments(np.append(x, np.nan))
    assert skew == pytest.approx(stats.skew(x), rel=1e-10)
    assert kurtosis == pytest.approx(stats.kurtosis(x, fisher=False), rel=1e-10)
    assert sharpe_ratio(x, 0.0005) == pytest.approx((x - 0.0005).mean() / x.std(ddof=1))


def test_degenerate_inputs_are_nan_or_refused() -> None:
    assert math.isnan(sharpe_ratio(np.full(10, 0.01)))
    assert all(math.isnan(m) for m in moments(np.array([0.1])))
    assert math.isnan(probabilistic_sharpe(0.1, 1))
    with pytest.raises(ValueError, match="trials"):
        expected_maximum(0.5, 1.0)


def test_deflated_sharpe_rejects_noise_at_most_as_often_as_it_says() -> None:
    rng = np.random.default_rng(9)
    passed = 0
    for _ in range(400):
        x = rng.standard_normal((250, 5))
        ratios = x.mean(axis=0) / x.std(axis=0, ddof=1)
        passed += (
            deflated_sharpe(float(ratios.max()), 250, trials=5, variance=float(ratios.var(ddof=1)))
            > 0.95
        )
    assert passed <= 20  # 5 % of 400
