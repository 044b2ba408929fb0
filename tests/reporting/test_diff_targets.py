"""How the change of a target is walked: which inputs each step takes from which run.

The solve itself is put in place of by a sum of what it is given, so that every part can be told;
the real solve has its own tests, and the walk over it is shown on the sample.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date

import polars as pl
import pytest
import small_root
from small_root import SmallRoot

from wealthos_pipeline import factors
from wealthos_pipeline.core.portfolio import Mandate
from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.data.storage.manifest import Snapshot
from wealthos_pipeline.reporting.diff import facts as facts_room
from wealthos_pipeline.reporting.diff import targets
from wealthos_pipeline.reporting.diff.moves import (
    CODE,
    HOLDINGS,
    MODEL,
    NEW,
    RESTATED,
    Numbers,
    Step,
    split,
)
from wealthos_pipeline.reporting.diff.predictions import Context, Walk

BALANCED = Mandate(name="balanced", title="Balanced")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, calendar: TradingCalendar) -> SmallRoot:
    return small_root.build(tmp_path_factory.mktemp("walk"), calendar, sessions=30, runs=2)


@dataclass(frozen=True)
class FakeMarket:
    """1 for A's data, 10 for B's past, 100 for B's last date."""

    size: float


def _walk(
    monkeypatch: pytest.MonkeyPatch, root: SmallRoot, changed: facts_room.Facts
) -> tuple[Walk, list[tuple[float, float, int]]]:
    a, b = (Snapshot(root.lake, m) for m in root.runs)
    asked: list[tuple[float, float, int]] = []

    def market(run: Snapshot, day: date, context: Context, settings: object) -> FakeMarket:
        if run is a:
            return FakeMarket(1.0)
        return FakeMarket(10.0 if day == root.runs[0].as_of else 100.0)

    def solve(
        mandate: Mandate,
        at: FakeMarket,
        z: Mapping[str, Numbers],
        horizon: int,
        holdings: pl.DataFrame,
        context: Context,
        settings: object,
    ) -> Numbers:
        asked.append((at.size, z["ridge"]["id0"], holdings.height))
        return {"id0": at.size + z["ridge"]["id0"] + 1000.0 * holdings.height}

    held = {True: 0, False: 2}
    monkeypatch.setattr(targets, "market", market)
    monkeypatch.setattr(targets, "solve", solve)
    read = Snapshot.read

    def reading(self: Snapshot, table: str, **more: object) -> pl.DataFrame:
        frame = read(self, table, **more)  # type: ignore[arg-type]
        if table == "clean.holdings":
            return pl.DataFrame({"units": [1.0] * held[self is a]})
        return frame

    monkeypatch.setattr(Snapshot, "read", reading)
    models = {
        "ridge": Walk(
            {"id0": 0.1},
            None,
            (Step(RESTATED, {"id0": 0.2}), Step(NEW, {"id0": 0.3}), Step(MODEL, {"id0": 0.4})),
        )
    }
    context = Context(root.calendar, factors.load(), root.settings.models, root.settings.factors)
    walks = targets.walks([BALANCED], a, b, changed, models, context, root.settings.portfolio)
    return walks["balanced"], asked


@pytest.fixture
def found(root: SmallRoot) -> facts_room.Facts:
    return facts_room.collect(*(Snapshot(root.lake, m) for m in root.runs))


def test_each_cause_takes_its_inputs_from_the_right_run(
    monkeypatch: pytest.MonkeyPatch, root: SmallRoot, found: facts_room.Facts
) -> None:
    walk, asked = _walk(monkeypatch, root, found)
    # (data, z, supplied holdings): restated, new, model, holdings; then A again
    assert asked == [
        (10.0, 0.2, 0),
        (100.0, 0.3, 0),
        (100.0, 0.4, 0),
        (100.0, 0.4, 2),
        (1.0, 0.1, 0),
    ]
    (move,) = split(
        "target",
        "balanced",
        {"id0": 1.1},
        walk.start,
        walk.start_cause,
        walk.steps,
        {"id0": 2101.0},
    )
    assert move.parts[RESTATED] == pytest.approx(9.1)
    assert move.parts[NEW] == pytest.approx(90.1)
    assert move.parts[MODEL] == pytest.approx(0.1)
    assert move.parts[HOLDINGS] == pytest.approx(2000.0)
    assert move.residual == pytest.approx(0.6)


def test_without_restated_rows_the_past_is_not_solved_again(
    monkeypatch: pytest.MonkeyPatch, root: SmallRoot, found: facts_room.Facts
) -> None:
    _, asked = _walk(monkeypatch, root, replace(found, past_changed=()))
    assert [a for a, _, _ in asked] == [100.0, 100.0, 100.0, 1.0]


def test_changed_code_is_named_as_the_cause(
    monkeypatch: pytest.MonkeyPatch, root: SmallRoot, found: facts_room.Facts
) -> None:
    changed = replace(found, past_changed=(), stages=("scores", "portfolios"))
    walk, _ = _walk(monkeypatch, root, changed)
    assert walk.start_cause == CODE
    assert [s.cause for s in walk.steps] == [CODE, NEW, MODEL, HOLDINGS]
