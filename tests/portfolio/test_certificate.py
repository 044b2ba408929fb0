"""Answers against a second algorithm, their own optimality conditions and finite differences."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from portfolio_problems import exposures, kinds, rich, scenarios

from wealthos_pipeline.portfolio import certificate, conic, limits, native, program
from wealthos_pipeline.portfolio.optimization import optimise
from wealthos_pipeline.portfolio.problem import Group, Problem, TradeCap
from wealthos_pipeline.portfolio.reduced import reduce

KINDS = tuple(kinds(1))
SEEDED = [*((kind, 1) for kind in KINDS), ("volatility", 2), ("risk budget", 2), ("cvar", 2)]


@pytest.mark.parametrize(("kind", "seed"), SEEDED, ids=[f"{k} {s}" for k, s in SEEDED])
def test_a_second_algorithm_finds_nothing_better(kind: str, seed: int) -> None:
    p = kinds(seed)[kind]
    found = optimise(p)
    assert found.status == "optimal", found.message
    assert found.violation <= 1e-8
    assert found.violation == limits.violation(p, found.weights)
    assert found.gap <= certificate.largest_gap(p, found.objective)
    difference = certificate.second_opinion(p, found)
    assert abs(difference) <= 1e-7 * max(1.0, abs(found.objective))


@pytest.mark.parametrize("kind", KINDS)
def test_marginal_utilities_sum_to_zero(kind: str) -> None:
    p = kinds(2)[kind]
    found = optimise(p)
    parts = found.parts
    assert parts is not None
    total = parts.alpha + parts.risk + parts.cost + parts.constraint
    size = max(np.abs(parts.risk).max(), np.abs(parts.alpha).max())
    np.testing.assert_allclose(total / size, 0.0, atol=3e-4 if kind == "risk budget" else 3e-5)
    bound = sum(parts.binding.values(), np.zeros(len(p.ids)))
    np.testing.assert_allclose(bound[p.free], parts.constraint[p.free], atol=1e-15)


def test_bounds_only_ever_push_names_that_stand_at_them() -> None:
    p = rich(seed=5)
    found = optimise(p)
    assert found.parts is not None
    inside = (found.weights > p.lower) & (found.weights < p.upper) & p.free
    for words in ("upper", "lower"):
        assert (found.parts.binding[words][inside] == 0.0).all()
    assert (found.parts.binding["upper"] <= 0.0).all()
    assert (found.parts.binding["lower"] >= 0.0).all()


Change = Callable[[Problem, float], Problem]


def _attribute(name: str) -> Change:
    return lambda p, e: replace(p, **{name: getattr(p, name) + e})


def _sectors(p: Problem, e: float) -> Problem:
    return replace(p, groups=tuple(replace(g, upper=(g.upper or 0) + e) for g in p.groups))


def _exposure(p: Problem, e: float) -> Problem:
    momentum, beta = p.exposures
    return replace(p, exposures=(momentum, replace(beta, upper=(beta.upper or 0) + e)))


def _caps(p: Problem, e: float) -> Problem:
    return replace(p, trade_caps=tuple(replace(t, caps=t.caps + e) for t in p.trade_caps))


SHORT: dict[str, Any] = {
    "lower": -0.1, "max_turnover": None, "borrow": np.full(40, 0.05), "max_short": 0.15, "groups": (),
}  # fmt: skip
PRICED: dict[str, tuple[dict[str, Any], str, Change]] = {
    "turnover": ({}, "turnover", _attribute("max_turnover")),
    "box": ({}, "upper", lambda p, e: replace(p, upper=p.upper + e)),
    "sectors": ({"max_turnover": None}, "sectors", _sectors),
    "budget": ({"max_turnover": None}, "budget", _attribute("budget")),
    "shorts": (SHORT, "short", _attribute("max_short")),
    "gross": ({**SHORT, "max_short": None, "max_gross": 1.1}, "gross", _attribute("max_gross")),
    "volatility": (
        {"max_turnover": None, "max_volatility": 0.135},
        "volatility",
        _attribute("max_volatility"),
    ),
    "tracking error": (
        {"max_turnover": None, "max_tracking_error": 0.055},
        "tracking_error",
        _attribute("max_tracking_error"),
    ),
    "beta": (
        {"max_turnover": None, "exposures": exposures(40, beta=0.9), "groups": ()},
        "max beta",
        _exposure,
    ),
    "trade cap": (
        {"max_turnover": None, "trade_caps": (TradeCap("adv", "x", np.full(40, 0.05)),)},
        "adv",
        _caps,
    ),
    "impact and turnover": (
        {"impact": np.full(40, 0.01), "max_turnover": 0.25},
        "turnover",
        _attribute("max_turnover"),
    ),
    "impact 0.7 and turnover": (
        {"impact": np.full(40, 0.01), "impact_exponent": 0.7, "max_turnover": 0.25},
        "turnover",
        _attribute("max_turnover"),
    ),
    "Sharpe": ({"objective_kind": "max_sharpe"}, "turnover", _attribute("max_turnover")),
    "Sharpe and box": (
        {"objective_kind": "max_sharpe", "max_turnover": None},
        "upper",
        lambda p, e: replace(p, upper=p.upper + e),
    ),
    "risk budget": ({"objective_kind": "risk_budget"}, "turnover", _attribute("max_turnover")),
    "cvar": ({"objective_kind": "cvar"}, "turnover", _attribute("max_turnover")),
}


@pytest.mark.parametrize("name", PRICED)
def test_a_multiplier_is_what_loosening_the_limit_gains(name: str) -> None:
    changes, key, change = PRICED[name]
    p = rich(seed=1, **changes)
    if p.objective_kind == "cvar":
        p = replace(p, scenarios=scenarios(p))
    found = optimise(p)
    assert found.status == "optimal", found.message
    price = found.multipliers[key]
    step = 2e-5
    up, down = (optimise(change(p, e)).objective for e in (step, -step))
    slope = (up - down) / (2 * step)
    assert price > 1e-5
    assert abs(slope) == pytest.approx(price, rel=2e-3, abs=1e-6)
    assert slope > 0 or key == "budget"


NATIVE = [kind for kind in KINDS if native.takes(kinds(1)[kind])]


@pytest.mark.parametrize("kind", NATIVE)
def test_native_and_program_agree(kind: str) -> None:
    p = kinds(2)[kind]
    form = reduce(p)
    a = certificate.certified(p, native.solve(p, form), form)
    b = program.build(p).solve()
    assert a.status == b.status == "optimal"
    assert a.objective == pytest.approx(b.objective, abs=1e-9)
    assert set(a.multipliers) >= {k for k, v in b.multipliers.items() if v > 1e-6}
    for key, value in b.multipliers.items():
        assert a.multipliers.get(key, 0.0) == pytest.approx(value, rel=1e-3, abs=2e-6)


def test_native_takes_quadratic_objectives_and_leaves_the_rest() -> None:
    assert len(NATIVE) >= 12
    assert set(KINDS) - set(NATIVE) == {
        "impact 0.6", "maximum Sharpe", "maximum Sharpe, long-short", "risk budget", "cvar",
    }  # fmt: skip


def test_a_gap_that_is_too_wide_is_not_handed_out() -> None:
    p = rich(seed=0)
    form = reduce(p)
    outcome = native.solve(p, form)
    wide = replace(outcome, dual=outcome.dual + 2 * certificate.largest_gap(p, outcome.primal))
    found = certificate.certified(p, wide, form)
    assert found.status == "failed"
    assert "gap" in found.message
    np.testing.assert_array_equal(found.weights, p.w0)


def test_weights_that_are_no_optimum_show_in_the_gap() -> None:
    p = rich(seed=0, max_turnover=None)
    form = reduce(p)
    outcome = native.solve(p, form)
    w = outcome.weights.copy()
    free = np.flatnonzero(p.free & (w > 0.01) & (w < 0.1))
    w[free[0]], w[free[1]] = w[free[0]] + 0.01, w[free[1]] - 0.01
    assert certificate.certified(p, replace(outcome, weights=w), form).status == "failed"


def test_weights_are_made_exact() -> None:
    p = rich(seed=3, max_volatility=None)
    form = reduce(p)
    rng = np.random.default_rng(0)
    best = optimise(p).weights
    noisy = best + np.where(p.free, rng.normal(size=len(best)) * 2e-8, 0.0)
    w = certificate.exact(p, form, noisy)
    assert limits.violation(p, w) <= 1e-12
    at = p.free & ((best == p.lower) | (best == p.upper))
    np.testing.assert_array_equal(w[at], best[at])


def test_a_solver_that_stops_early_is_a_failed_answer_in_words(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = conic.run

    def stalls(*args: Any) -> conic.Answer:
        answer = run(*args)
        return replace(answer, status="MaxIterations", stationarity=1.0, x=answer.x + 0.01)

    monkeypatch.setattr(conic, "run", stalls)
    for p in (rich(seed=0, max_volatility=0.3), rich(seed=0, objective_kind="max_sharpe")):
        found = optimise(p)
        assert found.status == "failed"
        assert "MaxIterations" in found.message


class NativePanicError(BaseException):
    """What a panic of native code looks like: not an Exception."""


@pytest.mark.parametrize("kind", ["maximum Sharpe", "volatility"])
def test_a_panic_is_a_failed_answer(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def panics(*_: object) -> None:
        raise NativePanicError("index out of bounds")

    p = kinds(1)[kind]
    monkeypatch.setattr(conic, "run", panics)
    found = optimise(p)
    assert found.status == "failed"
    assert "index out of bounds" in found.message


@pytest.mark.parametrize(
    "kind", ["long-short with impact", "maximum Sharpe", "risk budget", "cvar"]
)
def test_the_answer_does_not_depend_on_threads(kind: str) -> None:
    from threadpoolctl import threadpool_limits

    p = kinds(2)[kind]
    first = optimise(p)
    with threadpool_limits(2):
        again = optimise(p)
    assert first.weights.tobytes() == again.weights.tobytes()
    assert (first.gap, first.objective) == (again.gap, again.objective)


@pytest.mark.parametrize(
    "kind",
    [
        "long-short with impact", "tracking error as limit", "impact 0.6", "maximum Sharpe, long-short", "cvar",
        "tracking error as objective", "volatility",
    ],
)  # fmt: skip
def test_doubling_alphas_risk_aversion_and_costs_leaves_the_weights(kind: str) -> None:
    p = kinds(2)[kind]
    twice = replace(
        p,
        alpha=2 * p.alpha,
        cost=2 * p.cost,
        risk_aversion=2 * p.risk_aversion,
        impact=None if p.impact is None else 2 * p.impact,
        borrow=None if p.borrow is None else 2 * p.borrow,
    )
    assert optimise(p).weights.tobytes() == optimise(twice).weights.tobytes()


def test_a_limit_that_does_not_bind_changes_nothing_and_costs_nothing() -> None:
    p = rich(seed=1, groups=())
    wide = replace(
        p,
        groups=(Group("all", "group", np.ones(40, dtype=bool), -5.0, 5.0),),
        max_volatility=3.0,
        max_tracking_error=3.0,
        max_gross=9.0,
        max_short=9.0,
        exposures=tuple(replace(e, lower=-99.0, upper=99.0) for e in exposures(40)),
        trade_caps=(TradeCap("turnover_name", "x", np.full(40, 5.0)),),
    )
    a, b = optimise(p), optimise(wide)
    assert b.status == "optimal"
    np.testing.assert_allclose(a.weights, b.weights, atol=2e-6)
    assert a.objective == pytest.approx(b.objective, abs=1e-10)
    assert {k for k in b.multipliers if not k.startswith("fixed")} <= {
        "turnover", "upper", "lower", "budget",
    }  # fmt: skip


def test_one_program_answers_many_questions() -> None:
    p = rich(seed=1, max_volatility=0.2)
    asked = program.build(p)
    rng = np.random.default_rng(3)
    others = [
        replace(p, max_turnover=0.25),
        replace(p, alpha=p.alpha + 0.002 * rng.normal(size=40), max_volatility=0.19),
        p,
    ]
    for q in others:
        reused, fresh = asked.solve(q), program.build(q).solve()
        assert reused.status == fresh.status == "optimal"
        assert reused.objective == pytest.approx(fresh.objective, abs=1e-10)
    with pytest.raises(Exception, match="built for another problem"):
        asked.solve(replace(p, max_turnover=None))


@pytest.mark.parametrize(
    "kind", ["turnover", "long-short with impact", "maximum Sharpe, long-short", "cvar"]
)
def test_programs_are_compiled_once(kind: str) -> None:
    import cvxpy as cp

    built = program.build(kinds(1)[kind])._main
    assert built is not None
    assert built.problem.is_dcp(dpp=True)
    _, chain, _ = built.problem.get_problem_data(cp.CLARABEL, solver_opts={})
    assert chain is not None
    assert built.problem.parameters()


def test_a_program_made_when_nothing_was_held_knows_what_is_held_later() -> None:
    p = rich(20, 1, lower=-0.1, upper=0.3, max_turnover=None, max_gross=1.2, max_short=0.1)
    first = replace(p, w0=np.zeros(20), fixed=np.full(20, np.nan), fixed_why=("",) * 20)
    later = replace(first, w0=p.w0)
    reused, fresh = program.build(first).solve(later), program.build(later).solve()
    assert reused.status == fresh.status == "optimal"
    assert reused.objective == pytest.approx(fresh.objective, abs=1e-10)
