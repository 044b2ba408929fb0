"""Is the best of many strategies better than the benchmark? Hansen's test of superior predictive ability.

The best of many is good by luck alone. The test compares the largest studentised mean excess return with
what the largest would be if no strategy were better, resampling all of them together in blocks, so that
neither the correlation among strategies nor that in time is assumed away. Strategies that are clearly worse
than the benchmark do not make the test weaker, as they do in White's (2000) reality check.

Source: Hansen (2005), "A test for superior predictive ability", Journal of Business & Economic Statistics 23.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from wealthos_pipeline.stats.bootstrap import stationary_means, stationary_se


@dataclass(frozen=True, slots=True)
class SPA:
    """p-values of the null that no strategy has a mean excess above 0.

    p_value: the consistent one, which is the one to use. lower: as if every strategy that looks worse than the
    benchmark were exactly as bad as it looks (liberal). upper: as if all were as good as the benchmark
    (conservative; a studentised reality check). NaN where no strategy's excess varies.
    """

    p_value: float
    lower: float
    upper: float


def spa(excess: np.ndarray, *, mean_block: float, draws: int = 1000, seed: int = 0) -> SPA:
    """Hansen's test on ``excess``: (T, k) returns of k strategies less the benchmark's, in time order.

    mean_block: mean length of the blocks of the stationary bootstrap, in periods, ≥ 1 (``bootstrap.block_length``
    of the best strategy is a choice). All finite, at least two periods, else ValueError. A column that does not
    vary says nothing that could be tested and is left out. The same arguments give the same bits.
    """
    x = np.asarray(excess, dtype=np.float64)
    if x.ndim != 2 or x.shape[0] < 2 or x.shape[1] < 1:
        raise ValueError(
            f"excess must be at least 2 periods × at least 1 strategy, found shape {x.shape}"
        )
    if not np.isfinite(x).all():
        raise ValueError("excess must be finite; drop or fill what is missing first")
    x = x[:, np.ptp(x, axis=0) > 0]
    if not x.shape[1]:
        return SPA(math.nan, math.nan, math.nan)
    n = len(x)
    mean = np.array([math.fsum(column) / n for column in x.T])
    se = np.array([stationary_se(column, mean_block) for column in x.T])
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.where(se > 0, mean / se, 0.0)
    best = max(float(t.max()), 0.0)
    # one seed: every column is resampled at the same periods
    drawn = np.column_stack([stationary_means(c, mean_block, draws, seed) for c in x.T])
    poor = t <= -math.sqrt(2.0 * math.log(max(math.log(n), 1.0)))
    centres = (np.where(poor, 0.0, mean), np.maximum(mean, 0.0), mean)
    found = []
    for centre in centres:
        with np.errstate(divide="ignore", invalid="ignore"):
            z = np.where(se > 0, (drawn - centre) / se, 0.0)
        most = np.maximum(z.max(axis=1), 0.0)
        found.append(float(np.mean(most >= best)))
    return SPA(found[0], found[1], found[2])
