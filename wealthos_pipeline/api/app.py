"""The application factory."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any

from fastapi import Depends, FastAPI

from wealthos_pipeline.api import parameters, problems
from wealthos_pipeline.api.middleware import LoopbackOnly, SecurityHeaders
from wealthos_pipeline.api.models import Problem
from wealthos_pipeline.api.routes import catalog, data, factors, health, portfolio, reports
from wealthos_pipeline.api.store import Store
from wealthos_pipeline.utils.config import Settings

_DESCRIPTION = """\
Research results of WealthOS Pipeline, read from the last published run.

Every answer names its run in `X-Run-Id` and carries an `ETag`; ask again with `If-None-Match` and
get 304 until a newer run is published. `as_of` asks for what could have been known at an instant. Long lists come in pages: follow `next_cursor`. Errors are
`application/problem+json` (RFC 9457) and say what to do next. Returns are simple and decimal,
weights are fractions of net asset value, instants are UTC.
"""


def create_app(settings: Settings) -> FastAPI:
    """The service over the warehouse of ``settings.root``. Opens nothing until it is asked."""
    store = Store(settings.root)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        store.close()

    app = FastAPI(
        title="WealthOS Pipeline",
        version=version("wealthos-pipeline"),
        description=_DESCRIPTION,
        docs_url=None,  # the stock pages load scripts from elsewhere; /openapi.json is complete
        redoc_url=None,
        lifespan=lifespan,
        responses=_problem_responses(),
    )
    app.state.store = store
    app.state.settings = settings
    for part in (health, catalog, data, factors, portfolio, reports):
        app.include_router(part.router, dependencies=[Depends(parameters.known)])
    problems.install(app)
    _describe_problems(app)
    app.add_middleware(LoopbackOnly)
    app.add_middleware(SecurityHeaders)
    return app


def _problem_responses() -> dict[int | str, dict[str, Any]]:
    said = {
        404: "There is no such thing; `close_matches` lists names that resemble it.",
        422: "A parameter cannot be used; `errors` says which.",
        503: "Nothing has been published yet.",
    }
    return {code: {"model": Problem, "description": words} for code, words in said.items()}


def _describe_problems(app: FastAPI) -> None:
    """Say in the description that errors are problem documents; FastAPI takes all for plain JSON."""
    described = app.openapi

    def openapi() -> dict[str, Any]:
        body = described()
        for path in body["paths"].values():
            for operation in path.values():
                for code, answer in operation["responses"].items():
                    if code >= "400":
                        schema = {"$ref": "#/components/schemas/Problem"}
                        answer["content"] = {problems.MEDIA_TYPE: {"schema": schema}}
        return body

    app.openapi = openapi  # type: ignore[method-assign]
