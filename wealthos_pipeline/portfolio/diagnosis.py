"""Why a mandate cannot be met: which limits contradict each other, and how far each must give.

Every limit of the problem (the budget, the box, each group, …) gets one slack in its own unit. The
elastic problem, which minimises the sum of the slacks, always has an answer; if it is zero there is no
contradiction. The multipliers of its answer say which limits take part (Farkas); a deletion filter over
those, in a fixed order, leaves an irreducible set: without any one of them the rest could be met
(Chinneck & Dravnieks, "Locating minimal infeasible constraint sets in linear programs", 1991). Whether
there is one with fewer limits is then asked by hitting sets (Ignatiev et al., "Smallest MUS extraction
with minimal hitting set dualization", 2015). Each limit of the set alone is made elastic, everything else
kept: its smallest slack is the least relaxation. What counts names, or gains of lots, takes part through
whole numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from wealthos_pipeline.core.errors import PortfolioError
from wealthos_pipeline.portfolio import elastic, limits
from wealthos_pipeline.portfolio.limits import Limit
from wealthos_pipeline.portfolio.problem import Floats, Problem
from wealthos_pipeline.portfolio.words import capital, count, enough, number, outward, percent, span

TOLERANCE = elastic.TOLERANCE
SEARCH = 60
"""Rounds of the search for a smaller set; the irreducible one stands where it ends without an answer."""


@dataclass(frozen=True, eq=False)
class Conflicting:
    """One limit of a contradiction.

    needed: its value that alone ends the contradiction, everything else kept as it is, in the limit's unit; None
    where no value does, and where names have different values. slack: how far it must give, per name where
    they differ; None where nothing is enough. words: one sentence.
    """

    limit: Limit
    value: float | None
    needed: float | None
    slack: float | None
    words: str

    def data(self) -> dict[str, object]:
        """As JSON takes it."""
        return {
            "limit": self.limit.key,
            "kind": self.limit.kind,
            "unit": self.limit.unit,
            "value": self.value,
            "needed": self.needed,
            "slack": self.slack,
            "words": self.words,
        }


@dataclass(frozen=True, eq=False)
class Conflict:
    """An irreducible contradiction: without any one of its limits the others could be met.

    further: contradictions among other limits, where changing one limit of this one would not be enough.
    """

    limits: tuple[Conflicting, ...]
    further: tuple[Conflict, ...] = ()

    @property
    def sentences(self) -> tuple[str, ...]:
        """One sentence a limit."""
        out: tuple[str, ...] = tuple(x.words for x in self.limits)
        for other in self.further:
            first, *rest = other.sentences
            out = (*out, f"And besides: {first}", *rest)
        return out


def conflict(p: Problem) -> Conflict | None:
    """The contradiction among the limits of ``p``; None where they can be met, to the tolerance.

    PortfolioError where whole numbers took too long to tell.
    """
    everything = limits.of(p)
    asked = elastic.Feasibility(p)
    found: list[tuple[Conflicting, ...]] = []
    remaining = everything
    while asked.contradictory(remaining):
        members = smallest_set(asked, remaining)
        alone = [_alone(p, everything, limit) for limit in members]
        lead = _arithmetic(p, frozenset(limit.key for limit in members))
        found.append(tuple(_said(p, x, y, lead) for x, y in zip(members, alone, strict=True)))
        if any(y is not None for y in alone):
            break
        names = {limit.key for limit in members}
        remaining = [limit for limit in remaining if limit.key not in names]
    if not found:
        return None
    return Conflict(found[0], further=tuple(Conflict(x) for x in found[1:]))


def explain(p: Problem, plain: tuple[str, ...] = ()) -> tuple[str, ...]:
    """One sentence a limit of an irreducible contradiction, with its value and least relaxation.

    plain: what ``obvious`` says, told where the analysis comes to no answer.
    """
    try:
        found = conflict(p)
    except PortfolioError as error:
        return plain or (f"{capital(str(error))}.",)
    if found is None:
        return plain or (
            "The solver found no feasible weights, though the limits miss each other by less than "
            f"{TOLERANCE:.0e}; loosen the tightest limit a little.",
        )
    return found.sentences


# --- what arithmetic shows -------------------------------------------------------------------------


def obvious(p: Problem) -> tuple[str, ...]:
    """Contradictions that a look at budget, box and counts shows, without a solver; empty where there is none.

    Where the problem has other limits too, a value named here is what is needed at least: whether it is
    enough beside them is for ``explain`` to find.
    """
    named = {limit.key: limit for limit in limits.of(p)}
    free = p.free
    n, held = int(free.sum()), float(p.fixed[~free].sum())
    others = [x for x in named.values() if x.kind not in ("budget", "upper", "lower", "fixed")]

    def needs(limit: Limit, needed: float, *, names: bool = False) -> str:
        value = limit.value or 0.0
        sign = limit.sign or (1.0 if needed > value else -1.0)
        said = f"{needed:.0f}" if names else enough(needed, sign)
        said = f"a budget of {said}" if limit.kind == "budget" else said
        if others:
            return f"it takes {said} {'or more' if sign > 0 else 'or less'}"
        return f"least change that is enough: {said}"

    high, low = held + float(p.upper[free].sum()), held + float(p.lower[free].sum())
    budget, frozen = named["budget"], limits.frozen(p)
    least = p.budget - limits.leftover(p)
    if high < least - TOLERANCE:
        out = [f"{budget.words}, {_largest(p)}; {needs(budget, high + limits.leftover(p))}."]
        if n:
            need = _level(p.upper[free], least - held, upward=True)
            out.append(f"{named['upper'].words}; {needs(named['upper'], need)}.")
        return (*out, *frozen)
    if low > p.budget + TOLERANCE:
        out = [f"{budget.words}, {_smallest(p)}; {needs(budget, low)}."]
        if n:
            need = _level(p.lower[free], p.budget - held, upward=False)
            out.append(f"At least {span(p.lower[free])} a name; {needs(named['lower'], need)}.")
        return (*out, *frozen)
    few = _few(p)
    if few is not None:
        others = [x for x in others if x.key != "max names"]
        most, more = few
        need = _level(np.sort(p.upper[free])[::-1][: _left(p)], least - held, upward=True)
        names, upper = named["max names"], named["upper"]
        return (
            f"{budget.words}, {_few_words(p, most)}; {needs(budget, most + limits.leftover(p))}.",
            f"{names.words}; {needs(names, float(more), names=True)}.",
            f"{upper.words}; {needs(upper, need)}.",
            *frozen,
        )
    return tuple(
        f"{_nobody(named[f'min {g.name}'])}; least change that is enough: {percent(0.0)}."
        for g in p.groups
        if not g.active and (g.lower or 0.0) > TOLERANCE and not g.members.any()
        if f"min {g.name}" in named
    )


def _arithmetic(p: Problem, keys: frozenset[str]) -> dict[str, str]:
    """What to say instead of a limit's words where arithmetic makes the contradiction plain."""
    named = {limit.key: limit for limit in limits.of(p)}
    asked = {key for key in keys if not key.startswith("fixed: ")}
    free = p.free
    held, budget = float(p.fixed[~free].sum()), named["budget"].words
    least = p.budget - limits.leftover(p)
    if asked == {"budget", "upper"} and held + float(p.upper[free].sum()) < least - TOLERANCE:
        return {"budget": f"{budget}, {_largest(p)}"}
    if asked == {"budget", "lower"} and held + float(p.lower[free].sum()) > p.budget + TOLERANCE:
        floors = f"At least {span(p.lower[free])} a name"
        return {"budget": f"{budget}, {_smallest(p)}", "lower": floors}
    if asked == {"budget", "max names", "upper"} and (few := _few(p)) is not None:
        return {"budget": f"{budget}, {_few_words(p, few[0])}"}
    if len(keys) == 1:
        limit = named[next(iter(keys))]
        shape = limit.shape
        if limit.kind == "groups" and isinstance(shape, limits.Linear) and not len(shape.rows.row):
            return {limit.key: _nobody(limit)}
    return {}


