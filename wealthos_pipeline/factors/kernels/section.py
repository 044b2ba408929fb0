"""Cross-sections of one factor: scores, and how they went with forward returns.

Rows are sorted by date and instrument; ``off[d] : off[d + 1]`` are the rows of date ``d``.
"""

from __future__ import annotations

import numpy as np

from wealthos_pipeline.factors.kernels.jit import F8, I8, kernel

F4 = "float32[::1]"
_NOISE = 2.0**-48  # a deviation below this share of the mean is rounding noise of a constant


@kernel(f"void({F4}, {I8}, {I8}, int64, float64, int64, int64, {F4})")
def score(x, off, sector, sectors, mads, min_names, min_sector, out):  # type: ignore[no-untyped-def]
    """Winsorise, standardise, take out sector means, standardise; NaN where there is no section."""
    widest = 0
    for d in range(len(off) - 1):
        widest = max(widest, off[d + 1] - off[d])
    value = np.zeros(widest)
    ordered = np.zeros(widest)
    row = np.zeros(widest, np.int64)
    group = np.zeros(widest, np.int64)
    count = np.zeros(sectors + 1, np.int64)
    total = np.zeros(sectors + 1)
    for d in range(len(off) - 1):
        n = 0
        for k in range(off[d], off[d + 1]):
            out[k] = np.nan
            if x[k] == x[k]:
                value[n] = x[k]
                row[n] = k
                n += 1
        if n < min_names or n < 2:
            continue
        ordered[:n] = value[:n]
        ordered[:n].sort()
        middle = 0.5 * (ordered[(n - 1) // 2] + ordered[n // 2])
        for j in range(n):
            ordered[j] = abs(value[j] - middle)
        ordered[:n].sort()
        mad = 0.5 * (ordered[(n - 1) // 2] + ordered[n // 2])
        if mad > 0.0:
            for j in range(n):
                value[j] = min(max(value[j], middle - mads * mad), middle + mads * mad)
        count[:] = 0
        total[:] = 0.0
        for j in range(n):
            count[sector[row[j]]] += 1
        for j in range(n):
            g = sector[row[j]]
            group[j] = g if count[g] >= min_sector else sectors
        # twice: standardise, and after the sectors' means are gone standardise again
        known = True
        for again in range(2):
            s = 0.0
            for j in range(n):
                s += value[j]
            mean = s / n
            s = 0.0
            for j in range(n):
                s += (value[j] - mean) * (value[j] - mean)
            deviation = np.sqrt(s / (n - 1))
            if deviation <= max(abs(mean), 1.0 if again else 0.0) * _NOISE:
                known = False
                break
            for j in range(n):
                value[j] = (value[j] - mean) / deviation
            if again == 0:
                count[:] = 0
                for j in range(n):
                    count[group[j]] += 1
                    total[group[j]] += value[j]
                for j in range(n):
                    value[j] -= total[group[j]] / count[group[j]]
        if known:
            for j in range(n):
                out[row[j]] = value[j]


@kernel(f"void({F8}, {I8}, {I8}, {I8})")
def order_labels(label, off, order, count):  # type: ignore[no-untyped-def]
    """Per date: rows that have a label, from lowest to highest, and their number."""
    for d in range(len(off) - 1):
        n = 0
        for k in range(off[d], off[d + 1]):
            if label[k] == label[k]:
                order[off[d] + n] = k
                n += 1
        here = order[off[d] : off[d] + n].copy()
        place = np.argsort(label[here])
        for j in range(n):
            order[off[d] + j] = here[place[j]]
        count[d] = n


@kernel(
    f"void({F4}, float64[:, ::1], int64[:, ::1], int64[:, ::1], {I8}, {I8}, int64, int64,"
    " float64[:, :, ::1])"
)
def perform(x, label, order, labelled, off, code, names, min_names, out):  # type: ignore[no-untyped-def]
    """``out[h, d]``: n, IC, rank IC, means of buckets 1 to 5, turnover of the top bucket.

    label, order, labelled: by horizon. Ranks of ties are averaged; bucket edges are quantiles of the
    values, linear, closed on the right.
    """
    widest = 0
    for d in range(len(off) - 1):
        widest = max(widest, off[d + 1] - off[d])
    value = np.zeros(widest)
    row = np.zeros(widest, np.int64)
    ranked = np.zeros(widest, np.int64)
    rank_x = np.zeros(widest)
    rank_y = np.zeros(widest)
    edge = np.zeros(6)
    total = np.zeros(6)
    count = np.zeros(6, np.int64)
    top = np.full(names, -2, np.int64)  # last date on which a name was in the top bucket
    before = -2  # last date that had a top bucket
    for d in range(len(off) - 1):
        a = off[d]
        m = 0
        for k in range(a, off[d + 1]):
            if x[k] == x[k]:
                value[m] = x[k]
                row[m] = k
                m += 1
        out[:, d, :] = np.nan
        out[:, d, 0] = 0.0
        if m < min_names:
            continue
        place = np.argsort(value[:m])
        # turnover of the top bucket, over every name with a value
        buckets = 5 if m >= 25 else (3 if m >= 12 else 2)
        spot = (buckets - 1) * (m - 1)
        j = spot // buckets
        limit = value[place[j]]
        if spot % buckets:
            limit += (value[place[j + 1]] - limit) * (spot % buckets) / buckets
        inside, fresh = 0, 0
        for j in range(m):
            if value[j] > limit:
                inside += 1
                fresh += top[code[row[j]]] != d - 1
        for j in range(m):
            if value[j] > limit:
                top[code[row[j]]] = d
        turnover = np.nan
        if inside > 0 and before == d - 1:
            turnover = fresh / inside
        if inside > 0:
            before = d
        for h in range(len(label)):
            out[h, d, 8] = turnover
            y = label[h]
            # ranks of the value among names that have both, in the order of the value
            n = 0
            for j in range(m):
                if y[row[place[j]]] == y[row[place[j]]]:
                    ranked[n] = place[j]
                    n += 1
            out[h, d, 0] = n
            if n < min_names:
                continue
            j = 0
            while j < n:
                k = j
                while k + 1 < n and value[ranked[k + 1]] == value[ranked[j]]:
                    k += 1
                for e in range(j, k + 1):
                    rank_x[row[ranked[e]] - a] = 0.5 * (j + k) + 1.0
                j = k + 1
            j = 0
            at = 0
            while j < labelled[h, d]:
                first = y[order[h, a + j]]
                begin = at
                e = j
                while e < labelled[h, d] and y[order[h, a + e]] == first:
                    k = order[h, a + e]
                    if x[k] == x[k]:
                        at += 1
                    e += 1
                for f in range(j, e):
                    rank_y[order[h, a + f] - a] = 0.5 * (begin + at - 1) + 1.0
                j = e
            # buckets of the value
            buckets = 5 if n >= 25 else (3 if n >= 12 else 2)
            for b in range(1, buckets):
                spot = b * (n - 1)
                j = spot // buckets
                edge[b] = value[ranked[j]]
                if spot % buckets:
                    edge[b] += (value[ranked[j + 1]] - edge[b]) * (spot % buckets) / buckets
            total[:] = 0.0
            count[:] = 0
            sx, sy = 0.0, 0.0
            for j in range(m):
                v = y[row[j]]
                if v == v:
                    sx += value[j]
                    sy += v
                    b = 1
                    while b < buckets and value[j] > edge[b]:
                        b += 1
                    total[b] += v
                    count[b] += 1
            for b in range(1, buckets + 1):
                if count[b] > 0:
                    column = b
                    if buckets == 3:
                        column = 2 * b - 1
                    elif buckets == 2:
                        column = 4 * b - 3
                    out[h, d, 2 + column] = total[b] / count[b]
            mx, my, middle = sx / n, sy / n, 0.5 * (n + 1)
            xx, yy, xy, rx, ry, rxy = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
            for j in range(m):
                v = y[row[j]]
                if v == v:
                    dx = value[j] - mx
                    dy = v - my
                    xx += dx * dx
                    yy += dy * dy
                    xy += dx * dy
                    u = rank_x[row[j] - a] - middle
                    w = rank_y[row[j] - a] - middle
                    rx += u * u
                    ry += w * w
                    rxy += u * w
            if rx > 0.0 and ry > 0.0:
                out[h, d, 1] = xy / (np.sqrt(xx) * np.sqrt(yy))
                out[h, d, 2] = rxy / (np.sqrt(rx) * np.sqrt(ry))
