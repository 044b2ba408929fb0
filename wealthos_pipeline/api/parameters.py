"""No parameter is ignored: a misspelt filter would give all rows for those that were asked for."""

from __future__ import annotations

from typing import Any

from fastapi import Request

from wealthos_pipeline.api.problems import ProblemError
from wealthos_pipeline.utils.names import close


def known(request: Request) -> None:
    """ProblemError (422) for a name in the query that the route does not have."""
    have = _names(request.scope["route"].dependant)
    for name in request.query_params:
        if name in have:
            continue
        near = close(name, have)
        like = f" Did you mean {', '.join(near)}?" if near else ""
        there = ", ".join(sorted(have)) or "none"
        raise ProblemError(
            422,
            "A parameter cannot be used",
            f"There is no parameter {name!r} here.{like} There are: {there}.",
            kind="urn:wealthos:problem:parameters",
            close_matches=near,
        )


def _names(dependant: Any) -> set[str]:
    """Names of the query's parameters of a route, those of its dependencies too."""
    own = {p.alias for p in dependant.query_params}
    return own.union(*(_names(d) for d in dependant.dependencies))
