"""A small builder of conic programs and the one place that calls the solver.

Rows are collected as triplets and made sparse once: assembling many little sparse matrices costs
more than solving a small problem.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Entries:
    """Nonzero entries of a block: values at (row, column), both counted within the block."""

    row: Integers
    column: Integers
    value: Floats


def dense(matrix: Floats) -> Entries:
    """Every nonzero entry of a matrix; a vector is one row."""
    matrix = np.atleast_2d(matrix)
    row, column = np.nonzero(matrix)
    return Entries(row, column, matrix[row, column])


def diagonal(value: Floats | float, size: int) -> Entries:
    """``value`` (one, or one each) on the diagonal of a square block."""
    where = np.arange(size)
    return Entries(where, where, np.broadcast_to(np.asarray(value, dtype=np.float64), (size,)))


def picks(columns: Integers, value: float) -> Entries:
    """Row r holds ``value`` in ``columns[r]``."""
    columns = np.asarray(columns, dtype=np.int64)
    return Entries(np.arange(len(columns)), columns, np.full(len(columns), value))


class Rows:
    """Rows ``A x + s = b``, added block by block. ``sizes``: variables by name, in order."""

    def __init__(self, sizes: Mapping[str, int]) -> None:
        starts = np.concatenate([[0], np.cumsum(list(sizes.values()))])
        self.starts = dict(zip(sizes, starts[:-1].tolist(), strict=True))
        self.width = int(starts[-1])
        self.height = 0
        self.spans: dict[str, slice] = {}
        self._row: list[Integers] = []
        self._column: list[Integers] = []
        self._value: list[Floats] = []
        self._right: list[Floats] = []

    def add(self, name: str, right: Floats, **blocks: Entries) -> None:
        """Rows called ``name``: one block for each variable that they use."""
        for variable, block in blocks.items():
            self._row.append(block.row + self.height)
            self._column.append(block.column + self.starts[variable])
            self._value.append(block.value)
        self.spans[name] = slice(self.height, self.height + len(right))
        self._right.append(right)
        self.height += len(right)

    def matrix(self) -> tuple[Any, Floats]:
        """A (sparse, by column) and b."""
        from scipy import sparse

        where = (np.concatenate(self._row), np.concatenate(self._column))
        shape = (self.height, self.width)
        A = sparse.csc_matrix((np.concatenate(self._value), where), shape=shape)
        return A, np.concatenate(self._right)


@dataclass(frozen=True, eq=False)
class Answer:
    """What the solver said: primal x, multipliers z of the rows, the values of both objectives at them.

    primal, dual: ``½ x'Px + q'x`` and ``−½ x'Px − b'z``, evaluated here. stationarity: the largest entry of
    ``Px + q + A'z``, which is 0 where z is dual feasible.
    """

    status: str
    x: Floats
    z: Floats
    iterations: int
    primal: float = float("nan")
    dual: float = float("nan")
    stationarity: float = float("nan")

    @property
    def finite(self) -> bool:
        """Whether every number is one."""
        return bool(np.isfinite(self.x).all() and np.isfinite(self.z).all())


Cones = Sequence[tuple[str, float]]
"""Blocks of rows in order: ("zero" | "nonnegative" | "second", rows), ("exponential", 3) or
("power", exponent of the first of its three rows)."""


def run_clarabel(
    quadratic: Floats, q: Floats, A: Any, b: Floats, zero: int, nonnegative: int, *cones: int
) -> Answer:
    """Minimise ½ Σ quadratic_j x_j² + q'x with ``b − A x`` in the cones, from a cold start.

    zero, nonnegative, cones: rows of each kind, in this order; each of ``cones`` is one second-order cone.
    """
    from scipy import sparse

    size = len(q)
    columns = np.arange(size + 1)
    P = sparse.csc_matrix((quadratic, columns[:-1], columns), shape=(size, size))
    blocks = [("second", float(rows)) for rows in cones if rows]
    return run(P, q, A, b, [("zero", zero), ("nonnegative", nonnegative), *blocks])


def run(P: Any, q: Floats, A: Any, b: Floats, cones: Cones, *, full: bool = False) -> Answer:
    """Minimise ½ x'Px + q'x with ``b − A x`` in the cones; P upper triangular, sparse by column.

    One thread, tight tolerances, no time limit, a cold start: the answer depends on the numbers alone.
    full: A has few zeros, and blocks of columns are factored together (five times faster then, slower else).
    """
    import clarabel

    makes = {
        "zero": lambda x: clarabel.ZeroConeT(int(x)),
        "nonnegative": lambda x: clarabel.NonnegativeConeT(int(x)),
        "second": lambda x: clarabel.SecondOrderConeT(int(x)),
        "exponential": lambda x: clarabel.ExponentialConeT(),
        "power": lambda x: clarabel.PowerConeT(float(x)),
    }
    settings = clarabel.DefaultSettings()
    settings.verbose = False
    settings.max_threads = 1
    settings.direct_solve_method = "faer" if full else "qdldl"
    settings.max_iter = 200
    settings.tol_gap_abs = settings.tol_gap_rel = 1e-9
    settings.tol_feas = 1e-9
    settings.presolve_enable = False
    built = [makes[kind](size) for kind, size in cones]
    solution = clarabel.DefaultSolver(P, q, A, b, built, settings).solve()
    x = np.array(solution.x, dtype=np.float64)
    z = np.array(solution.z, dtype=np.float64)
    with np.errstate(all="ignore"):  # rays of an infeasible problem may be of any size
        slope = P @ x + P.T @ x - P.diagonal() * x if len(P.data) else np.zeros(len(x))
        curved = 0.5 * float(x @ slope)
        primal, dual = curved + float(q @ x), -curved - float(b @ z)
        stationarity = float(np.abs(slope + q + A.T @ z).max(initial=0.0))
    return Answer(
        status=str(solution.status),
        x=x,
        z=z,
        iterations=int(solution.iterations),
        primal=primal,
        dual=dual,
        stationarity=stationarity,
    )


def half(F: Floats) -> Floats:
    """Q with Q Q' = F, for F symmetric and positive semidefinite."""
    if not F.size:
        return F.copy()
    values, vectors = np.linalg.eigh(0.5 * (F + F.T))
    return vectors * np.sqrt(np.maximum(values, 0.0))


@cache
def blas() -> Any:
    """A controller of the BLAS that numpy uses: ``with blas().limit(limits=1): …``.

    Looking for the loaded libraries takes milliseconds, so it is done once.
    """
    import scipy.linalg  # noqa: F401 - has a BLAS of its own, which must be there to be found
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController().select(user_api="blas")
