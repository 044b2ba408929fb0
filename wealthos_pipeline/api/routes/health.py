"""Alive and ready."""

from __future__ import annotations

from fastapi import APIRouter

from wealthos_pipeline.api.access import Published
from wealthos_pipeline.api.models import Alive, Ready

router = APIRouter(tags=["health"])


@router.get("/livez", summary="Does the process answer?")
def livez() -> Alive:
    """Always 200 while the process runs."""
    return Alive()


@router.get("/readyz", summary="Is a run published?")
def readyz(published: Published) -> Ready:
    """200 with the run's identity, 503 until a run has been published."""
    run = published.run
    return Ready(run_id=run.run_id, as_of=run.as_of, source=run.source, finished_at=run.finished_at)
