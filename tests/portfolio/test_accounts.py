"""The ledger: accounts worked out by hand, against a plain loop, and to the last ten-thousandth."""

from __future__ import annotations

from datetime import date
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_bars import FIRST, Bar, bars, plain

from wealthos_pipeline.core.errors import PortfolioError
from wealthos_pipeline.core.mandate import Costs
from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.portfolio import accounts, backtest, held
from wealthos_pipeline.portfolio.backtest import Simulation, simulate
from wealthos_pipeline.portfolio.panel import Panel, build

FREE = Costs(commission_bp=0, half_spread_bp=0, borrow_bp=0)


def decided(**weights: float) -> pl.DataFrame:
    """Weights decided at the close of the first session."""
    return pl.DataFrame(
        {
            "date": [FIRST] * len(weights),
            "instrument_id": list(weights),
            "weight": [*weights.values()],
        }
    )


def events(done: Simulation, *kinds: str) -> list[tuple[Any, ...]]:
    rows = done.events.filter(pl.col("kind").is_in(kinds)) if kinds else done.events
    return rows.select("kind", "instrument_id", "units", "price", "amount").rows()


def checked(done: Simulation) -> Simulation:
    off = accounts.reconcile(done.events, done.positions, done.nav, done.panel)
    assert off.height == done.nav.height
    assert off.select(pl.col(*accounts.RESIDUALS).abs().max()).row(0) == (0, 0, 0, 0.0)
    assert accounts.faults(off, done.nav, list(done.panel.dates)) == []
    return done


def test_a_ruined_short_has_no_returns_and_no_weights(calendar: TradingCalendar) -> None:
    """−1,000 shares at 100, which goes to 300: 100,000 are lost, then 100,000 more."""
    rows = bars(calendar, {"A": [100, 100, 200, 300, 150]})
    done = simulate(decided(A=-1.0), rows, calendar, costs=FREE, initial_nav=100_000)
    assert done.nav["nav"].to_list() == [100_000, 100_000, 0, -100_000, 50_000]
    assert done.nav["return_net"].to_list() == [None, 0.0, -1.0, None, None]
    (book,) = held.of(done.positions, done.nav, done.panel, calendar)
    assert book.rows.tolist() == [0, 1, 4]
    off = accounts.reconcile(done.events, done.positions, done.nav, done.panel)
    (fault,) = accounts.faults(off, done.nav, list(done.panel.dates))
    assert "2 sessions with a net asset value of 0 or less, first 2016-01-06" in fault


# --- by hand ---------------------------------------------------------------------------------------


def test_a_dividend_and_a_split_by_hand(calendar: TradingCalendar) -> None:
    """Half of 100,000 in A at 100: 500 shares; commission of 10 bp is 50."""
    rows = bars(calendar, {"A": [100, 100, Bar(99, dividend=1), Bar(50, split=2), 51]})
    costs = Costs(commission_bp=10, half_spread_bp=0)
    done = checked(simulate(decided(A=0.5), rows, calendar, costs=costs, initial_nav=100_000))
    assert events(done) == [
        ("deposit", None, None, None, 1_000_000_000),
        ("buy", "A", 500.0, 100.0, -500_000_000),
        ("commission", "A", None, None, -500_000),
        ("dividend", "A", 500.0, 1.0, 5_000_000),
        ("split", "A", 500.0, None, 0),
    ]
    assert done.events["note"].to_list()[-2:] == [None, "2 for 1"]
    # cash: 100,000 − 50,000 − 50 = 49,950; + 500
    assert done.nav["cash"].to_list() == [100_000, 49_950, 50_450, 50_450, 50_450]
    # value: 500 × 100, 500 × 99, 1000 × 50, 1000 × 51
    assert done.nav["nav"].to_list() == [100_000, 99_950, 99_950, 100_450, 101_450]
    assert done.nav["cost"].to_list() == [0, 50, 0, 0, 0]
    assert done.nav["turnover"].to_list() == [0, 0.25, 0, 0, 0]
    shares = done.positions.filter(pl.col("instrument_id") == "A")
    days = calendar.sessions(FIRST, calendar.offset(FIRST, 4))
    assert shares.select("date", "units").rows() == [(days[1], 500.0), (days[3], 1000.0)]


