"""Certified answers: what an engine says is made exact, measured, and refused where it does not hold.

Weights within 1e-7 of a bound, or of what is held, are set on it; the rest of the names take up what the budget
and the binding limits then miss (the smallest change that meets them, by Newton steps). Violation, objective and
gap are computed from these weights: the gap is the distance between the objective at the weights and the value
of the dual problem, both evaluated here and not taken from the solver.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from wealthos_pipeline.portfolio import limits, marginal, objectives
from wealthos_pipeline.portfolio.problem import SESSIONS_PER_YEAR, Bools, Floats, Problem, Solution
from wealthos_pipeline.portfolio.reduced import Outcome, Reduced, reduce

SNAP = 1e-7
"""Weights this near to a bound, or to the weight held, are set on it."""
MAX_VIOLATION = 1e-8
MAX_GAP = 1e-6
"""An answer worse than this is not handed out as optimal. Gap: see ``largest_gap``."""
SCALE = 1e4
STEPS = 6


def largest_gap(p: Problem, objective: float) -> float:
    """The gap up to which an answer is optimal, in units of its objective.

    A millionth of the objective, or of γ/1e4 (a ten-thousandth of a basis point of return at γ = 1), whichever
    is more; objectives that are pure numbers: a millionth.
    """
    pure = p.objective_kind in ("max_sharpe", "risk_budget")
    return MAX_GAP * max(abs(objective), 1.0 if pure else p.risk_aversion / SCALE)


def certified(p: Problem, outcome: Outcome, form: Reduced | None = None) -> Solution:
    """The engine's answer with its certificate; ``failed`` where it does not hold."""
    if outcome.status == "infeasible":
        return Solution(
            "infeasible", p.w0.copy(), iterations=outcome.iterations, message=outcome.message
        )
    if outcome.status != "solved" and not outcome.duals:
        return failed(p, outcome)
    form = form or reduce(p)
    w = exact(p, form, outcome.weights)
    violation, objective = limits.violation(p, w), p.objective(w)
    gap = abs(outcome.dual - objective)
    if (
        violation > MAX_VIOLATION
        or not gap <= largest_gap(p, objective)
        or outcome.status != "solved"
    ):
        said = outcome.message or "the solver gave no optimum"
        words = (
            f"{said}; largest violation {violation:.1e} (at most {MAX_VIOLATION:.0e}), "
            f"gap {gap:.1e} (at most {largest_gap(p, objective):.1e}). Next: look for limits that nearly "
            "contradict each other, or numbers of very different size, in the mandate."
        )
        return failed(p, Outcome("failed", w, message=words, iterations=outcome.iterations))
    parts, multipliers = marginal.of(p, form, outcome, w)
    return Solution(
        status="optimal",
        weights=w,
        objective=objective,
        violation=violation,
        gap=gap,
        iterations=outcome.iterations,
        parts=parts,
        solver=outcome.solver,
        multipliers=multipliers,
    )


def failed(p: Problem, outcome: Outcome) -> Solution:
    """No answer; what is held stays."""
    return Solution(
        "failed",
        p.w0.copy(),
        iterations=outcome.iterations,
        message=outcome.message,
        solver=outcome.solver,
    )


def exact(p: Problem, form: Reduced, w: Floats) -> Floats:
    """Weights on the bounds, and on the weights held, where the solver means them to be, and limits met."""
    if not len(form.x):
        return form.rest.copy()
    x, held = w[form.x], p.w0[form.x]
    bound = [np.abs(x - v) <= SNAP for v in (form.lower, form.upper)]
    still = np.abs(x - held) <= SNAP
    zero = np.abs(x) <= SNAP
    snapped = np.where(zero, 0.0, x)
    snapped = np.where(still, held, snapped)
    snapped = np.where(bound[1], form.upper, snapped)
    snapped = np.where(bound[0], form.lower, snapped)
    inside = ~bound[0] & ~bound[1]
    tries = []
    for start, loose in ((snapped, inside & ~still & ~zero), (snapped, inside), (x, inside)):
        found = _projected(p, form, np.clip(start, form.lower, form.upper), loose)
        if found.violation <= 0.01 * MAX_VIOLATION:
            return found.weights
        tries.append(found)
    return min(tries, key=lambda t: t.violation).weights


@dataclass(frozen=True, eq=False)
class _Try:
    violation: float
    weights: Floats


def _projected(p: Problem, form: Reduced, x: Floats, loose: Bools) -> _Try:
    """Newton steps of least length on the ``loose`` names to where the limits that are missed are met."""
    best = _Try(limits.violation(p, form.whole(x)), form.whole(x))
    where = np.flatnonzero(loose)
    if not len(where):
        return best
    for _ in range(STEPS):
        slopes, misses = _active(p, form, x, where)
        if not len(slopes) or not misses.any():
            break
        size = np.linalg.norm(slopes, axis=1)
        kept = size > 1e-14
        if not kept.any():
            break
        A, b = slopes[kept] / size[kept, None], misses[kept] / size[kept]
        step = np.linalg.lstsq(A, -b, rcond=1e-10)[0]
        x = x.copy()
        x[where] = np.clip(x[where] + step, form.lower[where], form.upper[where])
        now = limits.violation(p, form.whole(x))
        if now < best.violation:
            best = _Try(now, form.whole(x))
        if now <= 1e-15:
            break
    return best


def _active(
    p: Problem, form: Reduced, x: Floats, where: NDArray[np.int64]
) -> tuple[Floats, Floats]:
    """Slopes (rows × loose names) of the limits that hold with equality or are missed, and by how much.

    A limit that is met, though hardly, is kept where it is: its miss counts as 0.
    """
    slopes, misses = [], []
    w = form.whole(x)
    for line in form.lines:
        miss = float(line.a @ x) - line.right
        if line.twin is not None or miss > -SNAP:
            slopes.append(line.a[where])
            misses.append(miss if line.twin is not None else max(miss, 0.0))
    for bent in form.bents:
        away = x - bent.reference
        miss = float((bent.scale * np.abs(away)).sum() + bent.slope @ x) - bent.right
        if miss > -SNAP:
            slopes.append((bent.scale * np.sign(away) + bent.slope)[where])
            misses.append(max(miss, 0.0))
    for ball in form.balls:
        size = p.volatility(w - ball.reference)
        if size - ball.right > -SNAP and size > 0:
            slope = SESSIONS_PER_YEAR * p.covariance_times(w - ball.reference) / size
            slopes.append(slope[form.x][where])
            misses.append(max(size - ball.right, 0.0))
    return np.array(slopes), np.array(misses)


def second_opinion(p: Problem, solution: Solution) -> float:
    """Objective of ``solution`` less what another algorithm finds; about 0 where both are right.

    The program is written by cvxpy and solved by a first-order method (OSQP for quadratic problems, SCS for the
    other cones), whose weights are then made exact as ours are. ``max_sharpe`` is compared at the risk aversion at
    which mean and variance have the same optimum: a formulation of its own. Slow: for samples and tests.
    """
    from wealthos_pipeline.portfolio import program

    if p.objective_kind == "max_sharpe":
        risk = float(solution.weights @ p.covariance_times(solution.weights)) * p.horizon
        net = float(p.alpha @ solution.weights) - objectives.costs(p, solution.weights)
        p = replace(p, objective_kind="mean_variance", risk_aversion=net / risk)
    form = reduce(p)
    if not len(form.x):
        return p.objective(solution.weights) - p.objective(form.rest)
    other = program.build(p, power_cones=True).by_another()
    return p.objective(solution.weights) - p.objective(exact(p, form, other))
