"""Bars out of Yahoo's charts: dates, events, what is no bar; and every chart that was recorded."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yahoo_payloads as fake
from wire import Ask, Bar, bars, yahoo_chart

from wealthos_pipeline.core.data import contract
from wealthos_pipeline.core.errors import SourceError
from wealthos_pipeline.data.sources import yahoo_chart as chart

RECORDED = Path(__file__).resolve().parents[4] / "shared" / "data" / "payloads" / "yahoo"
TODAY = date(2024, 3, 1)
DAYS = fake.weekdays(date(2024, 2, 19), 10)


def everything(day: date, meta: chart.Meta) -> bool:
    return True


def read(body: Any, symbol: str = "AAA", **more: Any) -> chart.Chart:
    return chart.read(body, symbol, **({"now": fake.evening(TODAY), "over": everything} | more))


def recorded(name: str) -> Any:
    file = RECORDED / name
    if not file.is_file():
        pytest.skip(f"the recorded payload {name} is not here")
    return json.loads(file.read_text("utf-8"))["response"]["bodyJson"]


def rows(frame: pl.DataFrame, column: str) -> dict[date, Any]:
    return dict(frame.select("date", column).iter_rows())


def test_ordinary_days_say_that_nothing_happened() -> None:
    got = read(yahoo_chart("AAA", bars(DAYS, range(100, 110)))).bars
    assert got["date"].to_list() == DAYS
    assert got["close"].to_list() == [float(c) for c in range(100, 110)]
    assert set(got["split_ratio"]) == {1.0}
    assert set(got["dividend"]) == {0.0}
    assert set(got["basis_vintage"]) == {TODAY}
    assert set(got["currency"]) == {"USD"}


def test_the_basis_is_that_of_the_exchanges_day() -> None:
    """Half past midnight in London: in New York a split of the new day is not in the prices yet."""
    body = yahoo_chart("AAA", bars(DAYS, range(100, 110)))
    got = read(body, now=datetime(2024, 3, 2, 0, 30, tzinfo=UTC)).bars
    assert set(got["basis_vintage"]) == {date(2024, 3, 1)}


def test_events_stand_on_their_day_and_prices_stay_as_given() -> None:
    body = yahoo_chart(
        "AAA", bars(DAYS, range(100, 110)), splits={DAYS[4]: (4, 1)}, dividends={DAYS[6]: 0.5}
    )
    got = read(body).bars
    assert rows(got, "split_ratio")[DAYS[4]] == 4.0
    assert rows(got, "dividend")[DAYS[6]] == 0.5
    assert got["split_ratio"].product() == 4.0
    assert got["dividend"].sum() == 0.5
    assert got["close"].to_list() == [float(c) for c in range(100, 110)]


def test_rows_without_a_close_are_no_bars() -> None:
    given = bars(DAYS, range(100, 110))
    given[3] = Bar(DAYS[3], None)  # type: ignore[arg-type]
    got = read(yahoo_chart("AAA", given, splits={DAYS[3]: (2, 1)}, dividends={DAYS[3]: 0.1})).bars
    assert DAYS[3] not in got["date"].to_list()
    assert rows(got, "split_ratio")[DAYS[4]] == 2.0, "the next bar carries the event"
    assert rows(got, "dividend")[DAYS[4]] == 0.1


def test_two_events_of_one_day_are_both_counted() -> None:
    body = yahoo_chart("AAA", bars(DAYS, range(100, 110)), dividends={DAYS[6]: 0.5})
    events = body["chart"]["result"][0]["events"]
    stamp = next(iter(events["dividends"].values()))["date"]
    events["dividends"]["special"] = {"amount": 2.0, "date": stamp + 60}
    events["capitalGains"] = {"x": {"amount": 0.25, "date": stamp}}
    assert rows(read(body).bars, "dividend")[DAYS[6]] == 2.75


def test_the_last_trade_of_a_day_replaces_its_bar() -> None:
    """Yahoo adds the last trade as a row of its own; yfinance keeps that one, too."""
    body = yahoo_chart("AAA", bars(DAYS, range(100, 110)))
    result = body["chart"]["result"][0]
    result["timestamp"].append(result["timestamp"][-1] + 6 * 3600)
    for column in result["indicators"]["quote"][0].values():
        column.append(column[-1])
    result["indicators"]["quote"][0]["close"][-1] = 111.5
    result["indicators"]["adjclose"][0]["adjclose"].append(111.5)
    got = read(body).bars
    assert got["date"].to_list() == DAYS
    assert got["close"][-1] == 111.5


@pytest.mark.parametrize(
    ("zone", "opens", "stamp", "day"),
    [
        ("Asia/Tokyo", time(9), datetime(2024, 2, 20, 0, tzinfo=UTC), date(2024, 2, 20)),
        ("Australia/Sydney", time(10), datetime(2024, 2, 19, 23, tzinfo=UTC), date(2024, 2, 20)),
        ("Europe/London", time(0), datetime(2024, 7, 8, 23, tzinfo=UTC), date(2024, 7, 9)),
        ("Pacific/Auckland", time(10), datetime(2024, 2, 19, 21, tzinfo=UTC), date(2024, 2, 20)),
    ],
)
def test_a_date_is_the_exchanges_own(zone: str, opens: time, stamp: datetime, day: date) -> None:
    body = yahoo_chart("AAA", bars([day], [10.0]), zone=zone, opens=opens)
    assert body["chart"]["result"][0]["timestamp"] == [int(stamp.timestamp())]
    assert read(body).bars["date"].to_list() == [day]


@pytest.mark.parametrize("ratio", [(4.0, 1.0), (1.0, 10.0), (3.0, 2.0)])
def test_a_split_after_the_last_bar_is_taken_back(ratio: tuple[float, float]) -> None:
    """On the morning of a split Yahoo's history is adjusted for it and the bar is not there yet."""
    listing = fake.Listing(DAYS, [100.0 + i for i in range(10)], splits={DAYS[-1]: ratio})
    listing.dividends[DAYS[2]] = 0.8
    ask = Ask("GET", "", {"period1": "0", "period2": "4000000000"}, {})
    given = listing.chart("AAA", ask, fake.morning(DAYS[-1]))
    got = read(given, over=lambda day, meta: day < DAYS[-1], now=fake.morning(DAYS[-1])).bars
    plain = fake.Listing(DAYS[:-1], listing.closes[:-1], dividends=listing.dividends)
    want = read(plain.chart("AAA", ask, fake.evening(DAYS[-2])), now=fake.evening(DAYS[-2])).bars
    assert got["date"].to_list() == DAYS[:-1]
    assert got["close"].to_list() == pytest.approx(want["close"].to_list(), rel=1e-14)
    for name in ("open", "high", "low", "adj_close", "volume", "dividend"):
        assert got[name].to_list() == pytest.approx(want[name].to_list(), rel=1e-12), name
    assert set(got["split_ratio"]) == {1.0}
    assert set(got["basis_vintage"]) == {DAYS[-2]}, "the basis is that of the last bar"


