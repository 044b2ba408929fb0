"""A vendor on loopback: a small HTTP server that answers as told, injects faults and keeps a record.

with Wire() as wire:
    wire.serve(r"/v8/finance/chart/AAA", yahoo_chart("AAA", bars))
    wire.fault(r"chart/AAA", "rate_limited", times=2, retry_after=3)
    ...
    assert wire.asked("chart/AAA") == 3
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit
from zoneinfo import ZoneInfo

KINDS = (
    "rate_limited", "error_500", "slow", "truncated", "html", "empty", "unknown", "dropped",
    "refused_key", "status", "drip",
)  # fmt: skip

UNKNOWN = {
    "chart": {
        "result": None,
        "error": {
            "code": "Not Found",
            "description": "No data found, symbol may be delisted",
        },
    }
}
PAGE = "<!DOCTYPE html><html><head><title>We will be right back</title></head><body>…</body></html>"


@dataclass(frozen=True)
class Ask:
    """One request as it came in. ``path`` and ``query`` are decoded."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes = b""

    @property
    def target(self) -> str:
        return self.path + "?" + "&".join(f"{k}={v}" for k, v in self.query.items())


@dataclass(frozen=True)
class Reply:
    """An answer: ``body`` as bytes, text or something for JSON."""

    body: Any = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)

    def encoded(self) -> tuple[bytes, str]:
        if isinstance(self.body, bytes):
            return self.body, "application/octet-stream"
        if isinstance(self.body, str):
            return self.body.encode(), "text/plain; charset=utf-8"
        return json.dumps(self.body).encode(), "application/json"


@dataclass
class Seen:
    """A request in the record: with the status that it got and the fault, if one was injected."""

    ask: Ask
    status: int
    fault: str | None

    @property
    def path(self) -> str:
        return self.ask.path

    @property
    def query(self) -> Mapping[str, str]:
        return self.ask.query


Handler = Callable[[Ask], Any]


@dataclass
class _Fault:
    pattern: re.Pattern[str]
    kind: str
    left: int | None
    more: dict[str, Any]


