"""The SQL of the warehouse: how tables, comments, macros and the readme are written."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from wealthos_pipeline.core import data as declared
from wealthos_pipeline.core.data import TableContract
from wealthos_pipeline.data.processors import versions

TYPES = {
    "str": "VARCHAR",
    "date": "DATE",
    "instant": "TIMESTAMPTZ",
    "f64": "DOUBLE",
    "f32": "FLOAT",
    "i64": "BIGINT",
    "i32": "INTEGER",
    "bool": "BOOLEAN",
}


def name(text: str) -> str:
    """An identifier, quoted."""
    return '"' + text.replace('"', '""') + '"'


def text(value: object) -> str:
    """A string literal."""
    return "'" + str(value).replace("'", "''") + "'"


def table(contract_name: str) -> str:
    """``layer.table`` as a quoted schema and table."""
    layer, _, short = contract_name.partition(".")
    return f"{name(layer)}.{name(short)}"


def source(files: Sequence[Path]) -> str:
    """Parquet files as one relation; columns are matched by name, folders add none."""
    listed = ", ".join(text(p) for p in files)
    return f"read_parquet([{listed}], union_by_name = true, hive_partitioning = false)"


def columns(contract: TableContract, present: Iterable[str]) -> str:
    """The contract's columns; those that no file has are null."""
    have = set(present)
    return ", ".join(
        name(c.name) if c.name in have else f"NULL::{TYPES[c.dtype]} AS {name(c.name)}"
        for c in contract.columns
    )


def definition(contract: TableContract) -> str:
    """Column names and types, for CREATE TABLE."""
    return ", ".join(f"{name(c.name)} {TYPES[c.dtype]}" for c in contract.columns)


def comments(contract: TableContract, target: str, kind: str, note: str = "") -> list[str]:
    """COMMENT statements for a table or view and each of its columns.

    kind: ``TABLE`` or ``VIEW``; ``note`` is added to the description.
    """
    key = f"Key: {', '.join(contract.key)}."
    body = " ".join(filter(None, (contract.description, note, key)))
    out = [f"COMMENT ON {kind} {target} IS {text(body)}"]
    for c in contract.columns:
        unit = f" [{c.unit}]" if c.unit else ""
        out.append(f"COMMENT ON COLUMN {target}.{name(c.name)} IS {text(c.doc + unit)}")
    return out


def as_of(contract: TableContract, t: str = "t::TIMESTAMPTZ") -> str | None:
    """The query whose rows are the table's as they were known at the instant ``t`` (SQL).

    A table with a history by its intervals, one that keeps versions as rows by the last of each
    value, others by ``known_at``; the end of an interval that lay ahead of ``t`` is null. None for
    tables that do not say when a row was known.
    """
    if contract.known != "column":
        return None
    if contract.restatable:
        return (
            f"SELECT * EXCLUDE (known_from, known_to) FROM {table(contract.name + '_history')} "
            f"WHERE known_from <= {t} AND {t} < known_to"
        )
    anew, stands = [], ""
    if versions.OPEN_END in contract.column_names:
        past = f"{versions.OPEN_END} < ({t} AT TIME ZONE 'UTC')::DATE"
        anew.append(f"CASE WHEN {past} THEN {versions.OPEN_END} END AS {versions.OPEN_END}")
    if versions.WITHDRAWN in contract.column_names:
        stands = f" AND ({versions.WITHDRAWN} IS NULL OR {t} < {versions.WITHDRAWN})"
        anew.append(f"NULL::TIMESTAMPTZ AS {versions.WITHDRAWN}")
    chosen = f"* REPLACE ({', '.join(anew)})" if anew else "*"
    body = f"SELECT {chosen} FROM {table(contract.name)} WHERE known_at <= {t}{stands}"
    key = versions.value_key(contract)
    if key is None:
        return body
    value = ", ".join(name(k) for k in key)
    return f"{body} QUALIFY row_number() OVER (PARTITION BY {value} ORDER BY known_at DESC) = 1"


