"""What each objective is worth at some weights, and its slope there.

All are to be maximised. ``mean_variance`` (and ``black_litterman``, whose alphas are posterior), ``min_variance``
and ``tracking_error`` are ``α'w − (γ/2) Σ_h-variance − costs`` with the alphas of the kind and the variance of w
or of ``w − benchmark``: a return over the horizon. The others:

``max_sharpe``: net return ``f(w) = α'w − costs`` over its volatility, annualised by ``√(252/h)``.
``risk_budget``: ``Σ b_i ln w_i − ln σ(w)``. Unconstrained it is largest where name i has the share b_i of
the risk (Maillard, Roncalli & Teïletche 2010; Spinu 2013), whatever the scale of w. Costs are not weighed against
shares of risk: a cap on turnover is the way to save them.

Where lots are taxed, ``h/H`` of the tax is one of the costs (``taxes``).
``cvar``: ``−(γ/2) h (CVaR / z)² − costs`` with the CVaR of one session's scenario losses (Rockafellar & Uryasev
2000; a CVaR below 0 counts as 0) and ``z = φ(Φ⁻¹(β)) / (1 − β)``. For normal returns with mean 0 the first term is
the variance penalty, so γ and costs mean what they mean elsewhere; without costs it is minimum CVaR.
"""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np

from wealthos_pipeline.core.mandate import HIERARCHICAL
from wealthos_pipeline.portfolio.problem import SESSIONS_PER_YEAR, Floats, Problem

QUADRATIC = ("mean_variance", "min_variance", "tracking_error", "black_litterman")


def rates(p: Problem) -> tuple[Floats, Floats, Floats]:
    """Costs over one horizon: per unit traded, per unit of ``|Δ|^(1 + impact_exponent)``, per unit short (n each)."""
    zero = np.zeros(len(p.ids))
    impact = zero if p.impact is None else p.kappa * p.impact
    borrow = zero if p.borrow is None else p.borrow * (p.horizon / SESSIONS_PER_YEAR)
    return p.kappa * p.cost, impact, borrow


def costs(p: Problem, w: Floats) -> float:
    """Trading costs of going from ``w0`` to w, amortised, and borrow: a return over the horizon."""
    linear, impact, borrow = rates(p)
    traded = np.abs(w - p.w0)
    total = (linear * traded).sum() + (impact * traded ** (1.0 + p.impact_exponent)).sum()
    return float(total + (borrow * np.maximum(-w, 0.0)).sum())


def taxes(p: Problem, w: Floats) -> float:
    """Tax of going from ``w0`` to w, amortised like a trading cost: a return over the horizon."""
    if p.tax is None:
        return 0.0
    from wealthos_pipeline.portfolio import tax

    return p.kappa * tax.tax_of(p, w)


def wanted(p: Problem) -> Floats:
    """The alphas that the objective reads: none for those that are about risk alone."""
    reads = p.objective_kind in ("mean_variance", "max_sharpe", "black_litterman")
    return p.alpha if reads else np.zeros(len(p.ids))


def reference(p: Problem) -> Floats:
    """Weights whose difference to w bears the risk."""
    return p.benchmark if p.objective_kind == "tracking_error" else np.zeros(len(p.ids))


def value(p: Problem, w: Floats) -> float:
    """The objective at w; NaN for rules that maximise nothing, −inf outside its domain."""
    kind = p.objective_kind
    if kind in QUADRATIC:
        away = w - reference(p)
        risk = 0.5 * p.risk_aversion * p.horizon * float(away @ p.covariance_times(away))
        return float(wanted(p) @ w) - risk - costs(p, w) - taxes(p, w)
    if kind == "max_sharpe":
        volatility = p.volatility(w)
        net = float(p.alpha @ w) - costs(p, w) - taxes(p, w)
        net *= SESSIONS_PER_YEAR / p.horizon
        return net / volatility if volatility > 0 else float("-inf")
    if kind == "risk_budget":
        share = shares(p)
        held = share > 0
        if (w[held] <= 0).any() or not p.volatility(w) > 0:
            return float("-inf")
        return float((share[held] * np.log(w[held])).sum()) - math.log(p.volatility(w))
    if kind == "cvar":
        loss = max(conditional_value_at_risk(scenarios(p) @ w, p.cvar_level), 0.0)
        charged = costs(p, w) + taxes(p, w)
        return -0.5 * p.risk_aversion * p.horizon * (loss / normal_tail(p)) ** 2 - charged
    return float("nan")


