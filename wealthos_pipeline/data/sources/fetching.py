"""Asking a vendor politely and stubbornly: rate limit, retries with back-off, partial success.

A vendor declares its ``Limits`` once; ``settings.fetch`` may override them. A request that meets a
``TransientError`` is asked again after an exponential pause with jitter, or after as long as the
vendor named; ``patience_seconds`` bounds the pauses of one request. When the vendor cannot be
reached at all, or refuses the first requests, the rest is not asked: that is said once.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, TypeVar

from wealthos_pipeline.core.errors import AccessError, SourceError, TransientError

if TYPE_CHECKING:
    from wealthos_pipeline.utils.config import FetchSettings

T = TypeVar("T")
K = TypeVar("K")

IN_A_ROW = 5
"""So many requests in a row without success, and the rest is not asked."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a vendor allows: requests a minute, requests at once; and how it is asked again.

    timeout: seconds of one request. backoff, backoff_cap: seconds of the first and the longest
    pause between two attempts where the vendor names none.
    """

    per_minute: float
    concurrency: int
    retries: int = 5
    timeout: float = 30.0
    backoff: float = 1.0
    backoff_cap: float = 60.0

    def overridden(self, settings: FetchSettings | None) -> Limits:
        """These limits with what ``settings`` says instead."""
        if settings is None:
            return self
        said = {
            "per_minute": settings.per_minute,
            "concurrency": settings.concurrency,
            "retries": settings.retries,
            "timeout": settings.timeout_seconds,
        }
        return replace(self, **{k: v for k, v in said.items() if v is not None})  # type: ignore[arg-type]


class GaveUpError(SourceError):
    """The vendor was asked as often as the settings allow; carries its last words."""


class NotAskedError(SourceError):
    """Not asked, because the vendor failed so many times before; ``words`` are its own."""

    def __init__(self, words: str) -> None:
        self.words = words
        super().__init__(f"not asked: {IN_A_ROW} requests in a row failed with: {words}")


class StoppedError(SourceError):
    """The run was stopped while a request waited."""


class Fetcher:
    """One vendor's door: every request goes through it. Thread-safe.

    sleep: how to wait, given seconds; None waits so that an interruption ends it at once.
    monotonic: seconds that pass. seed: of the jitter.
    """

    def __init__(
        self,
        limits: Limits,
        settings: FetchSettings | None = None,
        *,
        sleep: Callable[[float], object] | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        seed: int = 0,
    ) -> None:
        self.limits = limits.overridden(settings)
        self.patience = 300.0 if settings is None else settings.patience_seconds
        self.requests = 0
        self._stop = threading.Event()
        self._sleep = sleep or self._stop.wait
        self._monotonic = monotonic
        self._random = random.Random(seed)
        self._lock = threading.Lock()
        self._due = float("-inf")  # when the bucket would be full again
        self._held = float("-inf")  # the vendor asked everybody to wait until then
        self._lost: str | None = None  # the vendor cannot be reached: its last words
        self._over: NotAskedError | None = (
            None  # why nothing more is asked, as the vendor's module says
        )

    def call(self, ask: Callable[[], T]) -> T:
        """What ``ask`` gives. TransientErrors are asked again; GaveUpError when that is over."""
        paused, attempt = 0.0, 0
        while True:
            self._turn()
            try:
                return ask()
            except TransientError as error:
                pause = self._pause(attempt, error.retry_after)
                attempt += 1
                if attempt > self.limits.retries:
                    raise GaveUpError(f"{error} (asked {_times(attempt)})") from error
                if paused + pause > self.patience:
                    raise GaveUpError(
                        f"{error} (asked {_times(attempt)}; another {pause:.0f} s of waiting exceed the "
                        f"{self.patience:g} s of fetch.patience_seconds)"
                    ) from error
                paused += pause
                if error.retry_after is not None:
                    with self._lock:
                        self._held = max(self._held, self._monotonic() + error.retry_after)
                self._wait(pause)

    def each(
        self, items: Sequence[K], ask: Callable[[K], T]
    ) -> Iterator[tuple[K, T | SourceError]]:
        """Every item with what ``ask`` gave for it or why it failed, in the order of ``items``.

        Up to ``limits.concurrency`` are under way at once. What is no SourceError is raised here.
        """
        breaker = _Breaker(self._lost)

        def one(item: K) -> T | SourceError:
            if self._over is not None:
                return self._over
            if breaker.words is not None:
                return NotAskedError(breaker.words)
            try:
                got = self.call(lambda: ask(item))
            except NotAskedError as error:  # the vendor knows that asking on is in vain
                self._over = error
                return error
            except SourceError as error:
                if breaker.failed(error) and isinstance(error, GaveUpError):
                    self._lost = breaker.words
                return error
            breaker.succeeded()
            return got

        if min(self.limits.concurrency, len(items)) <= 1:
            for item in items:
                yield item, one(item)
            return
        yield from self._threads(items, one)

    def _threads(self, items: Sequence[K], one: Callable[[K], T]) -> Iterator[tuple[K, T]]:
        ready = threading.Condition()
        done: dict[int, tuple[T | None, BaseException | None]] = {}
        places = iter(range(len(items)))
        ended = threading.Event()

        def work() -> None:
            while not ended.is_set():
                with ready:
                    place = next(places, None)
                if place is None:
                    return
                result: tuple[T | None, BaseException | None]
                try:
                    result = one(items[place]), None
                except BaseException as error:  # raised again in the thread that asked
                    result = None, error
                with ready:
                    done[place] = result
                    ready.notify_all()

        # daemons: a request that hangs does not hold up the end of the program
        for _ in range(min(self.limits.concurrency, len(items))):
            threading.Thread(target=work, daemon=True).start()
        finished = False
        try:
            for place, item in enumerate(items):
                with ready:
                    while place not in done:
                        ready.wait()
                    got, error = done.pop(place)
                if error is not None:
                    raise error
                yield item, got  # type: ignore[misc]
            finished = True
        finally:
            ended.set()
            if not finished:
                self._stop.set()

    def _turn(self) -> None:
        """Wait for the next token of the bucket: ``concurrency`` at once, then evenly."""
        interval = 60.0 / self.limits.per_minute
        with self._lock:
            now = self._monotonic()
            full = max(self._due, now)
            start = max(now, full - (self.limits.concurrency - 1) * interval, self._held)
            self._due = max(full, start) + interval
            self.requests += 1
        self._wait(start - now)
        while (more := self._held - self._monotonic()) > 0:
            self._wait(more)

    def _wait(self, seconds: float) -> None:
        if seconds > 0:
            self._sleep(seconds)
        if self._stop.is_set():
            raise StoppedError("stopped before the vendor answered")

    def _pause(self, attempt: int, retry_after: float | None) -> float:
        with self._lock:
            jitter = self._random.random()
        if retry_after is not None:
            return max(retry_after, 0.0)
        longest = min(self.limits.backoff_cap, self.limits.backoff * 2.0**attempt)
        return longest * (0.5 + 0.5 * jitter)


class _Breaker:
    """Counts failures in a row. The first requests may fail for access; later ones for silence only."""

    def __init__(self, words: str | None) -> None:
        self.words = words
        self._lock = threading.Lock()
        self._row = 0
        self._any = False

    def succeeded(self) -> None:
        with self._lock:
            self._row, self._any = 0, True

    def failed(self, error: SourceError) -> bool:
        """Whether this failure was the one too many."""
        counts = isinstance(error, GaveUpError) or (
            isinstance(error, AccessError) and not self._any
        )
        with self._lock:
            self._row = self._row + 1 if counts else 0
            if self._row >= IN_A_ROW and self.words is None:
                self.words = str(error)
                return True
        return False


def retry_after(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """Seconds that a ``Retry-After`` header names; None where there is none that can be read.

    A date is counted from the answer's own ``Date`` header, or else from ``now``.
    """
    named = {k.lower(): v for k, v in headers.items()}
    text = named.get("retry-after", "").strip()
    if text.isdecimal():
        return float(text)
    until = _http_date(text)
    since = _http_date(named.get("date", "")) or now
    if until is None or since is None:
        return None
    return max((until - since).total_seconds(), 0.0)


def _http_date(text: str) -> datetime | None:
    try:
        found = parsedate_to_datetime(text)
    except ValueError:
        return None
    return found if found.tzinfo else None


def _times(n: int) -> str:
    return "once" if n == 1 else f"{n} times"
