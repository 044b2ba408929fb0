"""The fetcher: the rate is kept, pauses double, the vendor's own words decide, partial success stays."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import pairwise

import pytest
from small_vendor import Clock
from wire import Wire, refused

from wealthos_pipeline.core.errors import (
    AccessError,
    SourceError,
    TransientError,
    UnknownSymbolError,
)
from wealthos_pipeline.data.sources.fetching import (
    IN_A_ROW,
    Fetcher,
    GaveUpError,
    Limits,
    NotAskedError,
    retry_after,
)
from wealthos_pipeline.data.sources.http import Http, masked
from wealthos_pipeline.utils.config import FetchSettings


def fetcher(clock: Clock, limits: Limits | None = None, **settings: object) -> Fetcher:
    limits = limits or Limits(per_minute=60_000, concurrency=1)
    return Fetcher(
        limits,
        FetchSettings(**settings),  # type: ignore[arg-type]
        sleep=clock.sleep,
        monotonic=clock.monotonic,
        seed=3,
    )


def failing(times: int, **more: float) -> Callable[[], str]:
    left = [times]

    def ask() -> str:
        if left[0] > 0:
            left[0] -= 1
            raise TransientError("try later", **more)
        return "here"

    return ask


def test_no_minute_has_more_requests_than_the_vendor_allows() -> None:
    clock, at = Clock(), []
    door = fetcher(clock, Limits(per_minute=30, concurrency=4))
    for _ in range(100):
        door.call(lambda: at.append(clock.now))
    assert at[:4] == [0.0] * 4  # as many at once as may be under way
    assert all(b - a == pytest.approx(2.0) for a, b in pairwise(at[4:]))
    busiest = max(sum(t <= u < t + 60.0 for u in at) for t in at)
    assert busiest <= 30 + 4


def test_settings_override_what_the_vendor_declares() -> None:
    limits = Limits(per_minute=30, concurrency=4, retries=5, timeout=9.0)
    changed = limits.overridden(FetchSettings(per_minute=7, timeout_seconds=2.0))
    assert (changed.per_minute, changed.concurrency, changed.retries, changed.timeout) == (
        7,
        4,
        5,
        2.0,
    )


def test_pauses_double_with_jitter_up_to_the_cap() -> None:
    clock = Clock()
    door = fetcher(clock, Limits(per_minute=60_000, concurrency=1, retries=8, backoff_cap=10.0))
    assert door.call(failing(7)) == "here"
    pauses = [s for s in clock.slept if s > 0.01]
    assert len(pauses) == 7
    for pause, longest in zip(pauses, (1, 2, 4, 8, 10, 10, 10), strict=True):
        assert longest / 2 <= pause <= longest
    again = Clock()
    fetcher(again, Limits(60_000, 1, retries=8, backoff_cap=10.0)).call(failing(7))
    assert [s for s in again.slept if s > 0.01] == pauses  # seeded


def test_retry_after_is_obeyed_and_holds_up_every_other_request() -> None:
    clock = Clock()
    door = fetcher(clock)
    assert door.call(failing(1, retry_after=30.0)) == "here"
    assert clock.now >= 30.0
    with pytest.raises(GaveUpError):
        fetcher(clock, retries=0).call(failing(1, retry_after=5.0))
    held, began = fetcher(clock, Limits(60_000, 1, retries=1)), clock.now
    held._held = began + 12.0  # what another thread's answer asked for
    held.call(lambda: None)
    assert clock.now - began == pytest.approx(12.0)


def test_it_gives_up_with_the_vendors_last_words() -> None:
    clock = Clock()
    with pytest.raises(GaveUpError, match=r"try later \(asked 3 times\)"):
        fetcher(clock, retries=2).call(failing(9))
    with pytest.raises(GaveUpError, match=r"another 3600 s of waiting exceed the 300 s"):
        fetcher(clock).call(failing(9, retry_after=3600.0))
    assert clock.now < 300.0


def test_patience_bounds_all_the_waiting_of_a_request() -> None:
    clock = Clock()
    with pytest.raises(GaveUpError, match="patience_seconds"):
        fetcher(clock, retries=1000, patience_seconds=100.0).call(failing(999, retry_after=40.0))
    assert 80.0 <= clock.now <= 100.0


@pytest.mark.parametrize("error", [UnknownSymbolError, AccessError, SourceError])
def test_what_asking_again_does_not_help_is_asked_once(error: type[SourceError]) -> None:
    asked = []

    def ask() -> None:
        asked.append(1)
        raise error("no")

    with pytest.raises(error):
        fetcher(Clock()).call(ask)
    assert asked == [1]


def test_each_keeps_the_order_and_what_succeeded() -> None:
    later = threading.Event()

    def ask(n: int) -> int:
        if n == 0:
            assert later.wait(5.0)  # the first is ready after the tenth
        if n == 10:
            later.set()
        if n % 7 == 3:
            raise UnknownSymbolError(f"no {n}")
        return n * n

    door = Fetcher(Limits(per_minute=1e6, concurrency=8))
    got = list(door.each(range(40), ask))
    assert [k for k, _ in got] == list(range(40))
    for n, found in got:
        if n % 7 == 3:
            assert isinstance(found, UnknownSymbolError)
        else:
            assert found == n * n


def test_as_many_are_under_way_as_allowed_and_no_more() -> None:
    lock, now, most = threading.Lock(), [0], [0]
    together = threading.Barrier(3, timeout=5.0)

    def ask(_: int) -> None:
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        together.wait()  # breaks unless three are under way
        with lock:
            now[0] -= 1

    list(Fetcher(Limits(per_minute=1e6, concurrency=3)).each(range(30), ask))
    assert most[0] == 3


def test_a_mistake_in_the_program_is_raised() -> None:
    def ask(n: int) -> float:
        return 1 / (n - 3)

    with pytest.raises(ZeroDivisionError):
        list(Fetcher(Limits(per_minute=1e6, concurrency=2)).each(range(9), ask))


def test_a_vendor_that_cannot_be_reached_is_not_asked_for_everything() -> None:
    asked = []

    def ask(n: int) -> int:
        asked.append(n)
        raise TransientError("connection refused")

    door = fetcher(Clock(), retries=1)
    got = [found for _, found in door.each(range(50), ask)]
    assert asked == [n for n in range(IN_A_ROW) for _ in range(2)]
    assert all(isinstance(f, GaveUpError) for f in got[:IN_A_ROW])
    assert all(isinstance(f, NotAskedError) for f in got[IN_A_ROW:])
    assert "connection refused" in str(got[-1])
    asked.clear()
    assert all(isinstance(f, NotAskedError) for _, f in door.each(range(3), ask))
    assert asked == []  # nor for anything else of this vendor


def test_a_refused_key_ends_the_beginning_and_not_the_middle() -> None:
    asked = []

    def ask(n: int) -> int:
        asked.append(n)
        if n >= good:
            raise AccessError("not in your plan")
        return n

    good = 0
    door = fetcher(Clock())
    refused_all = list(door.each(range(20), ask))
    assert asked == list(range(IN_A_ROW))
    assert isinstance(refused_all[-1][1], NotAskedError)
    good = 1
    asked.clear()
    some = list(door.each(range(20), ask))  # other questions of the same vendor go on
    assert asked == list(range(20))
    assert isinstance(some[-1][1], AccessError)


def test_an_interruption_ends_it_at_once() -> None:
    """Some wait for a pause of a minute, one for its turn: all end with the interruption."""
    waiting = threading.Event()

    def ask(n: int) -> int:
        if n:
            waiting.set()
            raise TransientError("later", retry_after=60.0)
        return n

    door = Fetcher(Limits(per_minute=1e6, concurrency=4), FetchSettings())
    began = time.monotonic()
    threads = set(threading.enumerate())
    results = door.each(range(9), ask)
    assert next(results) == (0, 0)
    assert waiting.wait(5.0)
    results.close()  # what a KeyboardInterrupt in the loop does
    mine = [t for t in threading.enumerate() if t not in threads]
    for thread in mine:
        thread.join(5.0)
    assert not any(t.is_alive() for t in mine)
    assert time.monotonic() - began < 5.0


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "120"}, 120.0),
        ({"retry-after": " 0 "}, 0.0),
        (
            {
                "Retry-After": "Fri, 08 Mar 2024 21:00:30 GMT",
                "Date": "Fri, 08 Mar 2024 21:00:00 GMT",
            },
            30.0,
        ),
        ({"Retry-After": "Fri, 08 Mar 2024 21:00:30 GMT"}, 90.0),  # counted from now
        ({"Retry-After": "Fri, 08 Mar 2024 20:00:00 GMT"}, 0.0),  # is over
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": ""}, None),
        ({}, None),
    ],
)
def test_retry_after_in_all_its_spellings(headers: dict[str, str], seconds: float | None) -> None:
    now = datetime(2024, 3, 8, 20, 59, 0, tzinfo=UTC)
    assert retry_after(headers, now) == seconds


@pytest.mark.parametrize(
    "fault", ["error_500", "html", "truncated", "unknown", "refused_key", "slow"]
)
def test_no_message_shows_a_key(fault: str) -> None:
    key = "s3cr3t/K+y"
    with Wire() as wire:
        wire.serve("/query", {"key": key})
        more = {"body": {"error": f"your key {key} is wrong"}} if fault == "refused_key" else {}
        wire.fault("/query", fault, times=None, **more)
        http = Http(wire.url, 0.2)
        with pytest.raises(SourceError) as raised:
            http.json("query", {"apikey": key, "symbol": "AAA"})
        http.close()
        assert wire.requests[0].query["apikey"] == key
    assert "s3cr3t" not in str(raised.value)
    text = str(raised.value.__cause__ or "")
    assert "s3cr3t" not in text or fault == "truncated"


def test_masked_finds_a_key_in_an_address() -> None:
    assert masked("GET /x?symbol=A&token=abc123&b=1", {}) == "GET /x?symbol=A&token=***&b=1"


def test_a_refused_connection_is_said_with_the_host() -> None:
    http = Http(refused(), 1.0)
    with pytest.raises(TransientError, match=r"127\.0\.0\.1:\d+/x: cannot be reached"):
        http.text("x")
    http.close()


def test_a_body_that_drips_meets_the_timeout() -> None:
    """Each piece comes in time, the whole does not."""
    with Wire() as wire:
        wire.serve("/x", {"a": list(range(100))})
        wire.fault("/x", "drip", seconds=0.03)
        http = Http(wire.url, 0.15)
        with pytest.raises(TransientError, match=r"no complete answer within 0\.15 s"):
            http.json("x")
        http.close()
