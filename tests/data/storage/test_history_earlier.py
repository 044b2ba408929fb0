"""What a rule of hindsight took back was believed in its interval, whenever it is written."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from wealthos_pipeline.core.errors import ContractError

PRICES, HISTORY = "clean.prices", "clean.prices_history"
NOON = datetime(2024, 3, 9, 12, tzinfo=UTC)


def believed(rows: pl.DataFrame, until: datetime) -> pl.DataFrame:
    stamp = pl.lit(until).cast(pl.Datetime("us", "UTC"))
    return rows.with_columns(known_from=pl.col("known_at"), known_to=stamp)


def test_a_changed_value_was_another_until_it_was_told(lake, new_lake, frames) -> None:
    """In one go, and by a run that wrote the first value: the same history."""
    first = frames.prices(3)
    day = first["date"].max()
    last = pl.col("date") == day
    told = datetime(day.year, day.month, day.day, 21, tzinfo=UTC) + timedelta(days=1)
    stamp = pl.lit(told).cast(pl.Datetime("us", "UTC"))
    better = first.with_columns(
        pl.when(last).then(12.0).otherwise("close").alias("close"),
        pl.when(last).then(stamp).otherwise("known_at").alias("known_at"),
    )
    earlier = believed(first.filter(last), told)
    lake.restate(PRICES, better, now=NOON, earlier=earlier)
    other = new_lake()
    other.restate(PRICES, first, now=told - timedelta(hours=3))
    other.restate(PRICES, better, now=told + timedelta(hours=1), earlier=earlier)
    for table in (PRICES, HISTORY):
        assert_frame_equal(lake.read(table), other.read(table), check_exact=True)
    just_before = told - timedelta(microseconds=1)
    assert set(lake.read(PRICES, as_of=just_before, start=day)["close"]) == {10.0}
    assert set(lake.read(PRICES, as_of=told, start=day)["close"]) == {12.0}


def test_a_version_that_never_held_and_two_of_one_key_are_refused(lake, frames) -> None:
    rows = frames.prices(1)
    early = datetime(2019, 12, 1, tzinfo=UTC)
    with pytest.raises(ContractError, match="a version that never held"):
        lake.restate(PRICES, rows.clear(), now=NOON, earlier=believed(rows, early))
    twice = pl.concat([believed(rows, NOON), believed(rows, NOON)]).with_columns(
        known_from=pl.col("known_from") + pl.duration(seconds=pl.int_range(pl.len()))
    )
    with pytest.raises(ContractError, match="two versions of one key"):
        lake.restate(PRICES, rows.clear(), now=NOON, earlier=twice)
    with pytest.raises(ContractError, match="lie outside"):
        lake.restate(
            PRICES, rows.clear(), now=NOON, start=date(2020, 1, 2), earlier=believed(rows, NOON)
        )
