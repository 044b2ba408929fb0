"""What every vendor's faults look like to a user, and that ingestion loses and doubles nothing.

A small vendor asks a server on loopback over HTTP; three evenings go into a lake on disk: one before
the fault, one with it, one after it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from small_vendor import Clock, Days, Market, SmallVendor, small_vendor, traded
from wire import Wire, refused

from wealthos_pipeline.core.errors import SourceError
from wealthos_pipeline.data.processors.calendar import TradingCalendar

FaultRow = Callable[[str, str, str, str], None]
SYMBOLS = ("AAA", "BBB", "CCC")
BEFORE, FAULT, AFTER = 20, 21, 22

pytestmark = pytest.mark.faults


class Scene:
    """The market, the wire and the days of one test."""

    def __init__(self, folder: Path, calendar: TradingCalendar, wire: Wire) -> None:
        self.wire, self.clock = wire, Clock()
        self.market = Market(calendar, SYMBOLS)
        self.market.open(wire)
        self.url = wire.url
        self.timeout = 5.0
        self.days = Days(folder, calendar, self.vendor)

    def vendor(self) -> SmallVendor:
        return small_vendor(
            self.url, self.market.symbols, clock=self.clock, timeout_seconds=self.timeout
        )

    def evening(self, position: int) -> None:
        self.clock.slept.clear()
        self.days.run(self.market.evening(position))

    def whole(self, last: int = AFTER, *, versions: int = 1) -> None:
        """Every bar up to ``last`` is there as traded, and none is stored twice."""
        bars, days = traded(self.days.bars), self.market.days[: last + 1]
        assert bars["date"].to_list() == days * len(self.market.symbols)
        held = np.array([self.market.traded(s, i) for s in SYMBOLS for i in range(last + 1)])
        np.testing.assert_allclose(bars["close"].to_numpy(), held, rtol=1e-12)
        most = self.days.prices.group_by("symbol", "date").len()["len"].max()
        assert most == versions


@pytest.fixture
def scene(tmp_path: Path, calendar: TradingCalendar) -> Iterator[Scene]:
    with Wire() as wire:
        scene = Scene(tmp_path, calendar, wire)
        scene.evening(BEFORE)
        assert scene.days.failures() == []
        yield scene


def waited(scene: Scene) -> str:
    pauses = [f"{s:.0f} s" for s in scene.clock.slept if s >= 0.4]
    return f"nothing: asked again after {' and '.join(pauses)}"


def test_rate_limited_with_retry_after(scene: Scene, fault_row: FaultRow) -> None:
    scene.wire.fault("bars/BBB", "rate_limited", times=2, retry_after=7)
    scene.evening(FAULT)
    assert [s for s in scene.clock.slept if s >= 7] == [7, 7]
    seen = waited(scene)
    assert scene.days.failures() == []
    scene.whole(FAULT)
    scene.evening(AFTER)
    scene.whole()
    fault_row("any", "429 with Retry-After", seen, "everything")


def test_rate_limited_without_retry_after(scene: Scene, fault_row: FaultRow) -> None:
    scene.wire.fault("bars/BBB", "rate_limited", times=2)
    scene.evening(FAULT)
    seen = waited(scene)
    first, second = (s for s in scene.clock.slept if s >= 0.4)
    assert 0.5 <= first <= 1.0 <= second <= 2.0
    assert scene.days.failures() == []
    scene.evening(AFTER)
    scene.whole()
    fault_row("any", "429 without Retry-After", seen, "everything")


def test_server_error_then_fine(scene: Scene, fault_row: FaultRow) -> None:
    scene.wire.fault("bars/AAA", "error_500", times=1)
    scene.evening(FAULT)
    seen = waited(scene)
    assert scene.days.failures() == []
    scene.evening(AFTER)
    scene.whole()
    fault_row("any", "500, then fine", seen, "everything")


def test_server_error_for_ever(scene: Scene, fault_row: FaultRow) -> None:
    scene.wire.fault("bars/AAA", "error_500", times=None)
    before = scene.wire.asked("bars/AAA")
    scene.evening(FAULT)
    assert scene.wire.asked("bars/AAA") - before == 4  # once and three retries
    seen, kept = scene.days.told(), scene.days.kept()
    assert seen.startswith("AAA: ")
    assert "HTTP 500: Internal Server Error" in seen
    last = scene.market.days[BEFORE]
    assert kept == f"bars through {last}"
    assert scene.days.bars.filter(pl.col("date") > last)["symbol"].to_list() == ["BBB", "CCC"]
    scene.wire.calm()
    scene.evening(AFTER)
    scene.whole()
    fault_row(
        "any", "500 for ever", seen, f"{kept}; the other symbols; the next run fills the hole"
    )


def test_slow_body(scene: Scene, fault_row: FaultRow) -> None:
    scene.timeout = 0.2
    scene.wire.fault("bars/CCC", "slow", times=4)
    scene.evening(FAULT)
    seen, kept = scene.days.told(), scene.days.kept()
    assert "no complete answer within 0.2 s" in seen
    scene.evening(AFTER)
    scene.whole()
    fault_row("any", "slow body", seen, f"{kept}; the next run fills the hole")


@pytest.mark.parametrize("cut", [False, True])
def test_truncated(cut: bool, scene: Scene, fault_row: FaultRow) -> None:
    scene.wire.fault("bars/AAA", "truncated", times=None, cut=cut)
    scene.evening(FAULT)
    seen, kept = scene.days.told(), scene.days.kept()
    assert ("broke off" if cut else "cut off") in seen
    scene.wire.calm()
    scene.evening(AFTER)
    scene.whole()
    name = "connection cut in the body" if cut else "truncated JSON"
    if not cut:
        seen = seen.split("JSON:")[0] + "JSON: … " + seen[seen.index("(asked") :]
    else:
        seen = seen.split(": peer")[0] + " " + seen[seen.index("(asked") :]
    fault_row("any", name, seen, f"{kept}; the next run fills the hole")


def test_a_web_page(scene: Scene, fault_row: FaultRow) -> None:
    scene.wire.fault("bars/BBB", "html", times=None)
    scene.evening(FAULT)
    seen, kept = scene.days.told(), scene.days.kept()
    assert "a web page came instead of JSON: 'We will be right back'" in seen
    scene.wire.calm()
    scene.evening(AFTER)
    scene.whole()
    fault_row("any", "HTML instead of JSON", seen, f"{kept}; the next run fills the hole")


def test_an_empty_series(scene: Scene, fault_row: FaultRow) -> None:
    scene.wire.fault(
        "bars/BBB", "empty", times=1, body={"currency": "USD", "as_of": "", "bars": []}
    )
    scene.evening(FAULT)
    seen, kept = scene.days.told(), scene.days.kept()
    assert "BBB: no bars from" in seen
    assert kept == f"bars through {scene.market.days[BEFORE]}"
    scene.evening(AFTER)
    scene.whole()
    fault_row("any", "empty series", seen, f"{kept}; the next run fills the hole")


def test_an_unknown_symbol(scene: Scene, fault_row: FaultRow) -> None:
    scene.market.symbols = (*SYMBOLS, "NOPE")
    asked = scene.wire.asked("bars/NOPE")
    scene.evening(FAULT)
    seen = scene.days.told()
    assert "NOPE: " in seen
    assert "no symbol NOPE" in seen
    assert scene.wire.asked("bars/NOPE") == asked + 1  # asking again would not help
    scene.evening(AFTER)
    assert "no symbol NOPE" in scene.days.told()
    scene.market.symbols = SYMBOLS
    scene.whole()
    fault_row("any", "unknown symbol", seen, "the other symbols")


def test_another_currency(scene: Scene, fault_row: FaultRow) -> None:
    scene.market.currency = "GBp"
    scene.evening(FAULT)
    seen, kept = scene.days.told(), scene.days.kept()
    assert scene.days.prices["currency"].unique().to_list() == ["USD"]
    assert [f["symbol"] for f in scene.days.failures()] == list(SYMBOLS)
    scene.market.currency = "USD"
    scene.evening(AFTER)
    scene.whole()
    fault_row(
        "any", "wrong currency", seen.split("; BBB")[0], f"{kept}; the next run fills the hole"
    )


def test_a_split_between_two_fetches(scene: Scene, fault_row: FaultRow) -> None:
    scene.market.splits[("BBB", FAULT)] = 4.0
    scene.evening(FAULT)
    assert scene.days.failures() == []
    given = scene.days.bars.filter(pl.col("symbol") == "BBB")["close"].to_list()
    closes = scene.market.close["BBB"]
    assert given[0] == closes[0]  # before the overlap: as it was given
    assert given[FAULT - 1] == closes[FAULT - 1] / 4  # in the overlap: in the new basis
    scene.whole(FAULT, versions=2)
    scene.evening(AFTER)
    assert scene.days.failures() == []
    scene.whole(versions=2)
    fault_row("any", "split between two fetches", "nothing: the vendor's list of splits explains the new basis",
              "every bar in the basis that it came in, with its day")  # fmt: skip


def test_a_split_that_nothing_explains(scene: Scene, fault_row: FaultRow) -> None:
    scene.market.splits[("BBB", FAULT)] = 4.0
    scene.market.hidden.add(("BBB", FAULT))
    scene.evening(FAULT)
    seen, kept = scene.days.told(), scene.days.kept()
    assert "BBB: prices are 0.25 times those given before" in seen
    assert [dict(s.query) for s in scene.wire.requests if s.path == "/bars/BBB"][-1] == {}
    closes = scene.days.bars.filter(pl.col("symbol") == "BBB")["close"].to_numpy()
    np.testing.assert_array_equal(closes[:FAULT], scene.market.close["BBB"][:FAULT] / 4)
    rows = scene.days.prices.height
    scene.evening(AFTER)
    assert scene.days.failures() == []  # said and done once
    assert scene.days.prices.height == rows + len(SYMBOLS)
    fault_row(
        "any", "prices rescaled, no split listed", seen, f"{kept}, and the old ones as history"
    )


def test_a_dividend_between_two_fetches(scene: Scene, fault_row: FaultRow) -> None:
    scene.market.dividends[("AAA", FAULT)] = 2.5
    scene.evening(FAULT)
    assert scene.days.failures() == []
    scene.whole(FAULT, versions=2)
    scene.evening(AFTER)
    scene.whole(versions=2)
    fault_row("any", "dividend between two fetches", "nothing: the dividend explains the adjusted closes",
              "every bar; the adjusted closes of the overlap in both versions")  # fmt: skip


def test_a_restated_bar(scene: Scene, fault_row: FaultRow) -> None:
    old = scene.market.close["CCC"][FAULT - 3]
    scene.market.close["CCC"][FAULT - 3] = old * 1.02
    scene.evening(FAULT)
    assert scene.days.failures() == []
    day = scene.market.days[FAULT - 3]
    both = scene.days.prices.filter((pl.col("symbol") == "CCC") & (pl.col("date") == day))
    assert both.sort("fetched_at")["close"].to_list() == [old, old * 1.02]
    scene.evening(AFTER)
    scene.whole(versions=2)
    fault_row("any", "restated bar", "nothing at the fetch; the bar's history shows both versions",
              "both versions, each with the instant from which it was known")  # fmt: skip


def test_a_clock_that_is_ahead(scene: Scene, fault_row: FaultRow) -> None:
    """A bar of tomorrow and one of a session that is not over."""
    scene.market.today = FAULT
    noon = scene.market.calendar.open_at(scene.market.days[FAULT]) + timedelta(hours=2)
    ahead = str(scene.market.days[FAULT + 4])
    scene.market.extra = {s: [{**scene.market.bar(s, FAULT), "date": ahead}] for s in SYMBOLS}
    scene.days.run(noon)
    rejected = scene.days.lake.read("raw.rejected")
    assert rejected["rule"].to_list() == ["incomplete_bar"] * 3
    assert rejected["date"].unique().to_list() == [scene.market.days[FAULT]]
    assert scene.days.bars["date"].max() == scene.market.days[FAULT + 4]  # cleaning: future_date
    scene.market.extra = {}
    scene.evening(AFTER)
    assert "no longer gives" not in scene.days.told()
    today = pl.col("date") < scene.market.days[FAULT + 4]
    assert scene.days.bars.filter(today)["date"].max() == scene.market.days[AFTER]
    scene.evening(FAULT + 4)
    bars = traded(scene.days.bars)
    assert bars["date"].to_list() == scene.market.days[: FAULT + 5] * 3
    assert bars["close"].to_list() == [
        scene.market.traded(s, i) for s in SYMBOLS for i in range(FAULT + 5)
    ]
    fault_row("any", "clock skew", "quarantine: `incomplete_bar` for the session that is not over, `future_date` for a later one",
              "every other bar; both come again with their own session")  # fmt: skip


def test_the_last_day_is_dropped(scene: Scene, fault_row: FaultRow) -> None:
    scene.market.dropped = {BEFORE}
    scene.market.today = BEFORE
    scene.days.run(scene.market.evening(BEFORE) + timedelta(hours=1))
    seen, kept = scene.days.told(), scene.days.kept()
    day = scene.market.days[BEFORE]
    assert f"AAA: the vendor no longer gives the bar of {day}, which it gave before" in seen
    scene.whole(BEFORE)
    scene.market.dropped = set()
    scene.evening(AFTER)
    assert scene.days.failures() == []
    scene.whole()
    fault_row("any", "last day dropped", seen.split("; BBB")[0], kept)


def test_the_last_day_is_late(scene: Scene, fault_row: FaultRow) -> None:
    now = scene.market.evening(FAULT)
    scene.market.today = BEFORE
    scene.days.run(now)
    seen, kept = scene.days.told(), scene.days.kept()
    assert f"AAA: no bar of {scene.market.days[FAULT]} yet" in seen
    scene.evening(AFTER)
    scene.whole()
    fault_row("any", "last day late", seen.split("; BBB")[0], kept)


def test_connection_refused(scene: Scene, fault_row: FaultRow) -> None:
    scene.url = refused()
    before = scene.days.prices.height
    scene.evening(FAULT)
    seen, kept = scene.days.told(), scene.days.kept()
    assert seen.startswith("*: small gave nothing: ")
    assert "cannot be reached" in seen
    assert kept == f"everything stored through {scene.market.days[BEFORE]}"
    assert scene.days.prices.height == before
    scene.url = scene.wire.url
    scene.evening(AFTER)
    scene.whole()
    fault_row("any", "connection refused", seen.split("; ")[0], kept)


def test_connection_refused_and_nothing_stored(
    tmp_path: Path, calendar: TradingCalendar, fault_row: FaultRow
) -> None:
    symbols = [f"S{i}" for i in range(9)]
    clock, address = Clock(), refused()
    days = Days(tmp_path, calendar, lambda: small_vendor(address, symbols, clock=clock))
    with pytest.raises(SourceError, match="not asked: 5 requests in a row failed") as raised:
        days.run(Market(calendar, symbols).evening(FAULT))
    assert days.lake.version("raw.prices") is None
    fault_row(
        "any",
        "connection refused, empty lake",
        f"the run ends: {raised.value}",
        "nothing was there",
    )


def test_a_refused_key(scene: Scene, fault_row: FaultRow) -> None:
    scene.wire.fault("bars/", "refused_key", times=None, body={"error": "Invalid API key"})
    asked = scene.wire.asked("bars/")
    scene.evening(FAULT)
    assert scene.wire.asked("bars/") == asked + len(SYMBOLS)  # not one of them twice
    seen, kept = scene.days.told(), scene.days.kept()
    assert "HTTP 401: Invalid API key" in seen
    scene.wire.calm()
    scene.evening(AFTER)
    scene.whole()
    fault_row("any", "refused key", seen.split("; ")[0], kept)