def _largest(p: Problem) -> str:
    high = float(np.where(p.free, p.upper, p.fixed).sum())
    return f"but {count(int(p.free.sum()))} at their largest weight{_beside(p)} come to {percent(high)}"


def _smallest(p: Problem) -> str:
    low = float(np.where(p.free, p.lower, p.fixed).sum())
    return f"but {count(int(p.free.sum()))} at their smallest weight{_beside(p)} come to {percent(low)}"


def _few_words(p: Problem, most: float) -> str:
    caps = p.upper[p.free]
    return (
        f"but {count(p.max_names or 0)}, at most {span(caps)} a name{_beside(p)}, come to "
        f"{percent(most)}"
    )


def _nobody(limit: Limit) -> str:
    return f"{limit.words}, but no name of the universe belongs to it"


def _beside(p: Problem) -> str:
    if p.free.all():
        return ""
    return f" and {percent(float(p.fixed[~p.free].sum()))} in names that cannot be traded"


def _left(p: Problem) -> int:
    """Free names that may be held under the cap on names."""
    return (p.max_names or 0) - int((np.abs(p.fixed[~p.free]) > 1e-9).sum())


def _few(p: Problem) -> tuple[float, int] | None:
    """What as many names as may be held come to at most, and how many it takes; None where enough."""
    caps = np.sort(p.upper[p.free])[::-1]
    if p.max_names is None or not 0 < _left(p) < len(caps):
        return None
    held = float(p.fixed[~p.free].sum())
    reach = held + np.cumsum(caps)
    most = float(reach[_left(p) - 1])
    least = p.budget - limits.leftover(p)
    if most >= least - TOLERANCE:
        return None
    free = int(np.searchsorted(reach, least - TOLERANCE)) + 1
    return most, p.max_names - _left(p) + free


