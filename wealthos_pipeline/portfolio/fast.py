"""The fast way for plain problems: linear costs, a box, sums of weights, a cap on turnover.

What ``structured`` solves; everything else, and what it does not bring to its tolerance, is for ``native``.
"""

from __future__ import annotations

import numpy as np

from wealthos_pipeline.portfolio import conic, objectives, structured
from wealthos_pipeline.portfolio.problem import Floats, Problem
from wealthos_pipeline.portfolio.reduced import Outcome, Reduced

SCALE = 1e4
"""As in ``native``: the objective is divided by γ and multiplied by this."""
SOLVER = "structured interior point"


def takes(p: Problem, form: Reduced) -> bool:
    """Whether every part of the problem is plain."""
    if p.objective_kind not in objectives.QUADRATIC or p.tax is not None or p.lot is not None:
        return False
    if form.balls or form.other or form.impossible or not len(form.x) or len(form.bents) > 1:
        return False
    _, impact, borrow = objectives.rates(p)
    if impact[form.x].any() or (borrow[form.x].any() and (form.lower < 0).any()):
        return False
    for bent in form.bents:
        turned = bent.scale > 0
        same = bool((bent.scale[turned] == 0.5).all()) and not bent.slope.any()
        if not same or (bent.reference[turned] != p.w0[form.x][turned]).any() or bent.right <= 0:
            return False
    return bool((p.d[form.x] > 0).all())


def solve(p: Problem, form: Reduced) -> Outcome | None:
    """The optimum with its multipliers, or None where the method does not get there."""
    plain = _plain(p, form)
    found = structured.solve(plain)
    if found is None:
        return None
    unit = p.risk_aversion / SCALE
    duals: dict[str, Floats] = {}
    lines = np.zeros(len(form.lines))
    equal = np.array([line.twin is not None for line in form.lines], dtype=np.bool_)
    lines[equal], lines[~equal] = found.equal, found.under
    form.line_duals(unit * lines, duals)
    for bent in form.bents:
        # the cap is on half of the sum of the trades
        duals[bent.key] = np.array([2.0 * unit * found.turnover])
    w = form.whole(found.x)
    value = p.objective(w)
    return Outcome(
        status="solved",
        weights=w,
        duals=duals,
        primal=value,
        dual=value + unit * _gap(plain, found),
        iterations=found.iterations,
        solver=SOLVER,
    )


def _plain(p: Problem, form: Reduced) -> structured.Plain:
    x, n = form.x, len(form.x)
    gamma, h = p.risk_aversion, float(p.horizon)
    R = p.B @ conic.half(p.F)
    risk = SCALE * h
    wanted = objectives.wanted(p) + gamma * h * p.covariance_times(objectives.reference(p))
    beside = R.T @ form.rest
    linear, _, _ = objectives.rates(p)
    none = np.empty((0, n))
    equal = [line for line in form.lines if line.twin is not None]
    loose = [line for line in form.lines if line.twin is None]
    bent = form.bents[0] if form.bents else None
    return structured.Plain(
        D=risk * p.d[x] ** 2,
        R=np.ascontiguousarray(R[x]),
        factor=risk,
        c=risk * (R[x] @ beside) - SCALE / gamma * wanted[x],
        cost=SCALE / gamma * linear[x],
        w0=p.w0[x],
        lower=form.lower,
        upper=form.upper,
        A=np.array([line.a for line in equal]) if equal else none,
        b=np.array([line.right for line in equal]),
        G=np.array([line.a for line in loose]) if loose else none,
        g=np.array([line.right for line in loose]),
        turned=np.zeros(n, dtype=np.bool_) if bent is None else bent.scale > 0,
        turnover=None if bent is None else bent.right,
    )


def _gap(p: structured.Plain, found: structured.Found) -> float:
    """Value at x less the value of the dual problem, a lower bound of every value.

    With forces no larger than what costs and turnover charge, the Lagrangian is below the problem; its
    minimum over all x is ``−½ l'H⁻¹l`` plus constants for its slope l, and H is at least D.
    """
    x = found.x
    f = p.R.T @ x
    curved = float((p.D * x) @ x + p.factor * (f @ f))
    slope = p.c + p.A.T @ found.equal + p.G.T @ found.under + found.upper - found.lower
    slope = slope + found.force
    residual = p.D * x + p.factor * (p.R @ f) + slope
    constants = (
        -float(found.force @ p.w0)
        - 2.0 * found.turnover * float(p.turnover or 0.0)
        - float(found.equal @ p.b)
        - float(found.under @ p.g)
        - float(found.upper @ p.upper)
        + float(found.lower @ p.lower)
    )
    dual = -0.5 * curved + float(x @ residual) - 0.5 * float((residual**2 / p.D).sum()) + constants
    primal = 0.5 * curved + float(p.c @ x) + float(p.cost @ np.abs(x - p.w0))
    return primal - dual
