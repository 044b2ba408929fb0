"""Sales out of lots in exact integers: worked examples with their arithmetic, and nothing is lost."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wealthos_pipeline.core.errors import PortfolioError
from wealthos_pipeline.core.mandate import Tax
from wealthos_pipeline.portfolio.disposal import CostLot, Disposal, after_sale

UNIT = 10_000  # money is counted in 1/10,000


def money(x: float) -> int:
    return round(x * UNIT)


# The classic example of basis by lots (IRS Publication 550 works with such purchases):
# 100 at 10.00, 100 at 12.00, 100 at 11.00; 150 are sold at 15.00.
LOTS = (
    CostLot("XYZ", "1", 100, money(1000), date(2022, 1, 10)),
    CostLot("XYZ", "2", 100, money(1200), date(2023, 2, 10)),
    CostLot("XYZ", "3", 100, money(1100), date(2023, 9, 11)),
)
SALE = Disposal("XYZ", 150, money(2250), date(2023, 12, 15))


def policy(method: str) -> Tax:
    return Tax(method=method, short_rate=0.37, long_rate=0.15)  # type: ignore[arg-type]


def test_first_in_first_out_worked_by_hand() -> None:
    left, gains = after_sale(LOTS, [SALE], policy("fifo"))
    # lot 1: 100 × 15 − 1,000 = 500, held 704 days: long, 15 % = 75
    # lot 2: 50 × 15 − 600 = 150, held 308 days: short, 37 % = 55.50
    assert [(g.lot, g.units, g.gain, g.days, g.long, g.tax) for g in gains] == [
        ("1", 100, money(500), 704, True, money(75)),
        ("2", 50, money(150), 308, False, money(55.5)),
    ]
    assert [(x.lot, x.units, x.cost) for x in left] == [
        ("2", 50, money(600)),
        ("3", 100, money(1100)),
    ]


def test_highest_cost_first_worked_by_hand() -> None:
    left, gains = after_sale(LOTS, [SALE], policy("hifo"))
    # lot 2 (12 a share): 1,500 − 1,200 = 300; lot 3 (11): 750 − 550 = 200; both short
    assert [(g.lot, g.gain, g.tax) for g in gains] == [
        ("2", money(300), money(111)),
        ("3", money(200), money(74)),
    ]
    assert [(x.lot, x.units) for x in left] == [("1", 100), ("3", 50)]


def test_specific_lots_cheapest_tax_first_or_as_chosen() -> None:
    # tax a share at 15: lot 1 .15 × 5 = .75; lot 2 .37 × 3 = 1.11; lot 3 .37 × 4 = 1.48
    _, gains = after_sale(LOTS, [SALE], policy("specific"))
    assert [(g.lot, g.units, g.tax) for g in gains] == [
        ("1", 100, money(75)),
        ("2", 50, money(55.5)),
    ]
    chosen = Disposal("XYZ", 150, money(2250), SALE.day, ("3", "1"))
    left, gains = after_sale(LOTS, [chosen], policy("specific"))
    assert [(g.lot, g.units, g.gain) for g in gains] == [
        ("3", 100, money(400)),
        ("1", 50, money(250)),
    ]
    assert [(x.lot, x.units) for x in left] == [("1", 50), ("2", 100)]


def test_a_loss_has_a_negative_tax() -> None:
    _, gains = after_sale(LOTS, [Disposal("XYZ", 10, money(80), date(2022, 6, 1))], policy("fifo"))
    assert gains[0].gain == money(-20)
    assert gains[0].tax == money(-7.4)


def test_a_year_to_the_day_is_short_and_a_day_more_is_long() -> None:
    for day, long in ((date(2023, 1, 10), False), (date(2023, 1, 11), True)):
        _, gains = after_sale(LOTS[:1], [Disposal("XYZ", 1, money(15), day)], policy("fifo"))
        assert gains[0].long is long


def test_a_third_of_a_lot_loses_nothing_to_rounding() -> None:
    lots = (CostLot("A", "1", 3, 10_000, date(2020, 1, 1)),)
    left, gains = after_sale(lots, [Disposal("A", 1, 5_000, date(2021, 6, 1))], policy("fifo"))
    assert gains[0].cost == 3_333
    assert left[0].cost == 6_667


@settings(max_examples=100, deadline=None)
@given(
    lots=st.lists(
        st.tuples(st.integers(1, 10**6), st.integers(0, 10**12), st.integers(0, 2000)),
        min_size=1,
        max_size=6,
    ),
    shares=st.lists(st.tuples(st.floats(0.01, 0.6), st.integers(0, 10**12)), max_size=4),
    method=st.sampled_from(["fifo", "hifo", "specific"]),
)
def test_units_cost_and_proceeds_are_conserved(
    lots: list[tuple[int, int, int]], shares: list[tuple[float, int]], method: str
) -> None:
    start = date(2015, 1, 1).toordinal()
    have = [
        CostLot("A", f"{i}", units, cost, date.fromordinal(start + age))
        for i, (units, cost, age) in enumerate(lots)
    ]
    held, sales = sum(x.units for x in have), []
    for share, proceeds in shares:
        units = int(share * held)
        if units:
            sales.append(Disposal("A", units, proceeds, date(2023, 1, 2)))
            held -= units
    left, gains = after_sale(have, sales, policy(method))
    assert sum(x.units for x in left) == held
    assert all(x.units > 0 <= x.cost for x in left)
    assert sum(x.cost for x in left) + sum(g.cost for g in gains) == sum(x.cost for x in have)
    assert sum(g.proceeds for g in gains) == sum(s.proceeds for s in sales)
    assert sum(g.units for g in gains) == sum(s.units for s in sales)
    assert all(g.gain == g.proceeds - g.cost for g in gains)


def test_other_names_are_left_alone() -> None:
    other = CostLot("ABC", "1", 10, money(100), date(2020, 1, 1))
    left, _ = after_sale((other, *LOTS), [SALE], policy("fifo"))
    assert left[0] is other


def test_what_cannot_be_sold_is_listed_and_nothing_is_taken() -> None:
    sales = [
        Disposal("XYZ", 301, money(1), SALE.day),
        Disposal("ABC", 1, money(1), SALE.day),
        Disposal("XYZ", 0, money(1), SALE.day),
        Disposal("XYZ", 5, money(1), SALE.day, ("9",)),
        Disposal("XYZ", 105, money(1), date(2022, 5, 1)),
    ]
    with pytest.raises(PortfolioError) as caught:
        after_sale(LOTS, sales, policy("specific"))
    said = str(caught.value)
    for part in (
        "sale of 301 XYZ on 2023-12-15: only 300 units are held then",
        "sale of 1 ABC on 2023-12-15: only 0 units are held then",
        "0 units, expected a whole number above 0",
        "no lot 9; there are 1, 2, 3",
        "sale of 105 XYZ on 2022-05-01: only 100 units are held then",
    ):
        assert part in said
    with pytest.raises(PortfolioError, match="XYZ lot 1 is given twice"):
        after_sale((LOTS[0], LOTS[0]), [], policy("fifo"))
    with pytest.raises(PortfolioError, match="it names its lots, and the policy is fifo"):
        after_sale(LOTS, [Disposal("XYZ", 5, money(1), SALE.day, ("1",))], policy("fifo"))
    with pytest.raises(PortfolioError, match="expected 0 or more, in int64"):
        after_sale((CostLot("A", "1", 1, 2**63, date(2020, 1, 1)),), [], policy("fifo"))
