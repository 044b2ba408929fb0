"""Finnhub through its own client over the wire: what comes, what a plan refuses, what faults leave."""

from __future__ import annotations

import logging
import time
import traceback
from collections.abc import Iterator
from datetime import UTC, date, datetime

import finnhub_payloads as vendor
import polars as pl
import pytest
from finnhub_payloads import FREE, KEY, NOW, Clock
from wire import Bar, Reply, Wire, bars

from wealthos_pipeline.core.data import contract
from wealthos_pipeline.core.errors import AccessError, SourceError, WealthOSError
from wealthos_pipeline.data import sources
from wealthos_pipeline.data.processors import raw


@pytest.fixture
def wire() -> Iterator[Wire]:
    with Wire() as server:
        yield server


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def fetch(wire: Wire, calendar, clock: Clock) -> vendor.Fetch:
    return vendor.fetching(wire, calendar, clock)


@pytest.fixture
def rows(calendar) -> list[Bar]:
    days = calendar.sessions(date(2024, 1, 2), NOW.date())
    return bars(days, [100 + 0.25 * i for i in range(len(days))])


def failure(frames: sources.RawFrames, symbol: str) -> dict[str, str]:
    return frames.failures.filter(pl.col("symbol") == symbol).row(0, named=True)


# bars


def test_bars_are_split_adjusted_with_their_events(wire, fetch, rows):
    split, paid = rows[50].date, rows[20].date
    company = vendor.Company("AAA", rows, splits={split: (4, 1)}, dividends={paid: 0.8})
    vendor.serve(wire, company, key=KEY)
    got = fetch("AAA", gives=("prices",)).prices
    assert got["date"].to_list() == [b.date for b in rows]
    assert got["close"].to_list() == [b.close for b in rows]
    assert got.filter(pl.col("date") == split)["split_ratio"].item() == 4.0
    assert got.filter(pl.col("date") != split)["split_ratio"].unique().to_list() == [1.0]
    # 80 cents on an old share are 20 on a new one, as the prices are
    assert got.filter(pl.col("dividend") > 0).select("date", "dividend").rows() == [(paid, 0.2)]
    assert got["basis_vintage"].unique().to_list() == [NOW.date()]


def test_events_between_sessions_belong_to_the_next(wire, fetch, rows):
    saturday = date(2024, 3, 9)
    vendor.serve(wire, vendor.Company("AAA", rows, splits={saturday: (2, 1)}))
    got = fetch("AAA", gives=("prices",)).prices
    assert got.filter(pl.col("split_ratio") == 2.0)["date"].to_list() == [date(2024, 3, 11)]


def test_a_plan_without_events_leaves_them_unknown(wire, fetch, rows):
    vendor.serve(wire, vendor.Company("AAA", rows), vendor.Company("BBB", rows))
    refuse = Reply(vendor.NO_ACCESS, 403)
    wire.serve(r"^/stock/(split|dividend)\?", refuse)
    got = fetch("AAA", "BBB", gives=("prices",), concurrency=1)
    assert got.prices.height == 2 * len(rows)
    assert got.prices["split_ratio"].null_count() == got.prices.height
    assert got.prices["dividend"].null_count() == got.prices.height
    assert wire.asked("^/stock/split") == wire.asked("^/stock/dividend") == 1
    assert got.failures["symbol"].to_list() == ["*", "*"]
    assert "You don't have access to this resource." in got.failures["reason"][0]


def test_an_event_list_that_fails_is_not_taken_for_no_events(wire, fetch, rows):
    vendor.serve(wire, vendor.Company("AAA", rows), vendor.Company("BBB", rows))
    wire.fault(r"/stock/split\?symbol=BBB", "error_500", times=None)
    got = fetch("AAA", "BBB", gives=("prices",))
    assert got.prices["symbol"].unique().to_list() == ["AAA"]
    assert "splits of BBB: HTTP 500" in failure(got, "BBB")["reason"]


def test_a_later_fetch_asks_for_the_overlap_only(wire, fetch, rows, calendar):
    old = [b for b in rows if b.date <= date(2024, 6, 26)]
    vendor.serve(wire, vendor.Company("AAA", old))
    first = fetch("AAA", gives=("prices",), now=datetime(2024, 6, 26, 22, tzinfo=UTC))
    vendor.serve(wire, vendor.Company("AAA", rows))
    second = fetch("AAA", gives=("prices",), have=first)
    table = contract("raw.prices")
    new = raw.new_rows(first.prices, second.prices, table)
    assert new["date"].to_list() == [date(2024, 6, 27), date(2024, 6, 28)]
    asked = datetime.fromtimestamp(int(wire.requests[-3].query["from"]), UTC).date()
    assert asked == calendar.offset(date(2024, 6, 26), -10)


