"""From holdings to orders to fills, by the real command on a root of its own: statement in, orders out, fills back."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from wealthos_pipeline.data.processors.calendar import TradingCalendar

LAST, END = date(2022, 9, 20), date(2022, 9, 30)
MANDATE = """
name: low
title: Low risk
objective: min_variance
max_weight: 0.30
max_turnover: 0.50
costs: {commission_bp: 1.0, half_spread_bp: 4.0}
"""
STATEMENT = """mandate,date,symbol,units,lot,acquired,cost
low,2022-09-16,STK0,3000,,,
low,2022-09-16,STK3,400,a,2021-07-01,150
low,2022-09-16,STK3,300,b,2022-03-01,170
low,2022-09-16,STK5,500,,,
low,2022-09-16,cash,100000,,,
"""


def panel(calendar: TradingCalendar) -> pl.DataFrame:
    """Eight made-up stocks with opens, ranges and volumes."""
    days = calendar.sessions(date(2021, 6, 1), END)
    rng = np.random.default_rng(5)
    parts = []
    for i in range(8):
        own = rng.normal(0.0004, 0.012, len(days)) + i % 2 * rng.normal(0, 0.008, len(days))
        close = np.round(40 * (i + 1) * np.exp(np.cumsum(own)), 2)
        opened = np.round(close * (1 + rng.uniform(-0.004, 0.004, len(days))), 2)
        parts.append(
            pl.DataFrame(
                {
                    "symbol": [f"STK{i}"] * len(days), "date": days, "open": opened,
                    "high": np.round(np.maximum(opened, close) * 1.006, 2),
                    "low": np.round(np.minimum(opened, close) * 0.994, 2), "close": close,
                    "volume": [1_000_000.0] * len(days),
                }
            )
        )  # fmt: skip
    return pl.concat(parts)


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folders of mandates, holdings and fills, and short windows for a small panel."""
    for name in ("mandates", "holdings", "fills"):
        (tmp_path / name).mkdir()
        monkeypatch.setenv(f"WEALTHOS_PORTFOLIO__{name.upper()}", str(tmp_path / name))
    (tmp_path / "mandates" / "low.yaml").write_text(MANDATE)
    (tmp_path / "holdings" / "low.csv").write_text(STATEMENT)
    for name, value in {
        "PORTFOLIO__RISK_SESSIONS": "120", "PORTFOLIO__RISK_HALF_LIFE": "60",
        "PORTFOLIO__VAR_SESSIONS": "120", "MODELS__LIGHTGBM_TREES": "3",
        "MODELS__TRAIN_SESSIONS": "120", "MODELS__MIN_TRAIN_SESSIONS": "100",
    }.items():  # fmt: skip
        monkeypatch.setenv(f"WEALTHOS_{name}", value)
    monkeypatch.setenv("DAGSTER_HOME", "")
    # drawing the charts of two reports takes as long as all the rest, and none is looked at
    monkeypatch.setattr("wealthos_pipeline.reporting.charts.draw", lambda report: {})
    return tmp_path


