"""Factors and their values."""

from __future__ import annotations

from collections import defaultdict
from datetime import date
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query

from wealthos_pipeline.api.access import Published
from wealthos_pipeline.api.asof import AsOf, instant, last_session, refused
from wealthos_pipeline.api.models import (
    FactorEntry,
    FactorPage,
    FactorPerformance,
    FactorValue,
    FactorValuePage,
)
from wealthos_pipeline.api.pages import Cursor, Limit, page
from wealthos_pipeline.api.problems import unknown
from wealthos_pipeline.api.store import Reader

router = APIRouter(prefix="/v1", tags=["factors"])

NOT_FAMILIES = (
    "admissions", "clusters", "correlation", "performance", "summary", "values", "values_recent",
)  # fmt: skip


_SUMMED = refused(
    "the performance sums up all dates. By date, with as_of: /v1/data/factors.performance."
)


@router.get("/factors", summary="Every factor and how it did", dependencies=[Depends(_SUMMED)])
def factors(published: Published, limit: Limit = 1000, cursor: Cursor = None) -> FactorPage:
    """Factors by name with their definition in words and their performance."""
    rows, following = page(
        published,
        "SELECT name, title, detail, reason_missing FROM meta.catalog WHERE kind = 'factor'",
        [],
        key=("name",),
        types=("VARCHAR",),
        limit=limit,
        cursor=cursor,
    )
    where = _tables(published)
    performance: dict[str, list[FactorPerformance]] = defaultdict(list)
    if "factors.summary" in published.tables():
        for row in published.rows("FROM factors.summary ORDER BY factor, universe, horizon"):
            performance[row.pop("factor")].append(FactorPerformance(**row))
    alike: dict[str, dict[str, Any]] = {}
    if "factors.clusters" in published.tables():
        columns = "cluster, nearest, nearest_correlation, marginal_ic, t_marginal"
        for row in published.rows(f"SELECT factor, {columns} FROM factors.clusters"):
            alike[row.pop("factor")] = row
    return FactorPage(
        run_id=published.run.run_id,
        next_cursor=following,
        items=tuple(
            FactorEntry(
                **row,
                table=where.get(row["name"]),
                performance=tuple(performance[row["name"]]),
                **alike.get(row["name"], {}),
            )
            for row in rows
        ),
    )


@router.get("/factors/{name}", summary="Values of one factor")
def factor_values(
    name: str,
    published: Published,
    start: Annotated[date | None, Query(description="first session")] = None,
    end: Annotated[date | None, Query(description="last session")] = None,
    symbol: Annotated[str | None, Query(description="one symbol only")] = None,
    as_of: AsOf = None,
    limit: Limit = 1000,
    cursor: Cursor = None,
) -> FactorValuePage:
    """Values by date and instrument, null where they cannot be computed.

    With `as_of`: today's values for the sessions known then. A bar that was corrected since is in them.
    """
    known = last_session(published, instant(as_of))
    where = _tables(published)
    if name not in where:
        listed = published.column("SELECT name FROM meta.catalog WHERE kind = 'factor'")
        raise unknown("factor", name, [*where, *listed], "/v1/factors")
    if symbol is not None:
        symbols = published.column("SELECT DISTINCT symbol FROM clean.instruments")
        if symbol not in symbols:
            raise unknown("symbol", symbol, symbols, "/v1/factors/{name} without symbol")
    schema, table = where[name].split(".", 1)
    rows, following = page(
        published,
        f"""
        SELECT v.date, v.instrument_id, i.symbol, v.{_quoted(name)} AS value
        FROM {_quoted(schema)}.{_quoted(table)} v
        LEFT JOIN (
            SELECT instrument_id, arg_max(symbol, valid_from) AS symbol
            FROM clean.instruments GROUP BY instrument_id
        ) i USING (instrument_id)
        WHERE v.date >= coalesce(?, DATE '0001-01-01') AND v.date <= coalesce(?, DATE '9999-12-31')
          AND v.date <= coalesce(?, DATE '9999-12-31')
          AND (CAST(? AS VARCHAR) IS NULL OR i.symbol = ?)
        """,
        [start, end, known, symbol, symbol],
        key=("date", "instrument_id"),
        types=("DATE", "VARCHAR"),
        limit=limit,
        cursor=cursor,
    )
    return FactorValuePage(
        run_id=published.run.run_id,
        factor=name,
        next_cursor=following,
        items=tuple(FactorValue(**row) for row in rows),
    )


def _tables(reader: Reader) -> dict[str, str]:
    """Factor → table with its values, from the warehouse itself."""
    rows = reader.rows(
        "SELECT column_name, min(table_schema || '.' || table_name) AS place "
        "FROM information_schema.columns "
        "WHERE table_schema = 'factors' AND column_name NOT IN ('date', 'instrument_id') "
        f"AND table_name NOT IN {NOT_FAMILIES} AND table_name NOT LIKE 'scores_%' "
        "GROUP BY column_name"
    )
    return {row["column_name"]: row["place"] for row in rows}


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
