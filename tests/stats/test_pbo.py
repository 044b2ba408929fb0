"""CSCV against a direct computation, and on noise and signal."""

from itertools import combinations

import numpy as np
import pytest
from scipy.stats import rankdata

from wealthos_pipeline.stats.pbo import overfitting_probability


def direct(returns: np.ndarray, blocks: int) -> list[float]:
    parts = np.array_split(returns, blocks)
    logits = []
    for chosen in combinations(range(blocks), blocks // 2):
        inside = np.concatenate([parts[i] for i in chosen])
        outside = np.concatenate([parts[i] for i in range(blocks) if i not in chosen])
        best = np.argmax(inside.mean(axis=0) / inside.std(axis=0, ddof=1))
        ranks = rankdata(outside.mean(axis=0) / outside.std(axis=0, ddof=1))
        omega = ranks[best] / (returns.shape[1] + 1)
        logits.append(np.log(omega / (1 - omega)))
    return logits


def test_equals_the_direct_computation() -> None:
    returns = np.random.default_rng(1).standard_normal((160, 6)) * 0.01 + 0.003
    found = overfitting_probability(returns, 8)
    expected = direct(returns, 8)
    np.testing.assert_allclose(found.logits, expected, rtol=1e-12, atol=1e-12)
    assert found.probability == np.mean(np.array(expected) <= 0)
    odd = np.array(direct(returns[:, :3], 8))
    share = np.mean(odd < -1e-9) + 0.5 * np.mean(np.abs(odd) < 1e-9)
    assert overfitting_probability(returns[:, :3], 8).probability == pytest.approx(share)


def test_a_dominant_strategy_is_not_overfitted() -> None:
    rng = np.random.default_rng(6)
    signal = rng.standard_normal((240, 20))
    signal[:, 3] += 0.5
    assert overfitting_probability(signal, 8).probability < 0.05


def test_left_over_periods_are_dropped_from_the_start() -> None:
    x = np.random.default_rng(2).standard_normal((85, 4))
    assert (
        overfitting_probability(x, 8).logits.tolist()
        == overfitting_probability(x[5:], 8).logits.tolist()
    )


@pytest.mark.parametrize(
    ("returns", "blocks", "words"),
    [
        (np.zeros(30), 4, "strategies"),
        (np.zeros((30, 1)), 4, "strategies"),
        (np.zeros((30, 2)), 5, "even"),
        (np.zeros((7, 2)), 4, "too few"),
        (np.full((30, 2), np.nan), 4, "finite"),
    ],
)
def test_bad_input_is_named(returns: np.ndarray, blocks: int, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        overfitting_probability(returns, blocks)
