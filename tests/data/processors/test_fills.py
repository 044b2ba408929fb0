"""Fills against the orders that were issued: what is taken, and every reason to refuse."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl
import pytest

from wealthos_pipeline.core.data import contract
from wealthos_pipeline.core.errors import ConfigError
from wealthos_pipeline.data.processors import fills
from wealthos_pipeline.data.processors.calendar import TradingCalendar

DECIDED, NEXT = date(2022, 9, 20), date(2022, 9, 21)
NOW = datetime(2022, 9, 30, tzinfo=UTC)
KNOWN = pl.DataFrame(
    {
        "symbol": ["A", "B"],
        "instrument_id": ["X:A", "X:B"],
        "valid_from": [date(2000, 1, 3)] * 2,
    }
)


def record() -> pl.DataFrame:
    """Buy 100 A (first issued as 120), sell 50 B."""
    table = contract("record.orders")
    issued = [("a1", "X:A", "buy", 120.0, "r1"), ("a1", "X:A", "buy", 100.0, "r2"), ("b1", "X:B", "sell", 50.0, "r1")]  # fmt: skip
    rows = [
        {
            "run_id": run, "issued_at": datetime(2022, 9, 20, 21 + (run == "r2"), tzinfo=UTC), "mandate": "m",
            "date": DECIDED, "order_id": o, "instrument_id": name, "sequence": 1, "side": side,
            "shares": n, "unrounded_shares": n, "held_shares": 0.0, "price": 10.0, "value": 10 * n,
            "cost": 1.0, "weight_before": 0.0, "target_weight": 0.1, "weight_after": 0.1, "reason": "",
        }
        for o, name, side, n, run in issued
    ]  # fmt: skip
    return table.conform(pl.DataFrame(rows, schema=table.schema()))


def prices(split: float = 1.0) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "instrument_id": ["X:A", "X:A", "X:B", "X:B"],
            "date": [DECIDED, NEXT] * 2,
            "low": [9.9, 9.8, None, None],
            "high": [10.1, 10.6, None, None],
            "close": [10.0, 10.2, 20.0, 20.0],
            "split_index": [1.0, split, 1.0, 1.0],
        }
    )


def read(folder: Path, calendar: TradingCalendar, text: str, **more: float) -> pl.DataFrame:
    (folder / "f.csv").write_text(text)
    return fills.read(folder, record(), KNOWN, prices(**more), calendar, now=NOW)


def test_fills_by_order_or_by_name(tmp_path: Path, calendar: TradingCalendar) -> None:
    got = read(
        tmp_path,
        calendar,
        "order_id,mandate,symbol,date,side,shares,price,fees,time,fill_id\n"
        "a1,,,,buy,60,10.3,1.5,2022-09-21T10:05:00,e1\n"
        ",m,A,2022-09-20,,40,10.4,,2022-09-21T14:05:00Z,\n"
        "b1,,,,S,50,19,0,2022-09-20T17:30:00-04:00,e1\n",
    )
    assert got.select("order_id", "fill_id", "side", "session", "shares", "fees").rows() == [
        ("a1", "e1", "buy", NEXT, 60.0, 1.5),
        ("a1", "f:3", "buy", NEXT, 40.0, 0.0),
        # after the close of the decision's day: the next session's
        ("b1", "e1", "sell", NEXT, 50.0, 0.0),
    ]
    # a time without a zone is New York's: 10:05 is 14:05 UTC
    assert got["time"][0] == got["time"][1] == datetime(2022, 9, 21, 14, 5, tzinfo=UTC)
    assert set(got["known_at"]) == {calendar.known_at(NEXT)}


def test_no_files_no_fills(tmp_path: Path, calendar: TradingCalendar) -> None:
    assert fills.read(tmp_path, record(), KNOWN, prices(), calendar).is_empty()


def test_every_fault_is_listed(tmp_path: Path, calendar: TradingCalendar) -> None:
    at = "2022-09-21T10:05:00"
    rows = {
        f"a2,,,,buy,1,10.3,,{at},1": "no order 'a2' was issued; did you mean a1",
        f"a1,,,,sell,1,10.3,,{at},2": "side 'sell', but order a1 of X:A is to buy",
        "a1,,,,buy,1,10,,2022-09-20T15:00:00,3": "before the order's decision at the close of 2022-09-20",
        f"a1,,,,buy,1,11,,{at},4": "price 11 is far from what X:A traded at on 2022-09-21: between 9.8 and 10.6",
        f"b1,,,,sell,1,30,,{at},5": "price 30 is far from what X:B traded at on 2022-09-21: at 20 at the close",
        "a1,,,,buy,1,10.3,,2023-09-21T10:05:00,6": "is in the future",
        "a1,,,,buy,1,10.3,,2022-09-21,7": "time '2022-09-21' is not an instant",
        f"a1,,,,buy,-1,10.3,-2,{at},8": "shares -1 is not above 0",
        f"a1,,,,buy,many,10.3,,{at},9": "shares 'many' is not a number",
        f",m,C,2022-09-20,buy,1,10.3,,{at},10": "no instrument has the symbol 'C'",
        f",m,A,2022-09-19,buy,1,10.3,,{at},11": "'m' has no order of A decided on 2022-09-19; orders of A are of 2022-09-20",
        f",m,A,soon,buy,1,10.3,,{at},12": "date 'soon' (of the decision) is not YYYY-MM-DD",
    }  # fmt: skip
    head = "order_id,mandate,symbol,date,side,shares,price,fees,time,fill_id\n"
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, calendar, head + "".join(f"{row}\n" for row in rows))
    said = str(caught.value).splitlines()
    for number, words in enumerate(rows.values(), 2):
        assert any(f"f.csv row {number}: " in line and words in line for line in said), words
    assert any("fees -2 are below 0" in line for line in said)


def test_a_fill_twice_and_more_than_was_ordered(tmp_path: Path, calendar: TradingCalendar) -> None:
    head = "order_id,shares,price,time,fill_id\n"
    at = "2022-09-21T10:05:00"
    with pytest.raises(ConfigError, match="fill e1 is also in"):
        read(tmp_path, calendar, f"{head}a1,10,10.3,{at},e1\na1,10,10.3,{at},e1\n")
    # 120 were asked for by the first version of the list: they may have been done
    assert read(tmp_path, calendar, f"{head}a1,120,10.3,{at},e1\n").height == 1
    with pytest.raises(ConfigError, match="121 shares of X:A were executed, and 120 were ordered"):
        read(tmp_path, calendar, f"{head}a1,61,10.3,{at},e1\na1,60,10.3,{at},e2\n")


def test_shares_after_a_split_are_counted_in_those_of_the_order(
    tmp_path: Path, calendar: TradingCalendar
) -> None:
    text = "order_id,shares,price,time\na1,240,10.3,2022-09-21T10:05:00\n"
    assert read(tmp_path, calendar, text, split=2.0)["shares"].item() == 240.0
    with pytest.raises(ConfigError, match="were ordered"):
        read(tmp_path, calendar, text, split=1.0)


def test_columns_that_are_missing_are_named(tmp_path: Path, calendar: TradingCalendar) -> None:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, calendar, "symbol,shares\nA,5\n")
    assert "no column price, time, order_id (or mandate, symbol and date)" in str(caught.value)
