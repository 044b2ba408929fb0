"""Limits that give way: the least important first, and no more than is needed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from wealthos_pipeline.portfolio import diagnosis, limits, softening
from wealthos_pipeline.portfolio.optimization import optimise
from wealthos_pipeline.portfolio.problem import Group, Problem

OLD = np.arange(20) >= 10


def stuck(**changes: object) -> Problem:
    """All money in the second ten names; half of it must go to the first ten, at most a fifth may move."""
    rng = np.random.default_rng(7)
    given: dict[str, object] = {
        "w0": np.where(OLD, 0.1, 0.0),
        "groups": (Group("group new", "group", ~OLD, 0.5, None),),
        "max_turnover": 0.2,
        "upper": 0.15,
        "cost": 5e-4,
        **changes,
    }
    return Problem.simple(
        rng.uniform(0.006, 0.014, (20, 1)), np.eye(1), np.full(20, 0.015), **given
    )


def test_only_the_listed_kind_moves_and_just_as_far_as_needed() -> None:
    found = softening.soften(stuck(soften=("turnover",)), ("said",))
    assert found is not None
    assert found.status == "softened"
    assert found.conflicts == ("said",)
    assert found.given_way == ("Turnover of at most 20 % became 50 %.",)
    assert stuck().turnover(found.weights) == pytest.approx(0.5, abs=1e-6)
    assert found.weights[~OLD].sum() >= 0.5 - 1e-7
    found = softening.soften(stuck(soften=("groups",)), ())
    assert found is not None
    assert found.given_way == ("Group new: at least 50 % became 20 %.",)


def test_the_first_listed_gives_way_first() -> None:
    found = softening.least(stuck(soften=("turnover", "groups")))
    assert found is not None
    assert set(found.amounts) == {"turnover"}
    found = softening.least(stuck(soften=("groups", "turnover")))
    assert found is not None
    assert set(found.amounts) == {"min group new"}


def test_a_later_kind_moves_only_by_what_the_earlier_ones_cannot_give() -> None:
    """The floor of 60 % cannot be met by four names of 10 %, however much is traded."""
    few = np.arange(20) < 4
    groups = (Group("group new", "group", few, 0.6, None),)
    p = stuck(groups=groups, upper=0.1, soften=("turnover", "groups"))
    found = softening.least(p)
    assert found is not None
    assert found.amounts["min group new"] == pytest.approx(0.2, abs=1e-9)
    assert found.amounts["turnover"] == pytest.approx(0.2, abs=1e-9)
    assert found.given_way == (
        "Turnover of at most 20 % became 40 %.",
        "Group new: at least 60 % became 40 %.",
    )


def test_what_may_not_move_does_not() -> None:
    p = stuck(soften=("sectors", "beta", "upper"))
    assert softening.soften(p, ()) is None
    assert optimise(p).status == "infeasible"


@pytest.mark.parametrize("seed", range(5))
def test_the_answer_meets_the_loosened_limits_and_a_little_less_is_impossible(seed: int) -> None:
    rng = np.random.default_rng(seed)
    p = stuck(
        soften=("turnover",),
        max_turnover=float(rng.uniform(0.05, 0.2)),
        groups=(Group("group new", "group", ~OLD, float(rng.uniform(0.3, 0.7)), None),),
    )
    loosened = softening.least(p)
    assert loosened is not None
    found = softening.soften(p, ())
    assert found is not None
    assert limits.violation(loosened.problem, found.weights) < 1e-6
    cap = loosened.problem.max_turnover
    assert cap is not None
    assert round(cap, 4) == pytest.approx(cap, abs=1e-12), "what is said is what holds"
    assert diagnosis.conflict(replace(p, max_turnover=cap - 2e-4)) is not None


def test_the_objective_is_still_that_of_the_mandate() -> None:
    p = stuck(soften=("turnover",))
    found = softening.soften(p, ())
    by_hand = optimise(replace(p, soften=(), max_turnover=0.5))
    assert found is not None
    np.testing.assert_allclose(found.weights, by_hand.weights, atol=1e-6)


def test_a_count_of_names_gives_way_by_whole_names() -> None:
    p = stuck(groups=(), max_turnover=None, upper=0.1, max_names=8, soften=("names",))
    found = softening.least(p)
    assert found is not None
    assert found.given_way == ("At most 8 names became 10.",)


def test_optimise_answers_with_the_softened_portfolio() -> None:
    found = optimise(stuck(soften=("turnover",)))
    assert found.status == "softened"
    assert any("Turnover of at most 20 %" in sentence for sentence in found.conflicts)
