"""Solve one decision's problem: certified, or say why it cannot be solved.

The problem is checked, then looked at for contradictions that need no solver, then goes to the engine
that takes it: ``integer`` for whole numbers of names, lots and least sizes, ``fast`` for plain problems, ``native``
for the other quadratic objectives in factor form, ``hierarchical`` for rules by clusters, ``program`` for everything else. Each answers from a cold start
on one thread; iteration limits and never clocks decide when a solver gives up.
"""

from __future__ import annotations

import time
from dataclasses import replace

from wealthos_pipeline.core.errors import PortfolioError
from wealthos_pipeline.core.mandate import HIERARCHICAL
from wealthos_pipeline.portfolio import certificate, conic, diagnosis, fast, native
from wealthos_pipeline.portfolio.problem import Group, Parts, Problem, Solution
from wealthos_pipeline.portfolio.reduced import Outcome, reduce

__all__ = ["Group", "Parts", "Problem", "Solution", "continuous", "optimise"]


def optimise(problem: Problem, *, explain: bool = True) -> Solution:
    """The certified optimum of ``problem``, or status ``infeasible`` or ``failed`` and the reason.

    explain: with False an infeasible problem is not analysed (``conflicts`` stays empty unless
    the contradiction is trivial). A mandate whose limits may give way (``soften``) gets the answer in which
    they did, status ``softened``. Raises PortfolioError for a problem that is not well-formed.
    """
    start = time.perf_counter()
    with conic.blas().limit(limits=1):
        problem.validate()
        plain = conflicts = diagnosis.obvious(problem)
        found = None if plain else _solved(problem)
        if found is not None and found.status == "failed" and _contradictory(problem):
            found = None  # limits that miss each other by a hair make solvers stall
        if found is None or found.status == "infeasible":
            if explain:
                conflicts = diagnosis.explain(problem, plain)
            found = _softened(problem, conflicts) or _impossible(problem, conflicts)
    return replace(found, seconds=time.perf_counter() - start)


def continuous(problem: Problem) -> Solution:
    """``problem`` without whole numbers, already valid, by the engine that takes it."""
    if problem.objective_kind in HIERARCHICAL:
        from wealthos_pipeline.portfolio import hierarchical

        return hierarchical.solve(problem)
    form = reduce(problem)
    if fast.takes(problem, form):
        outcome = fast.solve(problem, form)
        found = None if outcome is None else certificate.certified(problem, outcome, form)
        if found is not None and found.status == "optimal":
            return found
    if native.takes(problem, form):
        return certificate.certified(problem, native.solve(problem, form), form)
    from wealthos_pipeline.portfolio import program

    try:
        return program.build(problem).solve()
    except PortfolioError as error:
        return certificate.failed(problem, Outcome("failed", problem.w0, message=str(error)))
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # a panic of the native solver is not an Exception
        words = f"the solver crashed: {type(error).__name__}: {error}"
        return certificate.failed(problem, Outcome("failed", problem.w0, message=words))


def _solved(problem: Problem) -> Solution:
    whole = (problem.min_holding, problem.min_trade, problem.max_names, problem.min_names)
    if problem.lot is not None or problem.tax is not None or any(x is not None for x in whole):
        from wealthos_pipeline.portfolio import integer

        if integer.needed(problem):
            return integer.solve(problem)
    return continuous(problem)


def _contradictory(problem: Problem) -> bool:
    """Whether the limits are known to contradict each other; what takes too long to tell is not."""
    from wealthos_pipeline.portfolio import elastic, limits

    try:
        return elastic.Feasibility(problem).contradictory(limits.of(problem))
    except PortfolioError:
        return False


def _softened(problem: Problem, conflicts: tuple[str, ...]) -> Solution | None:
    if not problem.soften:
        return None
    from wealthos_pipeline.portfolio import softening

    return softening.soften(problem, conflicts)


def _impossible(problem: Problem, conflicts: tuple[str, ...]) -> Solution:
    return Solution(
        status="infeasible",
        weights=problem.w0.copy(),
        conflicts=conflicts,
        message=" ".join(conflicts) or "The constraints contradict each other.",
    )
