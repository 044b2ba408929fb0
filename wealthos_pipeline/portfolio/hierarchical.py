"""Weights by clusters of names, as skfolio computes them from past returns: HRP, HERC, NCO.

They are rules and no optimisation over what a mandate allows: they know the budget, the box of every name
and what is fixed. A mandate with any other limit is refused with the list of those.

HRP: López de Prado, "Building diversified portfolios that outperform out of sample" (2016). HERC: Raffinot (2018).
NCO: López de Prado, "A robust estimator of the efficient frontier" (2019), minimum variance within and between
clusters. HRP keeps the box while it divides the money; of the other two the nearest weights within the box are taken
(least sum of squared relative deviations). ``budget − fixed`` is divided among the free names.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import numpy as np

from wealthos_pipeline.portfolio import certificate, limits, objectives
from wealthos_pipeline.portfolio.problem import Floats, Problem, Solution
from wealthos_pipeline.portfolio.reduced import Outcome, reduce

KNOWN = ("budget", "upper", "lower", "fixed")
"""Kinds of limits that the rules honour."""
NAMES = {
    "hrp": "Hierarchical risk parity",
    "herc": "Hierarchical equal risk contribution",
    "nco": "Nested clusters optimisation",
}


def solve(p: Problem) -> Solution:
    """Status ``rule``, or ``failed`` with the limits that the rule does not know. ``p`` must be valid."""
    name = NAMES[p.objective_kind]
    form = reduce(p)
    strange = [x.words for x in form.every if x.kind not in KNOWN]
    if p.lot is not None:
        strange.append("Orders in whole lots")
    if strange:
        words = (
            f"{name} knows the budget, the largest and smallest weight of a name and fixed names, and not: "
            f"{'; '.join(strange)}. Next: take these out of the mandate, or choose min_variance or risk_budget."
        )
        return certificate.failed(p, Outcome("failed", p.w0, message=words))
    left = p.budget - float(form.rest.sum())
    if form.impossible or left < float(form.lower.sum()) or left > float(form.upper.sum()):
        return Solution("infeasible", p.w0.copy(), message=form.impossible)
    if not len(form.x) or left <= 0:
        weights = form.whole(np.zeros(len(form.x)))
    elif len(form.x) == 1:
        weights = form.whole(np.array([left]))
    else:
        R = objectives.scenarios(p)[:, form.x]
        still = np.flatnonzero(np.ptp(R, axis=0) <= 0)
        if len(still):
            who = ", ".join(p.ids[form.x[i]] for i in still[:5])
            words = (
                f"{name} needs returns that vary, and those of {who} ({len(still)} in all) are one number in "
                f"{len(R)} sessions. Next: look at their prices, or leave them out of the universe."
            )
            return certificate.failed(p, Outcome("failed", p.w0, message=words))
        low, high = form.lower / left, np.minimum(form.upper / left, 1.0)
        try:
            weights = form.whole(left * _shares(p.objective_kind, R, low, high))
        except Exception as error:
            words = f"{name} gave no weights: {type(error).__name__}: {error}"
            return certificate.failed(p, Outcome("failed", p.w0, message=words))
    w = certificate.exact(p, form, weights)
    violation = limits.violation(p, w)
    if not violation <= certificate.MAX_VIOLATION:
        words = f"{name} gave weights that miss a limit by {violation:.1e}"
        return certificate.failed(p, Outcome("failed", p.w0, message=words))
    solver = f"skfolio {version('skfolio')}"
    return Solution("rule", w, violation=violation, message=f"{name}.", solver=solver)


def _shares(kind: str, R: Floats, low: Floats, high: Floats) -> Floats:
    """Shares that sum to 1, within the box."""
    from skfolio import optimization as sk
    from skfolio.utils.stats import minimize_relative_weight_deviation

    made: Any
    if kind == "hrp":
        made = sk.HierarchicalRiskParity(min_weights=low, max_weights=high)
    elif kind == "herc":
        made = sk.HierarchicalEqualRiskContribution()
    else:
        inner = sk.MeanRisk(solver="CLARABEL", solver_params={"max_threads": 1})
        made = sk.NestedClustersOptimization(inner_estimator=inner, outer_estimator=inner)
    made.fit(R)
    shares = np.asarray(made.weights_, dtype=np.float64)
    if (shares < low - 1e-12).any() or (shares > high + 1e-12).any():
        shares = minimize_relative_weight_deviation(
            weights=np.maximum(shares, 1e-12),
            min_weights=low,
            max_weights=high,
            solver="CLARABEL",
            solver_params={"max_threads": 1},
        )
    return np.asarray(shares / shares.sum(), dtype=np.float64)
