"""Tables whose earlier versions stay readable."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import polars as pl
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from wealthos_pipeline.data.storage.history import OPEN_ENDED

PRICES, HISTORY = "clean.prices", "clean.prices_history"
NOON = datetime(2024, 3, 9, 12, tzinfo=UTC)


def test_a_first_load_is_known_by_rule(lake, frames) -> None:
    rows = frames.prices(5)
    write = lake.restate(PRICES, rows, now=NOON)
    assert (write.changed, write.dirty_from) == (True, date(2019, 12, 30))
    past = lake.read(HISTORY)
    assert past["known_from"].equals(lake.read(PRICES)["known_at"].alias("known_from"))
    assert past["known_to"].unique().to_list() == [OPEN_ENDED]
    second = frames.days(2)[-1]
    seen = lake.read(PRICES, as_of=datetime(second.year, second.month, second.day, 21, tzinfo=UTC))
    assert seen["date"].max() == second
    assert_frame_equal(seen, lake.read(PRICES, end=second))


def test_the_same_rows_keep_their_stamps_and_make_no_version(lake, frames) -> None:
    lake.restate(PRICES, frames.prices(400), now=NOON)
    later = frames.prices(400).with_columns(
        known_at=pl.lit(NOON).cast(pl.Datetime("us", "UTC")), basis=pl.lit("observed")
    )
    write = lake.restate(PRICES, later, now=NOON + timedelta(days=1))
    assert not write.changed
    assert (lake.version(PRICES), lake.version(HISTORY)) == (0, 0)
    assert lake.read(PRICES)["basis"].unique().to_list() == ["assumed"]


def test_a_changed_a_new_and_a_vanished_row(lake, frames) -> None:
    old = frames.prices(400)
    lake.restate(PRICES, old, now=NOON)
    one, two = date(2020, 3, 2), date(2020, 3, 3)
    aaa, bbb = pl.col("instrument_id") == "AAA", pl.col("instrument_id") == "BBB"
    new = old.filter(~((pl.col("date") == two) & bbb)).with_columns(
        pl.when((pl.col("date") == one) & aaa).then(11.0).otherwise("close").alias("close")
    )
    new = pl.concat([new, frames.prices(1, ("CCC",), two)])
    now = NOON + timedelta(days=1)
    write = lake.restate(PRICES, new, now=now)
    assert write.dirty_from == one
    changed = lake.read(PRICES, start=one, end=one).filter(aaa).row(0, named=True)
    assert (changed["close"], changed["known_at"], changed["basis"]) == (11.0, now, "observed")
    past = lake.read(HISTORY, start=one, end=one).filter(aaa)
    assert past["close"].to_list() == [10.0, 11.0]
    assert past["known_to"].to_list() == [now, OPEN_ENDED]
    assert past["known_from"].to_list() == [datetime(2020, 3, 2, 21, tzinfo=UTC), now]
    gone = lake.read(HISTORY, start=two, end=two).filter(bbb)
    assert gone["known_to"].to_list() == [now]
    added = lake.read(HISTORY, start=two, end=two).filter(pl.col("instrument_id") == "CCC")
    assert added["known_from"].to_list() == [datetime(2020, 3, 3, 21, tzinfo=UTC)]
    just_before = lake.read(PRICES, as_of=now - timedelta(microseconds=1))
    believed = just_before.filter(pl.col("instrument_id") != "CCC")
    assert_frame_equal(believed, lake.contract(PRICES).conform(old))
    assert_frame_equal(lake.read(PRICES, as_of=now), lake.read(PRICES))


def test_a_row_that_returns_is_known_from_its_return(lake, frames) -> None:
    lake.restate(PRICES, frames.prices(3), now=NOON)
    lake.restate(PRICES, frames.prices(2), now=NOON + timedelta(days=1))
    back = NOON + timedelta(days=2)
    lake.restate(PRICES, frames.prices(3), now=back)
    assert lake.read(PRICES, as_of=NOON).height == 6
    assert lake.read(PRICES, as_of=NOON + timedelta(days=1)).height == 4
    assert lake.read(PRICES, as_of=back).height == 6
    assert set(lake.read(PRICES, start=frames.days(3)[-1])["known_at"]) == {back}


def test_what_was_replaced_before_it_was_known_leaves_no_trace(lake, frames) -> None:
    first = frames.prices(1)
    before_close = datetime(2019, 12, 30, 15, tzinfo=UTC)
    lake.restate(PRICES, first, now=before_close)
    lake.restate(PRICES, frames.prices(1, close=12.0), now=before_close + timedelta(hours=1))
    past = lake.read(HISTORY)
    assert past["close"].to_list() == [12.0, 12.0]
    assert past["known_from"].unique().to_list() == [datetime(2019, 12, 30, 21, tzinfo=UTC)]
    assert lake.read(PRICES)["basis"].unique().to_list() == ["assumed"]


def test_a_sign_of_zero_is_a_value(lake, frames) -> None:
    lake.restate(PRICES, frames.prices(1).with_columns(dividend=pl.lit(0.0)), now=NOON)
    write = lake.restate(
        PRICES, frames.prices(1).with_columns(dividend=pl.lit(-0.0)), now=NOON + timedelta(days=1)
    )
    assert write.changed
    assert lake.read(HISTORY).height == 4


cells = st.dictionaries(
    st.tuples(st.integers(0, 5), st.sampled_from(["A", "B"])), st.integers(0, 2), max_size=8
)


@hypothesis_settings(
    max_examples=18, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.tuples(cells, st.integers(0, 6), st.booleans()), min_size=1, max_size=4))
def test_as_of_gives_what_was_believed(new_lake, frames, steps) -> None:
    """Against the plain rule: at T one sees the last restatement made by T, of it the rows whose
    own known_at has passed; rows first seen in a later restatement are known by their own rule."""
    lake = new_lake()
    days = frames.days(6)
    rule = {d: datetime(d.year, d.month, d.day, 21, tzinfo=UTC) for d in days}
    believed: dict[tuple[date, str], list[tuple[datetime, float | None]]] = {}
    for i, (cells, first, whole) in enumerate(steps):
        now = datetime(2020, 2, 1, tzinfo=UTC) + timedelta(days=i)
        start = None if whole else days[min(first, 5)]
        wanted = {
            (days[d], n): float(v)
            for (d, n), v in cells.items()
            if start is None or days[d] >= start
        }
        rows = frames.prices(6, ("A", "B")).join(
            pl.DataFrame(
                [(d, n, v) for (d, n), v in wanted.items()],
                schema={"date": pl.Date, "instrument_id": pl.String, "v": pl.Float64},
                orient="row",
            ),
            on=["date", "instrument_id"],
        )
        rows = rows.with_columns(pl.col("v").alias("close")).drop("v")
        lake.restate(PRICES, rows, now=now, start=start)
        for key in {*wanted, *believed}:
            if start is not None and key[0] < start:
                continue
            versions = believed.setdefault(key, [])
            value = wanted.get(key)
            if value != (versions[-1][1] if versions else None):
                versions.append((now if versions else rule[key[0]], value))
    instants = {t for v in believed.values() for t, _ in v}
    for t in {*instants, *(x - timedelta(microseconds=1) for x in instants)}:
        expected = {}
        for key, versions in believed.items():
            known = [value for since, value in versions if since <= t]
            if known and known[-1] is not None:
                expected[key] = known[-1]
        seen = lake.read(PRICES, as_of=t)
        assert {
            (d, n): c for d, n, c in seen.select("date", "instrument_id", "close").rows()
        } == expected
        assert (seen["known_at"] <= t).all()
    latest = lake.read(PRICES, as_of=datetime(2021, 1, 1, tzinfo=UTC))
    assert_frame_equal(latest, lake.read(PRICES))
    past = lake.read(HISTORY)
    assert (past["known_from"] < past["known_to"]).all()
    overlap = past.with_columns(
        pl.col("known_to").shift(1).over("date", "instrument_id").alias("before")
    ).filter(pl.col("known_from") < pl.col("before"))
    assert overlap.is_empty()
