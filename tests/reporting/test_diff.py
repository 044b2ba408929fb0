"""What changed between two runs: every part against numbers worked out by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
import small_root
from small_root import SmallRoot

from wealthos_pipeline import factors
from wealthos_pipeline.core.errors import ConfigError
from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.data.storage.manifest import Consumed, Snapshot
from wealthos_pipeline.reporting.diff import CAUSES, compare, facts, moves
from wealthos_pipeline.reporting.diff.compare import issued
from wealthos_pipeline.reporting.diff.moves import CODE, HOLDINGS, MODEL, NEW, RESTATED, Step, split


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, calendar: TradingCalendar) -> SmallRoot:
    return small_root.build(tmp_path_factory.mktemp("diff"), calendar, runs=2)


@pytest.fixture(scope="module")
def pair(root: SmallRoot) -> tuple[Snapshot, Snapshot]:
    return Snapshot(root.lake, root.runs[0]), Snapshot(root.lake, root.runs[1])


def test_parts_and_residual_add_up_to_the_change() -> None:
    steps = [
        Step(CODE, {"a": 1.5, "b": 2.0}),
        Step(RESTATED, {"a": 1.25, "b": 2.0}),
        Step(NEW, {"a": 0.5, "c": 3.0}),
        Step(MODEL, {"a": 0.75, "c": 2.0}),
        Step(HOLDINGS, {"a": 0.75, "c": 2.5}),
    ]
    found = split(
        "target",
        "m",
        {"a": 1.0, "b": 2.0},
        {"a": 1.125, "b": 2.0},
        None,
        steps,
        {"a": 2.0, "c": 2.5},
    )
    by = {m.instrument_id: m for m in found}
    assert by["a"].parts == {CODE: 0.375, RESTATED: -0.25, NEW: -0.75, MODEL: 0.25, HOLDINGS: 0.0}
    assert by["a"].residual == 0.125 + 1.25
    assert (by["b"].after, by["b"].change, by["b"].parts[NEW]) == (None, -2.0, -2.0)
    assert (by["c"].before, by["c"].parts[MODEL], by["c"].parts[HOLDINGS]) == (None, -1.0, 0.5)
    for move in found:
        assert sum(move.parts.values()) + move.residual == move.change


def test_what_repeats_exactly_is_no_move() -> None:
    same = {"a": 1.0, "b": 2.0}
    assert split("target", "m", same, same, None, [Step(NEW, same)], same) == []


def test_a_gap_before_the_first_step_is_code_if_code_changed() -> None:
    (move,) = split("target", "m", {"a": 1.0}, {"a": 1.5}, CODE, [], {"a": 1.5})
    assert (move.parts[CODE], move.residual) == (0.5, 0.0)


def test_bars_are_counted(pair: tuple[Snapshot, Snapshot]) -> None:
    found = facts.bars(*pair)
    assert (found.new, found.restated, found.vanished, found.sessions) == (6, 1, 0, 1)
    assert found.instruments == ("id2",)
    again = facts.bars(pair[1], pair[1])
    assert not again.any


def test_the_past_is_compared_up_to_the_first_runs_date(
    pair: tuple[Snapshot, Snapshot], root: SmallRoot
) -> None:
    a, b = pair
    assert not facts.same_past(a, b, "clean.prices", root.days[10])
    assert facts.same_past(a, b, "clean.prices", root.days[9])
    assert facts.same_past(a, b, "clean.instruments", root.days[-1])


def test_settings_are_compared_by_leaf() -> None:
    before = {"models": {"horizon": 20, "names": ["ridge"]}, "gone": 1}
    after = {"models": {"horizon": 5, "names": ["ridge"]}, "new": {"x": True}}
    assert [(s.name, s.before, s.after) for s in facts.settings(before, after)] == [
        ("gone", 1, None),
        ("models.horizon", 20, 5),
        ("new.x", None, True),
    ]


def test_stages_whose_definition_changed(root: SmallRoot) -> None:
    a = root.runs[0]
    changed = dict(a.consumed) | {"scores": Consumed({}, "v2"), "fresh": Consumed({}, "v1")}
    assert facts.stages(a, replace(a, consumed=changed)) == ("fresh", "scores")
    assert facts.stages(*root.runs) == ()


def test_a_run_that_issued_nothing_stands_on_the_one_before(root: SmallRoot) -> None:
    record = root.lake.read("record.issued")
    order = ["run-0", "silent", "run-1"]
    first = issued(record, order, "run-0", "prediction", "z")
    assert issued(record, order, "silent", "prediction", "z") == first
    assert issued(record, order, "run-1", "prediction", "z") != first
    assert set(first["ridge"]) == set(small_root.IDS)


def test_predictions_are_split_by_computing_them_again(root: SmallRoot) -> None:
    """New bars: A's fit on B's last date. Model: B's fit. Nothing else touched the scores."""
    a, b = root.runs
    diff = compare(
        root.lake, a, b, settings=root.settings, calendar=root.calendar, library=factors.load()
    )
    scores = Snapshot(root.lake, b).read("factors.scores_equity")
    old = small_root.z_of(scores.filter(pl.col("date") == a.as_of), (0.5, -0.25))
    new_bars = small_root.z_of(scores.filter(pl.col("date") == b.as_of), (0.5, -0.25))
    refitted = small_root.z_of(scores.filter(pl.col("date") == b.as_of), (0.5, -0.15))
    rows = diff.frame().filter(pl.col("kind") == "prediction")
    assert set(rows["instrument_id"]) == set(small_root.IDS)
    for row in rows.iter_rows(named=True):
        name = row["instrument_id"]
        assert row["before"] == old[name]
        assert row["after"] == refitted[name]
        assert row[NEW] == pytest.approx(new_bars[name] - old[name], abs=1e-9)
        assert row[MODEL] == pytest.approx(refitted[name] - new_bars[name], abs=1e-9)
        assert row[RESTATED] == row[CODE] == row[HOLDINGS] == 0.0
        assert abs(row["residual"]) < 1e-9
        assert sum(row[c] for c in CAUSES) + row["residual"] == pytest.approx(row["change"])
    (fit,) = diff.facts.fits
    assert fit.changed


