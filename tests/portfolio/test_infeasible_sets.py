"""The conflict that is named against every subset of limits, asked of another solver."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from scipy.optimize import linprog

from wealthos_pipeline.portfolio import diagnosis, limits, loosen
from wealthos_pipeline.portfolio.limits import Absolute, Linear, Norm
from wealthos_pipeline.portfolio.problem import Exposure, Group, Problem, TaxLots, TradeCap

N = 6


def contradictory_problem(seed: int) -> Problem:
    """Six names under bounds drawn so tightly that most such problems have no answer."""
    rng = np.random.default_rng(seed)
    w0 = rng.dirichlet(np.ones(N))
    label = rng.permutation(np.arange(N) % 3)
    groups = (
        Group("group a", "group", label == 0, float(rng.uniform(0.2, 0.6)), None),
        Group("group b", "group", label == 1, None, float(rng.uniform(0.1, 0.5))),
        Group("group c", "group", label == 2, float(rng.uniform(0.2, 0.6)), None, active=True),
        *(
            Group(f"sector {s}", "sector_cap", label == s, None, float(rng.uniform(0.3, 0.8)))
            for s in range(3)
        ),
    )
    x = rng.normal(size=N)
    exposures = (
        Exposure("momentum", "exposures", x, float(rng.uniform(-0.2, 0.8)), None, active=True),
        Exposure("beta", "beta", rng.uniform(0.5, 1.5, N), None, float(rng.uniform(0.7, 1.1))),
    )
    fixed, why = np.full(N, np.nan), [""] * N
    fixed[0], why[0] = 0.3, "the chair wants it"
    fixed[1], why[1] = 0.0, "no bar"
    return Problem.simple(
        rng.uniform(0.005, 0.012, (N, 1)),
        np.eye(1),
        rng.uniform(0.008, 0.02, N),
        w0=w0,
        upper=float(rng.uniform(0.15, 0.4)),
        groups=groups,
        exposures=exposures,
        fixed=fixed,
        fixed_why=tuple(why),
        max_turnover=float(rng.uniform(0.05, 0.3)),
        trade_caps=(TradeCap("turnover_name", "A name may change by 15 %", np.full(N, 0.15)),),
        max_gross=1.1,
    )


def possible(p: Problem, chosen: list[limits.Limit], support: np.ndarray | None = None) -> bool:
    """Whether weights meet ``chosen``, by scipy; outside ``support`` they are 0."""
    bent = [x for x in chosen if isinstance(x.shape, Absolute)]
    width = N + N * len(bent)
    rows, right = [], []

    def add(w: np.ndarray, value: float, at: int = 0, u: np.ndarray | float = 0.0) -> None:
        row = np.zeros(width)
        row[:N] = w
        if bent:
            row[N + N * at : N + N * (at + 1)] = u
        rows.append(row)
        right.append(value)

    for limit in chosen:
        shape = limit.shape
        if isinstance(shape, Linear):
            matrix = np.zeros((len(shape.right), N))
            np.add.at(matrix, (shape.rows.row, shape.rows.column), shape.rows.value)
            for row, value in zip(matrix, shape.right, strict=True):
                add(row, float(value))
    for at, limit in enumerate(bent):
        shape = limit.shape
        assert isinstance(shape, Absolute)
        for i in range(N):
            one = np.eye(N)[i]
            add(one, shape.reference[i], at, -one)
            add(-one, -shape.reference[i], at, -one)
        add(shape.slope, shape.right, at, shape.scale)
    far = [(-10.0, 10.0) if support is None or support[i] else (0.0, 0.0) for i in range(N)]
    bounds = far + [(0.0, None)] * (width - N)
    if not rows:
        return True
    found = linprog(np.zeros(width), np.array(rows), np.array(right), bounds=bounds)
    return bool(found.status == 0)


@pytest.mark.parametrize("seed", range(12))
def test_no_smaller_set_of_limits_contradicts_itself(seed: int) -> None:
    p = contradictory_problem(seed)
    everything = limits.of(p)
    found = diagnosis.conflict(p)
    if found is None:
        assert possible(p, everything)
        return
    named = [x.limit for x in found.limits]
    assert not possible(p, named)
    for size in range(1, len(named)):
        for others in combinations(everything, size):
            assert possible(p, list(others)), [x.key for x in others]


@pytest.mark.parametrize("seed", range(12))
def test_each_least_relaxation_is_enough_and_a_little_less_is_not(seed: int) -> None:
    p = contradictory_problem(seed)
    found = diagnosis.conflict(p)
    said = [] if found is None else list(found.limits)
    for one in said:
        if one.limit.kind in ("fixed", "budget") or one.slack is None:
            continue
        enough = loosen.moved(p, one.limit, one.slack + 1e-6)
        short = loosen.moved(p, one.limit, one.slack - 1e-5)
        assert possible(enough, limits.of(enough)), one.words
        assert not possible(short, limits.of(short)), one.words
        if one.needed is not None and one.limit.value is not None:
            at = loosen.to(p, one.limit.key, one.needed + 1e-6 * one.limit.sign)
            assert possible(at, limits.of(at))
    for one in said:
        if one.slack is None and one.limit.kind not in ("fixed", "budget"):
            wide = loosen.moved(p, one.limit, 5.0)
            assert not possible(wide, limits.of(wide)), one.words


def test_the_seeds_hold_contradictions_of_several_kinds() -> None:
    found = [diagnosis.conflict(contradictory_problem(seed)) for seed in range(12)]
    kinds = {x.limit.kind for c in found if c is not None for x in c.limits}
    assert sum(c is not None for c in found) >= 8
    assert {"groups", "fixed", "sectors", "upper"} <= kinds, kinds


def test_a_pinned_name_is_named_with_its_reason_and_the_weight_that_would_do() -> None:
    p = Problem.simple(
        np.full((4, 1), 0.01), np.eye(1), np.full(4, 0.01), upper=0.5,
        groups=(Group("group tech", "group", np.arange(4) < 2, None, 0.25),),
        fixed=np.array([0.4, np.nan, np.nan, np.nan]),
        fixed_why=("kept at 40 % by A. Person until 2026-12-31: litigation", "", "", ""),
    )  # fmt: skip
    found = diagnosis.conflict(p)
    assert found is not None
    said = {x.limit.kind: x for x in found.limits}
    assert set(said) == {"groups", "fixed", "lower"}, "a short position would make room too"
    assert "A. Person until 2026-12-31: litigation" in said["fixed"].words
    assert said["fixed"].words.endswith("at 25 % the other limits could be met.")
    assert said["fixed"].needed == pytest.approx(0.25, abs=1e-6)
    assert said["groups"].needed == pytest.approx(0.4, abs=1e-6)


def test_two_contradictions_that_have_nothing_to_do_with_each_other_are_both_told() -> None:
    first, second = np.arange(8) < 2, (np.arange(8) >= 2) & (np.arange(8) < 4)
    groups = (
        Group("group a", "group", first, 0.5, None),
        Group("group b", "group", second, None, 0.2),
    )
    fixed = np.full(8, np.nan)
    fixed[0], fixed[2] = 0.0, 0.4
    p = Problem.simple(
        np.full((8, 1), 0.01), np.eye(1), np.full(8, 0.01), upper=0.3, groups=groups, fixed=fixed,
        fixed_why=("stopped", "", "waits", "", "", "", "", ""),
    )  # fmt: skip
    found = diagnosis.conflict(p)
    assert found is not None
    assert len(found.further) == 1
    keys = [{x.limit.key for x in c.limits} for c in (found, *found.further)]
    assert {"min group a", "upper", "fixed: stopped"} in keys
    assert {"max group b", "lower", "fixed: waits"} in keys
    assert all(x.needed is None for x in found.limits)
    assert any(s.startswith("And besides: ") for s in found.sentences)


def by_support(p: Problem, count: int | None, smallest: float | None) -> bool:
    """Whether some choice of names meets the box, the budget and the groups with whole numbers."""
    for bits in range(2**N):
        held = np.array([bool(bits >> i & 1) for i in range(N)])
        if count is not None and held.sum() > count:
            continue
        floor = np.where(held, smallest or 0.0, 0.0)
        q = replace(p, lower=floor, max_names=None, min_holding=None)
        if (q.lower <= q.upper).all() and possible(q, limits.of(q), held):
            return True
    return False


@pytest.mark.parametrize("seed", range(6))
def test_counts_and_smallest_holdings_take_part(seed: int) -> None:
    rng = np.random.default_rng(100 + seed)
    label = rng.permutation(np.arange(N) % 3)
    groups = tuple(Group(f"sector {s}", "sector_cap", label == s, None, 0.4) for s in range(3))
    p = Problem.simple(
        np.full((N, 1), 0.01), np.eye(1), np.full(N, 0.01), upper=0.3, groups=groups,
        max_names=4 if seed % 2 else 5, min_holding=0.22 + 0.01 * seed,
    )  # fmt: skip
    found = diagnosis.conflict(p)
    assert (found is None) == by_support(p, p.max_names, p.min_holding)
    if found is None:
        return
    for one in found.limits:
        if one.limit.key == "max names" and one.needed is not None:
            assert by_support(p, int(one.needed), p.min_holding)
            assert not by_support(p, int(one.needed) - 1, p.min_holding)
        if one.limit.key == "min_holding" and one.needed is not None:
            assert by_support(p, p.max_names, one.needed - 1e-5)
            assert not by_support(p, p.max_names, one.needed + 1e-4)


def test_too_few_names_is_arithmetic() -> None:
    p = Problem.simple(np.full((20, 1), 0.01), np.eye(1), np.full(20, 0.01), upper=0.1, max_names=8)
    assert diagnosis.obvious(p) == (
        "Weights must sum to 100 %, but 8 names, at most 10 % a name, come to 80 %; least change that "
        "is enough: a budget of 80 %.",
        "At most 8 names; least change that is enough: 10.",
        "At most 10 % a name; least change that is enough: 12.5 %.",
    )


def test_a_count_against_a_volatility_is_found() -> None:
    """Few names cannot be calm enough, though many could: seen only with both limits at once."""
    n = 6
    p = Problem.simple(
        np.full((n, 1), 0.002), np.eye(1), np.full(n, 0.02), upper=1.0, max_names=3,
        max_volatility=0.16,
    )  # fmt: skip
    found = diagnosis.conflict(p)
    assert found is not None
    said = {x.limit.key: x for x in found.limits}
    assert set(said) == {"budget", "max names", "volatility"}
    best = p.volatility(np.repeat([1 / 3, 0.0], [3, n - 3]))
    assert said["volatility"].needed == pytest.approx(best, abs=2e-6)
    level = next(k for k in range(1, n) if p.volatility(np.repeat([1 / k, 0], [k, n - k])) <= 0.16)
    assert said["max names"].needed == level


def test_a_gains_budget_against_a_cap_that_forces_a_sale() -> None:
    n = 4
    w0 = np.array([0.7, 0.1, 0.1, 0.1])
    lots = TaxLots(
        row=np.array([0, 0]), weight=np.array([0.3, 0.4]), gain=np.array([0.5, 0.1]),
        rate=np.zeros(2), ordered=True, gains_budget=0.1,
    )  # fmt: skip
    p = Problem.simple(
        np.full((n, 1), 0.01), np.eye(1), np.full(n, 0.01), w0=w0, upper=0.4, tax=lots
    )
    found = diagnosis.conflict(p)
    assert found is not None
    said = {x.limit.key: x for x in found.limits}
    assert set(said) == {"gains", "upper"}
    assert said["gains"].needed == pytest.approx(0.15, abs=1e-6), "the lot of 30 % goes first"
    assert said["upper"].needed == pytest.approx(0.5, abs=1e-6), "20 % may be sold"


def test_volatility_of_a_conflict_agrees_with_cvxpy() -> None:
    import cvxpy as cp

    rng = np.random.default_rng(3)
    n = 12
    p = Problem.simple(
        rng.normal(size=(n, 3)) * 0.01, np.eye(3), rng.uniform(0.008, 0.02, n), upper=0.2,
        max_tracking_error=0.05, benchmark=np.where(np.arange(n) < 2, 0.5, 0.0),
    )  # fmt: skip
    found = diagnosis.conflict(p)
    assert found is not None
    said = {x.limit.key: x for x in found.limits}
    assert any(isinstance(x.limit.shape, Norm) for x in found.limits)
    w = cp.Variable(n)
    away = w - p.benchmark
    spread = cp.norm(cp.hstack([p.B.T @ away, cp.multiply(p.d, away)]))
    task = cp.Problem(cp.Minimize(spread), [cp.sum(w) == 1, w >= 0, w <= 0.2])
    least = task.solve(solver="SCS", eps=1e-8) * np.sqrt(252)
    assert said["tracking_error"].needed == pytest.approx(least, abs=1e-5)


def test_the_answer_is_data_too() -> None:
    p: Any = contradictory_problem(0)
    found = diagnosis.conflict(p)
    assert found is not None
    for one in found.limits:
        body = one.data()
        assert set(body) == {"limit", "kind", "unit", "value", "needed", "slack", "words"}
        assert body["words"] in found.sentences
