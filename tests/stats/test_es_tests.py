"""Acerbi & Székely's tests against their paper, a plain loop and simulated sizes and powers."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from wealthos_pipeline.stats import es_tests
from wealthos_pipeline.stats.es_tests import acerbi_szekely, statistics


def normal_forecasts(n: int, p: float) -> tuple[np.ndarray, np.ndarray]:
    q = stats.norm.ppf(p)
    return np.full(n, -q), np.full(n, stats.norm.pdf(q) / p)


def test_statistics_are_the_papers_sums() -> None:
    x = np.array([-3.0, 1.0, -0.5, -4.0])
    var, es = np.array([2.0, 2.0, 2.0, 3.0]), np.array([2.5, 2.5, 2.5, 5.0])
    z1, z2 = statistics(x, var, es, 0.25)
    assert z1 == pytest.approx((-3.0 / 2.5 - 4.0 / 5.0) / 2 + 1)
    assert z2 == pytest.approx((-3.0 / 2.5 - 4.0 / 5.0) / (4 * 0.25) + 1)


@pytest.mark.parametrize("shape", [0.0, 0.2])
def test_critical_values_of_z2_are_those_of_the_paper(shape: float) -> None:
    """Acerbi & Székely (2014), section 2.2 and table 4: at T = 250 and 2.5 % the 5 % critical value of Z2 is
    about −0.7 whatever the tail is."""
    var, es = normal_forecasts(250, 0.025)
    null = es_tests._simulated(var / es, 0.025, 0.025, shape, 20_000, 1, 1.0)[1]
    assert np.quantile(null, 0.05) == pytest.approx(-0.70, abs=0.04)
    assert null.mean() == pytest.approx(0.0, abs=0.01)


def test_right_forecasts_are_rejected_as_often_as_said() -> None:
    rng = np.random.default_rng(3)
    var, es = normal_forecasts(1000, 0.05)
    found = [acerbi_szekely(rng.normal(size=1000), var, es, 0.05, draws=500) for _ in range(200)]
    for p in ([f.p1 for f in found], [f.p2 for f in found]):
        assert 0.005 < np.mean(np.array(p) < 0.05) < 0.12


def test_understated_tails_are_found_with_the_power_that_is_stated() -> None:
    rng = np.random.default_rng(4)
    n, p = 1000, 0.05
    var, es = normal_forecasts(n, p)
    stated = acerbi_szekely(rng.normal(size=n), var, es, p)
    # exceptions twice as frequent, of the same shape
    scale = stats.norm.ppf(p) / stats.norm.ppf(2 * p)
    found = [acerbi_szekely(scale * rng.normal(size=n), var, es, p).p2 < 0.05 for _ in range(100)]
    assert np.mean(found) == pytest.approx(stated.power_z2, abs=0.05)
    assert stated.power_z2 > 0.9
    few = acerbi_szekely(rng.normal(size=100), var[:100], es[:100], p)
    assert few.power_z2 < stated.power_z2
    assert few.power_z1 < stated.power_z1


def test_no_exception_leaves_the_first_test_open() -> None:
    var, es = normal_forecasts(50, 0.01)
    found = acerbi_szekely(np.full(50, 0.1), var, es, 0.01)
    assert np.isnan(found.z1)
    assert found.z2 == 1.0
    assert found.p2 > 0.3
    assert np.isnan(acerbi_szekely(np.zeros(0), np.zeros(0), np.zeros(0), 0.01).z2)
    with pytest.raises(ValueError, match="one length"):
        acerbi_szekely(np.zeros(3), var, es, 0.01)


def test_the_same_forecasts_give_the_same_bits() -> None:
    var, es = normal_forecasts(300, 0.05)
    x = np.random.default_rng(9).normal(size=300)
    first = acerbi_szekely(x, var, es, 0.05)
    es_tests._exceptions.cache_clear()
    assert acerbi_szekely(x, var, es, 0.05) == first
