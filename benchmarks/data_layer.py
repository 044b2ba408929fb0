"""The data layer by itself: cleaning, checks, as-of reads, a day's increment over a vendor.

Each part is a process of its own that prints one line of JSON: ``python benchmarks/data_layer.py
clean PANEL``, ``asof ROOT``, ``increment FOLDER``. ``run.py`` collects them.
"""

from __future__ import annotations

import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

SUPPORT = Path(__file__).resolve().parents[1] / "tests" / "support"
NAMES = 3000


def cpu_of(work: Callable[[], Any]) -> tuple[Any, float, float]:
    """What ``work`` gives, its CPU seconds (all threads) and wall seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = work()
    return result, time.process_time() - cpu, time.perf_counter() - wall


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def clean(panel: str) -> dict[str, float]:
    """Cleaning and all checks of the large panel."""
    from wealthos_pipeline.data.processors import instruments, prices
    from wealthos_pipeline.data.processors.calendar import TradingCalendar
    from wealthos_pipeline.data.sources import Request
    from wealthos_pipeline.data.sources.files import FilesSource
    from wealthos_pipeline.utils import validation
    from wealthos_pipeline.utils.config import load_settings

    calendar = TradingCalendar("XNYS", 30)
    now = datetime(2024, 3, 8, 23, tzinfo=UTC)
    settings = load_settings(source={"name": "files", "path": panel})
    raw = FilesSource(settings.source).fetch(Request(None, None, now, calendar))
    keys = raw.prices.select("source", "symbol", "date")
    named = instruments.clean(raw.instruments, keys, calendar=calendar)
    before = peak_mb()
    cleaned, cpu, wall = cpu_of(lambda: prices.clean(raw.prices, named, calendar, now=now))
    after = peak_mb()
    validation.validate(
        "clean.prices", cleaned.prices.head(1000), run_id="warm", now=now
    )  # imports
    checks, check_cpu, check_wall = cpu_of(
        lambda: validation.validate("clean.prices", cleaned.prices, run_id="bench", now=now)
    )
    return {
        "rows": cleaned.prices.height,
        "cpu": cpu,
        "wall": wall,
        "peak_before_mb": before,
        "peak_mb": after,
        "checks": checks.height,
        "check_cpu": check_cpu,
        "check_wall": check_wall,
    }


def asof(root: str) -> dict[str, float]:
    """The plain table against its as-of view, in SQL and in Python, alternating."""
    import duckdb

    from wealthos_pipeline.data.storage.lake import Lake

    connection = duckdb.connect(str(Path(root) / "wealthos.duckdb"), read_only=True)
    body = "SELECT count(*), sum(close), max(tr_index), min(date) FROM {}"
    at = datetime(2024, 3, 8, 22, tzinfo=UTC)

    def sql(table: str) -> Callable[[], Any]:
        return lambda: connection.execute(body.format(table)).fetchall()

    lake = Lake(root)
    columns = ["instrument_id", "date", "close", "tr_index"]
    pairs: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
        "sql": (sql("clean.prices"), sql("prices_asof('2024-03-08 22:00:00+00')")),
        "python": (
            lambda: lake.read("clean.prices", columns=columns),
            lambda: lake.read("clean.prices", columns=columns, as_of=at),
        ),
    }
    out: dict[str, float] = {}
    for name, (plain, view) in pairs.items():
        plain(), view()
        times = [(cpu_of(plain)[2], cpu_of(view)[2]) for _ in range(7)]
        out[f"{name}_plain"] = statistics.median(t[0] for t in times)
        out[f"{name}_asof"] = statistics.median(t[1] for t in times)
        out[f"{name}_ratio"] = out[f"{name}_asof"] / out[f"{name}_plain"]
    return out


def serve(days: str) -> None:
    """Yahoo's charts for every symbol, on loopback, until standard input ends."""
    sys.path.insert(0, str(SUPPORT))
    from wire import Ask, Wire, bars, within, yahoo_chart

    sessions = [date.fromisoformat(d) for d in days.split(",")]

    def answer(ask: Ask) -> Any:
        symbol = ask.path.rsplit("/", 1)[-1]
        level = 20.0 + int(symbol[1:]) % 90
        rows = bars(sessions, [round(level * (1 + 0.001 * i), 2) for i in range(len(sessions))])
        return yahoo_chart(symbol, within(ask, rows))

    with Wire() as wire:
        wire.serve(r"/v8/finance/chart/", answer)
        print(wire.url, flush=True)
        sys.stdin.read()


def increment(folder: str) -> dict[str, float]:
    """One more day of 3,000 symbols from a server on loopback; what it costs on our side."""
    from wealthos_pipeline.data.processors.calendar import TradingCalendar
    from wealthos_pipeline.data.sources import Request, get, ingestion
    from wealthos_pipeline.data.storage.lake import Lake
    from wealthos_pipeline.utils.config import load_settings

    calendar = TradingCalendar("XNYS", 30)
    last = date(2024, 3, 8)
    sessions = calendar.sessions(calendar.offset(last, -60), last)
    server = subprocess.Popen(
        [sys.executable, __file__, "serve", ",".join(d.isoformat() for d in sessions)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert server.stdout is not None
    url = server.stdout.readline().strip()
    settings = load_settings(
        root=folder,
        source={
            "name": "yahoo",
            "symbols": [f"N{i:04d}" for i in range(NAMES)],
            "gives": ["prices"],
        },
        fetch={"base_url": url, "per_minute": 600_000.0, "concurrency": 8},
    )
    lake = Lake(settings.root, calendar=calendar)

    def day(now: datetime) -> int:
        source = get(settings)
        stored = ingestion.Stored(
            lake, calendar, source.name, now=now, overlap=settings.fetch.overlap_sessions,
            symbols=getattr(source, "symbols", ()),
        )  # fmt: skip
        request = Request(None, None, now, calendar)
        frames = ingestion.gather(source, lake, request, run_id=f"{now:%Y%m%d}", stored=stored)
        for name, frame in frames.items():
            if frame.height:
                lake.append(name, frame)
        return frames["raw.prices"].height

    try:
        first = day(calendar.known_at(sessions[-2]))
        (rows, cpu, wall) = cpu_of(lambda: day(calendar.known_at(sessions[-1])))
    finally:
        assert server.stdin is not None
        server.stdin.close()
        server.wait()
    assert rows == NAMES, f"{rows} rows came, expected {NAMES}"
    return {"first_rows": first, "rows": rows, "cpu": cpu, "wall": wall}


if __name__ == "__main__":
    part, argument = sys.argv[1:3]
    if part == "serve":
        serve(argument)
    else:
        print(json.dumps({"clean": clean, "asof": asof, "increment": increment}[part](argument)))