def test_a_short_pays_dividends_and_borrow_by_hand(calendar: TradingCalendar) -> None:
    """−500 shares at 100; 252 bp a year are 1 bp of the value at the close before, each session."""
    rows = bars(calendar, {"A": [100, 100, Bar(99, dividend=1), 99]})
    costs = Costs(commission_bp=0, half_spread_bp=0, borrow_bp=252)
    done = checked(simulate(decided(A=-0.5), rows, calendar, costs=costs, initial_nav=100_000))
    assert events(done, "sell", "dividend", "borrow") == [
        ("sell", "A", -500.0, 100.0, 500_000_000),
        ("dividend", "A", -500.0, 1.0, -5_000_000),
        ("borrow", "A", -500.0, None, -50_000),  # 50,000 × 1 bp = 5.00
        ("borrow", "A", -500.0, None, -49_500),  # 49,500 × 1 bp = 4.95
    ]
    # 150,000 − 500 − 5 − 49,500 and then − 4.95
    assert done.nav["nav"].to_list() == [100_000, 100_000, 99_995, 99_990.05]
    assert done.nav["cost"].to_list() == [0, 0, 5, 4.95]


def test_a_delisting_by_hand(calendar: TradingCalendar) -> None:
    """A stops at 80; ten sessions later its 500 shares are cash at 80, and nothing is charged."""
    rows = bars(calendar, {"A": [100, 100, 80], "B": [10.0] * 15})
    done = checked(simulate(decided(A=0.5), rows, calendar, costs=FREE, initial_nav=100_000))
    assert events(done, "delisting") == [("delisting", "A", -500.0, 80.0, 400_000_000)]
    day = done.events.filter(pl.col("kind") == "delisting")["date"][0]
    assert day == calendar.offset(FIRST, 2 + accounts.DEAD_AFTER)
    late = done.nav.filter(pl.col("date") >= day)
    assert set(late["cash"]) == {90_000.0}
    assert set(late["names"]) == {0}
    assert late["cost"].sum() == 0


def test_a_partial_fill_by_hand(calendar: TradingCalendar) -> None:
    """1,000 shares trade at 100 and a tenth may be filled: 100 of 500 shares, the rest is dropped."""
    rows = bars(calendar, {"A": [100, Bar(100, volume=1000), Bar(100, volume=1e6)]})
    done = checked(
        simulate(decided(A=0.5), rows, calendar, costs=FREE, initial_nav=100_000, participation=0.1)
    )
    assert events(done, "buy", "unfilled") == [
        ("unfilled", "A", 400.0, 100.0, 0),
        ("buy", "A", 100.0, 100.0, -100_000_000),
    ]
    assert done.nav["nav"].to_list() == [100_000.0] * 3
    assert "volume" in done.events.filter(pl.col("kind") == "unfilled")["note"][0]


def test_impact_by_hand(calendar: TradingCalendar) -> None:
    """σ 2 %, V 1,000,000, a trade of 10,000: 2 % · √0.01 = 20 bp of it, 20."""
    rows = bars(calendar, {"A": [Bar(100, volume=10_000)] * 22})
    costs = Costs(commission_bp=0, half_spread_bp=4, impact=1.0, impact_exponent=0.5)
    day = calendar.offset(FIRST, 20)
    weights = pl.DataFrame({"date": [day], "instrument_id": ["A"], "weight": [0.1]})
    done = checked(
        simulate(weights, rows, calendar, costs=costs, initial_nav=100_000, volatility=np.full((22, 1), 0.02))
    )  # fmt: skip
    assert events(done, "spread", "impact") == [
        ("spread", "A", None, None, -40_000),
        ("impact", "A", None, None, -200_000),
    ]


def test_sales_pay_for_purchases_which_are_scaled_to_the_cash(calendar: TradingCalendar) -> None:
    """All of 100,000 in A, then in B at 1 %: 99,009.90… becomes 98,019.80… of B and its costs."""
    rows = bars(calendar, {"A": [10.0] * 4, "B": [20.0] * 4})
    second = calendar.offset(FIRST, 1)
    weights = pl.DataFrame(
        {"date": [FIRST, second], "instrument_id": ["A", "B"], "weight": [1.0, 1.0]}
    )
    costs = Costs(commission_bp=100, half_spread_bp=0)
    done = checked(simulate(weights, rows, calendar, costs=costs, initial_nav=100_000))
    # A: 100,000 / 1.01 = 99,009.9010; B: that less 1 %, over 1.01
    a = 100_000 / 1.01
    assert done.nav["nav"][1] == pytest.approx(a, abs=1e-3)
    assert done.nav["nav"][2] == pytest.approx(a * 0.99 / 1.01, abs=1e-3)
    assert 0 <= done.nav["cash"].min() < 1e-2  # type: ignore[operator]
    kinds = done.events.filter(pl.col("date") == calendar.offset(FIRST, 2))["kind"].to_list()
    assert kinds[0] == "sell"
    assert kinds[2:] == ["unfilled", "buy", "commission"]  # 1 % of A and of B are missing: told


