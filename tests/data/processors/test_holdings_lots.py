"""Tax lots in statements of holdings; prices of positions; names that were delisted."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from wealthos_pipeline.core.data import contract
from wealthos_pipeline.core.errors import ConfigError
from wealthos_pipeline.data.processors import holdings, holdings_prices
from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.data.processors.flags import Flag

KNOWN = pl.DataFrame(
    {
        "symbol": ["AAPL", "BRK.B", "GE"],
        "instrument_id": ["XNYS:AAPL", "XNYS:BRK.B", "XNYS:GE"],
        "valid_from": [date(2000, 1, 3)] * 3,
        "currency": ["USD", "USD", "EUR"],
    }
)
NOW = datetime(2026, 1, 1, tzinfo=UTC)
DAY = date(2022, 12, 28)


def stated(folder: Path, calendar: TradingCalendar, text: str, **more: Any) -> holdings.Statements:
    (folder / "m.csv").write_text(text)
    return holdings.statements(folder, KNOWN, calendar, now=NOW, **more)


def test_lots_of_a_symbol_are_summed_and_kept(tmp_path: Path, calendar: TradingCalendar) -> None:
    got = stated(
        tmp_path,
        calendar,
        "date,symbol,units,lot,acquired,cost,cost_total,currency\n"
        "2022-12-28,AAPL,100,a,2019-03-01,50,,USD\n"
        "2022-12-28,AAPL,40.5,,2022-03-01,,6480,\n"
        "2022-12-28,BRK-B,7,,,,,\n"
        "2022-12-28,cash,1000,,,,,\n",
    )
    assert got.holdings.select("mandate", "instrument_id", "units").rows() == [
        ("m", "XNYS:AAPL", 140.5),
        ("m", "XNYS:BRK.B", 7.0),
        ("m", "cash", 1000.0),
    ]
    # 6480 for 40.5 shares is 160 a share; a lot without a name has its number
    assert got.lots.select("instrument_id", "lot", "units", "cost", "acquired").rows() == [
        ("XNYS:AAPL", "2", 40.5, 160.0, date(2022, 3, 1)),
        ("XNYS:AAPL", "a", 100.0, 50.0, date(2019, 3, 1)),
    ]
    assert set(got.lots["known_at"]) == {calendar.known_at(DAY)}


def test_every_fault_of_lots_is_listed(tmp_path: Path, calendar: TradingCalendar) -> None:
    rows = {
        "AAPLE,1,,,,,": "no instrument has the symbol 'AAPLE'; did you mean AAPL",
        "AAPL,-5,n,2020-01-02,10,,": "a lot of -5 units of AAPL",
        "AAPL,5,x,2023-01-03,10,,": "acquired on 2023-01-03, after the statement's date 2022-12-28",
        "AAPL,5,y,,10,,": "the lot of AAPL has no acquired date",
        "AAPL,5,z,2020-01-02,0,,": "cost 0 of AAPL is not above 0",
        "AAPL,5,w,2020-01-02,10,50,": "has cost and cost_total; give one",
        "AAPL,5,v,2020-01-02,,,": "the lot of AAPL has no cost",
        "AAPL,5,u,02.01.2020,ten,,": "cost 'ten' is not a number",
        "AAPL,5,t,2020-01-02,10,,XXX": "currency 'XXX' is unknown; expected USD",
        "AAPL,5,s,2020-01-02,10,,EUR": "EUR is not m's base currency USD",
        "cash,5,r,2020-01-02,10,,": "cash has no lots",
    }
    head = "symbol,units,lot,acquired,cost,cost_total,currency,date\n"
    with pytest.raises(ConfigError) as caught:
        stated(tmp_path, calendar, head + "".join(f"{r},2022-12-28\n" for r in rows))
    said = str(caught.value)
    for number, words in enumerate(rows.values(), 2):
        assert any(
            f"m.csv row {number}: " in line and words in line for line in said.splitlines()
        ), words
    assert "acquired '02.01.2020' is not YYYY-MM-DD" in said


def test_faults_of_lots_together(tmp_path: Path, calendar: TradingCalendar) -> None:
    with pytest.raises(ConfigError) as caught:
        stated(
            tmp_path,
            calendar,
            "date,symbol,units,lot,acquired,cost\n"
            "2022-12-28,AAPL,5,a,2020-01-02,10\n2022-12-28,AAPL,6,a,2020-01-03,11\n"
            "2022-12-28,GE,5,a,2020-01-02,10\n2022-12-28,GE,-6,,,\n",
        )
    said = str(caught.value)
    assert "row 3: lot 'a' of XNYS:AAPL of m on 2022-12-28 is also in m.csv row 2" in said
    assert "row 5: XNYS:GE of m on 2022-12-28 has lots in other rows" in said
    assert "the lots of XNYS:GE of m on 2022-12-28 are of both signs" in said


def test_a_purchase_in_the_future_and_a_short_of_a_long_only_mandate(
    tmp_path: Path, calendar: TradingCalendar
) -> None:
    (tmp_path / "m.csv").write_text(
        "date,symbol,units,acquired,cost\n2027-06-01,AAPL,5,2027-05-03,10\n2022-12-28,GE,-6,,\n"
    )
    with pytest.raises(ConfigError) as caught:
        holdings.statements(tmp_path, KNOWN, calendar, now=NOW, long_only={"m"})
    assert "date 2027-06-01 is in the future" in str(caught.value)
    assert "acquired on 2027-05-03, which is in the future" in str(caught.value)
    assert "-6 units of GE, but m is long only" in str(caught.value)


def test_two_columns_of_one_meaning_are_refused(tmp_path: Path, calendar: TradingCalendar) -> None:
    with pytest.raises(ConfigError, match="several columns mean units"):
        stated(tmp_path, calendar, "date,symbol,units,shares\n2022-12-28,AAPL,5,6\n")


def bars(calendar: TradingCalendar, name: str, last: date, n: int, **more: Any) -> pl.DataFrame:
    days = [calendar.offset(last, -k) for k in range(n)][::-1]
    return pl.DataFrame(
        {
            "instrument_id": [name] * n,
            "date": days,
            "slot": [calendar.slot(d) for d in days],
            "close": [10.0 + i for i in range(n)],
            "split_index": [1.0] * n,
            "flags": [0] * n,
        },
        schema_overrides={"slot": pl.Int32, "flags": pl.Int32},
    ).with_columns(**more)


def held(calendar: TradingCalendar, units: dict[str, float], day: date) -> pl.DataFrame:
    table = contract("clean.holdings")
    rows = [("m", day, name, n, calendar.known_at(day)) for name, n in units.items()]
    return table.conform(pl.DataFrame(rows, schema=table.schema(), orient="row"))


def test_stale_unpriced_and_split_positions_are_told(calendar: TradingCalendar) -> None:
    since = calendar.offset(DAY, -3)
    split = pl.when(pl.col("date") > since).then(2.0).otherwise(1.0).alias("split_index")
    prices = pl.concat(
        [
            bars(calendar, "A", DAY, 10, split_index=split),
            bars(calendar, "B", calendar.offset(DAY, -8), 5),
            bars(calendar, "D", DAY, 2),
        ]
    )
    stock = held(calendar, {"A": 5.0, "B": 1.0, "C": 2.0, "D": 1.0, "cash": 9.0}, since)
    got = holdings_prices.priced(
        stock, prices, contract("clean.gaps").empty(), DAY, calendar, stale=5
    )
    by = {r["instrument_id"]: r for r in got.iter_rows(named=True)}
    assert (by["A"]["state"], by["A"]["units"], by["A"]["words"]) == ("priced", 10.0, None)
    assert (by["B"]["state"], by["B"]["sessions_old"], by["B"]["sessions_old_then"]) == (
        "stale",
        8,
        5,
    )
    assert by["B"]["words"] == f"B: no price since {calendar.offset(DAY, -8)}, 8 sessions ago"
    assert (by["C"]["state"], by["C"]["price"]) == ("unpriced", None)
    assert (by["D"]["state"], by["D"]["sessions_old_then"]) == ("stale", None)
    assert "cash" not in by
    said = holdings_prices.warnings(got)["m"]
    assert said.count("no price") == 2
    assert holdings_prices.settled(stock, got).equals(stock)


def test_a_delisting_with_a_stated_return_becomes_cash(calendar: TradingCalendar) -> None:
    ended = calendar.offset(DAY, -2)
    terminal = pl.when(pl.col("date") == ended).then(int(Flag.TERMINAL)).otherwise(0).cast(pl.Int32)
    prices = pl.concat([bars(calendar, "A", ended, 6, flags=terminal), bars(calendar, "B", DAY, 9)])
    stock = held(calendar, {"A": 5.0, "B": 1.0, "cash": 9.0}, calendar.offset(DAY, -5))
    got = holdings_prices.priced(stock, prices, contract("clean.gaps").empty(), DAY, calendar)
    assert got.filter(pl.col("instrument_id") == "A")["state"].item() == "settled"
    # the sixth close is 15: 5 shares × 15 = 75, and 9 of cash
    after = holdings_prices.settled(stock, got)
    assert after.select("instrument_id", "units").rows() == [("B", 1.0), ("cash", 84.0)]
    assert "holders were paid 75.00" in holdings_prices.warnings(got)["m"]


def test_a_delisting_without_a_stated_return_is_listed_with_its_last_day(
    calendar: TradingCalendar,
) -> None:
    last = calendar.offset(DAY, -2)
    table = contract("clean.gaps")
    gap = table.conform(
        pl.DataFrame(
            [
                (
                    "A",
                    calendar.offset(last, 1),
                    None,
                    2,
                    "delisting",
                    "stated",
                    calendar.known_at(DAY),
                )
            ],
            schema=table.schema(),
            orient="row",
        )
    )
    stock = held(calendar, {"A": 5.0}, calendar.offset(DAY, -4))
    got = holdings_prices.priced(stock, bars(calendar, "A", last, 6), gap, DAY, calendar)
    assert got["state"].item() == "delisted"
    assert f"no price since {last}" in got["words"].item()
    assert holdings_prices.settled(stock, got).equals(stock)
