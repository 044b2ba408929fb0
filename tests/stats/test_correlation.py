"""Ranks and correlations against scipy."""

import math

import numpy as np
import pytest
from scipy import stats

from wealthos_pipeline.stats.correlation import average_ranks, pearson, spearman


def test_ranks_and_correlations_against_scipy() -> None:
    rng = np.random.default_rng(7)
    x = rng.integers(0, 8, 60).astype(float)
    y = x + rng.standard_normal(60)
    np.testing.assert_array_equal(average_ranks(x), stats.rankdata(x))
    assert pearson(x, y) == pytest.approx(stats.pearsonr(x, y).statistic, rel=1e-12)
    assert spearman(x, y) == pytest.approx(stats.spearmanr(x, y).statistic, rel=1e-12)


def test_what_has_no_correlation_is_nan() -> None:
    assert len(average_ranks(np.array([]))) == 0
    assert math.isnan(pearson(np.full(5, 0.1), np.arange(5.0)))
    assert math.isnan(spearman(np.arange(2.0), np.arange(2.0)))
    assert pearson(np.arange(3.0), 7 - 2 * np.arange(3.0)) == -1.0
