"""What goes wrong between Yahoo and this house: what the user sees, what is kept, that nothing is
lost or given twice. yfinance's own client meets every fault on loopback."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import polars as pl
import pytest
import yahoo_payloads as fake
from wire import Reply, Wire, refused

from wealthos_pipeline.core.errors import SourceError
from wealthos_pipeline.data.sources.base import RawFrames

pytestmark = pytest.mark.faults

SYMBOLS = ("AAA", "BBB", "CCC")
KEPT = "bars through 2024-02-13; the next run asks again"


@pytest.fixture
def wire() -> Iterator[Wire]:
    with Wire() as server:
        yield server


@dataclass
class Story:
    """Three shares over two evenings; between them something happens to BBB."""

    wire: Wire
    market: fake.Market
    calendar: Any
    days: list[date]
    fetch: dict[str, Any]

    def __post_init__(self) -> None:
        self.lake = fake.Lake()
        self.waits: list[float] = []
        self.ask = fake.asking(
            self.wire, self.calendar, self.lake, *SYMBOLS, waits=self.waits, fetch=self.fetch
        )
        self.on(30)
        assert self.lake("raw.prices").height == 3 * 31

    def on(self, day: int) -> RawFrames:
        """The run of an evening."""
        self.market.now = fake.evening(self.days[day])
        frames = self.ask(self.market.now)
        self.lake.add(frames)
        return frames

    def bars(self, symbol: str) -> list[tuple[Any, ...]]:
        columns = ("date", "close", "adj_close", "dividend", "split_ratio", "currency")
        return self.lake.latest(symbol).select(columns).rows()

    def same_as_undisturbed(self) -> bool:
        """Whether the stored bars are those that one fetch without faults would give, each once."""
        calm = fake.Lake()
        calm.add(fake.asking(self.wire, self.calendar, calm, *SYMBOLS)(self.market.now))
        key = self.lake("raw.prices").select("symbol", "date", "fetched_at")
        return key.is_unique().all() and all(
            self.lake.latest(s).drop("fetched_at", "basis_vintage").equals(
                calm.latest(s).drop("fetched_at", "basis_vintage")
            )
            for s in SYMBOLS
        )  # fmt: skip


@pytest.fixture
def story(wire, calendar) -> Any:
    days = calendar.sessions(date(2024, 1, 2), date(2024, 3, 28))
    n = len(days)
    market = fake.Market(
        {s: fake.Listing(days, [50.0 * k + i for i in range(n)]) for k, s in enumerate(SYMBOLS, 1)},
        fake.evening(days[30]),
    ).serve(wire)

    def make(**fetch: Any) -> Story:
        return Story(wire, market, calendar, days, fetch)

    return make


def failed(frames: RawFrames) -> dict[str, str]:
    return dict(frames.failures.select("symbol", "reason").iter_rows())


PASSING = [
    ("HTTP 429 without Retry-After", "rate_limited", {}, 0.0),
    ("HTTP 429 with Retry-After", "rate_limited", {"retry_after": 7}, 7.0),
    ("HTTP 500", "error_500", {}, 0.5),
    ("truncated JSON", "truncated", {}, 0.5),
    ("connection cut in the middle", "truncated", {"cut": True}, 0.5),
    ("connection cut at once", "dropped", {}, 0.5),
    ("a web page instead of JSON", "html", {}, 0.5),
    ("HTTP 401", "refused_key", {}, 0.0),
]


@pytest.mark.parametrize(("what", "kind", "more", "wait"), PASSING, ids=[p[0] for p in PASSING])
def test_a_fault_that_passes_is_not_seen(
    story, wire, what: str, kind: str, more: dict[str, Any], wait: float, fault_row
) -> None:
    told = story()
    wire.fault("chart/BBB", kind, times=1, **more)
    frames = told.on(31)
    assert frames.failures.rows() == []
    assert told.same_as_undisturbed()
    pauses = [w for w in told.waits if w > 0.01]
    if kind in ("refused_key",) or (kind == "rate_limited" and not more):
        assert pauses == [], "yfinance's own second try, with a new cookie"
        assert wire.asked("guce|consent|getcrumb") >= 2
    elif wait == 7.0:
        assert 7.0 in pauses, "as long as Yahoo named"
    else:
        assert len(pauses) == 1
        assert wait <= pauses[0] <= 1.0
    fault_row("yahoo", f"{what}, once", "nothing; the symbol is asked again", "everything")


LASTING = [
    ("HTTP 429", "rate_limited", {}, "BBB: Yahoo: Too Many Requests"),
    ("HTTP 429 with Retry-After", "rate_limited", {"retry_after": 7},
     "BBB: Yahoo: Too Many Requests (HTTP 429)"),
    ("HTTP 500", "error_500", {}, "BBB: Yahoo: Internal Server Error (HTTP 500)"),
    ("truncated JSON", "truncated", {}, "BBB: Yahoo's answer is cut off or no JSON: it ends with"),
    ("a web page instead of JSON", "html", {},
     "BBB: Yahoo sent a web page instead of data: 'We will be right back'"),
    ("connection cut in the middle", "truncated", {"cut": True}, "BBB: Yahoo: "),
    ("HTTP 401", "refused_key", {"body": {"finance": {"result": None, "error": {
        "code": "Unauthorized", "description": "Invalid Crumb"}}}},
     "BBB: Yahoo: Invalid Crumb (HTTP 401). Yahoo refuses this address or its cookie"),
    ("HTTP 403", "status", {"status": 403, "body": "Forbidden"},
     "BBB: Yahoo: Forbidden (HTTP 403). Yahoo refuses this address or its cookie"),
    ("unknown symbol", "unknown", {},
     "BBB: Yahoo: No data found, symbol may be delisted (HTTP 404). See finance.yahoo.com"),
    ("nothing in the range", "status", {"status": 400, "body": {"chart": {"result": None, "error": {
        "code": "Bad Request", "description": "Data doesn't exist for startDate = 1, endDate = 2"}}}},
     "BBB: Yahoo: Data doesn't exist for startDate = 1, endDate = 2 (HTTP 400)"),
    ("empty series", "empty", {}, "BBB: Yahoo sent no bars from 2024-"),
]  # fmt: skip


@pytest.mark.parametrize(("what", "kind", "more", "words"), LASTING, ids=[p[0] for p in LASTING])
def test_a_fault_that_lasts_is_told_and_costs_one_symbol_one_day(
    story, wire, what: str, kind: str, more: dict[str, Any], words: str, fault_row
) -> None:
    told = story()
    before = told.bars("BBB")
    if kind == "empty":
        body = told.market.listings["BBB"].chart("BBB", _everything(), told.market.now)
        body["chart"]["result"][0].pop("timestamp")
        body["chart"]["result"][0]["indicators"] = {"quote": [{}]}
        more = {"body": body}
    wire.fault("chart/BBB", kind, times=None, **more)
    frames = told.on(31)
    assert list(failed(frames)) == ["BBB"], frames.failures.rows()
    said = failed(frames)["BBB"]
    assert said.startswith(words), said
    assert frames.failures["kept"].to_list() == [f"bars through {told.days[30]}"]
    assert told.bars("BBB") == before, "what is stored stays"
    assert told.bars("AAA")[-1][0] == told.bars("CCC")[-1][0] == told.days[31]
    wire.calm()
    assert told.on(32).failures.rows() == []
    assert told.same_as_undisturbed(), "the next run brings what was missing"
    fault_row("yahoo", f"{what}, all day", _plain(said), KEPT)


def _everything() -> Any:
    from wire import Ask

    return Ask("GET", "", {"period1": "0", "period2": "4000000000"}, {})


@pytest.mark.parametrize(
    ("kind", "more", "asked"),
    [("unknown", {}, 1), ("error_500", {}, 3), ("rate_limited", {"retry_after": 1}, 3)],
)
def test_yahoo_is_not_asked_more_than_helps(story, wire, kind: str, more: Any, asked: int) -> None:
    """yfinance would answer each refusal with a new cookie, a new crumb and the request again."""
    told = story()
    before = wire.asked("chart/BBB"), wire.asked("getcrumb")
    wire.fault("chart/BBB", kind, times=None, **more)
    told.on(31)
    assert wire.asked("chart/BBB") - before[0] == asked
    assert wire.asked("getcrumb") == before[1] + 1, "the one of the run"


def test_a_slow_answer_ends_at_the_time_limit(story, wire, fault_row) -> None:
    told = story(timeout_seconds=2.0, retries=0)
    wire.fault("chart/BBB", "slow", times=None, seconds=20.0)
    frames = told.on(31)
    said = failed(frames)["BBB"]
    assert "timed out" in said.lower()
    assert "(timeout 2 s)" in said
    wire.calm()
    told.on(32)
    assert told.same_as_undisturbed()
    fault_row("yahoo", "an answer that does not end", _plain(said), KEPT)


def _plain(said: str) -> str:
    """Without numbers that are others each time."""
    said = re.sub(r"(port \d+ )?after \d+ ms: ", "", said)
    said = re.sub(r"\d+ (out of \d+ )?(bytes|milliseconds)", "… \\2", said)
    return said.replace("BBB", "SYMBOL")


def test_nobody_answers(calendar, fault_row) -> None:
    lake = fake.Lake()
    address = refused()
    ask = fake.asking(address, calendar, lake, *SYMBOLS, fetch={"retries": 0})
    with pytest.raises(SourceError, match=r"yahoo gave nothing: AAA: Yahoo: .*onnect") as caught:
        ask(fake.evening(date(2024, 2, 14)))
    said = str(caught.value).split(";")[0].replace("AAA", "SYMBOL")
    fault_row("yahoo", "the connection is refused", _plain(said), "what was stored")


def test_a_cookie_that_cannot_be_had_is_no_hindrance(story, wire, fault_row) -> None:
    wire.fault(r"^/\?|getcrumb|consent", "dropped", times=None)
    told = story()
    assert told.on(31).failures.rows() == []
    assert told.same_as_undisturbed()
    fault_row("yahoo", "no cookie and no crumb", "nothing; charts come without", "everything")


def test_another_currency_is_not_taken(story, fault_row) -> None:
    told = story()
    before = told.bars("BBB")
    told.market.listings["BBB"].currency = "GBp"
    said = failed(told.on(31))["BBB"]
    assert "GBp" in said
    assert "USD" in said
    assert told.bars("BBB") == before
    told.market.listings["BBB"].currency = "USD"
    assert told.on(32).failures.rows() == []
    assert told.same_as_undisturbed()
    fault_row("yahoo", "bars in another currency", said, KEPT)


def test_an_answer_about_another_symbol_is_not_taken(story, wire, fault_row) -> None:
    told = story()
    before = told.bars("BBB")
    other = told.market.listings["AAA"]
    wire.serve("chart/BBB", lambda ask: other.chart("AAA", ask, told.market.now))
    said = failed(told.on(31))["BBB"]
    assert said == "BBB: Yahoo answered about 'AAA' instead"
    assert told.bars("BBB") == before
    fault_row("yahoo", "an answer about another symbol", _plain(said), KEPT)


def test_a_restated_bar_becomes_a_version(story, fault_row) -> None:
    told = story()
    day = told.days[27]
    listing = told.market.listings["BBB"]
    was = listing.closes[27]
    listing.closes[27] = was + 0.5
    frames = told.on(31)
    assert frames.failures.rows() == []
    rows = told.lake("raw.prices").filter(pl.col("symbol") == "BBB", pl.col("date") == day)
    assert rows.sort("fetched_at")["close"].to_list() == [was, was + 0.5]
    assert told.same_as_undisturbed()
    fault_row("yahoo", "a restated bar", "the new value", "both values, with when each was known")


def test_a_split_between_two_fetches(story, fault_row) -> None:
    told = story()
    told.market.listings["BBB"].splits[told.days[31]] = (4.0, 1.0)
    frames = told.on(31)
    assert frames.failures.rows() == [], "the list of splits explains it"
    new = frames.prices.filter(pl.col("symbol") == "BBB").sort("date")
    assert new.row(-1, named=True)["split_ratio"] == 4.0
    fault_row("yahoo", "a split between two fetches", "one split on its day", "every stored bar")


def test_a_rescaled_history_without_a_split_is_fetched_again(story, fault_row) -> None:
    told = story()
    listing = told.market.listings["BBB"]
    listing.closes = [c / 2 for c in listing.closes]
    said = failed(told.on(31))["BBB"]
    assert "prices are 0.5 times those given before" in said
    assert told.same_as_undisturbed()
    fault_row(
        "yahoo", "prices on another basis without a split", said, "both; the new ones are used"
    )


def test_the_last_day_is_left_out_silently(story, fault_row) -> None:
    told = story()
    listing = told.market.listings["BBB"]
    whole = listing.days
    listing.days = whole[:31]
    said = failed(told.on(31))["BBB"]
    assert said == f"no bar of {told.days[31]} yet"
    listing.days = whole
    told.on(32)
    assert told.same_as_undisturbed()
    fault_row("yahoo", "the last day is missing", said, KEPT)


def test_a_clock_that_is_a_day_late(story, fault_row) -> None:
    """This machine believes that it is still yesterday: today's bars are left out, and that is said."""
    told = story()
    told.market.now = fake.evening(told.days[32])
    frames = told.ask(told.market.now - timedelta(days=1))
    told.lake.add(frames)
    assert set(failed(frames)) == set(SYMBOLS)
    said = failed(frames)["BBB"]
    assert said.startswith(f"Yahoo sent a bar of {told.days[32]}, which is not there yet by this")
    assert said.endswith("Check the clock.")
    assert max(r[0] for r in told.bars("BBB")) <= told.days[31]
    told.on(32)
    assert told.same_as_undisturbed(), "with the right clock nothing is missing"
    fault_row("yahoo", "this machine's clock is a day late", said, "the bars before that day")


def test_a_clock_that_is_hours_early(story, fault_row) -> None:
    """This machine believes that the session is over: the running bar comes in and is corrected."""
    told = story()
    listing, day = told.market.listings["BBB"], told.days[31]
    final = listing.closes[31]
    listing.closes[31] = final + 0.3
    told.market.now = fake.morning(day)
    told.lake.add(told.ask(fake.evening(day)))
    listing.closes[31] = final
    assert told.on(32).failures.rows() == []
    rows = told.lake("raw.prices").filter(pl.col("symbol") == "BBB", pl.col("date") == day)
    assert rows.sort("fetched_at")["close"].to_list() == [final + 0.3, final]
    assert told.same_as_undisturbed()
    fault_row(
        "yahoo",
        "this machine's clock is hours early",
        "a bar of a running session, corrected by the next run",
        "both values, with when each was known",
    )


def test_the_words_of_a_refusal_never_carry_the_crumb(story, wire) -> None:
    told = story()
    wire.fault("chart/BBB", "status", times=None, status=400, body=Reply("nonsense").body)
    said = failed(told.on(31))["BBB"]
    assert said == "BBB: Yahoo: nonsense (HTTP 400)"
    assert "a.crumb" not in said
