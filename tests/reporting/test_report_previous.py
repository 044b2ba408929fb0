"""Which run a page is compared with."""

from __future__ import annotations

from datetime import date
from types import SimpleNamespace

import pytest

from wealthos_pipeline.data.storage import manifest
from wealthos_pipeline.reporting import causes


def _run(name: str, day: int) -> SimpleNamespace:
    return SimpleNamespace(run_id=name, as_of=date(2024, 1, day))


@pytest.mark.parametrize(
    ("runs", "compared"),
    [
        ([("a", 2), ("b", 3)], "a"),
        ([("a", 2), ("b", 3), ("c", 3), ("d", 3)], "a"),  # repeated: still against yesterday
        ([("a", 3), ("b", 3)], "a"),  # no earlier session: the run before
        ([("a", 2), ("b", 3), ("later", 4)], None),
        ([("a", 3)], None),
    ],
)
def test_a_page_is_compared_with_the_session_before(
    runs: list[tuple[str, int]], compared: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = [_run(*r) for r in runs]
    monkeypatch.setattr(manifest, "history", lambda lake: made)
    mine = made[0] if compared is None else made[-1]
    before = causes.previous(SimpleNamespace(lake=None, manifest=mine))  # type: ignore[arg-type]
    assert (before and before.run_id) == compared