def test_interest_is_a_year_s_rate_over_252_on_the_cash_before(calendar: TradingCalendar) -> None:
    rows = bars(calendar, {"A": [100.0] * 3})
    done = checked(
        simulate(decided(A=0.5), rows, calendar, costs=FREE, initial_nav=100_000, rates=0.0252)
    )
    assert events(done, "interest") == [
        ("interest", None, None, None, 100_000),  # 100,000 × 1 bp
        ("interest", None, None, None, 50_010),  # 50,010 × 1 bp = 5.001
    ][:2]  # fmt: skip


def test_lots_are_whole_and_a_split_pays_the_fraction(calendar: TradingCalendar) -> None:
    """455 shares are 4 lots of 100; 3 for 2 makes 600; 301 of 1 share after 3 for 2: 451 and half a share."""
    rows = bars(calendar, {"A": [110, 110, Bar(80, split=1.5)]})
    done = checked(
        simulate(decided(A=0.5005), rows, calendar, costs=FREE, initial_nav=100_000, lot=100)
    )
    assert events(done, "buy", "split") == [
        ("buy", "A", 400.0, 110.0, -440_000_000),
        ("split", "A", 200.0, None, 0),
    ]
    odd = checked(
        simulate(decided(A=0.3311), rows, calendar, costs=FREE, initial_nav=100_000, lot=1)
    )
    assert events(odd, "buy", "split") == [
        ("buy", "A", 301.0, 110.0, -331_100_000),
        ("split", "A", 150.0, 80.0, 400_000),
    ]


def test_amounts_are_rounded_half_to_even() -> None:
    from wealthos_pipeline.portfolio import ledger

    # 1/32 is 312.5 ten-thousandths, exactly
    for units, want in ((1, 312), (3, 938), (5, 1562), (-1, -312), (-3, -938)):
        assert ledger._money(float(units), 1 / 32) == want
    assert [accounts.ticks(x) for x in (0.00004, 0.00006, 12.3456)] == [0, 1, 123456]
    many = np.random.default_rng(1).integers(0, 2**51, size=1000)
    assert [accounts.ticks(float(x)) for x in accounts.money(many)] == many.tolist()


# --- what the vendor does not list -----------------------------------------------------------------


def test_what_the_index_says_beyond_the_price_is_paid_in_cash(calendar: TradingCalendar) -> None:
    """Closes as traded with a total return and no list: 1 % more than the price on the third bar."""
    rows = bars(calendar, {"A": [100, 100, Bar(99, dividend=1), 99]})
    listed = simulate(decided(A=0.5), rows, calendar, costs=FREE)
    bare = rows.with_columns(dividend=pl.lit(None, dtype=pl.Float64))
    done = checked(simulate(decided(A=0.5), bare, calendar, costs=FREE))
    assert done.nav.equals(listed.nav)
    note = done.events.filter(pl.col("kind") == "dividend")["note"][0]
    assert note == "not stated; what the total-return index says beyond the price"


def test_a_series_in_another_unit_is_rebased_and_no_dividend(calendar: TradingCalendar) -> None:
    """The close halves and the index does not: twice the shares, no money."""
    rows = bars(calendar, {"A": [100, 100, 50, 50]}).with_columns(tr_index=pl.lit(1.0))
    done = checked(simulate(decided(A=0.5), rows, calendar, costs=FREE))
    assert done.nav["nav"].n_unique() == 1
    assert events(done, "dividend", "split") == [("split", "A", 50_000.0, None, 0)]


