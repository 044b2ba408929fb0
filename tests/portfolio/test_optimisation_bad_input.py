"""What a solver must not see, and what it answers at the edges of sense."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from portfolio_problems import rich, risk, scenarios

from wealthos_pipeline.core.errors import PortfolioError
from wealthos_pipeline.portfolio.optimization import optimise
from wealthos_pipeline.portfolio.problem import Exposure, Group, Problem, TaxLots, TradeCap

B, F, D = risk(4, 2, 0)
NAN = np.array([0.1, np.nan, 0.1, 0.1])


def faulty(**changes: Any) -> str:
    with pytest.raises(PortfolioError) as caught:
        optimise(Problem.simple(B, F, D, **changes))
    return str(caught.value)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"impact": NAN}, "impact is not finite for x001 (1 in all)"),
        ({"impact": np.full(4, -1.0)}, "impact is negative for x000, x001, x002, x003 (4 in all)"),
        ({"impact_exponent": 0.0}, "impact_exponent is 0.0"),
        ({"borrow": np.zeros(3)}, "borrow has shape (3,), expected (4,)"),
        ({"max_volatility": 0.0}, "max_volatility is 0.0, expected a positive number"),
        ({"max_tracking_error": float("nan")}, "max_tracking_error is nan"),
        ({"max_gross": -1.0}, "max_gross is -1.0"),
        ({"max_short": -0.1}, "max_short is -0.1, expected a number of at least 0"),
        ({"max_turnover": float("inf")}, "max_turnover is inf"),
        ({"max_names": 0}, "max_names is 0"),
        ({"min_holding": 0.0}, "min_holding is 0.0"),
        ({"lot": -np.ones(4)}, "lot is negative"),
        ({"cvar_level": 1.0}, "cvar_level is 1.0"),
        ({"objective_kind": "cvar"}, "the objective cvar needs scenarios"),
        ({"objective_kind": "hrp"}, "the objective hrp needs scenarios"),
        ({"scenarios": np.full((5, 4), np.inf)}, "scenarios are not finite for x000"),
        ({"scenarios": np.zeros((5, 3))}, "scenarios have shape (5, 3), expected (sessions, 4)"),
        ({"objective_kind": "risk_budget", "risk_share": -np.ones(4)}, "risk_share is negative"),
        ({"objective_kind": "risk_budget", "budget": 0.0}, "budget is 0.0, expected above 0"),
        ({"objective_kind": "equal_weight"}, "a rule, 1/N, and not solved for"),
        ({"exposures": (Exposure("beta", "beta", NAN, None, 1.0),)}, "beta: loadings are not finite for x001"),
        ({"exposures": (Exposure("size", "exposures", np.ones(2)),)}, "size: loadings have shape (2,)"),
        ({"groups": (Group("group a", "group", np.ones(2, dtype=bool)),)}, "group a: members have shape (2,)"),
        ({"trade_caps": (TradeCap("adv", "x", -np.ones(4)),)}, "adv: caps are negative or NaN"),
        ({"fixed_why": ("",)}, "fixed_why has 1 entries"),
        ({"benchmark": NAN}, "benchmark is not finite"),
        ({"d": -D}, "d holds a negative volatility"),
        ({"F": np.array([[1.0, 0.5], [0.0, 1.0]])}, "F is not symmetric"),
        ({"lower": 0.5, "upper": 0.2}, "x000: lower 0.5 is above upper 0.2"),
        ({"risk_aversion": 0.0}, "risk_aversion is 0.0"),
    ],
)  # fmt: skip
def test_every_fault_is_named(changes: dict[str, Any], words: str) -> None:
    if "d" in changes or "F" in changes:
        p = replace(Problem.simple(B, F, D), **changes)
        with pytest.raises(PortfolioError) as caught:
            optimise(p)
        assert words in str(caught.value)
    else:
        assert words in faulty(**changes)


def test_all_faults_are_listed_at_once() -> None:
    text = faulty(
        impact_exponent=2.0, max_gross=-1.0, max_names=0, cost=-1.0, objective_kind="cvar",
        horizon=0,
    )  # fmt: skip
    for part in ("impact_exponent", "max_gross", "max_names", "cost", "scenarios", "horizon"):
        assert part in text


def test_tax_lots_that_make_no_sense_are_named() -> None:
    one = np.ones(1)
    lots = TaxLots(np.array([9]), -one, np.array([np.nan]), one, True)
    text = faulty(tax=lots)
    for part in ("rows outside the 4 names", "weight is not above 0", "gain is not finite"):
        assert part in text


QUADRATIC = ("mean_variance", "min_variance", "tracking_error", "black_litterman")


@pytest.mark.parametrize(
    "kind", [*QUADRATIC, "max_sharpe", "risk_budget", "cvar", "hrp", "herc", "nco"]
)
def test_one_asset_takes_the_budget(kind: str) -> None:
    p = Problem.simple(
        np.full((1, 1), 0.01), np.eye(1), np.array([0.01]), alpha=np.array([0.01]),
        objective_kind=kind, scenarios=np.random.default_rng(0).normal(size=(30, 1)) * 0.01,
    )  # fmt: skip
    found = optimise(p)
    assert found.status in ("optimal", "rule"), found.message
    np.testing.assert_allclose(found.weights, [1.0], atol=1e-12)


@pytest.mark.parametrize("kind", [*QUADRATIC, "risk_budget", "cvar"])
def test_names_that_are_all_alike_share_alike(kind: str) -> None:
    n = 6
    p = Problem.simple(
        np.full((n, 1), 0.01), np.eye(1), np.full(n, 0.01), upper=0.9, objective_kind=kind
    )
    same = np.random.default_rng(0).normal(size=(40, 1)) * 0.01 * np.ones((1, n))
    found = optimise(replace(p, scenarios=same))
    assert found.status == "optimal", found.message
    assert found.violation <= 1e-8
    if kind != "cvar":  # with equal scenarios every portfolio has the same tail
        np.testing.assert_allclose(found.weights, 1 / n, atol=1e-6)


@pytest.mark.parametrize("kind", [*QUADRATIC, "cvar"])
def test_no_risk_at_all_is_an_answer(kind: str) -> None:
    p = Problem.simple(
        np.zeros((5, 1)), np.zeros((1, 1)), np.zeros(5), objective_kind=kind, upper=0.5,
        scenarios=np.zeros((20, 5)),
    )  # fmt: skip
    found = optimise(p)
    assert found.status == "optimal", found.message
    assert found.weights.sum() == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize("kind", ["max_sharpe", "risk_budget"])
def test_without_risk_there_is_no_ratio_to_it(kind: str) -> None:
    p = Problem.simple(
        np.zeros((5, 1)), np.zeros((1, 1)), np.zeros(5), objective_kind=kind, alpha=np.full(5, 0.01)
    )
    found = optimise(p)
    assert found.status == "failed"
    assert "has no risk in the risk model" in found.message


def test_a_singular_covariance_has_a_certified_answer_for_every_objective() -> None:
    B = np.array([[0.01], [0.01], [0.02], [0.005]])
    for kind in (*QUADRATIC, "max_sharpe", "risk_budget"):
        p = Problem.simple(
            B, np.eye(1), np.zeros(4), alpha=np.array([0.01, 0.02, 0.02, 0.01]),
            upper=0.6, objective_kind=kind,
        )  # fmt: skip
        found = optimise(p)
        assert found.status == "optimal", (kind, found.message)
        assert found.violation <= 1e-8


def test_a_benchmark_with_names_that_cannot_be_held_counts_in_active_risk() -> None:
    # x003 is in the benchmark and not in the universe: fixed at 0
    benchmark = np.array([0.3, 0.2, 0.1, 0.4])
    fixed = np.array([np.nan, np.nan, np.nan, 0.0])
    p = Problem.simple(
        B, F, D, benchmark=benchmark, fixed=fixed, fixed_why=("", "", "", "not in the universe"),
        objective_kind="tracking_error",
    )  # fmt: skip
    found = optimise(p)
    assert found.status == "optimal"
    assert found.weights[3] == 0.0
    active = p.volatility(found.weights - benchmark)
    assert active > 0.01
    capped = optimise(replace(p, max_tracking_error=0.9 * active, objective_kind="mean_variance"))
    assert capped.status == "infeasible"
    assert "Tracking error" in " ".join(capped.conflicts)


@pytest.mark.parametrize("kind", [*QUADRATIC, "max_sharpe", "risk_budget", "cvar", "hrp"])
def test_no_free_names_is_their_own_answer(kind: str) -> None:
    fixed = np.array([0.25, 0.75, 0.0, 0.0])
    p = Problem.simple(
        B, F, D, fixed=fixed, w0=fixed, fixed_why=("x",) * 4, objective_kind=kind,
        alpha=np.full(4, 0.01), scenarios=np.random.default_rng(0).normal(size=(30, 4)) * 0.01,
    )  # fmt: skip
    found = optimise(p)
    assert found.status in ("optimal", "rule"), found.message
    np.testing.assert_array_equal(found.weights, fixed)
    wrong = optimise(replace(p, budget=0.9))
    assert wrong.status == "infeasible"


@pytest.mark.parametrize("kind", ["max_sharpe", "risk_budget", "cvar", "tracking_error"])
def test_contradictions_are_explained_for_every_objective(kind: str) -> None:
    p = rich(20, 1, objective_kind=kind, upper=0.25, max_turnover=None, max_volatility=0.05)
    found = optimise(replace(p, scenarios=scenarios(p)))
    assert found.status == "infeasible", found.message
    assert any("Volatility" in words for words in found.conflicts)
    np.testing.assert_array_equal(found.weights, p.w0)


def test_dollar_neutral_books_have_a_budget_of_zero() -> None:
    p = rich(20, 1, lower=-0.1, upper=0.1, budget=0.0, max_turnover=None, groups=(), max_gross=1.0)
    p = replace(p, w0=np.zeros(20), fixed=np.full(20, np.nan), fixed_why=("",) * 20)
    found = optimise(p)
    assert found.status == "optimal", found.message
    assert found.weights.sum() == pytest.approx(0.0, abs=1e-12)
    assert np.abs(found.weights).sum() <= 1.0 + 1e-8


@pytest.mark.parametrize("kind", ["cvar", "risk_budget", "max_sharpe"])
def test_limits_that_hardly_contradict_each_other_are_infeasible_and_not_a_failure(
    kind: str,
) -> None:
    p = rich(20, 2, objective_kind="min_variance", upper=0.25, max_turnover=None)
    least = p.volatility(optimise(p).weights)
    p = replace(p, objective_kind=kind, alpha=np.abs(p.alpha), scenarios=scenarios(p))
    for share, status in ((0.97, "infeasible"), (1.03, "optimal")):
        found = optimise(replace(p, max_volatility=share * least), explain=False)
        assert found.status == status, found.message


@pytest.mark.parametrize("kind", ["mean_variance", "cvar", "max_sharpe", "risk_budget"])
@pytest.mark.parametrize("hair", [2e-4, 1e-5, 2e-6])
def test_a_turnover_too_small_by_a_hair_is_infeasible(kind: str, hair: float) -> None:
    """Half of the money must move to the other names."""
    p = rich(20, 2, objective_kind=kind, upper=0.2, max_volatility=0.9)
    old = np.arange(20) < 10
    p = replace(
        p, alpha=np.abs(p.alpha), w0=np.where(old, 0.1, 0.0), scenarios=scenarios(p),
        fixed=np.full(20, np.nan), fixed_why=("",) * 20,
        groups=(Group("group new", "group", ~old, 0.5, None),),
    )  # fmt: skip
    found = optimise(replace(p, max_turnover=0.5 - hair))
    assert found.status == "infeasible", found.message
    assert any("Turnover" in words for words in found.conflicts)


def test_what_is_plain_to_see_is_told_with_the_least_change_that_is_enough() -> None:
    """Twenty names of 4 % come to 80 %; beside the budget the first ten must hold at least 45 %."""
    p = rich(20, 2, upper=0.04, max_turnover=None)
    few = np.arange(20) < 10
    p = replace(p, groups=(Group("group few", "group", few, None, 0.35),))
    found = optimise(p)
    assert found.status == "infeasible"
    said = " ".join(found.conflicts)
    assert "or more" not in said
    assert "least change that is enough" in said
    assert "or more" in " ".join(optimise(p, explain=False).conflicts)
