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
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from wealthos_pipeline.core.errors import PortfolioError
from wealthos_pipeline.portfolio import certificate, conic, native, objectives, risk_budgeting
from wealthos_pipeline.portfolio.native import INFEASIBLE, SCALE, STATIONARY, TYPICAL_TRADE
from wealthos_pipeline.portfolio.problem import SESSIONS_PER_YEAR, Floats, Problem, Solution
from wealthos_pipeline.portfolio.reduced import Outcome, Reduced, reduce

SCALE_FREE = ("max_sharpe", "risk_budget")
KINDS = (*objectives.QUADRATIC, *SCALE_FREE, "cvar")
NO_GAIN = 1e-9
"""A best net return up to this share of the largest alpha is none."""

NO_RISK = 1e-10
"""A smallest variance (scaled as the programs are) up to this is none."""

Value = Callable[[Problem, Reduced], Any]


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


@dataclass(eq=False)
class _Built:
    """A cvxpy problem, its variables by name, and constraints by what they say."""

    problem: Any
    variables: dict[str, Any]
    rules: dict[str, Any]


@dataclass(eq=False)
class _Parameters:
    """Parameters with how each is read from a problem."""

    made: list[tuple[Any, Value]] = field(default_factory=list)

    def add(self, p: Problem, form: Reduced, value: Value, *, nonneg: bool = False) -> Any:
        import cvxpy as cp

        first = np.asarray(value(p, form), dtype=np.float64)
        out = cp.Parameter(first.shape, nonneg=nonneg)
        out.value = first
        self.made.append((out, value))
        return out

    def set(self, p: Problem, form: Reduced) -> None:
        for parameter, value in self.made:
            parameter.value = np.asarray(value(p, form), dtype=np.float64)


