"""Correlations of one cross-section, in a fixed order of operations."""

from __future__ import annotations

import math

import numpy as np


def average_ranks(values: np.ndarray) -> np.ndarray:
    """Ranks from 1, ties sharing their average; float64. ``values`` is 1-D and has no NaN."""
    x = np.asarray(values)
    n = len(x)
    if not n:
        return np.zeros(0)
    order = np.argsort(x, kind="stable")
    ordered = x[order]
    new = np.empty(n, dtype=bool)
    new[0] = True
    new[1:] = ordered[1:] != ordered[:-1]
    first = np.flatnonzero(new)
    last = np.append(first[1:], n) - 1
    ranks = np.empty(n)
    ranks[order] = ((first + last) / 2.0 + 1.0)[np.cumsum(new) - 1]
    return ranks


def pearson(x: np.ndarray, y: np.ndarray) -> float:
    """Pearson correlation of two vectors without NaN; NaN if either is constant or shorter than 3."""
    if len(x) < 3 or not np.ptp(x) or not np.ptp(y):
        return math.nan
    a = x - np.mean(x)
    b = y - np.mean(y)
    scale = math.sqrt(float(np.sum(a * a)) * float(np.sum(b * b)))
    return min(max(float(np.sum(a * b)) / scale, -1.0), 1.0) if scale > 0 else math.nan


def spearman(x: np.ndarray, y: np.ndarray) -> float:
    """Spearman rank correlation, ties by average ranks; NaN as in ``pearson``."""
    return pearson(average_ranks(x), average_ranks(y))
