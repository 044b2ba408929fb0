"""Implementation shortfall by hand, and against the two portfolios that it compares."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wealthos_pipeline.core.data import contract
from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.portfolio import book, shortfall

DAY = date(2022, 9, 20)
SESSIONS = TradingCalendar().sessions(DAY, date(2022, 10, 3))


def orders(*rows: dict[str, Any]) -> pl.DataFrame:
    table = contract("record.orders")
    common = {
        "run_id": "r", "issued_at": datetime(2022, 9, 20, 21, tzinfo=UTC), "mandate": "m", "date": DAY,
        "sequence": 1, "unrounded_shares": 0.0, "held_shares": 0.0, "value": 0.0, "cost": 5.0,
        "weight_before": 0.0, "target_weight": 0.0, "weight_after": 0.0, "reason": "",
    }  # fmt: skip
    body = [{**common, "instrument_id": f"X:{r['order_id']}", **r} for r in rows]
    return table.conform(pl.DataFrame(body, schema=table.schema()))


def executed(*rows: tuple[str, str, int, float, float, float]) -> pl.DataFrame:
    """(order, side, session's number after the decision, shares, price, fees)."""
    table = contract("clean.fills")
    body = [
        {
            "fill_id": str(i), "order_id": o, "mandate": "m", "date": DAY, "instrument_id": f"X:{o}",
            "side": side, "session": SESSIONS[k], "time": datetime(2022, 9, 21, 14, i, tzinfo=UTC),
            "shares": n, "price": p, "fees": f, "known_at": datetime(2022, 9, 22, tzinfo=UTC),
        }
        for i, (o, side, k, n, p, f) in enumerate(rows)
    ]  # fmt: skip
    return table.conform(pl.DataFrame(body, schema=table.schema()))


def bars(
    name: str, open_: list[float | None], close: list[float], **more: list[float]
) -> pl.DataFrame:
    n = len(close)
    given = {"dividend": [None] * n, "split_index": [1.0] * n, **more}
    return pl.DataFrame(
        {
            "instrument_id": [f"X:{name}"] * n,
            "date": SESSIONS[:n],
            "open": open_,
            "close": close,
            **given,
        },
        schema_overrides={"open": pl.Float64, "dividend": pl.Float64},
    )


def test_worked_example(calendar: TradingCalendar) -> None:
    """Buy 1,000 at a decision price of 50. It opens at 50.20; 400 are bought at 50.30 and, the day after, 300
    at 50.80; fees 12 and 9. The last close is 51.50; 300 are not bought.

    delay        700 × (50.20 − 50.00)                               =  140
    execution    400 × (50.30 − 50.20) + 300 × (50.80 − 50.20)       =  220
    fees         12 + 9                                              =   21
    opportunity  300 × (51.50 − 50.00)                               =  450
    total                                                            =  831
    paper gain   1,000 × 1.50 = 1,500; real: 400 × 1.20 + 300 × 0.70 − 21 = 669; 1,500 − 669 = 831
    """
    got = shortfall.shortfall(
        orders({"order_id": "a", "side": "buy", "shares": 1000.0, "price": 50.0}),
        executed(("a", "buy", 1, 400.0, 50.30, 12.0), ("a", "buy", 2, 300.0, 50.80, 9.0)),
        bars("a", [50.0, 50.2, 50.6, 51.0], [50.0, 50.5, 51.0, 51.5]),
        calendar,
        SESSIONS[3],
    )
    assert got["until"].to_list() == SESSIONS[1:4]
    last = got.row(-1, named=True)
    parts = {k: round(last[k], 9) for k in ("delay", "execution", "fees", "opportunity", "total")}
    assert parts == {
        "delay": 140.0,
        "execution": 220.0,
        "fees": 21.0,
        "opportunity": 450.0,
        "total": 831.0,
    }
    assert last["average_price"] == pytest.approx((400 * 50.3 + 300 * 50.8) / 700)
    assert not last["done"]
    # a day earlier: 400 bought, 600 open at a close of 50.50
    first = got.row(0, named=True)
    assert (first["filled"], first["opportunity"]) == (400.0, pytest.approx(600 * 0.5))
    total = shortfall.summary(got).row(0, named=True)
    assert (total["total"], total["modelled"], total["filled"]) == (pytest.approx(831.0), 5.0, 0.7)
    assert total["total_bp"] == pytest.approx(831 / 50_000 * 1e4)


def test_a_sell_has_the_opposite_sign_and_ends_when_it_is_filled(calendar: TradingCalendar) -> None:
    got = shortfall.shortfall(
        orders({"order_id": "a", "side": "sell", "shares": 100.0, "price": 20.0}),
        executed(("a", "sell", 1, 100.0, 19.5, 1.0)),
        bars("a", [20.0, 19.8, 19.0], [20.0, 19.6, 18.0]),
        calendar,
        SESSIONS[2],
    )
    (row,) = got.iter_rows(named=True)
    # 100 × (20 − 19.8) = 20, 100 × (19.8 − 19.5) = 30, fees 1
    assert (row["delay"], row["execution"], row["total"]) == tuple(
        map(pytest.approx, (20.0, 30.0, 51.0))
    )
    assert row["done"]


def test_without_an_open_delay_is_unknown_and_inside_execution(calendar: TradingCalendar) -> None:
    got = shortfall.shortfall(
        orders({"order_id": "a", "side": "buy", "shares": 10.0, "price": 20.0}),
        executed(("a", "buy", 1, 10.0, 20.5, 0.0)),
        bars("a", [None, None], [20.0, 20.4]),
        calendar,
        SESSIONS[1],
    )
    row = got.row(0, named=True)
    assert (row["delay"], row["execution"], row["total"]) == (
        None,
        pytest.approx(5.0),
        pytest.approx(5.0),
    )


def test_an_order_is_over_after_its_window_or_at_the_next_list(calendar: TradingCalendar) -> None:
    one = {"order_id": "a", "side": "buy", "shares": 10.0, "price": 20.0}
    part = executed(("a", "buy", 1, 5.0, 20.0, 0.0))
    prices = bars("a", [20.0] * 10, [20.0] * 10)
    got = shortfall.shortfall(orders(one), part, prices, calendar, SESSIONS[9])
    assert got["until"].to_list() == SESSIONS[1:6]
    assert got["done"].to_list() == [False] * 4 + [True]
    both = orders(one, {**one, "order_id": "b", "date": SESSIONS[2]})
    got = shortfall.shortfall(both, part, prices, calendar, SESSIONS[9])
    assert got["until"].to_list() == SESSIONS[1:3]


def test_lists_without_any_fill_are_left_out(calendar: TradingCalendar) -> None:
    one = orders({"order_id": "a", "side": "buy", "shares": 10.0, "price": 20.0})
    got = shortfall.shortfall(one, executed(), bars("a", [20.0], [20.0]), calendar, SESSIONS[3])
    assert got.is_empty()


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.booleans())
def test_it_is_the_paper_portfolio_less_the_real_one(seed: int, buy: bool) -> None:
    """Shares, splits, dividends and prices at random: the two portfolios are kept as a broker keeps them."""
    rng = np.random.default_rng(seed)
    n = 5
    sign, ordered = (1.0 if buy else -1.0), 1000.0
    ratio = rng.choice([1.0, 1.0, 2.0], size=n)
    ratio[0] = 1.0
    index = np.cumprod(ratio)
    dividend = np.where(rng.uniform(size=n) < 0.4, rng.uniform(0.1, 1.0, size=n), 0.0)
    dividend[0] = 0.0
    close, opened = rng.uniform(40, 60, size=n) / index, rng.uniform(40, 60, size=n) / index
    traded = rng.uniform(0, 240, size=n)  # in shares of the decision's day
    traded[0] = 0.0
    price = rng.uniform(40, 60, size=n) / index
    fees = rng.uniform(0, 3, size=n)
    fills = [
        ("a", "buy" if buy else "sell", k, traded[k] * index[k], price[k], fees[k])
        for k in range(1, n)
    ]
    got = shortfall.shortfall(
        orders(
            {
                "order_id": "a",
                "side": "buy" if buy else "sell",
                "shares": ordered,
                "price": close[0],
            }
        ),
        executed(*fills),
        bars(
            "a",
            opened.tolist(),
            close.tolist(),
            dividend=dividend.tolist(),
            split_index=index.tolist(),
        ),
        TradingCalendar(),
        SESSIONS[n - 1],
    )
    last = got.row(-1, named=True)

    def worth(buys: list[tuple[int, float, float]]) -> float:
        """Cash and shares at the end of trading (session, shares of that session, price)."""
        cash = units = 0.0
        for k in range(n):
            units *= ratio[k]
            cash += units * dividend[k]  # who holds at the open of the ex-day
            for when, shares, at in buys:
                if when == k:
                    units += shares
                    cash -= shares * at
        return cash + units * close[-1]

    paper = worth([(0, sign * ordered, close[0])])
    real = worth([(k, sign * traded[k] * index[k], price[k]) for k in range(1, n)]) - fees[1:].sum()
    assert last["total"] == pytest.approx(paper - real, abs=1e-6)
    parts = last["delay"] + last["execution"] + last["fees"] + last["opportunity"]
    assert last["total"] == pytest.approx(parts, abs=1e-9)