def test_without_dividends_it_is_what_units_of_the_index_were(
    synthetic_prices: pl.DataFrame, calendar: TradingCalendar
) -> None:
    """Back-adjusted closes: the accounts before there was cash, a float loop over units of the index."""
    names = [f"SYN{i:02d}" for i in (0, 1, 2, 6, 9, 12)]
    rows = synthetic_prices.filter(pl.col("instrument_id").is_in(names)).with_columns(
        close=100 * pl.col("tr_index"),
        dividend=pl.lit(None, dtype=pl.Float64),
        split_ratio=pl.lit(1.0),
    )
    days = sorted(rows["date"].unique())
    ends = calendar.lasts(days[0], days[-1], "month")[:-1]
    weights = pl.DataFrame(
        [(d, n, 1 / len(names)) for d in ends for n in names],
        schema=["date", "instrument_id", "weight"],
        orient="row",
    )
    done = checked(simulate(weights, rows, calendar, initial_nav=1e7))
    marks: dict[str, float] = {}
    units = dict.fromkeys(names, 0.0)
    cash, order, navs = 1e7, None, []
    book = {d: part for (d,), part in rows.partition_by("date", as_dict=True).items()}
    for day in days:
        today = dict(book[day].select("instrument_id", "tr_index").iter_rows())
        marks |= today
        if day < ends[0]:
            continue
        if order:
            trades = {n: q for n, q in order.items() if n in today and q}
            for n, q in trades.items():
                if q < 0:
                    cash += -q * marks[n] * (1 - 5e-4)
                    units[n] += q
            buys = {n: q for n, q in trades.items() if q > 0}
            spent = sum(q * marks[n] for n, q in buys.items()) * (1 + 5e-4)
            scale = min(1.0, cash / spent) if spent else 1.0
            for n, q in buys.items():
                cash -= scale * q * marks[n] * (1 + 5e-4)
                units[n] += scale * q
            order = None
        nav = cash + sum(units[n] * marks.get(n, 0.0) for n in names)
        navs.append(nav)
        if day in ends:
            order = {n: nav / len(names) / marks[n] - units[n] for n in names if n in marks}
    np.testing.assert_allclose(done.nav["nav"], navs, rtol=1e-9)


# --- any market --------------------------------------------------------------------------------------


@st.composite
def markets(draw: st.DrawFn) -> tuple[int, bool, float | None, float, float]:
    """Seed, shorts, participation, borrow in bp a year, interest a year."""
    return (
        draw(st.integers(0, 2**31)),
        draw(st.booleans()),
        draw(st.sampled_from([None, 0.05, 0.3])),
        draw(st.sampled_from([0.0, 50.0, 400.0])),
        draw(st.sampled_from([0.0, 0.03])),
    )


def random_market(
    calendar: TradingCalendar, seed: int, shorts: bool
) -> tuple[pl.DataFrame, dict[date, dict[str, float]]]:
    rng = np.random.default_rng(seed)
    T, names = 40, [f"N{i}" for i in range(5)]
    table: dict[str, list[Bar | float | None]] = {}
    for k, name in enumerate(names):
        close, given_bars = 10.0 + 90 * rng.random(), []
        stop = int(rng.integers(12, T)) if k == 3 else T
        for t in range(T):
            close *= float(np.exp(rng.normal(0, 0.03)))
            if t >= stop or (k == 1 and rng.random() < 0.2) or (k == 2 and t < 6):
                given_bars.append(None)
                continue
            ratio = float(rng.choice([1.0, 2.0, 0.1, 1.5], p=[0.94, 0.02, 0.02, 0.02]))
            paid = round(0.01 * close, 2) if rng.random() < 0.06 else 0.0
            close /= ratio
            given_bars.append(
                Bar(round(close, 2) + 0.01, paid, ratio, float(rng.integers(0, 20_000)))
            )
        table[name] = given_bars
    rows = bars(calendar, table)
    days = calendar.sessions(FIRST, calendar.offset(FIRST, T - 1))
    weights = {}
    for t in sorted(rng.choice(np.arange(8, T - 1), size=6, replace=False)):
        w = rng.random(5) * (rng.random(5) < 0.7)
        w = w / max(w.sum(), 1e-9) * rng.uniform(0.5, 1.0)
        if shorts:
            w *= np.where(rng.random(5) < 0.4, -1, 1)
        weights[days[int(t)]] = dict(zip(names, w.tolist(), strict=True))
    return rows, weights


def framed(weights: dict[date, dict[str, float]]) -> pl.DataFrame:
    rows = [(d, n, w) for d, own in weights.items() for n, w in own.items()]
    return pl.DataFrame(rows, schema=["date", "instrument_id", "weight"], orient="row")


