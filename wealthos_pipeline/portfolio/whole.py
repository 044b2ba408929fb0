"""Elastic problems with whole numbers, by HiGHS: counts of names, smallest holdings and trades, gains.

Around a reference r (0 for holdings, ``w0`` for trades) a weight is ``r + a − b`` with ``0 ≤ a ≤ M z``, ``0 ≤ b ≤ M z'``,
``z + z' ≤ 1`` binary; a count is of ``z + z'``, a gap says ``a ≥ size z``. What is sold of a lot lies between 0 and the
lot, in the lots' order where that is not the order of rising gains. Volatility is bounded by its tangents: with one
``v_l T ≥ y_l²`` for each factor and each name, ``Σ v ≤ T``, the tangent ``v ≥ 2ay − a²T`` at a is linear, and tangents are
added where the answer misses the cone (Vielma et al., "Extended formulations in mixed integer conic
quadratic programming", 2017).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wealthos_pipeline.core.errors import PortfolioError
from wealthos_pipeline.portfolio import constraints
from wealthos_pipeline.portfolio.limits import Absolute, Count, Gains, Gap, Limit, Linear, Norm
from wealthos_pipeline.portfolio.problem import SESSIONS_PER_YEAR, Floats, Problem

SMALLEST = 1e-6
"""A name that counts as held has at least this weight."""
ROUNDS = 60
"""Rounds of tangents; the cone is then missed by less than CONE."""
CONE = 1e-6
GRID = tuple(1.4**-j for j in range(12))
"""Shares of the volatility at which tangents stand from the beginning."""
SHARED = 5_000
"""Tangents that one round may add for names to share."""
FAR = 2.0
"""Weights lie within ±FAR × the largest of budget, box and 1: a wider range is searched for minutes."""
NODES = 500
"""Branch-and-bound nodes of one solve. Where they run out, the best that was found is enough, and is said not
to be proven the least."""


@dataclass(eq=False)
class _Columns:
    """A mixed-integer program put together piece by piece: bounds, costs, rows ``low ≤ A x ≤ high``."""

    lower: list[float] = field(default_factory=list)
    upper: list[float] = field(default_factory=list)
    cost: list[float] = field(default_factory=list)
    binary: list[bool] = field(default_factory=list)
    rows: list[tuple[NDArray[np.int64], Floats, float]] = field(default_factory=list)

    def add(
        self, count: int, lower: Any = 0.0, upper: Any = np.inf, *, cost: float = 0.0,
        binary: bool = False,
    ) -> NDArray[np.int64]:  # fmt: skip
        """``count`` new variables; their numbers."""
        first = len(self.lower)
        self.lower += np.broadcast_to(np.asarray(lower, dtype=float), (count,)).tolist()
        self.upper += np.broadcast_to(np.asarray(upper, dtype=float), (count,)).tolist()
        self.cost += [cost] * count
        self.binary += [binary] * count
        return np.arange(first, first + count)

    def at_most(self, columns: Any, values: Any, right: float) -> None:
        """``Σ values x ≤ right``."""
        columns = np.asarray(columns, dtype=np.int64)
        values = np.broadcast_to(np.asarray(values, dtype=float), columns.shape)
        self.rows.append((columns, values, float(right)))

    def equal(self, columns: Any, values: Any, right: float) -> None:
        """``Σ values x = right``, as two rows."""
        self.at_most(columns, values, right)
        self.at_most(columns, -np.asarray(values, dtype=float), -right)

    def solve(self) -> tuple[Floats, float] | None:
        """The best found and a lower bound of the cost; None where nothing meets the rows.

        PortfolioError where nothing was found in NODES.
        """
        import highspy

        start = np.concatenate([[0], np.cumsum([len(c) for c, _, _ in self.rows])])
        lp = highspy.HighsLp()
        lp.num_col_, lp.num_row_ = len(self.lower), len(self.rows)
        lp.col_cost_ = np.array(self.cost)
        lp.col_lower_, lp.col_upper_ = np.array(self.lower), np.array(self.upper)
        lp.row_lower_ = np.full(len(self.rows), -np.inf)
        lp.row_upper_ = np.array([right for _, _, right in self.rows])
        lp.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
        lp.a_matrix_.start_ = start.astype(np.int32)
        lp.a_matrix_.index_ = np.concatenate([c for c, _, _ in self.rows]).astype(np.int32)
        lp.a_matrix_.value_ = np.concatenate([v for _, v, _ in self.rows])
        kinds = highspy.HighsVarType
        lp.integrality_ = [kinds.kInteger if b else kinds.kContinuous for b in self.binary]
        solver = highspy.Highs()  # type: ignore[no-untyped-call]
        for option, value in (
            ("output_flag", False), ("threads", 1), ("random_seed", 0), ("mip_max_nodes", NODES),
            ("primal_feasibility_tolerance", 1e-9), ("mip_feasibility_tolerance", 1e-9),
            ("mip_rel_gap", 1e-6), ("mip_abs_gap", 1e-8),
        ):  # fmt: skip
            solver.setOptionValue(option, value)
        if solver.passModel(lp) == highspy.HighsStatus.kError:
            raise PortfolioError(
                "whether the limits contradict each other cannot be asked: the solver refused the program; "
                "look for values of the mandate that are not numbers"
            )
        solver.run()
        status = solver.getModelStatus()
        if status in (
            highspy.HighsModelStatus.kInfeasible,
            highspy.HighsModelStatus.kUnboundedOrInfeasible,
        ):
            return None
        info = solver.getInfo()
        optimal = status == highspy.HighsModelStatus.kOptimal
        if (
            not optimal
            and info.primal_solution_status != highspy.SolutionStatus.kSolutionStatusFeasible
        ):
            raise PortfolioError(
                "whether the limits contradict each other was not found within "
                f"{NODES} nodes of branch and bound ({solver.modelStatusToString(status)}); "
                "leave out the count of names or the smallest holding to see whether the others do"
            )
        x = np.array(solver.getSolution().col_value, dtype=np.float64)
        cost = float(np.array(self.cost) @ x)
        whole = any(self.binary)
        return x, cost if optimal or not whole else min(cost, float(info.mip_dual_bound))


@dataclass(frozen=True, eq=False)
class Found:
    """slack: by limit's key. weights: n. least: lower bound of the sum of price × slack."""

    slack: dict[str, float]
    weights: Floats
    least: float


