"""Windowed sums and moments: Sum, Mean, Count, Var, Std, Skew, Kurt."""

from __future__ import annotations

import numpy as np

from wealthos_pipeline.factors.kernels.jit import WINDOW, kernel

# Below this share of the mean's square, a variance is rounding noise of a constant.
_NOISE = 2.0**-96


@kernel(WINDOW)
def sums(x, off, lo, need, w, least, mode, out):  # type: ignore[no-untyped-def]
    """mode 0 sum, 1 mean, 2 count (never missing)."""
    suffix_n = np.zeros(w + 1, np.int64)
    suffix_s = np.zeros(w + 1)
    for i in range(len(off) - 1):
        a, m, base = off[i], off[i + 1] - off[i], lo[i]
        first = max(0, need - base)
        begin = max(0, first - (w - 1))
        out[a : a + min(first, m)] = np.nan
        suffix_n[:] = 0
        suffix_s[:] = 0.0
        pn, ps = 0, 0.0
        p = (base + begin) % w
        for t in range(begin, m):
            v = x[a + t]
            if v == v:
                pn += 1
                ps += v
            if t >= first:
                n = pn + suffix_n[p + 1]
                s = ps + suffix_s[p + 1]
                if mode == 2:
                    out[a + t] = n
                elif n < least:
                    out[a + t] = np.nan
                elif mode == 0:
                    out[a + t] = s
                else:
                    out[a + t] = s / n
            p += 1
            if p == w:
                p, pn, ps = 0, 0, 0.0
                n, s = 0, 0.0
                for j in range(w - 1, -1, -1):
                    u = t - (w - 1 - j)
                    if u >= begin:
                        v = x[a + u]
                        if v == v:
                            n += 1
                            s += v
                    suffix_n[j] = n
                    suffix_s[j] = s


@kernel(WINDOW)
def spread(x, off, lo, need, w, least, mode, out):  # type: ignore[no-untyped-def]
    """mode 0 variance, 1 standard deviation (n − 1). Welford within, Chan et al. between blocks."""
    inverse = np.zeros(w + 1)
    for j in range(1, w + 1):
        inverse[j] = 1.0 / j
    suffix_n = np.zeros(w + 1, np.int64)
    suffix_m = np.zeros(w + 1)
    suffix_c = np.zeros(w + 1)
    for i in range(len(off) - 1):
        a, m, base = off[i], off[i + 1] - off[i], lo[i]
        first = max(0, need - base)
        begin = max(0, first - (w - 1))
        out[a : a + min(first, m)] = np.nan
        suffix_n[:] = 0
        pn, pm, pc = 0, 0.0, 0.0
        p = (base + begin) % w
        for t in range(begin, m):
            v = x[a + t]
            if v == v:
                pn += 1
                d = v - pm
                pm += d * inverse[pn]
                pc += d * (v - pm)
            if t >= first:
                sn = suffix_n[p + 1]
                n = pn + sn
                if n < least:
                    out[a + t] = np.nan
                else:
                    c = pc
                    if sn > 0:
                        if pn == 0:
                            c = suffix_c[p + 1]
                        else:
                            d = pm - suffix_m[p + 1]
                            c = suffix_c[p + 1] + pc + d * d * (sn * pn) * inverse[n]
                    c = c / (n - 1)
                    out[a + t] = np.sqrt(c) if mode == 1 else c
            p += 1
            if p == w:
                p, pn, pm, pc = 0, 0, 0.0, 0.0
                n, mean, c = 0, 0.0, 0.0
                for j in range(w - 1, -1, -1):
                    u = t - (w - 1 - j)
                    if u >= begin:
                        v = x[a + u]
                        if v == v:
                            n += 1
                            d = v - mean
                            mean += d * inverse[n]
                            c += d * (v - mean)
                    suffix_n[j] = n
                    suffix_m[j] = mean
                    suffix_c[j] = c


@kernel(WINDOW)
def shape(x, off, lo, need, w, least, mode, out):  # type: ignore[no-untyped-def]
    """mode 0 skewness, 1 excess kurtosis, bias-corrected. Pébay (2008) for the joins."""
    suffix = np.zeros((w + 1, 5))
    part = np.zeros(5)
    for i in range(len(off) - 1):
        a, m, base = off[i], off[i + 1] - off[i], lo[i]
        first = max(0, need - base)
        begin = max(0, first - (w - 1))
        out[a : a + min(first, m)] = np.nan
        suffix[:] = 0.0
        part[:] = 0.0
        p = (base + begin) % w
        # pass 0 walks forward; at a block's end the same update runs backward into ``suffix``
        for t in range(begin, m):
            v = x[a + t]
            if v == v:
                n = part[0] + 1.0
                d = v - part[1]
                dn = d / n
                dn2 = dn * dn
                term = d * dn * part[0]
                part[4] += (
                    term * dn2 * (n * n - 3.0 * n + 3.0) + 6.0 * dn2 * part[2] - 4.0 * dn * part[3]
                )
                part[3] += term * dn * (n - 2.0) - 3.0 * dn * part[2]
                part[2] += term
                part[1] += dn
                part[0] = n
            if t >= first:
                na, nb = suffix[p + 1, 0], part[0]
                n = na + nb
                if n < least:
                    out[a + t] = np.nan
                else:
                    mean, m2, m3, m4 = part[1], part[2], part[3], part[4]
                    if na > 0.0:
                        ma, a2, a3, a4 = (
                            suffix[p + 1, 1],
                            suffix[p + 1, 2],
                            suffix[p + 1, 3],
                            suffix[p + 1, 4],
                        )
                        if nb == 0.0:
                            mean, m2, m3, m4 = ma, a2, a3, a4
                        else:
                            d = mean - ma
                            d2 = d * d
                            ab = na * nb
                            m4 = (
                                a4
                                + m4
                                + d2 * d2 * ab * (na * na - ab + nb * nb) / (n * n * n)
                                + 6.0 * d2 * (na * na * m2 + nb * nb * a2) / (n * n)
                                + 4.0 * d * (na * m3 - nb * a3) / n
                            )
                            m3 = (
                                a3
                                + m3
                                + d * d2 * ab * (na - nb) / (n * n)
                                + 3.0 * d * (na * m2 - nb * a2) / n
                            )
                            m2 = a2 + m2 + d2 * ab / n
                            mean = ma + d * nb / n
                    if m2 <= n * mean * mean * _NOISE:
                        out[a + t] = np.nan
                    elif mode == 0:
                        g = np.sqrt(n) * m3 / (m2 * np.sqrt(m2))
                        out[a + t] = g * np.sqrt(n * (n - 1.0)) / (n - 2.0)
                    else:
                        g = n * m4 / (m2 * m2) - 3.0
                        out[a + t] = (n - 1.0) / ((n - 2.0) * (n - 3.0)) * ((n + 1.0) * g + 6.0)
            p += 1
            if p == w:
                p = 0
                part[:] = 0.0
                for j in range(w - 1, -1, -1):
                    u = t - (w - 1 - j)
                    if u >= begin:
                        v = x[a + u]
                        if v == v:
                            n = part[0] + 1.0
                            d = v - part[1]
                            dn = d / n
                            dn2 = dn * dn
                            term = d * dn * part[0]
                            part[4] += (
                                term * dn2 * (n * n - 3.0 * n + 3.0)
                                + 6.0 * dn2 * part[2]
                                - 4.0 * dn * part[3]
                            )
                            part[3] += term * dn * (n - 2.0) - 3.0 * dn * part[2]
                            part[2] += term
                            part[1] += dn
                            part[0] = n
                    suffix[j, :] = part
                part[:] = 0.0
