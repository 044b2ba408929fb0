"""``kill -9`` in the middle of ingestion and cleaning (500 times: ``make soak``)."""

from __future__ import annotations

from pathlib import Path

from soak import soak


def test_killed_ten_times_nothing_is_wrong_or_lost(tmp_path: Path) -> None:
    """Four days, up to three kills each; on the last the vendor corrects a bar."""
    outcome = soak(10, tmp_path, walk=4, a_day=3, seed=3)
    assert outcome.kills == 10
    assert outcome.landed >= 5
    assert outcome.days >= 4
    assert outcome.twice >= 1
