"""Median and MAD against scipy."""

import math

import numpy as np
import pytest
from scipy import stats

from wealthos_pipeline.stats.robust import median_mad, winsorise


def test_median_mad_against_scipy() -> None:
    x = np.append(np.random.default_rng(1).standard_normal(501), np.nan)
    centre, scale = median_mad(x)
    assert centre == np.nanmedian(x)
    assert scale == pytest.approx(
        stats.median_abs_deviation(x, scale="normal", nan_policy="omit"), rel=1e-9
    )
    assert all(math.isnan(v) for v in median_mad(np.array([np.nan])))


def test_a_bad_print_is_cut_and_missing_stays_missing() -> None:
    x = np.array([1.0, 2.0, 3.0, np.nan, 4.0, 1e9])
    cut = winsorise(x, 3.0)
    assert cut[:3].tolist() == [1.0, 2.0, 3.0]
    assert np.isnan(cut[3])
    assert cut[5] == pytest.approx(3.0 + 3.0 * 1.482602218505602 * 1.0)
    np.testing.assert_array_equal(winsorise(np.array([1.0, 1.0, 9.0]), 3.0), [1.0, 1.0, 9.0])
