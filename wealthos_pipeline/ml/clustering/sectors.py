"""Statistical sectors: names whose returns move together once the market is taken out.

What all names share hides the rest: on raw correlations of some 500 names the best number of clusters is
two. The residuals of a regression on the market leave banks with banks.
"""

from __future__ import annotations

import numpy as np


def residuals(returns: np.ndarray) -> np.ndarray:
    """What an ordinary regression on the market leaves of each column of ``returns``.

    returns: (sessions, names), NaN where missing. The market is the mean of the names that are there on a
    session; a name is regressed, with a constant, over the sessions that it has. A column that the
    market explains entirely is NaN; where the market does not vary, only means are taken out.
    """
    known = np.isfinite(returns)
    count = known.sum(axis=1)
    market = np.where(known, returns, 0.0).sum(axis=1) / np.maximum(count, 1)
    n = np.maximum(known.sum(axis=0), 1)
    y = np.where(known, returns - np.where(known, returns, 0.0).sum(axis=0) / n, 0.0)
    m = np.where(known, market[:, None], 0.0)
    m = np.where(known, m - m.sum(axis=0) / n, 0.0)
    spread = (m * m).sum(axis=0)
    beta = np.where(spread > 0, (m * y).sum(axis=0) / np.where(spread > 0, spread, 1.0), 0.0)
    left = y - m * beta
    whole, rest = (y * y).sum(axis=0), (left * left).sum(axis=0)
    out: np.ndarray = np.where(known & (rest > 1e-12 * whole), left, np.nan)
    return out
