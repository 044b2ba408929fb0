"""The layout's number, and what older and newer programs do about it."""

from __future__ import annotations

import pytest

from wealthos_pipeline.core.errors import NewerLakeError, StorageError
from wealthos_pipeline.data.storage import migrations
from wealthos_pipeline.data.storage.lake import Lake
from wealthos_pipeline.data.storage.migrations import LAKE_VERSION, Step, layout_of
from wealthos_pipeline.data.storage.run import Run

REGIME = "monitor.regime"


def test_a_new_root_gets_this_programs_layout(lake, settings, frames) -> None:
    assert layout_of(lake.root) is None
    with Run.open(lake, settings, now=frames.now):
        pass
    assert layout_of(lake.root) == LAKE_VERSION


def test_a_newer_lake_is_refused_by_writers_and_readers(lake, settings, frames) -> None:
    lake.replace(REGIME, frames.regime(3))
    migrations.stamp(lake.root, LAKE_VERSION + 1)
    with pytest.raises(NewerLakeError, match="Update this program"):  # noqa: SIM117
        with Run.open(lake, settings, now=frames.now):
            pass
    with pytest.raises(NewerLakeError):
        Lake(lake.root).read(REGIME)
    with pytest.raises(NewerLakeError):
        migrations.migrate(lake)


def test_steps_run_in_order_and_an_interrupted_one_is_run_again(lake, settings, frames) -> None:
    lake.replace(REGIME, frames.regime(3))
    migrations.stamp(lake.root, 1)
    done: list[int] = []
    broken = True

    def second(lake: Lake) -> None:
        if broken:
            raise OSError("power")
        lake.replace(REGIME, frames.regime(4))
        done.append(3)

    available = [Step(2, "first", lambda _: done.append(2)), Step(3, "second", second)]
    with pytest.raises(OSError, match="power"):
        migrations.migrate(lake, available=available, target=3)
    assert layout_of(lake.root) == 2
    broken = False
    assert migrations.migrate(lake, available=available, target=3) == ["3: second"]
    assert done == [2, 3]
    assert layout_of(lake.root) == 3
    assert migrations.migrate(lake, available=available, target=3) == []


def test_a_gap_between_steps_is_refused(lake) -> None:
    migrations.stamp(lake.root, 1)
    with pytest.raises(StorageError, match="no way from layout 1 to 3"):
        migrations.migrate(lake, available=[Step(3, "x", lambda _: None)], target=3)


def test_the_steps_of_this_program_lead_to_its_layout() -> None:
    assert [s.number for s in migrations.steps()] == list(range(2, LAKE_VERSION + 1))


def test_a_damaged_layout_file_is_named(lake, settings, frames) -> None:
    path = lake.root / "lake" / migrations.LAYOUT_FILE
    path.parent.mkdir(parents=True)
    path.write_text("one")
    with pytest.raises(StorageError, match="LAYOUT holds 'one'"):  # noqa: SIM117
        with Run.open(lake, settings, now=frames.now):
            pass


def test_a_lake_of_the_first_layout_is_migrated_before_it_is_written(
    lake, settings, frames
) -> None:
    lake.replace(REGIME, frames.regime(3))
    migrations.stamp(lake.root, 1)
    with pytest.raises(StorageError, match=r"layout 1.*wealthos data migrate"):  # noqa: SIM117
        with Run.open(lake, settings, now=frames.now):
            pass
    before = lake.version(REGIME)
    assert Lake(lake.root).read(REGIME).height == 3, "reading it goes on"
    done = migrations.migrate(lake)
    assert done[0].startswith("2: Positions are shares")
    assert lake.version(REGIME) == before
    with Run.open(lake, settings, now=frames.now):
        pass
    assert layout_of(lake.root) == LAKE_VERSION


def test_the_second_layout_names_tables_that_there_are() -> None:
    from wealthos_pipeline.core.data import load
    from wealthos_pipeline.data.storage.migrations import m0002_accounts_in_shares as second

    assert set(second.MADE_AGAIN) <= set(load())
