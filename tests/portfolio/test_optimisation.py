"""The optimiser against closed forms, another solver and its own optimality conditions."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from portfolio_problems import rich, risk

from wealthos_pipeline.core.errors import PortfolioError
from wealthos_pipeline.portfolio import conic
from wealthos_pipeline.portfolio.optimization import Group, Problem, optimise

ORACLE = (
    Path(__file__).resolve().parents[2].parent / "shared" / "oracles" / "or_library" / "INDTRACK1"
)


def capped(seed: int) -> Problem:
    """``rich`` with a volatility cap that binds and can be met."""
    p = rich(seed=seed)
    lowest = p.volatility(optimise(replace(p, risk_aversion=1e4)).weights)
    return replace(p, max_volatility=0.5 * (lowest + p.volatility(optimise(p).weights)))


def by_cvxpy(p: Problem) -> tuple[np.ndarray, float]:
    """The same problem written down plainly, with a dense covariance, in cvxpy."""
    import cvxpy as cp

    n = len(p.ids)
    w = cp.Variable(n)
    sigma = (p.B @ p.F @ p.B.T + np.diag(p.d**2)) * p.horizon
    value = (
        p.alpha @ w
        - 0.5 * p.risk_aversion * cp.quad_form(w, cp.psd_wrap(sigma))
        - p.kappa * p.cost @ cp.abs(w - p.w0)
    )
    free = p.free
    rules = [cp.sum(w) == p.budget, w[free] >= p.lower[free], w[free] <= p.upper[free]]
    rules += [w[~free] == p.fixed[~free]] if (~free).any() else []
    for g in p.groups:
        rules += [cp.sum(w[g.members]) <= g.upper] if g.upper is not None else []
        rules += [cp.sum(w[g.members]) >= g.lower] if g.lower is not None else []
    if p.max_turnover is not None:
        rules.append(cp.sum(cp.abs(w - p.w0)[free]) <= 2 * p.max_turnover)
    if p.max_volatility is not None:
        half = np.linalg.cholesky(sigma / p.horizon * 252)
        rules.append(cp.norm(half.T @ w) <= p.max_volatility)
    problem = cp.Problem(cp.Maximize(value * 1e3), rules)
    problem.solve(solver=cp.CLARABEL)
    return np.asarray(w.value), float(problem.value) / 1e3


def test_minimum_variance_of_uncorrelated_names_is_the_closed_form() -> None:
    d = np.array([0.01, 0.02, 0.04])
    p = Problem.simple(np.zeros((3, 1)), np.eye(1), d)
    found = optimise(p)
    np.testing.assert_allclose(found.weights, d**-2 / (d**-2).sum(), atol=1e-7)
    assert found.status == "optimal"


def test_unconstrained_long_short_minimum_variance_is_the_closed_form() -> None:
    B, F, d = risk(25, 4, 5)
    inverse = np.linalg.inv(B @ F @ B.T + np.diag(d**2))
    want = inverse.sum(axis=1) / inverse.sum()
    found = optimise(Problem.simple(B, F, d, lower=-5.0, upper=5.0))
    np.testing.assert_allclose(found.weights, want, atol=1e-6)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"capped": True},
        {"max_turnover": None, "lower": -0.05},
        {"groups": (Group("low", "group", np.arange(40) < 10, 0.35, 0.4),)},
    ],
    ids=["plain", "volatility cap", "long-short", "group floor"],
)
def test_agrees_with_a_direct_formulation(seed: int, changes: dict[str, Any]) -> None:
    p = capped(seed) if "capped" in changes else rich(seed=seed, **changes)
    found = optimise(p)
    weights, value = by_cvxpy(p)
    assert found.status == "optimal", found.message
    assert found.objective == pytest.approx(value, abs=2e-9)
    assert found.objective >= value - 2e-9
    np.testing.assert_allclose(found.weights, weights, atol=2e-5)


@pytest.mark.parametrize("seed", range(5))
def test_certificate_and_optimality_conditions_hold(seed: int) -> None:
    p = capped(seed)
    found = optimise(p)
    assert found.status == "optimal", found.message
    assert found.violation <= 1e-8
    assert found.gap <= 1e-9
    parts = found.parts
    assert parts is not None
    assert "volatility" in parts.binding
    total = parts.alpha + parts.risk + parts.cost + parts.constraint
    np.testing.assert_allclose(total, 0.0, atol=1e-7)  # parts are around 1e-3
    np.testing.assert_allclose(sum(parts.binding.values())[p.free], parts.constraint[p.free])
    step = 1e-6  # the risk part is the derivative of the risk term
    for i in range(3):
        up = found.weights.copy()
        up[i] += step
        change = -(p.volatility(up) ** 2 - p.volatility(found.weights) ** 2) / 252
        slope = 0.5 * p.risk_aversion * p.horizon * change / step
        assert parts.risk[i] == pytest.approx(slope, rel=1e-3, abs=1e-8)


def test_no_random_feasible_change_improves_the_answer() -> None:
    p = rich(seed=2, groups=(), max_turnover=None)
    found = optimise(p)
    rng = np.random.default_rng(0)
    free = np.flatnonzero(p.free)
    for _ in range(300):
        w = found.weights.copy()
        i, j = rng.choice(free, size=2, replace=False)
        move = min(rng.uniform(0, 0.01), w[i] - p.lower[i], p.upper[j] - w[j])
        w[i], w[j] = w[i] - move, w[j] + move
        assert p.objective(w) <= found.objective + 1e-10


def test_doubling_alphas_risk_aversion_and_costs_leaves_the_weights() -> None:
    p = rich(seed=1)
    twice = replace(p, alpha=2 * p.alpha, cost=2 * p.cost, risk_aversion=2 * p.risk_aversion)
    a, b = optimise(p), optimise(twice)
    assert a.weights.tobytes() == b.weights.tobytes()
    assert b.objective == pytest.approx(2 * a.objective, rel=1e-12)


def test_costs_keep_a_near_optimal_portfolio_still() -> None:
    B, F, d = risk(30, 4, 9)
    best = optimise(Problem.simple(B, F, d, upper=0.2)).weights
    rng = np.random.default_rng(1)
    near = np.where(best > 0.01, best * (1 + 0.02 * rng.normal(size=30)), 0.0)
    near /= near.sum()
    free_of_cost = optimise(Problem.simple(B, F, d, upper=0.2, w0=near))
    dear = optimise(Problem.simple(B, F, d, upper=0.2, w0=near, cost=50e-4))
    traded = np.abs(free_of_cost.weights - near)
    assert (traded[near > 0] > 1e-6).all()
    held = (near > 0) & (near <= 0.2)
    np.testing.assert_array_equal(dear.weights[held], near[held])


def test_the_answer_does_not_depend_on_earlier_solves_or_threads() -> None:
    from threadpoolctl import threadpool_limits

    first = optimise(rich(seed=3)).weights.tobytes()
    optimise(rich(seed=4))
    with threadpool_limits(2):
        assert optimise(rich(seed=3)).weights.tobytes() == first


def test_one_asset_and_identical_assets() -> None:
    one = optimise(Problem.simple(np.zeros((1, 0)), np.zeros((0, 0)), np.array([0.01])))
    assert one.weights.tolist() == [1.0]
    n = 8
    same = Problem.simple(np.full((n, 1), 0.01), np.eye(1), np.full(n, 0.01), upper=0.5)
    np.testing.assert_allclose(optimise(same).weights, 1 / n, atol=1e-6)


def test_singular_covariance_still_has_an_answer() -> None:
    B = np.array([[0.01], [0.01], [0.02]])
    p = Problem.simple(B, np.eye(1), np.zeros(3))
    found = optimise(p)
    assert found.status == "optimal", found.message
    assert found.weights[2] == pytest.approx(0.0, abs=1e-6)
    assert p.volatility(found.weights) == pytest.approx(0.01 * 252**0.5, rel=1e-6)
    flat = optimise(Problem.simple(np.zeros((4, 1)), np.zeros((1, 1)), np.zeros(4)))
    assert flat.status == "optimal"
    assert flat.weights.sum() == pytest.approx(1.0, abs=1e-9)


def test_only_frozen_names_is_their_own_answer() -> None:
    fixed = np.array([0.25, 0.75])
    p = Problem.simple(
        np.zeros((2, 1)), np.eye(1), np.full(2, 0.01), fixed=fixed, w0=fixed, fixed_why=("x", "x")
    )
    found = optimise(p)
    assert found.status == "optimal", found.message
    np.testing.assert_array_equal(found.weights, fixed)


def test_malformed_problems_are_refused_with_every_fault() -> None:
    B, F, d = risk(4, 2, 0)
    bad = Problem.simple(B, F, d, alpha=np.array([0.0, np.nan, 0.0, 0.0]), w0=np.zeros(3))
    with pytest.raises(PortfolioError) as caught:
        optimise(bad)
    assert "w0 has shape (3,)" in str(caught.value)
    assert "alpha is not finite for x001" in str(caught.value)
    worse = Problem.simple(B, -np.eye(2), d, cost=-1.0, budget=float("nan"))
    with pytest.raises(PortfolioError) as caught:
        optimise(worse)
    for part in ("cost is negative", "F is not positive semidefinite", "budget is nan"):
        assert part in str(caught.value)


class NativePanicError(BaseException):
    """What a panic of native code looks like: not an Exception."""


@pytest.mark.parametrize("error", [NativePanicError("index out of bounds"), ValueError("no")])
def test_a_crash_of_the_solver_is_a_failed_answer(
    error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*_: object) -> None:
        raise error

    p = capped(seed=0)
    monkeypatch.setattr(conic, "run_clarabel", crash)
    found = optimise(p)
    assert found.status == "failed"
    assert str(error) in found.message
    np.testing.assert_array_equal(found.weights, p.w0)


def test_an_answer_that_breaks_a_constraint_is_not_handed_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    solve = conic.run_clarabel

    def stalls(*args: Any) -> Any:
        answer = solve(*args)
        return replace(answer, status="MaxIterations", x=answer.x + 0.01)

    p = capped(seed=0)
    monkeypatch.setattr(conic, "run_clarabel", stalls)
    found = optimise(p)
    assert found.status == "failed"
    assert "MaxIterations" in found.message
    assert "largest violation" in found.message


def test_efficient_frontier_of_or_library_problem_1() -> None:
    if not ORACLE.is_dir():
        pytest.skip("the OR-Library oracle (../shared/oracles) is not on this machine")
    mean, sd = oracle_columns("return.csv")
    n = len(mean)
    rho = np.eye(n)
    with (ORACLE / "risk.csv").open() as file:
        for row in csv.reader(file):
            if row[0].strip().isdigit():
                i, j = int(row[0]) - 1, int(row[1]) - 1
                rho[i, j] = rho[j, i] = float(row[2])
    sigma = rho * np.outer(sd, sd)
    frontier_mean, frontier_var = oracle_columns("frontier.csv")
    order = np.argsort(frontier_mean)
    frontier_mean, frontier_var = frontier_mean[order], frontier_var[order]
    values, vectors = np.linalg.eigh(sigma)
    B, F = vectors, np.diag(np.maximum(values, 0.0))
    for gamma in (3.0, 10.0, 30.0, 100.0, 1000.0):
        p = Problem.simple(B, F, np.zeros(n), alpha=mean, risk_aversion=gamma, horizon=1)
        w = optimise(p).weights
        want = np.interp(w @ mean, frontier_mean, frontier_var)
        assert float(w @ sigma @ w) == pytest.approx(want, rel=2e-6)


def oracle_columns(name: str) -> tuple[np.ndarray, np.ndarray]:
    with (ORACLE / name).open() as file:
        rows = [r for r in csv.reader(file) if r and r[0].strip()[:1] in "-.0123456789"]
    table = np.array([[float(x) for x in r] for r in rows])
    return table[:, -2], table[:, -1]
