"""The stationary bootstrap against its published variance."""

import numpy as np
import pytest

from wealthos_pipeline.stats.bootstrap import (
    block_length,
    stationary_bootstrap,
    stationary_indices,
    stationary_means,
    stationary_se,
)


def test_variance_of_the_mean_is_that_of_politis_and_romano() -> None:
    """Lemma 1 of the paper gives the bootstrap variance of the mean in closed form (circular
    autocovariances)."""
    rng = np.random.default_rng(3)
    n, block = 120, 6.0
    x = np.convolve(rng.standard_normal(n + 4), np.ones(5), "valid")
    e = x - x.mean()
    gamma = np.array([np.mean(e * np.roll(e, -i)) for i in range(n)])
    i = np.arange(1, n)
    q = 1 - 1 / block
    expected = (gamma[0] + 2 * np.sum((1 - i / n) * q**i * gamma[1:])) / n
    means = stationary_bootstrap(x, np.mean, mean_block=block, draws=20_000, seed=1)
    assert means.var() == pytest.approx(expected, rel=0.04)
    assert means.mean() == pytest.approx(x.mean(), abs=4 * np.sqrt(expected / 20_000))


def test_blocks_have_the_mean_length_and_wrap_around() -> None:
    rows = stationary_indices(500, 8.0, 200, 5)
    breaks = (np.diff(rows, axis=1) % 500) != 1
    assert breaks.mean() == pytest.approx(1 / 8, abs=0.005)
    assert rows.min() == 0
    assert rows.max() == 499
    wraps = (rows[:, :-1] == 499) & (rows[:, 1:] == 0)
    assert wraps.any()


def test_block_one_is_the_ordinary_bootstrap_and_seeds_decide() -> None:
    rows = stationary_indices(50, 1.0, 2000, 0)
    counts = np.bincount(rows.ravel(), minlength=50)
    assert counts.std() / counts.mean() < 0.05
    assert (rows == stationary_indices(50, 1.0, 2000, 0)).all()
    assert (rows != stationary_indices(50, 1.0, 2000, 1)).any()


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="mean_block"):
        stationary_indices(10, 0.5, 1, 0)


@pytest.mark.parametrize(("block", "n"), [(1.0, 300), (8.0, 300), (40.0, 120)])
def test_the_standard_error_needs_no_draws(block: float, n: int) -> None:
    x = np.convolve(np.random.default_rng(3).standard_normal(n + 4), np.ones(5), "valid")
    se = stationary_se(x, block)
    one_by_one = stationary_bootstrap(x, np.mean, mean_block=block, draws=4000, seed=4)
    in_blocks = stationary_means(x, block, draws=20_000, seed=5)
    assert one_by_one.std() == pytest.approx(se, rel=0.05)
    assert in_blocks.std() == pytest.approx(se, rel=0.025)
    assert in_blocks.mean() == pytest.approx(x.mean(), abs=4 * se / np.sqrt(20_000))
    quantiles = (0.025, 0.5, 0.975)
    spread = np.abs(np.quantile(one_by_one, quantiles) - np.quantile(in_blocks, quantiles))
    assert (spread < 0.12 * se).all()
    assert (in_blocks == stationary_means(x, block, draws=20_000, seed=5)).all()


def test_the_standard_error_of_little() -> None:
    assert np.isnan(stationary_se(np.array([1.0]), 2.0))
    assert stationary_se(np.full(9, 0.1), 2.0) == 0.0
    assert (stationary_means(np.full(9, 0.1), 2.0, 5, 0) == 0.1).all()
    for bad in (
        lambda: stationary_se(np.ones(3), 0.5),
        lambda: stationary_means(np.ones(3), 1, 0, 0),
    ):
        with pytest.raises(ValueError, match="1 or more"):
            bad()


@pytest.mark.parametrize("overlap", [3, 5, 20])
def test_block_length_is_that_of_arch(overlap: int) -> None:
    from arch.bootstrap import optimal_block_length

    x = np.convolve(np.random.default_rng(1).standard_normal(2000), np.ones(overlap), "valid")
    theirs = float(optimal_block_length(x)["stationary"].iloc[0])
    assert block_length(x) == pytest.approx(theirs, rel=0.05)
    assert block_length(np.ones(50)) == 1.0