@settings(max_examples=40, deadline=None)
@given(markets())
def test_any_market_reconciles_and_equals_a_plain_loop(drawn: tuple[Any, ...]) -> None:
    seed, shorts, participation, borrow, rate = drawn
    calendar = TradingCalendar("XNYS")
    rows, weights = random_market(calendar, seed, shorts)
    costs = Costs(commission_bp=2, half_spread_bp=5, borrow_bp=borrow)
    done = checked(
        simulate(framed(weights), rows, calendar, costs=costs, initial_nav=1_000_000,
                 participation=participation, rates=rate or None)
    )  # fmt: skip
    want = plain(
        rows, weights, initial=1_000_000, commission=2e-4, spread=5e-4,
        borrow=borrow / 1e4 / 252, rate=rate / 252, participation=participation,
    )  # fmt: skip
    for column, told in (("nav", want.nav), ("cash", want.cash), ("cost", want.cost)):
        assert [accounts.ticks(x) for x in done.nav[column]] == told, column
    assert done.nav["names"].to_list() == [len(s) for s in want.shares]
    last = done.positions.filter(pl.col("date") == done.positions["date"].max())
    assert dict(last.filter(pl.col("instrument_id") != "cash")["instrument_id", "units"].iter_rows()) == want.shares[-1]  # fmt: skip


@pytest.mark.parametrize("seed", range(4))
def test_what_comes_later_changes_nothing_before(calendar: TradingCalendar, seed: int) -> None:
    rows, weights = random_market(calendar, seed, shorts=True)
    until = calendar.offset(FIRST, 27)
    whole = simulate(framed(weights), rows, calendar)
    early = {d: w for d, w in weights.items() if d <= until}
    cut = simulate(framed(early), rows.filter(pl.col("date") <= until), calendar)
    for table in ("nav", "positions", "events"):
        assert getattr(cut, table).equals(getattr(whole, table).filter(pl.col("date") <= until))


def test_what_was_tampered_with_is_found(calendar: TradingCalendar) -> None:
    rows, weights = random_market(calendar, 5, shorts=False)
    done = simulate(framed(weights), rows, calendar)
    amounts = pl.when(pl.col("kind") == "commission").then(pl.col("amount") + 1).otherwise("amount")
    off = accounts.reconcile(
        done.events.with_columns(amount=amounts), done.positions, done.nav, done.panel
    )
    words = accounts.faults(off, done.nav.filter(pl.col("date") != done.nav["date"][5]), list(done.panel.dates))  # fmt: skip
    assert any("whose cash does not add up" in w and "−" not in w for w in words)
    assert any("1 sessions have no net asset value" in w for w in words)
    units = pl.when(pl.col("kind") == "buy").then(pl.col("units") * 2).otherwise("units")
    off = accounts.reconcile(
        done.events.with_columns(units=units), done.positions, done.nav, done.panel
    )
    assert off["shares"].max() > 0  # type: ignore[operator]
    assert off["cash"].abs().max() == 0


# --- a path of weights -------------------------------------------------------------------------------


def test_a_matrix_is_what_rows_are_and_nan_leaves_alone(calendar: TradingCalendar) -> None:
    rows, weights = random_market(calendar, 9, shorts=False)
    panel = build(rows, calendar)
    matrix = np.full((len(panel.dates), len(panel.ids)), np.nan)
    for day, own in weights.items():
        matrix[panel.dates.index(day)] = [own.get(n, 0.0) for n in panel.ids]
    whole = simulate(framed(weights), rows, calendar)
    assert simulate(matrix, panel).events.equals(whole.events)
    quiet = simulate(matrix, panel, journal=False)
    assert quiet.nav.equals(whole.nav)
    assert quiet.events.height == 0
    alone = matrix.copy()
    alone[:, 0] = np.nan
    done = checked(simulate(alone, panel))
    assert not done.events.filter(pl.col("instrument_id") == panel.ids[0]).height


def test_an_open_fill_and_names_without_a_price(calendar: TradingCalendar) -> None:
    table = {"A": [100, Bar(104, open=102)], "B": [50, None], "C": [None, 10.0]}
    done = checked(
        simulate(decided(A=0.3, B=0.3, C=0.2), bars(calendar, table), calendar, costs=FREE, fill="open",
                 initial_nav=100_000)
    )  # fmt: skip
    assert events(done, "buy") == [("buy", "A", 300.0, 102.0, -306_000_000)]
    assert done.nav["nav"][1] == 100_000 + 300 * 2
    lost = done.events.filter(pl.col("kind") == "unfilled")
    assert lost.select("instrument_id", "note").rows() == [
        ("B", "no price to trade at in the session"),
        ("C", "no price at the decision"),
    ]


