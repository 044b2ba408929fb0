"""The catalog: every table, column, factor, model, source and bias in words."""

from __future__ import annotations

from pydantic import Field

from wealthos_pipeline.api.models.base import Answer, Page


class CatalogEntry(Answer):
    """One thing and what it means."""

    kind: str = Field(description="table, column, factor, model, source or bias")
    name: str = Field(description="unique within its kind")
    title: str
    detail: str | None = Field(None, description="unit, formula, reference, licence")
    reason_missing: str | None = Field(None, description="why values are null, where they are")


class CatalogPage(Page):
    """Entries in the order of kind and name."""

    items: tuple[CatalogEntry, ...]
