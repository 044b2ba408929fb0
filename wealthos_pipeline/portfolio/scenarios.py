"""What frozen holdings would have earned in each session of a window: one row of scenarios a date."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wealthos_pipeline.portfolio.panel import Panel
from wealthos_pipeline.portfolio.problem import Floats

BLOCK = 1024
"""Dates at a time: what is held in memory. A date's numbers do not depend on it."""


def session_returns(panel: Panel) -> Floats:
    """One-session total returns, sessions × names; NaN unless both bars are there."""
    out = np.full(panel.tr.shape, np.nan)
    if len(panel.dates) > 1:
        out[1:] = panel.tr[1:] / panel.tr[:-1] - 1.0
    return out


@dataclass(frozen=True, eq=False)
class Frozen:
    """Scenarios of a block of dates.

    at: positions of the dates in ``weights``. returns: dates × sessions, of net asset value, oldest first.
    usable: whether a held name had a return in that session; where not, ``returns`` is 0.
    """

    at: slice
    returns: Floats
    usable: NDArray[np.bool_]


def frozen(
    weights: Floats, rows: NDArray[np.int64], returns: Floats, sessions: int
) -> Iterator[Frozen]:
    """Holdings of each date applied to the ``sessions`` returns that end with it, block by block.

    weights: T × N, fractions of net asset value, 0 where nothing is held; cash is left out and earns 0.
    rows: T rows of ``returns``. returns: sessions × N of the same names, NaN where there is none. A held
    name without a return in a session is given the mean return of the other held names there.

    Names are added in their order, one by one, so that the bits do not depend on what else is in the
    matrix or on where the block begins.
    """
    names = returns.shape[1]
    padded = np.full((names, sessions - 1 + len(returns)), np.nan)
    padded[:, sessions - 1 :] = returns.T
    seen = np.isfinite(padded).astype(np.float64)
    filled = np.where(seen > 0, padded, 0.0)
    kernel = _kernel()
    for begin in range(0, len(rows), BLOCK):
        at = slice(begin, min(begin + BLOCK, len(rows)))
        part = np.ascontiguousarray(weights[at])
        out = np.zeros((len(part), sessions))
        counts = np.zeros((len(part), sessions))
        kernel(part, np.ascontiguousarray(rows[at]), filled, seen, out, counts)
        yield Frozen(at, out, counts > 0)


def earned(weights: Floats, moves: Floats) -> Floats:
    """``Σ_i w_i r_i`` by row, added in the order of the names, nothing else. Both T × N; T."""
    total = np.zeros(len(weights))
    for j in range(weights.shape[1]):
        # adding 0 leaves a sum as it is: names that are not held do not change a bit
        total += np.where(weights[:, j] != 0.0, weights[:, j] * moves[:, j], 0.0)
    return total


@cache
def _kernel() -> Any:
    from wealthos_pipeline.factors.kernels.jit import F8_2, I8, kernel

    return kernel(f"void({F8_2}, {I8}, {F8_2}, {F8_2}, {F8_2}, {F8_2})")(_scenarios)


def _scenarios(
    weights: Any, rows: Any, filled: Any, seen: Any, out: Any, counts: Any
) -> None:  # pragma: no cover - compiled
    dates, names = weights.shape
    sessions = out.shape[1]
    total = np.empty(sessions)
    missing = np.empty(sessions)
    for t in range(dates):
        first = rows[t]
        total[:] = 0.0
        missing[:] = 0.0
        for j in range(names):
            w = weights[t, j]
            if w == 0.0:
                continue
            x = filled[j, first : first + sessions]
            there = seen[j, first : first + sessions]
            for s in range(sessions):
                out[t, s] += w * x[s]
                total[s] += x[s]
                counts[t, s] += there[s]
                missing[s] += w * (1.0 - there[s])
        for s in range(sessions):
            if counts[t, s] > 0.0:
                out[t, s] += missing[s] * (total[s] / counts[t, s])