def smallest(
    p: Problem, kept: Sequence[Limit], elastic: Mapping[str, float], give: float = 0.0
) -> Found | None:
    """Slacks by key and weights that need them: smallest ``Σ price × slack``; None where impossible.

    give: what every limit may be missed by without a price.
    """
    n = len(p.ids)
    far = FAR * float(max(1.0, abs(p.budget), *np.abs(np.concatenate(_box(p)))))
    columns = _Columns()
    w = columns.add(n, -far, far)
    slack = {x.key: columns.add(1, cost=elastic[x.key])[0] for x in kept if x.key in elastic}
    free = [int(columns.add(1, 0.0, give)[0])] if give else []
    split: dict[bytes, tuple[NDArray[np.int64], ...]] = {}

    def relief(key: str) -> tuple[list[int], list[float]]:
        extra = ([int(slack[key])], [-1.0]) if key in slack else ([], [])
        return (extra[0] + free, extra[1] + [-1.0] * len(free))

    def around(reference: Floats) -> tuple[NDArray[np.int64], ...]:
        """Columns a, b, z, z' with ``w = reference + a − b``."""
        if reference.tobytes() not in split:
            big = far + np.abs(reference)
            if not {"lower", "upper"} & set(slack) and _boxed(kept):
                lo, hi = _box(p)
                up, down = np.maximum(hi - reference, 0.0), np.maximum(reference - lo, 0.0)
            else:
                up = down = big
            a, b = columns.add(n, 0.0, up), columns.add(n, 0.0, down)
            z, y = columns.add(n, 0, 1, binary=True), columns.add(n, 0, 1, binary=True)
            for i in range(n):
                columns.equal([w[i], a[i], b[i]], [1.0, -1.0, 1.0], reference[i])
                columns.at_most([a[i], z[i]], [1.0, -up[i]], 0.0)
                columns.at_most([b[i], y[i]], [1.0, -down[i]], 0.0)
                columns.at_most([z[i], y[i]], 1.0, 1.0)
            split[reference.tobytes()] = (a, b, z, y)
        return split[reference.tobytes()]

    norms: list[tuple[Limit, Norm]] = []
    for limit in kept:
        shape, (more, of_slack) = limit.shape, relief(limit.key)
        match shape:
            case Linear():
                order = np.argsort(shape.rows.row, kind="stable")
                edges = np.searchsorted(shape.rows.row[order], np.arange(len(shape.right) + 1))
                for r, right in enumerate(shape.right):
                    mine = order[edges[r] : edges[r + 1]]
                    entries = [*w[shape.rows.column[mine]], *more]
                    columns.at_most(entries, [*shape.rows.value[mine], *of_slack], right)
            case Absolute():
                where = np.flatnonzero(shape.scale > 0)
                u = columns.add(len(where))
                for i, over in zip(where.tolist(), u.tolist(), strict=True):
                    columns.at_most([w[i], over], [1.0, -1.0], shape.reference[i])
                    columns.at_most([w[i], over], [-1.0, -1.0], -shape.reference[i])
                values = [*shape.slope, *shape.scale[where], *of_slack]
                columns.at_most([*w, *u, *more], values, shape.right)
            case Norm():
                norms.append((limit, shape))
            case Count():
                a, b, z, o = around(np.zeros(n))
                sign = -1.0 if shape.at_least else 1.0
                columns.at_most(
                    [*z, *o, *more], [*[sign] * (2 * n), *of_slack], sign * shape.number
                )
                if shape.at_least:
                    for i in range(n):
                        columns.at_most([a[i], z[i]], [-1.0, SMALLEST], 0.0)
                        columns.at_most([b[i], o[i]], [-1.0, SMALLEST], 0.0)
            case Gap():
                a, b, z, o = around(shape.reference)
                for i in np.flatnonzero(p.free).tolist():
                    columns.at_most([a[i], z[i], *more], [-1.0, shape.size, *of_slack], 0.0)
                    columns.at_most([b[i], o[i], *more], [-1.0, shape.size, *of_slack], 0.0)
            case Gains():
                _gains(p, columns, w, shape.right, more, of_slack, far)
    return _rounds(p, columns, w, slack, norms, relief)