class Program:
    """A compiled problem. ``solve()`` answers it, ``solve(other)`` one that differs in numbers only."""

    def __init__(self, problem: Problem, form: Reduced, *, power_cones: bool = False) -> None:
        self._power_cones = power_cones
        self._first, self._form = problem, form
        self._signature = _signature(problem, form)
        self._parameters = _Parameters()
        self._main: _Built | None = None
        self._net: _Built | None = None
        self._best = 1.0  # net return that the portfolios of max_sharpe are compared at
        if len(form.x) and not form.impossible:
            self._main = self._built(problem, form)
            if problem.objective_kind == "max_sharpe":
                self._net = self._built(problem, form, net=True)

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
        self._parameters.set(p, form)
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
        self._parameters.set(self._first, self._form)
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

    def _sharpe(self, p: Problem, form: Reduced, main: _Built) -> Outcome:
        assert self._net is not None
        if not p.alpha.any():
            words = (
                "no portfolio has an expected excess return above 0, because every alpha is 0, so there is no "
                "largest Sharpe ratio. Next: wait for predictions that are worth something, or choose "
                "min_variance."
            )
            return Outcome("failed", p.w0.copy(), message=words)
        self._best = 1.0
        self._parameters.set(p, form)
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
        self._best = best
        self._parameters.set(p, form)
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
        self, p: Problem, form: Reduced, main: _Built, answer: conic.Answer, status: str
    ) -> Outcome:
        share = objectives.shares(p)
        stuck = (share > 0) & _out(p, form)
        if stuck.any():
            who = ", ".join(p.ids[i] for i in np.flatnonzero(stuck)[:5])
            words = (
                f"names with a share of the risk cannot be chosen, their bounds leave one weight: {who} "
                f"({int(stuck.sum())} in all). Next: give them no share, or a box."
            )
            return Outcome("failed", p.w0.copy(), message=words)
        if (
            status != "solved"
        ):  # without a scale, limits that contradict each other only stall a solver
            plain = replace(p, objective_kind="min_variance", impact=None)
            if native.takes(plain) and native.solve(plain).status == "infeasible":
                status = "infeasible"
            return _stopped(p, answer, status)
        t = float(main.variables["t"].value)
        x = np.asarray(main.variables["x"].value, dtype=np.float64) / t
        # y is in units of 1 / σ of equal weights; at the best scale ½ σ(y)² is ½
        constant = 0.5 - float(np.log(_size(p) * np.sqrt(SESSIONS_PER_YEAR)))
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

    # ------------------------------------------------------------------ building

    def _built(self, p: Problem, form: Reduced, *, net: bool = False) -> _Built:
        import cvxpy as cp

        kind = p.objective_kind
        n = len(form.x)
        x = cp.Variable(n, name="x")
        scaled = kind in SCALE_FREE and not net
        one: Any = cp.Variable(nonneg=True, name="t") if scaled else 1.0
        number = self._number(p, form)
        rules: dict[str, Any] = {}
        extra: list[Any] = []
        variables = {"x": x, "t": one}

        rules["upper"] = x <= number(lambda q, f: f.upper) * one
        rules["lower"] = x >= number(lambda q, f: f.lower) * one
        for i, line in enumerate(form.lines):
            right = number(lambda q, f, i=i: f.lines[i].right) * one
            left = line.a @ x
            rules[f"line {i}"] = left == right if line.twin is not None else left <= right
        moved = self._moved(p, form, x, one, extra, number)
        for i, bent in enumerate(form.bents):
            right = number(lambda q, f, i=i: f.bents[i].right) * one
            if (bent.reference == p.w0[form.x])[bent.scale > 0].all():
                size = bent.scale @ moved()
            else:
                beside = number(lambda q, f, i=i: f.bents[i].reference) * one
                size = bent.scale @ cp.abs(x - beside)
            rules[f"bent {i}"] = size + bent.slope @ x <= right
        year = float(np.sqrt(SESSIONS_PER_YEAR))
        for i, _ in enumerate(form.balls):
            away = self._risk(p, form, x, one, number, _ball_reference(i))
            right = number(lambda q, f, i=i: f.balls[i].right)
            rules[f"ball {i}"] = year * cp.norm(away) <= right * one

        charge = self._costs(p, form, x, one, extra, number, moved, net_scaled=kind == "max_sharpe")
        if kind == "max_sharpe":
            alpha = number(lambda q, f: q.alpha[f.x] / np.abs(q.alpha).max(initial=1e-300))
            rest = number(lambda q, f: _pinned(q, f, q.alpha) / np.abs(q.alpha).max(initial=1e-300))
            gain = alpha @ x + rest * one - charge
            if net:
                goal = -SCALE * gain
            else:
                extra.append(gain >= number(lambda q, f: self._best))
                spread = self._risk(p, form, x, one, number, _nothing)
                goal = 0.5 * SCALE * p.horizon * cp.sum_squares(spread)
        elif kind == "risk_budget":
            spread = self._risk(p, form, x, one, number, _nothing)
            share = objectives.shares(p)[form.x]
            held = np.flatnonzero(share > 0)
            weights = number(lambda q, f: objectives.shares(q)[f.x][held], nonneg=True)
            goal = 0.5 * cp.sum_squares(spread / _size(p)) - weights @ cp.log(x[held])
        else:
            goal = charge + self._quadratic(p, form, x, extra, rules, number)
        problem = cp.Problem(cp.Minimize(goal), [*rules.values(), *extra])
        return _Built(problem, variables, rules)

    def _number(self, p: Problem, form: Reduced) -> Callable[..., Any]:
        def number(value: Value, *, nonneg: bool = False) -> Any:
            return self._parameters.add(p, form, value, nonneg=nonneg)

        return number

    def _risk(
        self, p: Problem, form: Reduced, x: Any, one: Any, number: Callable[..., Any],
        base: Value,
    ) -> Any:  # fmt: skip
        """A vector whose length is the daily volatility of ``w − base``, times t."""
        import cvxpy as cp

        R = p.B @ conic.half(p.F)
        parts = []
        if R.shape[1]:
            fixed = number(lambda q, f: R.T @ (f.rest - base(q, f)))
            parts.append(R[form.x].T @ x + fixed * one)
        own = number(lambda q, f: q.d[f.x] * base(q, f)[f.x])
        parts.append(cp.multiply(p.d[form.x], x) - own * one)
        frozen = number(lambda q, f: [_frozen(q, f, base(q, f))])
        parts.append(frozen * one)
        return cp.hstack(parts)

    def _moved(
        self, p: Problem, form: Reduced, x: Any, one: Any, extra: list[Any], number: Callable[..., Any]
    ) -> Callable[[], Any]:  # fmt: skip
        """``u ≥ |x − t w0|``, made when first asked for."""
        import cvxpy as cp

        made: list[Any] = []

        def moved() -> Any:
            if not made:
                u = cp.Variable(len(form.x), name="u")
                held = number(lambda q, f: q.w0[f.x]) * one
                extra.extend([u >= x - held, u >= held - x])
                made.append(u)
            return made[0]

        return moved

    def _costs(
        self, p: Problem, form: Reduced, x: Any, one: Any, extra: list[Any],
        number: Callable[..., Any], moved: Callable[[], Any], *, net_scaled: bool,
    ) -> Any:  # fmt: skip
        """Costs of the movable names over γ × SCALE, or over the largest alpha for ``max_sharpe``; 0 where free."""
        import cvxpy as cp

        if p.objective_kind == "risk_budget":
            return 0.0

        def per(q: Problem) -> float:
            if net_scaled:
                return float(1.0 / np.abs(q.alpha).max(initial=1e-300))
            return SCALE / q.risk_aversion

        total: Any = 0.0
        linear, impact, borrow = objectives.rates(p)
        if linear.any():
            total = (
                total
                + number(lambda q, f: objectives.rates(q)[0][f.x] * per(q), nonneg=True) @ moved()
            )
        hit = np.flatnonzero(impact[form.x] > 0)
        if len(hit):
            power = 1.0 + p.impact_exponent
            t = cp.Variable(len(hit), nonneg=True, name="impact")
            held = number(lambda q, f: q.w0[f.x][hit]) * one
            unit = TYPICAL_TRADE
            ones, size = np.ones(len(hit)) * one, (x[hit] - held) / unit
            if (
                power == 1.5 and not self._power_cones
            ):  # second-order cones, which are solved more exactly
                a, r = cp.Variable(len(hit), nonneg=True), cp.Variable(len(hit), nonneg=True)
                extra += [a >= size, a >= -size]
                extra.append(cp.SOC(t + r, cp.vstack([2.0 * a, t - r])))
                extra.append(cp.SOC(a + ones, cp.vstack([2.0 * r, a - ones])))
            else:
                extra.append(cp.PowCone3D(t, ones, size, 1.0 / power))
            total = (
                total
                + number(
                    lambda q, f: objectives.rates(q)[1][f.x][hit] * per(q) * unit**power,
                    nonneg=True,
                )
                @ t
            )
        short = np.flatnonzero((borrow[form.x] > 0) & (form.lower < 0))
        if len(short):
            v = cp.Variable(len(short), nonneg=True, name="short")
            extra.append(v >= -x[short])
            total = (
                total
                + number(lambda q, f: objectives.rates(q)[2][f.x][short] * per(q), nonneg=True) @ v
            )
        if net_scaled:
            total = total + number(lambda q, f: _pinned_costs(q, f) * per(q)) * one
        return total

    def _quadratic(
        self, p: Problem, form: Reduced, x: Any, extra: list[Any], rules: dict[str, Any],
        number: Callable[..., Any],
    ) -> Any:  # fmt: skip
        import cvxpy as cp

        def per(q: Problem) -> float:
            return SCALE / q.risk_aversion

        aside = number(lambda q, f: _pinned_costs(q, f) * per(q))
        if p.objective_kind == "cvar":
            R = objectives.scenarios(p)
            S, z = len(R), objectives.normal_tail(p)
            tau, c = cp.Variable(name="tau"), cp.Variable(nonneg=True, name="cvar")
            e = cp.Variable(S, nonneg=True, name="excess")
            rest = number(lambda q, f: _outside(q, f, R))
            rules["losses"] = -(R[:, form.x] @ x) - rest - tau <= e
            extra.append(tau + cp.sum(e) / ((1.0 - p.cvar_level) * S) <= c)
            return 0.5 * SCALE * p.horizon / z**2 * cp.square(c) + aside
        spread = self._risk(p, form, x, 1.0, number, _reference)
        alpha = number(lambda q, f: objectives.wanted(q)[f.x] * per(q))
        rest = number(lambda q, f: _pinned(q, f, objectives.wanted(q)) * per(q))
        return 0.5 * SCALE * p.horizon * cp.sum_squares(spread) - alpha @ x - rest + aside


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


