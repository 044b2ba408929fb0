"""How far limits must give: the elastic problem, which minimises slacks and so always has an answer.

A slack is in its limit's own unit (weights, annual volatility, names, …). Convex limits go to Clarabel.
Where limits count names, forbid small weights or budget realised gains, whole numbers are needed and HiGHS
solves (``whole``); what is impossible without those limits is found impossible without them first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from wealthos_pipeline.portfolio import constraints, limits
from wealthos_pipeline.portfolio.limits import Absolute, Limit, Linear, Norm
from wealthos_pipeline.portfolio.problem import Floats, Problem

TOLERANCE = 1e-7
"""A slack up to this is no contradiction."""
WHOLE_TOLERANCE = 1e-6
"""The same where whole numbers were needed."""


@dataclass(frozen=True, eq=False)
class Elastic:
    """slack: by limit's key. weights: n, that need no more. multipliers: by key, only of convex limits.

    least: no smaller sum of price × slack is possible; below what was found where whole numbers took too
    long to say.
    """

    slack: dict[str, float]
    weights: Floats
    multipliers: dict[str, float] = field(default_factory=dict)
    least: float | None = None

    @property
    def total(self) -> float:
        """Sum of the slacks."""
        return float(sum(self.slack.values()))

    @property
    def proven(self) -> bool:
        """Whether less slack is impossible, for prices of 1."""
        return self.least is None or self.total <= self.least + WHOLE_TOLERANCE


def is_convex(limit: Limit) -> bool:
    """Whether the limit needs no whole numbers."""
    return isinstance(limit.shape, Linear | Absolute | Norm)


def smallest(p: Problem, kept: Sequence[Limit], elastic: Mapping[str, float]) -> Elastic | None:
    """Smallest ``Σ price × slack`` of the limits named in ``elastic``, the others of ``kept`` being met.

    elastic: price of a unit of slack by limit's key. None where the others cannot be met.
    """
    if all(is_convex(limit) for limit in kept):
        return _convex(p, kept, elastic)
    from wealthos_pipeline.portfolio import whole

    found = whole.smallest(p, kept, elastic)
    return None if found is None else Elastic(found.slack, found.weights, least=found.least)


def _convex(p: Problem, kept: Sequence[Limit], elastic: Mapping[str, float]) -> Elastic | None:
    column = {limit.key: j for j, limit in enumerate(x for x in kept if x.key in elastic)}
    built = constraints.stack(p, kept, column)
    q = np.zeros(built.rows.width)
    start = built.rows.starts["s"]
    for key, j in column.items():
        q[start + j] = elastic[key]
    answer = constraints.solve(built, q)
    if not answer.solved:
        return None
    return Elastic(
        slack={key: max(float(answer.x[start + j]), 0.0) for key, j in column.items()},
        weights=answer.x[: len(p.ids)],
        multipliers={
            x.key: float(np.abs(answer.z[built.rows.spans[x.key]]).max(initial=0.0)) for x in kept
        },
    )


@dataclass(eq=False)
class Feasibility:
    """Whether sets of limits can be met together; weights found on the way are tried before a solve."""

    p: Problem
    points: list[Floats] = field(default_factory=list)
    solves: int = 0
    _known: dict[frozenset[str], bool] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for w in (np.zeros(len(self.p.ids)), self.p.w0, self.p.benchmark * self.p.budget):
            self.points.append(np.where(self.p.free, w, self.p.fixed))
            self.points.append(w)

    def met(self, limit: Limit, w: Floats) -> bool:
        """Whether w meets the limit, to the tolerance."""
        return limits.excess(self.p, limit, w) <= TOLERANCE

    def contradictory(self, chosen: Sequence[Limit]) -> bool:
        """Whether no weights meet all of ``chosen``."""
        name = frozenset(limit.key for limit in chosen)
        if name not in self._known:
            self._known[name] = self._contradictory(chosen)
        return self._known[name]

    def _contradictory(self, chosen: Sequence[Limit]) -> bool:
        if any(all(self.met(limit, w) for limit in chosen) for w in reversed(self.points)):
            return False
        convex = [limit for limit in chosen if is_convex(limit)]
        self.solves += 1
        found = smallest(self.p, convex, {limit.key: 1.0 for limit in convex})
        if found is not None:
            self.points.append(found.weights)
            if found.total > TOLERANCE:
                return True
        if len(convex) == len(chosen):
            return False
        from wealthos_pipeline.portfolio import whole

        best = whole.smallest(self.p, chosen, {}, WHOLE_TOLERANCE)
        if best is not None:
            self.points.append(best.weights)
        return best is None
