"""Kills ingestion and cleaning at random instants and looks at what is left (``make soak``).

A walk of days over a small panel with listings, restated bars, a dividend and a membership file is
run twice: undisturbed, and with ``kill -9`` in the middle. After every kill the last manifest must be
that of the last complete day, every table that it names must be readable and hold what the
undisturbed walk held, and the day that was killed must end, run again, like the undisturbed one.
"""

from __future__ import annotations

import argparse
import hashlib
import multiprocessing
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import polars as pl

    from wealthos_pipeline.data.storage.manifest import Manifest
    from wealthos_pipeline.utils.config import Settings

FIRST, DAYS, NAMES = date(2023, 1, 3), 12, 8
HISTORY = 90
"""Sessions of the first load."""
PRELOADED = [
    "polars", "dagster", "great_expectations", "pandas", "exchange_calendars", "deltalake", "assets",
    "wealthos_pipeline.factors", "wealthos_pipeline.utils.validation",
    "wealthos_pipeline.data.sources.files", "wealthos_pipeline.data.storage.lake",
    "wealthos_pipeline.data.processors.prices",
]  # fmt: skip
"""What every child needs, imported once."""
LOCKED = 6
"""Exit code of a child that found the root taken."""


def settings_of(root: Path, inputs: Path, day: int) -> Settings:
    """Settings of day number ``day`` of the walk under ``root``."""
    from wealthos_pipeline.utils.config import load_settings

    return load_settings(
        root=root,
        source={
            "name": "files",
            "path": inputs / f"{day:03d}.parquet",
            "membership": inputs / f"{day:03d}.csv",
        },
        machine={"threads": 1},
    )


def write_inputs(folder: Path) -> list[datetime]:
    """One panel and one membership file a day; the instant of each day's run."""
    import numpy as np
    import polars as pl

    from wealthos_pipeline.data.processors.calendar import TradingCalendar

    calendar = TradingCalendar("XNYS", 30)
    first = calendar.slot(FIRST)
    days = [calendar.date_of(s) for s in range(first, first + HISTORY + DAYS)]
    rng = np.random.default_rng(5)
    returns = rng.normal(0.0004, 0.012, (len(days), NAMES))
    close = np.round(40.0 * np.exp(np.cumsum(returns, axis=0)), 2)
    folder.mkdir(parents=True, exist_ok=True)
    instants = []
    for k in range(DAYS):
        last = HISTORY + k
        rows = []
        for i in range(NAMES):
            begin = 0 if i < NAMES - 2 else HISTORY + 2 * (i - NAMES + 3)  # two list later
            for t in range(begin, last + 1):
                price = close[t, i]
                if k >= 4 and (t, i) == (HISTORY + 1, 1):
                    price = round(price * 1.01, 2)  # the vendor corrects a bar
                rows.append((f"S{i:02d}", days[t], price, price, price, price, 1e6 + 10.0 * t))
        names = ["symbol", "date", "open", "high", "low", "close", "volume"]
        pl.DataFrame(rows, schema=names, orient="row").write_parquet(folder / f"{k:03d}.parquet")
        leaves = f"{days[last - 2]}" if k >= 7 else ""
        lines = [f"S{i:02d},{days[0]},{leaves if i == 2 else ''}" for i in range(NAMES)]
        text = "ticker,start_date,end_date\n" + "\n".join(lines) + "\n"
        (folder / f"{k:03d}.csv").write_text(text)
        instants.append(calendar.known_at(days[last]))
    return instants


def run_day(root: str, inputs: str, day: int, now: datetime, run_id: str) -> None:
    """Ingestion, cleaning, manifest: what a child process does."""
    from assets import clean, ingest
    from assets._shared.resources import open_session
    from wealthos_pipeline.core.errors import LockedError

    settings = settings_of(Path(root), Path(inputs), day)
    try:
        with open_session(settings, now=now, run_id=run_id) as session:
            for stage in (*ingest.STAGES, *clean.STAGES):
                for _ in stage.execute(session):
                    pass
            last = session.lake.read("clean.prices", columns=["date"])["date"].max()
            assert isinstance(last, date)
            session.run.publish(as_of=last, source="files", finished_at=session.clock)
    except LockedError:
        os._exit(LOCKED)