def _nothing(p: Problem, form: Reduced) -> Floats:
    return np.zeros(len(p.ids))


def _ball_reference(i: int) -> Value:
    return lambda p, form: form.balls[i].reference


def _reference(p: Problem, form: Reduced) -> Floats:
    return objectives.reference(p)


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


def _out(p: Problem, form: Reduced) -> Any:
    out = np.ones(len(p.ids), dtype=np.bool_)
    out[form.x] = False
    return out


def _pinned(p: Problem, form: Reduced, slope: Floats) -> float:
    return float(slope[_out(p, form)] @ form.rest[_out(p, form)])


def _outside(p: Problem, form: Reduced, R: Floats) -> Floats:
    out = _out(p, form)
    return R[:, out] @ form.rest[out]


def _pinned_costs(p: Problem, form: Reduced) -> float:
    return objectives.costs(p, np.where(_out(p, form), form.rest, p.w0)) - _short_of_held(p, form)


def _short_of_held(p: Problem, form: Reduced) -> float:
    """Borrow on what is held of the movable names, which the line above counts in."""
    held = np.where(_out(p, form), 0.0, p.w0)
    return float((objectives.rates(p)[2] * np.maximum(-held, 0.0)).sum())


def _frozen(p: Problem, form: Reduced, base: Floats) -> float:
    out = _out(p, form)
    return float(np.sqrt(((p.d * (form.rest - base))[out] ** 2).sum()))


