"""Newey–West and non-overlapping t-statistics against statsmodels, scipy and simulation."""

import math

import numpy as np
import pytest
from scipy import stats

from wealthos_pipeline.stats.newey_west import (
    POWER,
    detectable_mean,
    mean_tstat,
    non_overlapping_tstat,
)


@pytest.mark.parametrize("lags", [0, 1, 5, 40])
def test_mean_tstat_equals_statsmodels_hac(lags: int) -> None:
    import statsmodels.api as sm

    rng = np.random.default_rng(3)
    x = np.convolve(rng.standard_normal(400), np.ones(10), "valid") * 0.01 + 0.004
    fit = sm.OLS(x, np.ones_like(x)).fit(cov_type="HAC", cov_kwds={"maxlags": lags})
    mean, se, t = mean_tstat(x, lags)
    assert mean == pytest.approx(fit.params[0], rel=1e-12)
    assert se == pytest.approx(fit.bse[0], rel=1e-10)
    assert t == pytest.approx(fit.tvalues[0], rel=1e-10)


def test_missing_values_are_dropped_and_order_of_lags_is_cut() -> None:
    x = np.array([0.1, np.nan, 0.3, -0.2, 0.4])
    assert mean_tstat(x, 99) == mean_tstat(x[~np.isnan(x)], 99)


def test_degenerate_series() -> None:
    assert all(math.isnan(v) for v in mean_tstat(np.array([]), 3))
    assert mean_tstat(np.array([2.0]), 3)[0] == 2.0
    mean, se, t = mean_tstat(np.full(50, 0.1), 3)
    assert (mean, se) == (pytest.approx(0.1), 0.0)
    assert math.isnan(t)
    with pytest.raises(ValueError, match="lags"):
        mean_tstat(np.ones(3), -1)


def test_non_overlapping_is_the_mean_of_ordinary_t_over_shifts() -> None:
    x = np.random.default_rng(5).standard_normal(203) + 0.1
    expected = np.mean([stats.ttest_1samp(x[s::7], 0.0).statistic for s in range(7)])
    mean, _, t = non_overlapping_tstat(x, 7)
    assert t == pytest.approx(expected, rel=1e-12)
    assert mean == pytest.approx(x.mean(), rel=1e-12)
    assert non_overlapping_tstat(x, 1)[2] == pytest.approx(stats.ttest_1samp(x, 0).statistic)


def test_the_smallest_mean_that_is_seen_is_2_8_standard_errors() -> None:
    from scipy.stats import norm

    assert detectable_mean(0.01) == POWER * 0.01
    assert pytest.approx(norm.ppf(0.975) + norm.ppf(0.8), abs=0.005) == POWER


def test_every_hth_value_of_overlapping_noise_keeps_its_size_and_the_plain_t_does_not() -> None:
    """Overlapping 10-day sums of noise: 5 % nominal; the plain t rejects more than half of them."""
    rng = np.random.default_rng(11)
    naive = apart = 0
    for _ in range(300):
        x = np.convolve(rng.standard_normal(1000), np.ones(10), "valid")
        naive += abs(mean_tstat(x, 0)[2]) > 1.96
        apart += abs(non_overlapping_tstat(x, 10)[2]) > 1.96
    assert naive > 120
    assert apart <= 30  # 5 % of 300 is 15; 30 is four standard errors above