def test_a_split_after_the_end_of_the_range_is_taken_back() -> None:
    listing = fake.Listing(DAYS, [100.0 + i for i in range(10)], splits={DAYS[7]: (2.0, 1.0)})
    ask = Ask("GET", "", {"period1": "0", "period2": "4000000000"}, {})
    body = listing.chart("AAA", ask, fake.evening(DAYS[-1]))
    got = read(body, end=DAYS[5]).bars
    assert got["date"].to_list() == DAYS[:6]
    assert got["close"].to_list() == list(listing.closes[:6])


def test_range_is_inclusive_and_events_before_it_are_not_moved_into_it() -> None:
    body = yahoo_chart("AAA", bars(DAYS, range(100, 110)), splits={DAYS[1]: (2, 1)})
    got = read(body, start=DAYS[3], end=DAYS[6]).bars
    assert got["date"].to_list() == DAYS[3:7]
    assert set(got["split_ratio"]) == {1.0}


def test_events_before_the_first_bar_of_all_are_left_out() -> None:
    body = yahoo_chart(
        "AAA", bars(DAYS[2:], range(8)), splits={DAYS[0]: (2, 1)}, dividends={DAYS[0]: 1.0}
    )
    got = read(body).bars
    assert set(got["split_ratio"]) == {1.0}
    assert set(got["dividend"]) == {0.0}


@pytest.mark.parametrize(
    ("quoted", "paid", "amount", "want"),
    [("GBp", "GBP", 0.25, 25.0), ("GBP", "GBp", 25.0, 0.25), ("GBp", "GBp", 25.0, 25.0),
     ("USD", "", 0.25, 0.25), ("VND", "USD", 0.25, None)],
)  # fmt: skip
def test_a_dividend_is_in_the_currency_of_its_bar_or_unknown(
    quoted: str, paid: str, amount: float, want: float | None
) -> None:
    body = yahoo_chart(
        "AAA", bars(DAYS, range(100, 110)), currency=quoted, dividends={DAYS[6]: amount}
    )
    next(iter(body["chart"]["result"][0]["events"]["dividends"].values()))["currency"] = paid
    assert rows(read(body).bars, "dividend")[DAYS[6]] == want


def damaged(change: Callable[[dict[str, Any]], object]) -> Any:
    body = yahoo_chart("AAA", bars(DAYS, range(100, 110)))
    change(body["chart"]["result"][0])
    return body


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda r: r["meta"].update(symbol="BBB"), "answered about 'BBB'"),
        (lambda r: r["meta"].update(dataGranularity="1mo"), "bars of 1mo"),
        (lambda r: r["meta"].update(exchangeTimezoneName="Mars/Olympus"), "Mars/Olympus"),
        (lambda r: r["indicators"]["quote"][0]["high"].pop(), r"10 time stamps.*high \(9\)"),
        (lambda r: r["timestamp"].pop(), r"9 time stamps"),
    ],
)
def test_an_answer_about_something_else_is_refused(
    change: Callable[[dict[str, Any]], object], words: str
) -> None:
    with pytest.raises(SourceError, match=f"AAA: .*{words}"):
        read(damaged(change))


