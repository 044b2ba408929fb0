"""Pages: a cursor remembers the run and the key of the last row that was given."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import Query

from wealthos_pipeline.api.problems import ProblemError
from wealthos_pipeline.api.store import Reader

MOST = 10_000
"""Rows of the longest page."""

Limit = Annotated[int, Query(ge=1, le=MOST, description="rows of the page at most")]
Cursor = Annotated[
    str | None, Query(max_length=2000, description="`next_cursor` of the page before")
]


def encode(run_id: str, key: Sequence[str]) -> str:
    """A cursor after the row with ``key``."""
    text = json.dumps([run_id, *key], separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decode(cursor: str, run_id: str, length: int) -> list[str]:
    """The key in ``cursor``. 422 if it is none of ours, 409 if a newer run was published since."""
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        body = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (binascii.Error, ValueError):
        body = None
    if (
        not isinstance(body, list)
        or len(body) != length + 1
        or not all(isinstance(v, str) for v in body)
    ):
        raise _forged()
    if body[0] != run_id:
        raise ProblemError(
            409,
            "A newer run was published",
            f"the cursor belongs to run {body[0]}, published now is {run_id}. "
            "Begin again without it, so that all pages come from one run.",
            kind="urn:wealthos:problem:newer-run",
        )
    return body[1:]


def page(
    reader: Reader,
    sql: str,
    parameters: Sequence[object],
    *,
    key: Sequence[str],
    types: Sequence[str],
    limit: int,
    cursor: str | None,
) -> tuple[list[dict[str, Any]], str | None]:
    """Rows of ``sql`` in the order of ``key``, after ``cursor``, and the next cursor.

    ``types`` are the SQL types of the key's columns; ``sql`` and ``key`` are ours, never a caller's.
    """
    values: list[object] = list(parameters)
    named = ", ".join('"' + k.replace('"', '""') + '"' for k in key)
    after = ""
    if cursor is not None:
        values += decode(cursor, reader.run.run_id, len(key))
        marks = ", ".join(f"CAST(? AS {t})" for t in types)
        after = f"WHERE ({named}) > ({marks})"
    values.append(limit + 1)
    import duckdb

    try:
        rows = reader.rows(f"FROM ({sql}) {after} ORDER BY {named} LIMIT ?", values)
    except duckdb.ConversionException:
        raise _forged() from None
    if len(rows) <= limit:
        return rows, None
    last = rows[limit - 1]
    return rows[:limit], encode(reader.run.run_id, [str(last[k]) for k in key])


def _forged() -> ProblemError:
    return ProblemError(
        422,
        "A parameter cannot be used",
        "cursor is not one that this list gave. Begin again without it.",
        kind="urn:wealthos:problem:parameters",
    )
