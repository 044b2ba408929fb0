"""``kill -9`` in the middle of ingestion and cleaning (500 times: ``make soak``)."""

from __future__ import annotations

from pathlib import Path

from soak import soak


def test_killed_twenty_times_nothing_is_wrong_or_lost(tmp_path: Path) -> None:
    """Five days, up to four kills each; on the last the vendor corrects a bar."""
    outcome = soak(20, tmp_path, walk=5, a_day=4, seed=3)
    assert outcome.kills == 20
    assert outcome.landed >= 10
    assert outcome.days >= 5
    assert outcome.twice >= 1
