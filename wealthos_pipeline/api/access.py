"""What every route asks for: a reader of the published run, with the headers that go with it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from fastapi import Depends, Header, Request, Response

from wealthos_pipeline.api.store import Reader


class NotModified(Exception):  # noqa: N818 - it is an answer, not an error
    """The caller's copy is still that of the published run."""

    def __init__(self, headers: dict[str, str]) -> None:
        super().__init__("not modified")
        self.headers = headers


def run_headers(run_id: str, version: str) -> dict[str, str]:
    """Headers that name the run; the same URL gives the same bytes as long as the tag is equal."""
    return {
        "ETag": f'"{run_id}.{version}"',
        "X-Run-Id": run_id,
        "Cache-Control": "private, no-cache",
    }


def matches(header: str | None, etag: str) -> bool:
    """Whether ``If-None-Match`` names ``etag`` (weak comparison, ``*`` names every one)."""
    if header is None:
        return False
    tags = [t.strip().removeprefix("W/") for t in header.split(",")]
    return etag in tags or "*" in tags


def published(
    request: Request,
    response: Response,
    if_none_match: Annotated[
        str | None, Header(description="ETag of an earlier answer: 304 while it still holds")
    ] = None,
) -> Iterator[Reader]:
    """A reader for the length of one request."""
    with request.app.state.store.reader() as reader:
        headers = run_headers(reader.run.run_id, request.app.version)
        if matches(if_none_match, headers["ETag"]):
            raise NotModified(headers)
        response.headers.update(headers)
        yield reader


Published = Annotated[Reader, Depends(published)]
