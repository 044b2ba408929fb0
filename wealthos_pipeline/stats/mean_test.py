"""Is the mean of an overlapping series different from 0? Three answers, and the most careful one.

The daily information coefficients of a label of ``h`` sessions share ``h − 1`` of them with the
next date's. Newey–West with 2h lags and the stationary bootstrap with blocks of 2h both put too
little weight on far covariances and reject too often; every h-th value is sound and throws little
away when the shifts are averaged, unless the series depends on what lies further back than h, which
is what blocks of the length that Politis and White choose are for. The t nearest 0 decides, against Student's t with as many degrees
of freedom as there are labels without overlap, less one. Sizes: ``docs/research/statistics.md``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from wealthos_pipeline.stats.bootstrap import block_length, stationary_se
from wealthos_pipeline.stats.newey_west import (
    detectable_mean,
    mean_tstat,
    non_overlapping_tstat,
)

METHODS = ("newey_west", "bootstrap", "non_overlapping")


@dataclass(frozen=True, slots=True)
class MeanTest:
    """Mean of a series whose neighbours overlap by ``horizon``, and how sure it is.

    se: the largest of the three standard errors. t: the t nearest 0, ``decided_by`` its method.
    p_value: two-sided, of ``t``. half_width: of a 95 % interval, ``se`` times Student's quantile with
    the same degrees. detectable: 2.8 · se, the smallest mean seen with 80 % power at 5 %.
    labels: values that lie side by side without overlap, at least 1.
    NaN where there are fewer than two values or they are all alike.
    """

    observations: int
    mean: float
    se: float
    t_newey_west: float
    t_bootstrap: float
    t_non_overlapping: float
    t: float
    decided_by: str
    p_value: float
    half_width: float
    detectable: float
    labels: int = 0


def mean_block(values: np.ndarray, horizon: int) -> float:
    """Mean block length for the stationary bootstrap of ``values`` (no NaN): 2h, or what Politis and
    White choose if that is longer; at most half of the series."""
    return min(max(2.0 * horizon, block_length(values)), max(1.0, len(values) / 2))


def crowd(known: np.ndarray, horizon: int) -> int:
    """The most values that stand within ``horizon`` neighbouring places: every so many-th overlaps none."""
    running = np.concatenate([[0], np.cumsum(known)])
    wide = min(horizon, len(known))
    return max(int((running[wide:] - running[: len(running) - wide]).max()), 1) if wide else 1


def mean_test(values: np.ndarray, horizon: int) -> MeanTest:
    """Test of the mean of ``values`` (1-D, in time order, NaN dropped) with labels of ``horizon``.

    NaN keep their place: where values are so far apart that labels overlap less than ``horizon`` deep
    (a factor of month-ends), they are tested with the depth that they have.
    """
    from scipy.special import stdtr, stdtrit

    x = np.asarray(values, dtype=np.float64).ravel()
    kept = x[np.isfinite(x)]
    if (depth := crowd(np.isfinite(x), horizon)) < min(horizon, len(kept)):
        x, horizon = kept, depth
    mean, se_nw, t_nw = mean_tstat(kept, 2 * horizon)
    _, se_apart, t_apart = non_overlapping_tstat(x, horizon)
    se_boot = stationary_se(kept, mean_block(kept, horizon))
    t_boot = mean / se_boot if se_boot > 0 else math.nan
    ts = dict(zip(METHODS, (t_nw, t_boot, t_apart), strict=True))
    known = {k: abs(t) for k, t in ts.items() if math.isfinite(t)}
    decided = min(known, key=lambda k: known[k]) if known else ""
    se = max(
        (s for s in (se_nw, se_boot, se_apart) if math.isfinite(s) and s > 0), default=math.nan
    )
    t = ts[decided] if decided else math.nan
    free = max(len(kept) // horizon - 1, 1)
    return MeanTest(
        len(kept), mean, se, t_nw, t_boot, t_apart, t, decided,
        2.0 * float(stdtr(free, -abs(t))) if decided else math.nan,
        float(stdtrit(free, 0.975)) * se, detectable_mean(se),
        max(len(kept) // horizon, 1),
    )  # fmt: skip
