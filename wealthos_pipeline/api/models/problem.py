"""Problem documents (RFC 9457)."""

from __future__ import annotations

from pydantic import Field

from wealthos_pipeline.api.models.base import Answer


class Fault(Answer):
    """One parameter that cannot be used."""

    where: str
    message: str
    found: str


class Problem(Answer):
    """Why a request could not be answered, and what to do next."""

    type: str = Field("about:blank", description="names the kind of problem")
    title: str
    status: int
    detail: str
    instance: str | None = Field(None, description="the path that was asked for")
    close_matches: tuple[str, ...] = Field((), description="names that resemble an unknown one")
    errors: tuple[Fault, ...] = Field((), description="every parameter that is wrong")
