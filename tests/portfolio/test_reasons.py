"""Reasons of trades: what they say agrees with the multipliers of the answer."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from wealthos_pipeline.portfolio import reasons
from wealthos_pipeline.portfolio.optimization import Group, Problem, optimise

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
