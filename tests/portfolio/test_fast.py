"""Plain problems by their own structure: the general solver finds the same answer and the same prices."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from wealthos_pipeline.portfolio import certificate, fast, native, structured
from wealthos_pipeline.portfolio.optimization import optimise
from wealthos_pipeline.portfolio.problem import Exposure, Group, Problem, TradeCap
from wealthos_pipeline.portfolio.reduced import reduce


def problem(seed: int, **changes: Any) -> Problem:
    """Everything that is plain: bands, active groups, a beta, caps on trades, frozen and leaving names."""
    r = np.random.default_rng(seed)
    n, k = 60, 6
    w0 = np.where(r.random(n) < 0.5, r.random(n), 0.0)
    w0 /= w0.sum()
    fixed, why = np.full(n, np.nan), [""] * n
    held = np.flatnonzero(w0)
    fixed[held[0]], why[held[0]] = w0[held[0]], "no bar on the day"
    fixed[held[1]], why[held[1]] = 0.0, "no longer in the universe"
    sector = np.arange(n) % 5
    loadings = 1.0 + 0.3 * r.normal(size=n)
    given: dict[str, Any] = {
        "alpha": 0.004 * r.normal(size=n),
        "w0": w0,
        "cost": 5e-4,
        "upper": 0.08,
        "groups": (
            *(Group(f"sector {s}", "sector_cap", sector == s, None, 0.3) for s in range(5)),
            Group("group small", "group", np.arange(n) < 9, -0.05, 0.05, active=True),
        ),
        "exposures": (Exposure("beta", "beta", loadings, 0.9, 1.02),),
        "trade_caps": (TradeCap("turnover_name", "at most 6 %", np.full(n, 0.06)),),
        "max_turnover": 0.35 if seed % 2 else None,
        "fixed": fixed,
        "fixed_why": tuple(why),
        **changes,
    }
    A = r.normal(size=(k, k)) * 0.002
    F = A @ A.T + 1e-5 * np.eye(k)
    return Problem.simple(r.normal(size=(n, k)), F, 0.01 + 0.01 * r.random(n), **given)


@pytest.mark.parametrize("seed", range(10))
def test_the_general_solver_agrees(seed: int) -> None:
    p = problem(seed, objective_kind=("mean_variance", "min_variance", "tracking_error")[seed % 3])
    form = reduce(p)
    assert fast.takes(p, form)
    outcome = fast.solve(p, form)
    if outcome is None:
        assert native.solve(p, form).status == "infeasible"
        return
    ours = certificate.certified(p, outcome, form)
    theirs = certificate.certified(p, native.solve(p, form), form)
    assert ours.status == theirs.status == "optimal"
    assert ours.violation <= 1e-8
    assert ours.objective == pytest.approx(theirs.objective, abs=1e-9)
    assert abs(ours.gap) < 1e-9
    for key in {*ours.multipliers, *theirs.multipliers}:
        price = theirs.multipliers.get(key, 0.0)
        assert ours.multipliers.get(key, 0.0) == pytest.approx(price, abs=2e-6), key


def test_most_of_these_problems_have_an_answer() -> None:
    solved = [fast.solve(p, reduce(p)) for p in map(problem, range(10))]
    assert sum(outcome is not None for outcome in solved) >= 8


def test_doubling_alphas_aversion_and_costs_leaves_every_bit() -> None:
    p = problem(1)
    twice = replace(p, alpha=2 * p.alpha, cost=2 * p.cost, risk_aversion=2 * p.risk_aversion)
    assert (optimise(p).weights == optimise(twice).weights).all()
    assert "structured" in optimise(p).solver


def test_what_is_not_plain_is_left_to_others() -> None:
    p = problem(2)
    n = len(p.ids)
    for change in (
        {"max_volatility": 0.2},
        {"max_tracking_error": 0.1},
        {"impact": np.full(n, 0.01)},
        {"borrow": np.full(n, 0.01), "lower": np.full(n, -0.05)},
        {"max_gross": 1.2, "lower": np.full(n, -0.05)},
        {"d": np.zeros(n)},
    ):
        other = replace(p, **change)  # type: ignore[arg-type]
        assert not fast.takes(other, reduce(other)), change


def test_what_does_not_converge_goes_to_the_general_solver(monkeypatch: pytest.MonkeyPatch) -> None:
    p = problem(3)
    ours = optimise(p)
    monkeypatch.setattr(structured, "MAX_ITERATIONS", 3)
    other = optimise(p)
    assert "clarabel" in other.solver
    assert other.objective == pytest.approx(ours.objective, abs=1e-9)
