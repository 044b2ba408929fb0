"""Hansen's test against the implementation of arch, and what must not change it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from arch import bootstrap as arch

from wealthos_pipeline.stats.bootstrap import stationary_se
from wealthos_pipeline.stats.spa import spa


def lot(seed: int, good: float = 0.0, bad: float = 0.0) -> np.ndarray:
    x = np.random.default_rng(seed).standard_normal((300, 6))
    x = x[1:] + 0.3 * x[:-1]
    x[:, 0] += good
    x[:, 1:4] -= bad
    return x


@pytest.mark.parametrize(("seed", "good", "bad"), [(1, 0.0, 0.0), (2, 0.12, 0.0), (3, 0.1, 0.4)])
def test_p_values_are_those_of_arch(seed: int, good: float, bad: float) -> None:
    """Theirs does not studentise, so the columns are given the same standard error first."""
    x = lot(seed, good, bad)
    x /= np.array([stationary_se(c, 5.0) for c in x.T])
    mine = spa(x, mean_block=5.0, draws=2000, seed=1)
    theirs = arch.SPA(np.zeros(len(x)), -x, block_size=5, reps=1000, bootstrap="stationary", seed=2)
    theirs.compute()
    found = [mine.lower, mine.p_value, mine.upper]
    np.testing.assert_allclose(found, theirs.pvalues.to_numpy(), atol=0.045)


def test_the_three_are_ordered_and_bad_strategies_cost_little() -> None:
    x = lot(4, good=0.06)
    alone = spa(x, mean_block=5.0, draws=400)
    crowd = np.hstack([x, x[:, 1:] - 1.0, x[:, 1:] - 2.0])
    among = spa(crowd, mean_block=5.0, draws=400)
    for p in (alone, among):
        assert p.lower <= p.p_value <= p.upper
    assert among.p_value <= alone.p_value + 0.02
    # with the bar set by all of them, as in the reality check, noise around bad ones counts too
    assert among.upper >= alone.p_value


def test_units_and_order_do_not_matter_and_seeds_decide() -> None:
    x = lot(5, good=0.05)
    found = spa(x, mean_block=4.0, draws=200, seed=3)
    scaled = x[:, ::-1] * np.array([1.0, 8.0, 0.25, 2.0, 1.0, 16.0])
    assert spa(scaled, mean_block=4.0, draws=200, seed=3) == found
    assert spa(x, mean_block=4.0, draws=200, seed=3) == found
    assert spa(x, mean_block=4.0, draws=200, seed=4) != found


def test_little_and_wrong_input() -> None:
    x = lot(6)
    assert spa(-np.abs(x), mean_block=3.0, draws=50).p_value == 1.0
    assert math.isnan(spa(np.zeros((20, 2)), mean_block=3.0).p_value)
    with_constant = np.hstack([x, np.zeros((len(x), 1))])
    assert spa(with_constant, mean_block=3.0, draws=50) == spa(x, mean_block=3.0, draws=50)
    for bad, words in ((x[:, 0], "shape"), (x[:1], "2 periods"), (x * np.nan, "finite")):
        with pytest.raises(ValueError, match=words):
            spa(bad, mean_block=3.0)
