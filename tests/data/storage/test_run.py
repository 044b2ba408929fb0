"""A writer's session: what is planned, what is published, what is undone."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from wealthos_pipeline.core.data import contract
from wealthos_pipeline.core.errors import (
    ConfigError,
    LockedError,
    NoManifestError,
    StorageError,
)
from wealthos_pipeline.data.storage import manifest as manifests
from wealthos_pipeline.data.storage.manifest import Snapshot
from wealthos_pipeline.data.storage.run import Run

REGIME, SIGNALS = "monitor.regime", "monitor.signals"
NOW = datetime(2024, 3, 8, 22, tzinfo=UTC)
PUBLISHED = {"as_of": date(2024, 3, 8), "source": "test"}


def signals(n: int) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "date": [date(2020, 1, 1) + timedelta(days=i) for i in range(n)],
            "instrument_id": ["A"] * n,
            "signal": ["gap"] * n,
            "value": [1.0] * n,
            "threshold": [0.5] * n,
        }
    )


def day(lake, settings, now, n: int) -> tuple[manifests.Manifest, list]:
    """One run of two stages: ``regime`` from raw series (a fixed frame), ``signals`` from it."""
    with Run.open(lake, settings, now=now) as run:
        first = run.plan("regime", inputs=["raw.series"], definition="v1")
        if not first.clean:
            from_frames = contract(REGIME).conform(regime(n))
            lake.replace(REGIME, from_frames)
        run.done(first)
        second = run.plan("signals", inputs=[REGIME], definition="v1")
        if not second.clean:
            rows = signals(n)
            if second.dirty_from is not None:
                rows = rows.filter(pl.col("date") >= second.dirty_from)
            lake.replace(SIGNALS, rows, start=second.dirty_from)
        run.done(second)
        return run.publish(**PUBLISHED, finished_at=now), [first, second]


def regime(n: int) -> pl.DataFrame:
    return signals(n).select(
        "date", pl.col("value").alias("p_turbulent"), pl.lit("calm").alias("regime")
    )


def series(n: int, fetched: datetime) -> pl.DataFrame:
    return contract("raw.series").conform(
        signals(n).select(
            pl.lit("s").alias("source"),
            pl.lit("vix").alias("series"),
            pl.lit("").alias("tenor"),
            "date",
            pl.lit(fetched).cast(pl.Datetime("us", "UTC")).alias("fetched_at"),
            "value",
            pl.lit("index").alias("unit"),
            pl.lit("day").alias("frequency"),
        )
    )


def test_a_stage_runs_whole_then_not_then_from_the_first_dirty_date(lake, settings, frames) -> None:
    now = frames.now
    lake.append("raw.series", series(400, now))
    _, plans = day(lake, settings, now, 400)
    assert [p.full for p in plans] == [True, True]
    second, plans = day(lake, settings, now + timedelta(days=1), 400)
    assert [p.clean for p in plans] == [True, True]
    assert lake.version(REGIME) == 0
    assert lake.version(SIGNALS) == 0
    lake.append("raw.series", series(402, now + timedelta(days=2)).tail(2))
    third, plans = day(lake, settings, now + timedelta(days=2), 402)
    expected = date(2020, 1, 1) + timedelta(days=400)
    assert [p.dirty_from for p in plans] == [expected, expected]
    assert third.tables[REGIME] == 1
    assert Snapshot(lake, second).read(REGIME).height == 400
    assert Snapshot(lake, third).read(REGIME).height == 402
    assert [m.run_id for m in manifests.history(lake)][1:] == [second.run_id, third.run_id]


def test_a_changed_definition_or_set_of_inputs_means_everything(lake, settings, frames) -> None:
    day(lake, settings, frames.now, 10)
    with Run.open(lake, settings, now=frames.now + timedelta(days=1)) as run:
        assert run.plan("signals", inputs=[REGIME], definition="v1").clean
        assert run.plan("signals", inputs=[REGIME], definition="v2").full
        assert run.plan("signals", inputs=[REGIME, SIGNALS], definition="v1").full
        assert run.plan("another", inputs=[REGIME]).full


def test_a_table_without_dates_makes_its_readers_run_whole(lake, settings, frames) -> None:
    catalog = contract("meta.catalog").conform(
        pl.DataFrame({"kind": ["table"], "name": ["x"], "title": ["X"]})
    )
    with Run.open(lake, settings, now=frames.now) as run:
        lake.replace("meta.catalog", catalog)
        run.done(run.plan("stage", inputs=["meta.catalog"]))
        run.publish(**PUBLISHED)
    with Run.open(lake, settings, now=frames.now + timedelta(days=1)) as run:
        assert run.plan("stage", inputs=["meta.catalog"]).clean
        lake.replace("meta.catalog", catalog.with_columns(title=pl.lit("Y")))
        plan = run.plan("stage", inputs=["meta.catalog"])
        assert (plan.full, plan.dirty_from) == (True, None)


def test_a_stage_that_did_not_run_keeps_what_it_had_consumed(lake, settings, frames) -> None:
    day(lake, settings, frames.now, 10)
    with Run.open(lake, settings, now=frames.now + timedelta(days=1)) as run:
        lake.replace(REGIME, regime(12))
        run.publish(**PUBLISHED)
    with Run.open(lake, settings, now=frames.now + timedelta(days=2)) as run:
        plan = run.plan("signals", inputs=[REGIME], definition="v1")
        assert plan.dirty_from == date(2020, 1, 11)


def test_an_unpublished_run_never_happened(lake, settings, frames) -> None:
    first, _ = day(lake, settings, frames.now, 10)
    with pytest.raises(RuntimeError, match="in the middle"):  # noqa: PT012, SIM117
        with Run.open(lake, settings, now=frames.now + timedelta(days=1)) as run:
            lake.replace(REGIME, regime(20))
            lake.replace(SIGNALS, signals(0).cast(contract(SIGNALS).empty().schema))
            lake.replace("clean.holdings", contract("clean.holdings").empty())
            lake.append("raw.series", series(3, frames.now))
            lake.restate("clean.prices", frames.prices(3), now=run.now)
            raise RuntimeError("in the middle")
    assert manifests.last(lake) == first
    assert Snapshot(lake, first).read(SIGNALS).height == 10
    with Run.open(lake, settings, now=frames.now + timedelta(days=2)) as run:
        assert set(run.recovered) == {REGIME, SIGNALS, "clean.prices", "clean.prices_history"}
        assert lake.read(REGIME).height == 10
        assert lake.read("clean.prices").is_empty()
        assert lake.read("raw.series").height == 3, "raw rows stay"
        assert run.plan("signals", inputs=[REGIME], definition="v1").clean
        assert run.plan("prices", inputs=["clean.prices"]).full
        again = lake.restate("clean.prices", frames.prices(3), now=run.now)
        assert again.dirty_from == frames.days(1)[0]
        run.publish(**PUBLISHED)
    with Run.open(lake, settings, now=frames.now + timedelta(days=3)) as run:
        assert run.recovered == ()


def test_a_restored_table_counts_as_what_it_was_restored_to(lake, frames) -> None:
    lake.replace(REGIME, regime(10))
    lake.replace(REGIME, regime(12))
    lake.replace(REGIME, regime(5))
    assert lake.restore({REGIME: 1}) == [REGIME]
    assert lake.restore({REGIME: 1}) == []
    assert lake.version(REGIME) == 3
    assert_frame_equal(lake.read(REGIME), lake.read(REGIME, version=1))
    assert lake.content_hash(REGIME) == lake.content_hash(REGIME, 1)
    assert lake.dirty_from(REGIME, 1) is None
    assert lake.dirty_from(REGIME, 0) == date(2020, 1, 11)
    assert lake.dirty_from(REGIME, 2) == date(2020, 1, 6)
    lake.replace(REGIME, regime(13))
    assert lake.dirty_from(REGIME, 1) == date(2020, 1, 13)
    assert lake.dirty_from(REGIME, 3) == date(2020, 1, 13)
    assert lake.restore({REGIME: None}) == [REGIME]
    assert lake.read(REGIME).is_empty()
    assert lake.dirty_from(REGIME, None) is None
    assert lake.dirty_from(REGIME, 1) == date(2020, 1, 1)


def test_a_manifest_survives_its_row(lake, settings, frames) -> None:
    made, _ = day(lake, settings, frames.now, 10)
    assert manifests.last(lake) == made
    assert manifests.get(lake, made.run_id) == made
    assert made.config_hash == settings.config_hash
    assert made.consumed["signals"].inputs == {REGIME: 0}
    assert made.code_version
    assert "meta.runs" not in made.tables


def test_runs_have_names_of_their_own(lake, settings, frames) -> None:
    one, _ = day(lake, settings, frames.now, 3)
    two, _ = day(lake, settings, frames.now, 3)
    assert one.run_id == "20240309T120000Z"
    assert two.run_id == "20240309T120000Z-2"
    with pytest.raises(StorageError, match="exists already"):  # noqa: SIM117
        with Run.open(lake, settings, now=frames.now, run_id=one.run_id):
            pass


def test_nothing_published_yet_is_said(lake) -> None:
    with pytest.raises(NoManifestError, match="wealthos run"):
        manifests.last(lake)
    with pytest.raises(NoManifestError):
        manifests.get(lake, "x")
    assert manifests.history(lake) == []


def test_an_unknown_run_is_answered_with_those_there_are(lake, settings, frames) -> None:
    day(lake, settings, frames.now, 3)
    with pytest.raises(StorageError, match="no run 'x'; the latest are: 20240309T120000Z"):
        manifests.get(lake, "x")


def test_a_second_writer_is_told_who_holds_the_lock(lake, settings, frames) -> None:
    import os

    with Run.open(lake, settings, now=frames.now, run_id="the-first"):
        with pytest.raises(LockedError) as error:  # noqa: SIM117
            with Run.open(lake, settings, now=frames.now):
                pass
        assert f"run the-first (process {os.getpid()} of" in str(error.value)
    with Run.open(lake, settings, now=frames.now):
        pass


def test_a_snapshot_reads_as_of_from_its_own_history(lake, settings, frames) -> None:
    with Run.open(lake, settings, now=frames.now) as run:
        lake.restate("clean.prices", frames.prices(3), now=run.now)
        first = run.publish(**PUBLISHED)
    with Run.open(lake, settings, now=frames.now + timedelta(days=1)) as run:
        lake.restate("clean.prices", frames.prices(4, close=11.0), now=run.now)
        second = run.publish(**PUBLISHED)
    old, new = Snapshot(lake, first), Snapshot(lake, second)
    late = datetime(2030, 1, 1, tzinfo=UTC)
    assert old.read("clean.prices", as_of=late)["close"].unique().to_list() == [10.0]
    assert new.read("clean.prices", as_of=late)["close"].unique().to_list() == [11.0]
    assert_frame_equal(
        new.read("clean.prices", as_of=frames.now, end=frames.days(3)[-1]), old.read("clean.prices")
    )
    assert old.read("clean.prices", columns=["close"]).columns == ["close"]
    assert old.read("clean.holdings").is_empty()
    assert old.version("clean.holdings") is None
    assert old.tables() == ["clean.prices", "clean.prices_history"]


def test_a_root_keeps_the_clock_that_it_was_begun_with(lake, settings) -> None:
    with Run.open(lake, settings, now=NOW) as run:
        run.publish(**PUBLISHED)
    later = settings.model_copy(
        update={"time": settings.time.model_copy(update={"known_lag_minutes": 90})}
    )
    with (
        pytest.raises(
            ConfigError, match="known_lag_minutes is 90, but this root was begun with 30"
        ),
        Run.open(lake, later, now=NOW + timedelta(days=1)),
    ):
        pass
    with Run.open(lake, settings, now=NOW + timedelta(days=1)) as run:
        assert run.previous is not None


def test_a_family_that_nothing_defines_any_more_is_not_of_the_run(lake, settings) -> None:
    """Its rows would go on standing there, older every day; when it comes back it is made again."""
    from wealthos_pipeline.core.data import Column, wide_contract

    kept, gone = (
        wide_contract(f"factors.equity_{name}", "own", [Column("x", "f32", "x", nullable=True)])
        for name in ("kept", "gone")
    )
    rows = signals(3).select("date", "instrument_id", pl.lit(1.0, pl.Float32).alias("x"))

    def run(number: int, *families) -> tuple[manifests.Manifest, dict[str, bool]]:
        lake.registered.clear()
        lake.register(*families)
        made = {}
        with Run.open(lake, settings, now=NOW + timedelta(days=number)) as run:
            for family in families:
                plan = run.plan(family.name, inputs=["raw.series"], definition="v1")
                made[family.name] = not plan.clean
                if not plan.clean:
                    lake.replace(family.name, rows)
                run.done(plan)
            return run.publish(**PUBLISHED, finished_at=NOW + timedelta(days=number)), made

    first, _ = run(0, kept, gone)
    assert {kept.name, gone.name} <= set(first.tables)
    second, made = run(1, kept)
    assert made == {kept.name: False}
    assert kept.name in second.tables
    assert gone.name not in second.tables
    assert Snapshot(lake, first).read(gone.name).height == 3
    third, made = run(2, kept, gone)
    assert made == {kept.name: False, gone.name: True}
    assert Snapshot(lake, third).read(gone.name).height == 3
