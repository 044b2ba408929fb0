"""Days on which all that changed is what a person decided."""

from __future__ import annotations

from datetime import date

from assets._shared.resources import Session
from assets._shared.work import Work


def decided_later(session: Session, dirty: date | None) -> date | None:
    """The last session, where what differs is dated after it: a person's word on models (``raw.model_decisions``)
    that was given when that session had closed. What is live on it follows the word."""
    if dirty is None or dirty == date.min:
        return None
    end = Work(session, None).end
    return end if end < dirty else None
