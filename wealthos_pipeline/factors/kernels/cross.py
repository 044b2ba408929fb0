"""Cross-sections: one date at a time, names ordered as given (by instrument_id)."""

from __future__ import annotations

import numpy as np

from wealthos_pipeline.factors.kernels.jit import F8, I8, kernel

_DATES = 32  # dates gathered together, so that each instrument is read in runs
_NOISE = 2.0**-48  # a deviation below this share of the mean is rounding noise of a constant


@kernel(f"void({F8}, {I8}, int64, float64, {F8})")
def section(value, place, mode, k, out):  # type: ignore[no-untyped-def]
    """The names of one section, none missing: ``out[place]``.

    mode 0 rank in (0, 1], 1 z-score (n − 1), 2 demeaned, 3 mean, 4 clipped at median ± k · MAD.
    """
    n = len(value)
    if mode == 0:
        order = np.argsort(value)
        j = 0
        while j < n:
            e = j
            while e + 1 < n and value[order[e + 1]] == value[order[j]]:
                e += 1
            for f in range(j, e + 1):
                out[place[order[f]]] = (0.5 * (j + e) + 1.0) / n
            j = e + 1
        return
    if mode == 4:
        order = np.argsort(value)
        middle = 0.5 * (value[order[(n - 1) // 2]] + value[order[n // 2]])
        away = np.abs(value - middle)
        order = np.argsort(away)
        width = k * (0.5 * (away[order[(n - 1) // 2]] + away[order[n // 2]]))
        for j in range(n):
            v = value[j]
            out[place[j]] = min(max(v, middle - width), middle + width) if width > 0.0 else v
        return
    total = 0.0
    for j in range(n):
        total += value[j]
    mean = total / n
    if mode == 3:
        for j in range(n):
            out[place[j]] = mean
    elif mode == 2:
        for j in range(n):
            out[place[j]] = value[j] - mean
    else:
        total = 0.0
        for j in range(n):
            total += (value[j] - mean) * (value[j] - mean)
        deviation = np.sqrt(total / (n - 1)) if n > 1 else 0.0
        constant = deviation <= abs(mean) * _NOISE
        for j in range(n):
            out[place[j]] = np.nan if constant else (value[j] - mean) / deviation


@kernel(f"void({F8}, {I8}, {I8}, int64, int64, int64, float64, {F8})")
def by_date(x, off, lo, begin, end, mode, k, out):  # type: ignore[no-untyped-def]
    """Slots [begin, end), one section a date; see ``section``. What is missing is left as it is.

    The mean (mode 3) goes to every name that is listed.
    """
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
                v = x[a + s - lo[i]]
                if v == v:
                    n = count[s - c]
                    value[s - c, n] = v
                    place[s - c, n] = a + s - lo[i]
                    count[s - c] = n + 1
        for d in range(stop - c):
            n = count[d]
            if n == 0:
                continue
            section(value[d, :n], place[d, :n], mode, k, out)
            if mode == 3:
                mean = out[place[d, 0]]
                for i in range(names):
                    e = off[i] + c + d - lo[i]
                    if off[i] <= e < off[i + 1]:
                        out[e] = mean


@kernel(f"void({F8}, {F8}, int64, {I8}, {I8}, int64, int64, int64, float64, {F8})")
def by_group(x, group, groups, off, lo, begin, end, mode, k, out):  # type: ignore[no-untyped-def]
    """Slots [begin, end), one section a date and group; see ``section``.

    group: number from 0 to ``groups`` − 1 of each cell, NaN where it has none: such a name is in no
    section. The mean goes to every name of the group, what is missing else is left as it is.
    """
    names = len(off) - 1
    value = np.zeros((_DATES, names))
    place = np.zeros((_DATES, names), np.int64)
    code = np.zeros((_DATES, names), np.int64)
    count = np.zeros(_DATES, np.int64)
    head = np.zeros(groups + 1, np.int64)
    there = np.zeros(groups, np.int64)
    sorted_value = np.zeros(names)
    sorted_place = np.zeros(names, np.int64)
    for c in range(begin, end, _DATES):
        stop = min(c + _DATES, end)
        count[:] = 0
        for i in range(names):
            a, size = off[i], off[i + 1] - off[i]
            for s in range(max(c, lo[i]), min(stop, lo[i] + size)):
                e = a + s - lo[i]
                if group[e] == group[e]:
                    n = count[s - c]
                    value[s - c, n] = x[e]
                    place[s - c, n] = e
                    code[s - c, n] = int(group[e])
                    count[s - c] = n + 1
        for d in range(stop - c):
            # names in the order of their groups, within a group in their own; missing ones left out
            there[:] = 0
            for j in range(count[d]):
                there[code[d, j]] += value[d, j] == value[d, j]
            head[0] = 0
            for g in range(groups):
                head[g + 1] = head[g] + there[g]
            there[:] = head[:groups]
            for j in range(count[d]):
                if value[d, j] == value[d, j]:
                    at = there[code[d, j]]
                    sorted_value[at] = value[d, j]
                    sorted_place[at] = place[d, j]
                    there[code[d, j]] = at + 1
            for g in range(groups):
                a, b = head[g], head[g + 1]
                if b > a:
                    section(sorted_value[a:b], sorted_place[a:b], mode, k, out)
            if mode == 3:
                for j in range(count[d]):
                    g = code[d, j]
                    if head[g + 1] > head[g]:
                        out[place[d, j]] = out[sorted_place[head[g]]]


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
