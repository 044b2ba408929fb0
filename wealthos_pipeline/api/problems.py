"""Errors as ``application/problem+json`` (RFC 9457): what happened, and what to do next."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from http import HTTPStatus

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from wealthos_pipeline.api.access import NotModified
from wealthos_pipeline.api.models import Fault, Problem
from wealthos_pipeline.core.errors import NoManifestError, WealthOSError
from wealthos_pipeline.utils.logging import get_logger
from wealthos_pipeline.utils.names import close

MEDIA_TYPE = "application/problem+json"
_log = get_logger("api")


class ProblemError(Exception):
    """Ends a request with a problem document."""

    def __init__(
        self,
        status: int,
        title: str,
        detail: str,
        *,
        kind: str = "about:blank",
        close_matches: Sequence[str] = (),
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.headers = headers or {}
        self.problem = Problem(
            type=kind, title=title, status=status, detail=detail, close_matches=tuple(close_matches)
        )


def unknown(kind: str, name: str, known: Iterable[str], listed_at: str) -> ProblemError:
    """404 with the names that come close and where all of them are listed."""
    near = close(name, known)
    like = f" Did you mean {', '.join(near)}?" if near else ""
    return ProblemError(
        404,
        f"Unknown {kind}",
        f"There is no {kind} called {name!r}.{like} {listed_at} lists them.",
        kind=f"urn:wealthos:problem:unknown-{kind}",
        close_matches=near,
    )


def install(app: FastAPI) -> None:
    """Give every error of ``app`` its problem document."""
    app.add_exception_handler(ProblemError, _problem)
    app.add_exception_handler(NotModified, _not_modified)
    app.add_exception_handler(WealthOSError, _library)
    app.add_exception_handler(RequestValidationError, _validation)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _unexpected)


def respond(request: Request, problem: Problem, headers: dict[str, str] | None = None) -> Response:
    """The response for ``problem``."""
    body = problem.model_copy(update={"instance": request.url.path})
    return Response(
        body.model_dump_json(exclude_none=True, exclude_defaults=False),
        status_code=problem.status,
        media_type=MEDIA_TYPE,
        headers={"Cache-Control": "no-store"} | (headers or {}),
    )


def _problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, ProblemError)
    return respond(request, error.problem, error.headers)


def _not_modified(request: Request, error: Exception) -> Response:
    assert isinstance(error, NotModified)
    return Response(status_code=304, headers=error.headers)


def _library(request: Request, error: Exception) -> Response:
    if isinstance(error, NoManifestError):
        problem = Problem(
            type="urn:wealthos:problem:nothing-published",
            title="Nothing published yet",
            status=503,
            detail=str(error),
        )
        return respond(request, problem, {"Retry-After": "60"})
    _log.error("request failed: %s", error)
    return respond(
        request,
        Problem(title="The warehouse cannot be read", status=500, detail=str(error)),
    )


def _validation(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    faults = tuple(
        Fault(where=".".join(map(str, e["loc"])), message=str(e["msg"]), found=str(e.get("input")))
        for e in error.errors()
    )
    named = "; ".join(f"{f.where}: {f.message}" for f in faults)
    return respond(
        request,
        Problem(
            type="urn:wealthos:problem:parameters",
            title="A parameter cannot be used",
            status=422,
            detail=f"{named}. /openapi.json describes every parameter.",
            errors=faults,
        ),
    )


def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    title = HTTPStatus(error.status_code).phrase
    detail = str(error.detail)
    if error.status_code == 404:
        detail = f"There is nothing at {request.url.path}. /openapi.json lists what there is."
    if error.status_code == 405:
        detail = f"{request.method} is not offered here: this service only reads. Use GET."
    problem = Problem(title=title, status=error.status_code, detail=detail)
    return respond(request, problem, dict(error.headers or {}))


def _unexpected(request: Request, error: Exception) -> Response:
    _log.log(logging.ERROR, "unexpected error", exc_info=error)
    return respond(
        request,
        Problem(
            title="Unexpected error",
            status=500,
            detail="Something unexpected happened; the log of the service has the details.",
        ),
    )
