"""The best answer where a mandate's limits contradict each other and some of them may give way.

``Problem.soften`` lists the kinds that may, the first to give way first; a limit of any other kind never moves. The
least loosening is found lexicographically: the total slack of the kind listed last is minimised, all kinds
before it being free to give way as far as needed; it is kept at that, and the kind before it follows,
to the first. So nothing of a later kind moves where moving an earlier one would do. Each limit's new
value is rounded outward to the step that is written (a hundredth of a percent, a whole name), so that what is
said is what holds; then the mandate's own objective is optimised under the new values.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from wealthos_pipeline.portfolio import elastic, limits, loosen
from wealthos_pipeline.portfolio.limits import Limit
from wealthos_pipeline.portfolio.problem import Problem, Solution
from wealthos_pipeline.portfolio.words import number, outward

FREE = 1e-3
"""Price of slack of kinds that go first while a later kind is minimised: keeps the answer bounded."""
VISIBLE = 1e-6
"""Slack up to this is the solver's noise; the limit stays as it is."""


@dataclass(frozen=True, eq=False)
class Softened:
    """problem: under the loosened values. amounts: by ``Limit.key``, in the limit's unit. given_way: in words."""

    problem: Problem
    amounts: dict[str, float]
    given_way: tuple[str, ...]


def soften(problem: Problem, conflicts: tuple[str, ...]) -> Solution | None:
    """The optimum with the least loosening that the mandate allows; None where even that is impossible.

    conflicts: the contradiction in words, kept in the answer. The status is ``softened``; violation, gap and
    multipliers are those of the loosened problem.
    """
    loosened = least(problem)
    if loosened is None or not loosened.amounts:
        return None
    from wealthos_pipeline.portfolio.optimization import optimise

    found = optimise(loosened.problem, explain=False)
    if found.status not in ("optimal", "rule"):
        return None
    ways = loosened.given_way
    return replace(found, status="softened", conflicts=conflicts, given_way=ways)


def least(p: Problem) -> Softened | None:
    """The least loosening of the kinds in ``p.soften``; no amounts where none is needed; None where none helps."""
    original = {limit.key: limit for limit in limits.of(p)}
    amounts: dict[str, float] = {}
    now = p
    for at in range(len(p.soften) - 1, -1, -1):
        everything = limits.of(now)
        first, kind = p.soften[:at], p.soften[at]
        prices = {x.key: FREE for x in everything if x.kind in first}
        mine = [x for x in everything if x.kind == kind]
        prices |= {x.key: 1.0 for x in mine}
        if not mine:
            continue
        needed = elastic.smallest(now, everything, prices)
        if needed is None:
            return None
        for limit in mine:
            by = _rounded(limit, needed.slack[limit.key])
            if by > 0.0:
                amounts[limit.key] = amounts.get(limit.key, 0.0) + by
                now = loosen.moved(now, limit, by)
    if elastic.Feasibility(now).contradictory(limits.of(now)):
        return None
    order = [x for kind in p.soften for x in original.values() if x.kind == kind]
    ways = tuple(_words(x, amounts[x.key]) for x in order if x.key in amounts)
    return Softened(replace(now, soften=()), amounts, ways)


def _rounded(limit: Limit, slack: float) -> float:
    """The slack with which the limit's value is one that is written, at least as loose; 0 for noise."""
    if slack <= VISIBLE:
        return 0.0
    if limit.value is None:
        return outward(slack, 1.0, limit.unit)
    sign = limit.sign or 1.0
    return sign * (outward(limit.value + sign * slack, sign, limit.unit) - limit.value)


def _words(limit: Limit, by: float) -> str:
    if limit.value is None:
        way = "higher" if limit.sign > 0 else "lower"
        return f"{limit.words} became {number(by, limit.unit)} {way} for each."
    return f"{limit.words} became {number(limit.value + (limit.sign or 1.0) * by, limit.unit)}."
