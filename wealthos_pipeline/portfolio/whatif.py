"""What if: nothing were done, a limit were loosened, a limit or the mandate said something else.

Every answer compares two portfolios of one problem, in the same units: shares of net asset value over the
horizon, and a year (× 252 / horizon). ``Comparison.rows`` is the data, ``Comparison.words`` a few sentences.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wealthos_pipeline.portfolio import limits, loosen, objectives
from wealthos_pipeline.portfolio.limits import Limit
from wealthos_pipeline.portfolio.problem import SESSIONS_PER_YEAR, Floats, Problem, Solution
from wealthos_pipeline.portfolio.words import number, percent

ANSWERED = ("optimal", "softened", "rule")
STEP = {"weight": 0.01, "volatility": 0.01, "names": 1.0, "exposure": 0.1, "beta": 0.1}
"""A step of a limit that a person would think in: a percent, a name, a tenth."""
MISSED = 1e-8
"""Limits are broken beyond this."""


@dataclass(frozen=True, slots=True)
class Row:
    """One measure of the two portfolios. unit: ``return`` (over the horizon), ``year`` (annualised) or ``weight``."""

    measure: str
    unit: str
    before: float
    after: float

    @property
    def change(self) -> float:
        """After less before."""
        return self.after - self.before


@dataclass(frozen=True, eq=False)
class Comparison:
    """before, after: what the two portfolios are called. broken: limits that ``before`` misses, in words."""

    before: str
    after: str
    rows: tuple[Row, ...]
    words: tuple[str, ...]
    broken: tuple[str, ...] = ()
    solution: Solution | None = None

    def data(self) -> dict[str, object]:
        """As JSON takes it."""
        return {
            "before": self.before,
            "after": self.after,
            "measures": [
                {
                    "measure": r.measure,
                    "unit": r.unit,
                    "before": r.before,
                    "after": r.after,
                    "change": r.change,
                }
                for r in self.rows
            ],
            "broken": list(self.broken),
            "words": list(self.words),
        }


def nothing(p: Problem, found: Solution) -> Comparison:
    """The portfolio as it is beside the one proposed."""
    broken = tuple(_broken(p, limit, p.w0) for limit in limits.of(p))
    broken = tuple(x for x in broken if x)
    rows = measured(p, p.w0, found.weights)
    words: list[str] = []
    if found.status not in ANSWERED:
        words.append("There is no answer to compare with; what is held stays as it is.")
    else:
        gain = next((r for r in rows if r.measure == "objective"), None)
        year = SESSIONS_PER_YEAR / p.horizon
        if gain is not None and np.isfinite(gain.change):
            verb = "gives up" if gain.change >= 0 else "saves"
            words.append(
                f"Doing nothing {verb} {_bp(abs(gain.change))} over {p.horizon} sessions "
                f"({_bp(abs(gain.change) * year)} a year), after risk and cost."
            )
        volatility = next(r for r in rows if r.measure == "volatility")
        words.append(
            f"Volatility stays at {percent(volatility.before)} a year instead of "
            f"{percent(volatility.after)}."
        )
        full = next(r for r in rows if r.measure == "cost of the trades")
        words.append(f"Nothing is paid for trading, instead of {_bp(full.after)}.")
    if broken:
        words.append("But what is held breaks limits: " + "; ".join(broken) + ".")
    return Comparison("as it is", "proposed", rows, tuple(words), broken, found)


def measured(p: Problem, before: Floats, after: Floats) -> tuple[Row, ...]:
    """The measures of two portfolios of one problem."""
    year = SESSIONS_PER_YEAR / p.horizon

    def both(measure: str, unit: str, of: object) -> Row:
        assert callable(of)
        return Row(measure, unit, float(of(before)), float(of(after)))

    rows = [both("objective", "return", lambda w: objectives.value(p, w))]
    if p.objective_kind in objectives.QUADRATIC:
        rows.append(both("objective, a year", "year", lambda w: objectives.value(p, w) * year))
    rows += [
        both("expected return", "return", lambda w: p.alpha @ w),
        both("expected return, a year", "year", lambda w: p.alpha @ w * year),
        both("volatility", "year", p.volatility),
        both("tracking error", "year", lambda w: p.volatility(w - p.benchmark)),
        both("cost charged", "return", lambda w: objectives.costs(p, w)),
        both("cost charged, a year", "year", lambda w: objectives.costs(p, w) * year),
        *(
            [both("tax charged", "return", lambda w: objectives.taxes(p, w))]
            if p.tax is not None
            else []
        ),
        both("cost of the trades", "weight", lambda w: _full(p, w)),
        both("turnover", "weight", p.turnover),
        both("invested", "weight", np.sum),
        both("names", "names", lambda w: (np.abs(w) > 1e-9).sum()),
    ]
    if p.tax is not None:
        from wealthos_pipeline.portfolio import tax

        rows.append(both("tax", "weight", lambda w: tax.tax_of(p, w)))
        rows.append(both("realised gains", "weight", lambda w: tax.realised(p, w)))
    return tuple(rows)


def _full(p: Problem, w: Floats) -> float:
    """What the trades cost at once, of net asset value, without borrow."""
    traded = np.abs(w - p.w0)
    impact = 0.0
    if p.impact is not None:
        impact = float((p.impact * traded ** (1.0 + p.impact_exponent)).sum())
    return float((p.cost * traded).sum()) + impact


@dataclass(frozen=True, slots=True)
class Price:
    """What loosening one limit is worth at the margin: objective per unit, and per ``step`` in words."""

    key: str
    kind: str
    limit: str
    value: float | None
    unit: str
    per_unit: float
    words: str


def prices(p: Problem, found: Solution) -> tuple[Price, ...]:
    """Every binding limit with its multiplier, dearest first; none where the solver gave none."""
    year = SESSIONS_PER_YEAR / p.horizon
    out = []
    for limit in limits.of(p):
        price = found.multipliers.get(limit.key, 0.0)
        if price <= 0:
            continue
        step = STEP.get(limit.unit, 0.01)
        gain = price * step
        if p.objective_kind in objectives.QUADRATIC or p.objective_kind == "cvar":
            worth = f"{_bp(gain)} over {p.horizon} sessions ({_bp(gain * year)} a year)"
        else:
            worth = f"{gain:.3g} of the objective"
        more = "more or less" if limit.sign == 0 else "looser"
        words = f"{limit.words}: {number(step, limit.unit)} {more} is worth about {worth}."
        out.append(Price(limit.key, limit.kind, limit.words, limit.value, limit.unit, price, words))
    return tuple(sorted(out, key=lambda x: (-x.per_unit * STEP.get(x.unit, 0.01), x.key)))


def loosened(
    p: Problem, found: Solution, key: str, *, to: float | None = None, by: float | None = None
) -> Comparison:
    """The answer with the limit ``key`` at ``to`` (or looser ``by``, in its unit; neither: one step), solved again.

    PortfolioError for a key that the problem does not have, and for one without a number.
    """
    limit = loosen.find(p, key)
    if to is not None:
        q = loosen.to(p, key, to)
        said = number(to, limit.unit)
    else:
        amount = STEP.get(limit.unit, 0.01) if by is None else by
        q = loosen.moved(p, limit, amount)
        said = f"{number(abs(amount), limit.unit)} {'looser' if amount >= 0 else 'tighter'}"
    return _again(p, found, q, f"{key}: {said}", f"{limit.words}: {said}")


def changed(p: Problem, found: Solution, q: Problem, words: str) -> Comparison:
    """The answer to another problem of the same date, e.g. of a mandate with another field, beside this one.

    Names may differ: measures of both are those of ``q`` where it has them.
    """
    return _again(p, found, q, "changed", words)


def _again(p: Problem, found: Solution, q: Problem, name: str, said: str) -> Comparison:
    from wealthos_pipeline.portfolio.optimization import optimise

    other = optimise(q)
    at = dict(zip(p.ids, found.weights, strict=True))
    before = np.array([at.get(i, 0.0) for i in q.ids])
    rows = measured(q, before, other.weights)
    if other.status not in ANSWERED:
        why = " ".join(other.conflicts) or other.message
        none = (f"With {_lower(said)}, there is no answer ({other.status}): {why}",)
        return Comparison("now", name, rows, none, solution=other)
    gain = next(r for r in rows if r.measure == "objective").change
    moved = 0.5 * float(np.abs(other.weights - before).sum())
    if found.status not in ANSWERED:
        head = f"With {_lower(said)}, there is an answer; now there is none."
    elif moved <= 1e-6:
        head = f"With {_lower(said)}, the portfolio stays as it is."
    elif p.objective_kind in objectives.QUADRATIC:
        year = SESSIONS_PER_YEAR / p.horizon
        verb = "gains" if gain >= 0 else "loses"
        head = (
            f"With {_lower(said)}, the objective {verb} {_bp(abs(gain))} over {p.horizon} sessions "
            f"({_bp(abs(gain) * year)} a year), and {percent(moved)} of the portfolio differs."
        )
    else:
        head = f"With {_lower(said)}, {percent(moved)} of the portfolio differs."
    names = ", ".join(_moves(q, before, other.weights))
    rest = (f"Most of it: {names}.",) if moved > 1e-6 and names else ()
    return Comparison("now", name, rows, (head, *rest), solution=other)


def _moves(p: Problem, before: Floats, after: Floats, most: int = 5) -> list[str]:
    change = after - before
    order = np.argsort(-np.abs(change), kind="stable")[:most]
    return [
        f"{p.ids[i]} {percent(float(before[i]))} → {percent(float(after[i]))}"
        for i in order
        if abs(change[i]) >= 5e-5
    ]


def _broken(p: Problem, limit: Limit, w: Floats) -> str:
    miss = limits.excess(p, limit, w)
    if miss <= MISSED:
        return ""
    return f"{_lower(limit.words)} is missed by {number(miss, limit.unit)}"


def _bp(x: float) -> str:
    """Small returns in basis points, large ones in percent."""
    return percent(x) if abs(x) >= 0.01 else f"{1e4 * x:.2f} bp".replace("-", "−")


def _lower(text: str) -> str:
    """The first letter small, unless the first word is an abbreviation."""
    return text if text[:2].isupper() else text[:1].lower() + text[1:]
