"""Weighted means that forget: WMA and EMA, both over a finite window."""

from __future__ import annotations

import numpy as np

from wealthos_pipeline.factors.kernels.jit import F8, I8, WINDOW, kernel


@kernel(WINDOW)
def linear(x, off, lo, need, w, asked, out):  # type: ignore[no-untyped-def]
    """Weights 1 for the oldest session of the window to n for today, over what is there.

    Block-anchored: a suffix keeps the sum whose weights count from its first session, so that one
    session more in front adds the plain sum once.
    """
    suffix = np.zeros((w + 1, 4))  # n, sum, weighted sum, weights
    for i in range(len(off) - 1):
        a, m, base = off[i], off[i + 1] - off[i], lo[i]
        first = max(0, need - base)
        begin = max(0, first - (w - 1))
        out[:, a : a + min(first, m)] = np.nan
        suffix[:] = 0.0
        t = begin
        while t < m:
            shift = (base + t) % w - t
            stop = min(w - shift, m)
            n, s, total, weight = 0.0, 0.0, 0.0, 0.0
            for u in range(t, stop):
                v = x[a + u]
                if v == v:
                    n += 1.0
                    s += v
                    total += (u - t + 1) * v
                    weight += u - t + 1
                if u < first:
                    continue
                q = u + shift + 1
                older = t - max(begin, u - w + 1)  # sessions of the window before this block
                top = suffix[q, 2] + total + older * s
                below = suffix[q, 3] + weight + older * n
                for r in range(len(asked)):
                    enough = n + suffix[q, 0] >= asked[r, 1]
                    out[r, a + u] = top / below if enough else np.nan
            if stop + shift == w and stop < m:
                n, s, total, weight = 0.0, 0.0, 0.0, 0.0
                for u in range(stop - 1, stop - 1 - w, -1):
                    if u >= begin:
                        v = x[a + u]
                        if v == v:
                            n += 1.0
                            s += v
                        total += s
                        weight += n
                    q = u + w - stop
                    suffix[q, 0], suffix[q, 1] = n, s
                    suffix[q, 2], suffix[q, 3] = total, weight
            t = stop


@kernel(f"void({F8}, {I8}, {I8}, int64, int64, int64, float64, {F8})")
def exponential(x, off, lo, need, w, least, keep, out):  # type: ignore[no-untyped-def]
    """Weights keep^age over a window of w sessions, over what is there; block-anchored."""
    power = np.ones(w + 1)
    for j in range(1, w + 1):
        power[j] = power[j - 1] * keep
    suffix_s = np.zeros(w + 1)
    suffix_w = np.zeros(w + 1)
    suffix_n = np.zeros(w + 1, np.int64)
    for i in range(len(off) - 1):
        a, m, base = off[i], off[i + 1] - off[i], lo[i]
        first = max(0, need - base)
        begin = max(0, first - (w - 1))
        out[a : a + min(first, m)] = np.nan
        suffix_s[:] = 0.0
        suffix_w[:] = 0.0
        suffix_n[:] = 0
        n, s, weight = 0, 0.0, 0.0
        p = (base + begin) % w
        for t in range(begin, m):
            s *= keep
            weight *= keep
            v = x[a + t]
            if v == v:
                n += 1
                s += v
                weight += 1.0
            if t >= first:
                if n + suffix_n[p + 1] >= least:
                    total = weight + power[p + 1] * suffix_w[p + 1]
                    out[a + t] = (s + power[p + 1] * suffix_s[p + 1]) / total
                else:
                    out[a + t] = np.nan
            p += 1
            if p == w:
                p = 0
                n, s, weight = 0, 0.0, 0.0
                for j in range(w - 1, -1, -1):
                    u = t - (w - 1 - j)
                    if u >= begin:
                        v = x[a + u]
                        if v == v:
                            n += 1
                            s += power[w - 1 - j] * v
                            weight += power[w - 1 - j]
                    suffix_s[j] = s
                    suffix_w[j] = weight
                    suffix_n[j] = n
                n, s, weight = 0, 0.0, 0.0
