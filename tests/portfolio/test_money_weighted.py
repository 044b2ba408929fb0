"""Time- and money-weighted returns against documented examples and each other."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wealthos_pipeline.portfolio import performance
from wealthos_pipeline.portfolio.performance import modified_dietz, xirr


def nav_of(
    values: list[float], flows: list[float], cost: float = 0.0, days: int = 1
) -> pl.DataFrame:
    n = len(values)
    return pl.DataFrame(
        {
            "mandate": "m", "run_kind": "backtest",
            "date": [date(2020, 1, 1) + timedelta(days * i) for i in range(n)],
            "nav": np.array(values, dtype=float), "flow": np.array(flows, dtype=float), "cost": [0.0] + [cost] * (n - 1),
        }
    )  # fmt: skip


def test_xirr_of_the_spreadsheets_documented_example() -> None:
    """Microsoft's documentation of XIRR: 0.373362535."""
    payments = [
        (date(2008, 1, 1), -10000.0),
        (date(2008, 3, 1), 2750.0),
        (date(2008, 10, 30), 4250.0),
        (date(2009, 2, 15), 3250.0),
        (date(2009, 4, 1), 2750.0),
    ]
    rate, why = xirr(payments)
    assert rate == pytest.approx(0.373362535, abs=1e-8)
    assert why == ""


def test_modified_dietz_of_the_usual_example() -> None:
    """100 for two years, 50 paid in after the first, 300 at the end: 150 on an average of 125."""
    start, end = date(2021, 1, 1), date(2023, 1, 1)
    assert modified_dietz(100, 300, start, end, [(date(2022, 1, 1), 50)]) == pytest.approx(1.2)
    assert modified_dietz(100, 300, start, start, []) is None
    assert modified_dietz(100, 0, start, end, [(date(2021, 1, 2), -200)]) is None


def test_time_weighted_return_leaves_flows_out() -> None:
    """100 grows by 10 %; 90 comes in at the next opening, and 200 fall by 10 %: −1 % in all."""
    nav = nav_of([100, 110, 180], [0, 0, 90])
    assert performance.time_weighted(nav) == pytest.approx(1.1 * 0.9 - 1)
    assert performance.time_weighted(nav.drop("flow")) == pytest.approx(0.8)
    assert performance.time_weighted(nav.head(1)) is None
    assert performance.session_returns(nav)["r"].to_list() == pytest.approx([0.1, -0.1])


def test_money_weighted_feels_when_money_came() -> None:
    nav = nav_of([100, 110, 180], [0, 0, 90], days=365)
    got = performance.money_weighted(nav)
    assert got.annual is not None
    # −100 now, −90 after a year (the close before the session that it came in for), 180 after two
    assert -100 - 90 / (1 + got.annual) + 180 / (1 + got.annual) ** 2 == pytest.approx(0, abs=1e-9)
    assert got.annual < performance.time_weighted(nav) / 2  # type: ignore[operator]
    assert got.period == pytest.approx((1 + got.annual) ** 2 - 1)


@given(st.lists(st.floats(-0.2, 0.2), min_size=2, max_size=20))
def test_without_flows_all_three_are_the_same_number(returns: list[float]) -> None:
    values = [100.0, *(100 * np.cumprod(1 + np.array(returns))).tolist()]
    nav = nav_of(values, [0.0] * len(values), days=30)
    got = performance.money_weighted(nav)
    whole = values[-1] / values[0] - 1
    assert performance.time_weighted(nav) == pytest.approx(whole, abs=1e-9)
    assert got.dietz == pytest.approx(whole, abs=1e-9)
    if got.period is not None:
        assert got.period == pytest.approx(whole, abs=1e-6)
    else:
        assert "no rate" in got.why


def test_gross_adds_costs_back() -> None:
    nav = nav_of([100, 109, 118.81], [0, 0, 0], cost=1.0, days=365)
    assert performance.time_weighted(nav, gross=True) == pytest.approx(1.1 * (119.81 / 109) - 1)
    gross, net = performance.money_weighted(nav, gross=True), performance.money_weighted(nav)
    assert gross.annual is not None
    assert net.annual is not None
    assert -100 + 1 / (1 + gross.annual) + 119.81 / (1 + gross.annual) ** 2 == pytest.approx(
        0, abs=1e-9
    )
    assert gross.annual > net.annual


def test_what_has_no_rate_says_why() -> None:
    day = date(2020, 1, 1)
    later = [day + timedelta(365 * i) for i in range(3)]
    rate, why = xirr([(later[0], -100.0), (later[1], 230.0), (later[2], -132.0)])
    assert rate is None
    assert "10.0 %" in why
    assert "20.0 %" in why
    assert xirr([(day, -1.0), (later[1], -1.0)])[0] is None
    assert "one day" in xirr([(day, -1.0), (day, 1.5)])[1]
    assert "no rate" in xirr([(day, -1.0), (day + timedelta(1), 50.0)])[1]
    assert performance.money_weighted(nav_of([1.0], [0.0])).why == "fewer than two values"
