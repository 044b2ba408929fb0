"""Solve one decision's problem: cold, in factor form, certified; or say why it cannot be solved.

The canonical problem has the free names in order, ``y = F^½ B' w`` as extra variables instead of a
dense covariance, and ``u_i ≥ |w_i − w0_i|`` only for names that can move both ways from where they
are. The objective is divided by γ and multiplied by 1e4, so that doubling alphas, γ and costs gives
the same bits, and tolerances mean the same for every mandate. Clarabel solves it on one thread
from a cold start: the answer is a function of the problem alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wealthos_pipeline.portfolio import conic, diagnosis
from wealthos_pipeline.portfolio.problem import (
    SESSIONS_PER_YEAR,
    Bools,
    Floats,
    Group,
    Parts,
    Problem,
    Solution,
)

__all__ = ["Group", "Parts", "Problem", "Solution", "optimise"]

SCALE = 1e4
SNAP = 1e-7
"""Weights this near to a bound, or to the weight held, are set on it."""
MAX_VIOLATION = 1e-6
MAX_GAP = 1e-6
"""An answer worse than this is not handed out as optimal. Gap: relative to 1e4 × objective / γ."""


def optimise(problem: Problem, *, explain: bool = True) -> Solution:
    """The certified optimum of ``problem``, or status ``infeasible`` or ``failed`` and the reason.

    explain: with False an infeasible problem is not analysed (``conflicts`` stays empty unless
    the contradiction is trivial). Raises PortfolioError for a problem that is not well-formed.
    """
    with conic.blas().limit(limits=1):
        problem.validate()
        conflicts = diagnosis.obvious(problem)
        if conflicts:
            return _impossible(problem, conflicts)
        form = _canonical(problem)
        try:
            answer = conic.run_clarabel(form.quadratic, form.q, form.A, form.b, *form.cones)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # a panic of the native solver is not an Exception
            return _failed(problem, f"the solver crashed: {type(error).__name__}: {error}")
        if answer.status in ("PrimalInfeasible", "AlmostPrimalInfeasible"):
            found = diagnosis.explain(problem) if explain else ()
            return _impossible(problem, found)
        return _certified(problem, form, answer)


def _impossible(problem: Problem, conflicts: tuple[str, ...]) -> Solution:
    return Solution(
        status="infeasible",
        weights=problem.w0.copy(),
        conflicts=conflicts,
        message=" ".join(conflicts) or "The constraints contradict each other.",
    )


def _failed(problem: Problem, message: str) -> Solution:
    return Solution(status="failed", weights=problem.w0.copy(), message=message)


@dataclass(frozen=True, eq=False)
class _Form:
    """The canonical problem: minimise ½ Σ quadratic x² + q'x subject to b − A x in the cones."""

    quadratic: Floats
    q: Floats
    A: Any
    b: Floats
    cones: tuple[int, int, int]  # rows: zero, nonnegative, second-order
    x_free: NDArray[np.int64]
    x_two_way: NDArray[np.int64]  # positions in x_free of names with a u
    side: Floats  # of names without u: the sign of any trade
    rows: dict[str, slice]
    bounds: list[tuple[str, str, Floats]]  # of rows["groups"]: label, name, sign × member


def _canonical(p: Problem) -> _Form:
    free = np.flatnonzero(p.free)
    n, k = len(free), p.F.shape[0]
    w0, lo, hi = p.w0[free], p.lower[free], p.upper[free]
    rest = np.where(p.free, 0.0, p.fixed)
    R = p.B @ conic.half(p.F)
    gamma = p.risk_aversion

    charged = (p.cost[free] > 0) | (p.max_turnover is not None)
    up_only, down_only = w0 <= lo, (w0 >= hi) & (w0 > lo)
    two_way = np.flatnonzero(charged & ~up_only & ~down_only)
    side = np.where(up_only, 1.0, np.where(down_only, -1.0, 0.0)) * charged
    m = len(two_way)

    c = p.kappa * p.cost[free] / gamma
    q = SCALE * np.concatenate([-p.alpha[free] / gamma + c * side, np.zeros(k), c[two_way]])
    h = SCALE * p.horizon
    quadratic = np.concatenate([h * p.d[free] ** 2, np.full(k, h), np.zeros(m)])

    rows = conic.Rows({"w": n, "y": k, "u": m})
    if k:
        rows.add("factors", -(R.T @ rest), w=conic.dense(R[free].T), y=conic.diagonal(-1.0, k))
    rows.add("budget", np.array([p.budget - rest.sum()]), w=conic.dense(np.ones(n)))
    zero = rows.height

    rows.add("upper", hi, w=conic.diagonal(1.0, n))
    rows.add("lower", -lo, w=conic.diagonal(-1.0, n))
    if m:
        below = conic.diagonal(-1.0, m)
        rows.add("buy", w0[two_way], w=conic.picks(two_way, 1.0), u=below)
        rows.add("sell", -w0[two_way], w=conic.picks(two_way, -1.0), u=below)
    bounds: list[tuple[str, str, Floats]] = []
    limits: list[float] = []
    for g in p.groups:
        member, held = g.members[free].astype(float), float(rest[g.members].sum())
        if g.upper is not None:
            bounds.append(("at its cap", g.name, member))
            limits.append(g.upper - held)
        if g.lower is not None:
            bounds.append(("at its minimum", g.name, -member))
            limits.append(held - g.lower)
    if bounds:
        rows.add("groups", np.array(limits), w=conic.dense(np.array([b for _, _, b in bounds])))
    if p.max_turnover is not None:
        cap = np.array([2.0 * p.max_turnover + float((side * w0).sum())])
        rows.add("turnover", cap, w=conic.dense(side), u=conic.dense(np.ones(m)))
    nonnegative = rows.height - zero

    if p.max_volatility is not None:
        unit = np.sqrt(SESSIONS_PER_YEAR) / p.max_volatility  # the cone in units of the cap
        frozen = unit * float(np.sqrt((p.d**2 * rest**2).sum()))
        rows.add("cone", np.array([1.0, frozen]))
        rows.add("cone factors", np.zeros(k), y=conic.diagonal(-unit, k))
        rows.add("cone specific", np.zeros(n), w=conic.diagonal(-unit * p.d[free], n))
    A, b = rows.matrix()
    return _Form(
        quadratic=quadratic,
        q=q,
        A=A,
        b=b,
        cones=(zero, nonnegative, rows.height - zero - nonnegative),
        x_free=free,
        x_two_way=two_way,
        side=side,
        rows=rows.spans,
        bounds=bounds,
    )


