"""Many factors were tried: which of them would still be believed?

Benjamini & Hochberg (1995) bound the share of false ones among those believed; Harvey, Liu & Zhu
(2016) ask for |t| > 3.0 of a new factor, because hundreds were tried before it in the literature.
They mean a t of many months: with a handful of labels side by side noise has a |t| above 3 in one case
of five, so that what is asked here is the p-value that belongs to it.
"""

from __future__ import annotations

import math

import numpy as np
import polars as pl

LEVEL = 0.05
HURDLE = 3.0
"""Least |t| of a factor; Harvey, Liu & Zhu (2016), Review of Financial Studies 29, page 36."""

HURDLE_P = math.erfc(HURDLE / math.sqrt(2.0))
"""Two-sided p-value of a normal ``HURDLE``, 0.0027: what a t of few degrees of freedom is held to."""


def benjamini_hochberg(p_values: np.ndarray, level: float = LEVEL) -> np.ndarray:
    """Which hypotheses are rejected at a false-discovery rate of ``level``; NaN never is, nor counts.

    The largest k with p_(k) ≤ level · k / m; everything up to p_(k) is rejected. Holds under
    independence and positive dependence of the tests.
    """
    p = np.asarray(p_values, dtype=np.float64)
    out = np.zeros(len(p), bool)
    known = np.flatnonzero(~np.isnan(p))
    if not len(known):
        return out
    order = known[np.argsort(p[known], kind="stable")]
    passed = p[order] <= level * np.arange(1, len(order) + 1) / len(order)
    if passed.any():
        out[order[: int(np.flatnonzero(passed)[-1]) + 1]] = True
    return out


def adjusted(p_values: np.ndarray) -> np.ndarray:
    """Benjamini–Hochberg p-values: the least level at which each would be rejected; NaN stay."""
    p = np.asarray(p_values, dtype=np.float64)
    out = np.full(len(p), math.nan)
    known = np.flatnonzero(~np.isnan(p))
    order = known[np.argsort(p[known], kind="stable")]
    scaled = p[order] * len(order) / np.arange(1, len(order) + 1)
    out[order] = np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1.0)
    return out


def judged(summary: pl.DataFrame, level: float = LEVEL) -> pl.DataFrame:
    """``summary`` (``universe, horizon, t, p_value``) with ``bh_rejected`` and ``hlz_passed``.

    Benjamini–Hochberg runs over the factors of one universe and horizon; the hurdle is passed with a
    p-value below ``HURDLE_P``, which is |t| > 3.0 of many dates. Null where there is no t.
    """
    if summary.is_empty():
        return summary.with_columns(
            bh_rejected=pl.lit(None, pl.Boolean), hlz_passed=pl.lit(None, pl.Boolean)
        )
    parts = []
    for _, part in summary.group_by("universe", "horizon", maintain_order=True):
        p = part["p_value"].fill_null(math.nan).to_numpy()
        parts.append(part.with_columns(bh_rejected=pl.Series(benjamini_hochberg(p, level))))
    known = pl.col("t").is_not_null() & pl.col("t").is_not_nan()
    return pl.concat(parts).with_columns(
        bh_rejected=pl.when(known).then("bh_rejected"),
        hlz_passed=pl.when(known).then(pl.col("p_value") < HURDLE_P),
    )
