"""Proposals for the latest date: from supplied holdings or the paper portfolio, with reasons."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest
from portfolio_market import Market

from wealthos_pipeline.core.portfolio import Mandate
from wealthos_pipeline.data.processors.prices import Flag
from wealthos_pipeline.portfolio import backtest, live
from wealthos_pipeline.portfolio.backtest import Backtest, State


def propose(market: Market, mandate: Mandate, **changes: Any) -> live.Proposal:
    given: dict[str, Any] = {
        "date": market.last,
        "prices": market.prices,
        "universe": market.universe,
        "predictions": market.predictions,
        "evaluation": market.evaluation,
        "instruments": market.instruments,
        "risk_model": market.risk_models[market.last],
        "holdings": None,
        "paper": None,
        "calendar": market.calendar,
        "settings": market.settings,
        **changes,
    }
    return live.propose(mandate, **given)


def book(mandate: str, day: object, **units: float) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "mandate": [mandate] * len(units),
            "date": [day] * len(units),
            "instrument_id": list(units),
            "units": list(units.values()),
        }
    )


def test_without_holdings_it_starts_from_the_drifted_paper_portfolio(
    market: Market, core: Mandate, core_run: Backtest
) -> None:
    got = propose(market, core, paper=State(core_run.positions, core_run.nav))
    assert got.solves["status"].to_list() == ["optimal"]
    assert "paper portfolio" in got.solves["message"][0]
    assert set(got.targets["run_kind"]) == {"live"}
    nav = core_run.nav["nav"][-1]
    cash = core_run.nav["cash"][-1]
    assert got.targets["weight_before"].sum() == pytest.approx(1 - cash / nav, rel=1e-9)
    assert got.targets["weight"].sum() == pytest.approx(1.0, abs=1e-7)
    near = market.prices.filter(
        pl.col("date") >= market.calendar.offset(market.last, -backtest.LOOKBACK)
    )
    again = propose(market, core, prices=near, paper=State(core_run.positions, core_run.nav))
    assert again.targets.equals(got.targets)
    assert again.trades.equals(got.trades)


def test_supplied_holdings_are_valued_with_splits_since(market: Market, core: Mandate) -> None:
    split = market.prices.filter(
        (pl.col("split_ratio") != 1.0) & (pl.col("instrument_id") == "SYN27")
    )
    since = market.calendar.offset(split["date"][0], -1)
    assert split["split_ratio"][0] == 4.0
    rows = book(core.name, since, SYN27=100.0, SYN02=50.0, cash=1000.0)
    got = propose(market, core.model_copy(update={"max_turnover": None}), holdings=rows)
    assert f"holdings supplied for {since}" in got.solves["message"][0]
    last = dict(
        market.prices.filter(pl.col("date") == market.last)
        .select("instrument_id", "close")
        .iter_rows()
    )
    value = {"SYN27": 400.0 * last["SYN27"], "SYN02": 50.0 * last["SYN02"]}
    nav = sum(value.values()) + 1000.0
    before = dict(got.targets.select("instrument_id", "weight_before").iter_rows())
    for name, amount in value.items():
        assert before[name] == pytest.approx(amount / nav, rel=1e-12)
    sold = got.trades.filter(pl.col("instrument_id") == "SYN27")
    assert sold["side"].to_list() == ["sell"]
    assert sold["units"][0] == pytest.approx(
        (sold["weight"][0] - before["SYN27"]) * nav / last["SYN27"], rel=1e-9
    )


def test_only_the_latest_statement_counts(market: Market, core: Mandate) -> None:
    days = market.calendar.sessions(market.calendar.offset(market.last, -6), market.last)
    rows = pl.concat(
        [
            book(core.name, days[0], SYN08=1000.0),
            book(core.name, days[2], SYN02=10.0, cash=500.0),
            book("another", days[4], SYN08=7.0),
        ]
    )
    got = propose(market, core, holdings=rows)
    held = got.targets.filter(pl.col("weight_before") != 0)["instrument_id"].to_list()
    assert held == ["SYN02"]


def test_a_name_without_a_bar_today_is_frozen_and_not_traded(
    market: Market, core: Mandate, core_run: Backtest
) -> None:
    held = core_run.positions.filter(pl.col("date") == core_run.positions["date"].max())
    name = held.filter(pl.col("instrument_id") != "cash")["instrument_id"][0]
    missing = market.prices.filter(
        ~((pl.col("instrument_id") == name) & (pl.col("date") == market.last))
    )
    got = propose(market, core, prices=missing, paper=State(core_run.positions, core_run.nav))
    row = got.targets.filter(pl.col("instrument_id") == name)
    assert row["weight"].to_list() == row["weight_before"].to_list()
    assert row["weight"][0] > 0
    assert name not in got.trades["instrument_id"].to_list()
    assert name in got.solves["message"][0]
    assert "no bar on the day" in got.solves["message"][0]


def test_a_stale_price_is_a_value_and_no_price_to_trade_at(
    market: Market, core: Mandate, core_run: Backtest
) -> None:
    held = core_run.positions.filter(pl.col("date") == core_run.positions["date"].max())
    name = held.filter(pl.col("instrument_id") != "cash")["instrument_id"][0]
    today = (pl.col("instrument_id") == name) & (pl.col("date") == market.last)
    flagged = market.prices.with_columns(
        pl.when(today).then(int(Flag.STALE)).otherwise(0).cast(pl.Int32).alias("flags")
    )
    paper = State(core_run.positions, core_run.nav)
    got = propose(market, core, prices=flagged, paper=paper)
    fresh = propose(market, core, paper=paper)
    assert name in fresh.trades["instrument_id"].to_list()
    assert name not in got.trades["instrument_id"].to_list()
    row = got.targets.filter(pl.col("instrument_id") == name)
    assert row["weight"].to_list() == row["weight_before"].to_list()
    assert name in got.solves["message"][0]


@pytest.mark.parametrize(
    ("growth", "flags", "frozen"),
    [
        (3.0, Flag.EXTREME | Flag.SPIKE_DOUBT, True),
        (1.7, Flag.EXTREME, False),
        (1.0, Flag.SPLIT_DOUBT, True),
        (1.0, Flag.RESTATED, False),
    ],
)
def test_a_doubtful_price_of_something_held_holds_everything(
    market: Market, core: Mandate, core_run: Backtest, growth: float, flags: Flag, *, frozen: bool
) -> None:
    held = core_run.positions.filter(pl.col("date") == core_run.positions["date"].max())
    name = held.filter(pl.col("instrument_id") != "cash")["instrument_id"][0]
    today = (pl.col("instrument_id") == name) & (pl.col("date") == market.last)
    moved = market.prices.sort("instrument_id", "date").with_columns(
        pl.when(today).then(int(flags)).otherwise(0).cast(pl.Int32).alias("flags"),
        *(
            pl.when(today)
            .then(pl.col(n).shift(1).over("instrument_id") * growth)
            .otherwise(n)
            .alias(n)
            for n in ("close", "tr_index")
        ),
    )
    got = propose(market, core, prices=moved, paper=State(core_run.positions, core_run.nav))
    held_back = got.solves["status"].to_list() == ["held"]
    assert held_back == frozen
    assert got.trades.is_empty() == frozen
    assert (name in got.solves["message"][0] and "in doubt" in got.solves["message"][0]) == frozen
    fresh = propose(market, core, prices=moved)  # nothing held: it is not bought
    assert fresh.solves["status"].to_list() == ["optimal"]
    if frozen:
        assert name not in fresh.trades["instrument_id"].to_list()


def test_nothing_is_traded_on_prices_of_an_earlier_session(market: Market, core: Mandate) -> None:
    got = propose(market, core, late=2)
    assert got.solves["status"].to_list() == ["held"]
    assert "2 sessions have closed since" in got.solves["message"][0]
    assert got.trades.is_empty()
    assert got.targets.is_empty()


def test_a_delisted_holding_does_not_stop_the_proposal(market: Market, core: Mandate) -> None:
    gone = market.prices.filter(pl.col("instrument_id") == "SYN13")["date"].max()
    rows = book(core.name, gone, SYN13=1.0, SYN02=10.0, cash=10_000.0)
    got = propose(market, core, holdings=rows)
    assert "SYN13" in got.solves["message"][0]
    assert got.solves["status"].to_list() == ["optimal"]
    assert "SYN13" not in got.trades["instrument_id"].to_list()


def test_holdings_without_any_price_are_named_and_nothing_is_proposed(
    market: Market, core: Mandate
) -> None:
    rows = book(core.name, market.last, NOSUCH=10.0, cash=100.0)
    got = propose(market, core, holdings=rows)
    assert got.solves["status"].to_list() == ["held"]
    assert "NOSUCH" in got.solves["message"][0]
    assert got.trades.height == got.targets.height == 0


def test_worthless_books_and_missing_models_are_held(market: Market, core: Mandate) -> None:
    rows = book(core.name, market.last, cash=0.0)
    got = propose(market, core, holdings=rows)
    assert "net asset value is 0" in got.solves["message"][0]
    got = propose(market, core, risk_model=None)
    assert got.solves["status"].to_list() == ["held"]
    assert "no risk model" in got.solves["message"][0]


def test_only_live_mandates_propose(market: Market, core: Mandate) -> None:
    got = propose(market, core.model_copy(update={"live": False}))
    assert got.solves.height == got.targets.height == got.trades.height == 0


def test_an_impossible_mandate_is_answered_in_words(market: Market, core: Mandate) -> None:
    got = propose(market, core.model_copy(update={"max_volatility": 0.01}))
    assert got.solves["status"].to_list() == ["infeasible"]
    assert "contradict each other" in got.solves["message"][0]
    assert "least change that is enough" in got.solves["message"][0]


def test_live_predictions_move_the_weights(market: Market, core: Mandate) -> None:
    bull = market.predictions.with_columns(
        pl.when(pl.col("instrument_id") == "SYN08").then(6.0).otherwise(pl.col("z")).alias("z")
    )
    bear = bull.with_columns(
        pl.when(pl.col("instrument_id") == "SYN08").then(-6.0).otherwise(pl.col("z")).alias("z")
    )
    weights = [
        propose(market, core, predictions=p).targets.filter(pl.col("instrument_id") == "SYN08")
        for p in (bull, bear)
    ]
    assert weights[0]["alpha"][0] > 0 > weights[1]["alpha"][0]
    assert weights[0]["weight"][0] > weights[1]["weight"][0]


def test_a_name_unknown_to_the_risk_model_is_kept_or_reduced(market: Market, core: Mandate) -> None:
    model = market.risk_models[market.last]
    keep = np.array([i != "SYN02" for i in model.ids])
    smaller = replace(
        model, ids=tuple(i for i in model.ids if i != "SYN02"), B=model.B[keep], d=model.d[keep]
    )
    last = dict(
        market.prices.filter(pl.col("date") == market.last)
        .select("instrument_id", "close")
        .iter_rows()
    )
    rows = book(core.name, market.last, SYN02=5_000.0 / last["SYN02"], cash=95_000.0)
    got = propose(market, core, holdings=rows, risk_model=smaller)
    row = got.targets.filter(pl.col("instrument_id") == "SYN02")
    assert 0 <= row["weight"][0] <= row["weight_before"][0] == pytest.approx(0.05)
