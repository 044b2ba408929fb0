"""What is left of a value after least squares on groups and regressors, one date at a time."""

from __future__ import annotations

import numpy as np

from wealthos_pipeline.factors.kernels.jit import F8, I8, kernel

_DATES = 32  # dates gathered together, so that each instrument is read in runs
_SMALLEST = 3  # names of a group that stands on its own; the others are one group together
_CONSTANT = 2.0**-40  # a deviation below this share of the size is rounding noise of a constant
_DEPENDENT = 1e-7  # what is left of a regressor below this share is dependent on those before
_EXPLAINED = 2.0**-46  # a residual below this share of the value is rounding noise of a perfect fit


@kernel(f"void({F8}, {I8}, int64, {I8}, {F8})")
def _centre(v, group, groups, count, total):  # type: ignore[no-untyped-def]
    """Subtract the groups' means in place, twice: the second time takes the first one's rounding."""
    for _ in range(2):
        total[: groups + 1] = 0.0
        for j in range(len(v)):
            total[group[j]] += v[j]
        for j in range(len(v)):
            v[j] -= total[group[j]] / count[group[j]]


@kernel(f"void({F8}, {F8})")
def _take_out(v, q):  # type: ignore[no-untyped-def]
    """Subtract the part of ``v`` along the unit vector ``q`` in place."""
    dot = 0.0
    for j in range(len(v)):
        dot += q[j] * v[j]
    for j in range(len(v)):
        v[j] -= dot * q[j]


@kernel(f"void({F8}, float64[:, ::1], {F8}, int64, {I8}, {I8}, int64, int64, {F8})")
def neutral(x, y, group, groups, off, lo, begin, end, out):  # type: ignore[no-untyped-def]
    """Residual of ``x`` on dummies of the groups and the rows of ``y``, for slots [begin, end).

    group: number of each cell, NaN where it has none; of no length where there are no groups: one
    intercept. Names without a group, and groups of fewer than three names, are one group. A name with
    a missing x or y takes no part. The design is made orthogonal by modified Gram–Schmidt, done twice,
    in the order given (Björck, Numerical Methods for Least Squares Problems, 1996, §2.4): groups first,
    then each y. A y of which less than 1e-7 of its deviation from the groups' means is left after those
    before it is dropped, and one that is constant within the groups. Missing where there are no more
    names than columns; 0 where the fit is perfect.
    """
    names, m = len(off) - 1, len(y)
    grouped = len(group) > 0
    value = np.zeros((_DATES, names))
    place = np.zeros((_DATES, names), np.int64)
    code = np.zeros((_DATES, names), np.int64)
    column = np.zeros((_DATES, max(m, 1), names))
    filled = np.zeros(_DATES, np.int64)
    count = np.zeros(groups + 1, np.int64)
    total = np.zeros(groups + 1)
    for c in range(begin, end, _DATES):
        stop = min(c + _DATES, end)
        filled[:] = 0
        for i in range(names):
            a, size = off[i], off[i + 1] - off[i]
            for s in range(max(c, lo[i]), min(stop, lo[i] + size)):
                e = a + s - lo[i]
                complete = x[e] == x[e]
                for r in range(m):
                    complete = complete and y[r, e] == y[r, e]
                if complete:
                    n = filled[s - c]
                    value[s - c, n] = x[e]
                    place[s - c, n] = e
                    code[s - c, n] = groups
                    if grouped and group[e] == group[e]:
                        code[s - c, n] = int(group[e])
                    for r in range(m):
                        column[s - c, r, n] = y[r, e]
                    filled[s - c] = n + 1
        for d in range(stop - c):
            n = filled[d]
            of, v = code[d, :n], value[d, :n]
            count[:] = 0
            for j in range(n):
                count[of[j]] += 1
            for j in range(n):
                if count[of[j]] < _SMALLEST:
                    of[j] = groups
            count[:] = 0
            for j in range(n):
                count[of[j]] += 1
            columns = 0
            for g in range(groups + 1):
                columns += count[g] > 0
            kept = 0
            for r in range(m):
                u = column[d, r, :n]
                size = np.sqrt(np.sum(u * u))
                _centre(u, of, groups, count, total)
                deviation = np.sqrt(np.sum(u * u))
                if deviation <= size * _CONSTANT:
                    continue
                for _ in range(2):
                    for q in range(kept):
                        _take_out(u, column[d, q, :n])
                left = np.sqrt(np.sum(u * u))
                if left <= deviation * _DEPENDENT:
                    continue
                for j in range(n):
                    column[d, kept, j] = u[j] / left
                kept += 1
            if n <= columns + kept:
                continue
            size = np.sqrt(np.sum(v * v))
            _centre(v, of, groups, count, total)
            for _ in range(2):
                for q in range(kept):
                    _take_out(v, column[d, q, :n])
            perfect = np.sqrt(np.sum(v * v)) <= size * _EXPLAINED
            for j in range(n):
                out[place[d, j]] = 0.0 if perfect else v[j]
