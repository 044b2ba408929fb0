"""VaR backtests against scipy and published critical values."""

from itertools import pairwise

import numpy as np
import pytest
from scipy import stats

from wealthos_pipeline.stats.var_tests import christoffersen, kupiec


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