def test_without_candles_in_the_plan_a_primary_says_so(wire, fetch, rows):
    vendor.serve(wire, vendor.Company("AAA", rows), plan="free")
    with pytest.raises(SourceError, match=r"403: You don't have access.*source\.gives"):
        fetch("AAA")


def test_without_candles_in_the_plan_the_rest_goes_on_and_stored_bars_stay(wire, fetch, rows):
    vendor.serve(wire, vendor.Company("AAA", rows))
    first = fetch("AAA")
    vendor.serve(
        wire, vendor.Company("AAA", rows, stories=[vendor.story(7, NOW, "Late news")]), plan="free"
    )
    second = fetch("AAA", have=first)
    assert failure(second, "AAA")["kept"] == f"bars through {NOW.date()}"
    assert second.news["headline"].to_list() == ["Late news"]


# profiles


def test_a_profile_of_the_free_plan(wire, fetch):
    vendor.serve(wire, vendor.Company("AAA"), plan="free")
    got = fetch("AAA", gives=FREE).instruments.row(0, named=True)
    assert got["name"] == "AAA Works Inc"
    assert (got["exchange"], got["currency"], got["country"]) == ("XNYS", "USD", "US")
    assert (got["sector"], got["industry"]) == (None, "Technology")  # no GICS sector
    assert got["first_trade"] == date(1986, 3, 13)
    assert got["figi"] == "BBG000000AAA"
    assert got["isin"] is None


def test_the_premium_profile_adds_number_and_sector(wire, fetch):
    vendor.serve(wire, vendor.Company("AAA"))
    got = fetch("AAA", gives=("profile",)).instruments.row(0, named=True)
    assert (got["isin"], got["sector"]) == ("US000000AAA0", "Information Technology")


@pytest.mark.parametrize(
    ("said", "calendar_name"),
    [
        ("NEW YORK STOCK EXCHANGE, INC.", "XNYS"),
        ("LONDON STOCK EXCHANGE", "XLON"),
        ("TORONTO STOCK EXCHANGE", "XTSE"),
        ("MOON STOCK EXCHANGE", "XNYS"),  # not known: the exchange of the settings
    ],
)
def test_exchanges_by_calendar(wire, fetch, said, calendar_name):
    profile = vendor.profile2("AAA", exchange=said)
    vendor.serve(wire, vendor.Company("AAA", profile=profile))
    assert fetch("AAA", gives=("profile",)).instruments["exchange"].item() == calendar_name


# faults


@pytest.mark.parametrize(
    ("fault", "more", "words"),
    [
        ("rate_limited", {"retry_after": 7, "body": {"error": "API limit reached."}}, "API limit reached."),
        ("error_500", {"body": {"error": "Backend is down"}}, "HTTP 500: Backend is down"),
        ("html", {}, "a web page came instead of JSON"),
        ("truncated", {}, "the answer is cut off or no JSON"),
        ("truncated", {"cut": True}, "the answer broke off"),
        ("dropped", {}, "the answer broke off"),
        ("slow", {}, "no complete answer within 0.3 s"),
        ("unknown", {"body": {"error": "Symbol not supported"}}, "HTTP 404: Symbol not supported"),
        ("empty", {"body": {"s": "no_data"}}, "candles of BBB: no_data; check the symbol"),
    ],
)  # fmt: skip
@pytest.mark.faults
def test_a_fault_that_stays_costs_its_symbol_only(
    wire, fetch, rows, clock, fault, more, words, fault_row
):
    vendor.serve(wire, vendor.Company("AAA", rows), vendor.Company("BBB", rows), key=KEY)
    wire.fault(r"/stock/candle\?symbol=BBB", fault, times=None, **more)
    got = fetch("AAA", "BBB", gives=("prices",), timeout_seconds=0.3)
    assert got.prices["symbol"].unique().to_list() == ["AAA"]
    assert got.prices.height == len(rows)
    seen = failure(got, "BBB")["reason"]
    assert words in seen
    assert KEY not in seen
    if fault == "rate_limited":
        assert [s for s in clock.slept if s >= 7] != []
    # nothing is lost or given twice: the next run asks for all that is missing
    wire.calm()
    again = fetch("AAA", "BBB", gives=("prices",), have=got)
    new = raw.new_rows(got.prices, again.prices, contract("raw.prices"))
    assert new["symbol"].unique().to_list() == ["BBB"]
    assert new.height == len(rows)
    if (fault, "cut" in more) in WHAT:
        what = WHAT[fault, "cut" in more]
        fault_row("finnhub", what, seen, "the other symbols; the next run asks again")


WHAT = {
    ("rate_limited", False): "429 again and again",
    ("truncated", False): "an answer is cut off",
    ("slow", False): "the body of an answer stops half-way",
    ("empty", False): "unknown symbol: an answer without candles",
}


