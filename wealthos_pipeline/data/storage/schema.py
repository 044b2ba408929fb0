"""A table's contract in Delta's terms, and as the text that is kept with the table."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Mapping

from deltalake import Field, Schema
from deltalake.schema import PrimitiveType

from wealthos_pipeline.core.data import Column, TableContract

_DELTA_TYPES = {
    "str": "string",
    "date": "date",
    "instant": "timestamp",
    "f64": "double",
    "f32": "float",
    "i64": "long",
    "i32": "integer",
    "bool": "boolean",
}


def field(column: Column) -> Field:
    """The Delta field of a column. Everything is nullable there: nulls are refused by the
    contract, before anything is written."""
    return Field(column.name, PrimitiveType(_DELTA_TYPES[column.dtype]))


def delta_schema(contract: TableContract) -> Schema:
    """The Delta schema, with the physical ``year`` of partitioned tables."""
    fields = [field(c) for c in contract.columns]
    if contract.partition == "year":
        fields.append(Field("year", PrimitiveType("integer")))
    return Schema(fields)


def retyped(contract: TableContract, types: Mapping[str, str]) -> list[str]:
    """Columns whose stored type is not the contract's, in words."""
    return [
        f"{c.name} is stored as {types[c.name]}, declared as {_DELTA_TYPES[c.dtype]}"
        for c in contract.columns
        if c.name in types and types[c.name] != _DELTA_TYPES[c.dtype]
    ]


def lacking(contract: TableContract, types: Mapping[str, str]) -> list[str]:
    """Columns that may not be null and are not stored, in words."""
    return [
        f"{c.name} is not stored and may not be null"
        for c in contract.columns
        if c.name not in types and not c.nullable
    ]


def removed(contract: TableContract, types: Mapping[str, str]) -> list[str]:
    """Stored columns that the contract does not have."""
    known = {*contract.column_names, *(["year"] if contract.partition == "year" else [])}
    return [n for n in types if n not in known]


LONGEST = 4_000
"""Characters of a description that Delta's writer lets a table be given."""

PACKED = "zlib+base85:"
"""Begins a description that would have been longer."""


def describe(contract: TableContract) -> str:
    """The contract as the text that is kept in the table's description."""
    body = {
        "columns": [[c.name, c.dtype, c.doc, c.unit, c.nullable] for c in contract.columns],
        "key": contract.key,
        "date_column": contract.date_column,
        "known": contract.known,
        "partition": contract.partition,
        "sort": contract.sort,
        "restatable": contract.restatable,
        "append_only": contract.append_only,
        "version": contract.version,
    }
    whole = {"description": contract.description, "contract": body}
    text = json.dumps(whole, ensure_ascii=False)
    if len(text) > LONGEST:
        text = _packed(text)
    if len(text) > LONGEST:  # some hundred columns: their words are left out
        body["columns"] = [[c.name, c.dtype, "", c.unit, c.nullable] for c in contract.columns]
        text = _packed(json.dumps(whole, ensure_ascii=False))
    return text


def _packed(text: str) -> str:
    return PACKED + base64.b85encode(zlib.compress(text.encode(), 9)).decode()


def described(name: str, text: str) -> TableContract | None:
    """The contract kept in a table's description; None if there is none."""
    try:
        if text.startswith(PACKED):
            text = zlib.decompress(base64.b85decode(text.removeprefix(PACKED))).decode()
        whole = json.loads(text)
        body = whole["contract"]
        return TableContract(
            name=name,
            description=whole["description"],
            columns=tuple(Column(*c) for c in body["columns"]),
            key=tuple(body["key"]),
            date_column=body["date_column"],
            known=body["known"],
            partition=body["partition"],
            sort=tuple(body["sort"]),
            restatable=body["restatable"],
            append_only=body["append_only"],
            version=body["version"],
        )
    except (ValueError, KeyError, TypeError, zlib.error):
        return None