def test_book_is_the_statement_and_the_fills_since(calendar: TradingCalendar) -> None:
    table = contract("clean.holdings")
    known = calendar.known_at(DAY)
    stock = [("m", DAY, "X:a", 100.0, known), ("m", DAY, "cash", 1000.0, known)]
    held = table.conform(pl.DataFrame(stock, schema=table.schema(), orient="row"))
    prices = bars("a", [10.0] * 3, [10.0, 10.0, 6.0], split_index=[1.0, 1.0, 2.0])
    done = executed(("a", "buy", 1, 10.0, 10.0, 2.0), ("a", "sell", 2, 40.0, 6.0, 1.0))
    since, got = book.implied(held, done, prices, SESSIONS[2])
    assert since == DAY
    by = {r["instrument_id"]: r for r in got.iter_rows(named=True)}
    # 100 shares are 200 after the split, the 10 bought before it are 20, 40 are sold: 180
    assert (by["X:a"]["stated"], by["X:a"]["traded"], by["X:a"]["units"]) == (200.0, -20.0, 180.0)
    # 1000 − 10 × 10 − 2 + 40 × 6 − 1
    assert by["cash"]["units"] == pytest.approx(1137.0)
    assert got["weight"].sum() == pytest.approx(1.0)
    assert book.implied(held.clear(), done, prices, SESSIONS[2])[0] is None