def test_statement_in_orders_out_fills_back(
    desk: Path, call: Any, calendar: TradingCalendar
) -> None:
    bars, file, root = panel(calendar), desk / "panel.csv", desk / "root"
    bars.filter(pl.col("date") <= LAST).write_csv(file)
    said = call("run", "--root", root, "--path", file)
    assert said.code == 0, said.err

    # orders out: whole shares, sells first, nothing oversold, cash left over
    out = desk / "orders.csv"
    said = call("portfolio", "orders", "low", "--out", out, "--root", root)
    assert said.code == 0, said.err
    assert "cash left over" in said.out
    sent = pl.read_csv(out)
    assert sent["side"].to_list() == sorted(sent["side"], reverse=True)
    assert (sent["shares"] == sent["shares"].round(0)).all()
    have = {"STK0": 3000, "STK3": 700, "STK5": 500}
    for symbol, n in sent.filter(pl.col("side") == "sell").select("symbol", "shares").iter_rows():
        assert n <= have[symbol]
    money = 100_000 + sum(
        (1 if s == "sell" else -1) * v for s, v in sent.select("side", "value").iter_rows()
    )
    assert money - sent["estimated_cost"].sum() >= 0
    assert sent["share_of_daily_volume"].null_count() == 0
    whole = call("portfolio", "orders", "low", "--json", "--root", root).json[0]
    assert (whole["state"], whole["breaches"], whole["refused"]) == ("ready", [], None)
    as_decided = call("portfolio", "orders", "low", "--fractional", "--json", "--root", root).json[
        0
    ]
    assert {o["order_id"] for o in whole["orders"]} <= {o["order_id"] for o in as_decided["orders"]}

    # fills back: near the open of the next session, one of them in part
    opens = dict(
        bars.filter(pl.col("date") == date(2022, 9, 21)).select("symbol", "open").iter_rows()
    )
    done = sent.select(
        "order_id", "side", "symbol",
        pl.when(pl.int_range(pl.len()) == 3).then(pl.lit(100.0)).otherwise(pl.col("shares").cast(pl.Float64)).alias("shares"),
        pl.col("symbol").replace_strict(opens).round(2).alias("price"), pl.lit(1.5).alias("fees"),
        pl.lit("2022-09-21T10:05:00").alias("time"),
    )  # fmt: skip
    done.drop("symbol").write_csv(desk / "fills" / "f.csv")
    bars.write_csv(file)
    said = call("run", "--root", root, "--path", file)
    assert said.code == 0, said.err
    got = call("portfolio", "shortfall", "low", "--json", "--root", root).json
    (total,) = got["lists"]
    assert (total["until"], total["done"], total["orders"]) == ("2022-09-27", True, sent.height)
    price = dict(sent.select("symbol", "reference_price").iter_rows())
    signed = [
        (1 if s == "buy" else -1, x, n)
        for s, x, n in done.select("side", "symbol", "shares").iter_rows()
    ]
    assert total["delay"] == pytest.approx(sum(s * n * (opens[x] - price[x]) for s, x, n in signed))
    assert total["execution"] == pytest.approx(0.0, abs=1e-6)
    assert total["fees"] == pytest.approx(1.5 * sent.height)
    part = sent.row(3, named=True)
    last = bars.filter((pl.col("symbol") == part["symbol"]) & (pl.col("date") == date(2022, 9, 27)))
    missed = part["shares"] - 100
    assert total["opportunity"] == pytest.approx(
        missed * (last["close"].item() - part["reference_price"])
    )
    assert total["total"] == pytest.approx(
        total["delay"] + total["execution"] + total["fees"] + total["opportunity"]
    )
    assert total["modelled"] == pytest.approx(sent["estimated_cost"].sum(), abs=0.05)

    # the statement is older than the fills: the same trades are not sent again, and the book says what is held
    said = call("portfolio", "orders", "low", "--root", root)
    assert said.code != 0
    assert "fills since the statement of 2022-09-16 are not in it" in said.err
    book = {
        r["instrument_id"]: r
        for r in call("portfolio", "book", "low", "--json", "--root", root).json["book"]
    }
    for s, x, n in signed:
        assert book[f"XNYS:{x}"]["units"] == pytest.approx(have.get(x, 0) + s * n)
    paid = sum(s * n * round(opens[x], 2) for s, x, n in signed) + 1.5 * sent.height
    assert book["cash"]["units"] == pytest.approx(100_000 - paid)


def test_without_a_run_there_are_no_orders(call: Any, nowhere: Path) -> None:
    for words in (("orders",), ("shortfall",), ("book", "low")):
        said = call("portfolio", *words, "--root", nowhere)
        assert said.code != 0
        assert "wealthos run" in said.err


def test_a_published_run_without_order_lists_says_so(wealthos: Any) -> None:
    assert wealthos("portfolio", "orders").code == 0
    assert wealthos("portfolio", "orders", "--out", "x.csv").code != 0
    assert "no fills have come back" in wealthos("portfolio", "shortfall").err
    assert "no holdings were supplied" in wealthos("portfolio", "book", "low").err
