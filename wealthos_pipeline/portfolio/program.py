"""Every convex objective with every convex limit, on cvxpy: one constraint a limit, numbers as parameters.

Weights are said as ``w = y / t``. For most objectives t is 1. ``max_sharpe`` and ``risk_budget`` do not change
with the scale of what is held, so their scale t > 0 is a variable and every limit and cost its perspective
(``A y ≤ t b``, ``|y − t w0|``, …), which keeps them convex and exact:

``max_sharpe``: the smallest variance of y among those whose net return ``t f(y/t)`` is that of the best portfolio
(Charnes & Cooper 1962, Schaible 1974). There must be one with a net return above 0; whether there is, a
linear program says first, and the answer is ``failed`` in words where there is none.

``risk_budget``: the smallest ``½ σ(y)² − Σ b_i ln y_i`` (Spinu 2013; Maillard, Roncalli & Teïletche 2010). With
limits it is the penalised form of Richard & Roncalli (2019) with the scale as a variable, so that the budget is
met without a search: among what is allowed, the portfolio with the largest ``Σ b_i ln w_i − ln σ(w)``. A name's
share of risk then misses its budget by its weight times the price of the limits that bind it.

``cvar``: Rockafellar & Uryasev (2000).

Parameters enter linearly (DPP), so a program is compiled once and asked many times: other alphas, holdings,
costs and bounds of the same shape. Each question is a cold solve by Clarabel with fixed settings on one thread.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from wealthos_pipeline.core.errors import PortfolioError
from wealthos_pipeline.portfolio import certificate, conic, native, objectives, risk_budgeting
from wealthos_pipeline.portfolio.native import INFEASIBLE, SCALE, STATIONARY
from wealthos_pipeline.portfolio.problem import SESSIONS_PER_YEAR, Floats, Problem, Solution
from wealthos_pipeline.portfolio.program_writer import SCALE_FREE, Built, Writer, outside, size_of
from wealthos_pipeline.portfolio.reduced import Outcome, Reduced, reduce

KINDS = (*objectives.QUADRATIC, *SCALE_FREE, "cvar")
NO_GAIN = 1e-9
"""A best net return up to this share of the largest alpha is none."""

NO_RISK = 1e-10
"""A smallest variance (scaled as the programs are) up to this is none."""


def build(problem: Problem, *, power_cones: bool = False) -> Program:
    """The compiled program of a problem; PortfolioError lists the limits that have no convex form.

    power_cones: square-root impact too by power cones, which first-order methods like better.
    """
    form = reduce(problem)
    faults = []
    if problem.objective_kind not in KINDS:
        faults.append(f"the objective {problem.objective_kind} is not one of {', '.join(KINDS)}")
    faults += [x.words for x in form.every if x.key in form.other]
    if problem.tax is not None and problem.tax.rate.any():
        faults.append("taxes on gains")
    if faults:
        raise PortfolioError("the problem has no convex form, because of: " + "; ".join(faults))
    return Program(problem, form, power_cones=power_cones)


class Program:
    """A compiled problem. ``solve()`` answers it, ``solve(other)`` one that differs in numbers only."""

    def __init__(self, problem: Problem, form: Reduced, *, power_cones: bool = False) -> None:
        self._first, self._form = problem, form
        self._signature = _signature(problem, form)
        self._writer = Writer(power_cones=power_cones)
        self._main: Built | None = None
        self._net: Built | None = None
        if len(form.x) and not form.impossible:
            self._main = self._writer.built(problem, form)
            if problem.objective_kind == "max_sharpe":
                self._net = self._writer.built(problem, form, net=True)

    def solve(self, problem: Problem | None = None) -> Solution:
        """The certified answer. A problem with other names, limits or risk is refused by PortfolioError."""
        p = self._first if problem is None else problem
        with conic.blas().limit(limits=1):
            form = self._form if problem is None else reduce(p)
            return certificate.certified(p, self.outcome(p, form), form)

    def outcome(self, p: Problem, form: Reduced) -> Outcome:
        """The engine's answer to ``p`` before it is certified."""
        if form.impossible:
            return Outcome("infeasible", p.w0.copy(), message=form.impossible)
        if not len(form.x):
            value = p.objective(form.rest)
            return Outcome("solved", form.rest.copy(), {}, value, value, solver="none")
        if _signature(p, form) != self._signature or not _same_risk(p, self._first):
            raise PortfolioError(
                "the program was built for another problem: names, limits, what is fixed, risk or scenarios "
                "differ; build it anew"
            )
        if self._main is None:
            raise PortfolioError(
                "the program was built for a problem without a choice; build it anew"
            )
        if p.objective_kind in SCALE_FREE and not _has_risk(p, form):
            return _no_risk(p, 0)
        if p.objective_kind == "max_sharpe":
            return self._sharpe(p, form, self._main)
        self._writer.parameters.set(p, form)
        answer, status = _run(self._main)
        if p.objective_kind == "risk_budget":
            return self._budgeted(p, form, self._main, answer, status)
        if status != "solved":
            return _stopped(p, answer, status)
        unit = p.risk_aversion / SCALE
        x = np.asarray(self._main.variables["x"].value, dtype=np.float64)
        return Outcome(
            "solved",
            form.whole(x),
            _duals(form, self._main, unit),
            -unit * answer.primal,
            -unit * answer.dual,
            answer.iterations,
            _said(answer),
            _solver(),
            _tail_slope(p, self._main, unit),
        )

    def by_another(self) -> Floats:
        """Weights (n) from a first-order method: OSQP where it takes the cones, else SCS. For comparison only."""
        import cvxpy as cp

        if self._main is None:
            raise PortfolioError("the program has no choice left, so there is nothing to compare")
        self._writer.parameters.set(self._first, self._form)
        goal = self._main.problem
        plain = not self._form.balls and self._first.objective_kind in objectives.QUADRATIC
        plain = plain and not objectives.rates(self._first)[1][self._form.x].any()
        with conic.blas().limit(limits=1), warnings.catch_warnings():
            # that it is not as exact as asked is for the comparison to show
            warnings.filterwarnings("ignore", "Solution may be inaccurate", UserWarning)
            if plain:
                goal.solve(cp.OSQP, eps_abs=1e-9, eps_rel=1e-9, max_iter=400_000, polishing=True)
            else:
                goal.solve(cp.SCS, eps_abs=1e-9, eps_rel=1e-9, max_iters=400_000)
        if self._main.variables["x"].value is None:
            raise PortfolioError(f"the other solver stopped with {goal.status}")
        scale = self._main.variables["t"]
        t = 1.0 if isinstance(scale, float) else float(scale.value)
        return self._form.whole(np.asarray(self._main.variables["x"].value, dtype=np.float64) / t)

    def _sharpe(self, p: Problem, form: Reduced, main: Built) -> Outcome:
        assert self._net is not None
        if not p.alpha.any():
            words = (
                "no portfolio has an expected excess return above 0, because every alpha is 0, so there is no "
                "largest Sharpe ratio. Next: wait for predictions that are worth something, or choose "
                "min_variance."
            )
            return Outcome("failed", p.w0.copy(), message=words)
        self._writer.best = 1.0
        self._writer.parameters.set(p, form)
        answer, status = _run(self._net)
        if status != "solved":
            return _stopped(p, answer, status)
        best = -answer.primal / SCALE
        largest = float(np.abs(p.alpha).max())
        if best <= NO_GAIN:
            words = (
                "no portfolio within the limits has an expected excess return above 0 after costs (the best has "
                f"{100 * best * largest:.4f} % over {p.horizon} sessions), so there is no largest Sharpe ratio. "
                "Next: loosen the cap on turnover or the box, or choose min_variance."
            )
            return Outcome("failed", p.w0.copy(), iterations=answer.iterations, message=words)
        self._writer.best = best
        self._writer.parameters.set(p, form)
        answer, status = _run(main)
        if status != "solved":
            return _stopped(p, answer, status)
        if answer.primal <= NO_RISK:
            return _no_risk(p, answer.iterations)
        t = float(main.variables["t"].value)
        x = np.asarray(main.variables["x"].value, dtype=np.float64) / t
        # the smallest variance φ of a net return `best` is SCALE/2 (best / S)²
        year = largest * np.sqrt(SESSIONS_PER_YEAR / p.horizon)
        sharpe = best * np.sqrt(0.5 * SCALE / answer.primal)
        bound = best * np.sqrt(0.5 * SCALE / max(answer.dual, 1e-300))
        return Outcome(
            "solved",
            form.whole(x),
            _duals(form, main, year * t * sharpe**3 / (SCALE * best**2)),
            year * sharpe,
            year * bound,
            answer.iterations,
            _said(answer),
            _solver(),
        )

    def _budgeted(
        self, p: Problem, form: Reduced, main: Built, answer: conic.Answer, status: str
    ) -> Outcome:
        share = objectives.shares(p)
        stuck = (share > 0) & outside(p, form)
        if stuck.any():
            who = ", ".join(p.ids[i] for i in np.flatnonzero(stuck)[:5])
            words = (
                f"names with a share of the risk cannot be chosen, their bounds leave one weight: {who} "
                f"({int(stuck.sum())} in all). Next: give them no share, or a box."
            )
            return Outcome("failed", p.w0.copy(), message=words)
        if status != "solved":
            return _stopped(p, answer, status)
        t = float(main.variables["t"].value)
        x = np.asarray(main.variables["x"].value, dtype=np.float64) / t
        # y is in units of 1 / σ of equal weights; at the best scale ½ σ(y)² is ½
        constant = 0.5 - float(np.log(size_of(p) * np.sqrt(SESSIONS_PER_YEAR)))
        found = Outcome(
            "solved",
            form.whole(x),
            _duals(form, main, t),
            constant - answer.primal,
            constant - answer.dual,
            answer.iterations,
            _said(answer),
            _solver(),
        )
        return replace(found, weights=risk_budgeting.refined(p, form, found))