@dataclass
class Walk:
    """A root on its way through the days."""

    root: Path
    inputs: Path
    instants: Sequence[datetime]
    seconds: list[float] = field(default_factory=list)

    def child(self, day: int, attempt: int) -> Any:
        """A process that runs ``day``; started."""
        process = _context().Process(
            target=run_day,
            args=(
                str(self.root),
                str(self.inputs),
                day,
                self.instants[day],
                f"day{day:03d}-{attempt}",
            ),
        )
        process.start()
        return process

    def finish(self, day: int, attempt: int) -> None:
        """Run ``day`` to its end."""
        begun = time.monotonic()
        process = self.child(day, attempt)
        process.join()
        assert process.exitcode == 0, f"day {day} failed with {process.exitcode}"
        self.seconds.append(time.monotonic() - begun)

    def state(self) -> tuple[str | None, dict[str, str]]:
        """The last complete run's day (``day000``) and a digest of every raw and clean table that
        its manifest names, read as a reader does."""
        from wealthos_pipeline.data.processors.calendar import TradingCalendar
        from wealthos_pipeline.data.storage import manifest
        from wealthos_pipeline.data.storage.lake import Lake
        from wealthos_pipeline.data.storage.manifest import Snapshot

        lake = Lake(self.root, calendar=TradingCalendar("XNYS", 30))
        last: Manifest | None = manifest.last_or_none(lake)
        if last is None:
            return None, {}
        snapshot = Snapshot(lake, last)
        tables = [t for t in snapshot.tables() if t.split(".")[0] in ("raw", "clean")]
        return last.run_id.split("-")[0], {t: digest(snapshot.read(t)) for t in sorted(tables)}


def digest(frame: pl.DataFrame) -> str:
    """Every bit of a frame, in its order."""
    body = hashlib.blake2b(digest_size=12)
    for column in frame:
        body.update(column.name.encode())
        body.update(repr(column.to_list()).encode())
    return body.hexdigest()


def _context() -> Any:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    return context


@dataclass(frozen=True)
class Outcome:
    """What a soak found. days: complete days that were compared with the undisturbed walk."""

    kills: int
    landed: int
    days: int
    twice: int
    seconds: float

    def __str__(self) -> str:
        return (
            f"{self.kills} kills, {self.landed} of them in the middle of a run, {self.days} complete "
            f"days equal to the undisturbed walk, {self.twice} times two runs at once, "
            f"{self.seconds:.0f} s"
        )


def soak(
    kills: int,
    folder: Path,
    *,
    walk: int = DAYS,
    a_day: int = 12,
    seed: int = 1,
    say: Any = None,
) -> Outcome:
    """Kill ``kills`` times, ``a_day`` at most on one day, on the way through ``walk`` days, again and again.

    AssertionError at the first thing that is not as it should be.
    """
    begun = time.monotonic()
    inputs = folder / "inputs"
    instants = write_inputs(inputs)
    calm = Walk(folder / "calm", inputs, instants)
    expected = []
    for day in range(walk):
        calm.finish(day, 0)
        expected.append(calm.state())
    if say is not None:
        say(f"{walk} undisturbed days, {min(calm.seconds):.1f} to {max(calm.seconds):.1f} s each")
    typical = sorted(calm.seconds)[len(calm.seconds) // 2]
    rng = random.Random(seed)
    done = landed = days = twice = attempt = 0
    round_ = 0
    while done < kills:
        round_ += 1
        wild = Walk(folder / f"wild{round_}", inputs, instants)
        for day in range(walk):
            before = expected[day - 1] if day else (None, {})
            here = 0
            while done < kills and here < a_day:
                attempt += 1
                here += 1
                process = wild.child(day, attempt)
                process.join(rng.uniform(0.0, 1.15 * typical))
                process.kill()
                process.join()
                done += 1
                landed += process.exitcode == -signal.SIGKILL
                found = wild.state()
                assert found in (before, expected[day]), _differences(found, before, expected[day])
                if say is not None and done % 25 == 0:
                    say(f"{done} kills, {days} days complete, {time.monotonic() - begun:.0f} s")
                if found == expected[day]:
                    break
            attempt += 1
            if day % 5 == 2:  # two runs at once: one wins, the other says so
                twice += 1
                pair = [wild.child(day, attempt), wild.child(day, attempt + 100_000)]
                for process in pair:
                    process.join()
                codes = sorted(process.exitcode for process in pair)
                assert codes in ([0, LOCKED], [0, 0]), f"two runs at once ended with {codes}"
            else:
                wild.finish(day, attempt)
            found = wild.state()
            assert found == expected[day], _differences(found, before, expected[day])
            days += 1
            if done >= kills:
                break
        shutil.rmtree(wild.root)
    return Outcome(done, landed, days, twice, time.monotonic() - begun)


def _differences(found: Any, *wanted: Any) -> str:
    lines = [
        f"the last complete run is {found[0]}, expected {' or '.join(str(w[0]) for w in wanted)}"
    ]
    for name, tables in wanted:
        if name == found[0]:
            other = sorted(t for t in tables if tables[t] != found[1].get(t))
            lines.append(f"tables that differ from the undisturbed {name}: {other}")
    return "; ".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="wealthos-soak-") as folder:
        outcome = soak(
            given.kills, Path(folder), seed=given.seed, say=lambda text: print(text, flush=True)
        )
    print(outcome)
    return 0


if __name__ == "__main__":
    sys.exit(main())