class Wire:
    """The server. Patterns are searched in the decoded ``path?query``; later ``serve`` wins."""

    def __init__(self) -> None:
        self.requests: list[Seen] = []
        self._routes: list[tuple[re.Pattern[str], Any]] = []
        self._faults: list[_Fault] = []
        self._lock = threading.Lock()
        self._over = threading.Event()
        wire = self

        class Door(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True  # no 40 ms between head and body

            def do_GET(self) -> None:
                wire._answer(self)

            def do_POST(self) -> None:
                wire._answer(self)

            def log_message(self, *words: object) -> None:
                """The record is in ``requests``."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Door)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        )
        self._thread.start()

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop; slow answers end at once. Afterwards the address refuses connections."""
        self._over.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=5)

    # what it answers

    def serve(self, pattern: str, answer: Handler | object) -> None:
        """Answer what matches ``pattern`` with JSON, text, bytes, a ``Reply``, or what a function of
        the ``Ask`` gives."""
        with self._lock:
            self._routes.insert(0, (re.compile(pattern), answer))

    def fault(self, pattern: str, kind: str, times: int | None = 1, **more: Any) -> None:
        """The next ``times`` matching requests (None: all) meet a fault.

        rate_limited: 429; retry_after=seconds or text. error_500: status=, body=. slow: the head and
        half the body, then nothing for seconds=. drip: a byte every seconds=. truncated: half the body; cut=True breaks the
        connection instead of saying a shorter length. html: a page, status=. empty: the real answer
        without rows, or body=. unknown: 404, body=. refused_key: 401, body=. dropped: no answer.
        status: status=, body=, headers=.
        """
        if kind not in KINDS:
            raise ValueError(f"no fault {kind!r}; there are: {', '.join(KINDS)}")
        with self._lock:
            self._faults.append(_Fault(re.compile(pattern), kind, times, more))

    def calm(self) -> None:
        """Forget all faults that are left."""
        with self._lock:
            self._faults.clear()

    def asked(self, pattern: str) -> int:
        """How many requests matched ``pattern`` so far."""
        with self._lock:
            return sum(bool(re.search(pattern, s.ask.target)) for s in self.requests)

    def replay(self, folder: Path, *, same: Sequence[str] = ()) -> None:
        """Answer with recordings (JSON with ``request.url`` and ``response.bodyJson``).

        Of the recordings of a path the one that shares most of the query is given; those in
        ``same`` have to agree.
        """
        recorded: dict[str, list[tuple[dict[str, str], Reply]]] = {}
        for file in sorted(folder.glob("*.json")):
            body = json.loads(file.read_text("utf-8"))
            if "request" not in body or "response" not in body:
                continue
            url, response = urlsplit(body["request"]["url"]), body["response"]
            content = response.get("bodyJson", response.get("body", ""))
            recorded.setdefault(unquote(url.path), []).append(
                (dict(parse_qsl(url.query)), Reply(content, response.get("status", 200)))
            )

        def chosen(ask: Ask) -> Reply:
            fits = [
                (sum(ask.query.get(k) == v for k, v in query.items()), reply)
                for query, reply in recorded[ask.path]
                if all(ask.query.get(k) == query.get(k) for k in same)
            ]
            if not fits:
                return Reply({"error": "not recorded with this query"}, 404)
            return max(fits, key=lambda pair: pair[0])[1]

        for path in recorded:
            self.serve(rf"^{re.escape(path)}\?", chosen)

    # the server's side

    def _answer(self, door: BaseHTTPRequestHandler) -> None:
        url = urlsplit(door.path)
        length = int(door.headers.get("content-length") or 0)
        ask = Ask(
            door.command,
            unquote(url.path),
            dict(parse_qsl(url.query, keep_blank_values=True)),
            {k.lower(): v for k, v in door.headers.items()},
            door.rfile.read(length) if length else b"",
        )
        fault = self._next_fault(ask)
        reply = self._reply(ask) if fault is None else self._faulty(ask, fault)
        with self._lock:
            self.requests.append(Seen(ask, reply.status, None if fault is None else fault.kind))
        try:
            self._send(door, reply, fault)
        except (BrokenPipeError, ConnectionResetError):
            door.close_connection = True  # the client did not wait

    def _next_fault(self, ask: Ask) -> _Fault | None:
        with self._lock:
            for fault in self._faults:
                if fault.left != 0 and fault.pattern.search(ask.target):
                    if fault.left is not None:
                        fault.left -= 1
                    return fault
        return None

    def _reply(self, ask: Ask) -> Reply:
        with self._lock:
            found = next((a for p, a in self._routes if p.search(ask.target)), None)
        if found is None:
            return Reply({"error": f"nothing is served at {ask.path}"}, 404)
        answer = found(ask) if callable(found) else found
        return answer if isinstance(answer, Reply) else Reply(answer)

    def _faulty(self, ask: Ask, fault: _Fault) -> Reply:
        more = fault.more
        if fault.kind == "rate_limited":
            wait = more.get("retry_after")
            headers = {} if wait is None else {"Retry-After": str(wait)}
            return Reply(more.get("body", "Too Many Requests\r\n"), 429, headers)
        if fault.kind == "error_500":
            return Reply(more.get("body", "Internal Server Error"), more.get("status", 500))
        if fault.kind == "html":
            return Reply(
                more.get("body", PAGE), more.get("status", 200), {"Content-Type": "text/html"}
            )
        if fault.kind == "unknown":
            return Reply(more.get("body", UNKNOWN), more.get("status", 404))
        if fault.kind == "refused_key":
            return Reply(more.get("body", {"error": "Invalid API key"}), more.get("status", 401))
        if fault.kind == "status":
            return Reply(more.get("body", ""), more["status"], more.get("headers", {}))
        real = self._reply(ask)
        if fault.kind == "empty":
            return Reply(more["body"] if "body" in more else hollow(real.body), real.status)
        if fault.kind == "dropped":
            return Reply(b"", 0)
        return real

    def _send(self, door: BaseHTTPRequestHandler, reply: Reply, fault: _Fault | None) -> None:
        kind = None if fault is None else fault.kind
        if kind == "dropped":
            door.close_connection = True
            return
        body, content_type = reply.encoded()
        sent = body[: len(body) // 2] if kind in ("slow", "truncated") else body
        cut = kind == "slow" or (fault is not None and bool(fault.more.get("cut")))
        door.send_response(reply.status)
        headers = {"Content-Type": content_type, **reply.headers}
        headers["Content-Length"] = str(len(body) if cut else len(sent))
        for name, value in headers.items():
            door.send_header(name, value)
        door.end_headers()
        if kind == "drip":
            for i in range(len(sent)):
                door.wfile.write(sent[i : i + 1])
                door.wfile.flush()
                self._over.wait(fault.more.get("seconds", 0.1) if fault else 0)
            return
        door.wfile.write(sent)
        door.wfile.flush()
        if kind == "slow":
            assert fault is not None
            self._over.wait(fault.more.get("seconds", 5.0))
        if cut:
            door.close_connection = True


def hollow(body: Any, *, top: bool = True) -> Any:
    """An answer of the same shape without rows: lists of values are empty, CSV keeps its header."""
    if isinstance(body, str):
        return body.splitlines(keepends=True)[0] if body else body
    if isinstance(body, Mapping):
        return {k: hollow(v, top=False) if not isinstance(v, str) else v for k, v in body.items()}
    if isinstance(body, list):
        inner = [hollow(v, top=False) for v in body if isinstance(v, Mapping)]
        return [] if top else inner
    return body


def refused() -> str:
    """An address on loopback where nothing listens."""
    wire = Wire()
    wire.close()
    return wire.url


# answers in the shapes of vendors


@dataclass(frozen=True)
class Bar:
    """One daily bar, split-adjusted as vendors give it."""

    date: date
    close: float
    open: float | None = None
    high: float | None = None
    low: float | None = None
    volume: float | None = 1_000_000
    adj_close: float | None = None


def bars(days: Iterable[date], closes: Iterable[float], **more: Any) -> list[Bar]:
    """Bars with plausible open, high and low around the closes."""
    return [
        Bar(d, c, open=c * 0.995, high=c * 1.01, low=c * 0.99, adj_close=c, **more)
        for d, c in zip(days, closes, strict=True)
    ]


def yahoo_chart(
    symbol: str,
    rows: Sequence[Bar],
    *,
    currency: str = "USD",
    splits: Mapping[date, tuple[float, float]] | None = None,
    dividends: Mapping[date, float] | None = None,
    zone: str = "America/New_York",
    exchange: str = "NYQ",
    opens: time = time(9, 30),
    **meta: Any,
) -> dict[str, Any]:
    """A chart as Yahoo gives it. splits: ex-date → (numerator, denominator), (4, 1) for four-for-one."""

    def stamp(day: date) -> int:
        return int(datetime.combine(day, opens, ZoneInfo(zone)).timestamp())

    stamps = [stamp(b.date) for b in rows]
    offset = datetime.combine(
        rows[-1].date if rows else date(2024, 1, 2), opens, ZoneInfo(zone)
    ).utcoffset()
    assert offset is not None
    events: dict[str, Any] = {}
    if dividends:
        events["dividends"] = {
            str(stamp(d)): {"amount": amount, "date": stamp(d)} for d, amount in dividends.items()
        }
    if splits:
        events["splits"] = {
            str(stamp(d)): {
                "date": stamp(d),
                "numerator": new,
                "denominator": old,
                "splitRatio": f"{new:g}:{old:g}",
            }
            for d, (new, old) in splits.items()
        }
    last = rows[-1].close if rows else None
    result: dict[str, Any] = {
        "meta": {
            "currency": currency,
            "symbol": symbol,
            "exchangeName": exchange,
            "fullExchangeName": "NYSE",
            "instrumentType": "EQUITY",
            "firstTradeDate": stamps[0] if stamps else None,
            "regularMarketTime": stamps[-1] if stamps else None,
            "hasPrePostMarketData": True,
            "gmtoffset": int(offset.total_seconds()),
            "timezone": "EST",
            "exchangeTimezoneName": zone,
            "regularMarketPrice": last,
            "chartPreviousClose": rows[0].close if rows else None,
            "priceHint": 2,
            "dataGranularity": "1d",
            "range": "",
            "validRanges": ["1d", "5d", "1mo", "1y", "5y", "max"],
            **meta,
        },
        "indicators": {
            "quote": [
                {
                    n: [getattr(b, n) for b in rows]
                    for n in ("open", "high", "low", "close", "volume")
                }
            ],
            "adjclose": [
                {"adjclose": [b.close if b.adj_close is None else b.adj_close for b in rows]}
            ],
        },
    }
    if stamps:
        result["timestamp"] = stamps
    if events:
        result["events"] = events
    return {"chart": {"result": [result], "error": None}}


def within(ask: Ask, rows: Sequence[Bar]) -> list[Bar]:
    """The bars that ``period1`` and ``period2`` of a Yahoo request cover (epoch seconds)."""
    first = datetime.fromtimestamp(int(ask.query.get("period1", 0)), UTC)
    last = datetime.fromtimestamp(int(ask.query.get("period2", 4_000_000_000)), UTC)

    def at(day: date) -> datetime:
        return datetime.combine(day, time(14, 30), UTC)

    return [b for b in rows if first <= at(b.date) < last]
