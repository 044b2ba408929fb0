"""From a block's cells to rows, and what every element operator ends with."""

from __future__ import annotations

import numpy as np

from wealthos_pipeline.factors.kernels.jit import F8, I8, kernel


@kernel(f"void({F8}, {I8}, {I8}, float32[::1])")
def store(x, cell, row, column):  # type: ignore[no-untyped-def]
    """``column[row] = x[cell]``, rounded once; what is not finite or overflows is missing."""
    for k in range(len(cell)):
        v = np.float32(x[cell[k]])
        column[row[k]] = v if np.isfinite(v) else np.float32(np.nan)


@kernel(f"void({F8})")
def clean(x):  # type: ignore[no-untyped-def]
    """What is not finite becomes missing, in place."""
    for k in range(len(x)):
        v = x[k]
        x[k] = v if v - v == 0.0 else np.nan
