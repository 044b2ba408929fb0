"""What-if answers against solving by hand, and the price of a limit against its finite difference."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from wealthos_pipeline.core.errors import PortfolioError
from wealthos_pipeline.portfolio import whatif
from wealthos_pipeline.portfolio.optimization import optimise
from wealthos_pipeline.portfolio.problem import Group, Problem

N = 15


def mandate_problem(**changes: object) -> Problem:
    rng = np.random.default_rng(5)
    given: dict[str, object] = {
        "alpha": rng.normal(size=N) * 0.01,
        "w0": rng.dirichlet(np.full(N, 10.0)),
        "upper": 0.2,
        "cost": 5e-4,
        "max_turnover": 0.15,
        "groups": (Group("group tech", "group", np.arange(N) < 5, None, 0.35),),
        **changes,
    }
    return Problem.simple(rng.uniform(0.006, 0.014, (N, 1)), np.eye(1), np.full(N, 0.015), **given)


def row(c: whatif.Comparison, measure: str) -> whatif.Row:
    return next(r for r in c.rows if r.measure == measure)


def test_doing_nothing_is_measured_in_the_same_units() -> None:
    p = mandate_problem()
    found = optimise(p)
    c = whatif.nothing(p, found)
    gain = row(c, "objective")
    assert gain.before == pytest.approx(p.objective(p.w0))
    assert gain.after == pytest.approx(found.objective)
    assert row(c, "objective, a year").change == pytest.approx(gain.change * 252 / p.horizon)
    assert row(c, "volatility").before == pytest.approx(p.volatility(p.w0))
    traded = np.abs(found.weights - p.w0).sum()
    assert row(c, "cost of the trades").after == pytest.approx(5e-4 * traded)
    assert row(c, "cost charged").after == pytest.approx(5e-4 * traded * 20 / 60)
    assert row(c, "turnover").before == 0.0
    assert f"{1e4 * gain.change:.2f} bp over 20 sessions" in c.words[0]
    assert not c.broken


def test_limits_that_what_is_held_breaks_are_told() -> None:
    w0 = np.r_[0.4, np.full(N - 1, 0.6 / (N - 1))]
    p = mandate_problem(w0=w0, max_turnover=0.5)
    c = whatif.nothing(p, optimise(p))
    assert "at most 20 % a name is missed by 20 %" in c.broken
    assert any(b.startswith("group tech: at most 35 % is missed by ") for b in c.broken)
    assert "breaks limits" in c.words[-1]


@pytest.mark.parametrize(("key", "step"), [("turnover", 1e-4), ("max group tech", 1e-4)])
def test_the_price_of_a_limit_is_the_slope_of_the_objective(key: str, step: float) -> None:
    tech = Group("group tech", "group", np.arange(N) < 5, None, 0.2)
    p = mandate_problem(max_turnover=0.1, groups=(tech,), alpha=np.linspace(0.02, -0.02, N))
    found = optimise(p)
    price = {x.key: x for x in whatif.prices(p, found)}[key]
    more = whatif.loosened(p, found, key, by=step)
    assert more.solution is not None
    slope = (more.solution.objective - found.objective) / step
    assert price.per_unit == pytest.approx(slope, rel=0.02)
    assert "1 % looser is worth about" in price.words


def test_a_limit_at_another_value_is_solved_again() -> None:
    p = mandate_problem()
    found = optimise(p)
    c = whatif.loosened(p, found, "turnover", to=0.5)
    by_hand = optimise(replace(p, max_turnover=0.5))
    assert c.solution is not None
    np.testing.assert_allclose(c.solution.weights, by_hand.weights, atol=1e-9)
    assert row(c, "objective").change == pytest.approx(by_hand.objective - found.objective)
    assert c.words[0].startswith("With turnover of at most 15 %: 50 %, the objective gains ")
    tight = whatif.loosened(p, found, "upper", by=-0.05)
    assert row(tight, "objective").change <= 0
    assert "5 % tighter" in tight.words[0]


def test_a_value_that_contradicts_the_others_is_answered_with_the_conflict() -> None:
    p = mandate_problem()
    c = whatif.loosened(p, optimise(p), "upper", to=0.05)
    assert c.solution is not None
    assert c.solution.status == "infeasible"
    assert "there is no answer (infeasible)" in c.words[0]
    assert "come to 75 %" in c.words[0]


def test_a_limit_that_is_not_there_is_refused_with_those_that_are() -> None:
    p = mandate_problem()
    with pytest.raises(
        PortfolioError, match="it has budget, lower, max group tech, turnover, upper"
    ):
        whatif.loosened(p, optimise(p), "sectors")
    differing = replace(p, upper=np.linspace(0.1, 0.2, N))
    with pytest.raises(PortfolioError, match="names have different values"):
        whatif.loosened(differing, optimise(differing), "upper", to=0.3)


def test_another_problem_may_have_other_names() -> None:
    p = mandate_problem()
    rest = mandate_problem(groups=())
    keep = slice(0, N - 1)
    q = Problem.simple(
        rest.B[keep],
        rest.F,
        rest.d[keep],
        alpha=rest.alpha[keep],
        w0=rest.w0[keep],
        cost=5e-4,
        upper=0.2,
    )
    c = whatif.changed(p, optimise(p), q, "without the last name")
    assert c.words[0].startswith("With without the last name") or "differs" in c.words[0]
    assert row(c, "invested").after == pytest.approx(1.0)
    assert set(c.data()) == {"before", "after", "measures", "broken", "words"}