def test_an_answer_without_rows_has_no_bars() -> None:
    got = read(damaged(lambda r: (r.pop("timestamp"), r.update(indicators={"quote": [{}]}))))
    assert got.received == 0
    assert got.bars.is_empty()
    assert got.bars.schema == chart.SCHEMA


def test_bars_fit_the_contract() -> None:
    frame = read(yahoo_chart("AAA", bars(DAYS, range(100, 110)))).bars.with_columns(
        source=pl.lit("yahoo"),
        symbol=pl.lit("AAA"),
        fetched_at=pl.lit(fake.evening(TODAY)).cast(pl.Datetime("us", "UTC")),
    )
    assert contract("raw.prices").conform(frame).height == 10


NAMES = sorted(p.name for p in RECORDED.glob("*.json")) if RECORDED.is_dir() else []
CHARTS = [n for n in NAMES if n.startswith(("chart-", "historical-")) and "interval-1m" not in n]
WANTED = {
    "AAPL": ("EQUITY", "USD", date(1980, 12, 12)), "OCDO.L": ("EQUITY", "GBp", date(2010, 7, 21)),
    "ORSTED.CO": ("EQUITY", "DKK", date(2016, 6, 9)), "GC=F": ("FUTURE", "USD", date(2000, 8, 30)),
    "EURUSD=X": ("CURRENCY", "USD", date(2003, 12, 1)), "QQQ": ("ETF", "USD", date(1999, 3, 10)),
    "BTC-USD": ("CRYPTOCURRENCY", "USD", date(2014, 9, 17)),
    "0P000071W8.TO": ("MUTUALFUND", "CAD", date(2018, 1, 2)),
}  # fmt: skip


@pytest.mark.parametrize("name", CHARTS or [pytest.param("", marks=pytest.mark.skip("none here"))])
def test_every_recorded_chart_can_be_read(name: str) -> None:
    body = recorded(name)
    result = body["chart"]["result"][0]
    symbol = result["meta"]["symbol"]
    got = read(body, symbol)
    closes = [c for c in result["indicators"]["quote"][0]["close"] if c is not None]
    assert got.bars["close"].to_list() == closes
    assert got.bars["date"].is_sorted()
    assert got.bars["date"].n_unique() == len(closes)
    assert math.isclose(
        got.bars["dividend"].sum(),
        sum(d["amount"] for d in result.get("events", {}).get("dividends", {}).values()),
    )
    if symbol in WANTED:
        assert (got.meta.kind, got.meta.currency, got.meta.first_trade) == WANTED[symbol]


def test_minute_bars_are_refused() -> None:
    body = recorded("chart-AAPL-2025-02-01-to-2025-02-02-includePrePost-false-interval-1m.json")
    with pytest.raises(SourceError, match="daily bars were asked for, Yahoo sent bars of 1m"):
        read(body, "AAPL")


def test_apple_split_four_for_one() -> None:
    got = read(
        recorded("chart-AAPL-2020-08-31-to-2020-11-07.json"), "AAPL", start=date(2020, 8, 31)
    )
    assert rows(got.bars, "split_ratio")[date(2020, 8, 31)] == 4.0
    assert rows(got.bars, "dividend")[date(2020, 11, 6)] == 0.205
    assert got.bars.row(0, named=True)["close"] == pytest.approx(129.04, abs=1e-4)


def test_nvidia_split_and_microsoft_dividends() -> None:
    nvda = read(
        recorded("historical-via-chart-NVDA-split-2021-02-01-to-2022-01-31.csv.json"), "NVDA"
    ).bars
    assert nvda.filter(pl.col("split_ratio") != 1.0).select("date", "split_ratio").rows() == [
        (date(2021, 7, 20), 4.0)
    ]
    msft = read(
        recorded("historical-via-chart-MSFT-dividends-2021-02-01-to-2022-01-31.csv.json"), "MSFT"
    ).bars
    assert msft.filter(pl.col("dividend") != 0).select("date", "dividend").rows() == [
        (date(2021, 2, 17), 0.56),
        (date(2021, 5, 19), 0.56),
        (date(2021, 8, 18), 0.56),
        (date(2021, 11, 17), 0.62),
    ]


def test_coins_and_currencies_have_bars_on_every_day_that_they_trade() -> None:
    new_year = [date(2020, 1, 1), date(2020, 1, 2), date(2020, 1, 3)]
    for symbol in ("BTC-USD", "EURUSD=X"):
        got = read(recorded(f"chart-{symbol}-2020-01-01-to-2020-01-03.json"), symbol)
        assert got.bars["date"].to_list() == new_year
    gold = read(recorded("chart-GC=F-2020-01-01-to-2020-01-03.json"), "GC=F")
    assert gold.bars["date"].to_list() == [date(2020, 1, 2)]
    pence = read(recorded("chart-OCDO.L-2020-01-01-to-2020-01-03.json"), "OCDO.L").bars
    assert pence["currency"].to_list() == ["GBp"]
    assert pence["close"].to_list() == [1259.5]
