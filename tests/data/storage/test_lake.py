"""Reading, replacing and appending."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from wealthos_pipeline.core.data import Column, TableContract, contract
from wealthos_pipeline.core.errors import ContractError, StorageError
from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.data.storage import layout
from wealthos_pipeline.data.storage.lake import Lake

REGIME = "monitor.regime"


def test_a_table_that_does_not_exist_is_empty(lake) -> None:
    assert lake.version(REGIME) is None
    assert lake.tables() == []
    assert lake.read(REGIME).schema == contract(REGIME).empty().schema
    assert lake.read(REGIME, columns=["regime"]).columns == ["regime"]
    assert lake.dirty_from(REGIME, None) is None
    assert lake.read("clean.prices", as_of=datetime(2020, 1, 1, tzinfo=UTC)).is_empty()


def test_an_undeclared_table_is_refused_by_name(lake) -> None:
    with pytest.raises(ContractError, match=r"no table 'clean\.nothing' is declared"):
        lake.read("clean.nothing")
    with pytest.raises(ContractError, match=r"layer\.table"):
        lake.version("../etc")


def test_written_rows_come_back_sorted_and_in_one_chunk(lake, frames) -> None:
    rows = frames.wide(400)
    lake.register(frames.family())
    write = lake.replace("factors.equity_own", rows.sample(fraction=1, shuffle=True, seed=3))
    back = lake.read("factors.equity_own")
    assert_frame_equal(back, rows.sort("date", "instrument_id"))
    assert back.n_chunks() == 1
    assert (write.version, write.changed, write.rows) == (0, True, 800)
    assert write.dirty_from == date(2019, 12, 30)
    assert lake.tables() == ["factors.equity_own"]


def test_the_same_rows_make_no_version(lake, frames) -> None:
    first = lake.replace(REGIME, frames.regime(800))
    again = lake.replace(REGIME, frames.regime(800).reverse())
    part = lake.replace(REGIME, frames.regime(3), end=frames.days(3)[-1])
    assert [w.changed for w in (again, part)] == [False, False]
    assert {w.version for w in (first, again, part)} == {0}
    assert {w.content_hash for w in (first, again, part)} == {lake.content_hash(REGIME)}
    assert again.dirty_from is None


def test_dirty_from_is_the_first_date_that_differs(lake, frames) -> None:
    rows = frames.regime(800)
    lake.replace(REGIME, rows)
    day = date(2021, 6, 1)
    changed = rows.with_columns(
        pl.when(pl.col("date") >= day).then(0.9).otherwise("p_turbulent").alias("p_turbulent")
    )
    write = lake.replace(REGIME, changed)
    assert (write.version, write.dirty_from) == (1, day)
    assert lake.dirty_from(REGIME, 0) == day
    assert lake.dirty_from(REGIME, 1) is None
    assert lake.dirty_from(REGIME, None) == rows["date"].min()
    assert_frame_equal(lake.read(REGIME, version=0), rows)
    assert_frame_equal(lake.read(REGIME), changed)


def test_one_day_rewrites_its_year_only(lake, frames) -> None:
    lake.register(frames.family())
    rows = frames.wide(1000)
    lake.replace("factors.equity_own", rows)
    before = set(lake.files("factors.equity_own"))
    day = date(2021, 3, 3)
    one = rows.filter(pl.col("date") == day).with_columns(pl.lit(7, pl.Float32).alias("f1"))
    lake.replace("factors.equity_own", one, start=day, end=day)
    after = set(lake.files("factors.equity_own"))
    assert {p.parent.name for p in before - after} == {"year=2021"}
    assert {p.parent.name for p in after - before} == {"year=2021"}
    assert {p.parent.name for p in before & after} == {"year=2019", "year=2020", "year=2022"}
    assert lake.read("factors.equity_own", start=day, end=day)["f1"].to_list() == [7, 7]
    assert lake.read("factors.equity_own").height == rows.height


def test_a_range_reads_only_files_that_hold_it(lake, frames) -> None:
    lake.register(frames.family())
    lake.replace("factors.equity_own", frames.wide(1000))
    for path in lake.files("factors.equity_own"):
        if path.parent.name != "year=2021":
            path.unlink()
    rows = lake.read("factors.equity_own", start=date(2021, 2, 1), end=date(2021, 2, 28))
    assert rows.height == 28 * 2
    with pytest.raises(StorageError, match="missing"):
        lake.read("factors.equity_own")


def test_an_empty_frame_removes_the_range(lake, frames) -> None:
    lake.replace(REGIME, frames.regime(10))
    write = lake.replace(REGIME, contract(REGIME).empty(), start=frames.days(6)[-1])
    assert (write.changed, write.dirty_from) == (True, frames.days(6)[-1])
    assert lake.read(REGIME).height == 5
    assert lake.replace(REGIME, contract(REGIME).empty()).changed
    assert lake.read(REGIME).is_empty()
    assert not lake.replace(REGIME, contract(REGIME).empty()).changed


def test_an_empty_table_exists(lake) -> None:
    write = lake.replace("clean.holdings", contract("clean.holdings").empty())
    assert write.version == 0
    assert lake.tables() == ["clean.holdings"]
    assert lake.read("clean.holdings").is_empty()


def test_a_table_without_dates_is_replaced_whole(lake) -> None:
    rows = contract("meta.catalog").conform(
        pl.DataFrame({"kind": ["table"], "name": ["x"], "title": ["X"]})
    )
    assert lake.replace("meta.catalog", rows).dirty_from == date.min
    assert not lake.replace("meta.catalog", rows).changed
    assert lake.replace("meta.catalog", rows.with_columns(title=pl.lit("Y"))).changed
    assert lake.dirty_from("meta.catalog", 0) == date.min
    with pytest.raises(ContractError, match="no date column"):
        lake.replace("meta.catalog", rows, start=date(2020, 1, 1))


def test_what_does_not_fit_is_refused_before_anything_is_written(lake, frames) -> None:
    with pytest.raises(ContractError, match="missing"):
        lake.replace(REGIME, frames.regime(3).drop("regime"))
    with pytest.raises(ContractError, match="1 rows lie outside of 2019-12-31"):
        lake.replace(REGIME, frames.regime(3), start=date(2019, 12, 31))
    with pytest.raises(ContractError, match="use restate"):
        lake.replace("clean.prices", frames.prices(3))
    with pytest.raises(ContractError, match="use append"):
        lake.replace("record.issued", contract("record.issued").empty())
    with pytest.raises(ContractError, match="use replace"):
        lake.restate(REGIME, frames.regime(3), now=frames.now)
    assert lake.tables() == []


def series(n: int, fetched: datetime, first: date = date(2020, 1, 1)) -> pl.DataFrame:
    return contract("raw.series").conform(
        pl.DataFrame({"date": [first + timedelta(days=i) for i in range(n)]}).with_columns(
            pl.lit("s").alias("source"),
            pl.lit("vix").alias("series"),
            pl.lit("").alias("tenor"),
            pl.lit(fetched).cast(pl.Datetime("us", "UTC")).alias("fetched_at"),
            pl.lit(20.0).alias("value"),
            pl.lit("index").alias("unit"),
            pl.lit("day").alias("frequency"),
        )
    )


def test_append_adds_rows_and_refuses_old_keys(lake) -> None:
    t = datetime(2024, 1, 1, tzinfo=UTC)
    lake.append("raw.series", series(400, t))
    later = series(5, t + timedelta(days=1), date(2021, 1, 1))
    write = lake.append("raw.series", later)
    assert (write.version, write.dirty_from) == (1, date(2021, 1, 1))
    assert lake.dirty_from("raw.series", 0) == date(2021, 1, 1)
    assert lake.read("raw.series").height == 405
    with pytest.raises(ContractError, match="exist already"):
        lake.append("raw.series", later.head(1))
    assert not lake.append("raw.series", later.clear()).changed
    other = Lake(lake.root.parent / "other")
    other.append(
        "raw.series", pl.concat([series(400, t), later]).sample(fraction=1, shuffle=True, seed=1)
    )
    assert other.content_hash("raw.series") == lake.content_hash("raw.series")


def test_many_appends_stay_few_files(lake) -> None:
    t = datetime(2024, 1, 1, tzinfo=UTC)
    n = 2 * layout.CROWD + 3
    for i in range(n):
        lake.append("raw.series", series(2, t + timedelta(days=i)))
    assert len(lake.files("raw.series")) <= layout.CROWD + 3
    assert lake.read("raw.series").height == 2 * n
    once = Lake(lake.root.parent / "once")
    once.append("raw.series", pl.concat([series(2, t + timedelta(days=i)) for i in range(n)]))
    assert once.content_hash("raw.series") == lake.content_hash("raw.series")


def test_compacting_keeps_rows_and_is_no_change(lake) -> None:
    t = datetime(2024, 1, 1, tzinfo=UTC)
    for i in range(4):
        lake.append("raw.series", series(3, t + timedelta(days=i)))
    before, version = lake.read("raw.series"), lake.version("raw.series")
    assert lake.compact("raw.series")
    assert len(lake.files("raw.series")) == 1
    assert_frame_equal(lake.read("raw.series"), before)
    assert lake.dirty_from("raw.series", version) is None
    assert not lake.compact("raw.series")


def test_large_frames_are_cut_into_files_in_one_version(tmp_path, frames) -> None:
    lake = Lake(tmp_path, block_mb=1)
    lake.register(frames.family([f"f{i}" for i in range(40)]))
    names = [f"N{i:03}" for i in range(60)]
    rows = frames.prices(300, names, date(2020, 1, 1)).select(
        "date",
        "instrument_id",
        *(pl.col("slot").cast(pl.Float32).alias(f"f{i}") for i in range(40)),
    )
    assert rows.estimated_size() > 2 << 20
    lake.replace("factors.equity_own", rows)
    assert lake.version("factors.equity_own") == 0
    assert len(lake.files("factors.equity_own")) >= 3
    assert_frame_equal(lake.read("factors.equity_own"), rows.sort("date", "instrument_id"))


def test_reads_as_of_an_instant_by_the_rule_of_the_contract(tmp_path, frames) -> None:
    lake = Lake(tmp_path, calendar=TradingCalendar("XNYS", 30))
    lake.replace(REGIME, frames.regime(10, first=date(2024, 1, 1)))  # known="bar"
    before_close = datetime(2024, 1, 3, 21, 29, tzinfo=UTC)
    assert lake.read(REGIME, as_of=before_close)["date"].max() == date(2024, 1, 2)
    after_close = before_close + timedelta(minutes=1)
    assert lake.read(REGIME, as_of=after_close)["date"].max() == date(2024, 1, 3)
    membership = pl.DataFrame(
        {
            "universe": ["u", "u"],
            "instrument_id": ["A", "B"],
            "valid_from": [date(2020, 1, 1), date(2021, 1, 1)],
            "source": ["s", "s"],
            "known_at": [datetime(2020, 1, 1, tzinfo=UTC), datetime(2021, 1, 1, tzinfo=UTC)],
        }
    )
    lake.replace("clean.membership", membership)  # known="column"
    found = lake.read("clean.membership", as_of=datetime(2020, 6, 1, tzinfo=UTC))
    assert found["instrument_id"].to_list() == ["A"]
    with pytest.raises(StorageError, match="no time zone"):
        lake.read(REGIME, as_of=datetime(2024, 1, 3))  # noqa: DTZ001


# contracts that change


def grown(frames, extra: str = "f3") -> TableContract:
    return frames.family(("f1", "f2", extra))


def test_a_new_nullable_column_reads_as_null_and_is_added_on_write(lake, frames) -> None:
    lake.register(frames.family())
    lake.replace("factors.equity_own", frames.wide(400))
    lake.register(grown(frames))
    old = lake.read("factors.equity_own")
    assert old["f3"].null_count() == old.height
    assert not lake.replace("factors.equity_own", frames.wide(400)).changed
    day = frames.days(400)[-1]
    new = frames.wide(400, ("f1", "f2", "f3")).filter(pl.col("date") == day)
    write = lake.replace("factors.equity_own", new, start=day)
    assert write.dirty_from == day
    assert lake.dirty_from("factors.equity_own", 0) == day
    assert lake.read("factors.equity_own")["f3"].null_count() == 2 * 399


def test_a_family_that_lost_a_column_is_rewritten_whole(lake, frames) -> None:
    lake.register(frames.family())
    lake.replace("factors.equity_own", frames.wide(40))
    lake.register(frames.family(("f2",)))
    assert lake.read("factors.equity_own").columns == ["date", "instrument_id", "f2"]
    lake.replace("factors.equity_own", frames.wide(40, ("f2",)))
    assert lake.read("factors.equity_own").columns == ["date", "instrument_id", "f2"]
    fresh = Lake(lake.root)
    assert fresh.contract("factors.equity_own").column_names == ("date", "instrument_id", "f2")
    assert fresh.read("factors.equity_own")["f2"].null_count() == 0
    assert_frame_equal(
        fresh.read("factors.equity_own", version=0, columns=["f2"]),
        frames.wide(40, ("f2",)).select("f2"),
    )


def test_a_declared_table_with_another_type_asks_for_a_migration(lake, frames, monkeypatch) -> None:
    lake.replace(REGIME, frames.regime(3))
    other = TableContract(
        REGIME,
        "Retyped.",
        (
            Column("date", "date", ""),
            Column("p_turbulent", "f32", "", "", True),
            Column("regime", "str", ""),
            Column("needed", "str", ""),
        ),
        ("date",),
        "date",
    )
    from wealthos_pipeline.core import data

    monkeypatch.setitem(data.load(), REGIME, other)
    with pytest.raises(
        ContractError, match=r"stored as double, declared as float.*needed.*migrate"
    ):
        lake.read(REGIME)
    rows = frames.regime(3).drop("refit_date").with_columns(needed=pl.lit("x"))
    with pytest.raises(ContractError, match=r"refit_date is stored but not declared.*migrate"):
        lake.replace(REGIME, rows.with_columns(pl.col("p_turbulent").cast(pl.Float32)))


def test_a_table_is_readable_without_its_declaration(lake, frames) -> None:
    lake.register(frames.family())
    lake.replace("factors.equity_own", frames.wide(5))
    fresh = Lake(lake.root)
    assert fresh.contract("factors.equity_own") == frames.family()
    assert_frame_equal(fresh.read("factors.equity_own"), lake.read("factors.equity_own"))


# against a model


ops = st.lists(
    st.tuples(
        st.integers(0, 39),  # first day of the range
        st.integers(0, 15),  # its length; 15 means no bounds at all
        st.lists(st.tuples(st.integers(0, 39), st.integers(0, 2)), max_size=10),
    ),
    min_size=1,
    max_size=4,
)


@hypothesis_settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(ops)
def test_replace_equals_a_dictionary(new_lake, ops) -> None:
    lake = new_lake()
    model: dict[date, float] = {}
    base = date(2019, 12, 15)
    states: list[dict[date, float]] = [{}]
    for first, length, cells in ops:
        whole = length == 15
        start, end = base + timedelta(days=first * 20), base + timedelta(days=(first + length) * 20)
        rows = {base + timedelta(days=20 * d): float(v) for d, v in cells}
        if not whole:
            rows = {d: v for d, v in rows.items() if start <= d <= end}
        frame = pl.DataFrame(
            {"date": list(rows), "p_turbulent": list(rows.values())},
            schema={"date": pl.Date, "p_turbulent": pl.Float64},
        ).with_columns(regime=pl.lit("calm"))
        kept = {} if whole else {d: v for d, v in model.items() if not start <= d <= end}
        after = kept | rows
        diff = [d for d in model.keys() | after.keys() if model.get(d) != after.get(d)]
        existed = lake.version(REGIME) is not None
        write = lake.replace(REGIME, frame, **({} if whole else {"start": start, "end": end}))
        assert write.dirty_from == min(diff, default=None)
        assert write.changed == (bool(diff) or not existed)
        model = after
        if write.changed:
            states.append(dict(model))
        back = lake.read(REGIME)
        assert dict(zip(back["date"], back["p_turbulent"], strict=True)) == model
    for version, then in enumerate(states[1:]):
        back = lake.read(REGIME, version=version)
        assert dict(zip(back["date"], back["p_turbulent"], strict=True)) == then
        diff = [d for d in model.keys() | then.keys() if model.get(d) != then.get(d)]
        dirty = lake.dirty_from(REGIME, version)
        assert dirty is None if not diff and version == lake.version(REGIME) else True
        if diff:
            assert dirty is not None
            assert dirty <= min(diff)
    fresh = new_lake()
    fresh.replace(REGIME, lake.read(REGIME))
    assert fresh.content_hash(REGIME) == lake.content_hash(REGIME)
