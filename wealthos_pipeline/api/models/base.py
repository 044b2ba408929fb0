"""What all answers share."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class Answer(BaseModel):
    """An immutable answer; numbers that are not finite are written as null."""

    model_config = ConfigDict(frozen=True, ser_json_inf_nan="null")


class Page(Answer):
    """One page of a list that is read from one run."""

    run_id: str = Field(description="the run that the page was read from")
    next_cursor: str | None = Field(
        None, description="give this as `cursor` for the next page; null on the last one"
    )
