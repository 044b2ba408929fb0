"""Mandates that cannot be met: which limits contradict each other, and what would be enough."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from wealthos_pipeline.portfolio.optimization import Group, Problem, Solution, optimise
from wealthos_pipeline.portfolio.words import percent


def problem(n: int = 20, **changes: Any) -> Problem:
    rng = np.random.default_rng(7)
    B = np.column_stack([rng.uniform(0.006, 0.014, n), rng.normal(size=n) * 0.003])
    given: dict[str, Any] = {"upper": 0.15, "cost": 5e-4, **changes}
    return Problem.simple(B, np.eye(2), rng.uniform(0.008, 0.02, n), **given)


def sectors(n: int = 20, count: int = 4, **bounds: Any) -> tuple[Group, ...]:
    label = np.arange(n) % count
    return tuple(
        Group(f"sector {s}", "sector_cap", label == s, None, bounds["cap"]) for s in range(count)
    )


def enough(found: Solution, starts_with: str) -> float:
    """The least relaxation that the sentence starting so gives, as a number."""
    sentence = next(c for c in found.conflicts if c.startswith(starts_with))
    match = re.search(r"enough: (?:a budget of )?(−?[\d.]+) %", sentence)
    assert match, sentence
    return float(match.group(1).replace("−", "-")) / 100


def test_a_volatility_cap_below_what_stocks_can_do() -> None:
    p = problem(max_volatility=0.01)
    found = optimise(p)
    assert found.status == "infeasible"
    np.testing.assert_array_equal(found.weights, p.w0)
    lowest = p.volatility(optimise(replace(p, max_volatility=None, risk_aversion=1e5)).weights)
    assert enough(found, "Volatility") == pytest.approx(lowest, abs=1e-4)
    budget = enough(found, "Weights must sum to 100 %")
    assert 0 < budget < 0.2
    assert len(found.conflicts) == 2
    for part in ("at most 1 % a year", "Weights must sum to 100 %"):
        assert part in found.message


@pytest.mark.parametrize("limit", ["Volatility", "Weights"])
def test_the_relaxation_is_enough_and_no_less_is(limit: str) -> None:
    p = problem(max_volatility=0.01)
    value = enough(optimise(p), limit)
    name = {"Volatility": "max_volatility", "Weights": "budget"}[limit]
    sign = 1 if limit == "Volatility" else -1
    assert optimise(replace(p, **{name: value + sign * 1e-4})).status == "optimal"
    assert optimise(replace(p, **{name: value - sign * 5e-4})).status == "infeasible"


def test_sector_caps_that_leave_money_over() -> None:
    found = optimise(problem(groups=sectors(cap=0.2)))
    assert found.status == "infeasible"
    assert enough(found, "At most 20 % a sector") == pytest.approx(0.25, abs=1e-4)
    assert enough(found, "Weights must sum to") == pytest.approx(0.8, abs=1e-4)
    assert len(found.conflicts) == 2


def test_floors_of_groups_that_exceed_the_budget() -> None:
    label = np.arange(20)
    groups = (
        Group("group tech", "group", label < 8, 0.6, None),
        Group("group energy", "group", label >= 12, 0.7, None),
        Group("group harmless", "group", label == 10, None, 0.5),
    )
    found = optimise(problem(groups=groups))
    assert enough(found, "Group tech: at least 60 %") == pytest.approx(0.3, abs=1e-4)
    assert enough(found, "Group energy: at least 70 %") == pytest.approx(0.4, abs=1e-4)
    assert "harmless" not in found.message


def test_a_turnover_cap_that_does_not_reach_the_sector_floor() -> None:
    w0 = np.zeros(20)
    w0[10:] = 0.1
    groups = (Group("group new", "group", np.arange(20) < 10, 0.5, None),)
    found = optimise(problem(w0=w0, groups=groups, max_turnover=0.2))
    assert enough(found, "Turnover") == pytest.approx(0.5, abs=1e-4)
    assert enough(found, "Group new") == pytest.approx(0.2, abs=1e-4)
    assert len(found.conflicts) == 2


def test_too_few_names_for_the_largest_weight_needs_no_solver(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from wealthos_pipeline.portfolio import conic

    def never(*_: object) -> None:
        raise AssertionError("a solver was called")

    monkeypatch.setattr(conic, "run_clarabel", never)
    found = optimise(problem(n=3))
    assert found.status == "infeasible"
    assert enough(found, "Weights must sum to 100 %, but 3 names") == pytest.approx(0.45)
    assert enough(found, "At most 15 % a name") == pytest.approx(1 / 3, abs=1e-4)
    found = optimise(problem(n=5, lower=0.25, upper=0.5))
    assert enough(found, "At least 25 % a name") == pytest.approx(0.2)
    nobody = (Group("group gone", "group", np.zeros(20, dtype=bool), 0.1, None),)
    assert "no name of the universe belongs" in optimise(problem(groups=nobody)).message


def test_a_frozen_name_that_breaks_a_cap_is_named() -> None:
    fixed, why = np.full(20, np.nan), [""] * 20
    fixed[0], why[0] = 0.4, "no bar on the day, so it cannot be traded"
    groups = (Group("group a", "group", np.arange(20) < 2, None, 0.3),)
    found = optimise(problem(fixed=fixed, fixed_why=tuple(why), groups=groups))
    assert found.status == "infeasible"
    assert enough(found, "Group a: at most 30 %") == pytest.approx(0.4, abs=1e-4)
    assert "1 name cannot be chosen (no bar on the day, so it cannot be traded): x000" in (
        found.message
    )


def test_the_conflict_is_irreducible() -> None:
    """Dropping any one limit of the conflict makes the rest possible."""
    p = problem(max_volatility=0.05, groups=sectors(cap=0.4), upper=0.2)
    found = optimise(p)
    assert found.status == "infeasible"
    said = " ".join(found.conflicts)
    assert "sector" not in said
    assert optimise(replace(p, max_volatility=None)).status == "optimal"
    assert optimise(replace(p, budget=0.05)).status == "optimal"


def test_the_relaxation_is_never_rounded_to_one_that_is_too_small() -> None:
    """Three sectors need 33.333… % each: 33.33 % would not be enough."""
    found = optimise(problem(groups=sectors(count=3, cap=0.3)))
    value = enough(found, "At most 30 % a sector")
    assert value == pytest.approx(0.3334)
    assert optimise(problem(groups=sectors(count=3, cap=value))).status == "optimal"
    for seed in range(5):
        p = problem(max_volatility=0.05 + 0.001 * seed, upper=0.3 + 0.1 * seed)
        found = optimise(p)
        for limit, name in (("Volatility", "max_volatility"), ("Weights", "budget")):
            relaxed = replace(p, **{name: enough(found, limit)})
            assert optimise(relaxed).status == "optimal", (seed, limit)
    assert enough(optimise(problem(n=3, upper=0.2)), "At most 20 %") == pytest.approx(0.3334)


def test_floors_above_zero_are_relaxed_from_where_they_are() -> None:
    p = problem(max_volatility=0.165, lower=0.04, upper=0.3)
    found = optimise(p)
    value = enough(found, "At least 4 % a name")
    assert 0 < value < 0.04
    assert optimise(replace(p, lower=np.full(20, value))).status == "optimal"
    assert optimise(replace(p, lower=np.full(20, value + 2e-4))).status == "infeasible"


def test_floors_that_differ_are_relaxed_by_one_amount() -> None:
    floors = np.where(np.arange(20) < 10, 0.03, 0.05)
    p = problem(max_volatility=0.165, upper=0.3, lower=0.0)
    p = replace(p, lower=floors)
    sentence = next(c for c in optimise(p).conflicts if c.startswith("At least 3 % to 5 % a name"))
    match = re.search(r"enough: each ([\d.]+) % lower", sentence)
    assert match, sentence
    amount = float(match.group(1)) / 100
    assert optimise(replace(p, lower=floors - amount)).status == "optimal"
    assert optimise(replace(p, lower=floors - amount + 2e-4)).status == "infeasible"


def test_percent_is_short_and_readable() -> None:
    assert [percent(x) for x in (0.15, 1.0, 0.1534, 1 / 3, -0.005, 0.0, -0.00001)] == [
        "15 %", "100 %", "15.34 %", "33.33 %", "−0.5 %", "0 %", "0 %",
    ]  # fmt: skip
