"""Windowed order statistics, all exact: Max, Min, IdxMax, IdxMin, Rank, Quantile, Med, Mad."""

from __future__ import annotations

import numpy as np

from wealthos_pipeline.factors.kernels.jit import F8, I8, WINDOW, kernel


@kernel(WINDOW)
def extremes(x, off, lo, need, w, least, mode, out):  # type: ignore[no-untyped-def]
    """mode 0 max, 1 min, 2 place of the first max, 3 of the first min (1 = oldest session)."""
    sign = 1.0 if mode % 2 == 0 else -1.0
    suffix_n = np.zeros(w + 1, np.int64)
    suffix_v = np.zeros(w + 1)
    suffix_t = np.zeros(w + 1, np.int64)
    for i in range(len(off) - 1):
        a, m, base = off[i], off[i + 1] - off[i], lo[i]
        first = max(0, need - base)
        begin = max(0, first - (w - 1))
        out[a : a + min(first, m)] = np.nan
        suffix_n[:] = 0
        pn, best, at = 0, 0.0, 0
        p = (base + begin) % w
        for t in range(begin, m):
            v = x[a + t]
            if v == v:
                v = v * sign
                if pn == 0 or v > best:
                    best, at = v, t
                pn += 1
            if t >= first:
                sn = suffix_n[p + 1]
                n = pn + sn
                if n < least:
                    out[a + t] = np.nan
                else:
                    old = sn > 0 and (pn == 0 or suffix_v[p + 1] >= best)
                    if mode < 2:
                        out[a + t] = sign * (suffix_v[p + 1] if old else best)
                    else:
                        place = suffix_t[p + 1] if old else at
                        out[a + t] = place - max(0, t - w + 1) + 1
            p += 1
            if p == w:
                p, pn = 0, 0
                n, best, at = 0, 0.0, 0
                for j in range(w - 1, -1, -1):
                    u = t - (w - 1 - j)
                    if u >= begin:
                        v = x[a + u]
                        if v == v:
                            v = v * sign
                            if n == 0 or v >= best:
                                best, at = v, u
                            n += 1
                    suffix_n[j] = n
                    suffix_v[j] = best
                    suffix_t[j] = at


@kernel(WINDOW)
def ranks(x, off, lo, need, w, least, mode, out):  # type: ignore[no-untyped-def]
    """Average rank of today's value among the window's, divided by their number."""
    for i in range(len(off) - 1):
        a, m = off[i], off[i + 1] - off[i]
        first = max(0, need - lo[i])
        out[a : a + min(first, m)] = np.nan
        for t in range(first, m):
            v = x[a + t]
            if v != v:
                out[a + t] = np.nan
                continue
            less, same, n = 0, 0, 0
            for k in range(a + max(0, t - w + 1), a + t + 1):
                less += x[k] < v
                same += x[k] == v
                n += x[k] == x[k]
            out[a + t] = (less + (same + 1) * 0.5) / n if n >= least else np.nan


@kernel(f"void({F8}, {I8}, {I8}, int64, int64, int64, float64, {F8})")
def quantiles(x, off, lo, need, w, least, q, out):  # type: ignore[no-untyped-def]
    """q-quantile, linear between the two nearest. A sorted copy of the window moves along."""
    window = np.zeros(w)
    for i in range(len(off) - 1):
        a, m = off[i], off[i + 1] - off[i]
        first = max(0, need - lo[i])
        begin = max(0, first - (w - 1))
        out[a : a + min(first, m)] = np.nan
        n = 0
        for t in range(begin, m):
            if t - w >= begin:
                v = x[a + t - w] + 0.0  # no negative zero
                if v == v:
                    j = np.searchsorted(window[:n], v)
                    for k in range(j, n - 1):
                        window[k] = window[k + 1]
                    n -= 1
            v = x[a + t] + 0.0
            if v == v:
                j = np.searchsorted(window[:n], v)
                for k in range(n, j, -1):
                    window[k] = window[k - 1]
                window[j] = v
                n += 1
            if t >= first:
                if n < least:
                    out[a + t] = np.nan
                else:
                    place = q * (n - 1)
                    j = int(place)
                    value = window[j]
                    if j + 1 < n and place > j:
                        value += (window[j + 1] - value) * (place - j)
                    out[a + t] = value


@kernel(WINDOW)
def deviations(x, off, lo, need, w, least, mode, out):  # type: ignore[no-untyped-def]
    """Mean absolute deviation from the window's mean."""
    for i in range(len(off) - 1):
        a, m = off[i], off[i + 1] - off[i]
        first = max(0, need - lo[i])
        out[a : a + min(first, m)] = np.nan
        for t in range(first, m):
            begin = a + max(0, t - w + 1)
            n, s = 0, 0.0
            for k in range(begin, a + t + 1):
                if x[k] == x[k]:
                    n += 1
                    s += x[k]
            if n < least:
                out[a + t] = np.nan
                continue
            mean = s / n
            s = 0.0
            for k in range(begin, a + t + 1):
                if x[k] == x[k]:
                    s += abs(x[k] - mean)
            out[a + t] = s / n
