"""Whole numbers in a decision: against brute force, with a gap that is true, and with clear refusals."""

from __future__ import annotations

import itertools
import os
import signal
from collections.abc import Iterator
from dataclasses import replace

import cvxpy as cp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import norm

from wealthos_pipeline.portfolio import integer, milp, optimization
from wealthos_pipeline.portfolio.problem import Group, Problem, TradeCap
from wealthos_pipeline.utils.child import ChildError


def market(n: int, seed: int, k: int = 3) -> dict[str, NDArray[np.float64]]:
    """Loadings, factor covariance, specific volatilities and alphas of made-up names."""
    rng = np.random.default_rng(seed)
    B = rng.standard_normal((n, k))
    B[:, 0] = 1.0 + 0.2 * rng.standard_normal(n)
    half = 0.004 * np.tril(rng.standard_normal((k, k))) + np.diag([0.01, *[0.004] * (k - 1)])
    d = rng.uniform(0.008, 0.025, n)
    return {"B": B, "F": half @ half.T, "d": d, "alpha": 0.2 * d * rng.standard_normal(n)}


def problem(n: int, seed: int, **others: object) -> Problem:
    return Problem.simple(**{"cost": 0.0005, "upper": 0.6, **market(n, seed), **others})  # type: ignore[arg-type]


class Boxed:
    """The convex problem for any box, by cvxpy: linear and impact cost, turnover, caps on volatility."""

    def __init__(self, p: Problem) -> None:
        n = len(p.ids)
        self.w = cp.Variable(n)
        self.lower, self.upper = cp.Parameter(n), cp.Parameter(n)
        root = np.linalg.cholesky(p.B @ p.F @ p.B.T + np.diag(p.d**2))
        move = cp.abs(self.w - p.w0)
        value = p.alpha @ self.w - p.kappa * (p.cost @ move)
        value -= 0.5 * p.risk_aversion * p.horizon * cp.sum_squares(root.T @ self.w)
        if p.borrow is not None:
            value -= p.horizon / 252 * (p.borrow @ cp.pos(-self.w))
        if p.impact is not None:
            value -= p.kappa * (p.impact @ cp.power(move, 1 + p.impact_exponent))
        rules = [cp.sum(self.w) == p.budget, self.w >= self.lower, self.w <= self.upper]
        if p.max_turnover is not None:
            rules.append(0.5 * cp.sum(move) <= p.max_turnover)
        if p.max_volatility is not None:
            rules.append(cp.norm(root.T @ self.w) <= p.max_volatility / np.sqrt(252))
        if p.max_tracking_error is not None:
            rules.append(
                cp.norm(root.T @ (self.w - p.benchmark)) <= p.max_tracking_error / np.sqrt(252)
            )
        if p.max_gross is not None:
            rules.append(cp.norm1(self.w) <= p.max_gross)
        for g in p.groups:
            rules += [cp.sum(self.w[g.members]) <= g.upper] if g.upper is not None else []
        self.problem = cp.Problem(cp.Maximize(value), rules)

    def best(self, lower: NDArray[np.float64], upper: NDArray[np.float64]) -> float:
        self.lower.value, self.upper.value = lower, upper
        found = self.problem.solve(solver=cp.CLARABEL)
        return float(found) if self.problem.status == "optimal" else -np.inf


