"""Ranks of a factor less what groups, or a second variable, explain of them; one date at a time.

Rows are sorted by date and name; ``off[d] : off[d + 1]`` are the rows of date ``d``.
"""

from __future__ import annotations

import numpy as np

from wealthos_pipeline.factors.kernels.jit import F8, I8, kernel
from wealthos_pipeline.factors.kernels.ranking import tied_ranks

F4 = "float32[::1]"


@kernel(f"void({F4}, {I8}, {I8}, int64, int64, int64, {F4})")
def within(x, off, group, groups, min_group, min_names, out):  # type: ignore[no-untyped-def]
    """Rank less the mean rank of the name's group; a group of fewer than ``min_group`` joins the last
    one, number ``groups``. NaN without a value or with fewer than ``min_names`` of them."""
    widest = 0
    for d in range(len(off) - 1):
        widest = max(widest, off[d + 1] - off[d])
    value = np.zeros(widest)
    rank = np.zeros(widest)
    row = np.zeros(widest, np.int64)
    count = np.zeros(groups + 1, np.int64)
    size = np.zeros(groups + 1, np.int64)
    total = np.zeros(groups + 1)
    for d in range(len(off) - 1):
        n = 0
        for k in range(off[d], off[d + 1]):
            out[k] = np.nan
            if x[k] == x[k]:
                value[n] = x[k]
                row[n] = k
                n += 1
        if n < min_names:
            continue
        tied_ranks(value, n, rank)
        count[:] = 0
        size[:] = 0
        total[:] = 0.0
        for j in range(n):
            count[group[row[j]]] += 1
        for j in range(n):
            g = group[row[j]]
            g = g if count[g] >= min_group else groups
            size[g] += 1
            total[g] += rank[j]
        for j in range(n):
            g = group[row[j]]
            g = g if count[g] >= min_group else groups
            out[row[j]] = rank[j] - total[g] / size[g]


@kernel(f"void({F4}, {I8}, {F8}, int64, {F4})")
def beside(x, off, z, min_names, out):  # type: ignore[no-untyped-def]
    """Residual of the rank on a constant and ``z``, over names that have both; NaN elsewhere, and
    where fewer than ``min_names`` have both or ``z`` is constant."""
    widest = 0
    for d in range(len(off) - 1):
        widest = max(widest, off[d + 1] - off[d])
    value = np.zeros(widest)
    rank = np.zeros(widest)
    row = np.zeros(widest, np.int64)
    for d in range(len(off) - 1):
        n = 0
        mean = 0.0
        for k in range(off[d], off[d + 1]):
            out[k] = np.nan
            if x[k] == x[k] and z[k] == z[k]:
                value[n] = x[k]
                row[n] = k
                mean += z[k]
                n += 1
        if n < min_names:
            continue
        tied_ranks(value, n, rank)
        mean /= n
        zz, zr = 0.0, 0.0
        for j in range(n):
            e = z[row[j]] - mean
            zz += e * e
            zr += e * (rank[j] - 0.5 * (n + 1))
        if not zz > 0.0:
            continue
        for j in range(n):
            out[row[j]] = rank[j] - 0.5 * (n + 1) - zr / zz * (z[row[j]] - mean)
