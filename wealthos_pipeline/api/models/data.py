"""Rows of any table."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import Field

from wealthos_pipeline.api.models.base import Answer, Page


class DataColumn(Answer):
    """A column of the answer."""

    name: str
    type: str = Field(description="text, date, instant (UTC), double, float, int64, int32 or bool")
    unit: str
    doc: str


class DataPage(Page):
    """Rows in the order of the table's contract; keys of an item are the columns' names."""

    table: str
    as_of: datetime | None = Field(description="the instant that was asked for")
    columns: tuple[DataColumn, ...]
    items: tuple[dict[str, Any], ...]
