"""Limits before the trade, order lists, and the dates of held names."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
from portfolio_market import Market

from wealthos_pipeline.core.data import contract
from wealthos_pipeline.core.mandate import Mandate, Override
from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.portfolio import (
    backtest,
    compliance,
    decision,
    events_calendar,
    limits,
    live,
    orders,
    pretrade,
)
from wealthos_pipeline.portfolio.problem import Exposure, Group, Problem, TradeCap


def rich(**changes: Any) -> Problem:
    rng = np.random.default_rng(2)
    n = 6
    given: dict[str, Any] = {
        "w0": np.array([0.3, 0.3, 0.2, 0.2, 0.0, 0.0]),
        "cost": 5e-4,
        "upper": 0.35,
        "max_turnover": 0.2,
        "max_volatility": 0.5,
        "max_gross": 1.0,
        "max_names": 4,
        "min_holding": 0.05,
        "groups": (Group("sector Tech", "sector_cap", np.arange(n) < 2, None, 0.5),
                   Group("sector Banks", "sector_cap", np.arange(n) >= 2, None, 0.5),
                   Group("group safe", "group", np.arange(n) > 3, 0.1, None)),
        "exposures": (Exposure("value", "exposures", rng.normal(size=n), -0.5, 0.5),),
        "trade_caps": (TradeCap("turnover_name", "No name changes by more than 15 %", np.full(n, 0.15)),),
        **changes,
    }  # fmt: skip
    return Problem.simple(
        rng.normal(0.01, 0.002, size=(n, 1)), np.eye(1), np.full(n, 0.01), **given
    )


def test_every_limit_is_measured_and_said() -> None:
    p = rich()
    w = np.array([0.36, 0.1, 0.2, 0.2, 0.04, 0.1])
    rows = compliance.check(p, w, "target")
    assert rows["limit"].to_list() == [x.key for x in limits.of(p)]
    by = {r["limit"]: r for r in rows.iter_rows(named=True)}
    for x in limits.of(p):
        assert by[x.key]["excess"] == pytest.approx(limits.excess(p, x, w))
        assert by[x.key]["passed"] == (limits.excess(p, x, w) <= 1e-8)
    assert (by["upper"]["worst"], by["upper"]["value"], by["upper"]["bound"]) == (
        "x000",
        0.36,
        0.35,
    )
    # Banks: 0.2 + 0.2 + 0.04 + 0.1 = 0.54 of 0.5
    assert by["sectors"]["worst"] == "sector Banks"
    assert (by["sectors"]["value"], by["sectors"]["bound"]) == (pytest.approx(0.54), 0.5)
    # safe: 0.04 + 0.1 is 0.14, at least 0.1
    assert (by["min group safe"]["value"], by["min group safe"]["bound"]) == (
        pytest.approx(0.14),
        0.1,
    )
    assert by["min group safe"]["passed"]
    assert (by["turnover"]["value"], by["turnover"]["bound"]) == (pytest.approx(0.2), 0.2)
    # x001 went from 0.3 to 0.1: 0.2, and 0.15 is allowed
    assert (by["turnover_name"]["worst"], by["turnover_name"]["value"]) == (
        "x001",
        pytest.approx(0.2),
    )
    assert (by["max names"]["value"], by["max names"]["bound"]) == (6.0, 4.0)
    assert (by["min_holding"]["worst"], by["min_holding"]["value"]) == ("x004", pytest.approx(0.04))
    assert (by["budget"]["value"], by["budget"]["passed"]) == (pytest.approx(1.0), True)
    said = "\n".join(compliance.failed(rows))
    assert "At most 35 % a name (x000): missed by 1.00 %, found 36.00 %" in said
    assert "At most 4 names: missed by 2, found 6" in said
    assert len(compliance.failed(rows)) == rows.filter(~pl.col("passed")).height


def test_rounding_may_miss_a_limit_by_one_lot_but_not_the_box() -> None:
    p = rich(max_names=None, min_holding=None, groups=(), exposures=(), trade_caps=())
    w = np.array([0.3, 0.3, 0.2, 0.1, 0.1, 0.0])
    lots = np.full(6, 0.004)
    low = w - [0.003, 0, 0, 0, 0, 0]
    by = {
        r["limit"]: r["passed"]
        for r in compliance.check(p, low, "orders", lots=lots).iter_rows(named=True)
    }
    assert by["budget"]
    assert (
        not compliance.check(p, low, "target").filter(pl.col("limit") == "budget")["passed"].item()
    )
    far = w - [0.005, 0, 0, 0, 0, 0]
    assert compliance.failed(compliance.check(p, far, "orders", lots=lots))
    assert not compliance.failed(compliance.check(p, far, "orders", lots=lots, paid=0.002))
    above = w + np.array([0.051, -0.051, 0, 0, 0, 0])
    rows = compliance.check(p, above, "orders", lots=lots)
    assert rows.filter(pl.col("limit") == "upper")["passed"].item() is False


def test_what_gave_way_in_the_decision_may_be_missed_as_far() -> None:
    p = rich(
        max_names=None, min_holding=None, groups=(), exposures=(), trade_caps=(), max_turnover=0.1
    )
    w = np.array([0.3, 0.3, 0.1, 0.1, 0.1, 0.1])  # turnover 0.2
    assert (
        not compliance.check(p, w, "target").filter(pl.col("limit") == "turnover")["passed"].item()
    )
    rows = compliance.check(p, w, "orders", given_way={"turnover": 0.1})
    row = rows.filter(pl.col("limit") == "turnover").row(0, named=True)
    assert row["passed"]
    assert row["words"].endswith("(gave way in the decision)")


@pytest.fixture(scope="module")
def decided(market: Market, core: Mandate, core_run: backtest.Backtest) -> dict[str, Any]:
    """What a run would have stored of the live decision, and what the stage reads beside it."""
    day = market.last
    paper = backtest.State(core_run.positions, core_run.nav)
    given: dict[str, Any] = {
        "prices": market.prices, "evaluation": market.evaluation, "instruments": market.instruments,
        "calendar": market.calendar, "settings": market.settings,
    }  # fmt: skip
    made = live.propose(
        core, date=day, universe=market.universe, predictions=market.predictions, holdings=None,
        risk_model=market.risk_models.get(day) or market.risk_models[max(market.risk_models)],
        paper=paper, **given,
    )  # fmt: skip
    stored = {
        "targets": made.targets, "solves": made.solves, "trades": made.trades,
        "positions": core_run.positions, "nav": core_run.nav,
    }  # fmt: skip
    return {
        "stored": stored, "end": day, "predictions": market.predictions, "universe": market.universe,
        "holdings": contract("clean.holdings").empty(),
        "risk_model": market.risk_models.get(day) or market.risk_models[max(market.risk_models)], **given,
    }  # fmt: skip


def test_an_order_list_is_checked_at_three_stages_and_sums_back(
    core: Mandate, decided: dict[str, Any]
) -> None:
    made = pretrade.run([core], **decided)
    stages = made["compliance"].group_by("stage").agg(pl.col("passed").all())
    assert dict(stages.iter_rows())["target"] is True
    assert dict(stages.iter_rows())["orders"] is True
    (row,) = made["order_lists"].iter_rows(named=True)
    rows = made["orders"]
    assert (row["state"], row["decision"], row["breaches"]) == ("ready", "optimal", 0)
    assert row["orders"] == rows.filter(pl.col("shares") > 0).height > 3
    assert rows.sort("sequence")["side"].to_list() == sorted(rows["side"], reverse=True)
    sign = pl.when(pl.col("side") == "buy").then(1.0).otherwise(-1.0)
    after = (pl.col("held_shares") + sign * pl.col("shares")) * pl.col("price") / row["nav"]
    assert rows.select((after - pl.col("weight_after")).abs().max()).item() < 1e-9
    assert rows.select((pl.col("weight_after") - pl.col("target_weight")).abs().max()).item() < 2e-3
    assert row["cash_after"] == pytest.approx(
        row["cash_before"] + row["sells"] - row["buys"] - row["cost"]
    )
    assert row["cash_after"] >= -1e-6
    assert rows["reason"].str.len_chars().min() > 5
    trades = decided["stored"]["trades"]
    assert set(rows["instrument_id"]) == set(trades["instrument_id"])
    # unrounded shares are the trades' units
    both = rows.join(trades.select("instrument_id", pl.col("units").abs()), on="instrument_id")
    assert both.select((pl.col("unrounded_shares") / pl.col("units") - 1).abs().max()).item() < 1e-6


def test_what_is_known_of_the_holdings_is_said(core: Mandate, decided: dict[str, Any]) -> None:
    made = pretrade.run([core], **decided, warnings={core.name: "A: no price since 2022-09-01."})
    assert made["order_lists"]["message"].item() == "A: no price since 2022-09-01."
    assert made["order_lists"]["state"].item() == "ready"


def test_as_decided_is_what_the_trades_say(core: Mandate, decided: dict[str, Any]) -> None:
    rows = pretrade.run([core], **decided)["orders"]
    got = orders.fractional(rows)
    assert got["shares"].to_list() == rows["unrounded_shares"].to_list()
    assert got["weight_after"].to_list() == rows["target_weight"].to_list()


def test_what_was_not_solved_is_refused_with_its_words(
    core: Mandate, decided: dict[str, Any]
) -> None:
    stored = dict(decided["stored"])
    stored["solves"] = stored["solves"].with_columns(
        pl.lit("infeasible").alias("status"), pl.lit("The limits contradict each other.").alias("message")
    )  # fmt: skip
    made = pretrade.run([core], **{**decided, "stored": stored})
    (row,) = made["order_lists"].iter_rows(named=True)
    assert (row["state"], row["orders"]) == ("refused", 0)
    assert "contradict" in row["message"]
    assert made["orders"].is_empty()
    assert set(made["compliance"]["stage"]) == {"held"}


def test_a_book_that_has_changed_since_the_decision_is_refused(
    core: Mandate, decided: dict[str, Any]
) -> None:
    stored = dict(decided["stored"])
    stored["targets"] = stored["targets"].with_columns(pl.col("weight_before") + 0.01)
    made = pretrade.run([core], **{**decided, "stored": stored})
    assert "is not what the decision saw" in made["order_lists"]["message"].item()


def test_late_prices_refuse_the_list(core: Mandate, decided: dict[str, Any]) -> None:
    made = pretrade.run([core], **decided, late=2)
    assert made["order_lists"]["state"].item() == "refused"
    assert made["orders"].is_empty()


def test_the_record_keeps_new_changed_and_withdrawn_orders(
    core: Mandate, decided: dict[str, Any]
) -> None:
    rows = pretrade.run([core], **decided)["orders"]
    sent = rows.filter(pl.col("shares") > 0)
    at = datetime(2022, 9, 20, 21, tzinfo=UTC)
    none = contract("record.orders").empty()
    first = orders.issued(rows, none, run_id="a", issued_at=at)
    assert first.height == sent.height
    assert orders.issued(rows, first, run_id="b", issued_at=at + timedelta(hours=1)).is_empty()
    one, other = sent["order_id"][0], sent["order_id"][1]
    changed = rows.filter(pl.col("order_id") != other).with_columns(
        pl.when(pl.col("order_id") == one)
        .then(pl.col("shares") + 1)
        .otherwise("shares")
        .alias("shares")
    )
    second = orders.issued(changed, first, run_id="b", issued_at=at + timedelta(hours=1))
    assert set(second["order_id"]) == {one, other}
    last = orders.last_issued(pl.concat([first, second]))
    assert last.filter(pl.col("order_id") == other)["shares"].item() == 0.0
    assert last.height == first.height


def test_an_order_id_depends_on_its_mandate_day_and_name_alone() -> None:
    one = orders.order_id("m", date(2022, 9, 20), "X")
    assert one == orders.order_id("m", date(2022, 9, 20), "X")
    others = {orders.order_id("n", date(2022, 9, 20), "X"), orders.order_id("m", date(2022, 9, 21), "X"),
              orders.order_id("m", date(2022, 9, 20), "Y"), one}  # fmt: skip
    assert len(others) == 4
    assert decision.ACTS[0] in orders.SENDABLE


def test_dates_of_held_names_behind_and_ahead(calendar: TradingCalendar) -> None:
    end = date(2022, 9, 20)
    known = calendar.known_at(end)

    def frame(table: str, rows: list[dict[str, Any]]) -> pl.DataFrame:
        terms = contract(table)
        return terms.conform(pl.DataFrame(rows, schema=terms.schema()))

    blank = dict.fromkeys(contract("clean.earnings").column_names)
    report = {**blank, "instrument_id": "A", "period_end": date(2022, 8, 31), "hour": "amc", "source": "s",
              "basis": "observed", "known_at": known}  # fmt: skip
    earnings = frame("clean.earnings", [
        {**report, "report_date": date(2022, 10, 5), "known_at": known - timedelta(days=9)},
        {**report, "report_date": date(2022, 10, 6)},
        {**report, "report_date": date(2022, 10, 7), "known_at": known + timedelta(days=1)},
        {**report, "instrument_id": "B", "report_date": date(2022, 12, 1)},
    ])  # fmt: skip
    member = {"universe": "default", "valid_from": date(2020, 1, 2), "valid_to": None, "source": "s",
              "withdrawn_at": None, "known_at": known - timedelta(days=30)}  # fmt: skip
    members = frame("clean.membership", [
        {**member, "instrument_id": "A", "valid_to": date(2022, 9, 30)},
        {**member, "instrument_id": "B", "valid_from": date(2022, 9, 12)},
    ])  # fmt: skip
    prices = pl.DataFrame(
        {
            "instrument_id": ["A", "B", "C"], "date": [date(2022, 9, 14)] * 3, "dividend": [0.5, None, 1.0],
            "split_ratio": [1.0, 2.0, 1.0], "currency": ["USD"] * 3, "known_at": [known] * 3,
        }
    )  # fmt: skip
    targets = pl.DataFrame(
        {"mandate": ["m"] * 3, "run_kind": ["live"] * 3, "date": [end] * 3, "instrument_id": ["A", "B", "C"],
         "weight": [0.5, 0.0, 0.0], "weight_before": [0.0, 0.5, 0.0]}
    )  # fmt: skip
    held = Override(
        symbol="AA", action="freeze", owner="Ann", reason="merger", expires=date(2022, 10, 1)
    )
    mandate = Mandate(name="m", title="M", overrides=(held,))
    names = pl.DataFrame(
        {"symbol": ["AA"], "instrument_id": ["A"], "valid_from": [date(2000, 1, 3)]}
    )
    got = events_calendar.upcoming(
        [mandate], targets, prices=prices, earnings=earnings, membership=members, instruments=names,
        end=end, calendar=calendar,
    )  # fmt: skip
    assert got.select("date", "instrument_id", "kind", "detail").rows() == [
        (date(2022, 9, 12), "B", "index_change", "joins default"),
        (date(2022, 9, 14), "A", "ex_dividend", "dividend of 0.5 USD a share"),
        (date(2022, 9, 14), "B", "split", "split: 2.0 new shares for one old"),
        (date(2022, 9, 30), "A", "index_change", "leaves default: its last day"),
        (date(2022, 10, 1), "A", "expiry_of_override", "freeze of Ann ends: merger"),
        # of three announcements the last that was known
        (date(2022, 10, 6), "A", "earnings", "is to report the period to 2022-08-31 (amc)"),
    ]
    unknown = events_calendar.unknown(earnings.clear(), members, prices)
    assert "earnings: no source gives dates of reports" in unknown
    assert not any("index changes" in x for x in unknown)
