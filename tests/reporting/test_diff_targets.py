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

    def market(run: Snapshot, day: date, *more: object) -> FakeMarket:
        if run is a:
            return FakeMarket(1.0)
        return FakeMarket(10.0 if day == root.runs[0].as_of else 100.0)

    def solve(
        mandate: Mandate,
        at: FakeMarket,
        z: Mapping[str, Numbers],
        horizon: int,
        supplied: targets.Supplied,
        context: Context,
        settings: object,
    ) -> Numbers:
        rows = supplied.holdings.height
        asked.append((at.size, z["ridge"]["id0"], rows))
        return {"id0": at.size + z["ridge"]["id0"] + 1000.0 * rows}

    held = {True: 0, False: 2}
    monkeypatch.setattr(targets, "market", market)
    monkeypatch.setattr(targets, "solve", solve)

    def supplied(run: Snapshot) -> targets.Supplied:
        return targets.Supplied(pl.DataFrame({"units": [1.0] * held[run is a]}), pl.DataFrame())

    monkeypatch.setattr(targets, "supplied", supplied)
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


def test_a_decision_is_made_again_from_all_that_the_run_gave_it(
    monkeypatch: pytest.MonkeyPatch, root: SmallRoot
) -> None:
    """Prices with volumes, scores that a mandate bounds, lots, what was said of holdings; and a fundamental
    risk model of a date without a stored one from scores and sectors."""
    from wealthos_pipeline.portfolio import live, risk

    run = Snapshot(root.lake, root.runs[-1])
    day = run.manifest.as_of
    context = Context(root.calendar, factors.load(), root.settings.models, root.settings.factors)
    bound = targets.scores_at(run, day).columns[2]
    mandate = Mandate.model_validate(
        {"name": "m", "title": "M", "exposures": [{"factor": bound, "max_exposure": 1.0}]}
    )
    settings = root.settings.portfolio.model_copy(update={"risk_model": "fundamental"})
    asked: dict[str, object] = {}

    def estimate(prices: pl.DataFrame, *more: object, **given: object) -> dict[date, object]:
        asked.update(given, columns=prices.columns)
        return {}

    def propose(mandate: Mandate, **given: object) -> live.Proposal:
        asked.update(given)
        raise KeyError("enough")

    monkeypatch.setattr(risk, "from_frames", lambda *tables: {})
    monkeypatch.setattr(risk, "estimate", estimate)
    monkeypatch.setattr(live, "propose", propose)
    seen = targets.market(run, day, context, settings, [mandate], [run.read("clean.holdings")])
    scores, instruments = asked["scores"], asked["instruments"]
    assert isinstance(scores, pl.DataFrame)
    assert isinstance(instruments, pl.DataFrame)
    assert bound in scores.columns
    assert "dollar_volume" in asked["columns"]  # type: ignore[operator]
    assert list(seen.scores) == [bound]
    held = targets.Supplied(run.read("clean.holdings"), run.read("clean.lots"), {"m": "old"})
    with pytest.raises(KeyError, match="enough"):
        targets.solve(mandate, seen, {}, 20, held, context, settings)
    assert asked["lots"] is held.lots
    assert asked["scores"] == seen.scores
    assert asked["warning"] == "old"
