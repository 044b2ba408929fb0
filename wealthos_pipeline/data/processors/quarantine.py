"""Rows that a rule rejected: what ``clean.quarantine`` holds. The raw row itself is untouched.

The rules by name are in ``rules.RULES``.
"""

from __future__ import annotations

import polars as pl

from wealthos_pipeline.core.data import contract


def collect(*frames: pl.DataFrame) -> pl.DataFrame:
    """The frames as one of ``clean.quarantine``, each row once."""
    table = contract("clean.quarantine")
    kept = [table.empty(), *(f.select(table.column_names) for f in frames if f.height)]
    return table.conform(pl.concat(kept).unique(table.key, keep="first", maintain_order=True))
