"""Ranks within one section, ties averaged."""

from __future__ import annotations

import numpy as np

from wealthos_pipeline.factors.kernels.jit import F8, kernel


@kernel(f"void({F8}, int64, {F8})")
def tied_ranks(value, n, rank):  # type: ignore[no-untyped-def]
    """Ranks from 1 of the first ``n`` values."""
    order = np.argsort(value[:n])
    j = 0
    while j < n:
        k = j
        while k + 1 < n and value[order[k + 1]] == value[order[j]]:
            k += 1
        for e in range(j, k + 1):
            rank[order[e]] = 0.5 * (j + k) + 1.0
        j = k + 1
