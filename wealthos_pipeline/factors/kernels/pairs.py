"""Windowed regressions and correlations of two series, or of one on the session number."""

from __future__ import annotations

import numpy as np

from wealthos_pipeline.factors.kernels.jit import WINDOW, WINDOW_PAIR, kernel

# Below this share of the mean's square, a variance is rounding noise of a constant.
_NOISE = 2.0**-96


@kernel(WINDOW_PAIR)
def pair(x, y, off, lo, need, w, least, mode, out):  # type: ignore[no-untyped-def]
    """x on y over the sessions that have both.

    mode 0 correlation, 1 covariance (n − 1), 2 slope, 3 today's residual, 4 residual deviation
    (n − 2). Missing where what divides is constant.
    """
    inverse = np.zeros(w + 1)
    for j in range(1, w + 1):
        inverse[j] = 1.0 / j
    suffix_n = np.zeros(w + 1, np.int64)
    suffix = np.zeros((w + 1, 5))
    for i in range(len(off) - 1):
        a, m, base = off[i], off[i + 1] - off[i], lo[i]
        first = max(0, need - base)
        begin = max(0, first - (w - 1))
        out[a : a + min(first, m)] = np.nan
        suffix_n[:] = 0
        pn, px, py, pxx, pyy, pxy = 0, 0.0, 0.0, 0.0, 0.0, 0.0
        p = (base + begin) % w
        for t in range(begin, m):
            v, u = x[a + t], y[a + t]
            if v == v and u == u:
                pn += 1
                dx = v - px
                dy = u - py
                px += dx * inverse[pn]
                py += dy * inverse[pn]
                pxx += dx * (v - px)
                pyy += dy * (u - py)
                pxy += dx * (u - py)
            if t >= first:
                sn = suffix_n[p + 1]
                n = pn + sn
                r = np.nan
                if n >= least:
                    mx, my, xx, yy, xy = px, py, pxx, pyy, pxy
                    if sn > 0:
                        s = suffix[p + 1]
                        if pn == 0:
                            mx, my, xx, yy, xy = s[0], s[1], s[2], s[3], s[4]
                        else:
                            dx = px - s[0]
                            dy = py - s[1]
                            share = (sn * pn) * inverse[n]
                            mx = s[0] + dx * pn * inverse[n]
                            my = s[1] + dy * pn * inverse[n]
                            xx = s[2] + pxx + dx * dx * share
                            yy = s[3] + pyy + dy * dy * share
                            xy = s[4] + pxy + dx * dy * share
                    varies = yy > n * my * my * _NOISE
                    if mode == 1:
                        r = xy / (n - 1)
                    elif mode == 0:
                        if varies and xx > n * mx * mx * _NOISE:
                            r = xy / (np.sqrt(xx) * np.sqrt(yy))
                            r = min(1.0, max(-1.0, r))
                    elif varies:
                        if mode == 2:
                            r = xy / yy
                        elif mode == 3:
                            r = v - mx - xy / yy * (u - my)
                        else:
                            r = np.sqrt(max(0.0, xx - xy / yy * xy) / (n - 2))
                out[a + t] = r
            p += 1
            if p == w:
                p, pn, px, py, pxx, pyy, pxy = 0, 0, 0.0, 0.0, 0.0, 0.0, 0.0
                for j in range(w - 1, -1, -1):
                    k = t - (w - 1 - j)
                    if k >= begin:
                        v, u = x[a + k], y[a + k]
                        if v == v and u == u:
                            pn += 1
                            dx = v - px
                            dy = u - py
                            px += dx * inverse[pn]
                            py += dy * inverse[pn]
                            pxx += dx * (v - px)
                            pyy += dy * (u - py)
                            pxy += dx * (u - py)
                    suffix_n[j] = pn
                    suffix[j, 0] = px
                    suffix[j, 1] = py
                    suffix[j, 2] = pxx
                    suffix[j, 3] = pyy
                    suffix[j, 4] = pxy
                pn, px, py, pxx, pyy, pxy = 0, 0.0, 0.0, 0.0, 0.0, 0.0


@kernel(WINDOW)
def trend(x, off, lo, need, w, least, mode, out):  # type: ignore[no-untyped-def]
    """x on the session number. mode 0 slope, 1 R², 2 today's residual."""
    inverse = np.zeros(w + 1)
    for j in range(1, w + 1):
        inverse[j] = 1.0 / j
    suffix_n = np.zeros(w + 1, np.int64)
    suffix = np.zeros((w + 1, 5))
    for i in range(len(off) - 1):
        a, m, base = off[i], off[i + 1] - off[i], lo[i]
        first = max(0, need - base)
        begin = max(0, first - (w - 1))
        out[a : a + min(first, m)] = np.nan
        suffix_n[:] = 0
        pn, px, py, pxx, pyy, pxy = 0, 0.0, 0.0, 0.0, 0.0, 0.0
        p = (base + begin) % w
        for t in range(begin, m):
            v = x[a + t]
            if v == v:
                pn += 1
                dx = v - px
                dy = p - py
                px += dx * inverse[pn]
                py += dy * inverse[pn]
                pxx += dx * (v - px)
                pyy += dy * (p - py)
                pxy += dx * (p - py)
            if t >= first:
                sn = suffix_n[p + 1]
                n = pn + sn
                r = np.nan
                if n >= least:
                    mx, my, xx, yy, xy = px, py, pxx, pyy, pxy
                    if sn > 0:
                        s = suffix[p + 1]
                        if pn == 0:
                            mx, my, xx, yy, xy = s[0], s[1], s[2], s[3], s[4]
                        else:
                            dx = px - s[0]
                            dy = py - s[1]
                            share = (sn * pn) * inverse[n]
                            mx = s[0] + dx * pn * inverse[n]
                            my = s[1] + dy * pn * inverse[n]
                            xx = s[2] + pxx + dx * dx * share
                            yy = s[3] + pyy + dy * dy * share
                            xy = s[4] + pxy + dx * dy * share
                    if mode == 0:
                        r = xy / yy
                    elif mode == 2:
                        r = v - mx - xy / yy * (p - my)
                    elif xx > n * mx * mx * _NOISE:
                        r = min(1.0, xy / xx * (xy / yy))
                out[a + t] = r
            p += 1
            if p == w:
                p, pn, px, py, pxx, pyy, pxy = 0, 0, 0.0, 0.0, 0.0, 0.0, 0.0
                for j in range(w - 1, -1, -1):
                    k = t - (w - 1 - j)
                    if k >= begin:
                        v = x[a + k]
                        if v == v:
                            pn += 1
                            dx = v - px
                            dy = (j - w) - py
                            px += dx * inverse[pn]
                            py += dy * inverse[pn]
                            pxx += dx * (v - px)
                            pyy += dy * ((j - w) - py)
                            pxy += dx * ((j - w) - py)
                    suffix_n[j] = pn
                    suffix[j, 0] = px
                    suffix[j, 1] = py
                    suffix[j, 2] = pxx
                    suffix[j, 3] = pyy
                    suffix[j, 4] = pxy
                pn, px, py, pxx, pyy, pxy = 0, 0.0, 0.0, 0.0, 0.0, 0.0
