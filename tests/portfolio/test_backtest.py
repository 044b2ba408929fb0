"""The backtest: accounts that add up, no look-ahead, exact resumption, decisions without an answer."""

from __future__ import annotations

from datetime import date
from typing import Any

import numpy as np
import polars as pl
import pytest
from portfolio_market import Market

from wealthos_pipeline.core.errors import PortfolioError
from wealthos_pipeline.core.portfolio import Costs, Mandate
from wealthos_pipeline.portfolio import accounts, backtest, conic, fast
from wealthos_pipeline.portfolio.backtest import Backtest, State
from wealthos_pipeline.portfolio.panel import build

TABLES = ("targets", "solves", "trades", "positions", "nav", "events")


def ledger(market: Market, mandate: Mandate, run: Backtest) -> pl.DataFrame:
    """An independent account, kept with a plain loop in floats from the positions and prices alone.

    Per session: splits and dividends of what was held overnight, money paid and received at fills, costs.
    """
    price: dict[str, float] = {}
    bars = {d: part for (d,), part in market.prices.partition_by("date", as_dict=True).items()}
    shots = {d: part for (d,), part in run.positions.partition_by("date", as_dict=True).items()}
    held: dict[str, float] = {}
    cash = mandate.initial_nav
    rows = []
    for day in run.nav["date"]:
        today = {r["instrument_id"]: r for r in bars[day].iter_rows(named=True)}
        for name in sorted(held):
            if name in today:
                held[name] *= today[name]["split_ratio"]
                cash += held[name] * (today[name]["dividend"] or 0.0)
        price.update({name: bar["close"] for name, bar in today.items()})
        fees = traded = 0.0
        if day in shots:
            after = dict(shots[day].select("instrument_id", "units").iter_rows())
            told = after.pop("cash")
            for name in sorted(held.keys() | after.keys()):
                value = (after.get(name, 0.0) - held.get(name, 0.0)) * price[name]
                cash -= value
                if name in today:  # without a bar it is a burial, not a trade
                    fees += abs(value) * mandate.costs.one_way
                    traded += abs(value)
            cash -= fees
            held = after
            assert cash == pytest.approx(told, abs=1e-1)
        value = sum(units * price[name] for name, units in sorted(held.items()))
        rows.append((day, cash + value, fees, traded, cash, len(held)))
    columns = ["date", "nav", "cost", "traded", "cash", "names"]
    return pl.DataFrame(rows, schema=columns, orient="row")


@pytest.mark.parametrize("which", ["core", "equal_weight"])
def test_every_unit_of_money_is_accounted_for(
    market: Market, core: Mandate, core_run: Backtest, benchmark_run: Backtest, which: str
) -> None:
    mandate, run = {
        "core": (core, core_run),
        "equal_weight": (backtest.EQUAL_WEIGHT, benchmark_run),
    }[which]
    want = ledger(market, mandate, run)
    np.testing.assert_allclose(run.nav["nav"], want["nav"], atol=1e-2)
    # every amount is rounded to 1/10,000: some 30 names × 4 amounts × 30 fills
    np.testing.assert_allclose(run.nav["cost"], want["cost"], rtol=1e-9, atol=1e-2)
    np.testing.assert_allclose(run.nav["cash"], want["cash"], atol=1e-1)
    assert run.nav["names"].to_list() == want["names"].to_list()
    assert run.nav["cost"].sum() > 0
    growth = (1 + run.nav["return_net"].drop_nulls()).product()
    assert growth == pytest.approx(run.nav["nav"][-1] / mandate.initial_nav, rel=1e-12)
    gap = (run.nav["return_gross"] - run.nav["return_net"]).drop_nulls()
    np.testing.assert_allclose(
        gap, (run.nav["cost"] / run.nav["nav"].shift(1)).drop_nulls(), atol=1e-15
    )


def test_it_starts_with_cash_at_the_first_month_end_with_a_risk_model(
    market: Market, core_run: Backtest
) -> None:
    first = min(market.risk_models)
    row = core_run.nav.row(0, named=True)
    assert (row["date"], row["nav"], row["names"], row["return_net"]) == (
        first,
        1_000_000.0,
        0,
        None,
    )
    assert core_run.solves["date"].min() == first
    assert core_run.nav["names"][1] > 0
    sessions = market.calendar.sessions(first, market.last)
    assert core_run.nav["date"].to_list() == sessions


