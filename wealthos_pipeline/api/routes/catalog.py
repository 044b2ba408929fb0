"""What everything is, in words."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query

from wealthos_pipeline.api.access import Published
from wealthos_pipeline.api.asof import refused
from wealthos_pipeline.api.models import CatalogEntry, CatalogPage
from wealthos_pipeline.api.pages import Cursor, Limit, page
from wealthos_pipeline.api.problems import unknown

router = APIRouter(prefix="/v1", tags=["catalog"])


_NOW = refused("the catalog describes the published run. Rows of a past instant: /v1/data/{table}.")


@router.get(
    "/catalog",
    summary="Tables, columns, factors, models, sources and biases",
    dependencies=[Depends(_NOW)],
)
def catalog(
    published: Published,
    kind: Annotated[str | None, Query(description="one kind only")] = None,
    limit: Limit = 1000,
    cursor: Cursor = None,
) -> CatalogPage:
    """Every entry of the catalog in the order of kind and name."""
    if kind is not None:
        kinds = published.column("SELECT DISTINCT kind FROM meta.catalog")
        if kind not in kinds:
            raise unknown("kind", kind, kinds, "/v1/catalog")
    rows, following = page(
        published,
        "SELECT kind, name, title, detail, reason_missing FROM meta.catalog "
        "WHERE kind = coalesce(?, kind)",
        [kind],
        key=("kind", "name"),
        types=("VARCHAR", "VARCHAR"),
        limit=limit,
        cursor=cursor,
    )
    return CatalogPage(
        run_id=published.run.run_id,
        next_cursor=following,
        items=tuple(CatalogEntry(**row) for row in rows),
    )
