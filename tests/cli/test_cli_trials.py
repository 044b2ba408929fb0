"""Commands count what they try, once, and never fail for it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from wealthos_pipeline.cli.trials import count
from wealthos_pipeline.core.asset import AssetClass
from wealthos_pipeline.core.factor import Factor
from wealthos_pipeline.data.storage.lake import Lake
from wealthos_pipeline.data.storage.lock import lock
from wealthos_pipeline.ml import trials


def test_a_trial_is_counted_once_and_a_root_in_use_does_not_hide_the_result(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run: Any = SimpleNamespace(lake=Lake(tmp_path), manifest=SimpleNamespace(run_id="run"))

    def rows(expression: str) -> Any:
        typed = Factor("typed", AssetClass.EQUITY, "typed", 1, "", "", expression=expression)
        return trials.of_factors([typed])

    assert count(run, rows("$close / $open")) == 1
    assert count(run, rows("$close/$open")) == 0
    with lock(tmp_path, "a run"):
        assert count(run, rows("$close / $open")) == 0
        assert capfd.readouterr().err == ""
        assert count(run, rows("$high")) == 0
    assert "not counted in record.trials" in capfd.readouterr().err.replace("\n", " ")
    assert count(run, rows("$high")) == 1
    assert run.lake.read("raw.trials")["run_id"].to_list() == ["run", "run"]
    run.lake.append("record.trials", trials.new([rows("$low")], [], run_id="x", now=_now()))
    assert count(run, rows("$low")) == 0


def _now() -> Any:
    from datetime import UTC, datetime

    return datetime(2030, 1, 2, tzinfo=UTC)