def _boxed(kept: Sequence[Limit]) -> bool:
    return {"lower", "upper"} <= {limit.key for limit in kept}


def _box(p: Problem) -> tuple[Floats, Floats]:
    """Lowest and highest weight that any name may have, fixed or free."""
    fixed = np.where(p.free, 0.0, np.nan_to_num(p.fixed))
    lo = np.where(p.free, p.lower, np.minimum(p.lower, fixed))
    hi = np.where(p.free, p.upper, np.maximum(p.upper, fixed))
    return lo, hi


def _gains(
    p: Problem, columns: _Columns, w: NDArray[np.int64], right: float, more: list[int],
    of_slack: list[float], far: float,
) -> None:  # fmt: skip
    """``Σ gain × sold ≤ right``; sold of a name is ``max(w0, 0) − max(w, 0)`` where that is above 0."""
    lots = p.tax
    if lots is None:
        raise PortfolioError("a budget of gains needs tax lots; the problem has none")
    x = columns.add(len(lots.weight), 0.0, lots.weight)
    columns.at_most([*x, *more], [*lots.gain, *of_slack], right)
    for i in np.unique(lots.row):
        mine = np.flatnonzero(lots.row == i)
        total, start = float(lots.weight[mine].sum()), max(float(p.w0[i]), 0.0)
        bare = columns.add(
            1, 0.0, max(start - total, 0.0)
        )  # held without a lot: sold last, no gain
        short = columns.add(1, 0.0, far)
        bought = columns.add(1, 0.0, far)
        # w = w0 − sold + bought − short
        columns.equal(
            [w[i], *x[mine], *bare, *bought, *short],
            [1.0, *[1.0] * len(mine), 1.0, -1.0, 1.0],
            start + min(float(p.w0[i]), 0.0),
        )
        selling, beyond = columns.add(2, 0, 1, binary=True)
        columns.at_most([*x[mine], *bare, selling], [*[1.0] * (len(mine) + 1), -start], 0.0)
        columns.at_most([*bought, selling], [1.0, far], far)
        columns.at_most([*short, beyond], [1.0, -far], 0.0)
        if p.w0[i] >= 0:  # short only after everything is sold
            columns.at_most([*x[mine], *bare, beyond], [*[-1.0] * (len(mine) + 1), start], 0.0)
        queue = [*zip(x[mine], lots.weight[mine], lots.gain[mine], strict=True)]
        queue.append((bare[0], max(start - total, 0.0), 0.0))
        for (first, size, gain), (then, most, next_gain) in pairwise(queue):
            if gain > next_gain and most > 0 and lots.ordered:
                done = columns.add(1, 0, 1, binary=True)[0]  # the next lot only after this one
                columns.at_most([first, done], [-1.0, size], 0.0)
                columns.at_most([then, done], [1.0, -most], 0.0)


