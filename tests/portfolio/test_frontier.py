"""Frontiers against a dense solver, published points, and what they must be by definition."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from wealthos_pipeline.core.errors import PortfolioError
from wealthos_pipeline.portfolio import frontier, limits
from wealthos_pipeline.portfolio.optimization import optimise
from wealthos_pipeline.portfolio.problem import Group, Problem

N = 12


def views(**changes: object) -> Problem:
    rng = np.random.default_rng(2)
    given: dict[str, object] = {
        "alpha": rng.normal(size=N) * 0.01 + 0.005,
        "w0": rng.dirichlet(np.full(N, 5.0)),
        "upper": 0.3,
        "cost": 2e-3,
        "groups": (Group("group a", "group", np.arange(N) < 4, 0.2, 0.5),),
        **changes,
    }
    return Problem.simple(
        rng.normal(size=(N, 2)) * 0.005 + 0.006, np.eye(2), rng.uniform(0.008, 0.02, N), **given
    )


@pytest.mark.parametrize("costs", [False, True])
def test_every_point_has_the_least_variance_for_its_return(costs: bool) -> None:
    import cvxpy as cp

    p = views(impact=np.full(N, 0.02))
    found = frontier.trace(p, 6, costs=costs)
    assert found.points.height == 6
    S = p.B @ p.F @ p.B.T + np.diag(p.d**2)
    for w, row in zip(found.weights, found.points.iter_rows(named=True), strict=True):
        v = cp.Variable(N)
        net = p.alpha @ v
        if costs:
            traded = cp.abs(v - p.w0)
            net = net - p.kappa * (p.cost @ traded + p.impact @ cp.power(traded, 1.5))
        rows = [cp.sum(v) == 1, v >= 0, v <= 0.3, cp.sum(v[:4]) >= 0.2, cp.sum(v[:4]) <= 0.5]
        rows.append(net >= row["expected_return"] - 1e-9)
        task = cp.Problem(cp.Minimize(1e4 * cp.quad_form(v, S)), rows)
        least = task.solve(solver="CLARABEL") / 1e4
        assert float(w @ S @ w) == pytest.approx(least, rel=5e-5)  # steep at the upper end
        assert limits.violation(p, w) < 1e-7


def test_points_rise_evenly_in_return_and_in_risk() -> None:
    found = frontier.trace(views(), 9)
    returns, risk = (
        found.points["expected_return"].to_numpy(),
        found.points["volatility"].to_numpy(),
    )
    np.testing.assert_allclose(np.diff(returns), np.ptp(returns) / 8, rtol=1e-4)
    assert (np.diff(risk) > -1e-9).all()
    slope = np.diff(returns) / np.maximum(np.diff(risk**2), 1e-15)
    assert (np.diff(slope) <= 1e-6 * slope[:-1]).all(), "each unit of risk buys less"
    assert found.holdings().group_by("point").len().height == 9


def test_costs_lower_the_frontier_everywhere() -> None:
    p = views()
    gross, net = frontier.trace(p, 8), frontier.trace(p, 8, costs=True)
    assert net.points["expected_return"].max() < gross.points["expected_return"].max()
    at = frontier.at_returns(p, net.points["expected_return"].to_list())
    assert (at.points["volatility"] <= net.points["volatility"] + 1e-9).all()


def test_the_optimum_of_the_mandate_lies_on_the_net_frontier() -> None:
    p = views(risk_aversion=10.0)
    target = optimise(p)
    mine = frontier.measured(p, target.weights[None, :], costs=True).row(0, named=True)
    at = frontier.at_returns(p, [mine["expected_return"]], costs=True)
    assert at.points["volatility"][0] == pytest.approx(mine["volatility"], abs=1e-6)


def test_without_views_there_is_one_point() -> None:
    assert frontier.trace(views(alpha=np.zeros(N)), 10).points.height == 1


def test_limits_with_whole_numbers_are_named() -> None:
    found = frontier.trace(views(max_names=8), 3)
    assert found.left_out == ("At most 8 names",)


def test_contradictory_limits_are_refused_with_a_next_step() -> None:
    with pytest.raises(PortfolioError, match="wealthos portfolio optimise"):
        frontier.trace(views(upper=0.05), 3)


def test_marks_are_the_portfolios_that_are_there() -> None:
    p = views()
    assert set(frontier.marks(p, p.benchmark)) == {"present", "target", "benchmark", "1/N"}
    assert "present" not in frontier.marks(replace(p, w0=np.zeros(N)))


REPOSITORY = Path(__file__).resolve().parents[2]
ORACLE = REPOSITORY.parent / "shared" / "oracles" / "or_library" / "INDTRACK1"


@pytest.mark.skipif(not ORACLE.is_dir(), reason="the OR-Library's first problem is not here")
def test_the_published_frontier_of_the_or_library() -> None:
    def read(name: str) -> np.ndarray:
        return np.loadtxt(ORACLE / name, delimiter=",")

    moments, rows, published = read("return.csv"), read("risk.csv"), read("frontier.csv")
    R = np.eye(len(moments))
    for i, j, rho in rows:
        R[int(i) - 1, int(j) - 1] = R[int(j) - 1, int(i) - 1] = rho
    S = R * np.outer(moments[:, 1], moments[:, 1])
    p = Problem.simple(np.eye(len(R)), S, np.zeros(len(R)), alpha=moments[:, 0], horizon=1)
    some = published[::100]
    found = frontier.at_returns(p, list(some[:, 0] - 1e-12))
    variance = np.array([w @ S @ w for w in found.weights])
    np.testing.assert_allclose(variance, some[:, 1], rtol=1e-6)
