"""Whole lots: sells before buys, nothing oversold, nothing spent that is not there, no cap missed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wealthos_pipeline.portfolio import compliance, limits, rounding
from wealthos_pipeline.portfolio.optimization import optimise
from wealthos_pipeline.portfolio.problem import Group, Problem, TradeCap


def problem(n: int, seed: int, **changes: Any) -> Problem:
    rng = np.random.default_rng(seed)
    B = rng.normal(0.01, 0.003, size=(n, 1))
    return Problem.simple(B, np.eye(1), rng.uniform(0.01, 0.02, size=n), cost=5e-4, **changes)


@st.composite
def cases(draw: st.DrawFn) -> tuple[Problem, np.ndarray, float, np.ndarray, int]:
    """A long-only book, targets that keep budget and box, prices, a lot."""
    n = draw(st.integers(2, 12))
    seed = draw(st.integers(0, 10_000))
    rng = np.random.default_rng(seed)
    buffer = draw(st.sampled_from([0.0, 0.02]))
    price = np.round(rng.uniform(3.0, 900.0, size=n), 2)
    nav = float(draw(st.sampled_from([20_000.0, 1e6, 1e8])))
    held = np.floor(rng.dirichlet(np.ones(n)) * nav * 0.97 / price) * (rng.uniform(size=n) < 0.7)
    if draw(st.booleans()):
        held = held + (held > 0) * 0.37  # a paper portfolio has fractions of shares
    w0 = held * price / nav
    w = rng.dirichlet(np.ones(n)) * (1.0 - buffer)
    w[rng.uniform(size=n) < 0.2] = 0.0
    w = w / w.sum() * (1.0 - buffer) if w.sum() else np.full(n, (1.0 - buffer) / n)
    p = problem(n, seed, w0=w0, budget=1.0 - buffer, upper=float(w.max()) + 1e-12)
    return p, w, nav, price, draw(st.sampled_from([1, 10, 100]))


@settings(max_examples=150, deadline=None)
@given(cases())
def test_orders_are_whole_lots_that_are_held_and_paid_for(case: Any) -> None:
    p, w, nav, price, lot = case
    r = rounding.to_lots(p, w, nav, price, lot)
    held = p.w0 * nav / price
    closes = (w <= 1e-9) & (r.shares < 0)
    lots = np.where(closes, 0.0, r.shares / lot)
    assert np.abs(lots - np.round(lots)).max() < 1e-9
    assert (r.shares >= -held - 1e-6).all(), "more sold than is held"
    # nothing goes the wrong way, and nothing beyond the target by a lot or more
    assert (r.shares * r.unrounded >= 0).all()
    assert (np.abs(r.shares) < np.abs(r.unrounded) + lot).all()
    # cash: the buffer and the costs are there, unless the sells alone do not give as much
    buffer = nav * (1.0 - p.budget)
    sells_only = np.minimum(r.shares, 0.0)
    most = nav * (1 - p.w0.sum()) - float((sells_only * price).sum())
    most -= float((np.abs(sells_only) * price * p.cost).sum())
    assert r.cash_after >= min(buffer, most) - 1e-6 * nav
    # what was traded and what was paid sum back to the weights
    paid = float((r.shares * price).sum() + (np.abs(r.shares) * price * p.cost).sum())
    assert r.cash_before - paid == pytest.approx(r.cash_after, abs=1e-6 * nav)
    assert r.weights == pytest.approx((held + r.shares) * price / nav, abs=1e-9)


@settings(max_examples=150, deadline=None)
@given(cases())
def test_left_over_cash_is_less_than_what_one_more_lot_costs(case: Any) -> None:
    p, w, nav, price, lot = case
    p = replace(p, upper=np.ones(len(w)))
    r = rounding.to_lots(p, w, nav, price, lot)
    wanting = (r.unrounded > 0) & (r.unrounded - r.shares > 1e-6 * lot)
    left = r.cash_after - nav * (1.0 - p.budget)
    if wanting.any():
        assert left < (lot * price * (1 + p.cost))[wanting].max() + 1e-6 * nav


def test_a_worked_example() -> None:
    # 10,000 held as 50 A at 100, 30 B at 150, 500 cash; wanted: 20 % A, 45 % B, 35 % C at 70
    price = np.array([100.0, 150.0, 70.0])
    w0 = np.array([0.50, 0.45, 0.0])
    p = replace(problem(3, 0, w0=w0), cost=np.zeros(3))
    r = rounding.to_lots(p, np.array([0.205, 0.45, 0.345]), 10_000.0, price)
    # A: 20.5 shares wanted, 29.5 to sell: 30. C: 49.29 wanted: 49 for 3,430. Cash 500 + 3,000 − 3,430 = 70,
    # which buys one more share of C (its remainder is the only one)
    assert r.shares.tolist() == [-30.0, 0.0, 50.0]
    assert r.cash_after == pytest.approx(0.0)
    assert r.cash_target == pytest.approx(0.0)


def test_caps_on_weights_groups_and_trades_hold_to_the_last_share() -> None:
    n, nav = 20, 250_000.0
    rng = np.random.default_rng(3)
    price = rng.uniform(20, 400, size=n)
    w0 = np.full(n, 1 / n)
    group = np.arange(n) < 8
    p = problem(
        n, 3, w0=w0, upper=0.09, max_turnover=0.25, max_gross=1.0,
        groups=(Group("group first", "group", group, None, 0.35),), alpha=rng.normal(size=n) * 0.01,
        trade_caps=(TradeCap("turnover_name", "No name changes by more than 4 %", np.full(n, 0.04)),),
    )  # fmt: skip
    answer = optimise(p)
    assert answer.status == "optimal"
    r = rounding.to_lots(p, answer.weights, nav, price)
    rows = compliance.check(p, r.weights, "orders", lots=price / nav)
    assert compliance.failed(rows) == []
    strict = [x for x in limits.of(p) if x.kind in ("upper", "lower", "turnover_name", "gross")]
    assert len(strict) >= 4
    assert max(limits.excess(p, x, r.weights) for x in strict) <= 1e-8


def test_a_position_given_up_is_sold_whole_with_its_odd_shares() -> None:
    price = np.array([10.0, 10.0])
    p = problem(2, 1, w0=np.array([0.5275, 0.4725]))
    r = rounding.to_lots(p, np.array([0.0, 1.0]), 1000.0, price, 10)
    assert r.shares[0] == pytest.approx(-52.75)
    assert r.shares[1] == 50.0  # 52.75 wanted, five lots can be paid


def test_a_trade_is_none_or_at_least_the_smallest() -> None:
    # the smallest trade is 3 % of 10,000: 300; a share costs 200
    price = np.array([200.0, 1.0])
    p = problem(2, 1, w0=np.array([0.5, 0.5]), min_trade=0.03)
    r = rounding.to_lots(p, np.array([0.53, 0.47]), 10_000.0, price)
    assert r.shares[0] in (0.0, 2.0)  # one share is 200: too little
    r = rounding.to_lots(p, np.array([0.47, 0.53]), 10_000.0, price)
    assert r.shares[0] == -2.0


def test_a_name_without_a_price_is_not_traded() -> None:
    p = problem(2, 1, w0=np.array([0.5, 0.5]))
    r = rounding.to_lots(p, np.array([0.4, 0.6]), 1000.0, np.array([np.nan, 10.0]))
    assert r.shares[0] == 0.0
    assert r.weights[0] == 0.5


def test_covering_a_short_does_not_make_a_long_position() -> None:
    price = np.array([10.0, 10.0])
    p = replace(
        problem(2, 1, w0=np.array([-0.103, 1.103]), lower=-0.5, upper=2.0),
        budget=1.0,
    )
    r = rounding.to_lots(p, np.array([0.0, 1.0]), 1000.0, price)
    assert r.shares[0] == pytest.approx(10.3)
    assert r.weights[0] == 0.0
