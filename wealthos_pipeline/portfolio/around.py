"""An answer with whole numbers made exact, and the convex problem around it: why its weights are what they are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from wealthos_pipeline.portfolio import tax
from wealthos_pipeline.portfolio.mixed_model import Mixed
from wealthos_pipeline.portfolio.problem import Floats, Parts, Problem

SNAP = 1e-8
"""Weights this near to a bound, or to the weight held, are set on it."""


def snapped(p: Problem, m: Mixed, x: Floats) -> Floats:
    """Weights on their bounds, or on the weight held, where the solver means them to be; they sum up.

    With share lots the weights are whole numbers of lots already, computed from them.
    """
    at = m.w
    raw = x[at]
    w = np.where(p.free, 0.0, p.fixed)
    if p.lot is not None:
        w[p.free] = whole(p, raw)
        return w
    least = p.min_holding or 0.0
    out = raw.copy()
    targets = [p.w0[p.free], m.high[at], m.low[at]]
    if least:
        targets += [np.full(len(raw), least), np.full(len(raw), -least)]
    if p.min_trade is not None:
        targets += [p.w0[p.free] + p.min_trade, p.w0[p.free] - p.min_trade]
    on = np.zeros(len(raw), dtype=np.bool_)
    for target in [*targets, np.zeros(len(raw))]:
        near = np.abs(raw - target) <= SNAP
        out, on = np.where(near, target, out), on | near
    w[p.free] = out
    missing = p.budget - float(w.sum())
    inside = np.flatnonzero(p.free)[~on]
    if len(inside) and missing:
        w[inside] += missing / len(inside)
    return w


def whole(p: Problem, raw: Floats) -> Floats:
    assert p.lot is not None
    size, w0 = p.lot[p.free], p.w0[p.free]
    priced = np.isfinite(size) & (size > 0)
    step = np.where(priced, size, 1.0)
    count = np.round((raw - w0) / step)
    out = np.where(priced, w0 + step * count, w0)
    # a weight that is 0 and no whole number of lots away was sold off
    return np.where(np.abs(raw) <= 1e-9, 0.0, out)


def reasons(p: Problem, w: Floats) -> tuple[Parts | None, dict[str, float]]:
    """Marginal utilities at w, from the convex problem around it with the same whole numbers.

    None where that problem has another answer. With share lots they are those of its optimum, less than a
    lot away in every name.
    """
    from wealthos_pipeline.portfolio import optimization

    near, slope = around(p, w)
    found = optimization.continuous(near)
    if found.status != "optimal" or found.parts is None:
        return None, {}
    apart = 1e-4 if p.lot is None else 1e-4 + float(np.nanmax(p.lot[p.free]))
    if float(np.abs(found.weights - w).max(initial=0.0)) > apart:
        return None, {}
    parts = found.parts
    saved = p.kappa * slope
    return replace(parts, alpha=parts.alpha - saved, cost=parts.cost + saved), found.multipliers


def around(p: Problem, w: Floats) -> tuple[Problem, Floats]:
    """The convex problem with the whole numbers of w: names left out stay out, lots sold are those sold.

    Beside it the slope of each name's tax (n, per unit of weight sold), which is in its alpha.
    """
    lower, upper = p.lower.copy(), p.upper.copy()
    out, least = np.abs(w) <= 1e-9, p.min_holding or 0.0
    if p.max_names is not None or least:
        lower, upper = np.where(out, 0.0, lower), np.where(out, 0.0, upper)
        lower = np.where(w > 1e-9, np.maximum(lower, least), lower)
        upper = np.where(w < -1e-9, np.minimum(upper, -least), upper)
    if p.min_trade is not None:
        change = w - p.w0
        still = np.abs(change) <= 1e-9
        lower = np.where(
            still, p.w0, np.where(change > 0, np.maximum(lower, p.w0 + p.min_trade), lower)
        )
        upper = np.where(
            still, p.w0, np.where(change < 0, np.minimum(upper, p.w0 - p.min_trade), upper)
        )
    slope = np.zeros(len(w))
    if p.tax is not None:
        slope, low, high = tax.piece_at(p, w)
        lower, upper = np.maximum(lower, low), np.minimum(upper, high)
    lower, upper = np.minimum(lower, w), np.maximum(upper, w)
    near = replace(
        p, lower=lower, upper=upper, alpha=p.alpha + p.kappa * slope, max_names=None, min_names=None,
        min_holding=None, min_trade=None, lot=None, tax=None,
        budget=float(w.sum()) if p.lot is not None else p.budget,
    )  # fmt: skip
    return near, slope