def boxes(p: Problem) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Every choice of names held (long or short) and traded, as bounds."""
    least = p.min_holding or 0.0
    states = []
    for i in range(len(p.ids)):
        lo, hi, w0 = float(p.lower[i]), float(p.upper[i]), float(p.w0[i])
        if not np.isnan(p.fixed[i]):
            states.append([(float(p.fixed[i]), float(p.fixed[i]), bool(p.fixed[i]))])
            continue
        held = [(0.0, 0.0)]
        held += [(max(lo, least), hi)] if hi > 0 else []
        held += [(lo, min(hi, -least))] if lo < 0 else []
        moved = [(-np.inf, np.inf)]
        if p.min_trade is not None:
            moved = [(w0, w0), (w0 + p.min_trade, np.inf), (-np.inf, w0 - p.min_trade)]
        options = []
        for (a, b), (c, e) in itertools.product(held, moved):
            low, high = max(a, c), min(b, e)
            if low <= high:
                options.append((low, high, not (a == b == 0.0)))
        states.append(options)
    for choice in itertools.product(*states):
        count = sum(c[2] for c in choice)
        if p.max_names is not None and count > p.max_names:
            continue
        if p.min_names is not None and count < p.min_names:
            continue
        yield np.array([c[0] for c in choice]), np.array([c[1] for c in choice])


def brute_force(p: Problem) -> float:
    convex = Boxed(p)
    return max((convex.best(*box) for box in boxes(p)), default=-np.inf)


def agrees(p: Problem) -> None:
    """The answer is allowed, its objective is that of brute force within the stated gap."""
    found, best = integer.solve(p), brute_force(p)
    assert found.status == "optimal", found.message
    assert integer.violation(p, found.weights) <= 1e-8
    assert found.objective == pytest.approx(p.objective(found.weights), abs=1e-15)
    assert found.objective <= best + 1e-8
    assert found.objective + found.gap >= best - 1e-8
    assert found.gap <= 1.01 * integer.GAP * abs(found.objective)


HELD = np.array([0.3, 0.25, 0.2, 0.15, 0.1, 0.0])

CASES = {
    "at most three names": {"max_names": 3},
    "least holding": {"min_holding": 0.15},
    "exactly four names of a least size": {"max_names": 4, "min_names": 4, "min_holding": 0.1},
    "many small names": {"min_names": 5, "alpha": np.array([0.05, 0.0, 0.0, 0.0, 0.0, 0.0])},
    "turnover and names": {"w0": HELD, "max_turnover": 0.15, "max_names": 5},
    "volatility and names": {"max_volatility": 0.206, "max_names": 3, "risk_aversion": 0.5},
    "tracking error and names": {"max_tracking_error": 0.08, "max_names": 4, "risk_aversion": 0.5},
    "impact": {"w0": HELD, "impact": np.full(6, 0.02), "max_names": 4},
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_small_problems_agree_with_brute_force_over_supports(name: str) -> None:
    agrees(problem(6, 3, **CASES[name]))


def test_a_least_trade_agrees_with_brute_force() -> None:
    w0 = np.array([0.4, 0.3, 0.2, 0.1])
    p = problem(4, 5, w0=w0, min_trade=0.12, cost=0.002)
    agrees(p)
    moved = np.abs(integer.solve(p).weights - w0)
    assert ((moved < 1e-12) | (moved >= 0.12 - 1e-9)).all()


def test_longs_and_shorts_agree_with_brute_force() -> None:
    agrees(
        problem(
            4, 7, lower=-0.5, upper=0.8, min_holding=0.2, max_names=3, max_gross=1.8,
            borrow=np.full(4, 0.02),
        )
    )  # fmt: skip


@settings(max_examples=8, deadline=None)
@given(
    seed=st.integers(0, 10_000), n=st.integers(2, 12), names=st.integers(1, 12),
    least=st.sampled_from([None, 0.02, 0.1]), trade=st.sampled_from([None, 0.05]),
    cap=st.sampled_from([0.3, 0.6, 1.0]), turnover=st.sampled_from([None, 0.2]),
)  # fmt: skip
def test_no_limit_is_missed_and_fewer_whole_numbers_are_never_worse(
    seed: int, n: int, names: int, least: float | None, trade: float | None, cap: float, turnover: float | None,
) -> None:  # fmt: skip
    rng = np.random.default_rng(seed)
    w0 = rng.dirichlet(np.ones(n))
    half = np.arange(n) < n // 2
    p = problem(
        n, seed, w0=w0, upper=cap, max_names=names, min_holding=least, min_trade=trade,
        max_turnover=turnover, groups=(Group("group A", "group", half, None, 0.7),),
    )  # fmt: skip
    found = integer.solve(p)
    if found.status == "infeasible":
        assert np.array_equal(found.weights, w0)
        return
    assert found.status == "optimal", found.message
    assert integer.violation(p, found.weights) <= 1e-8
    looser = integer.solve(replace(p, max_names=None, min_trade=None))
    assert looser.status == "optimal"
    assert looser.objective + looser.gap >= found.objective - 1e-9


def test_the_answer_is_the_same_in_every_process_and_with_any_thread_setting() -> None:
    p = problem(30, 1, upper=0.2, max_names=8, min_holding=0.03)
    once = integer.solve(p)
    before = dict(os.environ)
    os.environ["OMP_NUM_THREADS"] = "2"
    try:
        again = integer.solve(p)
    finally:
        os.environ.clear()
        os.environ.update(before)
    assert once.weights.tobytes() == again.weights.tobytes()
    assert (once.gap, once.objective, once.message) == (again.gap, again.objective, again.message)


def test_doubling_alphas_risk_aversion_and_costs_leaves_the_weights() -> None:
    p = problem(12, 2, max_names=4, min_holding=0.05)
    twice = replace(p, alpha=2 * p.alpha, risk_aversion=2 * p.risk_aversion, cost=2 * p.cost)
    assert integer.solve(p).weights.tobytes() == integer.solve(twice).weights.tobytes()


def test_too_few_names_for_the_budget_is_infeasible_and_says_so() -> None:
    p = problem(20, 1, upper=0.10, max_names=5)
    found = integer.solve(p)
    assert found.status == "infeasible"
    assert "At most 5 names" in found.message
    assert np.array_equal(found.weights, p.w0)


def test_limits_that_contradict_each_other_without_whole_numbers_are_told_apart() -> None:
    found = integer.solve(problem(5, 1, upper=0.1, min_holding=0.01))
    assert found.status == "infeasible"
    assert "even without the whole numbers" in found.message


def test_names_that_are_frozen_count_and_keep_their_weight() -> None:
    fixed = np.array([np.nan, 0.2, 0.1, *[np.nan] * 4])
    p = replace(
        problem(7, 4, w0=np.array([0.0, 0.2, 0.15, 0.65, 0, 0, 0]), max_names=4),
        fixed=fixed, fixed_why=("", "frozen", "forced", *[""] * 4),
    )  # fmt: skip
    agrees(p)
    found = integer.solve(p)
    assert found.weights[1:3].tolist() == [0.2, 0.1]
    assert int((found.weights > 1e-9).sum()) <= 4


def test_trade_caps_hold_beside_a_count() -> None:
    w0 = np.full(6, 1 / 6)
    p = problem(6, 9, w0=w0, max_names=5, trade_caps=(TradeCap("adv", "x", np.full(6, 0.17)),))
    found = integer.solve(p)
    assert found.status == "optimal"
    assert np.abs(found.weights - w0).max() <= 0.17 + 1e-9


def test_a_name_left_out_says_why_in_the_marginal_utilities() -> None:
    p = problem(10, 6, max_names=3)
    found = integer.solve(p)
    assert found.parts is not None
    total = found.parts.alpha + found.parts.risk + found.parts.cost + found.parts.constraint
    assert np.abs(total).max() < 1e-6


def test_expected_shortfall_with_names_is_a_linear_program_by_scenarios() -> None:
    rng = np.random.default_rng(3)
    past = rng.standard_normal((60, 6)) * rng.uniform(0.005, 0.02, 6)
    p = problem(6, 3, objective_kind="cvar", scenarios=past, cvar_level=0.9, max_names=3)
    found = integer.solve(p)
    w, level = cp.Variable(6), cp.Variable()
    tail = level + cp.sum(cp.pos(-past @ w - level)) / (0.1 * 60)
    z = norm.pdf(norm.ppf(0.9)) / 0.1
    penalty = 0.5 * p.risk_aversion * p.horizon * cp.square(cp.pos(tail) / z)
    best = -np.inf
    for out in itertools.combinations(range(6), 3):
        rules = [cp.sum(w) == 1, w >= 0, w <= 0.6, w[list(out)] == 0]
        cost = p.kappa * 0.0005 * cp.sum(w)
        best = max(best, cp.Problem(cp.Maximize(-penalty - cost), rules).solve(solver=cp.CLARABEL))
    assert found.status == "optimal"
    assert found.objective == pytest.approx(float(best), abs=found.gap + 1e-9)
    assert found.gap <= 1.01 * integer.GAP * abs(found.objective)


def test_the_largest_sharpe_ratio_with_few_names_is_that_of_brute_force() -> None:
    p = problem(6, 3, objective_kind="max_sharpe", max_names=2, cost=0.0)
    found = integer.solve(p)
    best = 0.0
    for pair in itertools.combinations(range(6), 2):
        for a in np.linspace(0.4, 0.6, 201):
            w = np.zeros(6)
            w[list(pair)] = a, 1 - a
            best = max(best, p.objective(w))
    assert found.status == "optimal"
    assert found.objective >= best - 1e-9
    assert found.objective + found.gap >= best


def test_another_objective_is_tracked_and_its_gap_is_to_its_answer_without_whole_numbers() -> None:
    p = problem(6, 3, objective_kind="risk_budget", lot=np.full(6, 0.013), upper=1.0)
    loose = optimization.optimise(replace(p, lot=None))
    found = integer.solve(p)
    assert found.status == "optimal"
    assert "Tracks the answer without whole numbers" in found.message
    assert found.objective + found.gap == pytest.approx(loose.objective, abs=1e-6)
    assert np.abs(found.weights - loose.weights).max() < 0.013


def test_needed_is_whether_there_are_whole_numbers() -> None:
    p = problem(3, 1)
    assert not integer.needed(p)
    for one in ({"max_names": 2}, {"min_names": 2}, {"min_holding": 0.1}, {"min_trade": 0.1}):
        assert integer.needed(replace(p, **one))  # type: ignore[arg-type]
    assert integer.needed(replace(p, lot=np.full(3, 0.01)))


def test_a_solver_that_dies_is_a_failed_answer_that_says_how(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Dying(milp.Child):
        def relaxed(self) -> milp.Outcome:
            os.kill(self.process.pid, signal.SIGKILL)
            return super().relaxed()

    monkeypatch.setattr(milp, "Child", Dying)
    p = problem(4, 1, max_names=2)
    found = integer.solve(p)
    assert found.status == "failed"
    assert "ended by signal 9" in found.message
    assert np.array_equal(found.weights, p.w0)


@pytest.mark.parametrize(("method", "turn"), [("relaxed", 0), ("solve", 0), ("solve", 1)])
@pytest.mark.parametrize("limit", [{"max_names": 3}, {"max_names": 3, "max_volatility": 0.2}])
def test_a_solver_that_falsely_says_infeasible_is_not_believed(
    method: str, turn: int, limit: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Lying(milp.Child):
        """The first one calls the program infeasible once, with the bound that HiGHS gives then."""

        made = 0

        def __init__(self) -> None:
            super().__init__()
            self.first, self.asked = Lying.made == 0, {"relaxed": 0, "solve": 0}
            Lying.made += 1

        def _outcome(self, name: str, arguments: tuple[object, ...]) -> milp.Outcome:
            out = super()._outcome(name, arguments)
            self.asked[name] += 1
            if self.first and name == method and self.asked[name] == turn + 1:
                return milp.Outcome("infeasible", None, np.inf, np.inf)
            return out

    p = problem(8, 11, **limit)
    honest = integer.solve(p)
    monkeypatch.setattr(milp, "Child", Lying)
    found = integer.solve(p)
    assert Lying.made > (0 if turn else 1)
    assert honest.status == found.status == "optimal"
    assert found.violation <= 1e-8
    assert found.objective <= honest.objective + honest.gap + 1e-12
    assert found.objective + found.gap >= honest.objective - 1e-12


def test_infeasible_that_nothing_confirms_is_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    class Lost(milp.Child):
        made = 0

        def __init__(self) -> None:
            super().__init__()
            self.word = "infeasible" if Lost.made == 0 else "limit"
            Lost.made += 1

        def _outcome(self, name: str, arguments: tuple[object, ...]) -> milp.Outcome:
            out = super()._outcome(name, arguments)
            return out if name == "relaxed" else milp.Outcome(self.word, None, np.inf, -np.inf)

    monkeypatch.setattr(milp, "Child", Lost)
    found = integer.solve(problem(8, 11, max_names=3))
    assert found.status == "failed"
    assert "did not confirm" in found.message


def test_what_the_child_cannot_answer_is_said() -> None:
    with milp.Child() as child, pytest.raises(ChildError, match="AttributeError"):
        child._call("nothing")


def test_the_childs_program_gives_what_the_same_process_gives() -> None:
    cost, low, high = np.array([-3.0, -2.0]), np.zeros(2), np.full(2, 10.0)
    whole = np.array([True, True])
    rows = (
        np.array([-np.inf]), np.array([7.5]), np.array([0]), np.array([0, 1]), np.array([2.0, 1.5]),
    )  # fmt: skip
    here = milp.Session()
    here.load(cost, 0.0, low, high, whole, rows)
    with milp.Child() as child:
        child.load(cost, 0.0, low, high, whole, rows)
        there = child.solve(100, 0.0)
    mine = here.solve(100, 0.0)
    assert mine.x is not None
    assert there.x is not None
    # 2x + 1.5y ≤ 7.5: (3, 1) gives 11, better than (1, 3): 9, (2, 2): 10 and (0, 5): 10
    assert there.x.tolist() == mine.x.tolist() == [3.0, 1.0]
    assert there.objective == mine.objective == -11.0


def test_shorts_capped_beside_a_name_that_is_only_long_agree_with_brute_force() -> None:
    """Its weight stands twice in the row of shorts, and HiGHS takes no row in which a column is twice."""
    lower = np.full(5, -0.3)
    lower[2] = 0.05
    p = problem(5, 4, max_names=4, max_short=0.2, max_gross=1.4, borrow=np.full(5, 0.05))
    p = replace(p, lower=lower)
    m = integer.mixed.build(p, None)
    _, _, start, column, _ = integer._csr(m)
    ends = np.append(start[1:], len(column))
    assert all(len(set(column[a:b])) == b - a for a, b in zip(start, ends, strict=True))
    found = integer.solve(p)
    assert found.status == "optimal"
    best = -np.inf
    for out in range(5):
        low, high = p.lower.copy(), p.upper.copy()
        low[out], high[out] = min(low[out], 0.0), 0.0
        if out == 2:
            continue
        low[out] = 0.0
        rest = optimization.optimise(replace(p, lower=low, upper=high, max_names=None))
        best = max(best, rest.objective)
    assert found.objective == pytest.approx(best, abs=found.gap + 1e-9)
    assert found.gap <= 1.01 * integer.GAP * max(abs(best), 1e-3)


def test_rows_that_the_solver_refuses_are_not_lost_in_silence() -> None:
    session = milp.Session()
    none = (np.empty(0), np.empty(0), np.empty(0, int), np.empty(0, int), np.empty(0))
    session.load(np.ones(2), 0.0, np.zeros(2), np.ones(2), np.zeros(2, bool), none)
    twice = (np.ones(1), np.ones(1), np.zeros(1, int), np.zeros(2, int), np.ones(2))
    with pytest.raises(ValueError, match="1 rows were refused"):
        session.add(*twice)
