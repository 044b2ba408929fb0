"""Every objective against a computation of its own: scipy's SLSQP, closed forms, skfolio's estimators."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from portfolio_problems import rich, risk, scenarios

from wealthos_pipeline.core.errors import PortfolioError
from wealthos_pipeline.core.mandate import View
from wealthos_pipeline.portfolio import black_litterman, objectives
from wealthos_pipeline.portfolio.optimization import optimise
from wealthos_pipeline.portfolio.problem import Group, Problem, TradeCap

FREE: dict[str, Any] = {"max_turnover": None, "groups": ()}


def plain(n: int, seed: int, **changes: Any) -> Problem:
    """Nothing held, nothing fixed, no costs: a box and the budget."""
    B, F, d = risk(n, 3, seed)
    alpha = np.abs(np.random.default_rng(seed).normal(size=n)) * 0.004
    return Problem.simple(B, F, d, **{"alpha": alpha, "upper": 1.0, **changes})


def by_slsqp(p: Problem, value: Any, start: np.ndarray | None = None) -> float:
    """Largest ``value(w)`` over budget and box, from several starts."""
    from scipy.optimize import minimize

    n = len(p.ids)
    rng = np.random.default_rng(0)
    best = -np.inf
    starts = [np.full(n, 1 / n) * p.budget, *(p.budget * rng.dirichlet(np.ones(n), 4))]
    for w in starts if start is None else [start, *starts]:
        found = minimize(
            lambda w: -1e3 * value(w), np.clip(w, p.lower + 1e-9, p.upper), method="SLSQP",
            bounds=list(zip(p.lower, p.upper, strict=True)),
            constraints={"type": "eq", "fun": lambda w: w.sum() - p.budget},
            options={"maxiter": 1000, "ftol": 1e-14},
        )  # fmt: skip
        if abs(found.x.sum() - p.budget) < 1e-7:
            best = max(best, value(found.x))
    return float(best)


@pytest.mark.parametrize("upper", [1.0, 0.2])
def test_maximum_sharpe_is_the_largest_ratio(upper: float) -> None:
    p = plain(8, 3, objective_kind="max_sharpe", upper=upper)
    found = optimise(p)
    sigma = p.B @ p.F @ p.B.T + np.diag(p.d**2)

    def ratio(w: np.ndarray) -> float:
        return float(p.alpha @ w) / p.horizon / float(np.sqrt(w @ sigma @ w)) * 252**0.5

    assert found.status == "optimal", found.message
    assert found.objective == pytest.approx(ratio(found.weights), rel=1e-12)
    assert found.objective == pytest.approx(by_slsqp(p, ratio), rel=1e-7)


def test_maximum_sharpe_without_a_box_is_the_tangency_portfolio() -> None:
    p = plain(10, 4, objective_kind="max_sharpe", lower=-9.0, upper=9.0)
    tangent = np.linalg.solve(p.B @ p.F @ p.B.T + np.diag(p.d**2), p.alpha)
    assert tangent.sum() > 0
    np.testing.assert_allclose(optimise(p).weights, tangent / tangent.sum(), atol=2e-6)


def test_maximum_sharpe_counts_costs_and_limits() -> None:
    p = rich(12, 3, objective_kind="max_sharpe", upper=0.4, max_turnover=None, groups=())
    p = replace(p, alpha=np.abs(p.alpha), impact=np.full(12, 0.01))
    found = optimise(p)

    def ratio(w: np.ndarray) -> float:
        moved = np.abs(w - p.w0)
        cost = p.kappa * float((p.cost * moved + 0.01 * moved**1.5).sum())
        return (float(p.alpha @ w) - cost) / p.horizon / p.volatility(w) * 252

    boxed = replace(
        p,
        lower=np.where(p.free, p.lower, np.nan_to_num(p.fixed)),
        upper=np.where(p.free, p.upper, np.nan_to_num(p.fixed)),
    )
    assert found.objective == pytest.approx(ratio(found.weights), rel=1e-9)
    best = by_slsqp(boxed, ratio, found.weights)
    assert found.objective == pytest.approx(best, rel=1e-6)


def test_maximum_sharpe_without_a_gain_is_said_and_not_answered() -> None:
    none = optimise(plain(5, 1, objective_kind="max_sharpe", alpha=np.zeros(5)))
    assert (none.status, "every alpha is 0" in none.message) == ("failed", True)
    p = plain(5, 1, objective_kind="max_sharpe", cost=1.0)
    dear = optimise(replace(p, holding_period=1.0))
    assert dear.status == "failed"
    assert "no portfolio within the limits has an expected excess return above 0" in dear.message
    assert "min_variance" in dear.message
    np.testing.assert_array_equal(dear.weights, p.w0)


def risk_shares(p: Problem, w: np.ndarray) -> np.ndarray:
    sigma = p.covariance_times(w)
    return w * sigma / float(w @ sigma)


@pytest.mark.parametrize("seed", range(3))
def test_risk_budgets_are_met(seed: int) -> None:
    share = np.random.default_rng(seed).dirichlet(np.full(15, 3.0))
    p = plain(15, seed, objective_kind="risk_budget", risk_share=share)
    found = optimise(p)
    assert found.status == "optimal", found.message
    np.testing.assert_allclose(risk_shares(p, found.weights), share, atol=1e-9)


def test_equal_risk_agrees_with_skfolio() -> None:
    from skfolio import RiskMeasure
    from skfolio.optimization import RiskBudgeting

    p = plain(10, 2, objective_kind="risk_budget")
    R = scenarios(p, 400)
    values, vectors = np.linalg.eigh(np.cov(R.T))
    p = replace(p, B=vectors * np.sqrt(values), F=np.eye(10), d=np.zeros(10))
    theirs = RiskBudgeting(risk_measure=RiskMeasure.VARIANCE).fit(R).weights_
    np.testing.assert_allclose(optimise(p).weights, theirs, atol=2e-5)


def test_a_bound_risk_budget_is_the_best_that_limits_allow() -> None:
    p = plain(8, 5, objective_kind="risk_budget", upper=0.14)
    found = optimise(p)
    assert (found.weights >= 0.14 - 1e-12).any()

    def value(w: np.ndarray) -> float:
        w = np.maximum(w, 1e-9)
        return float(np.log(w).mean() - np.log(p.volatility(w)))

    assert found.objective == pytest.approx(value(found.weights), rel=1e-12)
    assert found.objective == pytest.approx(by_slsqp(p, value), abs=1e-7)
    # a share misses its budget by the weight times what binds the name
    assert found.parts is not None
    missed = 1 / 8 - risk_shares(p, found.weights)
    np.testing.assert_allclose(missed, -found.weights * found.parts.constraint, atol=1e-6)


def test_a_risk_budget_for_a_name_that_cannot_be_held_is_refused() -> None:
    p = plain(4, 0, objective_kind="risk_budget")
    p = replace(p, upper=np.array([1.0, 1.0, 1.0, 0.0]))
    found = optimise(p)
    assert found.status == "failed"
    assert "x003" in found.message
    share = np.array([0.5, 0.3, 0.2, 0.0])
    assert optimise(replace(p, risk_share=share)).status == "optimal"


def test_tracking_error_is_zero_where_the_benchmark_may_be_held() -> None:
    B, F, d = risk(9, 3, 1)
    benchmark = np.random.default_rng(1).dirichlet(np.ones(9))
    p = Problem.simple(B, F, d, benchmark=benchmark, objective_kind="tracking_error")
    np.testing.assert_allclose(optimise(p).weights, benchmark, atol=1e-6)


def test_tracking_error_is_the_smallest_active_variance() -> None:
    p = plain(8, 6, objective_kind="tracking_error", upper=0.2)
    p = replace(p, benchmark=np.random.default_rng(1).dirichlet(np.ones(8)))
    found = optimise(p)

    def value(w: np.ndarray) -> float:
        return -0.5 * 5.0 * 20 * (p.volatility(w - p.benchmark) ** 2) / 252

    assert found.objective == pytest.approx(value(found.weights), rel=1e-9)
    assert found.objective == pytest.approx(by_slsqp(p, value), rel=1e-5, abs=1e-10)


def test_minimum_variance_reads_no_alpha() -> None:
    p = rich(seed=1, objective_kind="min_variance")
    a, b = optimise(p), optimise(replace(p, alpha=np.zeros(40), objective_kind="mean_variance"))
    assert a.weights.tobytes() == b.weights.tobytes()


@pytest.mark.parametrize("level", [0.9, 0.95])
def test_cvar_is_the_smallest_mean_of_the_worst_losses(level: float) -> None:
    from scipy.optimize import linprog

    p = plain(10, 7, objective_kind="cvar", upper=0.4, cvar_level=level)
    R = scenarios(p, 70)
    found = optimise(replace(p, scenarios=R))
    S, n = R.shape
    # Rockafellar & Uryasev as a linear program: w, tau, excess
    cost = np.concatenate([np.zeros(n), [1.0], np.full(S, 1 / ((1 - level) * S))])
    A = np.hstack([-R, -np.ones((S, 1)), -np.eye(S)])
    bounds = [(0, 0.4)] * n + [(None, None)] + [(0, None)] * S
    sums = np.concatenate([np.ones(n), np.zeros(S + 1)])[None]
    best = linprog(cost, A, np.zeros(S), sums, [1.0], bounds, method="highs")
    ours = objectives.conditional_value_at_risk(R @ found.weights, level)
    assert found.status == "optimal", found.message
    assert ours == pytest.approx(best.fun, rel=1e-6)


def test_cvar_agrees_with_skfolio() -> None:
    from skfolio import RiskMeasure
    from skfolio.optimization import MeanRisk

    p = plain(6, 1, objective_kind="cvar")
    R = scenarios(p, 200)
    theirs = MeanRisk(risk_measure=RiskMeasure.CVAR, cvar_beta=0.95).fit(R).weights_
    ours = optimise(replace(p, scenarios=R)).weights
    a, b = (objectives.conditional_value_at_risk(R @ w, 0.95) for w in (ours, theirs))
    assert a == pytest.approx(b, rel=1e-6)


def test_cvar_of_normal_returns_weighs_what_variance_weighs() -> None:
    p = plain(4, 1, objective_kind="cvar")
    rng = np.random.default_rng(0)
    R = rng.normal(size=(200_000, 4)) * 0.01
    w = np.full(4, 0.25)
    variance = float((R @ w).var())
    value = replace(p, scenarios=R).objective(w)
    assert value == pytest.approx(-0.5 * 5.0 * 20 * variance, rel=0.02)


def test_a_tail_that_is_no_whole_number_of_scenarios_counts_the_last_in_part() -> None:
    R = -np.array([5.0, 4.0, 3.0, 2.0, 1.0])
    got = objectives.conditional_value_at_risk(R, 0.7)  # 1.5 scenarios
    assert got == pytest.approx((5.0 + 0.5 * 4.0) / 1.5)


@pytest.mark.parametrize("kind", ["hrp", "herc", "nco"])
def test_hierarchical_rules_are_those_of_skfolio(kind: str) -> None:
    from skfolio import optimization as sk

    p = plain(10, 3, objective_kind=kind)
    R = scenarios(p, 250)
    made = {
        "hrp": sk.HierarchicalRiskParity,
        "herc": sk.HierarchicalEqualRiskContribution,
        "nco": sk.NestedClustersOptimization,
    }[kind]
    if kind == "nco":
        theirs = made(inner_estimator=sk.MeanRisk(), outer_estimator=sk.MeanRisk()).fit(R).weights_
    else:
        theirs = made().fit(R).weights_
    found = optimise(replace(p, scenarios=R))
    assert found.status == "rule"
    np.testing.assert_allclose(found.weights, theirs, atol=1e-6)
    again = optimise(replace(p, scenarios=R))
    assert found.weights.tobytes() == again.weights.tobytes()


@pytest.mark.parametrize("kind", ["hrp", "herc", "nco"])
def test_hierarchical_rules_keep_budget_box_and_what_is_fixed(kind: str) -> None:
    p = rich(12, 1, objective_kind=kind, upper=0.2, lower=0.02, **FREE)
    fixed = np.where(np.arange(12) == 3, 0.15, np.nan)
    why = tuple("kept" if i == 3 else "" for i in range(12))
    p = replace(p, fixed=fixed, fixed_why=why, budget=0.95)
    found = optimise(replace(p, scenarios=scenarios(p, 250)))
    assert found.status == "rule", found.message
    assert found.violation <= 1e-8
    assert found.weights.sum() == pytest.approx(0.95, abs=1e-12)
    assert found.weights[3] == 0.15
    assert (found.weights[p.free] >= 0.02 - 1e-9).all()
    assert (found.weights[p.free] <= 0.2 + 1e-9).all()


def test_hierarchical_rules_name_the_limits_that_they_do_not_know() -> None:
    p = rich(
        12,
        1,
        objective_kind="hrp",
        upper=0.5,
        groups=(Group("group low", "group", np.arange(12) < 5, None, 0.9),),
        max_turnover=0.9,
        max_volatility=0.9,
        trade_caps=(
            TradeCap("adv", "Trades of at most 5 % of a day's dollar volume", np.ones(12)),
        ),
    )
    found = optimise(replace(p, scenarios=scenarios(p)))
    assert found.status == "failed"
    for words in (
        "Turnover of at most",
        "Group low: at most",
        "Volatility of at most",
        "Trades of at most",
    ):
        assert words in found.message


VIEWS = (View(view="x000 - x001 == 0.05", confidence=0.6), View(view="x003 == 0.2", confidence=0.3))


def test_black_litterman_is_the_posterior_mean() -> None:
    B, F, d = risk(6, 3, 2)
    benchmark = np.full(6, 1 / 6)
    ids = tuple(f"x{i:03d}" for i in range(6))
    got = black_litterman.expected_returns(ids, (B, F, d), VIEWS, benchmark, 3.0, 20)
    sigma = 20 * (B @ F @ B.T + np.diag(d**2))
    prior = 3.0 * sigma @ benchmark
    P = np.zeros((2, 6))
    P[0, 0], P[0, 1], P[1, 3] = 1.0, -1.0, 1.0
    view = np.array([0.05, 0.2]) * 20 / 252
    for tau in (0.05, 1.0):  # the mean does not depend on it
        omega = np.diag(np.diag(P @ (tau * sigma) @ P.T) * (1 / np.array([0.6, 0.3]) - 1))
        gain = tau * sigma @ P.T @ np.linalg.inv(tau * P @ sigma @ P.T + omega)
        np.testing.assert_allclose(got, prior + gain @ (view - P @ prior), rtol=1e-9)


def test_without_views_black_litterman_holds_the_benchmark() -> None:
    B, F, d = risk(6, 3, 2)
    benchmark = np.random.default_rng(2).dirichlet(np.ones(6))
    p = Problem.simple(B, F, d, benchmark=benchmark, objective_kind="black_litterman")
    p = black_litterman.posterior(p, (), p.ids)
    np.testing.assert_allclose(optimise(p).weights, benchmark, atol=1e-6)
    bullish = black_litterman.posterior(p, (View(view="x002 == 0.9", confidence=0.9),), p.ids)
    assert optimise(bullish).weights[2] > benchmark[2] + 0.01


def test_views_that_cannot_be_read_are_listed() -> None:
    p = plain(4, 1, objective_kind="black_litterman")
    bad = (View(view="ZZZ == 0.05"), View(view="x000 == 0.05"), View(view="x001 is good"))
    with pytest.raises(PortfolioError) as caught:
        black_litterman.posterior(p, bad, p.ids)
    assert "ZZZ == 0.05" in str(caught.value)
    assert "x001 is good" in str(caught.value)
    assert "'x000 == 0.05'" not in str(caught.value)
