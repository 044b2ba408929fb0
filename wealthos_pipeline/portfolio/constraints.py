"""Limits of a problem as rows of a conic program: the convex shapes, each with or without a slack.

Diagnosis, softening and frontier ask different things of the same limits; all of them build their
program here, and Clarabel solves it natively on one thread from a cold start.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from wealthos_pipeline.portfolio import conic
from wealthos_pipeline.portfolio.limits import Absolute, Limit, Linear, Norm
from wealthos_pipeline.portfolio.problem import SESSIONS_PER_YEAR, Floats, Problem

LOOSE = 10.0
"""A box that is left out is ±LOOSE × budget: far outside anything that is asked for."""
SOLVED = ("Solved", "AlmostSolved")


@dataclass(frozen=True, eq=False)
class Answer:
    """status: the solver's word. x: all variables; z: multipliers of the rows; NaN where unsolved."""

    status: str
    x: Floats
    z: Floats
    iterations: int

    @property
    def solved(self) -> bool:
        """Whether there is an optimum to read."""
        return self.status in SOLVED and bool(np.isfinite(self.x).all())


@dataclass(eq=False)
class Stack:
    """Rows with the cone that each block of them lies in, in the order in which they were added."""

    rows: conic.Rows
    cones: list[tuple[str, float]] = field(default_factory=list)

    def equal(self, name: str, right: Floats, **blocks: conic.Entries) -> None:
        """``A x = right``."""
        self.rows.add(name, right, **blocks)
        self.cones.append(("zero", len(right)))

    def at_most(self, name: str, right: Floats, **blocks: conic.Entries) -> None:
        """``A x ≤ right``."""
        self.rows.add(name, right, **blocks)
        self.cones.append(("nonnegative", len(right)))

    def norm(
        self, name: str, right: Floats, top: Mapping[str, conic.Entries],
        parts: Sequence[tuple[Floats, dict[str, conic.Entries]]],
    ) -> None:  # fmt: skip
        """``right − A x`` of the first row at least the length of the vector of all others."""
        self.rows.add(name, right, **top)
        height = len(right)
        for i, (constant, blocks) in enumerate(parts):
            self.rows.add(f"{name}/{i}", constant, **blocks)
            height += len(constant)
        self.cones.append(("second", height))

    def power(self, name: str, right: Floats, exponent: float, **blocks: conic.Entries) -> None:
        """Three rows: ``x^exponent · y^(1 − exponent) ≥ |z|``."""
        self.rows.add(name, right, **blocks)
        self.cones.append(("power", exponent))


def turned(p: Problem) -> Floats:
    """R (n × k) with ``R R' = B F B'``."""
    return p.B @ conic.half(p.F)


def stack(
    p: Problem,
    limits: Sequence[Limit],
    slack: Mapping[str, int],
    extra: Mapping[str, int] | None = None,
    *,
    risk: bool = False,
) -> Stack:
    """Rows of the convex ``limits`` over ``w`` (n), ``y = R'w`` (k, where needed), ``u…`` and slacks ``s``.

    slack: column among ``s`` by limit's key; such a limit may be missed by that much. extra: sizes of
    other variables of the caller. risk: ``y`` even where no limit needs it. Limits of other shapes are
    passed over. A box that is not among the limits is replaced by one far away.
    """
    n = len(p.ids)
    curved = [limit for limit in limits if isinstance(limit.shape, Norm)]
    k = p.F.shape[0] if curved or risk else 0
    bent = {
        f"u {limit.key}": np.flatnonzero(limit.shape.scale > 0)
        for limit in limits
        if isinstance(limit.shape, Absolute)
    }
    count = 1 + max(slack.values(), default=-1)
    sizes = {"w": n, "y": k, **{name: len(rows) for name, rows in bent.items()}, "s": count}
    out = Stack(conic.Rows({**sizes, **(extra or {})}))
    R = turned(p) if k else np.zeros((n, 0))
    if k:
        out.equal("factors", np.zeros(k), w=conic.dense(R.T), y=conic.diagonal(-1.0, k))

    def relief(key: str, height: int) -> dict[str, conic.Entries]:
        if key not in slack:
            return {}
        return {"s": conic.picks(np.full(height, slack[key]), -1.0)}

    for limit in limits:
        shape = limit.shape
        match shape:
            case Linear():
                height = len(shape.right)
                out.at_most(limit.key, shape.right, w=shape.rows, **relief(limit.key, height))
            case Absolute():
                name = f"u {limit.key}"
                where, m = bent[name], len(bent[name])
                below, ref = conic.diagonal(-1.0, m), shape.reference[bent[name]]
                out.at_most(f"{name} up", ref, **{"w": conic.picks(where, 1.0), name: below})
                out.at_most(f"{name} down", -ref, **{"w": conic.picks(where, -1.0), name: below})
                blocks = {"w": conic.dense(shape.slope), name: conic.dense(shape.scale[where])}
                right = np.array([shape.right])
                out.at_most(limit.key, right, **blocks, **relief(limit.key, 1))
            case Norm():
                year = float(np.sqrt(SESSIONS_PER_YEAR))
                parts = [
                    (-year * (p.d * shape.reference), {"w": conic.diagonal(-year * p.d, n)}),
                ]
                if k:
                    beside = -year * (R.T @ shape.reference)
                    parts.insert(0, (beside, {"y": conic.diagonal(-year, k)}))
                out.norm(limit.key, np.array([shape.right]), relief(limit.key, 1), parts)
            case _:
                continue
    keys = {limit.key for limit in limits}
    far = np.full(n, LOOSE * max(1.0, abs(p.budget)))
    if "lower" not in keys:
        out.at_most("loose lower", far, w=conic.diagonal(-1.0, n))
    if "upper" not in keys:
        out.at_most("loose upper", far, w=conic.diagonal(1.0, n))
    if count:
        out.at_most("slacks", np.zeros(count), s=conic.diagonal(-1.0, count))
    return out


def solve(built: Stack, q: Floats, quadratic: Floats | None = None) -> Answer:
    """Minimise ``½ Σ quadratic_j x_j² + q'x`` over the rows. A solver that crashes is a status."""
    import clarabel
    from scipy import sparse

    A, b = built.rows.matrix()
    size = len(q)
    curve = np.zeros(size) if quadratic is None else quadratic
    columns = np.arange(size + 1)
    P = sparse.csc_matrix((curve, columns[:-1], columns), shape=(size, size))
    kinds: dict[str, Any] = {
        "zero": clarabel.ZeroConeT,
        "nonnegative": clarabel.NonnegativeConeT,
        "second": clarabel.SecondOrderConeT,
        "power": clarabel.PowerConeT,
    }
    cones = [kinds[kind](v if kind == "power" else int(v)) for kind, v in built.cones]
    settings = clarabel.DefaultSettings()
    settings.verbose = False
    settings.max_threads = 1
    settings.direct_solve_method = "qdldl"
    settings.max_iter = 200
    settings.tol_gap_abs = settings.tol_gap_rel = 1e-9
    settings.tol_feas = 1e-9
    settings.presolve_enable = False
    try:
        found = clarabel.DefaultSolver(P, q, A, b, cones, settings).solve()
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # a panic of the native solver is not an Exception
        nothing = np.full(size, np.nan)
        return Answer(f"crashed: {error}", nothing, np.full(len(b), np.nan), 0)
    return Answer(
        status=str(found.status),
        x=np.array(found.x, dtype=np.float64),
        z=np.array(found.z, dtype=np.float64),
        iterations=int(found.iterations),
    )