def test_targets_of_an_unwritten_mandate_are_residual_and_said_so(root: SmallRoot) -> None:
    a, b = root.runs
    diff = compare(
        root.lake, a, b, settings=root.settings, calendar=root.calendar, library=factors.load()
    )
    rows = diff.frame().filter(pl.col("kind") == "target")
    assert rows["instrument_id"].to_list() == ["id0", "id1"]
    assert rows["residual"].to_list() == pytest.approx([0.01, -0.01])
    assert any("balanced" in n and "not written" in n for n in diff.notes)


def test_a_run_against_itself_shows_nothing(root: SmallRoot) -> None:
    last = root.runs[-1]
    diff = compare(
        root.lake,
        last,
        last,
        settings=root.settings,
        calendar=root.calendar,
        library=factors.load(),
    )
    assert diff.facts.tables == ()
    assert diff.facts.past_changed == ()
    assert not diff.facts.bars.any
    assert diff.frame().filter(pl.col("change") != 0).is_empty()


def test_the_later_run_comes_second(root: SmallRoot) -> None:
    a, b = root.runs
    with pytest.raises(ConfigError, match="earlier one first"):
        compare(
            root.lake, b, a, settings=root.settings, calendar=root.calendar, library=factors.load()
        )


def test_an_empty_difference_is_still_a_frame() -> None:
    assert moves.frame([]).columns == ["kind", "owner", "instrument_id", "before", "after", "change", *CAUSES, "residual"]  # fmt: skip


def test_a_restated_score_is_told_from_a_new_one(
    tmp_path: Path, calendar: TradingCalendar, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the second run also changes the scores of the first one's date, that part is "restated"."""
    made = small_root.made_scores

    def shifted(days: list, cal: TradingCalendar) -> pl.DataFrame:
        scores = made(days, cal)
        if len(days) < 31:
            return scores
        touched = (pl.col("date") == days[-2]) & (pl.col("instrument_id") == "id0")
        return scores.with_columns(
            pl.when(touched).then(9.0).otherwise("demo_up").cast(pl.Float32).alias("demo_up")
        )

    monkeypatch.setattr(small_root, "made_scores", shifted)
    root = small_root.build(tmp_path, calendar, sessions=30, runs=2)
    a, b = root.runs
    diff = compare(
        root.lake, a, b, settings=root.settings, calendar=root.calendar, library=factors.load()
    )
    rows = diff.frame().filter(
        (pl.col("kind") == "prediction") & (pl.col("instrument_id") == "id0")
    )
    scores = Snapshot(root.lake, b).read("factors.scores_equity")
    past = small_root.z_of(scores.filter(pl.col("date") == a.as_of), (0.5, -0.25))
    assert rows[RESTATED][0] == pytest.approx(past["id0"] - rows["before"][0], abs=1e-9)
    assert rows[RESTATED][0] > 0.1
    assert abs(rows["residual"][0]) < 1e-9