@pytest.mark.parametrize(
    ("fault", "more"),
    [
        ("rate_limited", {"retry_after": 3}),
        ("rate_limited", {}),
        ("error_500", {"status": 502}),
        ("html", {}),
        ("truncated", {}),
        ("dropped", {}),
    ],
)
def test_a_fault_that_passes_leaves_no_trace(wire, fetch, rows, fault, more):
    vendor.serve(wire, vendor.Company("AAA", rows))
    calm = fetch("AAA")
    for path in ("candle", "split", "profile2", "metric", "financials", "calendar", "news"):
        wire.fault(path, fault, times=1, **more)
    got = fetch("AAA")
    assert got.failures.height == 0
    for name in ("prices", "instruments", "fundamentals", "earnings", "news"):
        assert getattr(got, name).equals(getattr(calm, name))


def test_the_reset_of_the_rate_limit_is_obeyed(wire, fetch, rows, clock):
    """``X-Ratelimit-Reset`` is counted from the answer's own date: our clock may be wrong."""
    vendor.serve(wire, vendor.Company("AAA", rows))
    reset = {"X-Ratelimit-Reset": str(int(time.time()) + 41)}  # by the server's clock
    limit = {"error": "API limit reached."}
    wire.fault("candle", "status", status=429, body=limit, headers=reset)
    got = fetch("AAA", gives=("prices",), now=NOW)  # ours is years behind
    assert got.prices.height == len(rows)
    assert [s for s in clock.slept if 39 <= s <= 41] == [max(clock.slept)]


@pytest.mark.faults
def test_a_refused_key_is_one_sentence(wire, fetch, rows, fault_row):
    vendor.serve(wire, vendor.Company("AAA", rows), key="another")
    with pytest.raises(
        SourceError, match="Invalid API key; check the key in WEALTHOS_KEYS__FINNHUB"
    ) as caught:
        fetch("AAA")
    assert KEY not in str(caught.value)
    fault_row("finnhub", "the key is refused", str(caught.value), "everything that is stored")


def test_without_a_key_nothing_is_asked(wire, fetch):
    with pytest.raises(AccessError, match="WEALTHOS_KEYS__FINNHUB"):
        fetch("AAA", key=None)
    assert wire.requests == []


def test_another_address_does_not_get_the_key(wire, fetch, rows):
    with Wire() as elsewhere:
        wire.serve("candle", Reply("", 302, {"Location": f"{elsewhere.url}/stolen"}))
        with pytest.raises(SourceError, match="another address"):
            fetch("AAA", gives=("prices",))
        assert elsewhere.requests == []


@pytest.mark.parametrize("body", ["[1, 2]", '"sorry"', "null", '{"t": [1], "o": [], "s": "ok"}'])
def test_an_answer_of_another_shape_is_told(wire, fetch, rows, body):
    vendor.serve(wire, vendor.Company("AAA", rows), vendor.Company("BBB", rows))
    odd = Reply(body, 200, {"Content-Type": "application/json"})
    wire.serve(r"candle\?symbol=BBB", odd)
    got = fetch("AAA", "BBB", gives=("prices",))
    assert got.prices["symbol"].unique().to_list() == ["AAA"]
    assert failure(got, "BBB")["what"] == "prices"


def test_the_key_appears_nowhere(wire, fetch, rows, caplog):
    """Not in the address, the log at its finest, the failures, nor in an exception and its causes."""
    caplog.set_level(logging.DEBUG)
    said: list[str] = []
    for fault, more in (
        ("refused_key", {"body": {"error": f"Invalid API key {KEY}"}}),
        ("rate_limited", {}),
        ("html", {"body": f"<html><title>{KEY}</title></html>"}),
        ("truncated", {}),
        ("dropped", {}),
        ("status", {"status": 400, "body": f"bad token {KEY}"}),
        (None, {}),
    ):
        vendor.serve(wire, vendor.Company("AAA", rows), key=KEY)
        if fault:
            wire.fault("", fault, times=None, **more)
        try:
            got = fetch("AAA", retries=1)
            said.append(got.failures.write_csv())
            said += [getattr(got, n).write_csv() for n in ("prices", "instruments", "news")]
        except WealthOSError as error:
            said += traceback.format_exception(error)
        wire.calm()
    wire.close()
    with pytest.raises(SourceError, match="cannot be reached") as caught:
        fetch("AAA", retries=1)
    said += traceback.format_exception(caught.value)
    said += [r.getMessage() + str(r.args) + str(r.exc_info) for r in caplog.records]
    assert any("urllib3" in r.name for r in caplog.records)  # the finest log was on
    assert len(said) > 20
    assert [s for s in said if KEY in s] == []
    assert all(KEY not in s.ask.target for s in wire.requests)
    assert any(s.ask.headers.get("x-finnhub-token") == KEY for s in wire.requests)