def _level(values: Floats, total: float, *, upward: bool) -> float:
    """The common bound at which the names just reach ``total``: every bound moved to it or beyond."""
    v = np.sort(values) if upward else -np.sort(-values)
    for i in range(len(v)):
        level = (total - v[i + 1 :].sum()) / (i + 1) if i + 1 < len(v) else total / len(v)
        beyond = v[i + 1] if i + 1 < len(v) else (np.inf if upward else -np.inf)
        if (upward and level <= beyond) or (not upward and level >= beyond):
            return float(level)
    return float(total / max(len(v), 1))


# --- what needs a solver ---------------------------------------------------------------------------


def smallest_set(asked: elastic.Feasibility, everything: Sequence[Limit]) -> list[Limit]:
    """An irreducible set of limits in conflict, none known with fewer; ``everything`` contradicts itself."""
    members = _irreducible(asked, everything)
    smaller = _fewest(asked, everything, len(members))
    return members if smaller is None else smaller


def _irreducible(asked: elastic.Feasibility, everything: Sequence[Limit]) -> list[Limit]:
    convex = [limit for limit in everything if elastic.is_convex(limit)]
    chosen = list(everything)
    if asked.contradictory(convex):
        chosen = convex
        total = elastic.smallest(asked.p, convex, {limit.key: 1.0 for limit in convex})
        if total is not None:
            largest = max(total.multipliers.values())
            pressed = [x for x in convex if total.multipliers[x.key] > 1e-6 * largest]
            chosen = pressed if asked.contradictory(pressed) else convex
    for limit in list(chosen):
        rest = [x for x in chosen if x.key != limit.key]
        if rest and asked.contradictory(rest):
            chosen = rest
    return chosen


