"""Reasons of trades: what they say agrees with the multipliers of the answer."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from wealthos_pipeline.portfolio import reasons
from wealthos_pipeline.portfolio.optimization import Group, Problem, optimise
from wealthos_pipeline.portfolio.problem import TaxLots

CALM = np.arange(8) < 4


def market(w0: np.ndarray, **changes: object) -> Problem:
    """Four calm names in a capped group, four lively ones outside it; one factor."""
    B = np.where(CALM, 0.005, 0.010)[:, None]
    d = np.where(CALM, 0.008, 0.012)
    groups = (Group("sector Calm", "sector_cap", CALM, None, 0.4),)
    return Problem.simple(B, np.eye(1), d, w0=w0, cost=1e-4, upper=0.4, groups=groups, **changes)


def said(p: Problem) -> list[str]:
    found = optimise(p)
    assert found.status == "optimal"
    return reasons.of_trades(p, found.weights, found.parts, range(len(p.ids)))


def test_a_name_is_compared_with_names_that_its_money_could_go_to() -> None:
    """Outside a full sector, calm names inside it are no alternative."""
    w0 = np.array([0.1, 0.1, 0.1, 0.1, 0.30, 0.12, 0.12, 0.06])
    words = said(market(w0))
    assert words[4].startswith("sell 30 %")
    assert words[7].startswith("buy 6 %")
    for text in (words[4], words[7]):
        assert "lowers risk" in text
        assert "although" not in text
    assert not any("although" in text for text in words[:4])


def test_expected_returns_are_named_where_they_drive_and_not_where_they_round_to_nothing() -> None:
    w0 = np.full(8, 0.125)
    w0[:4], w0[4:] = 0.1, 0.15
    alpha = np.zeros(8)
    alpha[5] = 0.01
    words = said(market(w0, alpha=alpha))
    assert "buy" in words[5]
    assert "expects +1 % over 20 sessions, +1 % against comparable names" in words[5]
    assert "although it adds risk" in words[5]
    for text in said(market(w0[::-1].copy(), alpha=alpha * 1e-4)):
        assert "expects" not in text


def test_a_binding_volatility_cap_weighs_risk_more() -> None:
    """With the cap the same risk counts for more than the expected return that it is taken for."""
    w0 = np.array([0.1, 0.1, 0.1, 0.1, 0.15, 0.15, 0.15, 0.15])
    alpha = np.zeros(8)
    alpha[4] = 0.01
    p = replace(market(w0, alpha=alpha, risk_aversion=0.5), max_volatility=0.145)
    found = optimise(p)
    assert found.parts is not None
    part = found.parts.binding["volatility"]
    extra = reasons._price_of_volatility(p, found.weights, found.parts)
    assert extra > p.risk_aversion * p.horizon
    np.testing.assert_allclose(part, -extra * p.covariance_times(found.weights), rtol=1e-6)


def test_a_name_above_its_cap_is_sold_because_of_the_cap() -> None:
    """Whatever else speaks for the sale: the name would be bought if the cap let it."""
    w0 = np.full(8, 0.02)
    w0[4], w0[:4] = 0.5, 0.1
    p = market(w0, alpha=np.where(np.arange(8) == 4, 0.02, 0.021))
    p = replace(p, d=np.where(np.arange(8) == 4, 0.001, 0.05))
    text = said(p)[4]
    assert text.startswith("sell 50 % → 40 %: above its largest weight; although it gives up")
    assert text.endswith("capped at 40 %")


def test_a_lone_name_has_nothing_to_be_compared_with() -> None:
    p = Problem.simple(
        np.full((1, 1), 0.01), np.eye(1), np.array([0.01]), w0=np.array([0.4]), alpha=np.ones(1)
    )
    assert said(p) == ["buy 40 % → 100 %: puts free money to work; capped at 100 %"]


@pytest.mark.parametrize("seed", range(6))
def test_what_drives_a_trade_outweighs_what_speaks_against_it(seed: int) -> None:
    """Names free to move, without costs: buys gain by the comparison, sales too."""
    rng = np.random.default_rng(seed)
    n = 14
    label = np.arange(n) % 2
    groups = tuple(
        Group(f"sector {s}", "sector_cap", label == s, None, cap) for s, cap in ((0, 0.4), (1, 0.9))
    )
    p = Problem.simple(
        rng.uniform(0.006, 0.014, (n, 1)),
        np.eye(1),
        rng.uniform(0.008, 0.02, n),
        w0=rng.dirichlet(np.full(n, 30.0)),
        alpha=rng.normal(size=n) * 2e-3,
        groups=groups,
    )
    found = optimise(p)
    rows = [i for i in range(n) if found.weights[i] > 0.005 and abs(found.weights - p.w0)[i] > 0.03]
    assert rows
    words = reasons.of_trades(p, found.weights, found.parts, rows)
    assert not [text for text in words if "makes room" in text or "takes the place" in text]


def test_contributions_sum_to_nothing_for_names_that_are_free() -> None:
    w0 = np.array([0.1, 0.1, 0.1, 0.1, 0.30, 0.12, 0.12, 0.06])
    p = market(w0, alpha=np.linspace(0, 0.01, 8), impact=np.full(8, 0.01), max_turnover=0.08)
    found = optimise(p)
    assert found.parts is not None
    parts = reasons.contributions(p, found.weights, found.parts)
    assert {"alpha", "risk", "commission and spread", "market impact", "turnover"} <= set(parts)
    np.testing.assert_allclose(sum(parts.values()), 0.0, atol=1e-6)
    moved = np.abs(found.weights - p.w0) > 1e-6
    slope = 0.01 * 1.5 * np.abs(found.weights - p.w0) ** 0.5 * p.kappa
    np.testing.assert_allclose(np.abs(parts["market impact"])[moved], slope[moved], rtol=1e-9)


def test_names_left_alone_say_what_a_trade_would_gain_and_cost() -> None:
    w0 = np.repeat([0.1, 0.15], 4)
    p = replace(market(w0), cost=np.full(8, 0.05))
    found = optimise(p)
    still = [i for i in range(8) if found.weights[i] == w0[i]]
    assert still
    for i, text in zip(
        still, reasons.of_untraded(p, found.weights, found.parts, still), strict=True
    ):
        assert found.parts is not None
        pull = abs(found.parts.alpha[i] + found.parts.risk[i] + found.parts.constraint[i])
        assert text.startswith(("hold 10 %: to ", "hold 15 %: to "))
        assert (
            f"would gain {1e4 * pull:.2g} bp a unit and cost {1e4 * p.kappa * 0.05:.2g} bp" in text
        )


def test_a_name_that_is_not_held_says_what_it_would_lose() -> None:
    p = market(np.zeros(8), alpha=np.where(np.arange(8) == 7, -0.05, 0.0))
    found = optimise(p)
    text = reasons.of_untraded(p, found.weights, found.parts, [7])[0]
    assert text.startswith("not held: nothing speaks for holding it: a unit of it would lose ")


@pytest.mark.parametrize(
    ("before", "after", "verb"),
    [
        (0.0, 0.1, "buy"), (0.2, 0.1, "sell"), (0.1, -0.1, "sell and short"), (0.0, -0.1, "short"),
        (-0.1, -0.2, "short"), (-0.2, -0.1, "cover"), (-0.1, 0.1, "cover and buy"), (-0.1, 0.0, "cover"),
    ],
)  # fmt: skip
def test_long_and_short_trades_have_their_own_verbs(before: float, after: float, verb: str) -> None:
    w0, w = np.full(8, 0.1), np.full(8, 0.1)
    w0[4], w[4] = before, after
    p = replace(market(w0), borrow=np.full(8, 0.01))
    text = reasons.of_trades(p, w, None, [4])[0]
    assert text.startswith(f"{verb} ")
    with_parts = reasons._beside(p, 4, w)
    assert ("borrowing costs 1 % a year" in with_parts) == (after < 0)


def test_a_sale_of_lots_says_its_gain_and_tax() -> None:
    w0, w = np.full(8, 0.125), np.full(8, 0.125)
    w[0] = 0.025
    lots = TaxLots(
        row=np.array([0, 0]), weight=np.array([0.05, 0.075]), gain=np.array([-0.2, 0.4]),
        rate=np.array([0.2, 0.2]), ordered=True,
    )  # fmt: skip
    said = reasons._beside(replace(market(w0), tax=lots), 0, w)
    assert said == ["realises a gain of 1 % of net asset value, tax 0.2 %"]


def test_an_override_gives_its_owner_reason_and_expiry() -> None:
    fixed, why = np.full(8, np.nan), [""] * 8
    fixed[4], why[4] = 0.2, "forced (A. Person, until 2026-12-31: takeover)"
    p = market(np.full(8, 0.125), fixed=fixed, fixed_why=tuple(why))
    assert said(p)[4] == ("buy 12.5 % → 20 %: forced (A. Person, until 2026-12-31: takeover)")
