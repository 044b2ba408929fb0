"""Decisions with whole numbers: counts of names, least holdings and trades, share lots, tax by lots.

Outer approximation (Duran & Grossmann 1986) of the program of ``mixed``: convex terms are replaced by
tangents, HiGHS solves the mixed-integer linear program that results, and its proven bound is a bound for
the problem, because tangents never lie above what they touch. The whole numbers that it chose are pinned,
what is left is convex and solved exactly (``pinned``): a feasible answer. Tangents there make the next
program sharper, until answer and bound meet or the nodes are used up. Before the first program the tangents
are refined on its relaxation, which costs little and decides how good the bound is.

Objectives that are no such program are come near to: the largest Sharpe ratio by the mean-variance problems
that share its optimum, the others by the portfolio that tracks their answer without whole numbers most closely;
that answer's objective is the bound.

Every answer says its gap. Nothing depends on time, threads or chance.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from wealthos_pipeline.portfolio import (
    around,
    conic,
    limits,
    milp,
    mixed,
    mixed_model,
    objectives,
    pinned,
    tangents,
)
from wealthos_pipeline.portfolio.problem import Floats, Problem, Solution
from wealthos_pipeline.utils.child import ChildError

SOLVER = "HiGHS and Clarabel, outer approximation"
GAP = 2e-4
"""Relative gap at which the search ends."""
ROOT_ROUNDS = 40
ROUNDS = 3000
"""Mixed-integer programs solved, times the number of names, within LEAST and MOST."""
LEAST_ROUNDS, MOST_ROUNDS = 12, 200
NODES = 200_000
"""Nodes of all programs together, times the number of names: 400 for 500 names, within LEAST and MOST."""
LEAST_NODES, MOST_NODES = 200, 20_000
MAX_VIOLATION = 1e-8
"""An answer that misses a limit by more (in the limit's unit) is none."""
WRONG = 1e-6
"""A bound above what was reached by more than this, relatively (in units of the program), is not a bound."""


def needed(problem: Problem) -> bool:
    """Whether the problem has whole numbers, so that ``solve`` and not a convex solver answers it."""
    p = problem
    whole = (p.max_names, p.min_names, p.min_holding, p.min_trade, p.lot, p.tax)
    return any(x is not None for x in whole)


def solve(problem: Problem) -> Solution:
    """The best answer found and how far from the best possible it can be at most.

    status: ``optimal`` (``gap`` may be above ``GAP``: the message says what it is), ``infeasible`` where no weights
    meet the limits, ``failed`` where nothing was found or the solver's process ended. gap: the proven bound less
    the objective, in units of the objective; NaN for rules that maximise nothing. With share lots, up to one
    lot of the dearest name stays in cash (``limits.leftover``), trades are whole lots, and a holding that is no
    whole number of lots may be sold off. PortfolioError for a problem that is not well-formed.
    """
    with conic.blas().limit(limits=1):
        problem.validate()
        if problem.objective_kind in mixed.OBJECTIVES:
            return _searched(problem, None)
        return _nearest(problem)


def _searched(p: Problem, target: Floats | None) -> Solution:
    """The search of one program; target: see ``mixed.build``."""
    m = mixed.build(p, target)
    if m.impossible:
        return _none(p, "infeasible", "; ".join(m.impossible) + ".")
    try:
        with milp.Child() as child:
            return _Search(p, m, child, target).run()
    except ChildError as error:
        return _none(p, "failed", f"{error}; nothing was decided.")


def _nearest(p: Problem) -> Solution:
    """An answer for an objective that is no mixed-integer program, from its answer without whole numbers."""
    from wealthos_pipeline.portfolio import optimization

    relaxed = replace(
        p, max_names=None, min_names=None, min_holding=None, min_trade=None, lot=None, tax=None
    )  # fmt: skip
    best = optimization.continuous(relaxed)
    if best.status not in ("optimal", "rule"):
        return replace(best, weights=p.w0.copy(), solver=best.solver or SOLVER)
    found = _sharpe(p, best.weights) if p.objective_kind == "max_sharpe" else None
    found = found or _searched(p, best.weights)
    if found.status != "optimal":
        return found
    value = p.objective(found.weights)
    most = _with_losses(p, relaxed, best)
    gap = max(most.objective + most.gap - value, 0.0)
    away = _percent(p.volatility(found.weights - best.weights))
    said = f"Tracks the answer without whole numbers within {away} a year"
    if np.isfinite(gap):
        said += f", whose objective is {best.objective:.4g}; this one's is {value:.4g}"
    if p.lot is not None:
        said += f". {_cash_words(p, found.weights)}"
    return replace(found, objective=value, gap=gap, message=f"{said.rstrip('.')}.")


def _with_losses(p: Problem, relaxed: Problem, best: Solution) -> Solution:
    """``best``, or where lots at a loss are worth tax, what the ratio would be were all of that earned untraded.

    ``Σ w`` is the budget, so that much more alpha for every name adds just that.
    """
    if p.tax is None or p.objective_kind != "max_sharpe":
        return best
    worth = -float(np.minimum(p.tax.rate * p.tax.gain, 0.0) @ p.tax.weight)
    invested = p.budget - limits.leftover(p)
    if not worth > 0.0 or not invested > 0.0:
        return best
    from wealthos_pipeline.portfolio import optimization

    more = optimization.continuous(replace(relaxed, alpha=p.alpha + p.kappa * worth / invested))
    return more if more.status == "optimal" else replace(best, gap=float("inf"))


def _sharpe(p: Problem, start: Floats) -> Solution | None:
    """Mean-variance problems with the risk aversion ``f/σ²`` of the last answer: each has at least its ratio.

    From ``f(w) − γσ(w)²/2 ≥ f/2`` follows ``f(w)/σ(w) ≥ f/σ`` (Dinkelbach 1967). None where nothing is earned.
    """
    w, best = start, None
    for _ in range(LEAST_ROUNDS):
        net = float(p.alpha @ w) - objectives.costs(p, w) - objectives.taxes(p, w)
        variance = p.horizon * float(w @ p.covariance_times(w))
        if net <= 0 or variance <= 0:
            break
        found = _searched(
            replace(p, objective_kind="mean_variance", risk_aversion=net / variance), None
        )
        if found.status != "optimal":
            return best or found
        ratio = p.objective(found.weights)
        if best is not None and ratio <= p.objective(best.weights) * (1.0 + GAP / 10):
            break
        best, w = found, found.weights
    return best


def violation(p: Problem, w: Floats) -> float:
    """Largest miss of any limit, each in its own unit, and of whole lots."""
    worst = limits.violation(p, w)
    return worst if p.lot is None else max(worst, _broken_lots(p, w))


def _broken_lots(p: Problem, w: Floats) -> float:
    """How far the trades are from whole lots, in weight; a holding that is sold off counts as whole."""
    assert p.lot is not None
    priced = np.isfinite(p.lot) & (p.lot > 0)
    size = np.where(priced, p.lot, 1.0)
    change = w - p.w0
    part = np.where(priced, np.abs(change - size * np.round(change / size)), np.abs(change))
    return float(np.max(part, where=p.free & (w != 0.0), initial=0.0))


def _none(p: Problem, status: str, message: str) -> Solution:
    return Solution(status, p.w0.copy(), message=message, solver=SOLVER)  # type: ignore[arg-type]


@dataclass(eq=False)
class _Search:
    """One search; values are those of the program (to be minimised) until the end."""

    p: Problem
    m: mixed_model.Mixed
    child: milp.Child | milp.Session
    target: Floats | None = None
    best: float = np.inf
    bound: float = -np.inf
    relaxed: float = -np.inf
    nodes: int = 0
    rounds: int = 0
    x: Floats | None = None

    def run(self) -> Solution:
        m = self.m
        self.weights = self.p.w0
        self.child.load(m.cost, m.offset, m.low, m.high, m.whole, _csr(m))
        self.child.add(*tangents.first(m))
        status = self._root()
        if status == "infeasible":
            return self._doubted("They contradict each other even without the whole numbers.")
        if status != "optimal":
            return _none(self.p, "failed", f"The relaxation could not be solved: {status}.")
        limit = self._limit
        if self.p.lot is not None:
            self._rounded(limit)
        rounds = int(np.clip(ROUNDS // max(len(m.w), 1), LEAST_ROUNDS, MOST_ROUNDS))
        while self.rounds < rounds and self.nodes < limit and not self._closed():
            self.rounds += 1
            out = self.child.solve(limit - self.nodes, GAP / 2, self.x)
            self.nodes += out.nodes
            if out.status == "infeasible":
                if self.x is None:
                    return self._doubted("No choice of whole numbers meets them.")
                break  # false, for an answer is known: what was proven before stands
            if out.status in ("optimal", "limit"):
                self.bound = max(self.bound, out.bound)
            if out.x is None or not self._tried(out.x):
                break
        if self.x is None:
            said = f"No answer was found within {self.nodes} nodes; none was shown not to exist."
            return _none(self.p, "failed", said)
        return self._answer()

    @property
    def _limit(self) -> int:
        return int(np.clip(NODES // max(len(self.m.w), 1), LEAST_NODES, MOST_NODES))

    def _closed(self) -> bool:
        near = GAP * max(abs(self.best), 1e-3)
        return self.x is not None and self.best - self.bound <= near

    def _root(self) -> str:
        """Refines the tangents on the relaxation; its status."""
        last = -np.inf
        for _ in range(ROOT_ROUNDS):
            out = self.child.relaxed()
            if out.status != "optimal" or out.x is None:
                return out.status
            self.bound = self.relaxed = max(self.bound, out.bound)
            rows, missing = tangents.at(self.m, out.x)
            small = 0.1 * GAP * max(abs(out.bound), 1e-3)
            if missing < small or (missing < 10 * small and out.bound - last < 0.1 * small):
                self.child.add(*rows)
                break
            last = out.bound
            self.child.add(*rows)
        return "optimal"

    def _tried(self, x: Floats) -> bool:
        """Pins the whole numbers of x; whether the program has become any sharper."""
        rows, missing = tangents.at(self.m, x)
        answer = pinned.solve(self.m, x)
        sharper = missing > 1e-7
        self.child.add(*rows)
        if answer.status == "solved":
            better = self._keep(answer.x)
            rows, _ = tangents.at(self.m, answer.x, every=True)
            self.child.add(*rows)
            return sharper or better
        return self._excluded(x) or sharper

    def _keep(self, x: Floats) -> bool:
        w = min(
            (around.snapped(self.p, self.m, x), self._spread(x)),
            key=lambda v: max(violation(self.p, v), MAX_VIOLATION / 10),
        )
        if violation(self.p, w) > MAX_VIOLATION:
            return False
        value = -self.m.scale * self._value(w)
        if value >= self.best:
            return False
        self.best, self.weights = value, w
        self.x = self._lifted(x)
        return True

    def _value(self, w: Floats) -> float:
        if self.target is None:
            return self.p.objective(w)
        away = w - self.target
        return (
            -0.5
            * self.p.risk_aversion
            * self.p.horizon
            * float(away @ self.p.covariance_times(away))
        )

    def _spread(self, x: Floats) -> Floats:
        w = np.where(self.p.free, 0.0, self.p.fixed)
        w[self.p.free] = x[self.m.w]
        return w

    def _lifted(self, x: Floats) -> Floats:
        """x with the columns above its convex terms on them."""
        m, x = self.m, x.copy()
        s = m.squares
        if m.tail is not None:
            x[m.tail.epi] = tangents.tail_value(m, x[m.w])
        on = np.where(s.on >= 0, np.maximum(x[s.on], 1e-300), 1.0)
        x[s.epi] = s.scale * (x[s.column] - s.shift) ** 2 / on
        x[s.epi[(s.on >= 0) & (x[s.column] == 0)]] = 0.0
        if len(m.powers.epi):
            point = np.maximum(x[m.powers.column], 0.0)
            x[m.powers.epi] = m.powers.scale * point**m.powers.exponent
        return x

    def _rounded(self, limit: int) -> None:
        """A first answer in lots: every name within two lots of the answer without them, the others out.

        Branch and bound alone may not find one for long: the lots have to sum up to the budget.
        """
        p, m = self.p, self.m
        loose = _searched(replace(p, lot=None), self.target)
        if loose.status != "optimal" or p.lot is None:
            return
        w = loose.weights[p.free]
        room = 2.0 * np.nan_to_num(p.lot[p.free])
        held = np.abs(w) > mixed.NEVER
        low, high = m.low.copy(), m.high.copy()
        low[m.w] = np.maximum(low[m.w], np.where(held, w - room, np.minimum(high[m.w], 0.0)))
        high[m.w] = np.minimum(high[m.w], np.where(held, w + room, np.maximum(m.low[m.w], 0.0)))
        # a program of its own: with the many tangents of the relaxation HiGHS finds nothing here, without them
        # it does, and within two lots they say little
        with milp.Child() as child:
            child.load(m.cost, m.offset, low, np.maximum(low, high), m.whole, _csr(m))
            child.add(*tangents.first(m))
            out = child.solve(limit // 2, GAP, None)
        if out.x is not None:
            self._tried(out.x)

    def _excluded(self, x: Floats) -> bool:
        """Tangents that leave no room for whole numbers whose caps on risk cannot be met."""
        m = self.m
        low, high = m.low.copy(), m.high.copy()
        low[m.whole] = high[m.whole] = np.round(x[m.whole])
        added = False
        self.child.bounds(low, high)
        for _ in range(ROOT_ROUNDS):
            out = self.child.relaxed()
            if out.x is None:
                break
            rows, missing = tangents.at(m, out.x)
            if missing <= 1e-7:
                break
            added = True
            self.child.add(*rows)
        self.child.bounds(m.low, m.high)
        return added

    def _infeasible(self, why: str) -> Solution:
        p = self.p
        names = ("names", "min_holding", "min_trade", "gains")
        said = [limit.words for limit in limits.of(p) if limit.kind in names]
        said += ["orders in whole lots"] if p.lot is not None else []
        asked = "; ".join(said)
        lead = f"No portfolio meets all the limits with whole numbers ({asked}). " if asked else ""
        return _none(p, "infeasible", f"{lead}{why}")

    def _doubted(self, why: str) -> Solution:
        """What to say where the solver calls the program infeasible, before any answer is known.

        With many tangents, rows of very different size, HiGHS has said so falsely. A program of its own, with nothing
        to maximise and no tangents but those that its own points ask for, is asked too: where it agrees,
        the problem is infeasible; where it leads to an answer, that answer stands, with the bound of a fresh
        relaxation.
        """
        m = self.m
        with milp.Child() as child:
            child.load(np.zeros(len(m.cost)), 0.0, m.low, m.high, m.whole, _csr(m))
            for _ in range(ROOT_ROUNDS):
                out = child.solve(self._limit, GAP, None)
                self.nodes += out.nodes
                if out.status == "infeasible":
                    return self._infeasible(why)
                if out.x is None:
                    break
                answer = pinned.solve(m, out.x)
                if answer.status == "solved" and self._keep(answer.x):
                    self.bound = self.relaxed = self._fresh(answer.x)
                    return self._answer()
                rows, missing = tangents.at(m, out.x)
                if missing <= 1e-7:
                    break
                child.add(*rows)
        said = (
            "The mixed-integer solver found no weights, and another program of the same limits did not "
            "confirm that there are none. Next: loosen the limit that is hardest to meet a little."
        )
        return _none(self.p, "failed", said)

    def _fresh(self, x: Floats) -> float:
        """A proven bound from a new relaxation with few tangents; −inf where there is none."""
        m, bound = self.m, -np.inf
        with milp.Child() as child:
            child.load(m.cost, m.offset, m.low, m.high, m.whole, _csr(m))
            child.add(*tangents.first(m))
            child.add(*tangents.at(m, self._lifted(x), every=True)[0])
            for _ in range(LEAST_ROUNDS):
                out = child.relaxed()
                if out.status != "optimal" or out.x is None:
                    break
                bound = max(bound, out.bound)
                child.add(*tangents.at(m, out.x)[0])
        return bound

    def _answer(self) -> Solution:
        p, w, unit = self.p, self.weights, self.m.scale
        if self.bound > self.best + WRONG * max(1.0, abs(self.best)):
            self.bound = (
                self.relaxed
            )  # nothing is better than what is possible: that proof was none
        if not np.isfinite(self.bound) or self.bound > self.best + WRONG * max(1.0, abs(self.best)):
            lost = (
                "An answer was found, but not how far from the best it can be; nothing was decided."
            )
            return _none(p, "failed", lost)
        value = self._value(w)
        gap = max(self.best - self.bound, 0.0) / unit
        said = [_gap_words(gap, value, self.nodes)]
        if p.lot is not None:
            said.append(_cash_words(p, w))
        parts, multipliers = around.reasons(p, w) if self.target is None else (None, {})
        return Solution(
            status="optimal",
            weights=w,
            objective=value,
            violation=violation(p, w),
            gap=gap,
            iterations=self.nodes,
            parts=parts,
            message=" ".join(said),
            solver=SOLVER,
            multipliers=multipliers,
        )


def _gap_words(gap: float, value: float, nodes: int) -> str:
    share = gap / abs(value) if value else np.inf
    if share <= 1e-7:
        return "The best possible objective, as far as can be computed."
    if np.isfinite(share) and share < 1.0:
        said = f"Within {_percent(share)} of the best possible objective"
    else:
        said = f"Within {1e4 * gap:.4f} basis points of the best possible objective"
    return f"{said}." if share <= GAP else f"{said}, after {nodes} nodes."


def _cash_words(p: Problem, w: Floats) -> str:
    cash = max(p.budget - float(w.sum()), 0.0)
    return f"{_percent(cash)} stays in cash because shares come in lots."


def _percent(x: float) -> str:
    """A share that is never shown as less than it is: 0.00012 is 0.02 %."""
    digits = max(2, 1 - int(np.floor(np.log10(100 * abs(x))))) if x else 2
    text = f"{np.ceil(100 * x * 10**digits - 1e-9) / 10**digits:.{digits}f}"
    return text.rstrip("0").rstrip(".").replace("-", "−") + " %"


def _csr(m: mixed_model.Mixed) -> tangents.Rows:
    """Rows as HiGHS takes them: each column once a row, or it refuses them all."""
    width = len(m.cost)
    place, first = np.unique(m.rows.row * width + m.rows.column, return_inverse=True)
    value = np.bincount(first, m.rows.value, len(place)).astype(np.float64)
    start = np.searchsorted(place // width, np.arange(len(m.row_low)))
    return m.row_low, m.row_high, start, place % width, value
