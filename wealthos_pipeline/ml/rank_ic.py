"""Rank correlations of many dates at once, for those who need them thousands of times."""

from __future__ import annotations

import numpy as np


def offsets(dates: np.ndarray) -> np.ndarray:
    """Boundaries of runs of equal dates, with the end; int64 (dates + 1,). dates: ascending, not empty."""
    new = np.flatnonzero(dates[1:] != dates[:-1]) + 1
    return np.concatenate([[0], new, [len(dates)]]).astype(np.int64)


def ranks(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Ranks from 1 within each segment, ties sharing their average; float64. values: no NaN."""
    n = len(values)
    segment = np.repeat(np.arange(len(edges) - 1), np.diff(edges))
    order = np.lexsort((values, segment))
    ordered, of = values[order], segment[order]
    new = np.append(True, (ordered[1:] != ordered[:-1]) | (of[1:] != of[:-1]))[:n]
    first = np.flatnonzero(new)
    last = np.append(first[1:], n) - 1
    out = np.empty(n)
    out[order] = ((first + last) / 2.0)[np.cumsum(new) - 1] - edges[of] + 1.0
    return out


def correlations(x: np.ndarray, y: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Pearson correlation within each segment, float64; NaN where one side does not differ or fewer than
    three values are there."""
    starts, sizes = edges[:-1], np.diff(edges)
    a, b = (v - np.repeat(np.add.reduceat(v, starts) / sizes, sizes) for v in (x, y))
    scale = np.sqrt(np.add.reduceat(a * a, starts) * np.add.reduceat(b * b, starts))
    flat = (sizes < 3) | (scale <= 0)
    for v in (x, y):
        flat |= np.minimum.reduceat(v, starts) == np.maximum.reduceat(v, starts)
    top = np.add.reduceat(a * b, starts)
    out: np.ndarray = np.where(flat, np.nan, top / np.where(flat, 1.0, scale))
    return np.clip(out, -1.0, 1.0)


def rank_ic(values: np.ndarray, outcome_ranks: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Spearman correlation of ``values`` with outcomes of which the ranks are given (``ranks``), by segment."""
    return correlations(ranks(values, edges), outcome_ranks, edges)
