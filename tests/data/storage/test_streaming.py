"""Blocks handed in one after the other make the version that the whole frame makes."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import date, timedelta

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from wealthos_pipeline.core.errors import ContractError
from wealthos_pipeline.data.storage.lake import Lake

TABLE = "factors.equity_own"
BASE = date(2019, 11, 1)


@pytest.fixture
def twins(tmp_path, frames) -> tuple[Lake, Lake]:
    """Two empty lakes: one is written in blocks, the other whole."""
    pair = Lake(tmp_path / "blocks"), Lake(tmp_path / "whole")
    for lake in pair:
        lake.register(frames.family())
    return pair


def panel(seed: int, n: int, first: date = BASE) -> pl.DataFrame:
    """``n`` days of two names; some days are left out, values depend on ``seed``."""
    pick = random.Random(seed)
    days = [first + timedelta(days=i) for i in range(n) if pick.random() > 0.1]
    rows = [(d, name, pick.choice([1.0, 2.0, None])) for d in days for name in ("AAA", "BBB")]
    schema = {"date": pl.Date, "instrument_id": pl.String, "f1": pl.Float32}
    return pl.DataFrame(rows, schema=schema, orient="row")


def cut(frame: pl.DataFrame, pick: random.Random) -> Iterator[pl.DataFrame]:
    """``frame`` in pieces at random dates, some of them empty."""
    days = frame["date"].unique().sort().to_list()
    at = 0
    while at < len(days):
        size = pick.choice([0, 1, 20, 90, 400])
        yield frame.filter(pl.col("date").is_in(days[at : at + size]))
        at += size


@pytest.mark.parametrize("seed", range(4))
def test_blocks_make_the_version_of_the_whole_frame(seed, twins) -> None:
    streamed, whole = twins
    pick = random.Random(seed)
    for step in range(9):
        first = BASE + timedelta(days=pick.choice([0, 50, 300, 450]))
        frame = panel(pick.choice([1, 2]), pick.choice([0, 3, 200, 500]), first)
        bounds = {}
        if step and pick.random() < 0.7:
            bounds["start"] = first
            if pick.random() < 0.3 and frame.height:
                bounds["end"] = frame["date"].max()
        a = streamed.replace(TABLE, cut(frame, pick), **bounds)
        b = whole.replace(TABLE, frame, **bounds)
        assert a == b
        assert_frame_equal(streamed.read(TABLE), whole.read(TABLE))
        kept = [lake.state(TABLE, a.version).files for lake in twins]
        assert [(f.year, f.rows) for f in kept[0]] == [(f.year, f.rows) for f in kept[1]]
        digests = [lake.digests(TABLE, lake.state(TABLE, a.version)) for lake in twins]
        assert digests[0] == digests[1]


def test_a_year_that_is_equal_is_not_rewritten(twins, frames) -> None:
    lake, _ = twins
    rows = frames.wide(800)
    lake.replace(TABLE, rows)
    files = {f.year: f.path for f in lake.state(TABLE, 0).files}
    late = rows.with_columns(
        pl.when(pl.col("date") > date(2021, 3, 1)).then(9.0).otherwise(pl.col("f1")).alias("f1")
    )
    write = lake.replace(TABLE, iter([late[:900], late[900:]]))
    assert (write.version, write.dirty_from) == (1, date(2021, 3, 2))
    now = {f.year: f.path for f in lake.state(TABLE, 1).files}
    assert {y for y in files if files[y] != now[y]} == {2021, 2022}
    assert not lake.replace(TABLE, iter([late])).changed


def test_a_failure_between_blocks_leaves_the_version_before(twins, frames) -> None:
    lake, _ = twins
    rows = frames.wide(900)
    lake.replace(TABLE, rows)
    before = sorted(lake.root.rglob("*.parquet"))

    def failing() -> Iterator[pl.DataFrame]:
        yield rows.with_columns(pl.col("f1") + 1)[:1500]
        raise KeyError("power cut")

    with pytest.raises(KeyError, match="power cut"):
        lake.replace(TABLE, failing())
    assert lake.version(TABLE) == 0
    assert_frame_equal(lake.read(TABLE), rows)
    assert sorted(lake.root.rglob("*.parquet")) == before


def test_blocks_that_overlap_or_leave_the_range_are_refused(twins, frames) -> None:
    lake, _ = twins
    rows = frames.wide(10)
    with pytest.raises(ContractError, match="in order of date"):
        lake.replace(TABLE, iter([rows[:7], rows[6:]]))
    with pytest.raises(ContractError, match="in order of date"):
        lake.replace(TABLE, iter([rows[8:], rows[:8]]))
    with pytest.raises(ContractError, match="lie outside"):
        lake.replace(TABLE, iter([rows]), start=rows["date"][4])
    assert lake.version(TABLE) is None
    assert not list(lake.root.rglob("*.parquet"))


def test_a_table_that_is_not_cut_by_year_takes_blocks_too(twins, frames) -> None:
    streamed, whole = twins
    rows = frames.regime(500)
    a = streamed.replace("monitor.regime", iter([rows[:300], rows[300:]]))
    assert a == whole.replace("monitor.regime", rows)
