"""Cross-sections: one date at a time, names ordered as given (by instrument_id)."""

from __future__ import annotations

import numpy as np

from wealthos_pipeline.factors.kernels.jit import F8, I8, kernel

_DATES = 32  # dates gathered together, so that each instrument is read in runs


@kernel(f"void({I8}, {I8}, int64, float64, {F8})")
def _spread(off, lo, slot, v, out):  # type: ignore[no-untyped-def]
    """The same value for every instrument that is alive on a slot."""
    for i in range(len(off) - 1):
        k = off[i] + slot - lo[i]
        if off[i] <= k < off[i + 1]:
            out[k] = v


@kernel(f"void({F8}, {I8}, {I8}, int64, int64, int64, {F8})")
def by_date(x, off, lo, begin, end, mode, out):  # type: ignore[no-untyped-def]
    """Slots [begin, end). mode 0 rank in (0, 1], 1 z-score, 2 demeaned, 3 mean for every name."""
    names = len(off) - 1
    value = np.zeros((_DATES, names))
    place = np.zeros((_DATES, names), np.int64)
    count = np.zeros(_DATES, np.int64)
    for c in range(begin, end, _DATES):
        stop = min(c + _DATES, end)
        count[:] = 0
        for i in range(names):
            a, size = off[i], off[i + 1] - off[i]
            for s in range(max(c, lo[i]), min(stop, lo[i] + size)):
                k = a + s - lo[i]
                v = x[k]
                if v == v:
                    n = count[s - c]
                    value[s - c, n] = v
                    place[s - c, n] = k
                    count[s - c] = n + 1
                elif mode != 3:
                    out[k] = np.nan
        for d in range(stop - c):
            n = count[d]
            if n == 0:
                if mode == 3:
                    _spread(off, lo, c + d, np.nan, out)
                continue
            if mode == 0:
                order = np.argsort(value[d, :n])
                j = 0
                while j < n:
                    k = j
                    while k + 1 < n and value[d, order[k + 1]] == value[d, order[j]]:
                        k += 1
                    rank = 0.5 * (j + k) + 1.0
                    for e in range(j, k + 1):
                        out[place[d, order[e]]] = rank / n
                    j = k + 1
                continue
            total = 0.0
            for j in range(n):
                total += value[d, j]
            mean = total / n
            if mode == 3:
                _spread(off, lo, c + d, mean, out)
            elif mode == 2:
                for j in range(n):
                    out[place[d, j]] = value[d, j] - mean
            else:
                total = 0.0
                for j in range(n):
                    total += (value[d, j] - mean) * (value[d, j] - mean)
                deviation = np.sqrt(total / (n - 1)) if n > 1 else 0.0
                constant = deviation <= abs(mean) * 2.0**-48
                for j in range(n):
                    out[place[d, j]] = np.nan if constant else (value[d, j] - mean) / deviation


@kernel(f"void({F8}, {I8}, {I8}, int64, {F8}, {I8})")
def mean_by_slot(x, off, lo, begin, mean, count):  # type: ignore[no-untyped-def]
    """Mean over the names that have a value, by slot from ``begin`` on; NaN where none has."""
    mean[:] = 0.0
    count[:] = 0
    for i in range(len(off) - 1):
        for k in range(off[i], off[i + 1]):
            s = lo[i] + k - off[i] - begin
            if 0 <= s < len(mean) and x[k] == x[k]:
                mean[s] += x[k]
                count[s] += 1
    for s in range(len(mean)):
        mean[s] = mean[s] / count[s] if count[s] else np.nan
