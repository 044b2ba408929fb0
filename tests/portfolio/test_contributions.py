"""Whose risk it is, and how long it takes to sell: against finite differences and bisection."""

from __future__ import annotations

import math
from datetime import date

import numpy as np
import polars as pl
import pytest
from portfolio_market import Market

from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.portfolio import books, contributions, liquidity
from wealthos_pipeline.portfolio.backtest import Backtest
from wealthos_pipeline.portfolio.books import Book


@pytest.fixture(scope="module")
def held(market: Market, core_run: Backtest) -> list[Book]:
    return books.backtest(
        core_run.positions, core_run.nav, market.prices, market.calendar, sorted(market.risk_models)
    )


def test_marginal_risk_is_the_slope_of_volatility(market: Market, held: list[Book]) -> None:
    book = held[-1]
    model = market.risk_models[book.date]
    rows = contributions.contributions([book], market.risk_models, lambda day: {})
    B, d, _ = model.align(book.ids)

    def volatility(w: np.ndarray) -> float:
        x = B.T @ w
        return math.sqrt(252 * float(x @ model.F @ x + ((d * w) ** 2).sum()))

    total = rows.filter(pl.col("kind") == "total")["component"][0]
    assert total == pytest.approx(volatility(book.weights), rel=1e-12)
    names = rows.filter(pl.col("kind") == "name").sort("name")
    assert names["name"].to_list() == list(book.ids)
    for i in range(len(book.ids)):
        step = np.zeros(len(book.ids))
        step[i] = 1e-6
        slope = (volatility(book.weights + step) - volatility(book.weights - step)) / 2e-6
        assert names["marginal"][i] == pytest.approx(slope, rel=1e-6)
    np.testing.assert_allclose(names["component"], names["exposure"] * names["marginal"])


def test_every_kind_adds_up_to_the_total(market: Market, held: list[Book]) -> None:
    sectors = dict(market.instruments.drop_nulls("sector").select("instrument_id", "sector").rows())
    rows = contributions.contributions(held, market.risk_models, lambda day: sectors)
    assert rows["date"].n_unique() > 5
    assert contributions.off_total(rows) < 1e-12
    shares = rows.filter(pl.col("kind") == "name").group_by("date").agg(pl.col("share").sum())
    np.testing.assert_allclose(shares["share"], 1.0)
    assert contributions.NO_SECTOR in rows.filter(pl.col("kind") == "sector")["name"].to_list()
    broken = rows.with_columns(
        pl.when(pl.col("kind") == "total").then(0.5).otherwise("component").alias("component")
    )
    assert contributions.off_total(broken) > 0.01
    alone = contributions.contributions(held[-1:], market.risk_models, lambda day: sectors)
    assert alone.equals(rows.filter(pl.col("date") == held[-1].date))


def test_sectors_are_those_of_the_date_of_the_book(market: Market, held: list[Book]) -> None:
    early, late = [b for b in held if b.ids][:1] + held[-1:]
    rows = contributions.contributions(
        [early, late], market.risk_models, lambda day: dict.fromkeys(early.ids + late.ids, str(day))
    )
    named = rows.filter(pl.col("kind") == "sector").select("date", "name")
    assert named.rows() == [(b.date, str(b.date)) for b in (early, late)]


def test_no_model_or_nothing_held_gives_no_rows(market: Market, held: list[Book]) -> None:
    assert contributions.contributions(held, {}, lambda day: {}).height == 0
    idle = Book("m", "live", held[-1].date, (), np.empty(0), 1.0)
    assert contributions.contributions([idle], market.risk_models, lambda day: {}).height == 0


def test_books_are_the_weights_of_the_positions(
    market: Market, core_run: Backtest, held: list[Book]
) -> None:
    book = held[-1]
    nav = dict(core_run.nav.select("date", "nav").rows())
    assert book.nav == pytest.approx(nav[book.date])
    cash = dict(core_run.nav.select("date", "cash").rows())[book.date]
    assert book.weights.sum() + cash / nav[book.date] == pytest.approx(1.0, abs=1e-6)


def test_live_books_take_their_value_from_a_trade() -> None:
    day = date(2022, 12, 28)
    keys = {"mandate": "m", "run_kind": "live", "date": day}
    targets = pl.DataFrame(
        [
            keys | {"instrument_id": "A", "weight_before": 0.4, "weight": 0.5},
            keys | {"instrument_id": "B", "weight_before": 0.0, "weight": 0.1},
            keys | {"instrument_id": "C", "weight_before": 0.3, "weight": 0.0},
        ]
    )
    trades = targets.with_columns(
        ((pl.col("weight") - pl.col("weight_before")) * 2e6).alias("value")
    )
    now, then = (books.live(targets, trades, day, after=after)[0] for after in (False, True))
    assert (now.ids, then.ids) == (("A", "C"), ("A", "B"))
    assert now.nav == pytest.approx(2e6)
    assert now.gross == pytest.approx(0.7)
    assert books.live(targets, trades.head(0), day)[0].nav is None
    assert books.live(targets, trades, date(2022, 12, 27)) == []


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("n", [1, 2, 12])
def test_days_to_sell_are_where_that_share_is_sold(n: int, share: float) -> None:
    rng = np.random.default_rng(n)
    value, capacity = rng.uniform(0.1, 100, n), rng.uniform(0.01, 100, n)
    days = liquidity.days_to_sell(value, capacity, share)
    sold = np.minimum(value, days * capacity).sum()
    assert sold == pytest.approx(share * value.sum(), rel=1e-9)
    before = np.minimum(value, 0.999 * days * capacity).sum()
    assert before < share * value.sum()


def test_volume_is_the_median_of_twenty_sessions_and_else_unknown(
    calendar: TradingCalendar,
) -> None:
    days = calendar.sessions(date(2020, 1, 2), date(2020, 3, 1))[:25]
    slots = [calendar.slot(d) for d in days]
    rng = np.random.default_rng(2)
    volume = rng.uniform(1e5, 1e6, 25)
    full = pl.DataFrame({"instrument_id": "A", "slot": slots, "dollar_volume": volume})
    thin = full.tail(9).with_columns(pl.lit("B").alias("instrument_id"))
    never = full.with_columns(
        pl.lit("C").alias("instrument_id"), pl.lit(None, pl.Float64).alias("dollar_volume")
    )
    book = Book("m", "live", days[-1], ("A", "B", "C"), np.array([0.5, 0.3, -0.2]), 1e6)
    prices = pl.concat([full, thin, never])
    row = liquidity.liquidity([book], prices, calendar, participation=0.1).row(0, named=True)
    assert row["days_100"] == pytest.approx(5e5 / (0.1 * np.median(volume[-20:])))
    assert row["days_50"] == pytest.approx(row["days_100"] / 2)
    assert (row["known_weight"], row["unknown_weight"]) == (0.5, 0.5)
    assert row["slowest"] == "A"
    none = liquidity.liquidity([book], never, calendar).row(0, named=True)
    assert none["days_50"] is none["slowest"] is None
    assert none["unknown_weight"] == 1.0
    with pytest.raises(ValueError, match="participation"):
        liquidity.liquidity([book], prices, calendar, participation=0.0)
    unpriced = Book("m", "live", days[-1], ("A",), np.array([1.0]), None)
    assert liquidity.liquidity([unpriced], prices, calendar).height == 0