def _has_risk(p: Problem, form: Reduced) -> bool:
    own = ((p.B[form.x] @ p.F) * p.B[form.x]).sum(axis=1) + p.d[form.x] ** 2
    return bool(own.max(initial=0.0) > 0)


def _no_risk(p: Problem, iterations: int) -> Outcome:
    what = "largest Sharpe ratio" if p.objective_kind == "max_sharpe" else "share of it"
    words = (
        f"a portfolio within the limits has no risk in the risk model, so there is no {what}. Next: look at "
        "the risk model and the names' prices, or choose mean_variance."
    )
    return Outcome("failed", p.w0.copy(), iterations=iterations, message=words)


def _signature(p: Problem, form: Reduced) -> tuple[Any, ...]:
    """What must be equal for two problems to share a program."""
    linear, impact, borrow = objectives.rates(p)
    return (
        p.ids, p.objective_kind, p.horizon, p.impact_exponent, p.cvar_level,
        form.x.tobytes(),
        tuple((line.row, line.twin, line.a.tobytes()) for line in form.lines),
        tuple((b.key, b.scale.tobytes(), b.slope.tobytes()) for b in form.bents),
        tuple(b.key for b in form.balls),
        linear.any(), (impact > 0).tobytes(), ((borrow[form.x] > 0) & (form.lower < 0)).tobytes(),
        (objectives.shares(p) > 0).tobytes() if p.objective_kind == "risk_budget" else b"",
    )  # fmt: skip


