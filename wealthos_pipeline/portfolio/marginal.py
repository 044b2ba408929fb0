"""Where the marginal utility of each name comes from at an answer, and what each limit costs.

At an optimum the slopes of alpha, risk and cost and the multipliers of the limits sum to zero for every
name that can move. Costs and caps on trades have a kink where a name is not traded (and borrow and gross
exposure where it is not held): their slopes there are any of a range, and the one that makes the sum zero is
taken, the same share of every range. What is then left at a bound of one name is the price of the bound: so
it is what loosening the bound would gain, with the cost of the trade that this allows.
"""

from __future__ import annotations

import numpy as np

from wealthos_pipeline.portfolio import limits, objectives
from wealthos_pipeline.portfolio.problem import SESSIONS_PER_YEAR, Floats, Parts, Problem
from wealthos_pipeline.portfolio.reduced import Outcome, Reduced

NEGLIGIBLE = 1e-10
"""Multipliers (objective per unit of the limit) up to this are the solver's noise."""

_WORDS = {
    "turnover_name": "cap on the trade of one name",
    "adv": "cap on the share of its volume",
    "tracking_error": "tracking error at its cap",
    "gross": "longs and shorts together at their cap",
    "short": "shorts at their cap",
}


def of(p: Problem, form: Reduced, outcome: Outcome, w: Floats) -> tuple[Parts, dict[str, float]]:
    """The parts at w, and the multipliers by ``Limit.key``."""
    gain, risk, unit = objectives.slopes(p, w, outcome.risk_slope)
    duals = {key: rows / unit for key, rows in _wide(form, outcome).items()}
    cost, ranges = _cost(p, w)
    binding: dict[str, Floats] = {}
    bent: list[tuple[str, Floats]] = []  # of limits with a kink here: width of the range
    for limit in form.every:
        rows = duals.get(limit.key)
        if rows is None or not rows.any():
            continue
        match limit.shape:
            case limits.Linear():
                for words, part in _linear(p, limit, limit.shape, rows):
                    _add(binding, words, part)
            case limits.Absolute():
                away = w - limit.shape.reference
                price = float(rows[0])
                slope = limit.shape.scale * np.sign(away) + limit.shape.slope
                _add(binding, _named(limit), -price * slope)
                bent.append((_named(limit), price * limit.shape.scale * (away == 0)))
            case limits.Norm():
                away = w - limit.shape.reference
                size = max(p.volatility(away), 1e-300)
                slope = SESSIONS_PER_YEAR * p.covariance_times(away) / size
                _add(binding, _named(limit), -float(rows[0]) * slope)
            case _:
                pass

    # what the kinks have to give
    missing = -(gain + risk + cost + sum(binding.values(), np.zeros(len(w))))
    low = sum((lo for lo, _ in ranges), np.zeros(len(w))) - sum((x for _, x in bent), np.zeros(1))
    high = sum((hi for _, hi in ranges), np.zeros(len(w))) + sum((x for _, x in bent), np.zeros(1))
    wide = high - low
    share = np.divide(missing - low, wide, out=np.zeros(len(w)), where=wide > 0)
    share = np.clip(share, 0.0, 1.0)
    for lo, hi in ranges:
        cost = cost + np.where(wide > 0, lo + share * (hi - lo), 0.0)
    for name, width in bent:
        _add(binding, name, np.where(wide > 0, (2.0 * share - 1.0) * width, 0.0))

    # what is left at a bound is the price of the bound
    left = -(gain + risk + cost + sum(binding.values(), np.zeros(len(w))))
    above = np.where(p.free & (w >= form.high.bound), np.maximum(-left, 0.0), 0.0)
    below = np.where(p.free & (w <= -form.low.bound), np.maximum(left, 0.0), 0.0)
    for key, rows in form.bound_duals(above, below).items():
        limit = next(x for x in form.every if x.key == key)
        assert isinstance(limit.shape, limits.Linear)
        for words, part in _linear(p, limit, limit.shape, rows):
            _add(binding, words, part)
        duals[key] = duals[key] + rows if key in duals else rows

    constraint = np.where(p.free, sum(binding.values(), np.zeros(len(w))), 0.0)
    fixed = ~p.free
    constraint[fixed] = -(gain + risk + cost)[fixed]
    binding = {
        words: np.where(p.free, part, 0.0)
        for words, part in binding.items()
        if np.abs(part[p.free]).max(initial=0.0) > 0
    }
    prices = {key: unit * float(rows.sum()) for key, rows in duals.items()}
    prices |= _fixed(form, unit * constraint)
    return Parts(gain, risk, cost, constraint, binding), {
        limit.key: prices[limit.key]
        for limit in form.every
        if prices.get(limit.key, 0.0) > NEGLIGIBLE
    }


