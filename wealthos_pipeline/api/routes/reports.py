"""The morning's page."""

from __future__ import annotations

import hashlib
from typing import Annotated

from fastapi import APIRouter, Header, Request
from fastapi.responses import HTMLResponse, Response

from wealthos_pipeline.api.access import matches
from wealthos_pipeline.api.problems import ProblemError
from wealthos_pipeline.api.store import Store
from wealthos_pipeline.utils.places import latest_report

router = APIRouter(prefix="/v1", tags=["reports"])

PAGE_POLICY = (
    "default-src 'none'; img-src 'self' data:; style-src 'unsafe-inline'; frame-ancestors 'none'"
)
"""The report is styled inline and carries its own pictures; it runs no scripts."""


@router.get(
    "/reports/latest", response_class=HTMLResponse, summary="The report of the published run"
)
def latest(request: Request, if_none_match: Annotated[str | None, Header()] = None) -> Response:
    """The page as it was written, in HTML."""
    store: Store = request.app.state.store
    with store.reader() as reader:
        run = reader.run
    path = latest_report(request.app.state.settings.reports, run.as_of)
    if path is None:
        raise ProblemError(
            404,
            "No report",
            f"the published run {run.run_id} has no report for {run.as_of}. "
            "Make it with `wealthos run --job report`.",
            kind="urn:wealthos:problem:no-report",
        )
    body = path.read_bytes()
    headers = {
        "ETag": f'"{hashlib.blake2b(body, digest_size=12).hexdigest()}"',
        "X-Run-Id": run.run_id,
        "Cache-Control": "private, no-cache",
        "Content-Security-Policy": PAGE_POLICY,
    }
    if matches(if_none_match, headers["ETag"]):
        return Response(status_code=304, headers=headers)
    return HTMLResponse(body, headers=headers)