def _same_risk(p: Problem, q: Problem) -> bool:
    if p is q:
        return True
    same = all(np.array_equal(getattr(p, x), getattr(q, x)) for x in ("B", "F", "d"))
    if p.objective_kind == "cvar":
        same = same and np.array_equal(objectives.scenarios(p), objectives.scenarios(q))
    return same


def _run(built: Built) -> tuple[conic.Answer, str]:
    """A cold solve of what the parameters say now; status solved, infeasible or failed."""
    import cvxpy as cp
    from scipy import sparse

    data, chain, inverse = built.problem.get_problem_data(cp.CLARABEL, solver_opts={})
    dims = data["dims"]
    cones: list[tuple[str, float]] = [("zero", dims.zero), ("nonnegative", dims.nonneg)]
    cones = [c for c in cones if c[1]]
    cones += [("second", size) for size in dims.soc]
    cones += [("exponential", 3)] * dims.exp
    cones += [("power", alpha) for alpha in dims.p3d]
    q = np.asarray(data["c"], dtype=np.float64)
    P = sparse.csc_matrix((len(q), len(q))) if data.get("P") is None else data["P"]
    P = sparse.csc_matrix(sparse.triu(P))
    A = sparse.csc_matrix(data["A"])
    b = np.asarray(data["b"], dtype=np.float64)
    full = {"full": True} if "losses" in built.rules else {}  # scenarios are a dense block
    answer = conic.run(P, q, A, b, cones, **full)
    if answer.status in INFEASIBLE:
        return answer, "infeasible"
    size = max(1.0, float(np.abs(q).max(initial=0.0)))
    if not answer.finite or answer.stationarity > STATIONARY * size:
        return answer, "failed"
    built.problem.unpack_results(_Raw(answer), chain, inverse)
    # what cvxpy left out as constant: its own value of the goal less the solver's
    offset = float(built.problem.value) - answer.primal
    return replace(answer, primal=answer.primal + offset, dual=answer.dual + offset), "solved"


