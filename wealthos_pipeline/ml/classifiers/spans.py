"""What counts as turbulence: volatility of the sessions to come against what was known before.

The span of t with horizon h is the sessions t+2 … t+1+h: returns after the close of t+1, at which a
decision on the close of t is filled. It is turbulent if its volatility is above the q-quantile of the
volatilities of spans whose last session was at or before t. The measure moves with the times: a fifth of
the spans is turbulent on average, and far more of those after a calm decade.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from dataclasses import dataclass

import numpy as np

YEAR = 252
KNOWN = 2520
"""The quantile is of at most so many spans, the latest."""

LEAST = 504
"""Of fewer known spans there is no quantile."""

PRESENT = 0.75
"""Share of a span's sessions that must have a return."""


@dataclass(frozen=True, slots=True)
class Spans:
    """By slot, float64. ``volatility``: of the span, a year; NaN where its last session has no return.
    ``threshold``: of what was known at the slot; NaN while too few were. ``outcome``: 1 turbulent, 0 not,
    NaN where one of the two is not there."""

    volatility: np.ndarray
    threshold: np.ndarray
    outcome: np.ndarray


def spans(ret: np.ndarray, horizon: int, quantile: float) -> Spans:
    """Spans of a market with returns ``ret`` (decimal, a slot each, NaN where there is none).

    Volatility is the root of the mean square (a mean of twenty daily returns is noise), times √252.
    Nothing at a slot depends on where ``ret`` begins but through the spans that there are.
    """
    volatility = _volatility(ret, horizon)
    threshold = np.full(len(ret), np.nan)
    ordered: list[float] = []
    for slot in range(horizon + 1, len(ret)):
        new = float(volatility[slot - horizon - 1])
        if new == new:
            insort(ordered, new)
        gone = slot - horizon - 1 - KNOWN
        if gone >= 0 and volatility[gone] == volatility[gone]:
            del ordered[bisect_left(ordered, float(volatility[gone]))]
        if len(ordered) >= LEAST:
            place = quantile * (len(ordered) - 1)
            low = int(place)
            above = ordered[min(low + 1, len(ordered) - 1)]
            threshold[slot] = ordered[low] + (place - low) * (above - ordered[low])
    both = np.isfinite(volatility) & np.isfinite(threshold)
    return Spans(volatility, threshold, np.where(both, volatility > threshold, np.nan))


def _volatility(ret: np.ndarray, horizon: int) -> np.ndarray:
    out = np.full(len(ret), np.nan)
    size = len(ret) - horizon - 1
    if size <= 0:
        return out
    square, there = np.zeros(size), np.zeros(size)
    for lag in range(2, horizon + 2):
        part = ret[lag : lag + size]
        known = np.isfinite(part)
        square += np.where(known, part * part, 0.0)
        there += known
    whole = (there >= PRESENT * horizon) & np.isfinite(ret[horizon + 1 :])
    out[:size][whole] = np.sqrt(YEAR * square[whole] / there[whole])
    return out
