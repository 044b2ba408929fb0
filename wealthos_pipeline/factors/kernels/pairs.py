"""Windowed regressions and correlations of two series, or of one on the session number."""

from __future__ import annotations

import numpy as np

from wealthos_pipeline.factors.kernels.jit import WINDOW, WINDOW_PAIR, kernel, part

# Below this share of the mean's square, a variance is rounding noise of a constant.
_NOISE = 2.0**-96


@part
def _more(s, n, v, u, inverse):  # type: ignore[no-untyped-def]
    """Means, squares and product of deviations of ``n - 1`` pairs with one more."""
    px, py, pxx, pyy, pxy = s
    dx = v - px
    dy = u - py
    px += dx * inverse[n]
    py += dy * inverse[n]
    return px, py, pxx + dx * (v - px), pyy + dy * (u - py), pxy + dx * (u - py)


@part
def _joined(suffix, q, sn, s, n, inverse):  # type: ignore[no-untyped-def]
    """A block's suffix and the next one's prefix together (Chan et al.)."""
    px, py, pxx, pyy, pxy = s
    if sn == 0:
        return s
    if n == 0:
        return suffix[q, 0], suffix[q, 1], suffix[q, 2], suffix[q, 3], suffix[q, 4]
    dx = px - suffix[q, 0]
    dy = py - suffix[q, 1]
    one = inverse[n + sn]
    share = (sn * n) * one
    return (
        suffix[q, 0] + dx * n * one,
        suffix[q, 1] + dy * n * one,
        suffix[q, 2] + pxx + dx * dx * share,
        suffix[q, 3] + pyy + dy * dy * share,
        suffix[q, 4] + pxy + dx * dy * share,
    )


@part
def _kept(suffix, q, s):  # type: ignore[no-untyped-def]
    suffix[q, 0], suffix[q, 1], suffix[q, 2], suffix[q, 3], suffix[q, 4] = s


@kernel(WINDOW_PAIR)
def pair(x, y, off, lo, need, w, asked, out):  # type: ignore[no-untyped-def]
    """x on y over the sessions that have both.

    mode 0 correlation, 1 covariance (n − 1), 2 slope, 3 today's residual, 4 residual deviation
    (n − 2). Missing where what divides is constant.
    """
    results = len(asked)
    inverse = np.zeros(w + 1)
    for j in range(1, w + 1):
        inverse[j] = 1.0 / j
    suffix_n = np.zeros(w + 1, np.int64)
    suffix = np.zeros((w + 1, 5))
    empty = (0.0, 0.0, 0.0, 0.0, 0.0)
    for i in range(len(off) - 1):
        a, m, base = off[i], off[i + 1] - off[i], lo[i]
        first = max(0, need - base)
        begin = max(0, first - (w - 1))
        out[:, a : a + min(first, m)] = np.nan
        suffix_n[:] = 0
        t = begin
        while t < m:
            shift = (base + t) % w - t
            stop = min(w - shift, m)
            n, state = 0, empty
            for k in range(t, stop):
                v, u = x[a + k], y[a + k]
                if v == v and u == u:
                    n += 1
                    state = _more(state, n, v, u, inverse)
                if k < first:
                    continue
                q = np.uint64(k + shift + 1)
                sn = suffix_n[q]
                count = n + sn
                mx, my, xx, yy, xy = _joined(suffix, q, sn, state, n, inverse)
                varies = yy > count * my * my * _NOISE
                for r in range(results):
                    mode = asked[r, 0]
                    value = np.nan
                    if count >= asked[r, 1]:
                        if mode == 1.0:
                            value = xy / (count - 1)
                        elif mode == 0.0:
                            if varies and xx > count * mx * mx * _NOISE:
                                value = xy / (np.sqrt(xx) * np.sqrt(yy))
                                value = min(1.0, max(-1.0, value))
                        elif varies:
                            if mode == 2.0:
                                value = xy / yy
                            elif mode == 3.0:
                                value = v - mx - xy / yy * (u - my)
                            else:
                                value = np.sqrt(max(0.0, xx - xy / yy * xy) / (count - 2))
                    out[r, a + k] = value
            if stop + shift == w and stop < m:
                n, state = 0, empty
                for k in range(stop - 1, stop - 1 - w, -1):
                    if k >= begin:
                        v, u = x[a + k], y[a + k]
                        if v == v and u == u:
                            n += 1
                            state = _more(state, n, v, u, inverse)
                    q = np.uint64(k + w - stop)
                    suffix_n[q] = n
                    _kept(suffix, q, state)
            t = stop


@kernel(WINDOW)
def trend(x, off, lo, need, w, asked, out):  # type: ignore[no-untyped-def]
    """x on the session number. mode 0 slope, 1 R², 2 today's residual."""
    results = len(asked)
    inverse = np.zeros(w + 1)
    for j in range(1, w + 1):
        inverse[j] = 1.0 / j
    suffix_n = np.zeros(w + 1, np.int64)
    suffix = np.zeros((w + 1, 5))
    empty = (0.0, 0.0, 0.0, 0.0, 0.0)
    for i in range(len(off) - 1):
        a, m, base = off[i], off[i + 1] - off[i], lo[i]
        first = max(0, need - base)
        begin = max(0, first - (w - 1))
        out[:, a : a + min(first, m)] = np.nan
        suffix_n[:] = 0
        t = begin
        while t < m:
            shift = (base + t) % w - t
            stop = min(w - shift, m)
            n, state = 0, empty
            for k in range(t, stop):
                v = x[a + k]
                p = k + shift
                if v == v:
                    n += 1
                    state = _more(state, n, v, float(p), inverse)
                if k < first:
                    continue
                q = np.uint64(p + 1)
                sn = suffix_n[q]
                count = n + sn
                mx, my, xx, yy, xy = _joined(suffix, q, sn, state, n, inverse)
                slope = xy / yy
                for r in range(results):
                    mode = asked[r, 0]
                    value = np.nan
                    if count >= asked[r, 1]:
                        if mode == 0.0:
                            value = slope
                        elif mode == 2.0:
                            value = v - mx - slope * (p - my)
                        elif xx > count * mx * mx * _NOISE:
                            value = min(1.0, xy / xx * slope)
                    out[r, a + k] = value
            if stop + shift == w and stop < m:
                n, state = 0, empty
                for k in range(stop - 1, stop - 1 - w, -1):
                    if k >= begin and x[a + k] == x[a + k]:
                        n += 1
                        state = _more(state, n, x[a + k], float(k - stop), inverse)
                    q = np.uint64(k + w - stop)
                    suffix_n[q] = n
                    _kept(suffix, q, state)
            t = stop
