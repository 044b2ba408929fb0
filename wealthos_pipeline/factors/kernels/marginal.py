"""What a factor adds to others: ranks of many factors by date, and residuals on a base set.

Rows are sorted by date and name; ``off[d] : off[d + 1]`` are the rows of date ``d``. A factor's ranks
are centred within the date, ``0`` with ``known = 0`` where it has no value.
"""

from __future__ import annotations

import numpy as np

from wealthos_pipeline.factors.kernels.jit import F8, I8, kernel
from wealthos_pipeline.factors.kernels.ranking import tied_ranks

F4 = "float32[::1]"
_FLAT = 1e-9  # a column that is this small a share of what it was lies in the span of those before


@kernel(f"void({F4}, {I8}, {F8}, {F8})")
def ranks(x, off, rank, known):  # type: ignore[no-untyped-def]
    """Ranks of one factor less their mean (multiples of ½, so that sums of products are exact)."""
    widest = 0
    for d in range(len(off) - 1):
        widest = max(widest, off[d + 1] - off[d])
    value = np.zeros(widest)
    found = np.zeros(widest)
    row = np.zeros(widest, np.int64)
    for d in range(len(off) - 1):
        n = 0
        for k in range(off[d], off[d + 1]):
            rank[k] = 0.0
            known[k] = 0.0
            if x[k] == x[k]:
                value[n] = x[k]
                row[n] = k
                n += 1
        tied_ranks(value, n, found)
        for j in range(n):
            rank[row[j]] = found[j] - 0.5 * (n + 1)
            known[row[j]] = 1.0


@kernel(f"void(float64[:, ::1], float64[:, ::1], {F8}, {I8}, {I8}, int64, float64[:, :, ::1])")
def marginal(rank, known, label, off, base, min_names, out):  # type: ignore[no-untyped-def]
    """``out[f, d]``: n, rank IC, and rank IC of the residual of factor ``f`` on the factors ``base``.

    rank, known: factors × rows. Names count that have the factor and the label; a base factor that
    one of them lacks is 0, its middle rank. Modified Gram–Schmidt, twice, in the order of ``base``; a
    factor of the base is left out of its own. NaN with fewer than ``min_names`` names, or fewer than
    three for each column fitted, or where nothing of the factor is left.
    """
    factors, size = len(rank), len(base)
    widest = 0
    for d in range(len(off) - 1):
        widest = max(widest, off[d + 1] - off[d])
    q = np.zeros((size + 1, widest))
    e = np.zeros(widest)
    y = np.zeros(widest)
    row = np.zeros(widest, np.int64)
    rows_of_q = np.zeros(widest, np.int64)
    rank_x = np.zeros(widest)
    rank_y = np.zeros(widest)
    for d in range(len(off) - 1):
        made_n, made_without, columns = -1, -2, 0
        for f in range(factors):
            out[f, d, :] = np.nan
            n = 0
            for k in range(off[d], off[d + 1]):
                if known[f, k] == 1.0 and label[k] == label[k]:
                    row[n] = k
                    y[n] = label[k]
                    e[n] = rank[f, k]
                    n += 1
            out[f, d, 0] = n
            if n < min_names:
                continue
            tied_ranks(y, n, rank_y)
            tied_ranks(e, n, rank_x)
            middle = 0.5 * (n + 1)
            xx, yy, xy = 0.0, 0.0, 0.0
            for j in range(n):
                xx += (rank_x[j] - middle) ** 2
                yy += (rank_y[j] - middle) ** 2
                xy += (rank_x[j] - middle) * (rank_y[j] - middle)
            if not (xx > 0.0 and yy > 0.0):
                continue
            out[f, d, 1] = xy / (np.sqrt(xx) * np.sqrt(yy))
            without = -1
            for b in range(size):
                if base[b] == f:
                    without = b
            if n < 3 * (size + 1 - (without >= 0)):
                continue
            same = made_n == n and made_without == without
            if same:
                for j in range(n):
                    if rows_of_q[j] != row[j]:
                        same = False
                        break
            if not same:
                made_n, made_without = n, without
                rows_of_q[:n] = row[:n]
                for j in range(n):
                    q[0, j] = 1.0 / np.sqrt(n)
                columns = 1
                for b in range(size):
                    if b == without:
                        continue
                    before = 0.0
                    for j in range(n):
                        q[columns, j] = rank[base[b], row[j]]
                        before += q[columns, j] * q[columns, j]
                    for _ in range(2):
                        for c in range(columns):
                            s = 0.0
                            for j in range(n):
                                s += q[c, j] * q[columns, j]
                            for j in range(n):
                                q[columns, j] -= s * q[c, j]
                    s = 0.0
                    for j in range(n):
                        s += q[columns, j] * q[columns, j]
                    if s > _FLAT * before:
                        s = np.sqrt(s)
                        for j in range(n):
                            q[columns, j] /= s
                        columns += 1
            before = 0.0
            for j in range(n):
                before += e[j] * e[j]
            for _ in range(2):
                for c in range(columns):
                    s = 0.0
                    for j in range(n):
                        s += q[c, j] * e[j]
                    for j in range(n):
                        e[j] -= s * q[c, j]
            left = 0.0
            for j in range(n):
                left += e[j] * e[j]
            if not left > _FLAT * before:
                continue
            # what is equal but for rounding ties
            unit = np.sqrt(left / n) * 2.0**-30
            for j in range(n):
                e[j] = np.rint(e[j] / unit)
            tied_ranks(e, n, rank_x)
            xx, xy = 0.0, 0.0
            for j in range(n):
                xx += (rank_x[j] - middle) ** 2
                xy += (rank_x[j] - middle) * (rank_y[j] - middle)
            if xx > 0.0:
                out[f, d, 2] = xy / (np.sqrt(xx) * np.sqrt(yy))
