"""Weighted means that forget: WMA and EMA, both over a finite window."""

from __future__ import annotations

import numpy as np

from wealthos_pipeline.factors.kernels.jit import F8, I8, WINDOW, kernel


@kernel(WINDOW)
def linear(x, off, lo, need, w, least, mode, out):  # type: ignore[no-untyped-def]
    """Weights 1 for the oldest session of the window to n for today, over what is there."""
    for i in range(len(off) - 1):
        a, m = off[i], off[i + 1] - off[i]
        first = max(0, need - lo[i])
        out[a : a + min(first, m)] = np.nan
        for t in range(first, m):
            begin = max(0, t - w + 1)
            n, s, weight = 0, 0.0, 0.0
            for k in range(begin, t + 1):
                v = x[a + k]
                if v == v:
                    n += 1
                    s += (k - begin + 1) * v
                    weight += k - begin + 1
            out[a + t] = s / weight if n >= least else np.nan


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
