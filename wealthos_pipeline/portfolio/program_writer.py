"""A problem written down for cvxpy: variables, one rule a limit, numbers as parameters.

Everything is said of ``w = y / t`` with t = 1 or a variable (``program`` says why), so that limits and costs are
written once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from wealthos_pipeline.portfolio import conic, objectives
from wealthos_pipeline.portfolio.native import SCALE, TYPICAL_TRADE
from wealthos_pipeline.portfolio.problem import SESSIONS_PER_YEAR, Bools, Floats, Problem
from wealthos_pipeline.portfolio.reduced import Reduced

SCALE_FREE = ("max_sharpe", "risk_budget")

Value = Callable[[Problem, Reduced], Any]


@dataclass(eq=False)
class Built:
    """A cvxpy problem, its variables by name, and constraints by what they say."""

    problem: Any
    variables: dict[str, Any]
    rules: dict[str, Any]


@dataclass(eq=False)
class Parameters:
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


class Writer:
    """Writes programs and keeps their parameters.

    power_cones: square-root impact too by power cones. best: the net return that the portfolios of ``max_sharpe``
    are compared at.
    """

    def __init__(self, *, power_cones: bool = False) -> None:
        self.parameters = Parameters()
        self.power_cones = power_cones
        self.best = 1.0

    def built(self, p: Problem, form: Reduced, *, net: bool = False) -> Built:
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
            if bent.key == "turnover":
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
                extra.append(gain >= number(lambda q, f: self.best))
                spread = self._risk(p, form, x, one, number, _nothing)
                goal = 0.5 * SCALE * p.horizon * cp.sum_squares(spread)
        elif kind == "risk_budget":
            spread = self._risk(p, form, x, one, number, _nothing)
            share = objectives.shares(p)[form.x]
            held = np.flatnonzero(share > 0)
            weights = number(lambda q, f: objectives.shares(q)[f.x][held], nonneg=True)
            goal = 0.5 * cp.sum_squares(spread / size_of(p)) - weights @ cp.log(x[held])
        else:
            goal = charge + self._quadratic(p, form, x, extra, rules, number)
        problem = cp.Problem(cp.Minimize(goal), [*rules.values(), *extra])
        return Built(problem, variables, rules)

    def _number(self, p: Problem, form: Reduced) -> Callable[..., Any]:
        def number(value: Value, *, nonneg: bool = False) -> Any:
            return self.parameters.add(p, form, value, nonneg=nonneg)

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
                power == 1.5 and not self.power_cones
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
            rest = number(lambda q, f: outside_returns(q, f, R))
            rules["losses"] = -(R[:, form.x] @ x) - rest - tau <= e
            extra.append(tau + cp.sum(e) / ((1.0 - p.cvar_level) * S) <= c)
            return 0.5 * SCALE * p.horizon / z**2 * cp.square(c) + aside
        spread = self._risk(p, form, x, 1.0, number, _reference)
        alpha = number(lambda q, f: objectives.wanted(q)[f.x] * per(q))
        rest = number(lambda q, f: _pinned(q, f, objectives.wanted(q)) * per(q))
        return 0.5 * SCALE * p.horizon * cp.sum_squares(spread) - alpha @ x - rest + aside


def _nothing(p: Problem, form: Reduced) -> Floats:
    return np.zeros(len(p.ids))


def _ball_reference(i: int) -> Value:
    return lambda p, form: form.balls[i].reference


def _reference(p: Problem, form: Reduced) -> Floats:
    return objectives.reference(p)


def outside(p: Problem, form: Reduced) -> Bools:
    """Names that cannot move (n)."""
    out = np.ones(len(p.ids), dtype=np.bool_)
    out[form.x] = False
    return out


def _pinned(p: Problem, form: Reduced, slope: Floats) -> float:
    return float(slope[outside(p, form)] @ form.rest[outside(p, form)])


def outside_returns(p: Problem, form: Reduced, R: Floats) -> Floats:
    out = outside(p, form)
    return R[:, out] @ form.rest[out]


def _pinned_costs(p: Problem, form: Reduced) -> float:
    return objectives.costs(p, np.where(outside(p, form), form.rest, p.w0)) - _short_of_held(
        p, form
    )


def _short_of_held(p: Problem, form: Reduced) -> float:
    """Borrow on what is held of the movable names, which the line above counts in."""
    held = np.where(outside(p, form), 0.0, p.w0)
    return float((objectives.rates(p)[2] * np.maximum(-held, 0.0)).sum())


def _frozen(p: Problem, form: Reduced, base: Floats) -> float:
    out = outside(p, form)
    return float(np.sqrt(((p.d * (form.rest - base))[out] ** 2).sum()))


def size_of(p: Problem) -> float:
    """Daily volatility of equal weights: the unit in which the log-barrier form is solved."""
    equal = np.full(len(p.ids), 1.0 / len(p.ids))
    return max(float(np.sqrt(max(float(equal @ p.covariance_times(equal)), 0.0))), 1e-8)