def members(relation: str, day: str = "date", *, universe: str, t: str | None = None) -> str:
    """The rows of ``relation`` (a query) whose instrument was in the universe on their ``day``, as
    known at ``t``; all of them for the universe ``default`` where nobody says who is in it.

    universe, t: SQL expressions. The same rows as ``data.processors.membership.universe``.
    """
    gone = versions.WITHDRAWN
    then = f" AND known_at <= {t} AND ({gone} IS NULL OR {t} < {gone})" if t else ""
    then = then or f" AND {gone} IS NULL"
    inside = f"""r.{name(day)} BETWEEN m.valid_from AND coalesce(m.valid_to, DATE '9999-12-31')"""
    return f"""SELECT r.* FROM ({relation}) r SEMI JOIN (
               SELECT instrument_id, valid_from, valid_to FROM clean.membership
               WHERE universe = {universe}{then}
           ) m ON r.instrument_id = m.instrument_id AND {inside}
           UNION ALL
           SELECT * FROM ({relation}) WHERE {universe} = 'default'
             AND NOT EXISTS (SELECT 1 FROM clean.membership WHERE universe = 'default')"""


_MEMBERS = """SELECT universe, instrument_id, valid_from FROM clean.membership
           WHERE universe = name AND known_at <= t::TIMESTAMPTZ
             AND (withdrawn_at IS NULL OR t::TIMESTAMPTZ < withdrawn_at)
             AND valid_from <= (t::TIMESTAMPTZ AT TIME ZONE 'UTC')::DATE
             AND (valid_to IS NULL OR valid_to >= (t::TIMESTAMPTZ AT TIME ZONE 'UTC')::DATE)"""


def macros() -> list[str]:
    """Statements that make the table macros with their comments.

    ``<table>_asof(t)`` for every declared table that says when its rows were known.
    """
    out = []
    for contract in declared.load().values():
        body, short = as_of(contract), contract.name.partition(".")[2]
        if body is None:
            continue
        forms = f"(t) AS TABLE ({body})"
        more = ""
        if contract.name == "clean.membership":
            forms += f", (t, name) AS TABLE ({_MEMBERS})"
            more = " With a universe's name: its members at that instant."
        out.append(f"CREATE OR REPLACE MACRO {short}_asof{forms}")
        comment = (
            f"{contract.name} as it was known at the instant t (a date is its midnight in the "
            "session's time zone: SET TimeZone = 'UTC'), e.g. "
            f"FROM {short}_asof('2008-09-15 21:00:00+00').{more}"
        )
        out.append(f"COMMENT ON MACRO TABLE {short}_asof IS {text(comment)}")
    rows = members("FROM prices_asof(t)", universe="name", t="t::TIMESTAMPTZ")
    out.append(f"CREATE OR REPLACE MACRO prices_of(t, name) AS TABLE {rows}")
    comment = (
        "Bars of a universe as known at the instant t: of its members on each date, e.g. "
        "FROM prices_of('2008-09-15 21:00:00+00', 'default')."
    )
    out.append(f"COMMENT ON MACRO TABLE prices_of IS {text(comment)}")
    return out


OBJECTS = """
    SELECT schema_name || '.' || table_name AS name, 'table' AS kind, comment AS description
    FROM duckdb_tables() WHERE NOT internal AND table_name <> 'readme'
    UNION ALL
    SELECT schema_name || '.' || view_name, 'view', comment
    FROM duckdb_views() WHERE NOT internal
    UNION ALL
    SELECT function_name || '(' || array_to_string(parameters, ', ') || ')', 'macro', comment
    FROM duckdb_functions() WHERE function_type = 'table_macro' AND NOT internal
    ORDER BY kind, name"""
"""Everything in the file with its words."""

README = (
    "CREATE OR REPLACE TABLE readme (name VARCHAR, kind VARCHAR, rows BIGINT, description VARCHAR)",
    "COMMENT ON TABLE readme IS 'What is in this file: every table, view and macro with its words.'",
    "COMMENT ON COLUMN readme.name IS 'schema.table, or the call of a macro'",
    "COMMENT ON COLUMN readme.kind IS 'table (in this file), view (files beside it) or macro'",
    "COMMENT ON COLUMN readme.rows IS 'rows of a table; null for views and macros'",
    "COMMENT ON COLUMN readme.description IS 'what it holds'",
)
"""Statements that make ``main.readme``, still empty."""
