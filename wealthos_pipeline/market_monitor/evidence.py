"""How sure one can be, in the words that the report, the alerts and the notes share."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from wealthos_pipeline.stats.mean_test import mean_test
from wealthos_pipeline.stats.var_tests import kupiec


@dataclass(frozen=True, slots=True)
class Mean:
    """A mean of overlapping observations and how much of it is noise.

    n: observations; t: the one nearest 0 of three that know the overlap, se: the largest of their standard errors
    (``stats.mean_test``); p: two-sided, of t; detectable: 2.8 × se. None where n is too small to say.
    """

    n: int
    mean: float | None
    t: float | None
    se: float | None
    detectable: float | None
    p: float | None = None

    @property
    def distinguishable(self) -> bool:
        """p below 5 %."""
        return self.p is not None and self.p < 0.05


def mean_with_overlap(values: np.ndarray, horizon: int) -> Mean:
    """Mean of daily ``values`` that each look ``horizon`` sessions ahead.

    NaN is left out, but keeps its place in time: without it two observations that do not overlap
    would seem nearer to each other than they are.

    Fewer than 3 h, or 20, observations: a mean without a standard error.
    """
    x = values[~np.isnan(values)].astype(np.float64)
    if x.size == 0:
        return Mean(0, None, None, None, None)
    test = mean_test(values, horizon)
    if x.size < max(3 * horizon, 20) or not (math.isfinite(test.t) and test.se > 0):
        return Mean(x.size, test.mean, None, None, None)
    return Mean(x.size, test.mean, test.t, test.se, test.detectable, test.p_value)


def kupiec_p(exceptions: int, n: int, level: float) -> float | None:
    """p of Kupiec's test: ``exceptions`` against ``n (1 − level)``; None without observations."""
    return kupiec(exceptions, n, 1.0 - level).p_value if n else None


def plain_title(title: str) -> str:
    """A factor's title without the unit in brackets at its end."""
    return title.rpartition(" [")[0] if title.endswith("]") and " [" in title else title


def signed(value: float, digits: int) -> str:
    """``value`` with its sign, a true minus, and no sign on what rounds to zero."""
    text = f"{value:+.{digits}f}"
    return text.replace("-", "−") if float(text) else text[1:]


def ic_words(ic: Mean, what: str) -> str:
    """One sentence about a rank IC, honest about what the panel can show."""
    if ic.mean is None:
        return f"{what}: no rank IC is known yet."
    if ic.detectable is None or ic.t is None:
        return f"{what}: rank IC {signed(ic.mean, 3)} over {ic.n:,} dates, too few to judge."
    verdict = (
        "distinguishable from 0"
        if ic.distinguishable
        else f"not distinguishable from 0; this panel cannot detect an IC below {ic.detectable:.3f}"
    )
    return f"{what}: rank IC {signed(ic.mean, 3)} (t {signed(ic.t, 1)}, {ic.n:,} dates), {verdict}."
