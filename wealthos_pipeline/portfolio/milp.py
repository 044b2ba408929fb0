"""Mixed-integer linear programs by HiGHS, in a process of their own.

HiGHS is native code: a fault in it would take the whole run down, and what it keeps would stay. So it
runs in a child process (DESIGN §7), started for one decision and ended with it, which imports NumPy and
HiGHS and nothing else: ``serve`` is its program. It costs some 0.15 s to start. If it dies, the caller
gets ``child.ChildError`` with how it ended.

One thread, a fixed seed, limits on nodes and never on time: what comes back is a function of the
numbers alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from wealthos_pipeline.utils import child

if TYPE_CHECKING:
    from numpy.typing import NDArray

TOLERANCE = 1e-9
"""Of HiGHS, on rows and reduced costs; whole columns are whole to 1e-7."""
SEED = 1


@dataclass(frozen=True, eq=False)
class Outcome:
    """status: ``optimal`` (within the gap asked for), ``infeasible``, ``limit`` (of nodes) or HiGHS's own word.

    x: the best point, None where there is none. objective: at x. bound: proven, −inf where nothing is.
    nodes: of the branch and bound.
    """

    status: str
    x: NDArray[np.float64] | None
    objective: float
    bound: float
    nodes: int = 0


class Session:
    """One program in HiGHS; ``Child`` has the same methods. Rows are given by row: starts, columns, values."""

    def __init__(self) -> None:
        import highspy

        self.highs: Any = highspy.Highs()  # type: ignore[no-untyped-call]
        self.whole = np.empty(0, dtype=np.int32)
        options: dict[str, Any] = {
            "output_flag": False,
            "threads": 1,
            "parallel": "off",
            "random_seed": SEED,
            "primal_feasibility_tolerance": TOLERANCE,
            "dual_feasibility_tolerance": TOLERANCE,
            "mip_feasibility_tolerance": 1e-7,
            "mip_abs_gap": 1e-9,
        }
        for name, value in options.items():
            self.highs.setOptionValue(name, value)

    def load(
        self, cost: Any, offset: float, low: Any, high: Any, whole: Any,
        rows: tuple[Any, Any, Any, Any, Any],
    ) -> None:  # fmt: skip
        """minimise cost'x + offset, low ≤ x ≤ high, whole columns integer; rows as in ``add``."""
        import highspy

        count = len(cost)
        self.low, self.high = low, high
        self.highs.addVars(count, low, high)
        at = np.arange(count, dtype=np.int32)
        self.highs.changeColsCost(count, at, cost)
        self.highs.changeObjectiveOffset(offset)
        self.whole = np.flatnonzero(whole).astype(np.int32)
        kinds = np.full(len(self.whole), highspy.HighsVarType.kInteger)
        if len(self.whole):
            self.highs.changeColsIntegrality(len(self.whole), self.whole, kinds)
        self.add(*rows)

    def add(self, low: Any, high: Any, start: Any, column: Any, value: Any) -> None:
        """More rows ``low ≤ A x ≤ high``."""
        if len(low):
            import highspy

            index = column.astype(np.int32)
            done = self.highs.addRows(
                len(low), low, high, len(value), start.astype(np.int32), index, value
            )
            if done == highspy.HighsStatus.kError:  # none of them was added
                raise ValueError(
                    f"{len(low)} rows were refused; expected finite values and each column once a row"
                )

    def bounds(self, low: Any, high: Any) -> None:
        """Other bounds of all columns."""
        at = np.arange(len(low), dtype=np.int32)
        self.highs.changeColsBounds(len(low), at, low, high)

    def relaxed(self) -> Outcome:
        """The optimum with whole columns taken as continuous."""
        self.highs.setOptionValue("solve_relaxation", True)
        self.highs.run()
        return self._outcome(mixed=False)

    def solve(self, nodes: int, gap: float, start: Any = None) -> Outcome:
        """Branch and bound to a relative ``gap`` or ``nodes``; start: a point known to be feasible."""
        import highspy

        self.highs.setOptionValue("solve_relaxation", False)
        self.highs.setOptionValue("mip_max_nodes", nodes)
        self.highs.setOptionValue("mip_rel_gap", gap)
        self.highs.clearSolver()
        if start is not None:
            known = highspy.HighsSolution()
            known.col_value = list(start)
            known.value_valid = True
            self.highs.setSolution(known)
        self.highs.run()
        return self._outcome(mixed=True)

    def _outcome(self, *, mixed: bool) -> Outcome:
        import highspy

        status = self.highs.getModelStatus()
        info = self.highs.getInfo()
        kind = highspy.HighsModelStatus
        words = {
            kind.kOptimal: "optimal",
            kind.kInfeasible: "infeasible",
            kind.kUnboundedOrInfeasible: "infeasible",
            kind.kSolutionLimit: "limit",
            kind.kIterationLimit: "limit",
        }
        word = words.get(status, str(self.highs.modelStatusToString(status)))
        found = info.primal_solution_status == int(highspy.SolutionStatus.kSolutionStatusFeasible)
        x = np.array(self.highs.getSolution().col_value) if found else None
        objective = float(info.objective_function_value) if found else float("inf")
        bound = objective if not mixed and word == "optimal" else -float("inf")
        if mixed:
            bound = float(info.mip_dual_bound)
        return Outcome(word, x, objective, bound, int(info.mip_node_count) if mixed else 0)


class Child(child.Child):
    """A ``Session`` in a process of its own; a context manager, which ends it."""

    def __init__(self) -> None:
        threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        super().__init__(f"{__name__}:serve", threads, "the mixed-integer solver")

    def load(self, *arguments: Any) -> None:
        """``Session.load``."""
        self._call("load", *arguments)

    def add(self, *arguments: Any) -> None:
        """``Session.add``."""
        self._call("add", *arguments)

    def bounds(self, *arguments: Any) -> None:
        """``Session.bounds``."""
        self._call("bounds", *arguments)

    def relaxed(self) -> Outcome:
        """``Session.relaxed``."""
        return self._outcome("relaxed", ())

    def solve(self, nodes: int, gap: float, start: Any = None) -> Outcome:
        """``Session.solve``."""
        return self._outcome("solve", (nodes, gap, start))

    def _outcome(self, method: str, arguments: tuple[Any, ...]) -> Outcome:
        out: Outcome = self._call(method, *arguments)
        return out


def serve() -> None:
    """The program of the child."""
    child.serve(Session())
