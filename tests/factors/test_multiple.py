"""Benjamini–Hochberg against statsmodels, and on factors that are noise."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from statsmodels.stats.multitest import multipletests

from wealthos_pipeline.factors.multiple import adjusted, benjamini_hochberg, judged
from wealthos_pipeline.stats.mean_test import mean_test


@pytest.mark.parametrize("seed", range(6))
def test_the_same_are_rejected_as_by_statsmodels(seed: int) -> None:
    rng = np.random.default_rng(seed)
    p = np.concatenate([rng.random(60), rng.random(8) * 1e-3, [0.01, 0.01]])
    expected, corrected, *_ = multipletests(p, 0.05, "fdr_bh")
    assert benjamini_hochberg(p).tolist() == expected.tolist()
    np.testing.assert_allclose(adjusted(p), corrected, rtol=1e-12)
    with_holes = np.insert(p, [3, 20], np.nan)
    assert np.delete(benjamini_hochberg(with_holes), [3, 21]).tolist() == expected.tolist()
    assert not benjamini_hochberg(with_holes)[[3, 21]].any()


def test_nothing_known_rejects_nothing() -> None:
    assert benjamini_hochberg(np.array([])).tolist() == []
    assert benjamini_hochberg(np.array([np.nan])).tolist() == [False]


def test_universes_and_horizons_are_judged_apart_and_no_t_gives_no_verdict() -> None:
    rows = pl.DataFrame(
        {
            "universe": ["members"] * 3 + ["all"] * 2,
            "horizon": [5, 5, 5, 5, 20],
            "t": [3.2, -2.1, None, -2.1, 9.0],
            "p_value": [0.002, 0.04, None, 0.04, 1e-9],
        }
    )
    out = judged(rows)
    assert out["bh_rejected"].to_list() == [True, True, None, True, True]
    assert out["hlz_passed"].to_list() == [True, False, None, False, True]
    assert judged(rows.clear())["hlz_passed"].dtype == pl.Boolean


def test_a_library_of_noise_is_seldom_believed() -> None:
    """30 noise factors with 20-day labels, 40 libraries: any rejection at all in 5 % of them at most,
    were the test exact and the factors independent; 12 % is three standard errors more."""
    rng = np.random.default_rng(7)
    libraries, believed = 40, 0
    for _ in range(libraries):
        shocks = rng.standard_normal((30, 700 + 19))
        running = np.cumsum(np.pad(shocks, ((0, 0), (1, 0))), axis=1)
        ics = running[:, 20:] - running[:, :-20]
        p = np.array([mean_test(row, 20).p_value for row in ics])
        believed += benjamini_hochberg(p).any()
    assert believed <= 0.05 * libraries + 3 * (0.05 * 0.95 * libraries) ** 0.5
