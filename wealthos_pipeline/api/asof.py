"""The parameter ``as_of`` of every read: what was known then, or a refusal in words."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import date, datetime
from typing import Annotated

from fastapi import Query

from wealthos_pipeline.api.problems import ProblemError
from wealthos_pipeline.api.store import Reader
from wealthos_pipeline.core.errors import ConfigError

AsOf = Annotated[
    str | None,
    Query(
        description="only what could have been known then: a date (its midnight, UTC) or an instant "
        "with a time zone, ISO 8601"
    ),
]

NoAsOf = Annotated[str | None, Query(description="cannot be given here: 422 says where it can be")]


def parameter(error: Exception) -> ProblemError:
    """422 with the words of an error about what was asked."""
    return ProblemError(
        422,
        "A parameter cannot be used",
        str(error),
        kind="urn:wealthos:problem:parameters",
    )


def instant(as_of: str | None) -> datetime | None:
    """``as_of`` in UTC; 422 where it is none. A plus sign that came as a space is one."""
    from wealthos_pipeline.data import access

    if as_of is None:
        return None
    try:
        return access.instant(re.sub(r"(T[\d:.]+) (\d\d:?\d\d)$", r"\1+\2", as_of))
    except ConfigError as error:
        raise parameter(error) from None


def last_session(reader: Reader, at: datetime | None) -> date | None:
    """The last session whose bar could have been known at ``at``, by the run's own calendar."""
    from wealthos_pipeline.data import access

    if at is None:
        return None
    (config,) = reader.column("SELECT config FROM meta.runs WHERE run_id = ?", [reader.run.run_id])
    return access.clock(json.loads(config)).last_known(at)


def refused(words: str) -> Callable[[str | None], None]:
    """A dependency for reads that cannot be made as of an instant: 422 with ``words``."""

    def check(as_of: NoAsOf = None) -> None:
        if as_of is not None:
            raise parameter(ConfigError(f"as_of cannot be given here: {words}"))

    return check
