"""Hierarchical clusters of names by the correlation of their returns.

The distance of two names is √(½(1 − ρ)), which is half the Euclidean distance of their standardised
returns over the root of the number of sessions (Mantegna 1999; López de Prado 2016): 0 for ρ = 1, 1 for
ρ = −1. How many clusters: of 2 … ``MOST``, the number with the best mean silhouette (Rousseeuw 1987); but
as many as before while the best is not better by ``PATIENCE``, because silhouettes of stocks are flat and
the best number jumps between two and twenty from one month to the next.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

MOST: Final = 25
"""Clusters, at most; and at most one for every ``NAMES_EACH`` names."""

NAMES_EACH: Final = 3
PATIENCE: Final = 0.2
"""Share of the best silhouette that the number of before may lack."""

LEAST_NAMES: Final = 2 * NAMES_EACH
"""Fewer names are in no clusters."""


@dataclass(frozen=True, slots=True)
class Partition:
    """Clusters of one month. labels: int64 (names,), from 1 in the order of the clusters' first names;
    silhouette: mean over the names."""

    labels: np.ndarray
    silhouette: float

    @property
    def clusters(self) -> int:
        return int(self.labels.max())


def correlations(returns: np.ndarray) -> np.ndarray:
    """Pearson correlations (names, names) of columns of ``returns`` (sessions, names), NaN where missing.

    Each pair over the sessions that both have. A name without variation has NaN with everybody. Sums are
    BLAS products: call it on one BLAS thread where bits matter.
    """
    known = np.isfinite(returns)
    x = np.where(known, returns, 0.0)
    mean = x.sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    x = np.where(known, x - mean, 0.0)
    scale = np.sqrt((x * x).sum(axis=0))
    size = np.abs(np.where(known, returns, 0.0)).max(axis=0, initial=0.0)
    varies = scale > 1e-12 * size
    x = x / np.where(varies, scale, 1.0)
    if known.all():
        rho = x.T @ x
    else:
        w = known.astype(np.float64)
        n = w.T @ w
        total, square = x.T @ w, (x * x).T @ w
        with np.errstate(divide="ignore", invalid="ignore"):
            spread = square - total * total / n
            rho = (x.T @ x - total * total.T / n) / np.sqrt(spread * spread.T)
    rho = np.clip(0.5 * (rho + rho.T), -1.0, 1.0)
    np.fill_diagonal(rho, 1.0)
    rho[~varies, :] = np.nan
    rho[:, ~varies] = np.nan
    return rho


def distances(rho: np.ndarray) -> np.ndarray:
    """√(½(1 − ρ)), 0 on the diagonal."""
    out: np.ndarray = np.sqrt(np.maximum(0.5 * (1.0 - rho), 0.0))
    np.fill_diagonal(out, 0.0)
    return out


def partition(rho: np.ndarray, linkage: str, before: int = 0) -> Partition:
    """The clusters of names with correlations ``rho`` (finite), at least ``LEAST_NAMES`` of them.

    linkage: ``ward`` or ``average``, as SciPy has them. before: how many clusters there were; 0: unknown.
    Of equally good numbers of clusters the smallest.
    """
    from scipy.cluster.hierarchy import linkage as tree
    from scipy.spatial.distance import squareform

    D = distances(rho)
    merges = tree(squareform(D, checks=False), linkage)[:, :2].astype(np.int64)
    n = len(D)
    most = max(2, min(MOST, n // NAMES_EACH))
    members = _cut(merges, n, most)
    sums = np.column_stack([D[:, m].sum(axis=1) for m in members.values()])
    groups = list(members)
    found: dict[int, tuple[float, np.ndarray]] = {}
    for k in range(most, 1, -1):
        which = np.empty(n, np.int64)
        for j, g in enumerate(groups):
            which[members[g]] = j
        found[k] = round(_silhouette(sums, which), 12), which
        a, b = (groups.index(int(g)) for g in merges[n - k])
        members[2 * n - k] = np.concatenate([members.pop(groups[a]), members.pop(groups[b])])
        joined = sums[:, a] + sums[:, b]
        sums = np.column_stack([np.delete(sums, [a, b], axis=1), joined])
        groups = [g for g in groups if g in members] + [2 * n - k]
    best = max(found, key=lambda k: (found[k][0], -k))
    if before in found and found[best][0] - found[before][0] <= PATIENCE * abs(found[best][0]):
        best = before
    return Partition(numbered(found[best][1]), found[best][0])


def numbered(groups: np.ndarray) -> np.ndarray:
    """Numbers from 1 in the order in which the groups first appear."""
    number: dict[int, int] = {}
    return np.array([number.setdefault(int(g), len(number) + 1) for g in groups], np.int64)


def _cut(merges: np.ndarray, n: int, k: int) -> dict[int, np.ndarray]:
    """Node of the tree → its names, for the ``k`` nodes that are there before the last k − 1 merges."""
    members = {i: np.array([i]) for i in range(n)}
    for i, (a, b) in enumerate(merges[: n - k]):
        members[n + i] = np.concatenate([members.pop(int(a)), members.pop(int(b))])
    return members


def _silhouette(sums: np.ndarray, which: np.ndarray) -> float:
    """Mean of (b − a) / max(a, b): a is a name's mean distance to the others of its cluster, b the
    smallest mean distance to another cluster; 0 for a name alone.

    sums: distances of each name added up over each cluster (names, clusters).
    """
    rows = np.arange(len(which))
    count = np.bincount(which, minlength=sums.shape[1]).astype(np.float64)
    own = sums[rows, which] / np.maximum(count[which] - 1.0, 1.0)
    mean = sums / count
    mean[rows, which] = np.inf
    other = mean.min(axis=1)
    wide = np.maximum(own, other)
    fits = (count[which] > 1.0) & (wide > 0)
    value = np.where(fits, (other - own) / np.where(wide > 0, wide, 1.0), 0.0)
    return float(value.sum() / len(which))
