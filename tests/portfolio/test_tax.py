"""Tax lots in a decision: order, rates, the convex part, and the whole by whole numbers against a grid."""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import date

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wealthos_pipeline.core.errors import PortfolioError
from wealthos_pipeline.core.mandate import Tax
from wealthos_pipeline.portfolio import integer, tax
from wealthos_pipeline.portfolio.problem import Floats, Problem, TaxLots
from wealthos_pipeline.portfolio.situation import Lot

DAY = date(2024, 6, 28)
LOTS = (
    Lot("A", "a1", 100, 40.0, date(2020, 1, 15)),  # long, gain of 60 on 100
    Lot("A", "a2", 50, 90.0, date(2024, 3, 1)),  # short, gain of 10
    Lot("A", "a3", 50, 120.0, date(2024, 5, 1)),  # short, loss of 20
    Lot("B", "b1", 200, 20.0, date(2023, 6, 29)),  # 365 days: short still
    Lot("B", "b2", 200, 30.0, date(2023, 6, 28)),  # 366 days: long
)
PRICES = {"A": 100.0, "B": 25.0}
NAV = 30_000.0  # A: 20,000, B: 10,000


def policy(method: str, **others: float) -> Tax:
    return Tax(method=method, short_rate=0.37, long_rate=0.2, **others)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("method", "order"),
    [
        ("fifo", ["a1", "a2", "a3", "b2", "b1"]),
        ("hifo", ["a3", "a2", "a1", "b2", "b1"]),
        # tax per unit of weight: a1 .2 × .6 = .12, a2 .37 × .1 = .037, a3 −.074; b1 .37 × .2 = .074, b2 −.04
        ("specific", ["a3", "a2", "a1", "b2", "b1"]),
    ],
)
def test_lots_are_in_the_order_of_sale(method: str, order: list[str]) -> None:
    found = tax.lots_at(DAY, LOTS, PRICES, NAV, policy(method), ("A", "B"))
    assert list(found.what) == order
    assert found.ordered == (method != "specific")
    by = dict(
        zip(
            found.what,
            zip(found.row, found.weight, found.gain, found.rate, strict=True),
            strict=True,
        )
    )
    assert by["a1"] == (0, pytest.approx(1 / 3), pytest.approx(0.6), 0.2)
    assert by["a3"] == (0, pytest.approx(1 / 6), pytest.approx(-0.2), 0.37)
    assert by["b1"] == (1, pytest.approx(1 / 6), pytest.approx(0.2), 0.37)
    assert by["b2"] == (1, pytest.approx(1 / 6), pytest.approx(-0.2), 0.2)


def test_ties_go_by_the_lots_id_whatever_the_order_they_come_in() -> None:
    same = [Lot("A", x, 10, 50.0, date(2022, 1, 1)) for x in ("z", "b", "m")]
    for lots in itertools.permutations(same):
        for method in ("fifo", "hifo", "specific"):
            found = tax.lots_at(DAY, lots, PRICES, NAV, policy(method), ("A",))
            assert found.what == ("b", "m", "z")


def test_a_lot_without_a_price_is_left_out() -> None:
    found = tax.lots_at(DAY, LOTS, {"A": 100.0}, NAV, policy("fifo"), ("A", "B"))
    assert set(found.what) == {"a1", "a2", "a3"}


def test_every_lot_that_cannot_be_used_is_listed() -> None:
    bad = (
        Lot("A", "x", -5, 10.0, date(2020, 1, 1)),
        Lot("A", "y", 5, -1.0, date(2020, 1, 1)),
        Lot("A", "z", 5, 10.0, date(2030, 1, 1)),
        Lot("Q", "q", 5, 10.0, date(2020, 1, 1)),
        *[Lot("B", "b", 5, 10.0, date(2020, 1, 1))] * 2,
    )
    with pytest.raises(PortfolioError) as caught:
        tax.lots_at(DAY, bad, PRICES, NAV, policy("fifo"), ("A", "B"))
    for part in (
        "A lot x",
        "A lot y",
        "A lot z: acquired on 2030-01-01",
        "Q lot q",
        "B lot b: given twice",
    ):
        assert part in str(caught.value)


def two(method: str, w0: tuple[float, float] = (2 / 3, 1 / 3), **others: object) -> Problem:
    """A and B of ``LOTS``, and C without lots; no costs but tax."""
    rng = np.random.default_rng(2)
    B = np.array([[1.0], [1.1], [0.8]])
    d = np.array([0.012, 0.015, 0.014])
    lots = tax.lots_at(DAY, LOTS, PRICES, NAV, policy(method), ("A", "B", "C"))
    values: dict[str, object] = {
        "alpha": 0.05 * rng.standard_normal(3), "w0": np.array([*w0, 0.0]), "tax": lots, "upper": 0.9,
        "holding_period": 60.0, **others,
    }  # fmt: skip
    p = Problem.simple(B, np.array([[1e-4]]), d, **values)  # type: ignore[arg-type]
    return replace(p, ids=("A", "B", "C"))