def _rounds(
    p: Problem,
    columns: _Columns,
    w: NDArray[np.int64],
    slack: Mapping[str, np.int64],
    norms: Sequence[tuple[Limit, Norm]],
    relief: Callable[[str], tuple[list[int], list[float]]],
) -> Found | None:
    """Solve; where a volatility is missed, add its tangents at the answer and solve again."""
    R = np.sqrt(SESSIONS_PER_YEAR) * np.column_stack([constraints.turned(p), np.diag(p.d)])
    cones = []
    for limit, shape in norms:
        used = np.flatnonzero(np.abs(R).sum(axis=0) > 0)
        y, v = columns.add(len(used), -np.inf), columns.add(len(used))
        T = columns.add(1)
        for j, f in enumerate(used):
            rows = np.flatnonzero(R[:, f])
            values = [*R[rows, f], -1.0]
            columns.equal([*w[rows], y[j]], values, float(R[rows, f] @ shape.reference[rows]))
        columns.at_most([*v, *T], [*[1.0] * len(used), -1.0], 0.0)
        extra = relief(limit.key)
        columns.at_most([*T, *extra[0]], [1.0, *extra[1]], shape.right)
        cones.append((shape, y, v, T[0]))
        for a in GRID:
            _tangents(columns, y, v, T[0], np.full(len(used), a))
            _tangents(columns, y, v, T[0], np.full(len(used), -a))
    for _ in range(ROUNDS):
        best = columns.solve()
        if best is None:
            return None
        x, bound = best
        found = Found({key: max(float(x[j]), 0.0) for key, j in slack.items()}, x[w], least=bound)
        missed = False
        for shape, y, v, T in cones:
            if p.volatility(x[w] - shape.reference) > x[T] + CONE:
                at = np.concatenate(
                    [x[y] / max(float(np.linalg.norm(x[y])), 1e-12), x[y] / max(float(x[T]), 1e-6)]
                )
                _touch(columns, y, v, T, at)
                missed = True
        if not missed:
            return found
    raise PortfolioError(
        f"volatility was not met to {CONE:.0e} within {ROUNDS} rounds of tangents; leave out the "
        "count of names or the smallest holding to see whether the other limits contradict"
    )


def _touch(
    columns: _Columns, y: NDArray[np.int64], v: NDArray[np.int64], T: np.int64, at: Floats
) -> None:
    """Tangents at the answer: every name's at every place while those are few, as names that are alike
    would otherwise take turns; else each at its own."""
    places = np.unique(np.round(np.concatenate([at, -at]), 9))
    if len(places) * len(y) <= SHARED:
        for a in places:
            _tangents(columns, y, v, T, np.full(len(y), a))
    else:
        _tangents(columns, y, v, T, at[: len(y)])
        _tangents(columns, y, v, T, at[len(y) :])


def _tangents(
    columns: _Columns, y: NDArray[np.int64], v: NDArray[np.int64], T: np.int64, at: Floats
) -> None:
    for j, a in enumerate(at):
        if a != 0.0:
            columns.at_most([y[j], v[j], T], [2.0 * a, -1.0, -a * a], 0.0)
