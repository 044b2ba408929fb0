"""The efficient frontier of a mandate's problem: the least risk for each expected return, under all its limits.

Points lie between the portfolio of least variance and that of largest expected return, evenly in return. With
``costs`` the return is net of what the objective charges for going there from the weights held (cost × h/H, impact,
borrow; DESIGN §11). Each point is one conic program in factor form, cold, on one thread. Limits that need whole
numbers (counts, smallest holdings and trades, budgets of gains) are left out, and named.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from wealthos_pipeline.core.errors import PortfolioError
from wealthos_pipeline.portfolio import conic, constraints, elastic, formulation, limits, objectives
from wealthos_pipeline.portfolio.problem import SESSIONS_PER_YEAR, Floats, Problem

SCALE = 1e4
"""Variances over the horizon are of this order below 1."""
SAME = 1e-9
"""Expected returns this near to each other are one point."""

POINTS = pl.Schema(
    {
        "point": pl.Int64,
        "volatility": pl.Float64,
        "expected_return": pl.Float64,
        "expected_return_year": pl.Float64,
        "cost": pl.Float64,
        "turnover": pl.Float64,
        "names": pl.Int64,
    }
)
"""volatility: annualised (√252). expected_return: over the horizon, net of ``cost`` where costs are charged."""


@dataclass(frozen=True, eq=False)
class Frontier:
    """points: see ``POINTS``, by rising return. weights: points × n. costs: whether returns are net.

    left_out: limits that take no part, in words.
    """

    points: pl.DataFrame
    weights: Floats
    ids: tuple[str, ...]
    costs: bool
    left_out: tuple[str, ...] = ()

    def holdings(self) -> pl.DataFrame:
        """``point, instrument_id, weight`` of what each point holds (beyond 1e-6)."""
        at, name = np.nonzero(np.abs(self.weights) > 1e-6)
        return pl.DataFrame(
            {
                "point": at.astype(np.int64),
                "instrument_id": [self.ids[i] for i in name],
                "weight": self.weights[at, name],
            },
            schema={"point": pl.Int64, "instrument_id": pl.String, "weight": pl.Float64},
        )


def trace(p: Problem, points: int = 25, *, costs: bool = False) -> Frontier:
    """``points`` portfolios from least variance to largest expected return.

    One point where every portfolio of least variance has the largest return (no views). PortfolioError
    where the limits contradict each other, or the answer of a point is not found.
    """
    if points < 2:
        raise PortfolioError(f"a frontier needs 2 points or more, found {points}")
    program = _Program(p, costs)
    calm = program.least_variance(None)
    best = program.largest_return()
    low, high = program.net(calm), program.net(best)
    if high - low <= SAME:
        return program.frontier(calm[None, :])
    inner = [program.least_variance(float(r)) for r in np.linspace(low, high, points)[1:-1]]
    return program.frontier(np.array([calm, *inner, program.least_variance(high - SAME)]))


def at_returns(p: Problem, returns: Sequence[float], *, costs: bool = False) -> Frontier:
    """The portfolio of least variance for each expected return (at least that, over the horizon)."""
    program = _Program(p, costs)
    return program.frontier(np.array([program.least_variance(float(r)) for r in returns]))


def marks(p: Problem, target: Floats | None = None, *, costs: bool = False) -> dict[str, Floats]:
    """Portfolios to show beside the frontier: as it is, target, benchmark, 1/N of the free names."""
    found = {"present": p.w0, "benchmark": p.benchmark, "1/N": formulation.one_over_n(p)}
    if target is not None:
        found["target"] = target
    return {name: w for name, w in found.items() if np.abs(w).any()}


def measured(p: Problem, weights: Floats, *, costs: bool) -> pl.DataFrame:
    """One row of ``POINTS`` for each row of ``weights``."""
    spent = np.array([objectives.costs(p, w) if costs else 0.0 for w in weights])
    gain = weights @ p.alpha - spent
    return pl.DataFrame(
        {
            "point": np.arange(len(weights)),
            "volatility": [p.volatility(w) for w in weights],
            "expected_return": gain,
            "expected_return_year": gain * SESSIONS_PER_YEAR / p.horizon,
            "cost": spent,
            "turnover": [p.turnover(w) for w in weights],
            "names": [int((np.abs(w) > 1e-6).sum()) for w in weights],
        },
        schema=POINTS,
    )


class _Program:
    """Rows of the convex limits, trades and shorts, made once; a point adds one row and an objective."""

    def __init__(self, p: Problem, costs: bool) -> None:
        p.validate()
        self.p, self.costs = p, costs
        everything = limits.of(p)
        self.kept = [x for x in everything if elastic.is_convex(x)]
        self.left_out = tuple(x.words for x in everything if not elastic.is_convex(x))
        self.linear, self.impact, self.borrow = objectives.rates(p)
        self.bent = costs and bool(self.impact.any())

    def net(self, w: Floats) -> float:
        """Expected return over the horizon, after the costs that are charged."""
        return float(self.p.alpha @ w) - (objectives.costs(self.p, w) if self.costs else 0.0)

    def least_variance(self, at_least: float | None) -> Floats:
        """Weights of least variance with that return or more."""
        return self._solved(at_least, variance=True)

    def largest_return(self) -> Floats:
        """Weights of largest return."""
        return self._solved(None, variance=False)

    def frontier(self, weights: Floats) -> Frontier:
        """The points with their measures."""
        points = measured(self.p, weights, costs=self.costs)
        return Frontier(points, weights, self.p.ids, self.costs, self.left_out)

    def _solved(self, at_least: float | None, *, variance: bool) -> Floats:
        p, n = self.p, len(self.p.ids)
        extra = {}
        if self.costs:
            extra = {"traded": n, "short": n, "hit": n if self.bent else 0}
        built = constraints.stack(p, self.kept, {}, extra, risk=True)
        if self.costs:
            self._trades(built)
        # a return is in units of the cost of one percent, so that the solver sees numbers near 1
        gain: dict[str, Floats] = {"w": p.alpha}
        if self.costs:
            gain |= {"traded": -self.linear, "short": -self.borrow}
            gain |= {"hit": -self.impact} if self.bent else {}
        if at_least is not None:
            size = max(float(np.abs(p.alpha).max()), abs(at_least), 1e-12)
            row = {name: conic.dense(-x / size) for name, x in gain.items()}
            built.at_most("return", np.array([-at_least / size]), **row)
        q, curve = np.zeros(built.rows.width), np.zeros(built.rows.width)
        start = built.rows.starts
        if variance:
            h = SCALE * p.horizon
            curve[start["w"] : start["w"] + n] = h * p.d**2
            curve[start["y"] : start["y"] + p.F.shape[0]] = h
        else:
            size = max(float(np.abs(p.alpha).max()), 1e-12)
            for name, x in gain.items():
                q[start[name] : start[name] + n] = -x / size
        if self.costs:  # what is not traded is not charged, also where no return is asked for
            q[start["traded"] : start["traded"] + n] += 1e-9
            q[start["short"] : start["short"] + n] += 1e-9
        answer = constraints.solve(built, q, curve)
        if not answer.solved:
            raise PortfolioError(
                "the frontier cannot be drawn: "
                + (
                    "the limits contradict each other. `wealthos portfolio optimise` says which."
                    if "Infeasible" in answer.status
                    else f"the solver stopped with {answer.status} after {answer.iterations} iterations"
                )
            )
        return answer.x[:n]

    def _trades(self, built: constraints.Stack) -> None:
        p, n = self.p, len(self.p.ids)
        one, below = conic.diagonal(1.0, n), conic.diagonal(-1.0, n)
        built.at_most("buy", p.w0, w=one, traded=below)
        built.at_most("sell", -p.w0, w=below, traded=below)
        built.at_most("short", np.zeros(n), w=below, short=below)
        built.at_most("long", np.zeros(n), short=below)
        if self.bent:
            exponent = 1.0 / (1.0 + p.impact_exponent)
            for i in range(n):  # hit ≥ traded^(1 + exponent)
                built.power(
                    f"impact {i}", np.array([0.0, 1.0, 0.0]), exponent,
                    hit=conic.Entries(np.array([0]), np.array([i]), np.array([-1.0])),
                    traded=conic.Entries(np.array([2]), np.array([i]), np.array([-1.0])),
                )  # fmt: skip
