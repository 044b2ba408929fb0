"""The page on mandates that cannot be met says what the program says."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from wealthos_pipeline.portfolio import diagnosis

DOCS = Path(__file__).resolve().parents[2] / "docs"


@pytest.fixture(scope="module")
def infeasible() -> ModuleType:
    spec = importlib.util.spec_from_file_location("infeasible", DOCS / "infeasible.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_what_the_program_answers(infeasible: ModuleType) -> None:
    assert infeasible.PAGE.read_text(encoding="utf-8") == infeasible.page(), (
        "docs/portfolio/infeasible.md is out of date; run `python docs/infeasible.py`"
    )


def test_the_three_mandates_cannot_be_met(infeasible: ModuleType) -> None:
    found = {p: (diagnosis.conflict(p), solution) for *_, p, solution in infeasible.answers()}
    assert len(found) == 3
    for conflict, solution in found.values():
        assert conflict is not None
        assert solution.status in ("infeasible", "softened")
        assert len(solution.conflicts) >= 2
