"""Values of earlier sessions: Ref, Delta."""

from __future__ import annotations

import numpy as np

from wealthos_pipeline.factors.kernels.jit import F8, I8, kernel


@kernel(f"void({F8}, {I8}, int64, int64, {F8})")
def shift(x, off, n, mode, out):  # type: ignore[no-untyped-def]
    """mode 0 the value n sessions ago, 1 today's minus it; missing before."""
    for i in range(len(off) - 1):
        a, b = off[i], off[i + 1]
        head = min(a + n, b)
        out[a:head] = np.nan
        if mode == 0:
            out[head:b] = x[a : a + b - head]
        else:
            for t in range(head, b):
                out[t] = x[t] - x[t - n]
