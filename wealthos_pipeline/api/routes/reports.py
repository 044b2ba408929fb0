"""The morning's page."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Request
from fastapi.responses import HTMLResponse, Response

from wealthos_pipeline.api.access import matches
from wealthos_pipeline.api.asof import refused
from wealthos_pipeline.api.problems import ProblemError, unknown
from wealthos_pipeline.api.store import RunInfo, Store
from wealthos_pipeline.utils.places import latest_report

router = APIRouter(prefix="/v1", tags=["reports"])

PAGE_POLICY = (
    "default-src 'none'; img-src 'self' data:; style-src 'unsafe-inline'; frame-ancestors 'none'"
)
"""The report is styled inline and carries its own pictures; it runs no scripts."""


_NOW = refused("this is the latest page. `wealthos report --as-of DAY` makes one of the past.")


@router.get(
    "/reports/latest",
    response_class=HTMLResponse,
    summary="The report of the published run",
    dependencies=[Depends(_NOW)],
)
def latest(request: Request, if_none_match: Annotated[str | None, Header()] = None) -> Response:
    """The page as it was written, in HTML."""
    run, path = _published(request)
    body = path.read_bytes()
    headers = _headers(run.run_id, body) | {"Content-Security-Policy": PAGE_POLICY}
    if matches(if_none_match, headers["ETag"]):
        return Response(status_code=304, headers=headers)
    return HTMLResponse(body, headers=headers)


@router.get("/reports/charts/{name}", response_class=Response, summary="A picture of the report")
def chart(
    name: str, request: Request, if_none_match: Annotated[str | None, Header()] = None
) -> Response:
    """One of the PNG files that the report shows."""
    run, path = _published(request)
    charts = {p.name: p for p in (path.parent / "charts").glob("*.png")}
    if name not in charts:
        raise unknown("chart", name, charts, "/v1/reports/latest")
    body = charts[name].read_bytes()
    headers = _headers(run.run_id, body)
    if matches(if_none_match, headers["ETag"]):
        return Response(status_code=304, headers=headers)
    return Response(body, media_type="image/png", headers=headers)


def _published(request: Request) -> tuple[RunInfo, Path]:
    """The published run and its report's file; 404 where the run has no report."""
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
    return run, path


def _headers(run_id: str, body: bytes) -> dict[str, str]:
    return {
        "ETag": f'"{hashlib.blake2b(body, digest_size=12).hexdigest()}"',
        "X-Run-Id": run_id,
        "Cache-Control": "private, no-cache",
    }
