"""The SQL of the warehouse: how tables, comments, macros and the readme are written."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from wealthos_pipeline.core.data import TableContract

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


MACROS: tuple[tuple[str, str, str, str], ...] = (
    (
        "prices_asof",
        "t",
        """SELECT * EXCLUDE (known_from, known_to) FROM clean.prices_history
           WHERE known_from <= t::TIMESTAMPTZ AND t::TIMESTAMPTZ < known_to""",
        "clean.prices as it was known at the instant t (a date is its midnight), e.g. "
        "FROM prices_asof('2008-09-15 21:00:00+00').",
    ),
    (
        "series_asof",
        "t",
        """SELECT * EXCLUDE (known_from, known_to) FROM clean.series_history
           WHERE known_from <= t::TIMESTAMPTZ AND t::TIMESTAMPTZ < known_to""",
        "clean.series as it was known at the instant t (a date is its midnight), e.g. "
        "FROM series_asof('2008-09-15 21:00:00+00').",
    ),
    (
        "membership_asof",
        "t, name",
        """SELECT universe, instrument_id, valid_from FROM clean.membership
           WHERE universe = name AND known_at <= t::TIMESTAMPTZ
             AND valid_from <= (t::TIMESTAMPTZ AT TIME ZONE 'UTC')::DATE
             AND (valid_to IS NULL OR valid_to >= (t::TIMESTAMPTZ AT TIME ZONE 'UTC')::DATE)""",
        "Members of a universe at the instant t, by what was known then, e.g. "
        "FROM membership_asof('2008-09-15 21:00:00+00', 'sp500').",
    ),
)
"""Table macros: name, parameters, body, comment. They read histories, not what is known now."""


def macros() -> list[str]:
    """Statements that make the macros with their comments."""
    out = []
    for macro, parameters, body, comment in MACROS:
        out.append(f"CREATE OR REPLACE MACRO {macro}({parameters}) AS TABLE {body}")
        out.append(f"COMMENT ON MACRO TABLE {macro} IS {text(comment)}")
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