def _size(p: Problem) -> float:
    """Daily volatility of equal weights: the unit in which the log-barrier form is solved."""
    equal = np.full(len(p.ids), 1.0 / len(p.ids))
    return max(float(np.sqrt(max(float(equal @ p.covariance_times(equal)), 0.0))), 1e-8)


def _run(built: _Built) -> tuple[conic.Answer, str]:
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


def _duals(form: Reduced, built: _Built, unit: float) -> dict[str, Floats]:
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


def _tail_slope(p: Problem, built: _Built, unit: float) -> Floats | None:
    """Slope of minus the CVaR term: the scenarios weighed by their multipliers."""
    if p.objective_kind != "cvar":
        return None
    weight = unit * np.maximum(np.asarray(built.rules["losses"].dual_value), 0.0)
    return np.asarray(weight @ objectives.scenarios(p), dtype=np.float64)


def _stopped(p: Problem, answer: conic.Answer, status: str) -> Outcome:
    return Outcome(status, p.w0.copy(), iterations=answer.iterations, message=_said(answer))


def _said(answer: conic.Answer) -> str:
    return f"the solver stopped with {answer.status} after {answer.iterations} iterations"


def _solver() -> str:
    import clarabel
    import cvxpy

    return f"clarabel {clarabel.__version__} through cvxpy {cvxpy.__version__}"
