"""What has no window of its own when it takes everything since an instrument's first session.

Most operators need nothing here: for n = 0 their windows are longer than the calendar, so that blocks
anchored to it have one beginning, slot 0, and the state runs on from the instrument's first cell.
"""

from __future__ import annotations

import numpy as np

from wealthos_pipeline.factors.kernels.jit import F8, I8, kernel


@kernel(f"void({F8}, {I8}, int64, {F8})")
def first(x, off, mode, out):  # type: ignore[no-untyped-def]
    """mode 0 the first value that there was, 1 today's minus it; missing before."""
    for i in range(len(off) - 1):
        v = np.nan
        for t in range(off[i], off[i + 1]):
            if v != v:
                v = x[t]
            out[t] = v if mode == 0 else x[t] - v


@kernel(f"void({F8}, {I8}, {I8}, int64, int64, {F8})")
def exponential(x, off, lo, need, least, out):  # type: ignore[no-untyped-def]
    """Exponential mean whose span is the number of sessions so far, over what is there."""
    for i in range(len(off) - 1):
        a, m = off[i], off[i + 1] - off[i]
        begin = max(0, need - lo[i])
        out[a : a + min(begin, m)] = np.nan
        for t in range(begin, m):
            keep = 1.0 - 2.0 / (t + 2.0)
            n, s, total, weight = 0, 0.0, 0.0, 1.0
            for k in range(a + t, a - 1, -1):
                if x[k] == x[k]:
                    n += 1
                    s += weight * x[k]
                    total += weight
                weight *= keep
            out[a + t] = s / total if n >= least else np.nan