@dataclass(frozen=True, eq=False)
class _Raw:
    """The answer as cvxpy reads it."""

    answer: conic.Answer

    @property
    def status(self) -> str:
        return "Solved"

    @property
    def x(self) -> Floats:
        return self.answer.x

    @property
    def z(self) -> Floats:
        return self.answer.z

    @property
    def obj_val(self) -> float:
        return self.answer.primal

    @property
    def solve_time(self) -> float:
        return 0.0

    @property
    def iterations(self) -> int:
        return self.answer.iterations


def _duals(form: Reduced, built: Built, unit: float) -> dict[str, Floats]:
    """Multipliers by limit, in units of the objective."""

    def of(name: str) -> Floats:
        return unit * np.atleast_1d(np.asarray(built.rules[name].dual_value, dtype=np.float64))

    out: dict[str, Floats] = {}
    # cvxpy's multiplier of an equality has the other sign
    sign = [1.0 if line.twin is None else -1.0 for line in form.lines]
    form.line_duals(np.array([s * of(f"line {i}")[0] for i, s in enumerate(sign)]), out)
    for i, bent in enumerate(form.bents):
        out[bent.key] = np.maximum(of(f"bent {i}"), 0.0)
    for i, ball in enumerate(form.balls):
        out[ball.key] = np.maximum(of(f"ball {i}"), 0.0)
    return out


def _tail_slope(p: Problem, built: Built, unit: float) -> Floats | None:
    """Slope of minus the CVaR term: the scenarios weighed by their multipliers."""
    if p.objective_kind != "cvar":
        return None
    weight = unit * np.maximum(np.asarray(built.rules["losses"].dual_value), 0.0)
    return np.asarray(weight @ objectives.scenarios(p), dtype=np.float64)


def _stopped(p: Problem, answer: conic.Answer, status: str) -> Outcome:
    """No optimum. A solver that stalls is not asked why: the plainest objective says whether limits can be met."""
    if status == "failed":
        plain = replace(p, objective_kind="min_variance", impact=None)
        if native.takes(plain) and native.solve(plain).status == "infeasible":
            status = "infeasible"
    return Outcome(status, p.w0.copy(), iterations=answer.iterations, message=_said(answer))


def _said(answer: conic.Answer) -> str:
    return f"the solver stopped with {answer.status} after {answer.iterations} iterations"


def _solver() -> str:
    import clarabel
    import cvxpy

    return f"clarabel {clarabel.__version__} through cvxpy {cvxpy.__version__}"
