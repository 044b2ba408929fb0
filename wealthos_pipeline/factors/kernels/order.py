"""Windowed order statistics, all exact: Max, Min, IdxMax, IdxMin, Rank, Quantile, Med, Mad."""

from __future__ import annotations

import numpy as np

from wealthos_pipeline.factors.kernels.jit import WINDOW, kernel, part


@kernel(WINDOW)
def extremes(x, off, lo, need, w, asked, out):  # type: ignore[no-untyped-def]
    """mode 0 max, 1 min, 2 place of the first max, 3 of the first min (1 = oldest session).

    All results asked for in one call are of maxima, or all of minima.
    """
    sign = 1.0 if asked[0, 0] % 2 == 0 else -1.0
    results = len(asked)
    suffix_n = np.zeros(w + 1, np.int64)
    suffix_v = np.zeros(w + 1)
    suffix_t = np.zeros(w + 1, np.int64)
    for i in range(len(off) - 1):
        a, m, base = off[i], off[i + 1] - off[i], lo[i]
        first = max(0, need - base)
        begin = max(0, first - (w - 1))
        out[:, a : a + min(first, m)] = np.nan
        suffix_n[:] = 0
        n, best, at = 0, 0.0, 0
        p = (base + begin) % w
        for t in range(begin, m):
            v = x[a + t]
            if v == v:
                v = v * sign
                if n == 0 or v > best:
                    best, at = v, t
                n += 1
            if t >= first:
                sn = suffix_n[p + 1]
                old = sn > 0 and (n == 0 or suffix_v[p + 1] >= best)
                value = sign * (suffix_v[p + 1] if old else best)
                place = (suffix_t[p + 1] if old else at) - max(0, t - w + 1) + 1
                for r in range(results):
                    if n + sn < asked[r, 1]:
                        out[r, a + t] = np.nan
                    else:
                        out[r, a + t] = value if asked[r, 0] < 2 else place
            p += 1
            if p == w:
                p, n, best, at = 0, 0, 0.0, 0
                for j in range(w - 1, -1, -1):
                    u = t - (w - 1 - j)
                    if u >= begin:
                        v = x[a + u]
                        if v == v:
                            v = v * sign
                            if n == 0 or v >= best:
                                best, at = v, u
                            n += 1
                    suffix_n[j], suffix_v[j], suffix_t[j] = n, best, at
                n, best, at = 0, 0.0, 0


@part
def _place(window, n, v):  # type: ignore[no-untyped-def]
    """Number of values below ``v`` among the first ``n``, which are sorted; halves without jumps."""
    if n == 0:
        return 0
    at, left = 0, n
    while left > 1:
        half = left // 2
        at += half if window[at + half - 1] < v else 0
        left -= half
    return at + (1 if window[at] < v else 0)


@kernel(WINDOW)
def ordered(x, off, lo, need, w, asked, out):  # type: ignore[no-untyped-def]
    """A sorted copy of the window moves along; what leaves makes room for what comes.

    mode 0 q-quantile, linear between the two nearest; 1 average rank of today's value among the
    window's, divided by their number.
    """
    results = len(asked)
    window = np.zeros(w + 1)
    for i in range(len(off) - 1):
        a, m = off[i], off[i + 1] - off[i]
        first = max(0, need - lo[i])
        begin = max(0, first - (w - 1))
        out[:, a : a + min(first, m)] = np.nan
        n, j = 0, 0
        for t in range(begin, m):
            v = x[a + t] + 0.0  # no negative zero
            comes = v == v
            leaves = False
            if t - w >= begin:
                u = x[a + t - w] + 0.0
                if u == u:
                    leaves = True
                    j = _place(window, n, u)
            if comes:
                if leaves:
                    while j + 1 < n and window[j + 1] < v:
                        window[j] = window[j + 1]
                        j += 1
                    while j > 0 and window[j - 1] >= v:
                        window[j] = window[j - 1]
                        j -= 1
                else:
                    j = _place(window, n, v)
                    for k in range(n, j, -1):
                        window[k] = window[k - 1]
                    n += 1
                window[j] = v
            elif leaves:
                n -= 1
                for k in range(j, n):
                    window[k] = window[k + 1]
            if t < first:
                continue
            for r in range(results):
                value = np.nan
                if n >= asked[r, 1]:
                    if asked[r, 0] == 0.0:
                        spot = asked[r, 2] * (n - 1)
                        k = int(spot)
                        value = window[k]
                        if k + 1 < n and spot > k:
                            value += (window[k + 1] - value) * (spot - k)
                    elif comes:
                        last = j
                        while last + 1 < n and window[last + 1] == v:
                            last += 1
                        value = (0.5 * (j + last) + 1.0) / n
                out[r, a + t] = value


@kernel(WINDOW)
def deviations(x, off, lo, need, w, asked, out):  # type: ignore[no-untyped-def]
    """Mean absolute deviation from the window's mean."""
    for i in range(len(off) - 1):
        a, m = off[i], off[i + 1] - off[i]
        first = max(0, need - lo[i])
        out[:, a : a + min(first, m)] = np.nan
        for t in range(first, m):
            begin = a + max(0, t - w + 1)
            n, s = 0, 0.0
            for k in range(begin, a + t + 1):
                if x[k] == x[k]:
                    n += 1
                    s += x[k]
            mean = s / n
            s = 0.0
            for k in range(begin, a + t + 1):
                if x[k] == x[k]:
                    s += abs(x[k] - mean)
            for r in range(len(asked)):
                out[r, a + t] = s / n if n >= asked[r, 1] else np.nan
