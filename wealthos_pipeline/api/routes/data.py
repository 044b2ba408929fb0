"""Any table of the published run: the same frame as ``wealthos_pipeline.load`` and SQL give."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import Annotated

from fastapi import APIRouter, Query

from wealthos_pipeline.api.access import Published
from wealthos_pipeline.api.asof import AsOf, instant, last_session, parameter
from wealthos_pipeline.api.models import DataColumn, DataPage
from wealthos_pipeline.api.pages import Cursor, Limit, page
from wealthos_pipeline.api.problems import unknown
from wealthos_pipeline.api.store import Reader
from wealthos_pipeline.core import data as declared
from wealthos_pipeline.core.data import TableContract
from wealthos_pipeline.core.errors import ConfigError, ContractError

router = APIRouter(prefix="/v1", tags=["data"])

WORDS = {
    "str": "text",
    "date": "date",
    "instant": "instant",
    "f64": "double",
    "f32": "float",
    "i64": "int64",
    "i32": "int32",
    "bool": "bool",
}
_HIDDEN = ("meta.warehouse",)
"""How the file was built: of use to its builder only."""


@router.get("/data/{table}", summary="Rows of a table, as known at an instant")
def data(
    table: str,
    published: Published,
    as_of: AsOf = None,
    universe: Annotated[
        str | None, Query(description="only its members at the date of each row")
    ] = None,
    start: Annotated[date | None, Query(description="first date")] = None,
    end: Annotated[date | None, Query(description="last date")] = None,
    symbol: Annotated[
        list[str] | None,
        Query(description="instruments that ever had this symbol; repeat for more"),
    ] = None,
    columns: Annotated[
        list[str] | None, Query(description="names, separated by commas; all if left out")
    ] = None,
    limit: Limit = 1000,
    cursor: Cursor = None,
) -> DataPage:
    """``table`` is a full name (`clean.prices`) or a short one (`prices`: of `clean` first).

    Where a table keeps its versions as rows (fundamentals, macro, earnings) `as_of` gives the last one
    of each value, and without it all of them come. Numbers that are not finite are null.
    """
    from wealthos_pipeline.data import access

    contract = _contract(published, table)
    at = instant(as_of)
    try:
        access.refuse(contract, as_of=at, universe=universe, symbols=symbol or None)
        wanted = [c.strip() for names in columns or () for c in names.split(",") if c.strip()]
        shown = [contract.column(c) for c in wanted] or list(contract.columns)
        if (start is not None or end is not None) and contract.date_column is None:
            raise ConfigError(f"{contract.name} has no date column: leave out start and end.")
    except (ConfigError, ContractError) as error:
        raise parameter(error) from None
    relation, values = _relation(
        published, contract, at, universe, start, end, tuple(dict.fromkeys(symbol or ()))
    )
    key = [*contract.sort_columns, *(k for k in contract.key if k not in contract.sort_columns)]
    rows, following = page(
        published,
        relation,
        values,
        key=key,
        types=[_sql_type(contract, k) for k in key],
        limit=limit,
        cursor=cursor,
    )
    return DataPage(
        run_id=published.run.run_id,
        table=contract.name,
        as_of=at,
        columns=tuple(
            DataColumn(name=c.name, type=WORDS[c.dtype], unit=c.unit, doc=c.doc) for c in shown
        ),
        next_cursor=following,
        items=tuple({c.name: row[c.name] for c in shown} for row in rows),
    )


def _relation(
    reader: Reader,
    contract: TableContract,
    at: datetime | None,
    universe: str | None,
    start: date | None,
    end: date | None,
    symbols: Sequence[str],
) -> tuple[str, list[object]]:
    """The query and its parameters. What is written into it is ours: names of the contract, an
    instant that was parsed, and a universe that exists."""
    from wealthos_pipeline.data import access
    from wealthos_pipeline.data.storage import warehouse_sql as sql

    then = None if at is None else f"TIMESTAMPTZ {sql.text(at)}"
    relation = (
        f"SELECT {sql.columns(contract, contract.column_names)} FROM {sql.table(contract.name)}"
    )
    if then is not None:
        body = sql.as_of(contract, then)
        if body is None:
            last = last_session(reader, at)
            body = (
                f"{relation} WHERE {sql.name(str(contract.date_column))} <= DATE {sql.text(last)}"
            )
        relation = body
    values: list[object] = []
    if universe is not None:
        own = "universe" in contract.column_names
        home = sql.table(contract.name) if own else "clean.membership"
        every = set(reader.column(f"SELECT DISTINCT universe FROM {home}"))
        every |= set() if own else {access.EVERYBODY}
        if universe not in every:
            raise unknown("universe", universe, every, "/v1/data/membership?columns=universe")
        if own:
            relation = f"SELECT * FROM ({relation}) WHERE universe = {sql.text(universe)}"
        else:
            day = str(contract.date_column)
            relation = sql.members(relation, day, universe=sql.text(universe), t=then)
    where = []
    for mark, value in ((">=", start), ("<=", end)):
        if value is not None:
            where.append(f"{sql.name(str(contract.date_column))} {mark} CAST(? AS DATE)")
            values.append(value)
    if symbols:
        marks = ", ".join("?" * len(symbols))
        by_symbol = "instrument_id" not in contract.column_names
        home = sql.table(contract.name) if by_symbol else "clean.instruments"
        known = reader.column(f"SELECT DISTINCT symbol FROM {home}")
        for name in symbols:
            if name not in known:
                raise unknown("symbol", name, known, "/v1/data/instruments")
        where.append(
            f"symbol IN ({marks})"
            if by_symbol
            else f"instrument_id IN (SELECT instrument_id FROM clean.instruments WHERE symbol IN ({marks}))"
        )
        values += symbols
    if where:
        relation = f"SELECT * FROM ({relation}) WHERE {' AND '.join(where)}"
    return relation, values


def _contract(reader: Reader, name: str) -> TableContract:
    """The contract of a table of the warehouse; 404 with names that come close."""
    from wealthos_pipeline.data import access

    tables = {t for t in reader.tables() if not t.startswith("main.")} - set(_HIDDEN)
    found = access.find(name, tables)
    if found is None:
        short = {t.partition(".")[2] for t in tables}
        raise unknown("table", name, tables | short, "/v1/catalog?kind=table")
    try:
        return declared.contract(found)
    except ContractError:
        return _family(reader, found)


def _family(reader: Reader, name: str) -> TableContract:
    """The contract of a table of factors, as the file has it."""
    schema, _, table = name.partition(".")
    rows = reader.rows(
        "SELECT column_name, comment FROM duckdb_columns() "
        "WHERE schema_name = ? AND table_name = ? ORDER BY column_index",
        [schema, table],
    )
    columns = [
        declared.Column(r["column_name"], "f32", r["comment"] or "", "", True) for r in rows[2:]
    ]
    return declared.wide_contract(name, "", columns)


def _sql_type(contract: TableContract, column: str) -> str:
    from wealthos_pipeline.data.storage.warehouse_sql import TYPES

    return TYPES[contract.column(column).dtype]