def _fewest(
    asked: elastic.Feasibility, everything: Sequence[Limit], size: int
) -> list[Limit] | None:
    """A set in conflict with fewer than ``size`` limits; None where there is none (or SEARCH ran out).

    Weights that miss some limits show that every conflict holds one of those missed. The smallest set that
    hits all that was shown so far either is a conflict, or gives weights that show more.
    """
    place = {limit.key: i for i, limit in enumerate(everything)}
    missed: list[frozenset[int]] = []

    def show(w: Floats, met: frozenset[int] = frozenset()) -> None:
        new = frozenset(place[x.key] for x in everything if not asked.met(x, w)) - met
        if new and not any(old <= new for old in missed):
            missed[:] = [old for old in missed if not new <= old] + [new]

    for w in asked.points:
        show(w)
    for _ in range(SEARCH):
        hit = _hitting(missed, size - 1)
        if hit is None:
            return None
        kept = [everything[i] for i in sorted(hit)]
        known, before = len(asked.points), list(missed)
        if asked.contradictory(kept):
            return kept
        for w in asked.points[known:]:
            show(w, hit)
        convex = [x for x in everything if elastic.is_convex(x) or x in kept]
        inside = {x.key for x in kept}
        prices = {x.key: 1.0 for x in convex if x.key not in inside}
        found = elastic.smallest(asked.p, convex, prices)
        if found is not None:
            asked.points.append(found.weights)
            show(found.weights, hit)
        if missed == before:  # weights on the edge of a tolerance: nothing new was learnt
            return None
    return None


def _hitting(sets: list[frozenset[int]], most: int) -> frozenset[int] | None:
    """A smallest set with an element of each of ``sets``, of at most ``most`` elements; else None."""

    def search(chosen: frozenset[int], left: int) -> frozenset[int] | None:
        open_ = [s for s in sets if not s & chosen]
        if not open_:
            return chosen
        if left == 0:
            return None
        _, branch = min((len(s), sorted(s)) for s in open_)
        for element in reversed(branch):
            if (found := search(chosen | {element}, left - 1)) is not None:
                return found
        return None

    for size in range(most + 1):
        if (found := search(frozenset(), size)) is not None:
            return found
    return None


def _alone(p: Problem, everything: Sequence[Limit], limit: Limit) -> elastic.Elastic | None:
    """The least relaxation of one limit with all others kept; None where none is enough."""
    return elastic.smallest(p, everything, {limit.key: 1.0})


def _said(
    p: Problem, limit: Limit, alone: elastic.Elastic | None, lead: dict[str, str]
) -> Conflicting:
    words = lead.get(limit.key, limit.words)
    if alone is None:
        end = "" if limit.kind == "fixed" else "; no other value of this limit alone is enough"
        return Conflicting(limit, limit.value, None, None, f"{words}{end}.")
    slack = alone.slack[limit.key]
    if limit.kind == "fixed":
        return _freed(p, limit, alone, slack)
    if limit.kind == "budget":
        needed: float | None = float(alone.weights.sum())
        if needed is not None and needed < p.budget:  # what lots may leave in cash is not missing
            needed = min(needed + limits.leftover(p), p.budget)
        said = enough(needed or 0.0, 1.0 if (needed or 0.0) > p.budget else -1.0)
        said = f"a budget of {said}" if limit.key in lead else said
    elif limit.value is None:
        needed, said = None, f"each {enough(slack, 1.0)} {'higher' if limit.sign > 0 else 'lower'}"
    else:
        needed = limit.value + limit.sign * slack
        if limit.unit == "names":
            needed = outward(needed, limit.sign, "names")
        said = number(outward(needed, limit.sign, limit.unit), limit.unit)
    least = "least change that is enough" if alone.proven else "enough, perhaps more than that"
    text = f"{words}; {least}: {said}."
    return Conflicting(limit, limit.value, needed, slack, text)


def _freed(p: Problem, limit: Limit, alone: elastic.Elastic, slack: float) -> Conflicting:
    """What is fixed: with the weight that would end the contradiction, where it is one name."""
    shape = limit.shape
    assert isinstance(shape, limits.Linear)
    where = np.unique(shape.rows.column)
    if len(where) > 1:
        text = f"; were each free to change by {enough(slack, 1.0)}, the other limits could be met."
        return Conflicting(limit, None, None, slack, limit.words + text)
    before, after = float(p.fixed[where[0]]), float(alone.weights[where[0]])
    said = enough(after, 1.0 if after > before else -1.0)
    text = f"; at {said} the other limits could be met."
    return Conflicting(limit, before, after, slack, limit.words + text)
