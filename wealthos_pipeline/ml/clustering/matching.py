"""Numbers that stay with their cluster from month to month, and how much of a cluster stays.

A month's clusters are matched to those of the month before so that the names in common are most (Hungarian
method). A match holds if it has at least half of the smaller of the two, of names at both dates; a
cluster without a match gets a number that nobody had. So a number never jumps to other names because the
order of an algorithm's output did.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

SHARED = 0.5
"""Share of the smaller of two clusters that a match must have."""


def follow(
    names: Sequence[str], labels: np.ndarray, before: Mapping[str, int], unused: int
) -> np.ndarray:
    """Numbers of the clusters of ``names``, int64.

    labels: this month's, from 1 in the order of first names. before: name → number at the month before.
    unused: the smallest number never given; new clusters take it and the following, in order.
    """
    from scipy.optimize import linear_sum_assignment

    old = sorted(set(before.values()))
    shared = overlap(names, labels, before, old)
    given: dict[int, int] = {}
    for i, j in zip(*linear_sum_assignment(shared, maximize=True), strict=True):
        smaller = min(shared[i].sum(), shared[:, j].sum())
        if shared[i, j] > 0 and shared[i, j] >= SHARED * smaller:
            given[int(i)] = old[int(j)]
    for i in range(int(labels.max())):
        if i not in given:
            given[i] = unused
            unused += 1
    return np.array([given[int(k) - 1] for k in labels], np.int64)


def overlap(
    names: Sequence[str], labels: np.ndarray, before: Mapping[str, int], old: Sequence[int]
) -> np.ndarray:
    """Names in common, float64 (clusters now, clusters before); names of one date only do not count."""
    place = {number: j for j, number in enumerate(old)}
    out = np.zeros((int(labels.max()), len(old)))
    for name, label in zip(names, labels, strict=True):
        if name in before:
            out[int(label) - 1, place[before[name]]] += 1.0
    return out


def adjusted_rand(shared: np.ndarray) -> float:
    """Adjusted Rand index (Hubert & Arabie 1985) of two partitions whose cells have ``shared`` names.

    1 for the same partition, about 0 for unrelated ones; 1 where both are one cluster or all alone; NaN
    without a name in common.
    """
    total = shared.sum()
    if not total:
        return float("nan")
    pairs = float((shared * (shared - 1.0)).sum() / 2.0)
    rows, columns = (
        float((s * (s - 1.0)).sum() / 2.0) for s in (shared.sum(axis=1), shared.sum(axis=0))
    )
    all_pairs = float(total * (total - 1.0) / 2.0)
    expected = rows * columns / all_pairs if all_pairs else 0.0
    highest = 0.5 * (rows + columns)
    return 1.0 if highest == expected else (pairs - expected) / (highest - expected)


def companions(names: Sequence[str], labels: np.ndarray, before: Mapping[str, int]) -> np.ndarray:
    """Of each name: those together with it at both dates, over those at either (of names at both dates);
    1 for a name that was and is alone; NaN for a name that was in no cluster before."""
    old = sorted(set(before.values()))
    shared = overlap(names, labels, before, old)
    place = {number: j for j, number in enumerate(old)}
    now, then = shared.sum(axis=1), shared.sum(axis=0)
    out = np.full(len(labels), np.nan)
    for k, (name, label) in enumerate(zip(names, labels, strict=True)):
        if name in before:
            i, j = int(label) - 1, place[before[name]]
            either = now[i] + then[j] - shared[i, j] - 1.0
            out[k] = (shared[i, j] - 1.0) / either if either > 0 else 1.0
    return out
