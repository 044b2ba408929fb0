"""Metadata that people read in the Dagster UI: schema, row counts, a preview, a small plot."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import dagster as dg

from wealthos_pipeline.core.data import TableContract

if TYPE_CHECKING:
    import polars as pl

_BARS = "▁▂▃▄▅▆▇█"


def asset_key(table: str) -> dg.AssetKey:
    """``layer.table`` → asset key ``layer/table``."""
    return dg.AssetKey(table.split("."))


def schema(contract: TableContract) -> dg.TableSchema:
    """The contract as Dagster's column schema."""
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                c.name,
                type=c.dtype,
                description=f"{c.doc} [{c.unit}]" if c.unit else c.doc,
                constraints=dg.TableColumnConstraints(
                    nullable=c.nullable, other=["part of the key"] if c.name in contract.key else []
                ),
            )
            for c in contract.columns
        ]
    )


def sparkline(values: Sequence[float | None], width: int = 60) -> str:
    """Numbers as a line of block characters, averaged down to ``width``; blanks are missing."""
    if not values:
        return ""
    size = max(1, -(-len(values) // width))
    points: list[float | None] = []
    for i in range(0, len(values), size):
        chunk = [v for v in values[i : i + size] if v is not None and v == v]
        points.append(sum(chunk) / len(chunk) if chunk else None)
    known = [p for p in points if p is not None]
    if not known:
        return ""
    low, span = min(known), (max(known) - min(known)) or 1.0
    return "".join(" " if p is None else _BARS[int((p - low) / span * 7.999)] for p in points)


def preview(frame: pl.DataFrame, rows: int = 5) -> str:
    """The last rows as a Markdown table."""
    tail = frame.tail(rows)
    shown = tail.columns[:12]
    lines = ["| " + " | ".join(shown) + " |", "|" + " --- |" * len(shown)]
    for row in tail.select(shown).iter_rows():
        lines.append("| " + " | ".join(_cell(v) for v in row) + " |")
    return "\n".join(lines)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.6g}"
    return str(value).replace("|", "\\|")[:80]
