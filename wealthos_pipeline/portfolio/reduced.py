"""A problem with what cannot move put aside: what every engine starts from, and how it answers.

Rows with one name are bounds; the tightest makes the box, and a name whose bounds meet is pinned. What
is pinned goes to the right-hand sides. Opposite rows with opposite right-hand sides are one equality, so
that an interior-point method finds an interior.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from wealthos_pipeline.portfolio import limits
from wealthos_pipeline.portfolio.problem import Bools, Floats, Problem

PINNED = 1e-12
"""Bounds this near to each other leave no choice."""
MISSED = 1e-9
"""A limit on pinned names alone that is missed by more cannot be met."""

Row = tuple[str, int]
"""A row of a limit: its key and the number of the row."""


@dataclass(frozen=True, eq=False)
class Outcome:
    """What an engine answers.

    status: ``solved``, ``infeasible``, or ``failed`` (``message`` says why). weights: n, before they are snapped.
    duals: for each Limit.key the multipliers (≥ 0, in units of the objective) of its rows; one number for
    shapes without rows. Rows with one name are not read: their price follows from the others (``marginal``). primal, dual: values of the objective and of its bound, to be maximised.
    risk_slope: derivative of the risk term (n), from engines whose risk has kinks.
    """

    status: str
    weights: Floats
    duals: dict[str, Floats] = field(default_factory=dict)
    primal: float = float("nan")
    dual: float = float("nan")
    iterations: int = 0
    message: str = ""
    solver: str = ""
    risk_slope: Floats | None = None


@dataclass(eq=False)
class Side:
    """The tightest bound of each name from above (of its negative, from below), and the row that sets it."""

    bound: Floats
    limit: NDArray[np.int64]
    row: NDArray[np.int64]
    scale: Floats

    @classmethod
    def none(cls, n: int) -> Side:
        """No bounds."""
        zero = np.zeros(n, dtype=np.int64)
        return cls(np.full(n, np.inf), zero, zero.copy(), np.ones(n))

    def tighten(
        self,
        limit: int,
        names: NDArray[np.int64],
        rows: NDArray[np.int64],
        scale: Floats,
        bound: Floats,
    ) -> None:
        """Rows ``scale · w ≤ scale · bound`` of a limit; the first limit that says a bound keeps it."""
        order = np.argsort(-bound, kind="stable")  # of several for one name the tightest comes last
        order = order[bound[order] < self.bound[names[order]]]
        at = names[order]
        self.bound[at], self.limit[at] = bound[order], limit
        self.row[at], self.scale[at] = rows[order], scale[order]


@dataclass(frozen=True, eq=False)
class Line:
    """``a'x ≤ right`` for the names that can move; with ``twin``, the row that says ≥, an equality."""

    row: Row
    a: Floats
    right: float
    twin: Row | None = None


@dataclass(frozen=True, eq=False)
class Bent:
    """``Σ scale_i |x_i − reference_i| + slope'x ≤ right``, and whether the reference is what is held."""

    key: str
    scale: Floats
    reference: Floats
    slope: Floats
    right: float


@dataclass(frozen=True, eq=False)
class Ball:
    """Annual volatility of ``w − reference`` (n) at most ``right``."""

    key: str
    reference: Floats
    right: float


@dataclass(frozen=True, eq=False)
class Reduced:
    """The choice that is left: x are the movable names, ``rest`` (n) the others' weights.

    lower, upper: effective box of x. impossible: why there is no choice at
    all; other: keys of limits that have no convex shape. low, high: what sets the box, for all n.
    """

    x: NDArray[np.int64]
    rest: Floats
    lower: Floats
    upper: Floats
    low: Side
    high: Side
    lines: list[Line]
    bents: list[Bent]
    balls: list[Ball]
    every: list[limits.Limit]
    impossible: str = ""
    other: tuple[str, ...] = ()

    def box_duals(self, above: Floats, below: Floats, into: dict[str, Floats]) -> None:
        """Puts multipliers (≥ 0) of the box of x to the rows that set it."""
        n = len(self.rest)
        whole = [np.zeros(n), np.zeros(n)]
        whole[0][self.x], whole[1][self.x] = above, below
        for key, rows in self.bound_duals(*whole).items():
            into[key] = into[key] + rows if key in into else rows

    def bound_duals(self, above: Floats, below: Floats) -> dict[str, Floats]:
        """Multipliers (≥ 0, n each) of the bounds from above and below, at the rows that set them."""
        out: dict[str, Floats] = {}
        for side, values in ((self.high, above), (self.low, below)):
            for number in np.unique(side.limit[values > 0]):
                mine = np.flatnonzero((side.limit == number) & (values > 0))
                limit = self.every[int(number)]
                assert isinstance(limit.shape, limits.Linear)
                rows = out.setdefault(limit.key, np.zeros(len(limit.shape.right)))
                np.add.at(rows, side.row[mine], values[mine] / side.scale[mine])
        return out

    def line_duals(self, values: Floats, into: dict[str, Floats]) -> None:
        """Puts multipliers of the lines, of either sign for equalities, to their rows."""
        sizes = {
            x.key: len(x.shape.right) for x in self.every if isinstance(x.shape, limits.Linear)
        }
        for line, value in zip(self.lines, values, strict=True):
            for place, part in ((line.row, value), (line.twin, -value)):
                if place is not None:
                    key, row = place
                    rows = into.setdefault(key, np.zeros(sizes[key]))
                    rows[row] += max(float(part), 0.0)

    def whole(self, x: Floats) -> Floats:
        """All n weights."""
        w = self.rest.copy()
        w[self.x] = x
        return w


