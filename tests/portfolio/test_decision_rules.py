"""What the words of a mandate mean in one decision: a small situation, put together by hand."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import Any

import numpy as np
import polars as pl
import pytest

from wealthos_pipeline.core.errors import PortfolioError
from wealthos_pipeline.core.mandate import Costs, ExposureBound, GroupBound, Mandate, Override
from wealthos_pipeline.portfolio import decision, limits
from wealthos_pipeline.portfolio.problem import Problem
from wealthos_pipeline.portfolio.risk import RiskModel
from wealthos_pipeline.portfolio.situation import Labels, Situation

DAY = date(2024, 3, 1)
N = 8
IDS = tuple(f"n{i}" for i in range(N))


def situation(**changes: Any) -> Situation:
    """Eight names of two sectors, all held alike, with scores and volumes."""
    rng = np.random.default_rng(5)
    risk = RiskModel(
        date=DAY,
        ids=IDS,
        factors=("f0", "f1"),
        B=rng.normal(0.01, 0.004, (N, 2)),
        F=np.array([[1.0, 0.2], [0.2, 0.5]]),
        d=rng.uniform(0.01, 0.02, N),
    )
    given: dict[str, Any] = {
        "date": DAY,
        "nav": 1e7,
        "members": IDS,
        "traded": frozenset(IDS),
        "held": dict.fromkeys(IDS, 1.0 / N),
        "close": {x: 10.0 + i for i, x in enumerate(IDS)},
        "risk": risk,
        "z": dict(zip(IDS, rng.normal(size=N).tolist(), strict=True)),
        "ic": 0.05,
        "labels": Labels(
            {x: "Old" if i < 4 else "New" for i, x in enumerate(IDS)}, {x: x.upper() for x in IDS}
        ),
        "volume": dict(zip(IDS, (1e6 * (1 + np.arange(N))).tolist(), strict=True)),
        **changes,
    }
    return Situation(**given)


def mandate(**changes: Any) -> Mandate:
    given = {"name": "own", "title": "t", "max_weight": 0.4, "risk_aversion": 2.0, **changes}
    return Mandate(**given)


def test_what_gave_way_is_named_with_the_value_that_held() -> None:
    groups = (GroupBound(name="new", sector="New", min_weight=0.8),)
    m = mandate(groups=groups, max_turnover=0.1, soften=("turnover",))
    found = decision.decide(m, situation(), run_kind="live")
    assert found.solves["status"].item() == "softened"
    assert "Turnover of at most 10 % became 30 %." in found.solves["message"].item()
    binding = found.binding.filter(pl.col("limit") == "turnover")
    assert binding["value"].item() == pytest.approx(0.3)
    assert binding["words"].item() == "Turnover of at most 30 %"
    said = " ".join(found.trades["reason"])
    assert "turnover cap of 30 % (it gave way, from 10 %)" in said
    assert "cap of 10 %" not in said


def posed(m: Mandate, s: Situation) -> Problem:
    assert s.risk is not None
    return decision.problem(m, s, s.risk)


def override(symbol: str, action: str, weight: float | None = None, last: date = DAY) -> Override:
    return Override(
        symbol=symbol, action=action, weight=weight, owner="AB", reason="why", expires=last
    )  # type: ignore[arg-type]


def test_doubling_alphas_risk_aversion_and_costs_is_the_same_decision_to_the_last_bit() -> None:
    groups = (GroupBound(name="new", sector="New", max_weight=0.6),)
    given: dict[str, Any] = {"groups": groups, "max_turnover": 0.5, "long_only": False}
    costs = Costs(impact=0.5, borrow_bp=40.0, commission_bp=1.0, half_spread_bp=4.0)
    twice = Costs(impact=1.0, borrow_bp=80.0, commission_bp=2.0, half_spread_bp=8.0)
    for whole in ({}, {"max_names": 5}):
        one = decision.decide(mandate(costs=costs, **given, **whole), situation(), run_kind="live")
        two = decision.decide(
            mandate(costs=twice, risk_aversion=4.0, **given, **whole), situation(ic=0.1),
            run_kind="live",
        )  # fmt: skip
        assert one.solves["status"].item() == two.solves["status"].item() == "optimal"
        np.testing.assert_array_equal(one.weights, two.weights)


def test_without_skill_scores_do_not_trade_and_costs_alone_decide() -> None:
    m = mandate(objective="mean_variance", max_turnover=None)
    one = decision.decide(m, situation(ic=0.0), run_kind="live")
    rng = np.random.default_rng(9)
    other = {x: float(v) for x, v in zip(IDS, rng.normal(size=N), strict=True)}
    two = decision.decide(m, situation(ic=0.0, z=other), run_kind="live")
    np.testing.assert_array_equal(one.weights, two.weights)
    assert (one.targets["alpha"] == 0).all()
    held = dict(zip(IDS, one.weights.tolist(), strict=True))
    again = decision.decide(m, situation(ic=0.0, held=held), run_kind="live")
    assert np.abs(again.weights - one.weights).max() < 1e-5


def test_longer_holding_periods_charge_less_of_the_cost_and_half_the_cost_is_twice_the_period() -> (
    None
):
    long = decision.decide(mandate(holding_period_days=120.0), situation(), run_kind="live")
    half = Costs(commission_bp=0.5, half_spread_bp=2.0)
    cheap = decision.decide(mandate(costs=half), situation(), run_kind="live")
    np.testing.assert_allclose(long.weights, cheap.weights, atol=1e-9)
    p = posed(mandate(), situation())
    w = p.w0 + np.where(np.arange(N) < 4, 0.01, -0.01)
    without = posed(mandate(costs=Costs(commission_bp=0, half_spread_bp=0)), situation())
    # 8 % traded at 5 bp, 20 of 60 sessions
    assert without.objective(w) - p.objective(w) == pytest.approx(0.08 * 5e-4 / 3, abs=1e-15)


def test_impact_is_that_of_the_money_traded() -> None:
    s = situation()
    p = posed(mandate(costs=Costs(impact=0.7)), s)
    assert p.impact is not None
    assert s.risk is not None
    total = np.sqrt(np.diag(s.risk.B @ s.risk.F @ s.risk.B.T) + s.risk.d**2)
    change, volume = 0.02, np.array([s.volume[x] for x in IDS])
    money = change * s.nav
    cost = money * 0.7 * total * (money / volume) ** 0.5
    np.testing.assert_allclose(p.impact * change**1.5 * s.nav, cost, rtol=1e-12)
    unknown = posed(mandate(costs=Costs(impact=0.7)), replace(s, volume={"n3": 4e6}))
    assert unknown.impact is not None
    np.testing.assert_allclose(unknown.impact / total, 0.7 * (1e7 / 4e6) ** 0.5)


def test_participation_is_a_share_of_the_days_volume_and_not_of_the_first_purchase() -> None:
    m = mandate(max_participation=0.1, max_turnover_name=0.05)
    p = posed(m, situation())
    caps = {x.kind: x.caps for x in p.trade_caps}
    np.testing.assert_allclose(caps["adv"], 0.1 * 1e6 * (1 + np.arange(N)) / 1e7)
    found = decision.decide(m, situation(), run_kind="live")
    assert (np.abs(found.weights - found.w0) <= np.minimum(caps["adv"], 0.05) + 1e-9).all()
    first = posed(m, situation(held={}))
    assert first.trade_caps == ()
    assert any("not limited by max_turnover_name and max_participation" in x for x in first.notes)


def test_the_smallest_trade_holds_for_the_first_purchase_too() -> None:
    m = mandate(min_trade=0.2)
    found = decision.decide(m, situation(held={}), run_kind="live")
    assert found.solves["status"].item() == "optimal"
    bought = found.weights[found.weights > 0]
    assert bought.min() >= 0.2 - 1e-9


def test_borrow_is_a_years_fee_on_shorts() -> None:
    p = posed(mandate(long_only=False, costs=Costs(borrow_bp=252.0)), situation())
    w = np.where(np.arange(N) == 0, -0.3, 0.1)
    free = posed(mandate(long_only=False, costs=Costs(borrow_bp=0.0)), situation())
    # 2.52 % a year on 30 %, for 20 of 252 sessions, once: borrow is not spread over the holding period
    assert free.objective(w) - p.objective(w) == pytest.approx(0.3 * 0.0252 * 20 / 252, abs=1e-15)


def test_overrides_count_live_and_until_their_last_day() -> None:
    held = {**dict.fromkeys(IDS, 0.0), "n0": 0.3, "n1": 0.3, "n2": 0.4}
    m = mandate(
        overrides=(
            override("N0", "do_not_trade"),
            override("N1", "force", 0.05),
            override("N7", "freeze"),
        )
    )
    found = decision.decide(m, situation(held=held), run_kind="live")
    assert found.weights[[0, 1, 7]] == pytest.approx([0.3, 0.05, 0.0], abs=1e-12)
    back = decision.decide(m, situation(held=held), run_kind="backtest")
    plain = decision.decide(mandate(), situation(held=held), run_kind="backtest")
    np.testing.assert_array_equal(back.weights, plain.weights)
    late = tuple(o.model_copy(update={"expires": date(2024, 2, 29)}) for o in m.overrides)
    gone = decision.decide(mandate(overrides=late), situation(held=held), run_kind="live")
    np.testing.assert_array_equal(gone.weights, plain.weights)
    assert "The override of N0 by AB expired on 2024-02-29." in gone.solves["message"].item()


def test_a_frozen_short_may_be_covered_and_not_added_to() -> None:
    held = {**dict.fromkeys(IDS, 0.15), "n0": -0.05}
    m = mandate(long_only=False, overrides=(override("N0", "freeze"), override("N1", "freeze")))
    p = posed(m, situation(held=held))
    assert (p.lower[0], p.upper[0]) == (-0.05, 0.0)
    assert (p.lower[1], p.upper[1]) == (0.0, 0.15)


def test_a_frozen_name_below_the_least_weight_is_not_bought() -> None:
    held = {**dict.fromkeys(IDS, 0.16), "n0": 0.01, "n1": 0.0, "n2": 0.03}
    m = mandate(min_weight=0.02, overrides=tuple(override(f"N{i}", "freeze") for i in range(3)))
    found = decision.decide(m, situation(held=held), run_kind="live")
    assert found.solves["status"].item() == "optimal", found.solves["message"].item()
    assert found.weights[:2] == pytest.approx([0.01, 0.0], abs=1e-12)
    assert 0.02 - 1e-12 <= found.weights[2] <= 0.03 + 1e-12


def test_a_name_that_the_risk_model_does_not_know_is_kept_or_reduced_whatever_its_side() -> None:
    s = situation(held={**dict.fromkeys(IDS, 0.15), "x8": -0.1, "x9": 0.1})
    s = replace(s, members=(*IDS, "x8", "x9"), traded=frozenset((*IDS, "x8", "x9")),
                close={**s.close, "x8": 5.0, "x9": 5.0})  # fmt: skip
    p = posed(mandate(long_only=False), s)
    assert (p.lower[8], p.upper[8]) == (-0.1, 0.0)
    assert (p.lower[9], p.upper[9]) == (0.0, 0.1)


def test_a_long_only_mandate_with_a_negative_least_weight_is_refused() -> None:
    with pytest.raises(PortfolioError, match=r"min_weight is -0\.1 in a long-only mandate"):
        posed(mandate(min_weight=-0.1), situation())


def test_groups_need_names_of_their_own_and_a_label_its_value() -> None:
    s = situation()
    s = replace(s, labels=replace(s.labels, others={"exchange": {"n0": "X"}}))
    twice = (
        GroupBound(name="a", sector="New", max_weight=0.4),
        GroupBound(name="a", symbols=("N0",), max_weight=0.1),
        GroupBound(name="b", label="exchange", max_weight=0.1),
    )
    with pytest.raises(PortfolioError) as error:
        posed(mandate(groups=twice), s)
    assert "2 groups are called 'a'" in str(error.value)
    assert "a label 'exchange' without the value" in str(error.value)


def test_one_factor_may_have_bounds_of_both_kinds_and_unknown_scores_are_said() -> None:
    scores = {"size": dict(zip(IDS[:6], [2.0, 1.0, 0.5, -0.5, -1.0, -2.0], strict=True))}
    both = (
        ExposureBound(factor="size", active=True, max_exposure=0.1),
        ExposureBound(factor="size", active=False, max_exposure=-0.2),
    )
    s = situation(scores=scores)
    p = posed(mandate(exposures=both), s)
    keys = [x.key for x in limits.of(p)]
    assert len(keys) == len(set(keys))
    found = decision.decide(mandate(exposures=both), s, run_kind="live")
    load = np.array([scores["size"].get(x, 0.0) for x in IDS])
    assert load @ found.weights <= -0.2 + 1e-8
    assert "The score size of 2 names is not known" in found.solves["message"].item()


def test_tracking_error_counts_what_the_benchmark_has_and_the_universe_has_not() -> None:
    benchmark = {"N0": 0.5, "N1": 0.3, "GONE": 0.2}
    s = situation(labels=Labels({}, {**{x: x.upper() for x in IDS}, "z": "GONE"}))
    assert s.risk is not None
    p = posed(mandate(benchmark=benchmark, max_tracking_error=0.2), s)
    assert p.ids[-1] == "z"
    assert p.fixed[-1] == 0.0
    full = p.B @ p.F @ p.B.T + np.diag(p.d**2)
    found = decision.decide(
        mandate(benchmark=benchmark, objective="tracking_error"), s, run_kind="live"
    )
    away = found.weights - np.array([0.5, 0.3, 0, 0, 0, 0, 0, 0, 0.2])
    row = np.sqrt(away @ full @ away * 252)
    assert p.volatility(found.weights - p.benchmark) == pytest.approx(row, rel=1e-12)
    assert found.weights[-1] == 0.0


def test_beta_is_the_covariance_with_the_benchmark_over_its_variance() -> None:
    p = posed(mandate(benchmark={"N0": 0.5, "N1": 0.5}, max_beta=0.8), situation())
    full = p.B @ p.F @ p.B.T + np.diag(p.d**2)
    beta = full @ p.benchmark / (p.benchmark @ full @ p.benchmark)
    np.testing.assert_allclose(p.exposures[0].loadings, beta, rtol=1e-12)
    assert beta @ p.benchmark == pytest.approx(1.0)
    m = mandate(benchmark={"N0": 0.5, "N1": 0.5}, max_beta=0.8)
    found = decision.decide(m, situation(), run_kind="live")
    assert beta @ found.weights <= 0.8 + 1e-8
