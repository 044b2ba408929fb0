"""What the disk can do to the lake, and what a person then reads."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from wealthos_pipeline.core.errors import StorageError
from wealthos_pipeline.data.storage import manifest as manifests
from wealthos_pipeline.data.storage.lake import Lake
from wealthos_pipeline.data.storage.run import Run

REGIME = "monitor.regime"


def published(lake, settings, frames, n: int) -> manifests.Manifest:
    with Run.open(lake, settings, now=frames.now) as run:
        lake.replace(REGIME, frames.regime(n))
        return run.publish(as_of=frames.days(n)[-1], source="test", finished_at=frames.now)


def test_a_truncated_file_is_named(lake, frames) -> None:
    lake.replace(REGIME, frames.regime(400))
    path = lake.files(REGIME)[0]
    path.write_bytes(path.read_bytes()[:-100])
    for read in (lake.read, lambda t: lake.scan(t).collect(), lake.files):
        with pytest.raises(StorageError, match="damaged") as error:
            read(REGIME)
        assert str(path) in str(error.value)
        assert "Restore the file" in str(error.value)


def test_a_file_with_other_bytes_is_named(lake, frames) -> None:
    lake.replace(REGIME, frames.regime(400))
    path = lake.files(REGIME)[0]
    path.write_bytes(bytes(path.stat().st_size))
    with pytest.raises(StorageError, match=r"monitor\.regime: data file .* is damaged") as error:
        lake.read(REGIME)
    assert str(path) in str(error.value)


def test_a_version_that_never_was_is_refused(lake, frames) -> None:
    lake.replace(REGIME, frames.regime(4))
    with pytest.raises(StorageError, match=r"cannot open version 7 of monitor\.regime.*400 days"):
        lake.read(REGIME, version=7)


def test_a_log_without_our_notes_is_read_all_the_same(lake, frames) -> None:
    """Another Delta program may write; then hashes come from the rows and everything is dirty."""
    from datetime import date

    from deltalake import write_deltalake

    rows = lake.contract(REGIME).conform(frames.regime(40))
    lake.replace(REGIME, rows)
    expected = lake.content_hash(REGIME)
    path = lake.folder / "monitor" / "regime"
    write_deltalake(str(path), rows, mode="overwrite")
    assert_frame_equal(lake.read(REGIME), rows)
    assert lake.content_hash(REGIME) == expected
    assert lake.dirty_from(REGIME, 0) == date.min
    assert not lake.replace(REGIME, rows).changed
    day = frames.days(40)[-1]
    lake.replace(REGIME, rows.tail(1).with_columns(regime=pl.lit("turbulent")), start=day)
    assert lake.read(REGIME)["regime"].to_list() == ["calm"] * 39 + ["turbulent"]


def test_an_expired_log_means_everything(lake, frames) -> None:
    from datetime import date

    for n in (4, 5, 6):
        lake.replace(REGIME, frames.regime(n))
    (lake.folder / "monitor" / "regime" / "_delta_log" / f"{1:020}.json").unlink()
    assert lake.dirty_from(REGIME, 0) == date.min
    assert lake.dirty_from(REGIME, 2) is None


def test_a_checkpoint_takes_the_place_of_the_log(lake, frames) -> None:
    from datetime import date

    from deltalake import DeltaTable

    lake.register(frames.family())
    table, first = "factors.equity_own", frames.wide(1000)
    lake.replace(table, first)
    lake.replace(table, frames.wide(1001))
    log = lake.folder / "factors" / "equity_own" / "_delta_log"
    DeltaTable(str(log.parent)).create_checkpoint()
    lake.replace(table, frames.wide(1002))
    for version in (0, 1):
        (log / f"{version:020}.json").unlink()
    fresh = Lake(lake.root)
    fresh.register(frames.family())
    assert fresh.read(table).height == 2004
    assert [p.parent.name for p in fresh.files(table, start=date(2022, 1, 1))] == ["year=2022"]
    before = set(fresh.files(table))
    day = frames.days(1003)[-1]
    last = frames.wide(1003).filter(pl.col("date") == day)
    assert fresh.replace(table, last, start=day).dirty_from == day
    assert len(before & set(fresh.files(table))) == 3
    assert fresh.dirty_from(table, 1) == frames.days(1002)[-1]
    assert fresh.dirty_from(table, 0) == date.min


def test_a_table_whose_creation_was_cut_off_can_be_made(lake, frames) -> None:
    (lake.folder / "monitor" / "regime" / "_delta_log").mkdir(parents=True)
    assert lake.version(REGIME) is None
    assert lake.read(REGIME).is_empty()
    lake.replace(REGIME, frames.regime(3))
    assert lake.read(REGIME).height == 3


FULL_DISK = """
    import resource, signal, sys
    from datetime import UTC, datetime
    import polars as pl
    from wealthos_pipeline.core.errors import StorageError
    from wealthos_pipeline.data.storage.lake import Lake
    from wealthos_pipeline.data.storage.run import Run
    from wealthos_pipeline.utils.config import Settings

    root, source = sys.argv[1:]
    rows = pl.read_parquet(source)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    lake = Lake(root)
    try:
        with Run.open(lake, Settings(), now=datetime(2024, 4, 1, tzinfo=UTC)) as run:
            resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
            lake.replace("monitor.regime", rows)
    except StorageError as error:
        print(error)
        sys.exit(error.exit_code)
"""


def test_a_full_disk_is_one_clear_error_and_the_last_run_stays(
    lake, frames, settings, tmp_path
) -> None:
    first = published(lake, settings, frames, 400)
    source = tmp_path / "large.parquet"
    big = frames.regime(20_000).with_columns(
        pl.Series("p_turbulent", [i / 7 for i in range(20_000)])
    )
    big.write_parquet(source)
    code = textwrap.dedent(FULL_DISK)
    done = subprocess.run(
        [sys.executable, "-c", code, str(lake.root), str(source)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == StorageError.exit_code, done.stderr
    assert done.stderr == ""
    assert "cannot write to monitor.regime" in done.stdout
    assert "free space" in done.stdout
    fresh = Lake(lake.root)
    assert manifests.last(fresh) == first
    snapshot = manifests.Snapshot(fresh, first)
    assert_frame_equal(snapshot.read(REGIME), fresh.contract(REGIME).conform(frames.regime(400)))
    table = lake.folder / "monitor" / "regime"
    assert {p.name for p in table.glob("*.parquet")} == {p.name for p in fresh.files(REGIME)}
    second = published(fresh, settings, frames, 401)
    assert manifests.Snapshot(fresh, second).read(REGIME).height == 401
