"""Pre-trade compliance: every limit of a mandate at what is held, at the targets, at the rounded orders.

The limits are those that the solver was given (``limits.of``), measured again here. At the targets a
limit may be missed by the solver's tolerance; at the orders by what one lot of one traded name
can do to it, save what must hold to the last share: largest and smallest weights, counts, shorts, trades.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl

from wealthos_pipeline.core.data import contract
from wealthos_pipeline.portfolio import limits
from wealthos_pipeline.portfolio.limits import Absolute, Count, Gains, Gap, Limit, Linear, Norm
from wealthos_pipeline.portfolio.problem import SESSIONS_PER_YEAR, Floats, Problem

Stage = Literal["held", "target", "orders"]

TOLERANCE = 1e-8
"""By how much a target may miss a limit: what the solver is asked for."""
STRICT = (
    "upper",
    "lower",
    "names",
    "min_holding",
    "min_trade",
    "gross",
    "short",
    "adv",
    "turnover_name",
)
"""Kinds that rounding must keep: it can always be done so that it keeps them."""  # fmt: skip


@dataclass(frozen=True)
class Measured:
    """A limit at some weights: what was found, what is allowed, and where it is nearest to it."""

    value: float | None
    bound: float | None
    worst: str | None = None


def check(
    p: Problem,
    weights: Floats,
    stage: Stage,
    *,
    lots: Floats | None = None,
    given_way: Mapping[str, float] | None = None,
    paid: float = 0.0,
) -> pl.DataFrame:
    """Columns ``stage`` to ``passed`` of ``portfolio.compliance``, one row a limit of ``p``.

    weights: n fractions of NAV. lots: weight of one lot of each name that is traded (n, 0 for others), at
    stage ``orders``. given_way: by key, how far a softened decision misses a limit: the orders may as far.
    paid: cost of the orders, a fraction of NAV: it is taken from what is to be invested.
    """
    step = np.zeros(len(p.ids)) if lots is None else lots
    rows = []
    for limit in limits.of(p):
        excess = limits.excess(p, limit, weights)
        found = measured(p, limit, weights, excess)
        tolerance = TOLERANCE
        if stage == "orders" and limit.kind not in STRICT:
            tolerance += one_lot(p, limit, step) + (paid if limit.kind == "budget" else 0.0)
        given = (given_way or {}).get(limit.key, 0.0)
        rows.append(
            {
                "stage": stage,
                "limit": limit.key,
                "kind": limit.kind,
                "words": limit.words + (" (gave way in the decision)" if given > TOLERANCE else ""),
                "worst": found.worst,
                "value": found.value,
                "bound": found.bound,
                "excess": excess,
                "tolerance": max(given, 0.0) + tolerance,
                "passed": bool(excess <= max(given, 0.0) + tolerance),
            }
        )
    schema = contract("portfolio.compliance").schema()
    for name in ("mandate", "run_kind", "date"):
        schema.pop(name)
    return pl.DataFrame(rows, schema=schema)


def failed(rows: pl.DataFrame) -> list[str]:
    """What is missed, in words: one line a limit that fails."""
    out = []
    for r in rows.filter(~pl.col("passed")).iter_rows(named=True):
        where = f" ({r['worst']})" if r["worst"] else ""
        out.append(
            f"{r['words']}{where}: missed by {_number(r['excess'], r['kind'])}"
            + (f", found {_number(r['value'], r['kind'])}" if r["value"] is not None else "")
        )
    return out


def measured(p: Problem, limit: Limit, w: Floats, excess: float) -> Measured:
    """What a limit measures at w. One with many rows is measured at its worst."""
    shape = limit.shape
    match shape:
        case Linear() if limit.kind in ("turnover_name", "adv"):
            sides = shape.sides(w) - shape.right
            r = int(np.argmax(sides))
            i = int(shape.rows.column[np.flatnonzero(shape.rows.row == r)[0]])
            change = abs(float(w[i] - p.w0[i]))
            return Measured(change, change - float(sides[r]), p.ids[i])
        case Linear():
            return _row(p, limit, shape, w)
        case Absolute():
            return Measured(shape.right + excess, shape.right)
        case Norm():
            return Measured(shape.right + excess, shape.right)
        case Count():
            held = float((np.abs(w) > 1e-9).sum())
            return Measured(held, float(shape.number))
        case Gap():
            away = np.where(p.free, np.abs(w - shape.reference), np.inf)
            away = np.where(away > 1e-9, away, np.inf)
            i = int(np.argmin(away))
            if not np.isfinite(away[i]):
                return Measured(None, shape.size)
            return Measured(float(away[i]), shape.size, p.ids[i])
        case Gains():
            return Measured(shape.right + excess, shape.right)


def _row(p: Problem, limit: Limit, shape: Linear, w: Floats) -> Measured:
    sides = shape.sides(w)
    if not len(sides):
        return Measured(None, None)
    r = int(np.argmax(sides - shape.right))
    mine = np.flatnonzero(shape.rows.row == r)
    sign = limit.sign
    if sign == 0 and len(mine):  # an equality is two rows, of which one is negated
        sign = float(np.sign(shape.rows.value[mine[0]]))
    worst = None
    if limit.kind == "sectors":
        capped = [g for g in p.groups if g.kind == "sector_cap" and g.upper is not None]
        worst = capped[r].name
    elif len(mine) == 1 and len(shape.right) > 1:
        worst = p.ids[int(shape.rows.column[mine[0]])]
    return Measured(float(sign * sides[r]) + 0.0, float(sign * shape.right[r]) + 0.0, worst)


def one_lot(p: Problem, limit: Limit, lots: Floats) -> float:
    """The most that one lot of one name moves what ``limit`` measures, in its unit; lots: n weights."""
    shape = limit.shape
    top = 0.0
    match shape:
        case Linear():
            step = np.abs(shape.rows.value) * lots[shape.rows.column]
            top = float(np.max(step, initial=0.0))
        case Absolute():
            top = float(np.max((shape.scale + np.abs(shape.slope)) * lots, initial=0.0))
        case Norm():
            own = ((p.B @ p.F) * p.B).sum(axis=1) + p.d**2
            top = float(np.max(np.sqrt(own * SESSIONS_PER_YEAR) * lots, initial=0.0))
        case Gains():
            if p.tax is not None and len(p.tax.row):
                top = float(np.max(np.abs(p.tax.gain) * lots[p.tax.row], initial=0.0))
        case Count() | Gap():
            pass
    return top


def _number(x: float, kind: str) -> str:
    if kind == "names":
        return f"{x:.0f}"
    if kind in ("beta", "exposures"):
        return f"{x:.4f}".replace("-", "−")
    small = abs(x) < 5e-5 and x != 0
    return (f"{100 * x:.2g} %" if small else f"{100 * x:.2f} %").replace("-", "−")