def test_decisions_are_on_month_ends_and_fill_the_session_after(
    market: Market, core_run: Backtest
) -> None:
    days = core_run.nav["date"]
    ends = market.calendar.lasts(days[0], days[-1], "month")
    assert core_run.solves["date"].to_list() == ends
    fills = set(core_run.nav.filter(pl.col("turnover") > 0)["date"])
    assert fills <= {market.calendar.offset(d, 1) for d in ends}
    assert len(fills) > 20


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"fill": "open", "rebalance": "week", "cash_buffer": 0.05, "objective": "min_variance"},
        {"objective": "min_variance"},
        {
            "long_only": False,
            "max_short": 0.3,
            "max_gross": 1.6,
            "fill_participation": 0.0005,
            "costs": Costs(impact=0.5, borrow_bp=300),
        },
        {"lots": True, "objective": "equal_weight", "rebalance": "week"},
    ],
    ids=[
        "core",
        "open fills by week",
        "minimum variance",
        "shorts, impact and thin volume",
        "lots",
    ],
)
def test_resuming_at_any_session_gives_the_same_bits(
    market: Market, core: Mandate, changes: dict[str, Any]
) -> None:
    mandate = core.model_copy(update=changes)
    whole = market.run(mandate)
    calendar = market.calendar
    decisions = whole.solves["date"].to_list()
    rng = np.random.default_rng(3)
    days = whole.nav["date"].to_list()
    cuts = [days[int(i)] for i in rng.integers(3 * len(days) // 4, len(days), size=2)]
    cuts += [decisions[-9], calendar.offset(decisions[-9], 1), calendar.offset(decisions[-2], 2)]
    for cut in cuts:
        state = State(
            whole.positions.filter(pl.col("date") < cut), whole.nav.filter(pl.col("date") < cut)
        )
        near = market.prices.filter(pl.col("date") >= calendar.offset(cut, -backtest.LOOKBACK))
        again = market.run(mandate, prices=near, state=state, start=cut)
        for table in TABLES:
            want = getattr(whole, table).filter(pl.col("date") >= cut)
            assert getattr(again, table).equals(want), (cut, table)


def test_every_session_reconciles_to_the_last_ten_thousandth(
    market: Market, core: Mandate, core_run: Backtest, benchmark_run: Backtest
) -> None:
    panel = build(market.prices, market.calendar)
    thin = core.model_copy(
        update={
            "name": "thin", "long_only": False, "max_short": 0.3, "max_gross": 1.6,
            "fill_participation": 0.0005, "costs": Costs(impact=0.5, borrow_bp=300),
        }
    )  # fmt: skip
    rates = pl.DataFrame({"date": [date(2017, 1, 3), date(2018, 1, 3)], "rate": [0.01, 0.03]})
    made = market.run(thin, rates=rates)
    kinds = set(made.events["kind"])
    assert kinds >= {
        "deposit",
        "buy",
        "sell",
        "commission",
        "spread",
        "impact",
        "dividend",
        "split",
    }
    assert kinds >= {"borrow", "interest", "unfilled"}
    for run in (core_run, benchmark_run, made):
        off = accounts.reconcile(run.events, run.positions, run.nav, panel)
        assert off.height == run.nav.height
        assert off.select(pl.col(*accounts.RESIDUALS).abs().max()).row(0) == (0, 0, 0, 0.0)
    cut = made.nav["date"][400]
    later = [f.filter(pl.col("date") >= cut) for f in (made.events, made.nav)]
    off = accounts.reconcile(later[0], made.positions, later[1], panel)
    assert off.height == later[1].height - 1
    assert off.select(pl.col(*accounts.RESIDUALS).abs().max()).row(0) == (0, 0, 0, 0.0)


def test_later_data_change_nothing_before(
    market: Market, core: Mandate, core_run: Backtest
) -> None:
    until = date(2018, 6, 13)
    calendar = market.calendar
    cut = market.run(
        core,
        prices=market.prices.filter(pl.col("date") <= until),
        universe=market.universe.filter(pl.col("date") <= until),
        predictions=market.predictions.filter(pl.col("date") <= until),
        evaluation=market.evaluation.filter(pl.col("known_at") <= calendar.known_at(until)),
        risk_models={d: m for d, m in market.risk_models.items() if d <= until},
    )
    for table in TABLES:
        want = getattr(core_run, table).filter(pl.col("date") <= until)
        assert getattr(cut, table).equals(want), table


def test_the_order_of_rows_does_not_matter(
    market: Market, core: Mandate, core_run: Backtest
) -> None:
    mixed = {
        name: getattr(market, name).sample(fraction=1.0, shuffle=True, seed=1)
        for name in ("prices", "universe", "predictions", "evaluation", "instruments")
    }
    again = market.run(core, **mixed)
    for table in TABLES:
        assert getattr(again, table).equals(getattr(core_run, table)), table


def test_a_risk_model_of_a_day_within_the_month_is_not_used(
    market: Market, core: Mandate, core_run: Backtest
) -> None:
    from dataclasses import replace

    day = date(2017, 5, 17)
    fake = replace(market.risk_models[date(2017, 4, 28)], date=day, d=None)
    mandate = core.model_copy(update={"rebalance": "week"})
    end = date(2017, 6, 30)
    plain = market.run(mandate, end=end)
    again = market.run(mandate, risk_models={**market.risk_models, day: fake}, end=end)
    assert plain.nav.equals(again.nav)
    assert plain.solves.height > core_run.solves.filter(pl.col("date") <= end).height


def test_the_limits_hold_on_every_target(market: Market, core: Mandate, core_run: Backtest) -> None:
    solved = core_run.solves.filter(pl.col("status") == "optimal")
    assert solved.height > 20
    assert solved["violation"].max() <= 1e-7  # type: ignore[operator]
    rows = core_run.targets.join(solved.select("date"), on="date").join(
        market.instruments, on="instrument_id"
    )
    assert rows["weight"].min() >= 0.0  # type: ignore[operator]
    traded = rows.join(market.prices.select("date", "instrument_id"), on=["date", "instrument_id"])
    assert traded["weight"].max() <= core.max_weight + 1e-7  # type: ignore[operator]
    sums = rows.group_by("date").agg(pl.col("weight").sum())["weight"]
    np.testing.assert_allclose(sums, 1.0, atol=1e-7)
    sector = rows.drop_nulls("sector").group_by("date", "sector").agg(pl.col("weight").sum())
    assert sector["weight"].max() <= 0.35 + 1e-7  # type: ignore[operator]
    assert sector.filter(pl.col("weight") > 0.35 - 1e-7).height > 0
    later = solved.filter(pl.col("date") > solved["date"].min())
    assert later["turnover"].max() <= 0.20 + 0.15  # type: ignore[operator]
    shares = rows.group_by("date").agg(pl.col("risk_contribution").sum())["risk_contribution"]
    np.testing.assert_allclose(shares, 1.0, atol=1e-9)


def test_cash_is_never_borrowed_without_the_mandate_saying_so(core_run: Backtest) -> None:
    assert core_run.nav["cash"].min() >= 0.0  # type: ignore[operator]


def test_trades_carry_their_arithmetic_and_a_reason(
    market: Market, core: Mandate, core_run: Backtest
) -> None:
    trades = core_run.trades.join(
        market.prices.select("date", "instrument_id", "close"), on=["date", "instrument_id"]
    ).join(core_run.nav.select("date", pl.col("nav")), on="date")
    assert trades.height == core_run.trades.height
    np.testing.assert_allclose(
        trades["value"], (trades["weight"] - trades["weight_before"]) * trades["nav"], rtol=1e-9
    )
    np.testing.assert_allclose(trades["units"], trades["value"] / trades["close"], rtol=1e-12)
    np.testing.assert_allclose(trades["cost"], trades["value"].abs() * core.costs.one_way)
    assert (trades["side"] == "buy").to_list() == (trades["value"] > 0).to_list()
    words = " ".join(trades["reason"])
    for part in (
        "buy 0 % →", "lowers risk", "adds risk", "over 20 sessions", "capped at 10 %",
        "at its cap", "limited by the turnover cap of 20",
    ):  # fmt: skip
        assert part in words
    total = sum(trades[f"{p}_part"] for p in ("alpha", "risk", "cost", "constraint"))
    np.testing.assert_allclose(total, 0.0, atol=1e-7)


def test_delisted_names_become_cash_after_ten_sessions_without_a_bar(
    market: Market, core_run: Backtest, benchmark_run: Backtest
) -> None:
    last_bar = market.prices.filter(pl.col("instrument_id") == "SYN13")["date"].max()
    assert last_bar < market.last  # type: ignore[operator]
    shots = benchmark_run.positions
    held = shots.filter(pl.col("instrument_id") == "SYN13")["date"]
    burial = market.calendar.offset(last_bar, 10)  # type: ignore[arg-type]
    assert held.max() < burial  # type: ignore[operator]
    day = shots.filter(pl.col("date") == burial)
    before = shots.filter(pl.col("date") == shots.filter(pl.col("date") < burial)["date"].max())
    assert "SYN13" in before["instrument_id"] and "SYN13" not in day["instrument_id"]  # noqa: PT018
    units = float(before.filter(pl.col("instrument_id") == "SYN13")["units"][0])
    price = float(
        market.prices.filter((pl.col("instrument_id") == "SYN13") & (pl.col("date") == last_bar))[
            "close"
        ][0]
    )
    told = benchmark_run.events.filter(pl.col("kind") == "delisting", pl.col("date") == burial)
    assert told.select("instrument_id", "units", "price").rows() == [("SYN13", -units, price)]
    assert told["amount"][0] == round(units * price * 10_000)
    flat = benchmark_run.nav.filter(pl.col("date") == burial)
    assert flat["cost"][0] == 0.0


def test_a_suspended_name_is_frozen_at_a_decision(market: Market) -> None:
    mandate = Mandate(
        name="frozen", title="Frozen", objective="min_variance", max_weight=0.2, rebalance="week"
    )
    run = market.run(mandate)
    bars = market.prices.select("date", "instrument_id", pl.lit(True).alias("bar"))
    stale = run.targets.join(bars, on=["date", "instrument_id"], how="left").filter(
        pl.col("bar").is_null()
    )
    assert stale.height > 0
    assert stale["weight"].to_list() == stale["weight_before"].to_list()
    assert run.trades.join(bars, on=["date", "instrument_id"], how="anti").height == 0


def test_names_that_leave_the_universe_are_sold(market: Market, core: Mandate) -> None:
    out = market.universe.filter(
        (pl.col("instrument_id") != "SYN06") | (pl.col("date") < date(2018, 3, 1))
    )
    run = market.run(backtest.EQUAL_WEIGHT, universe=out)
    row = run.trades.filter(
        (pl.col("instrument_id") == "SYN06") & (pl.col("date") == date(2018, 3, 29))
    )
    assert row["weight"].to_list() == [0.0]
    assert "no longer in the universe" in row["reason"][0]
    held = run.positions.filter(pl.col("instrument_id") == "SYN06")["date"].max()
    assert held < date(2018, 4, 2)  # type: ignore[operator]


def test_an_impossible_mandate_holds_its_cash(market: Market, core: Mandate) -> None:
    mandate = core.model_copy(update={"name": "impossible", "max_volatility": 0.01})
    run = market.run(mandate, end=date(2017, 6, 30))
    assert set(run.solves["status"]) == {"infeasible"}
    assert "worked out for live decisions only" in run.solves["message"][-1]
    assert run.trades.height == 0
    assert run.nav["nav"].unique().to_list() == [core.initial_nav]
    assert (run.targets["weight"] == run.targets["weight_before"]).all()


def test_only_a_mandate_without_a_live_decision_is_diagnosed_in_its_backtest(
    market: Market, core: Mandate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fast, "takes", lambda *_: False)
    solve, calls = conic.run_clarabel, []

    def counted(*args: Any) -> Any:
        calls.append(1)
        return solve(*args)

    monkeypatch.setattr(conic, "run_clarabel", counted)
    mandate = core.model_copy(update={"name": "impossible", "max_volatility": 0.01})
    run = market.run(mandate, end=date(2017, 6, 30))
    assert len(calls) == run.solves.height > 0
    run = market.run(mandate.model_copy(update={"live": False}), end=date(2017, 6, 30))
    assert "Volatility of at most 1 % a year; least change" in run.solves["message"][-1]
    plain = mandate.model_copy(update={"max_volatility": None, "max_weight": 0.02})
    run = market.run(plain, end=date(2017, 6, 30))
    assert "it takes 3.71 % or more" in run.solves["message"][-1]


def test_a_solver_that_crashes_holds_positions_and_the_run_goes_on(
    market: Market, core: Mandate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fast, "takes", lambda *_: False)
    solve, calls = conic.run_clarabel, []

    def fails_once(*args: Any) -> Any:
        calls.append(1)
        if len(calls) == 4:
            raise RuntimeError("the factorisation broke down")
        return solve(*args)

    monkeypatch.setattr(conic, "run_clarabel", fails_once)
    run = market.run(core, end=date(2017, 12, 29))
    assert run.solves["status"].to_list()[:6] == ["optimal"] * 3 + ["failed"] + ["optimal"] * 2
    message = run.solves["message"][3]
    assert "factorisation broke down" in message
    day = run.solves["date"][3]
    assert run.trades.filter(pl.col("date") == day).height == 0
    assert run.nav.filter(pl.col("date") == market.calendar.offset(day, 1))["cost"][0] == 0.0


def test_without_shown_skill_there_are_no_alpha_trades(market: Market, core: Mandate) -> None:
    blind = market.evaluation.with_columns((-pl.col("rank_ic").abs()).alias("rank_ic"))
    end = date(2017, 12, 29)
    run = market.run(core, evaluation=blind, end=end)
    assert run.solves["ic"].unique().to_list() == [0.0]
    assert run.targets["alpha"].unique().to_list() == [0.0]
    low = market.run(core.model_copy(update={"objective": "min_variance"}), end=end)
    assert run.nav.drop("mandate").equals(low.nav.drop("mandate"))
    assert "not above 0" in run.solves["message"][-1]


def test_maximum_sharpe_reads_the_predictions(market: Market) -> None:
    mandate = Mandate(name="sharpe", title="Sharpe", objective="max_sharpe", max_weight=0.2)
    run = market.run(mandate, end=market.calendar.offset(market.last, -400))
    solved = run.solves.filter(pl.col("status") == "optimal")
    assert solved.height > 0
    assert (solved["ic"] > 0).all()
    assert (run.targets["alpha"] != 0).any()


def test_higher_costs_cost_more_and_full_costs_are_charged(market: Market, core: Mandate) -> None:
    end = date(2017, 12, 29)
    cheap = market.run(backtest.EQUAL_WEIGHT, end=end)
    dear = market.run(
        backtest.EQUAL_WEIGHT.model_copy(
            update={"costs": Costs(commission_bp=20, half_spread_bp=30)}
        ),
        end=end,
    )
    assert dear.nav["nav"][-1] < cheap.nav["nav"][-1]
    kind = dear.events.group_by("kind").agg(pl.col("amount").sum())
    paid = dict(kind.iter_rows())
    traded = dear.events.filter(pl.col("kind").is_in(["buy", "sell"]))["amount"].abs().sum()
    assert -paid["commission"] / traded == pytest.approx(20e-4, rel=1e-6)
    assert -paid["spread"] / traded == pytest.approx(30e-4, rel=1e-6)
    assert dear.nav["cost"].sum() == pytest.approx(
        -(paid["commission"] + paid["spread"]) / 1e4, rel=1e-9
    )


def test_one_over_n_is_one_over_n(benchmark_run: Backtest) -> None:
    first = benchmark_run.targets.filter(pl.col("date") == benchmark_run.targets["date"].min())
    np.testing.assert_allclose(first["weight"], 1 / first.height)
    assert set(benchmark_run.solves["status"]) == {"rule"}


def test_an_open_fill_uses_the_open(market: Market) -> None:
    mandate = backtest.EQUAL_WEIGHT.model_copy(
        update={"costs": Costs(commission_bp=0, half_spread_bp=0)}
    )
    at_open = market.run(mandate.model_copy(update={"fill": "open"}), end=date(2017, 3, 31))
    day = at_open.nav["date"][1]
    bars = market.prices.filter(pl.col("date") == day)
    held = at_open.positions.filter(pl.col("date") == day).join(bars, on="instrument_id")
    price = pl.when(pl.col("open") > 0).then("open").otherwise("close")
    paid = held.select((pl.col("units") * price).sum()).item()
    cash = at_open.nav["cash"][1]
    assert paid + cash == pytest.approx(mandate.initial_nav, rel=1e-9)
    told = at_open.events.filter(pl.col("kind") == "buy", pl.col("date") == day).join(
        bars, on="instrument_id"
    )
    assert told.height == held.height
    assert (told["price"] == told.select(price.alias("x"))["x"]).all()
    assert at_open.nav["return_net"][1] != 0.0


def test_a_state_that_does_not_fit_is_refused(
    market: Market, core: Mandate, core_run: Backtest
) -> None:
    cut = date(2018, 3, 1)
    early = State(core_run.positions, core_run.nav.filter(pl.col("date") < date(2018, 2, 1)))
    with pytest.raises(PortfolioError, match="cannot resume at 2018-03-01"):
        market.run(core, state=early, start=cut)
    state = State(
        core_run.positions.filter(pl.col("date") < cut), core_run.nav.filter(pl.col("date") < cut)
    )
    gone = state.positions.filter(pl.col("instrument_id") != "cash")["instrument_id"][-1]
    with pytest.raises(PortfolioError, match=f"holds {gone}"):
        market.run(
            core,
            state=state,
            start=cut,
            prices=market.prices.filter(pl.col("instrument_id") != gone),
        )


def test_no_risk_model_or_no_prices_is_an_empty_backtest(market: Market, core: Mandate) -> None:
    for run in (market.run(core, risk_models={}), market.run(core, prices=market.prices.head(0))):
        assert all(getattr(run, table).height == 0 for table in TABLES)