def test_every_fault_of_the_weights_is_listed(calendar: TradingCalendar) -> None:
    rows = bars(calendar, {"A": [1.0, 1.0]})
    bad = pl.DataFrame(
        {"date": [FIRST, date(2016, 1, 9)], "instrument_id": ["X", "A"], "weight": [0.1, None]}
    )
    with pytest.raises(PortfolioError) as caught:
        simulate(bad, rows, calendar, fill="noon", participation=2.0, lot=0)
    for words in ("fill is 'noon'", "participation is 2.0", "lot is 0", "no session", "prices of X", "1 weights are missing"):  # fmt: skip
        assert words in str(caught.value)
    with pytest.raises(PortfolioError, match="hold no decision"):
        simulate(np.full((2, 1), np.nan), build(rows, calendar))
    with pytest.raises(PortfolioError, match="needs a calendar"):
        simulate(decided(A=1.0), rows)
    with pytest.raises(PortfolioError, match="225,179,981,368"):
        simulate(decided(A=1.0), rows, calendar, initial_nav=1e15)


# --- weights at each close ---------------------------------------------------------------------------


def test_weights_at_each_close_explain_the_next_return(calendar: TradingCalendar) -> None:
    """On a session without fills, fees and interest the return is Σ weight × total return."""
    rows, weights = random_market(calendar, 17, shorts=True)
    done = simulate(framed(weights), rows, calendar, costs=FREE)
    panel: Panel = done.panel
    (book,) = held.of(done.positions, done.nav, panel, calendar)
    assert book.rows.tolist() == [panel.dates.index(d) for d in done.nav["date"]]
    np.testing.assert_array_equal(book.nav, done.nav["nav"])
    np.testing.assert_allclose(book.weights.sum(axis=1) + book.cash, 1.0, atol=1e-9)
    tr = accounts.Marks.of(panel).tr[:, book.columns]
    moves = np.nan_to_num(tr[book.rows[1:]] / tr[book.rows[:-1]] - 1)
    want = (book.weights[:-1] * moves).sum(axis=1)
    np.testing.assert_allclose(done.nav["return_net"][1:], want, atol=1e-9)
    short = panel.ids[book.columns[0]]
    with pytest.raises(PortfolioError, match=f"holds {short}"):
        held.of(done.positions, done.nav, build(rows.filter(pl.col("instrument_id") != short), calendar), calendar)  # fmt: skip


def test_volume_and_past_returns_are_those_known_at_the_close(calendar: TradingCalendar) -> None:
    from wealthos_pipeline.portfolio.panel import returns_before, volume_on

    table = {
        "A": [Bar(10, volume=100 + k) for k in range(25)],
        "B": [Bar(20, volume=None if k < 16 else 50.0) for k in range(25)],
        "C": [Bar(5 + k, volume=0.0) for k in range(25)],
    }
    panel = build(bars(calendar, table), calendar)
    # A: dollar volumes 10 × (103 … 122) at row 22; B: 7 of 20 sessions; C: its median is 0
    assert volume_on(panel, 22) == {"A": 10 * 112.5}
    assert volume_on(panel, 24) == {"A": 10 * 114.5}
    assert volume_on(panel, 8) == {}
    past = returns_before(panel, 3, 5, ["C", "missing"])
    np.testing.assert_allclose(past[:, 0], [np.nan, np.nan, 1 / 5, 1 / 6, 1 / 7])
    assert np.isnan(past[:, 1]).all()


def test_lookback_covers_what_objectives_read() -> None:
    from wealthos_pipeline.utils.config import PortfolioSettings

    plain_one = backtest.EQUAL_WEIGHT
    assert backtest.lookback(plain_one, PortfolioSettings()) == backtest.LOOKBACK
    tail = plain_one.model_copy(update={"objective": "cvar"})
    assert backtest.lookback(tail, PortfolioSettings(risk_sessions=504)) > 504


def test_splits_come_from_the_index_where_there_is_no_ratio(calendar: TradingCalendar) -> None:
    rows, weights = random_market(calendar, 23, shorts=True)
    assert (rows["split_ratio"] != 1).sum() > 3
    told = simulate(framed(weights), rows, calendar)
    again = simulate(framed(weights), rows.drop("split_ratio"), calendar)
    np.testing.assert_allclose(again.nav["nav"], told.nav["nav"], rtol=1e-12)
    kinds = [f.events["kind"].value_counts().sort("kind") for f in (told, again)]
    assert kinds[0].equals(kinds[1])
