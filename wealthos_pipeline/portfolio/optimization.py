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

from wealthos_pipeline.portfolio import diagnosis
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
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1, user_api="blas"):
        problem.validate()
        conflicts = diagnosis.obvious(problem)
        if conflicts:
            return _impossible(problem, conflicts)
        form = _canonical(problem)
        try:
            answer = _solve(form)
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
    """The canonical problem: minimise ½x'Px + q'x subject to Ax + s = b, s in the cones."""

    P: Any
    q: Floats
    A: Any
    b: Floats
    sizes: tuple[int, int, int]  # zero, nonnegative, second-order
    x_free: NDArray[np.int64]
    x_two_way: NDArray[np.int64]  # positions in x_free of names with a u
    side: Floats  # of names without u: the sign of any trade
    rows: dict[str, slice]
    bounds: list[tuple[str, str, Floats]]  # of rows["groups"]: label, name, sign × member


@dataclass(frozen=True, eq=False)
class _Answer:
    status: str
    x: Floats
    z: Floats
    iterations: int


def half(F: Floats) -> Floats:
    """Q with Q Q' = F, for F symmetric and positive semidefinite."""
    if not F.size:
        return F.copy()
    values, vectors = np.linalg.eigh(0.5 * (F + F.T))
    return vectors * np.sqrt(np.maximum(values, 0.0))


def _canonical(p: Problem) -> _Form:
    from scipy import sparse

    free = np.flatnonzero(p.free)
    n, k = len(free), p.F.shape[0]
    w0, lo, hi = p.w0[free], p.lower[free], p.upper[free]
    rest = np.where(p.free, 0.0, p.fixed)
    R = p.B @ half(p.F)
    gamma = p.risk_aversion

    charged = (p.cost[free] > 0) | (p.max_turnover is not None)
    up_only, down_only = w0 <= lo, (w0 >= hi) & (w0 > lo)
    two_way = np.flatnonzero(charged & ~up_only & ~down_only)
    side = np.where(up_only, 1.0, np.where(down_only, -1.0, 0.0)) * charged
    m = len(two_way)

    c = p.kappa * p.cost[free] / gamma
    q = SCALE * np.concatenate([-p.alpha[free] / gamma + c * side, np.zeros(k), c[two_way]])
    h = SCALE * p.horizon
    P = sparse.diags(
        np.concatenate([h * p.d[free] ** 2, np.full(k, float(h)), np.zeros(m)]), format="csc"
    )

    width = n + k + m
    blocks: list[Any] = []
    right: list[Floats] = []
    rows: dict[str, slice] = {}
    at = 0

    def add(name: str, matrix: Any, rhs: Floats) -> None:
        nonlocal at
        rows[name] = slice(at, at + len(rhs))
        at += len(rhs)
        blocks.append(matrix)
        right.append(rhs)

    def wide(w: Any = None, y: Any = None, u: Any = None, height: int = 0) -> Any:
        parts = [
            w if w is not None else sparse.csr_matrix((height, n)),
            y if y is not None else sparse.csr_matrix((height, k)),
            u if u is not None else sparse.csr_matrix((height, m)),
        ]
        return sparse.hstack(parts, format="csr")

    eye = sparse.identity(n, format="csr")
    if k:
        add(
            "factors",
            wide(sparse.csr_matrix(R[free].T), -sparse.identity(k), height=k),
            -(R.T @ rest),
        )
    add(
        "budget",
        wide(sparse.csr_matrix(np.ones((1, n))), height=1),
        np.array([p.budget - rest.sum()]),
    )
    zero = at

    add("upper", wide(eye, height=n), hi)
    add("lower", wide(-eye, height=n), -lo)
    if m:
        E = sparse.csr_matrix((np.ones(m), (np.arange(m), two_way)), shape=(m, n))
        minus = -sparse.identity(m, format="csr")
        add("buy", wide(E, u=minus, height=m), w0[two_way])
        add("sell", wide(-E, u=minus, height=m), -w0[two_way])
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
        signs = np.array([s for _, _, s in bounds])
        add("groups", wide(sparse.csr_matrix(signs), height=len(bounds)), np.array(limits))
    if p.max_turnover is not None:
        add(
            "turnover",
            wide(sparse.csr_matrix(side[None, :]), u=sparse.csr_matrix(np.ones((1, m))), height=1),
            np.array([2.0 * p.max_turnover + float((side * w0).sum())]),
        )
    nonnegative = at - zero

    if p.max_volatility is not None:
        daily = p.max_volatility / np.sqrt(SESSIONS_PER_YEAR)
        constant = float(np.sqrt((p.d**2 * rest**2).sum()))
        unit = 1.0 / daily  # the cone in units of the cap: rows near 1
        matrix = sparse.vstack(
            [
                sparse.csr_matrix((2, width)),
                wide(y=-unit * sparse.identity(k), height=k),
                wide(-unit * sparse.diags(p.d[free]), height=n),
            ],
            format="csr",
        )
        add("cone", matrix, np.concatenate([[1.0, unit * constant], np.zeros(k + n)]))
    return _Form(
        P=P,
        q=q,
        A=sparse.vstack(blocks, format="csc"),
        b=np.concatenate(right),
        sizes=(zero, nonnegative, at - zero - nonnegative),
        x_free=free,
        x_two_way=two_way,
        side=side,
        rows=rows,
        bounds=bounds,
    )


def _solve(form: _Form) -> _Answer:
    import clarabel

    zero, nonnegative, cone = form.sizes
    cones: list[Any] = [clarabel.ZeroConeT(zero), clarabel.NonnegativeConeT(nonnegative)]
    if cone:
        cones.append(clarabel.SecondOrderConeT(cone))
    return run_clarabel(form.P, form.q, form.A, form.b, cones)


def run_clarabel(P: Any, q: Floats, A: Any, b: Floats, cones: list[Any]) -> _Answer:
    """Clarabel from a cold start on one thread, tight tolerances, no time limit."""
    import clarabel

    settings = clarabel.DefaultSettings()
    settings.verbose = False
    settings.max_threads = 1
    settings.direct_solve_method = "qdldl"
    settings.max_iter = 200
    settings.tol_gap_abs = settings.tol_gap_rel = 1e-9
    settings.tol_feas = 1e-9
    settings.presolve_enable = False
    solution = clarabel.DefaultSolver(P, q, A, b, cones, settings).solve()
    return _Answer(
        status=str(solution.status),
        x=np.array(solution.x, dtype=np.float64),
        z=np.array(solution.z, dtype=np.float64),
        iterations=int(solution.iterations),
    )


def _certified(p: Problem, form: _Form, answer: _Answer) -> Solution:
    """The answer with its certificate, computed here and not taken from the solver."""
    if not (np.isfinite(answer.x).all() and np.isfinite(answer.z).all()):
        return _failed(p, f"the solver gave numbers that are not finite ({answer.status})")
    x, z = answer.x, answer.z
    primal = 0.5 * float(x @ (form.P @ x)) + float(form.q @ x)
    dual = -0.5 * float(x @ (form.P @ x)) - float(form.b @ z)
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