def shares(p: Problem) -> Floats:
    """Shares of risk (n) that sum to 1."""
    if p.risk_share is None:
        free = p.free.astype(np.float64)
        return free / max(float(free.sum()), 1.0)
    return p.risk_share / float(p.risk_share.sum())


def scenarios(p: Problem) -> Floats:
    """S × n simple returns over one session."""
    if p.scenarios is None:
        raise ValueError(f"the objective {p.objective_kind} needs scenarios")
    return p.scenarios


def normal_tail(p: Problem) -> float:
    """CVaR of a standard normal loss at the level."""
    normal = NormalDist()
    return normal.pdf(normal.inv_cdf(p.cvar_level)) / (1.0 - p.cvar_level)


def conditional_value_at_risk(returns: Floats, level: float) -> float:
    """Mean of the worst ``1 − level`` of the losses; the scenario at the boundary counts in part."""
    losses = np.sort(-returns)[::-1]
    tail = (1.0 - level) * len(losses)
    count = int(tail)
    whole = float(losses[:count].sum())
    part = (tail - count) * float(losses[count]) if count < len(losses) else 0.0
    return (whole + part) / tail


def slopes(p: Problem, w: Floats, risk_slope: Floats | None = None) -> tuple[Floats, Floats, float]:
    """Derivative at w without costs: of what is wanted, of risk (n each), and the price of one unit of it.

    The slopes of ``max_sharpe`` are those of ``f(w) − (γ*/2) w'Σ_h w`` with ``γ* = f/σ_h²``, which has its
    optimum at the same w: returns over the horizon as elsewhere. The third number is how many units of the
    objective one unit of these slopes is. risk_slope: of the engine, where the risk has kinks.
    """
    kind = p.objective_kind
    if kind in QUADRATIC:
        away = w - reference(p)
        return wanted(p).copy(), -p.risk_aversion * p.horizon * p.covariance_times(away), 1.0
    sigma = p.covariance_times(w)
    variance = max(float(w @ sigma), 1e-300)
    if kind == "max_sharpe":
        net = float(p.alpha @ w) - costs(p, w)
        own = math.sqrt(variance * p.horizon)
        unit = math.sqrt(SESSIONS_PER_YEAR / p.horizon) / own
        return p.alpha.copy(), -(net / variance) * sigma, unit
    if kind == "risk_budget":
        share = shares(p)
        gain = np.divide(share, w, out=np.zeros(len(w)), where=share > 0)
        return gain, -sigma / variance, 1.0
    if kind == "cvar":
        risk = _tail_slope(p, w) if risk_slope is None else risk_slope
        return np.zeros(len(w)), risk, 1.0
    raise ValueError(f"the objective {kind} has no slope")


def _tail_slope(p: Problem, w: Floats) -> Floats:
    """Slope of the CVaR term, with the worst scenarios in their order."""
    R = scenarios(p)
    tail = (1.0 - p.cvar_level) * len(R)
    order = np.argsort(R @ w, kind="stable")
    share = np.clip(tail - np.arange(len(R)), 0.0, 1.0) / tail
    loss = max(conditional_value_at_risk(R @ w, p.cvar_level), 0.0)
    price = p.risk_aversion * p.horizon * loss / normal_tail(p) ** 2
    return np.asarray(price * (share @ R[order]), dtype=np.float64)


__all__ = [
    "HIERARCHICAL", "QUADRATIC", "conditional_value_at_risk", "costs", "normal_tail", "rates", "reference",
    "scenarios", "shares", "slopes", "taxes", "value", "wanted",
]  # fmt: skip
