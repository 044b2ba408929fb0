"""The page's comparison with the run before: what it says, and that it never blocks the page."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

import pytest
import small_root
from small_root import SmallRoot

from wealthos_pipeline import factors
from wealthos_pipeline.core.errors import StorageError
from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.data.storage.manifest import Snapshot
from wealthos_pipeline.reporting import causes, diff, page
from wealthos_pipeline.reporting.blocks import Table
from wealthos_pipeline.reporting.collecting import collect
from wealthos_pipeline.reporting.report import Causes, Explained, Report


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, calendar: TradingCalendar) -> SmallRoot:
    return small_root.build(tmp_path_factory.mktemp("causes"), calendar, runs=2)


@pytest.fixture(scope="module")
def library() -> factors.Library:
    return factors.load()


def told(root: SmallRoot, library: factors.Library, number: int) -> Causes | None:
    return causes.explain(
        Snapshot(root.lake, root.runs[number]),
        settings=root.settings,
        calendar=root.calendar,
        library=library,
        mandates=(),
    )


def paged(root: SmallRoot, info: Any, found: Causes | None) -> Report:
    run = root.runs[-1]
    return collect(
        Snapshot(root.lake, run).read,
        date=run.as_of,
        info=info,
        settings=root.settings,
        run_id=run.run_id,
        calendar=root.calendar,
        causes=found,
        now=run.started_at,
    )


def words(report: Report) -> str:
    first = page.build(report, frozenset()).sections[0]
    assert first.title == "What changed"
    texts = [b.text for b in first.blocks if b.kind == "text"]
    facts = [x.text for b in first.blocks if b.kind == "items" for x in b.items]
    notes = [b.note for b in first.blocks if isinstance(b, Table)]
    return " ".join([*texts, *facts, *notes]).replace("\u00a0", " ")


def test_the_page_says_what_the_command_finds(
    root: SmallRoot, library: factors.Library, source_info: Any
) -> None:
    found = told(root, library, 1)
    assert found is not None
    assert found.why == ""
    direct = diff.compare(
        root.lake, *root.runs, settings=root.settings, calendar=root.calendar, library=library
    )
    shown = {(m.kind, m.owner, m.instrument): m for m in found.moves}
    rows = {(m.kind, m.owner, m.instrument_id): m for m in direct.moves}
    assert {k[0] for k in shown} == {"prediction", "target"}
    for key, m in shown.items():
        assert dict(m.parts) == dict(rows[key].parts)
        assert m.residual == rows[key].residual
        assert sum(v for _, v in m.parts) + m.residual == pytest.approx(m.change, abs=1e-12)
    for kind, worst in (found.residual or {}).items():
        assert worst == max(abs(m.residual) for m in direct.moves if m.kind == kind)
    said = words(paged(root, source_info, found))
    assert "6 new bars on 1 new session" in said
    assert "1 restated bar (BAC)" in said
    assert "Configuration: no key changed." in said
    assert "ridge refitted" in said
    assert "as of " + str(root.runs[0].as_of) in said


def test_causes_stand_beside_their_numbers(root: SmallRoot, source_info: Any) -> None:
    parts = (("code or configuration", 0.0), ("new bars", 0.02), ("model", -0.005))
    move = Explained("target", "balanced", "id2", 0.10, 0.1163, parts, 0.0013)
    found = Causes("the run before", moves=(move,), turnover={}, residual={"target": 0.0013})
    first = page.build(paged(root, source_info, found), frozenset()).sections[0]
    (table,) = (b for b in first.blocks if isinstance(b, Table))
    labels = [c.label for c in table.columns]
    assert labels == ["Name", "before", "now", "change", "new bars", "refit", "residual"]
    cells = [c.text for c in table.rows[0]]
    assert cells == ["BAC", "10.00", "11.63", "+1.63", "+2.00", "−0.50", "+0.13"]
    assert table.rows[0][-1].tone == "warning"
    assert "at most 0.13 percentage points are left unexplained" in words(
        paged(root, source_info, found)
    )


def test_nothing_that_moved_is_said(root: SmallRoot, source_info: Any) -> None:
    said = words(paged(root, source_info, Causes("the run before", facts=("Prices: 0 new bars.",))))
    assert "No target weight moved by 0.05 % of net asset value or more." in said
    assert "No prediction moved by 0.005 standard deviations or more." in said


def test_a_first_run_has_nothing_to_compare_with(root: SmallRoot, library: factors.Library) -> None:
    assert told(root, library, 0) is None


def test_a_run_that_could_not_differ_is_not_compared(
    root: SmallRoot, library: factors.Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = root.runs
    again = replace(b, run_id="run-2")
    assert causes.same(b, again)
    assert not causes.same(a, b)
    assert not causes.same(b, replace(again, config_hash="other"))
    assert not causes.same(b, replace(again, code_version="other"))
    meta = {**b.tables, "meta.checks": 99, "record.issued": 99}
    assert causes.same(b, replace(again, tables=meta))
    monkeypatch.setattr(causes, "previous", lambda snapshot: again)
    found = told(root, library, 1)
    assert found is not None
    assert found.same
    assert found.moves == ()
    assert "nothing could change" in found.facts[0]


def test_a_comparison_that_fails_says_why_and_leaves_the_page(
    root: SmallRoot,
    library: factors.Library,
    source_info: Any,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def expired(*_: object, **__: object) -> None:
        raise StorageError("version 3 of clean.prices is not kept any more")

    monkeypatch.setattr(diff, "compare", expired)
    with caplog.at_level(logging.ERROR):
        found = told(root, library, 1)
    assert found is not None
    assert "not kept any more" in found.why
    assert "comparison with run run-0 failed" in caplog.text
    said = words(paged(root, source_info, found))
    assert "could not be made" in said
    assert "version 3 of clean.prices is not kept any more" in said


def test_settings_that_changed_are_named(root: SmallRoot, library: factors.Library) -> None:
    a, b = root.runs
    other = {**b.config, "models": {**b.config["models"], "horizon": 5}}
    changed = replace(b, config=other, config_hash="other", code_version="0.2")
    found = diff.compare(
        root.lake, a, changed, settings=root.settings, calendar=root.calendar, library=library
    )
    said = " ".join(causes.facts(found, {}))
    assert "Configuration: models.horizon 20 → 5." in said
    assert f"Code: {a.code_version} → 0.2; no stage changed." in said
