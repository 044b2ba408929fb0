"""What a data check is: a measure of each row (or session) and its bounds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import polars as pl

Severity = Literal["error", "warn"]
Measure = Callable[[pl.DataFrame, datetime], pl.DataFrame]
"""Frame and clock → frame with ``value`` and the columns that say where it was measured."""
Compared = Callable[[pl.DataFrame, datetime, Mapping[str, pl.DataFrame]], pl.DataFrame]
"""The same, with the tables that ``Rule.beside`` names (those that were handed in)."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One check: ``measure`` must be non-null (``required``), within [low, high], or in ``words``.

    strict: the bounds themselves are not allowed. Null measures are passed over unless required.
    looks_back: it compares with the rows before, so it is measured on the context too.
    beside: other tables that the measure reads; it is then a ``Compared``.
    where: which rows of the measure the rule is about; None: all.
    """

    check: str
    column: str
    severity: Severity
    measure: Measure | Compared
    low: float | None = None
    high: float | None = None
    strict: bool = False
    required: bool = False
    words: tuple[str, ...] | None = None
    looks_back: bool = False
    beside: tuple[str, ...] = ()
    where: pl.Expr | None = None


def of(expression: pl.Expr, *at: str) -> Measure:
    """The measure that evaluates ``expression`` on every row, located by the columns ``at``."""

    def measure(frame: pl.DataFrame, now: datetime) -> pl.DataFrame:
        return frame.select(expression.alias("value"), *(a for a in at if a in frame.columns))

    return measure


def coded(frame: pl.DataFrame) -> pl.DataFrame:
    """``frame`` with texts as ordered integers: comparing 3 million texts costs ten times as much."""
    texts = [n for n, t in frame.schema.items() if t == pl.String]
    return frame.with_columns(
        pl.col(n).cast(pl.Enum(frame[n].drop_nulls().unique().sort())) for n in texts
    )
