"""Targets in whole share lots: allowed, as near as can be, and what is left over is said."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wealthos_pipeline.core.errors import PortfolioError
from wealthos_pipeline.portfolio import integer
from wealthos_pipeline.portfolio.lots import lot_weights, objective_gap, round_to_lots
from wealthos_pipeline.portfolio.optimization import optimise
from wealthos_pipeline.portfolio.problem import Problem


def test_a_worked_example_by_hand() -> None:
    # 10,000 of money; prices 300, 700, 1,100; targets 50 %, 30 %, 20 %.
    # 16.67, 4.29, 1.82 shares: down to 16, 4, 1 = 4,800 + 2,800 + 1,100 = 8,700; 1,300 is left.
    # Remainders .67, .29, .82 shares: the third (1,100) first, then 200 is left and nobody fits.
    step = lot_weights(np.array([300.0, 700.0, 1100.0]), 10_000.0)
    found = round_to_lots(np.array([0.5, 0.3, 0.2]), step)
    assert found.lots.tolist() == [16, 4, 2]
    assert found.weights == pytest.approx([0.48, 0.28, 0.22])
    assert found.cash == pytest.approx(0.02)
    # missing 2 % and 2 %, over by 2 %, cash 2 %: half of 8 %
    assert found.distance == pytest.approx(0.04)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), n=st.integers(1, 5), coarse=st.floats(0.02, 0.2))
def test_nobody_comes_nearer_than_stated(seed: int, n: int, coarse: float) -> None:
    rng = np.random.default_rng(seed)
    target = rng.dirichlet(np.ones(n))
    step = coarse * rng.uniform(0.5, 1.5, n)
    found = round_to_lots(target, step, lower=0.0)
    assert float(found.weights.sum()) <= 1.0 + 1e-12
    assert np.abs(found.weights - found.lots * step).max() < 1e-12
    assert found.cash == pytest.approx(1.0 - found.weights.sum(), abs=1e-12)
    best = np.inf
    around = [
        range(max(int(t / s) - 1, 0), int(t / s) + 3) for t, s in zip(target, step, strict=True)
    ]
    for lots in itertools.product(*around):
        w = np.array(lots) * step
        if w.sum() <= 1.0 + 1e-12:
            best = min(best, 0.5 * (np.abs(w - target).sum() + 1.0 - w.sum()))
    assert found.best <= best + 1e-12 <= found.distance + 2e-12
    # greedy leaves at most one lot's worth to be gained
    assert found.gap <= step.max() + 1e-12


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_boxes_hold_and_trades_are_whole_lots(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = 8
    held = rng.dirichlet(np.ones(n))
    target = rng.dirichlet(np.ones(n)) * (rng.random(n) < 0.7)
    step = rng.uniform(0.001, 0.03, n)
    upper = np.maximum(target, held) + step
    found = round_to_lots(target, step, w0=held, budget=1.0, lower=0.0, upper=upper)
    assert (found.weights >= 0.0).all()
    assert (found.weights <= upper + 1e-12).all()
    assert found.weights.sum() <= 1.0 + 1e-12
    assert (found.weights[target == 0.0] == 0.0).all()
    kept = target != 0.0
    assert (found.weights - held)[kept] == pytest.approx((found.lots * step)[kept], abs=1e-12)


def test_order_of_names_does_not_matter() -> None:
    rng = np.random.default_rng(4)
    target, step = rng.dirichlet(np.ones(30)), rng.uniform(0.0005, 0.02, 30)
    order = rng.permutation(30)
    here = round_to_lots(target, step)
    there = round_to_lots(target[order], step[order])
    assert there.lots.tolist() == here.lots[order].tolist()


def test_a_name_without_a_price_keeps_what_is_held() -> None:
    step = lot_weights(np.array([10.0, np.nan, 0.0]), 1000.0)
    held = np.array([0.5, 0.3, 0.2])
    found = round_to_lots(np.array([0.7, 0.0, 0.1]), step, w0=held, budget=1.0)
    assert found.weights[1:].tolist() == [0.3, 0.2]
    assert found.lots[1:].tolist() == [0, 0]


def test_a_target_that_is_whole_lots_is_hit_and_rounding_errors_do_not_cost_a_share() -> None:
    prices = np.array([33.33, 71.7, 12.01])
    shares = np.array([100.0, 50.0, 300.0])
    nav = float(shares @ prices)
    found = round_to_lots(shares * prices / nav, lot_weights(prices, nav))
    assert found.lots.tolist() == [100, 50, 300]
    assert found.distance < 1e-12


def test_a_lot_beyond_the_cap_is_not_bought_and_one_that_must_be_is_refused() -> None:
    step = np.array([0.3, 0.01])
    found = round_to_lots(
        np.array([0.2, 0.8]), step, upper=np.array([0.2, 0.9]), lower=0.0, budget=1.0
    )
    assert found.lots.tolist() == [0, 80]
    with pytest.raises(PortfolioError, match=r"no whole number of lots .*name 0: lots of 0\.3"):
        round_to_lots(np.array([0.2, 0.8]), step, lower=np.array([0.1, 0.0]), upper=0.25)


def test_lower_bounds_that_cost_more_than_the_budget_are_refused() -> None:
    with pytest.raises(PortfolioError, match=r"exceed the budget by 0\.2"):
        round_to_lots(np.array([0.5, 0.5]), np.array([0.4, 0.4]), lower=0.5, upper=1.0, budget=1.4)


def test_shorts_are_rounded_too() -> None:
    found = round_to_lots(np.array([1.234, -0.237]), np.array([0.01, 0.02]), lower=-0.5, upper=2.0)
    assert found.weights == pytest.approx([1.23, -0.24], abs=1e-12)
    assert found.cash == pytest.approx(0.007)


def _market(lot: float | None) -> Problem:
    rng = np.random.default_rng(8)
    n = 15
    B = rng.standard_normal((n, 2))
    d = rng.uniform(0.01, 0.02, n)
    alpha = 0.3 * d * rng.standard_normal(n)
    w0 = np.zeros(n)
    p = Problem.simple(B, np.diag([1e-4, 2e-5]), d, alpha=alpha, w0=w0, cost=0.0005, upper=0.25)
    return p if lot is None else replace(p, lot=lot * rng.uniform(0.5, 1.5, n))


def test_what_rounding_costs_is_stated_and_deciding_in_lots_is_at_least_as_good() -> None:
    whole = _market(0.02)
    loose = optimise(replace(whole, lot=None))
    assert whole.lot is not None
    rounded = round_to_lots(
        loose.weights, whole.lot, budget=1.0, lower=whole.lower, upper=whole.upper
    )
    gap = objective_gap(replace(whole, lot=None), loose, rounded)
    assert gap > 0
    decided = integer.solve(whole)
    assert decided.status == "optimal"
    assert decided.objective >= loose.objective - gap - 1e-9
    assert decided.objective <= loose.objective + loose.gap + 1e-9 + _cash_effect(
        whole, loose.multipliers
    )


def _cash_effect(p: Problem, prices: dict[str, float]) -> float:
    """Lots leave cash, which the problem without lots may not: what that can be worth."""
    return integer.mixed.leftover(p) * prices.get("budget", 0.0) * 1.5


def test_decided_lots_are_whole_hold_every_limit_and_say_what_stays_in_cash() -> None:
    p = replace(_market(0.02), max_names=6, min_holding=0.05)
    found = integer.solve(p)
    assert found.status == "optimal"
    assert p.lot is not None
    held = found.weights > 0
    lots = found.weights[held] / p.lot[held]
    assert np.abs(lots - np.round(lots)).max() < 1e-9
    assert found.weights.max() <= 0.25 + 1e-12
    assert found.weights[held].min() >= 0.05 - 1e-12
    assert held.sum() <= 6
    assert 0.0 <= 1.0 - found.weights.sum() <= integer.mixed.leftover(p)
    assert "stays in cash because shares come in lots" in found.message


def test_decided_lots_agree_with_counting_every_combination() -> None:
    base = _market(0.02)
    keep = np.arange(4)
    lot = np.array([0.11, 0.13, 0.09, 0.17])
    p = replace(
        base, ids=base.ids[:4], w0=np.zeros(4), benchmark=np.full(4, 0.25), alpha=base.alpha[keep],
        B=base.B[keep], d=base.d[keep], cost=base.cost[keep], lower=np.zeros(4), upper=np.full(4, 0.6),
        fixed=np.full(4, np.nan), fixed_why=("",) * 4, lot=lot,
    )  # fmt: skip
    best = -np.inf
    for lots in itertools.product(*(range(int(0.6 / x + 1e-9) + 1) for x in lot)):
        w = np.array(lots) * lot
        if 1.0 - lot.max() - 1e-12 <= w.sum() <= 1.0 + 1e-12:
            best = max(best, integer.objective(p, w))
    found = integer.solve(p)
    assert found.objective <= best + 1e-12
    assert found.objective + found.gap >= best - 1e-12
    assert found.gap <= 1.01 * integer.GAP * abs(best)


def test_lots_larger_than_the_cap_leave_a_name_alone_and_an_impossible_one_is_named() -> None:
    p = _market(0.02)
    assert p.lot is not None
    lot = p.lot.copy()
    lot[0] = 0.4
    assert integer.solve(replace(p, lot=lot)).weights[0] == 0.0
    lower = p.lower.copy()
    lower[0] = 0.1
    found = integer.solve(replace(p, lot=lot, lower=lower))
    assert found.status == "infeasible"
    assert "x000, of which 0 is held, comes in lots of 0.4" in found.message


def test_odd_shares_are_kept_or_sold_off() -> None:
    p = _market(0.02)
    w0 = np.zeros(15)
    w0[:3] = 0.333, 0.333, 0.334
    upper = np.full(15, 0.34)
    upper[0] = 0.0
    found = integer.solve(replace(p, w0=w0, upper=upper))
    assert found.status == "optimal"
    assert found.weights[0] == 0.0
    assert integer.violation(replace(p, w0=w0, upper=upper), found.weights) <= 1e-8


def test_a_free_name_without_a_price_is_not_traded() -> None:
    p = _market(0.02)
    assert p.lot is not None
    lot, w0 = p.lot.copy(), np.zeros(15)
    lot[4], w0[4], w0[5] = 0.0, 0.123, 0.877
    found = integer.solve(replace(p, lot=lot, w0=w0, upper=np.full(15, 0.9)))
    assert found.status == "optimal"
    assert found.weights[4] == 0.123
