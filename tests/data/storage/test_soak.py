"""``kill -9`` in the middle of ingestion and cleaning (500 times: ``make soak``)."""

from __future__ import annotations

from pathlib import Path

from soak import soak


def test_killed_thirty_times_nothing_is_wrong_or_lost(tmp_path: Path) -> None:
    """Five days, up to six kills each; on the last the vendor corrects a bar."""
    outcome = soak(30, tmp_path, walk=5, a_day=6, seed=3)
    assert outcome.kills == 30
    assert outcome.landed >= 15
    assert outcome.days >= 5
    assert outcome.twice >= 1
