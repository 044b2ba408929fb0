"""The columns and rows of a mixed-integer program with convex terms on single columns, and their builder."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from wealthos_pipeline.portfolio import conic
from wealthos_pipeline.portfolio.problem import Bools, Floats

Columns = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Squares:
    """``x[epi] ≥ scale · (x[column] − shift)²``, divided by ``x[on]`` where ``on`` is not −1 (shift is 0 there)."""

    epi: Columns
    scale: Floats
    column: Columns
    shift: Floats
    on: Columns


@dataclass(frozen=True, eq=False)
class Powers:
    """``x[epi] ≥ scale · x[column]^exponent`` for columns ≥ 0; exponent > 1."""

    epi: Columns
    scale: Floats
    column: Columns
    exponent: float


@dataclass(frozen=True, eq=False)
class Tail:
    """``x[epi] ≥`` expected shortfall of the losses ``−(returns @ x[w] + rest)`` at ``level``."""

    epi: int
    returns: Floats
    rest: Floats
    level: float


@dataclass(frozen=True, eq=False)
class Ball:
    """Length of ``(root' x[w] − offset, d · (x[w] − reference), beyond)`` at most ``right``: a cap on volatility."""

    key: str
    root: Floats
    offset: Floats
    d: Floats
    reference: Floats
    beyond: float
    right: float


@dataclass(frozen=True, eq=False)
class Mixed:
    """The program. offset: constant of the objective. rows: ``low ≤ A x ≤ high``; outer: rows on epi columns, which stand for ``balls``.

    w: columns of the free names, in order. off: pairs (binary, column): the column is 0 where the binary is.
    moves: (w, buy, sell). keys: rows of a limit, by its key. scale: what the objective was multiplied by.
    impossible: what no weights can meet, in words, found while building.
    """

    cost: Floats
    offset: float
    low: Floats
    high: Floats
    whole: Bools
    rows: conic.Entries
    row_low: Floats
    row_high: Floats
    outer: Bools
    keys: dict[str, slice]
    squares: Squares
    powers: Powers
    tail: Tail | None
    balls: tuple[Ball, ...]
    w: Columns
    off: Columns
    moves: Columns
    scale: float
    impossible: tuple[str, ...]


@dataclass(eq=False)
class Builder:
    """Columns and rows, added block by block."""

    size: int = 0
    height: int = 0
    columns: list[tuple[Floats, Floats, Floats, bool]] = field(default_factory=list)
    entries: list[tuple[Columns, Columns, Floats]] = field(default_factory=list)
    sides: list[tuple[Floats, Floats]] = field(default_factory=list)
    outer: list[Columns] = field(default_factory=list)
    off: list[Columns] = field(default_factory=list)
    keys: dict[str, slice] = field(default_factory=dict)

    def add(
        self, low: Floats, high: Floats, cost: Floats | float = 0.0, *, whole: bool = False
    ) -> Columns:
        count = len(low)
        full = np.broadcast_to(np.asarray(cost, dtype=np.float64), (count,))
        self.columns.append((low, high, full, whole))
        self.size += count
        return np.arange(self.size - count, self.size)

    def each(
        self, low: Floats | float, high: Floats | float, *terms: tuple[Columns, Floats | float]
    ) -> slice:
        """One row for each position: ``low ≤ Σ over terms of value · x[column] ≤ high``."""
        count = len(terms[0][0])
        rows = np.arange(self.height, self.height + count)
        for column, value in terms:
            full = np.broadcast_to(np.asarray(value, dtype=np.float64), (count,))
            self.entries.append((rows, column, full))
        sides = [np.broadcast_to(np.asarray(s, dtype=np.float64), (count,)) for s in (low, high)]
        self.sides.append((sides[0], sides[1]))
        self.height += count
        return slice(self.height - count, self.height)

    def one(self, low: float, high: float, *terms: tuple[Columns, Floats | float]) -> slice:
        """One row over all the terms."""
        for column, value in terms:
            full = np.broadcast_to(np.asarray(value, dtype=np.float64), (len(column),))
            self.entries.append((np.full(len(column), self.height), column, full))
        self.sides.append((np.array([low]), np.array([high])))
        self.height += 1
        return slice(self.height - 1, self.height)

    def gate(self, binary: Columns, column: Columns, most: Floats, least: float) -> None:
        """The column is 0, or between ``least`` and ``most``, as the binary says."""
        self.each(-np.inf, 0.0, (column, 1.0), (binary, -most))
        if least > 0:
            self.each(0.0, np.inf, (column, 1.0), (binary, -least))
        self.off.append(np.column_stack([binary, column]))