def test_the_tax_of_a_sale_is_that_of_the_lots_it_takes() -> None:
    w = np.array([2 / 3 - 0.25, 1 / 3, 0.25])
    # FIFO: .25 out of a1 (a third): .25 × .6 × .2 = 3 %
    assert tax.tax_of(two("fifo"), w) == pytest.approx(0.03)
    assert tax.realised(two("fifo"), w) == pytest.approx(0.15)
    # highest cost: a3 (1/6) at −.2 × .37, then .25 − 1/6 = 1/12 of a2 at .1 × .37
    p = two("hifo")
    assert tax.tax_of(p, w) == pytest.approx(-0.074 / 6 + 0.037 / 12)
    assert tax.realised(p, w) == pytest.approx(-0.2 / 6 + 0.1 / 12)
    assert tax.tax_of(p, p.w0) == 0.0
    assert tax.tax_of(replace(p, tax=None), w) == 0.0


def test_segments_are_the_convex_hull_from_below() -> None:
    p = two("fifo")
    found = tax.segments(p)
    for sale in found.sales:
        i = sale.row
        x, exact = tax.curve(p, i)
        grid = np.linspace(x[0], x[-1], 801)
        ours = np.interp(grid, sale.reduction, sale.tax)
        truth = np.array([tax.tax_of(p, np.where(np.arange(3) == i, p.w0 - g, p.w0)) for g in grid])
        assert np.interp(grid, x, exact) == pytest.approx(truth, abs=1e-12)
        assert (ours <= truth + 1e-12).all()
        assert (np.diff(sale.slopes) > 0).all()
        assert sale.gap == pytest.approx(float((truth - ours).max()), abs=2e-4)
    assert not found.exact
    assert found.gap == pytest.approx(sum(s.gap for s in found.sales))


def test_rising_gains_are_exact_and_a_loss_is_not() -> None:
    lots = TaxLots(
        np.array([0, 0, 1]),
        np.array([1 / 3, 1 / 3, 1 / 3]),
        np.array([0.1, 0.4, 0.2]),
        np.full(3, 0.2),
        True,
    )
    p = replace(two("fifo"), tax=lots)
    assert tax.segments(p).exact
    loss = replace(lots, gain=np.array([0.1, 0.4, -0.2]))
    assert [s.exact for s in tax.segments(replace(p, tax=loss)).sales] == [True, False]
    assert tax.segments(replace(p, tax=None)).sales == ()


def test_a_holding_that_differs_from_its_lots_by_rounding_needs_no_more_whole_numbers() -> None:
    p = two("specific")
    dusty = replace(p, w0=p.w0 * (1 + 3e-12))
    for i in (0, 1):
        exact, near = tax.pieces(p, i, 0.0, 0.9), tax.pieces(dusty, i, 0.0, 0.9)
        assert near.breaks.tolist() == exact.breaks.tolist()
        assert near.length == pytest.approx(exact.length, abs=1e-10)
        assert near.start + near.length.sum() == pytest.approx(dusty.w0[i], abs=1e-15)


def grid_best(p: Problem, steps: int = 60) -> float:
    """The best objective on a grid of the simplex (three names), nodes of the lots included."""
    line = np.linspace(0.0, 0.9, steps + 1)
    best = -np.inf
    for a in line:
        for b in line:
            w = np.array([a, b, 1.0 - a - b])
            if -1e-12 <= w[2] <= 0.9 and integer.violation(p, w) <= 1e-9:
                best = max(best, p.objective(w))
    return best


@pytest.mark.parametrize("method", ["fifo", "hifo", "specific"])
def test_decisions_with_tax_are_not_beaten_by_a_grid(method: str) -> None:
    p = two(method, cost=0.001, risk_aversion=20.0)
    found = integer.solve(p)
    assert found.status == "optimal"
    best = grid_best(p)
    assert found.objective + found.gap >= best
    assert found.objective >= best - integer.GAP * abs(best)
    assert integer.violation(p, found.weights) <= 1e-8


def test_a_loss_is_harvested_and_nothing_is_both_bought_and_sold() -> None:
    p = two("hifo", alpha=np.zeros(3))
    found = integer.solve(p)
    # the loss in A is worth .074 a unit of weight, a third of it in the objective: more than any risk here
    assert found.weights[0] < p.w0[0] - 0.1
    assert found.objective == pytest.approx(p.objective(found.weights), abs=1e-15)
    without = integer.solve(replace(p, tax=replace(_lots(p), rate=np.zeros(5))))
    assert found.objective > without.objective