def _certified(p: Problem, form: _Form, answer: conic.Answer) -> Solution:
    """The answer with its certificate, computed here and not taken from the solver."""
    if not (np.isfinite(answer.x).all() and np.isfinite(answer.z).all()):
        return _failed(p, f"the solver gave numbers that are not finite ({answer.status})")
    x, z = answer.x, answer.z
    curved = 0.5 * float((form.quadratic * x**2).sum())
    primal, dual = curved + float(form.q @ x), -curved - float(form.b @ z)
    w = _snapped(p, form, x[: len(form.x_free)])
    violation, gap = p.violation(w), abs(primal - dual)
    if violation > MAX_VIOLATION or gap > MAX_GAP * max(1.0, abs(primal)):
        return _failed(
            p,
            f"the solver stopped with {answer.status} after {answer.iterations} iterations; "
            f"largest violation {violation:.1e} (at most {MAX_VIOLATION:.0e}), gap {gap:.1e}",
        )
    return Solution(
        status="optimal",
        weights=w,
        objective=p.objective(w),
        violation=violation,
        gap=gap * p.risk_aversion / SCALE,
        iterations=answer.iterations,
        parts=_parts(p, form, w, z),
    )


def _snapped(p: Problem, form: _Form, free: Floats) -> Floats:
    """Weights on the bounds and on the weights held where the solver means them to be."""
    w0, lo, hi = (v[form.x_free] for v in (p.w0, p.lower, p.upper))
    out = free.copy()
    for target in (w0, hi, lo):
        out = np.where(np.abs(free - target) <= SNAP, target, out)
    inside = (np.abs(free - lo) > SNAP) & (np.abs(free - hi) > SNAP) & (np.abs(free - w0) > SNAP)
    w = np.where(p.free, 0.0, p.fixed)
    w[form.x_free] = out
    missing = p.budget - float(w.sum())
    if inside.any() and missing:
        w[form.x_free[inside]] += missing / int(inside.sum())
        w[form.x_free] = np.clip(w[form.x_free], lo, hi)
    return w


def _parts(p: Problem, form: _Form, w: Floats, z: Floats) -> Parts:
    """Marginal utilities at w. Multipliers are scaled back to returns over the horizon."""
    n, free = len(p.ids), form.x_free
    z = z * (p.risk_aversion / SCALE)
    sigma_w = p.covariance_times(w)
    alpha = p.alpha.copy()
    risk = -p.risk_aversion * p.horizon * sigma_w

    tau = float(z[form.rows["turnover"]][0]) if "turnover" in form.rows else 0.0
    direction = form.side.copy()
    if len(form.x_two_way):
        force = z[form.rows["buy"]] - z[form.rows["sell"]]
        full = p.kappa * p.cost[free][form.x_two_way] + tau
        direction[form.x_two_way] = np.clip(
            np.divide(force, full, out=np.zeros_like(force), where=full > 1e-15), -1.0, 1.0
        )
    cost = np.zeros(n)
    cost[free] = -p.kappa * p.cost[free] * direction

    binding: dict[str, Floats] = {}

    def bind(words: str, values: Floats, members: Bools | NDArray[np.int64]) -> None:
        if np.abs(values).max(initial=0.0) > 0:
            part = np.zeros(n)
            part[members] = values
            binding[words] = part

    bind("budget", np.full(len(free), -z[form.rows["budget"]][0]), free)
    bind("upper", -z[form.rows["upper"]], free)
    bind("lower", z[form.rows["lower"]], free)
    if form.bounds:
        for (label, name, sign), multiplier in zip(
            form.bounds, z[form.rows["groups"]], strict=True
        ):
            bind(f"{name} {label}", -multiplier * sign, free)
    if tau:
        bind("turnover", -tau * direction, free)
    if "cone" in form.rows:
        size = float(np.sqrt(max(float(w @ sigma_w), 1e-300)))
        daily = float(p.max_volatility or 0.0) / np.sqrt(SESSIONS_PER_YEAR)
        bind("volatility", -(z[form.rows["cone"]][0] / daily) * sigma_w[free] / size, free)
    constraint = np.zeros(n)
    for part in binding.values():
        constraint += part
    fixed = ~p.free
    constraint[fixed] = -(alpha + risk + cost)[fixed]
    return Parts(alpha, risk, cost, constraint, binding)
