"""The same problem with one limit moved: for the least relaxation, softening and what-if questions."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

import numpy as np

from wealthos_pipeline.core.errors import PortfolioError
from wealthos_pipeline.portfolio import limits
from wealthos_pipeline.portfolio.limits import Limit
from wealthos_pipeline.portfolio.problem import Exposure, Group, Problem

Bounded = TypeVar("Bounded", Group, Exposure)


def moved(p: Problem, limit: Limit, by: float) -> Problem:
    """``p`` with the limit loosened by ``by``, in its unit; a negative ``by`` tightens it.

    A box, or a cap on trades, that differs from name to name moves by that much for each. The budget, which has
    two sides, moves up. Raises PortfolioError for names whose weight is fixed: they have no number to move.
    """
    up = by if limit.sign >= 0 else -by
    match limit.kind:
        case "turnover":
            return replace(p, max_turnover=_plus(p.max_turnover, up))
        case "turnover_name" | "adv":
            caps = tuple(
                replace(t, caps=np.maximum(t.caps + up, 0.0)) if t.kind == limit.kind else t
                for t in p.trade_caps
            )
            return replace(p, trade_caps=caps)
        case "gains" if p.tax is not None:
            tax = replace(p.tax, gains_budget=_plus(p.tax.gains_budget, up))
            return replace(p, tax=tax)
        case "upper":
            return replace(p, upper=np.where(p.free, p.upper + up, p.upper))
        case "lower":
            return replace(p, lower=np.where(p.free, p.lower + up, p.lower))
        case "sectors":
            sectors = tuple(
                replace(g, upper=g.upper + up)
                if g.kind == "sector_cap" and g.upper is not None
                else g
                for g in p.groups
            )
            return replace(p, groups=sectors)
        case "groups":
            return replace(p, groups=tuple(_side(g, limit, up) for g in p.groups))
        case "exposures" | "beta":
            return replace(p, exposures=tuple(_side(e, limit, up) for e in p.exposures))
        case "gross":
            return replace(p, max_gross=_plus(p.max_gross, up))
        case "short":
            return replace(p, max_short=_plus(p.max_short, up))
        case "names" if limit.sign > 0:
            return replace(p, max_names=round(_plus(p.max_names, up)))
        case "names":
            return replace(p, min_names=round(_plus(p.min_names, up)))
        case "min_holding":
            return replace(p, min_holding=max(_plus(p.min_holding, up), 0.0) or None)
        case "min_trade":
            return replace(p, min_trade=max(_plus(p.min_trade, up), 0.0) or None)
        case "budget":
            return replace(p, budget=p.budget + up)
        case "volatility":
            return replace(p, max_volatility=_plus(p.max_volatility, up))
        case "tracking_error":
            return replace(p, max_tracking_error=_plus(p.max_tracking_error, up))
    raise PortfolioError(
        f"{limit.words}: this is not a number that can be moved; change the override, or what cannot be "
        "traded, instead"
    )


def to(p: Problem, key: str, value: float) -> Problem:
    """``p`` with the limit called ``key`` at ``value``. See ``find`` for what is refused."""
    limit = find(p, key)
    if limit.value is None:
        raise PortfolioError(
            f"{limit.words}: names have different values, so it has no single one to set; "
            "loosen it by an amount instead"
        )
    by = (value - limit.value) * (1.0 if limit.sign >= 0 else -1.0)
    return moved(p, limit, by)


def find(p: Problem, key: str) -> Limit:
    """The limit called ``key``; PortfolioError with the keys that there are."""
    known = {limit.key: limit for limit in limits.of(p)}
    if key not in known:
        raise PortfolioError(
            f"the problem has no limit called {key!r}; it has {', '.join(sorted(known))}"
        )
    return known[key]


def _plus(value: float | None, up: float) -> float:
    if value is None:
        raise PortfolioError("the limit to move is not in the problem")
    return float(value) + up


def _side(bounded: Bounded, limit: Limit, up: float) -> Bounded:
    if limit.key == f"max {bounded.name}" and bounded.upper is not None:
        return replace(bounded, upper=bounded.upper + up)
    if limit.key == f"min {bounded.name}" and bounded.lower is not None:
        return replace(bounded, lower=bounded.lower + up)
    return bounded
