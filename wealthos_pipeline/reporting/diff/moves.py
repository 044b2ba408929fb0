"""One issued number that changed, and the causes that its change is split into."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

import polars as pl

CODE = "code or configuration"
RESTATED = "restated bars"
NEW = "new bars"
MODEL = "model"
HOLDINGS = "holdings"

CAUSES = (CODE, RESTATED, NEW, MODEL, HOLDINGS)
"""In the order in which they are substituted: the past first, then the new, then the fit, then what
is held. Another order would split joint effects otherwise; the sum is the same."""

Numbers = Mapping[str, float]
"""Instrument → number. An instrument that is missing has no view and no weight: 0."""


@dataclass(frozen=True, slots=True)
class Move:
    """The change of one issued number.

    kind: ``prediction`` (z) or ``target`` (weight). owner: model or mandate.
    parts: cause → its share of ``after - before``; with ``residual`` they add up to it.
    """

    kind: str
    owner: str
    instrument_id: str
    before: float | None
    after: float | None
    parts: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    residual: float = 0.0

    @property
    def change(self) -> float:
        """After minus before, missing as 0."""
        return (self.after or 0.0) - (self.before or 0.0)


@dataclass(frozen=True, slots=True)
class Step:
    """The numbers after one more cause was substituted."""

    cause: str
    numbers: Numbers


def split(
    kind: str,
    owner: str,
    before: Numbers,
    start: Numbers,
    start_cause: str | None,
    steps: Sequence[Step],
    after: Numbers,
) -> list[Move]:
    """Moves of one owner by instrument.

    before, after: as issued. start: ``before`` computed again with today's code. What separates
    the two is the work of ``start_cause``, or unexplained (None). ``steps`` go on from ``start``; what
    separates the last of them from ``after`` is unexplained. Names that did not move are left out.
    """
    names = sorted({*before, *after})
    moves = []
    for name in names:
        parts = dict.fromkeys(CAUSES, 0.0)
        residual = 0.0
        here = start.get(name, 0.0)
        gap = here - before.get(name, 0.0)
        if start_cause is None:
            residual += gap
        else:
            parts[start_cause] += gap
        for step in steps:
            there = step.numbers.get(name, 0.0)
            parts[step.cause] += there - here
            here = there
        residual += after.get(name, 0.0) - here
        move = Move(kind, owner, name, before.get(name), after.get(name), parts, residual)
        if move.change != 0.0 or any(parts.values()) or name not in before or name not in after:
            moves.append(move)
    return moves


def unexplained(kind: str, owner: str, before: Numbers, after: Numbers) -> list[Move]:
    """Moves whose causes cannot be told: all of the change is residual."""
    return split(kind, owner, before, before, None, [], after)


def frame(moves: Sequence[Move]) -> pl.DataFrame:
    """Moves as rows: ``kind, owner, instrument_id, before, after, change``, a column a cause,
    ``residual``; largest absolute change first within kind and owner."""
    rows = [
        {
            "kind": m.kind,
            "owner": m.owner,
            "instrument_id": m.instrument_id,
            "before": m.before,
            "after": m.after,
            "change": m.change,
            **{cause: m.parts.get(cause, 0.0) for cause in CAUSES},
            "residual": m.residual,
        }
        for m in moves
    ]
    numbers = ("before", "after", "change", *CAUSES, "residual")
    schema = {c: pl.String() for c in ("kind", "owner", "instrument_id")}
    table = pl.DataFrame(rows, schema=schema | {c: pl.Float64() for c in numbers})
    order = [pl.col("kind"), pl.col("owner"), pl.col("change").abs(), pl.col("instrument_id")]
    return table.sort(order, descending=[False, False, True, False])
