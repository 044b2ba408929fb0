"""The last digits of a risk budget: Newton's method on the limits that hold.

An interior-point method with logarithms leaves shares of risk some 1e-6 from where they should be. From
there Newton's method on ``Σ b_i ln w_i − ln σ(w)`` (Spinu 2013) with the names at their bounds kept and the limits
that hold as equalities ends at rounding error after two or three steps.
"""

from __future__ import annotations

import numpy as np

from wealthos_pipeline.portfolio import objectives
from wealthos_pipeline.portfolio.problem import Floats, Problem
from wealthos_pipeline.portfolio.reduced import Outcome, Reduced

NEAR = 1e-6
"""Weights this near to a bound, or a held weight, are kept there."""
HOLDS = 1e-6
"""A limit with a multiplier (logarithms per unit) above this holds with equality."""
STEPS = 8


def refined(p: Problem, form: Reduced, outcome: Outcome) -> Floats:
    """Weights (n) at least as good as the outcome's; those of the outcome where no step is better.

    A cap on volatility that holds is curved, and such an outcome is kept as it is.
    """
    start = outcome.weights
    if any(float(outcome.duals[ball.key][0]) > HOLDS for ball in form.balls):
        return start
    share = objectives.shares(p)
    x = start[form.x]
    turning = np.zeros(len(x), dtype=np.bool_)
    rows, right = [], []
    held = {line.row: outcome.duals[line.row[0]][line.row[1]] for line in form.lines}
    for line in form.lines:
        if line.twin is not None or held[line.row] > HOLDS:
            rows.append(line.a)
            right.append(line.right)
    for bent in form.bents:
        if float(outcome.duals[bent.key][0]) > HOLDS:
            away = x - bent.reference
            turning |= (bent.scale > 0) & (np.abs(away) <= NEAR)
            side = bent.scale * np.sign(away)
            rows.append(side + bent.slope)
            right.append(bent.right + float(side @ bent.reference))
    kept = (x - form.lower <= NEAR) | (form.upper - x <= NEAR) | turning
    x = np.where(x - form.lower <= NEAR, form.lower, x)
    x = np.where(form.upper - x <= NEAR, form.upper, x)
    held_at = p.w0[form.x]
    x = np.where(turning & (np.abs(x - held_at) <= NEAR), held_at, x)
    move = np.flatnonzero(~kept)
    if not len(move) or not rows:
        return start
    A, b = np.array(rows), np.array(right)
    at = form.x[move]
    B, d = p.B[at], p.d[at]
    sigma = B @ p.F @ B.T + np.diag(d**2)
    m = len(rows)
    for _ in range(STEPS):
        w = form.whole(x)
        sw = p.covariance_times(w)
        variance = float(w @ sw)
        slope = np.divide(share[at], w[at], out=np.zeros(len(at)), where=share[at] > 0)
        curve = sigma / variance - 2.0 * np.outer(sw[at], sw[at]) / variance**2
        curve[np.diag_indices(len(at))] += np.divide(
            share[at], w[at] ** 2, out=np.zeros(len(at)), where=share[at] > 0
        )
        system = np.block([[curve, A[:, move].T], [A[:, move], np.zeros((m, m))]])
        goal = np.concatenate([slope - sw[at] / variance, b - A @ x])
        step = np.linalg.lstsq(system, goal, rcond=1e-13)[0][: len(move)]
        if not np.isfinite(step).all() or np.abs(step).max() > 1e-3:
            return start
        x = x.copy()
        x[move] += step
        if np.abs(step).max() <= 1e-14:
            break
    if (x < form.lower).any() or (x > form.upper).any():
        return start
    better = form.whole(x)
    return better if p.objective(better) >= p.objective(start) - 1e-9 else start
