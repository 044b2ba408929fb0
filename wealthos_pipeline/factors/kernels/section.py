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
    f"void({F4}, float64[:, ::1], int64[:, ::1], int64[:, ::1], {I8}, {I8}, {I8}, int64, int64, {I8},"
    " float64[:, :, ::1], float64[:, :, ::1])"
)
def perform(  # type: ignore[no-untyped-def]
    x, label, order, labelled, off, slot, code, names, min_names, lags, out, moved
):
    """``out[h, d]``: n, IC, rank IC, means of buckets 1 to 5 and of all. ``moved[l, d]``, against the session
    ``lags[l]`` before and over every name with a value: share of the top bucket's names that were
    not in it then, the same of the bottom bucket, correlation of the ranks then and now.

    label, order, labelled: by horizon. slot: session numbers of the dates. Ranks of ties are averaged;
    bucket edges are quantiles of the values, linear, closed on the right.
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
    # what the last sessions looked like: rank and leg (1 top, 2 bottom, 3 both) of each name
    ring = lags.max() + 1
    stamp = np.full(ring, np.int64(-1))
    past = np.zeros((ring, names))
    leg = np.zeros((ring, names), np.int8)
    filled = np.zeros((ring, 2), np.int64)
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
        moved[:, d, :] = np.nan
        if m < min_names:
            continue
        place = np.argsort(value[:m])
        buckets = 5 if m >= 25 else (3 if m >= 12 else 2)
        spot = (buckets - 1) * (m - 1)
        j = spot // buckets
        high = value[place[j]]
        if spot % buckets:
            high += (value[place[j + 1]] - high) * (spot % buckets) / buckets
        j = (m - 1) // buckets
        low = value[place[j]]
        if (m - 1) % buckets:
            low += (value[place[j + 1]] - low) * ((m - 1) % buckets) / buckets
        here = slot[d] % ring
        stamp[here] = slot[d]
        past[here, :] = 0.0
        leg[here, :] = 0
        filled[here, :] = 0
        j = 0
        while j < m:
            k = j
            while k + 1 < m and value[place[k + 1]] == value[place[j]]:
                k += 1
            for e in range(j, k + 1):
                past[here, code[row[place[e]]]] = 0.5 * (j + k) + 1.0
            j = k + 1
        for j in range(m):
            side = 0
            if value[j] > high:
                side += 1
                filled[here, 0] += 1
            if value[j] <= low:
                side += 2
                filled[here, 1] += 1
            leg[here, code[row[j]]] = side
        for i in range(len(lags)):
            then = (slot[d] - lags[i]) % ring
            if stamp[then] != slot[d] - lags[i]:
                continue
            high_new, low_new, both = 0, 0, 0
            sx, sy, xx, yy, xy = 0.0, 0.0, 0.0, 0.0, 0.0
            for j in range(m):
                k = code[row[j]]
                high_new += (leg[here, k] & 1) > (leg[then, k] & 1)
                low_new += (leg[here, k] & 2) > (leg[then, k] & 2)
                u = past[here, k]
                w = past[then, k]
                if w > 0.0:  # ranks are halves of integers: these sums are exact
                    both += 1
                    sx += u
                    sy += w
                    xx += u * u
                    yy += w * w
                    xy += u * w
            if filled[here, 0] > 0 and filled[then, 0] > 0:
                moved[i, d, 0] = high_new / filled[here, 0]
            if filled[here, 1] > 0 and filled[then, 1] > 0:
                moved[i, d, 1] = low_new / filled[here, 1]
            if both >= min_names:
                xx -= sx * sx / both
                yy -= sy * sy / both
                if xx > 0.0 and yy > 0.0:
                    moved[i, d, 2] = (xy - sx * sy / both) / (np.sqrt(xx) * np.sqrt(yy))
        for h in range(len(label)):
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
            out[h, d, 8] = sy / n
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
