"""How sure one can be: ICs with conservative t values, VaR exceptions against their number.

Small, closed-form, without LAPACK. The report and the alerts say the same words from the same
numbers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

DETECTABLE = 2.8
"""Standard errors that a true effect needs to be found with 80 % power at 5 % (1.96 + 0.84)."""


@dataclass(frozen=True, slots=True)
class Mean:
    """A mean of overlapping observations and how much of it is noise.

    n: observations; t: the smaller of the Newey–West (2h lags) and the non-overlapping t, with the
    sign of the mean; se: the larger standard error; detectable: 2.8 × se. None where n is too
    small to say.
    """

    n: int
    mean: float | None
    t: float | None
    se: float | None
    detectable: float | None

    @property
    def distinguishable(self) -> bool:
        """|t| of at least 1.96 by the conservative standard error."""
        return self.t is not None and abs(self.t) >= 1.96


def mean_with_overlap(values: np.ndarray, horizon: int) -> Mean:
    """Mean of daily ``values`` that each look ``horizon`` sessions ahead; NaN is left out.

    Two standard errors, of which the larger counts: Newey–West (1987) with 2h Bartlett lags (h−1
    lags reject 11–14 % of true nulls at 5 %, 2h lags 7–12 %); and that of every h-th observation,
    averaged over the h possible shifts. Fewer than 3 h observations: no standard error.
    """
    x = values[~np.isnan(values)].astype(np.float64)
    n = x.size
    if n == 0:
        return Mean(0, None, None, None, None)
    mean = float(x.sum() / n)
    if n < 3 * horizon or n < 20:
        return Mean(n, mean, None, None, None)
    d = x - mean
    lags = min(2 * horizon, n - 1)
    variance = float((d * d).sum())
    for k in range(1, lags + 1):
        variance += 2.0 * (1.0 - k / (lags + 1)) * float((d[k:] * d[:-k]).sum())
    newey_west = math.sqrt(max(variance, 0.0)) / n
    spaced = []
    for shift in range(horizon):
        part = x[shift::horizon]
        spaced.append(
            math.sqrt(float(((part - part.mean()) ** 2).sum()) / (part.size - 1) / part.size)
        )
    se = max(newey_west, math.fsum(spaced) / len(spaced))
    if se <= 0:
        return Mean(n, mean, None, None, None)
    return Mean(n, mean, mean / se, se, DETECTABLE * se)


def kupiec_p(exceptions: int, n: int, level: float) -> float | None:
    """p of Kupiec's (1995) proportion-of-failures test: exceptions against ``n (1 − level)``.

    level: of the VaR, e.g. 0.99. χ² with one degree of freedom. None without observations.
    """
    if n == 0:
        return None
    p, x = 1.0 - level, exceptions
    log_null = (n - x) * math.log1p(-p) + x * math.log(p)
    share = x / n
    log_alternative = (x * math.log(share) if x else 0.0) + (
        (n - x) * math.log1p(-share) if x < n else 0.0
    )
    return math.erfc(math.sqrt(max(log_alternative - log_null, 0.0)))


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
