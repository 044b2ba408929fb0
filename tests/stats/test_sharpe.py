"""Sharpe statistics against the papers' worked numbers, scipy and simulation."""

import math

import numpy as np
import pytest
from scipy import stats

from wealthos_pipeline.stats.sharpe import (
    deflated_sharpe,
    expected_maximum,
    judge,
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
    rounding = np.full(10, 0.1) + np.tile([0.0, 1e-17], 5) * 3
    assert math.isnan(sharpe_ratio(rounding))
    for trials, variance in ((0.5, 1.0), (0.0, 1.0), (2, -1.0), (math.nan, 1.0), (2, math.nan)):
        with pytest.raises(ValueError, match="trials"):
            deflated_sharpe(0.1, 100, trials=trials, variance=variance)
    with pytest.raises(ValueError, match="confidence"):
        minimum_track_record(0.1, confidence=0.3)


def test_no_variance_among_trials_is_no_deflation() -> None:
    """All trials have shown the same ratio: nothing was gained by picking."""
    assert deflated_sharpe(**DAILY, trials=50, variance=0.0) == probabilistic_sharpe(**DAILY)


def test_a_negative_ratio_is_probably_below_zero_and_never_long_enough() -> None:
    x = np.random.default_rng(3).standard_t(5, 400) * 0.01 - 0.001
    found = judge(x, trials=10, variance=0.003)
    assert found.ratio < 0
    assert 0.0 < found.dsr < found.psr < 0.5
    assert found.minimum == math.inf


def test_two_returns_can_be_judged_and_one_cannot() -> None:
    two = judge(np.array([0.01, 0.03, np.nan]))
    assert two.observations == 2
    # two values are as far from normal as can be: skew 0, kurtosis 1, and the variance is 1
    assert two.psr == two.dsr == pytest.approx(stats.norm.cdf(two.ratio))
    for nothing in ([0.01], [], [0.01] * 30):
        found = judge(np.array(nothing))
        assert all(math.isnan(v) for v in (found.ratio, found.psr, found.dsr, found.minimum))


def test_judging_is_the_three_in_one() -> None:
    x = np.random.default_rng(4).standard_normal(500) + 0.05
    found = judge(x, trials=7.5, variance=0.002)
    shape = {"skew": stats.skew(x), "kurtosis": stats.kurtosis(x, fisher=False)}
    assert found.psr == pytest.approx(probabilistic_sharpe(found.ratio, 500, **shape))
    assert found.dsr == pytest.approx(
        deflated_sharpe(found.ratio, 500, trials=7.5, variance=0.002, **shape)
    )
    assert found.minimum == pytest.approx(minimum_track_record(found.ratio, **shape))


def test_returns_that_overlap_count_only_where_they_do_not() -> None:
    daily = np.random.default_rng(5).standard_normal(2019) + 0.02
    weeks = np.convolve(daily, np.ones(20), "valid")
    found = judge(weeks, spacing=20)
    assert found.observations == 100
    apart = [judge(weeks[s::20]).psr for s in range(20)]
    assert found.psr == pytest.approx(np.mean(apart), abs=0.05)
    assert judge(weeks).psr > found.psr
    with pytest.raises(ValueError, match="spacing"):
        judge(weeks, spacing=0)


def test_a_lucky_short_record_is_not_proven_by_long_ones_beside_it() -> None:
    """Thirty good days among fifty trials whose long records hardly scatter."""
    rng = np.random.default_rng(8)
    days = 0.01 * rng.standard_normal(30)
    days += 0.005 - days.mean()  # a ratio of some 0.5 a day
    found = judge(days, trials=50.0, variance=1.0 / 5000)
    least = deflated_sharpe(
        found.ratio, 30, trials=50.0, variance=1.0 / 30, skew=found.skew, kurtosis=found.kurtosis
    )
    assert found.dsr == pytest.approx(least)
    assert found.dsr < 0.9 < found.psr