def reduce(p: Problem) -> Reduced:
    """``p`` without what cannot move."""
    n, every = len(p.ids), limits.of(p)
    low, high = Side.none(n), Side.none(n)  # of −w and of w
    wide: list[tuple[limits.Limit, NDArray[np.int64]]] = []
    impossible = ""
    for number, limit in enumerate(every):
        shape = limit.shape
        if not isinstance(shape, limits.Linear):
            continue
        size = np.bincount(shape.rows.row, minlength=len(shape.right))
        if ((size == 0) & (shape.right < -MISSED)).any():
            impossible = f"{limit.words}: no name can meet it"
        single = size[shape.rows.row] == 1
        if single.any():
            row, name, value = (
                v[single] for v in (shape.rows.row, shape.rows.column, shape.rows.value)
            )
            for side, mine in ((high, value > 0), (low, value < 0)):
                scale = np.abs(value[mine])
                side.tighten(number, name[mine], row[mine], scale, shape.right[row[mine]] / scale)
        if (size > 1).any():
            wide.append((limit, np.flatnonzero(size > 1)))
    lower, upper = -low.bound, high.bound
    crossed = np.flatnonzero(lower > upper + MISSED)
    if len(crossed):
        impossible = f"{p.ids[crossed[0]]}: its bounds leave no weight"
    pinned = (upper - lower <= PINNED) | ~p.free
    x = np.flatnonzero(~pinned)
    rest = np.where(pinned, np.where(p.free, np.where(pinned, lower, 0.0), p.fixed), 0.0)
    lines, missed = _lines(wide, x, pinned, rest)
    bents, balls, other = _curved(p, every, x, pinned, rest)
    for bent in bents:
        if not len(x) and bent.right < -MISSED:
            missed = missed or bent.key
    if missed and not impossible:
        impossible = f"{missed}: what cannot move does not meet it"
    return Reduced(
        x=x,
        rest=rest,
        lower=lower[x],
        upper=upper[x],
        low=low,
        high=high,
        lines=lines,
        bents=bents,
        balls=balls,
        every=every,
        impossible=impossible,
        other=other,
    )


def _lines(
    wide: list[tuple[limits.Limit, NDArray[np.int64]]],
    x: NDArray[np.int64],
    pinned: Bools,
    rest: Floats,
) -> tuple[list[Line], str]:
    lines: list[Line] = []
    seen: dict[bytes, int] = {}
    missed = ""
    for limit, rows in wide:
        shape = limit.shape
        assert isinstance(shape, limits.Linear)
        A = np.zeros((len(shape.right), len(rest)))
        np.add.at(A, (shape.rows.row, shape.rows.column), shape.rows.value)
        for row in map(int, rows):
            a = A[row, x] + 0.0
            right = float(shape.right[row]) - float(A[row, pinned] @ rest[pinned])
            if not a.any():
                missed = missed or (limit.words if right < -MISSED else "")
                continue
            opposite = seen.get((-a + 0.0).tobytes())
            if opposite is not None and abs(lines[opposite].right + right) <= PINNED:
                other = lines[opposite]
                if other.twin is None:
                    lines[opposite] = Line(other.row, other.a, other.right, (limit.key, row))
                    continue
            seen[a.tobytes()] = len(lines)
            lines.append(Line((limit.key, row), a, right))
    return lines, missed


def _curved(
    p: Problem, every: list[limits.Limit], x: NDArray[np.int64], pinned: Bools, rest: Floats
) -> tuple[list[Bent], list[Ball], tuple[str, ...]]:
    bents, balls, other = [], [], []
    for limit in every:
        shape = limit.shape
        match shape:
            case limits.Absolute():
                away = np.abs(rest - shape.reference)
                used = float(
                    (shape.scale * away)[pinned].sum() + (shape.slope * rest)[pinned].sum()
                )
                bents.append(
                    Bent(
                        limit.key,
                        shape.scale[x],
                        shape.reference[x],
                        shape.slope[x],
                        shape.right - used,
                    )
                )
            case limits.Norm():
                balls.append(Ball(limit.key, shape.reference, shape.right))
            case limits.Linear():
                pass
            case _:
                other.append(limit.key)
    return bents, balls, tuple(other)
