"""Whether the service is alive, and whether it has something to serve."""

from __future__ import annotations

from datetime import date, datetime
from typing import Literal

from wealthos_pipeline.api.models.base import Answer


class Alive(Answer):
    """The process answers."""

    status: Literal["alive"] = "alive"


class Ready(Answer):
    """A run is published and its warehouse opens."""

    status: Literal["ready"] = "ready"
    run_id: str
    as_of: date
    source: str
    finished_at: datetime
