"""VaR backtests against scipy and published critical values."""

from itertools import pairwise

import numpy as np
import pytest
from scipy import stats

from wealthos_pipeline.stats.var_tests import (
    christoffersen,
    independence_power,
    kupiec,
    kupiec_power,
    traffic_light,
)


def test_kupiec_table_of_non_rejection() -> None:
    """Kupiec (1995), table 2: with p = 0.01 and 510 days, 2 to 10 exceptions are not rejected
    at 5 % (1 < N < 11); with p = 0.05 and 255 days, 7 to 20 (6 < N < 21)."""
    accepted = [n for n in range(40) if kupiec(n, 510, 0.01).p_value > 0.05]
    assert (accepted[0], accepted[-1]) == (2, 10)
    accepted = [n for n in range(60) if kupiec(n, 255, 0.05).p_value > 0.05]
    assert (accepted[0], accepted[-1]) == (7, 20)


@pytest.mark.parametrize(("hits", "n", "p"), [(0, 250, 0.01), (9, 250, 0.01), (250, 250, 0.05)])
def test_kupiec_against_scipy(hits: int, n: int, p: float) -> None:
    found = kupiec(hits, n, p)
    null = stats.binom.logpmf(hits, n, p)
    best = stats.binom.logpmf(hits, n, hits / n)
    assert found.statistic == pytest.approx(2 * (best - null), rel=1e-9)
    assert found.p_value == pytest.approx(stats.chi2.sf(found.statistic, 1), rel=1e-9)


def test_christoffersen_against_a_direct_likelihood() -> None:
    hits = np.random.default_rng(4).random(400) < 0.08
    counts = np.zeros((2, 2))
    for a, b in pairwise(hits):
        counts[int(a), int(b)] += 1
    chain = counts / counts.sum(axis=1, keepdims=True)
    pooled = counts.sum(axis=0) / counts.sum()
    lr = 2 * ((counts * np.log(chain)).sum() - (counts.sum(axis=0) * np.log(pooled)).sum())
    found = christoffersen(hits, 0.05)
    assert found.independence.statistic == pytest.approx(lr, rel=1e-9)
    both = lr + kupiec(int(hits[1:].sum()), 399, 0.05).statistic
    assert found.conditional.statistic == pytest.approx(both, rel=1e-9)
    assert found.conditional.p_value == pytest.approx(stats.chi2.sf(both, 2), rel=1e-9)


def test_clustered_exceptions_are_found_and_independent_ones_mostly_not() -> None:
    clustered = np.zeros(500, dtype=bool)
    clustered[100:125] = True
    found = christoffersen(clustered, 0.05)
    assert kupiec(25, 500, 0.05).p_value > 0.9
    assert found.independence.p_value < 1e-6
    rng = np.random.default_rng(2)
    rejected = sum(
        christoffersen(rng.random(1000) < 0.05, 0.05).conditional.p_value < 0.05 for _ in range(300)
    )
    assert rejected < 33  # 5 % nominal, plus the asymptotics' excess


def test_no_exceptions_and_bad_arguments() -> None:
    assert christoffersen(np.zeros(100, dtype=bool), 0.05).independence.p_value == 1.0
    with pytest.raises(ValueError, match="exceptions"):
        kupiec(11, 10, 0.05)
    with pytest.raises(ValueError, match="at least 2"):
        christoffersen(np.array([True]), 0.05)


def test_power_of_kupiec_is_the_binomial_chance_of_a_rejected_count() -> None:
    for n, p, true in ((250, 0.01, 0.02), (500, 0.05, 0.1), (60, 0.01, 0.02)):
        rejected = [k for k in range(n + 1) if kupiec(k, n, p).p_value < 0.05]
        expected = stats.binom.pmf(rejected, n, true).sum()
        assert kupiec_power(n, p, true) == pytest.approx(expected, rel=1e-9)
    assert kupiec_power(250, 0.01, 0.02) < 0.5 < kupiec_power(2000, 0.01, 0.02)


def test_power_of_independence_is_found_in_chains_of_that_kind() -> None:
    rng = np.random.default_rng(5)
    p, after, n = 0.05, 0.2, 400
    calm = p * (1 - after) / (1 - p)
    found = 0
    for _ in range(150):
        hits = np.zeros(n, dtype=bool)
        for t in range(1, n):
            hits[t] = rng.random() < (after if hits[t - 1] else calm)
        found += christoffersen(hits, p).independence.p_value < 0.05
    assert independence_power(n, p) == pytest.approx(found / 150, abs=0.12)
    assert independence_power(100, 0.01) < 0.5 < independence_power(5000, 0.01)


def test_traffic_light_has_the_zones_of_the_basel_committee() -> None:
    """Basel Committee (1996), table 1: of 250 at 99 %, yellow is 5 to 9 and red 10 or more."""
    zones = [traffic_light(k, 250) for k in range(12)]
    assert zones == ["green"] * 5 + ["yellow"] * 5 + ["red"] * 2