def _wide(form: Reduced, outcome: Outcome) -> dict[str, Floats]:
    """The engine's multipliers without those of rows with one name."""
    out = {}
    for limit in form.every:
        rows, shape = outcome.duals.get(limit.key), limit.shape
        if rows is None:
            continue
        if isinstance(shape, limits.Linear):
            size = np.bincount(shape.rows.row, minlength=len(shape.right))
            rows = np.where(size > 1, rows, 0.0)
        if rows.any():
            out[limit.key] = rows
    return out


def _add(binding: dict[str, Floats], words: str, part: Floats) -> None:
    binding[words] = binding[words] + part if words in binding else part


def _cost(p: Problem, w: Floats) -> tuple[Floats, list[tuple[Floats, Floats]]]:
    """Slope of minus the costs without kinks, and at kinks the range that it can have (low, high)."""
    linear, impact, borrow = objectives.rates(p)
    away = w - p.w0
    steep = linear + impact * (1.0 + p.impact_exponent) * np.abs(away) ** p.impact_exponent
    slope = -steep * np.sign(away) + borrow * (w < 0)
    still, empty = linear * (away == 0), borrow * (w == 0)
    return slope, [(-still, still), (np.zeros(len(w)), empty)]


def _linear(
    p: Problem, limit: limits.Limit, shape: limits.Linear, rows: Floats
) -> list[tuple[str, Floats]]:
    n = len(p.ids)
    entries = shape.rows
    if limit.kind != "sectors":
        part = np.bincount(entries.column, -rows[entries.row] * entries.value, n)
        return [(_named(limit), part.astype(np.float64))]
    names = [g.name for g in p.groups if g.kind == "sector_cap" and g.upper is not None]
    out = []
    for row in map(int, np.flatnonzero(rows)):
        mine = entries.row == row
        part = np.bincount(entries.column[mine], -rows[row] * entries.value[mine], n)
        out.append((f"{names[row]} at its cap", part.astype(np.float64)))
    return out


def names(p: Problem, limit: limits.Limit) -> tuple[str, ...]:
    """What ``Parts.binding`` calls a limit: one name, or one a sector."""
    if limit.kind != "sectors":
        return (_named(limit),)
    capped = [g for g in p.groups if g.kind == "sector_cap" and g.upper is not None]
    return tuple(f"{g.name} at its cap" for g in capped)


def _named(limit: limits.Limit) -> str:
    """What binds, in words."""
    if limit.kind in ("groups", "exposures", "beta"):
        side, _, name = limit.key.partition(" ")
        name = f"exposure to {name}" if limit.kind == "exposures" else name
        return f"{name} at its {'cap' if side == 'max' else 'minimum'}"
    return _WORDS.get(limit.kind, limit.kind)


def _fixed(form: Reduced, constraint: Floats) -> dict[str, float]:
    """What one more unit of freedom for each name of a reason would gain."""
    out = {}
    for limit in form.every:
        if limit.kind == "fixed" and isinstance(limit.shape, limits.Linear):
            names = np.unique(limit.shape.rows.column)
            out[limit.key] = float(np.abs(constraint[names]).sum())
    return out
