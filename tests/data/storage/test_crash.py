"""kill -9 at any instant leaves the last published run whole."""

from __future__ import annotations

import random
import subprocess
import sys
import textwrap

from polars.testing import assert_frame_equal

from wealthos_pipeline.data.storage import manifest as manifests
from wealthos_pipeline.data.storage.lake import Lake
from wealthos_pipeline.data.storage.manifest import Snapshot
from wealthos_pipeline.data.storage.run import Run
from wealthos_pipeline.utils.config import Settings

KILLS, MOST = 10, 60
"""Victims; more only where the machine is so slow that none of them got anywhere."""

WORK = """
    from datetime import UTC, date, datetime, timedelta
    import polars as pl

    NOW = datetime(2024, 3, 9, 12, tzinfo=UTC)

    def content(k):
        '''The tables of the k-th run (from 1): a day more each time, and one day restated.'''
        days = [date(2019, 12, 1) + timedelta(days=i) for i in range(60 + k)]
        keys = pl.DataFrame({"date": days}).join(
            pl.DataFrame({"instrument_id": ["A", "B", "C"]}), how="cross"
        )
        prices = keys.with_columns(
            pl.lit(0, pl.Int32).alias("slot"),
            pl.when(pl.col("date") == days[k % 7]).then(float(k)).otherwise(10.0).alias("close"),
            *(pl.lit(1.0).alias(c) for c in ("split_ratio", "split_index", "tr_index")),
            pl.lit(0, pl.Int32).alias("flags"),
            pl.lit("USD").alias("currency"),
            pl.lit("test").alias("source"),
            pl.lit("assumed").alias("basis"),
            pl.lit(datetime(2020, 6, 1, tzinfo=UTC)).cast(pl.Datetime("us", "UTC")).alias("known_at"),
        )
        signals = keys.with_columns(
            pl.lit("gap").alias("signal"), pl.lit(float(k)).alias("value"), threshold=pl.lit(0.5)
        )
        regime = pl.DataFrame({"date": days}).with_columns(
            p_turbulent=pl.lit(0.1 * k), regime=pl.lit("calm")
        )
        return prices, signals, regime

    def one_run(lake, settings):
        from wealthos_pipeline.data.storage import manifest
        from wealthos_pipeline.data.storage.run import Run

        k = len(manifest.history(lake)) + 1
        now = NOW + timedelta(days=k)
        with Run.open(lake, settings, now=now) as run:
            prices, signals, regime = content(k)
            lake.restate("clean.prices", prices, now=now)
            lake.replace("monitor.signals", signals)
            lake.replace("monitor.regime", regime)
            run.publish(as_of=regime["date"].max(), source="test", finished_at=now)
"""

VICTIM = """
    import os, signal, sys, time
    from wealthos_pipeline.data.storage import history, run, writing  # before the forks
    from wealthos_pipeline.data.storage.lake import Lake
    from wealthos_pipeline.utils.config import Settings

    # this process forks a writer for each line of input (seconds to live), and kills it
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            lake = Lake(sys.argv[1])
            while True:
                one_run(lake, Settings())
        time.sleep(float(line))  # the instant of the kill: no condition could stand for it
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        print("killed", flush=True)
"""

namespace: dict = {}
exec(textwrap.dedent(WORK), namespace)


def check(root) -> int:
    """The last manifest's tables are exactly those of its run; returns how many runs there are."""
    lake = Lake(root)
    runs = manifests.history(lake)
    if runs:
        snapshot = Snapshot(lake, manifests.last(lake))
        prices, signals, regime = namespace["content"](len(runs))
        assert snapshot.read("clean.prices", columns=["close"]).height == prices.height
        expected = prices.sort("date", "instrument_id").select("date", "instrument_id", "close")
        assert_frame_equal(snapshot.read("clean.prices", columns=expected.columns), expected)
        for table, rows in (("monitor.signals", signals), ("monitor.regime", regime)):
            assert_frame_equal(snapshot.read(table), lake.contract(table).conform(rows))
    return len(runs)


def test_kill_at_any_instant(tmp_path) -> None:
    root, rng = tmp_path / "killed", random.Random(11)
    code = textwrap.dedent(WORK) + textwrap.dedent(VICTIM)
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(root)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    runs, unfinished = 0, 0
    with process:
        for i in range(MOST):
            if i >= KILLS and runs and unfinished:
                break
            process.stdin.write(f"{rng.uniform(0.1, 0.5) * (1 + i / KILLS)}\n")
            process.stdin.flush()
            assert process.stdout.readline() == "killed\n"
            before, runs = runs, check(root)
            assert runs >= before
            lake = Lake(root)
            named = manifests.last(lake).tables if runs else {}
            unfinished += any(
                lake.version(t) != named.get(t) for t in lake.tables() if t != "meta.runs"
            )
        process.stdin.close()
    assert process.returncode == 0
    assert runs > 0, "no run was ever finished: the victims had too little time"
    assert unfinished > 0, "no victim was hit in the middle of a run"

    lake = Lake(root)
    with Run.open(lake, Settings(), now=namespace["NOW"]):
        pass
    namespace["one_run"](lake, Settings())
    assert check(root) == runs + 1
    undisturbed = Lake(tmp_path / "undisturbed")
    for _ in range(runs + 1):
        namespace["one_run"](undisturbed, Settings())
    for table in ("clean.prices", "clean.prices_history", "monitor.signals", "monitor.regime"):
        assert lake.content_hash(table) == undisturbed.content_hash(table)
