"""Lots and what selling them costs in tax."""

from __future__ import annotations

import numpy as np

from wealthos_pipeline.portfolio.problem import Floats, Problem, TaxLots


def sold(p: Problem, w: Floats) -> Floats:
    """Weight of each lot (m) that goes where names are reduced from ``w0`` to w, in the lots' order."""
    lots = _lots(p)
    left = np.maximum(np.maximum(p.w0, 0.0) - np.maximum(w, 0.0), 0.0)
    out = np.zeros(len(lots.weight))
    for j, i in enumerate(lots.row):
        out[j] = min(float(left[i]), float(lots.weight[j]))
        left[i] -= out[j]
    return out


def realised(p: Problem, w: Floats) -> float:
    """Net realised gain of going from ``w0`` to w, as a fraction of net asset value."""
    return float(sold(p, w) @ _lots(p).gain)


def _lots(p: Problem) -> TaxLots:
    if p.tax is None:
        raise ValueError("the problem has no tax lots")
    return p.tax
