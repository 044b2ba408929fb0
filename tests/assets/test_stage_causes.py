"""What ``wealthos diff`` takes for a cause of scores: exactly the stages that scores come from."""

from __future__ import annotations

from pipeline import needed, stages

from wealthos_pipeline import factors
from wealthos_pipeline.factors import transforms
from wealthos_pipeline.reporting.diff import predictions


def test_stages_after_the_scores_are_no_cause_of_them() -> None:
    library = factors.load()
    every = stages(library)
    sources = {s.name for s in needed(every, list(transforms.score_tables(library)))}
    assert "prices" in sources
    assert sources & predictions._AFTER == set()
    later = {"factors", "models", "portfolio", "monitor"}
    after = {s.name for s in every if s.group in later} - sources
    unnamed = {n for n in after if not n.startswith(("factors.", "scores"))} - predictions._AFTER
    assert unnamed == set()