def test_a_budget_of_gains_holds_and_costs_something() -> None:
    free = two("fifo", alpha=np.array([-0.03, 0.02, 0.02]))
    sold = integer.solve(free)
    gains = tax.realised(free, sold.weights)
    assert gains > 0.05
    capped = replace(free, tax=replace(_lots(free), gains_budget=0.02))
    found = integer.solve(capped)
    assert found.status == "optimal"
    assert tax.realised(capped, found.weights) <= 0.02 + 1e-9
    assert found.objective < sold.objective
    assert found.objective + found.gap >= grid_best(capped)


def test_gains_of_names_that_must_be_sold_count_and_can_make_the_budget_impossible() -> None:
    p = two("fifo", alpha=np.zeros(3))
    lots = replace(_lots(p), gains_budget=0.1)
    gone = replace(
        p,
        fixed=np.array([0.0, np.nan, np.nan]),
        fixed_why=("no longer in the universe", "", ""),
        tax=lots,
    )  # A realises 1/3 × .6 + 1/6 × .1 − 1/6 × .2 = .1833
    found = integer.solve(gone)
    # B: b2 loses .2 × 1/6 = .0333 first; nothing brings it down to .1
    assert found.status == "infeasible"
    assert "Realised gains of at most 10 %" in found.message
    room = replace(gone, tax=replace(lots, gains_budget=0.16))
    found = integer.solve(room)
    assert found.status == "optimal"
    assert tax.realised(room, found.weights) <= 0.16 + 1e-9


@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_the_answer_is_never_worse_than_doing_nothing_and_rates_of_zero_change_nothing(
    seed: int,
) -> None:
    rng = np.random.default_rng(seed)
    n, m = 8, 20
    w0 = rng.dirichlet(np.ones(n))
    row = np.sort(rng.integers(0, n, m))
    share = rng.random(m)
    weight = np.array([w0[i] * s / share[row == i].sum() for i, s in zip(row, share, strict=True)])
    lots = TaxLots(row, weight, rng.uniform(-0.5, 0.8, m), rng.choice([0.2, 0.37], m), True)
    p = _random(rng, w0, lots)
    found = integer.solve(p)
    assert found.status == "optimal"
    assert integer.violation(p, found.weights) <= 1e-8
    assert found.objective >= p.objective(w0) - 1e-12
    hull = tax.segments(p)
    untaxed = integer.solve(replace(p, tax=replace(lots, rate=np.zeros(m))))
    # losses pay at most what the hull says below 0
    most = -sum(float(s.tax.min()) for s in hull.sales) * p.kappa
    assert found.objective <= untaxed.objective + untaxed.gap + most + 1e-9


def _random(rng: np.random.Generator, w0: Floats, lots: TaxLots) -> Problem:
    n = len(w0)
    B, d = rng.standard_normal((n, 2)), rng.uniform(0.01, 0.02, n)
    return Problem.simple(
        B,
        np.diag([1e-4, 2e-5]),
        d,
        alpha=0.3 * d * rng.standard_normal(n),
        w0=w0,
        cost=0.0005,
        tax=lots,
    )


def test_marginal_utilities_know_the_tax_of_the_next_sale() -> None:
    p = two("fifo", alpha=np.array([-0.03, 0.02, 0.02]), cost=0.0005)
    found = integer.solve(p)
    assert found.parts is not None
    assert found.weights[0] < p.w0[0]
    assert found.parts.alpha == pytest.approx(p.alpha)
    slope = tax.piece_at(p, found.weights)[0]
    assert found.parts.cost[0] == pytest.approx(p.kappa * (0.0005 + slope[0]), rel=1e-6)
    parts = found.parts
    assert parts.alpha + parts.risk + parts.cost + parts.constraint == pytest.approx(
        np.zeros(3), abs=1e-7
    )


def _lots(p: Problem) -> TaxLots:
    assert p.tax is not None
    return p.tax


@pytest.mark.parametrize("kind", ["mean_variance", "min_variance", "tracking_error"])
def test_the_objective_charges_the_share_of_the_tax_that_falls_into_the_horizon(kind: str) -> None:
    p = replace(two("fifo"), objective_kind=kind)
    w = np.array([0.1, 0.3, 0.6])
    due = tax.tax_of(p, w) * p.horizon / p.holding_period
    assert due != 0
    assert p.objective(w) == pytest.approx(replace(p, tax=None).objective(w) - due, abs=1e-15)


def test_losses_worth_more_than_the_ratio_without_tax_are_within_the_gap() -> None:
    p = replace(two("hifo"), objective_kind="max_sharpe", alpha=np.array([0.004, 0.003, 0.002]))
    lots = _lots(p)
    p = replace(p, tax=replace(lots, gain=np.minimum(lots.gain, -0.2), rate=np.full(5, 0.4)))
    found = integer.solve(p)
    assert found.status == "optimal"
    assert found.objective > integer.solve(replace(p, tax=None, max_names=3)).objective
    assert found.gap > 0
    assert found.objective + found.gap >= grid_best(p)
