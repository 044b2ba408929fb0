"""What must be true of a problem before a solver sees it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from wealthos_pipeline.core.mandate import HIERARCHICAL
from wealthos_pipeline.portfolio.problem import Bools, Exposure, Floats, Group, Problem

VECTORS = ("w0", "benchmark", "alpha", "d", "cost", "lower", "upper", "fixed")
OPTIONAL = ("impact", "borrow", "lot", "risk_share")
POSITIVE = ("risk_aversion", "holding_period", "horizon")
CAPS = ("max_volatility", "max_tracking_error", "max_gross", "min_holding", "min_trade")
FLOORS = ("max_turnover", "max_short")
SCENARIOS = ("cvar", *HIERARCHICAL)


def faults(p: Problem) -> list[str]:
    """Everything that is wrong, in words. What needs the right shapes is looked at when they are right."""
    out = list(_shapes(p))
    return out if out else [*_values(p), *_bounds(p), *_parts(p), *_kind(p)]


def _shapes(p: Problem) -> Iterator[str]:
    n, k = len(p.ids), p.F.shape[0] if p.F.ndim == 2 else -1
    if n == 0:
        yield "there are no names"
    if list(p.ids) != sorted(set(p.ids)):
        yield "ids are not unique and ascending"
    shapes = {**dict.fromkeys(VECTORS, (n,)), "B": (n, k), "F": (k, k)}
    shapes |= {name: (n,) for name in OPTIONAL if getattr(p, name) is not None}
    for name, shape in shapes.items():
        value = getattr(p, name)
        if value.shape != shape:
            yield f"{name} has shape {value.shape}, expected {shape}"
        elif name != "fixed" and not np.isfinite(value).all():
            who = _rows(p, value) if name != "F" else _places(value)
            yield f"{name} is not finite for {who}"
    if p.scenarios is not None:
        if p.scenarios.ndim != 2 or p.scenarios.shape[1] != n:
            yield f"scenarios have shape {p.scenarios.shape}, expected (sessions, {n})"
        elif not np.isfinite(p.scenarios).all():
            yield f"scenarios are not finite for {_rows(p, p.scenarios.T)}"
    if len(p.fixed_why) != n:
        yield f"fixed_why has {len(p.fixed_why)} entries, expected {n}"
    for g in p.groups:
        if g.members.shape != (n,):
            yield f"group {g.name}: members have shape {g.members.shape}, expected {(n,)}"
    for e in p.exposures:
        if e.loadings.shape != (n,):
            yield f"{e.name}: loadings have shape {e.loadings.shape}, expected {(n,)}"
        elif not np.isfinite(e.loadings).all():
            yield f"{e.name}: loadings are not finite for {_rows(p, e.loadings)}"
    for cap in p.trade_caps:
        if cap.caps.shape != (n,):
            yield f"{cap.kind}: caps have shape {cap.caps.shape}, expected {(n,)}"


def _values(p: Problem) -> Iterator[str]:
    if np.isinf(p.fixed).any():
        yield "fixed holds an infinite weight"
    if (p.d < 0).any():
        yield f"d holds a negative volatility for {_names(p, p.d < 0)}"
    if (p.cost < 0).any():
        yield f"cost is negative for {_names(p, p.cost < 0)}"
    for name in ("impact", "borrow"):
        value = getattr(p, name)
        if value is not None and (value < 0).any():
            yield f"{name} is negative for {_names(p, value < 0)}"
    if p.F.size:
        least = float(np.linalg.eigvalsh(0.5 * (p.F + p.F.T)).min())
        largest = float(np.abs(p.F).max())
        if least < -1e-10 * max(1e-300, largest):
            yield "F is not positive semidefinite"
        if float(np.abs(p.F - p.F.T).max()) > 1e-8 * max(1e-300, largest):
            yield "F is not symmetric"
    if not np.isfinite(p.budget):
        yield f"budget is {p.budget}, expected a number"
    for name in POSITIVE:
        value = float(getattr(p, name))
        if not np.isfinite(value) or value <= 0:
            yield f"{name} is {value}, expected a positive number"
    if not 0 < p.impact_exponent <= 1:
        yield f"impact_exponent is {p.impact_exponent}, expected above 0 and at most 1"
    if not 0.5 < p.cvar_level < 1:
        yield f"cvar_level is {p.cvar_level}, expected between 0.5 and 1"


def _bounds(p: Problem) -> Iterator[str]:
    for i in np.flatnonzero(p.lower > p.upper)[:5]:
        yield f"{p.ids[i]}: lower {p.lower[i]} is above upper {p.upper[i]}"
    for name in CAPS:
        value = getattr(p, name)
        if value is not None and not (np.isfinite(value) and value > 0):
            yield f"{name} is {value}, expected a positive number"
    for name in FLOORS:
        value = getattr(p, name)
        if value is not None and not (np.isfinite(value) and value >= 0):
            yield f"{name} is {value}, expected a number of at least 0"
    for name in ("max_names", "min_names"):
        value = getattr(p, name)
        if value is not None and value < (1 if name == "max_names" else 0):
            yield f"{name} is {value}, expected at least 1"
    several: list[Group | Exposure] = [*p.groups, *p.exposures]
    called = [x.name for x in several if getattr(x, "kind", "") != "sector_cap"]
    for name in sorted({x for x in called if called.count(x) > 1}):
        yield f"{called.count(name)} groups or exposures are called {name!r}; their limits need names of their own"
    for bounded in several:
        for side in (bounded.lower, bounded.upper):
            if side is not None and not np.isfinite(side):
                yield f"{bounded.name}: a bound is {side}, expected a number"
    for cap in p.trade_caps:
        if np.isnan(cap.caps).any() or (cap.caps < 0).any():
            yield f"{cap.kind}: caps are negative or NaN for {_names(p, ~(cap.caps >= 0))}"


def _parts(p: Problem) -> Iterator[str]:
    if p.lot is not None and (p.lot < 0).any():
        yield f"lot is negative for {_names(p, p.lot < 0)}"
    if p.tax is None:
        return
    m = len(p.tax.row)
    for name in ("weight", "gain", "rate"):
        value = getattr(p.tax, name)
        if value.shape != (m,):
            yield f"tax lots: {name} has shape {value.shape}, expected {(m,)}"
        elif not np.isfinite(value).all():
            yield f"tax lots: {name} is not finite for {int((~np.isfinite(value)).sum())} lots"
    if m and (p.tax.row.min() < 0 or p.tax.row.max() >= len(p.ids)):
        yield f"tax lots: rows outside the {len(p.ids)} names"
    if p.tax.weight.shape == (m,) and (p.tax.weight <= 0).any():
        yield f"tax lots: weight is not above 0 for {int((p.tax.weight <= 0).sum())} lots"


def _kind(p: Problem) -> Iterator[str]:
    kind = p.objective_kind
    if kind in SCENARIOS:
        if p.scenarios is None:
            yield f"the objective {kind} needs scenarios (sessions × names), and there are none"
        elif len(p.scenarios) < 2:
            yield f"the objective {kind} needs at least 2 scenarios, found {len(p.scenarios)}"
    if kind == "risk_budget" and p.risk_share is not None:
        if (p.risk_share < 0).any():
            yield f"risk_share is negative for {_names(p, p.risk_share < 0)}"
        if not float(p.risk_share.sum()) > 0:
            yield "risk_share sums to 0, expected shares that sum to 1"
        if (p.risk_share[~p.free] > 0).any():
            who = _names(p, (p.risk_share > 0) & ~p.free)
            yield f"risk_share is above 0 for names whose weight is fixed: {who}"
    if kind in ("risk_budget", "max_sharpe", *HIERARCHICAL) and not p.budget > 0:
        yield f"budget is {p.budget}, expected above 0 for the objective {kind}"
    if kind == "equal_weight":
        yield "the objective equal_weight is a rule, 1/N, and not solved for"


def _names(p: Problem, bad: Bools) -> str:
    rows = np.flatnonzero(np.asarray(bad))
    return f"{', '.join(p.ids[i] for i in rows[:5])} ({len(rows)} in all)"


def _rows(p: Problem, value: Floats) -> str:
    return _names(p, np.asarray(~np.isfinite(value).reshape(len(value), -1).all(axis=1)))


def _places(F: Floats) -> str:
    rows = np.flatnonzero(~np.isfinite(F).all(axis=1))
    return f"{', '.join(map(str, rows[:5]))} ({len(rows)} in all)"
