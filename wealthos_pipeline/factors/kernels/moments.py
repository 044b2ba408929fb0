"""Windowed sums and moments: Sum, Mean, Count, Var, Std, Skew, Kurt."""

from __future__ import annotations

import numpy as np

from wealthos_pipeline.factors.kernels.jit import WINDOW, kernel, part

# Below this share of the mean's square, a variance is rounding noise of a constant.
_NOISE = 2.0**-96


@kernel(WINDOW)
def sums(x, off, lo, need, w, asked, out):  # type: ignore[no-untyped-def]
    """mode 0 sum, 1 mean, 2 count (never missing)."""
    results = len(asked)
    inverse = np.zeros(w + 1)
    for j in range(1, w + 1):
        inverse[j] = 1.0 / j
    suffix_n = np.zeros(w + 1, np.int64)
    suffix_s = np.zeros(w + 1)
    for i in range(len(off) - 1):
        a, m, base = off[i], off[i + 1] - off[i], lo[i]
        first = max(0, need - base)
        begin = max(0, first - (w - 1))
        out[:, a : a + min(first, m)] = np.nan
        suffix_n[:] = 0
        suffix_s[:] = 0.0
        t = begin
        while t < m:
            # one block of the calendar: sums from its first session on, joined to the block before
            shift = (base + t) % w - t
            stop = min(w - shift, m)
            n, s = 0, 0.0
            for u in range(t, stop):
                v = x[a + u]
                if v == v:
                    n += 1
                    s += v
                if u >= first:
                    q = np.uint64(u + shift + 1)
                    count = n + suffix_n[q]
                    total = s + suffix_s[q]
                    for r in range(results):
                        mode = asked[r, 0]
                        if mode == 2.0:
                            out[r, a + u] = count
                        elif count < asked[r, 1]:
                            out[r, a + u] = np.nan
                        else:
                            out[r, a + u] = total if mode == 0.0 else total / count
            if stop + shift == w and stop < m:
                n, s = 0, 0.0
                for u in range(stop - 1, stop - 1 - w, -1):
                    if u >= begin:
                        v = x[a + u]
                        if v == v:
                            n += 1
                            s += v
                    q = np.uint64(u + w - stop)
                    suffix_n[q] = n
                    suffix_s[q] = s
            t = stop


@part
def _welford(n, mean, c, v, inverse):  # type: ignore[no-untyped-def]
    """Count, mean and sum of squared deviations with one more value."""
    d = v - mean
    mean += d * inverse[n + 1]
    return n + 1, mean, c + d * (v - mean)


@kernel(WINDOW)
def spread(x, off, lo, need, w, asked, out):  # type: ignore[no-untyped-def]
    """mode 0 variance, 1 standard deviation (n − 1). Welford within, Chan et al. between blocks."""
    results = len(asked)
    inverse = np.zeros(w + 2)
    for j in range(1, w + 2):
        inverse[j] = 1.0 / j
    suffix_n = np.zeros(w + 1, np.int64)
    suffix_m = np.zeros(w + 1)
    suffix_c = np.zeros(w + 1)
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
            n, mean, c = 0, 0.0, 0.0
            for u in range(t, stop):
                v = x[a + u]
                if v == v:
                    n, mean, c = _welford(n, mean, c, v, inverse)
                if u < first:
                    continue
                q = np.uint64(u + shift + 1)
                sn = suffix_n[q]
                count = n + sn
                total = c
                if sn > 0:
                    total = suffix_c[q]
                    if n > 0:
                        d = mean - suffix_m[q]
                        total = total + c + d * d * (sn * n) * inverse[count]
                variance = total / (count - 1)
                for r in range(results):
                    if count < asked[r, 1]:
                        out[r, a + u] = np.nan
                    else:
                        out[r, a + u] = np.sqrt(variance) if asked[r, 0] == 1.0 else variance
            if stop + shift == w and stop < m:
                n, mean, c = 0, 0.0, 0.0
                for u in range(stop - 1, stop - 1 - w, -1):
                    if u >= begin:
                        v = x[a + u]
                        if v == v:
                            n, mean, c = _welford(n, mean, c, v, inverse)
                    q = np.uint64(u + w - stop)
                    suffix_n[q], suffix_m[q], suffix_c[q] = n, mean, c
            t = stop


@part
def _pebay(s, v):  # type: ignore[no-untyped-def]
    """Count, mean and the sums of the 2nd to 4th powers of deviations, with one more value."""
    before, mean, m2, m3, m4 = s
    n = before + 1.0
    d = v - mean
    dn = d / n
    dn2 = dn * dn
    term = d * dn * before
    m4 += term * dn2 * (n * n - 3.0 * n + 3.0) + 6.0 * dn2 * m2 - 4.0 * dn * m3
    m3 += term * dn * (n - 2.0) - 3.0 * dn * m2
    return n, mean + dn, m2 + term, m3, m4


@part
def _joined(older, newer):  # type: ignore[no-untyped-def]
    """The state of two sets of values together (Pébay 2008)."""
    na, ma, a2, a3, a4 = older
    nb, mean, m2, m3, m4 = newer
    if na == 0.0:
        return newer
    if nb == 0.0:
        return older
    n = na + nb
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
    m3 = a3 + m3 + d * d2 * ab * (na - nb) / (n * n) + 3.0 * d * (na * m2 - nb * a2) / n
    return n, ma + d * nb / n, a2 + m2 + d2 * ab / n, m3, m4


@kernel(WINDOW)
def shape(x, off, lo, need, w, asked, out):  # type: ignore[no-untyped-def]
    """mode 0 skewness, 1 excess kurtosis, bias-corrected."""
    suffix = np.zeros((w + 1, 5))
    empty = (0.0, 0.0, 0.0, 0.0, 0.0)
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
            state = empty
            for u in range(t, stop):
                v = x[a + u]
                if v == v:
                    state = _pebay(state, v)
                if u < first:
                    continue
                q = u + shift + 1
                older = (suffix[q, 0], suffix[q, 1], suffix[q, 2], suffix[q, 3], suffix[q, 4])
                n, mean, m2, m3, m4 = _joined(older, state)
                for r in range(len(asked)):
                    value = np.nan
                    if n >= asked[r, 1] and m2 > n * mean * mean * _NOISE:
                        if asked[r, 0] == 0.0:
                            g = np.sqrt(n) * m3 / (m2 * np.sqrt(m2))
                            value = g * np.sqrt(n * (n - 1.0)) / (n - 2.0)
                        else:
                            g = n * m4 / (m2 * m2) - 3.0
                            value = (n - 1.0) / ((n - 2.0) * (n - 3.0)) * ((n + 1.0) * g + 6.0)
                    out[r, a + u] = value
            if stop + shift == w and stop < m:
                state = empty
                for u in range(stop - 1, stop - 1 - w, -1):
                    if u >= begin and x[a + u] == x[a + u]:
                        state = _pebay(state, x[a + u])
                    q = u + w - stop
                    n, mean, m2, m3, m4 = state
                    suffix[q, 0], suffix[q, 1], suffix[q, 2] = n, mean, m2
                    suffix[q, 3], suffix[q, 4] = m3, m4
            t = stop
