"""Every limit of a problem, by name: what it says, in which shape, and how far some weights miss it.

One list serves the solvers, the certificate, the diagnosis, the softening, the reasons and pre-trade
compliance. A limit has one of five shapes; a solver that cannot take a shape says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from wealthos_pipeline.portfolio import conic
from wealthos_pipeline.portfolio.problem import SESSIONS_PER_YEAR, Floats, Problem
from wealthos_pipeline.portfolio.words import capital, count, percent, span

_KNOWN = "_limits"
"""Where a problem keeps the list of its limits once it was made."""

Unit = Literal["weight", "volatility", "exposure", "beta", "names"]


@dataclass(frozen=True, eq=False)
class Linear:
    """``A w ≤ right``, row by row; an equality is two rows."""

    rows: conic.Entries
    right: Floats

    def sides(self, w: Floats) -> Floats:
        """``A w``."""
        used = self.rows.value * w[self.rows.column]
        out: Floats = np.bincount(self.rows.row, used, len(self.right)).astype(np.float64)
        return out


@dataclass(frozen=True, eq=False)
class Absolute:
    """``Σ scale_i |w_i − reference_i| + slope'w ≤ right``; all n, scale ≥ 0."""

    scale: Floats
    reference: Floats
    slope: Floats
    right: float


@dataclass(frozen=True, eq=False)
class Norm:
    """Forecast volatility of ``w − reference``, annualised, at most ``right``."""

    reference: Floats
    right: float


@dataclass(frozen=True, eq=False)
class Count:
    """At least, or at most, ``number`` names with a weight that is not 0."""

    number: int
    at_least: bool


@dataclass(frozen=True, eq=False)
class Gap:
    """``|w_i − reference_i|`` is 0 or at least ``size``, for every free name."""

    reference: Floats
    size: float


@dataclass(frozen=True, eq=False)
class Gains:
    """Realised gains of the lots sold (``Problem.tax``), net of losses, at most ``right`` of NAV."""

    right: float


Shape = Linear | Absolute | Norm | Count | Gap | Gains


@dataclass(frozen=True, eq=False)
class Limit:
    """One named limit.

    key: unique in its problem. kind: ``budget``, ``fixed``, or one of ``core.mandate.SOFTENABLE``. words: what it
    says, without a full stop. value: the number that a person would change, None where names have
    different ones (each is relaxed by the same slack). sign: +1 relaxed upward, −1 downward, 0 either way.
    """

    key: str
    kind: str
    words: str
    value: float | None
    sign: float
    unit: Unit
    shape: Shape


def of(p: Problem) -> list[Limit]:
    """Every limit, in the order in which the deletion filter of the diagnosis tries to do without it."""
    known = vars(p).get(_KNOWN)
    if known is None:
        known = tuple(_listed(p))
        vars(p)[_KNOWN] = known  # a problem does not change, and is asked many times
    return list(known)


def _listed(p: Problem) -> list[Limit]:
    return [
        *_trading(p), *_box(p, upper=True), *_groups(p), *_exposures(p), *_whole(p),
        *_box(p, upper=False), *_fixed(p), _budget(p), *_risk(p),
    ]  # fmt: skip


def excess(p: Problem, limit: Limit, w: Floats) -> float:
    """How far w misses the limit, in the limit's unit; 0 or less where it is met.

    A gap that is missed by less than 1e-9 of its reference counts as no holding (no trade).
    """
    shape = limit.shape
    match shape:
        case Linear():
            return float(np.max(shape.sides(w) - shape.right, initial=-np.inf))
        case Absolute():
            moved = float((shape.scale * np.abs(w - shape.reference)).sum())
            return moved + float(shape.slope @ w) - shape.right
        case Norm():
            return p.volatility(w - shape.reference) - shape.right
        case Count():
            held = int((np.abs(w) > 1e-9).sum())
            return float(shape.number - held if shape.at_least else held - shape.number)
        case Gap():
            away = np.abs(w - shape.reference)[p.free]
            return float(np.max(np.where(away > 1e-9, shape.size - away, 0.0), initial=0.0))
        case Gains():
            from wealthos_pipeline.portfolio import tax

            return tax.realised(p, w) - shape.right


def violation(p: Problem, w: Floats) -> float:
    """Largest miss of any limit at w, each in its own unit; 0 where all are met."""
    return max([0.0, *(excess(p, limit, w) for limit in of(p))])


def _trading(p: Problem) -> list[Limit]:
    out = []
    free = p.free.astype(float)
    zero = np.zeros(len(p.ids))
    if p.max_turnover is not None:
        text = f"Turnover of at most {percent(p.max_turnover)}"
        shape = Absolute(0.5 * free, np.where(p.free, p.w0, 0.0), zero, p.max_turnover)
        out.append(Limit("turnover", "turnover", text, p.max_turnover, 1.0, "weight", shape))
    for trade in p.trade_caps:
        where = np.flatnonzero(p.free & np.isfinite(trade.caps))
        if len(where):
            rows = conic.Entries(
                np.arange(2 * len(where)), np.tile(where, 2), np.repeat([1.0, -1.0], len(where))
            )
            right = np.concatenate(
                [trade.caps[where] + p.w0[where], trade.caps[where] - p.w0[where]]
            )
            value = _common(trade.caps[where])
            out.append(
                Limit(
                    trade.kind, trade.kind, trade.words, value, 1.0, "weight", Linear(rows, right)
                )
            )
    if p.tax is not None and p.tax.gains_budget is not None:
        text = f"Realised gains of at most {percent(p.tax.gains_budget)} of net asset value"
        cap = p.tax.gains_budget
        out.append(Limit("gains", "gains", text, cap, 1.0, "weight", Gains(cap)))
    if p.min_trade is not None:
        text = f"No trade smaller than {percent(p.min_trade)}"
        gap = Gap(p.w0, p.min_trade)
        out.append(Limit("min_trade", "min_trade", text, p.min_trade, -1.0, "weight", gap))
    return out


def _box(p: Problem, *, upper: bool) -> list[Limit]:
    n, free = len(p.ids), p.free
    if upper:
        hi = np.where(free, p.upper, np.maximum(p.upper, np.nan_to_num(p.fixed)))
        caps = p.upper[free]
        shape = Linear(conic.diagonal(1.0, n), hi)
        words = f"At most {span(caps)} a name"
        return [Limit("upper", "upper", words, _common(caps), 1.0, "weight", shape)]
    lo = np.where(free, p.lower, np.minimum(p.lower, np.nan_to_num(p.fixed)))
    floors = p.lower[free]
    long_only = bool(len(floors)) and bool((floors == 0).all())
    words = "Long only, no weight below 0 %" if long_only else f"At least {span(floors)} a name"
    shape = Linear(conic.diagonal(-1.0, n), -lo)
    return [Limit("lower", "lower", words, _common(floors), -1.0, "weight", shape)]


def _groups(p: Problem) -> list[Limit]:
    out: list[Limit] = []
    capped = [g for g in p.groups if g.kind == "sector_cap" and g.upper is not None]
    if capped:
        cap = float(capped[0].upper or 0.0)
        rows = conic.dense(np.array([g.members for g in capped], dtype=float))
        right = np.array([g.upper for g in capped], dtype=float)
        text = f"At most {percent(cap)} a sector"
        out.append(Limit("sectors", "sectors", text, cap, 1.0, "weight", Linear(rows, right)))
    for g in p.groups:
        if g.kind != "group":
            continue
        member = g.members.astype(float)
        beside = float(p.benchmark[g.members].sum()) if g.active else 0.0
        than = " more than the benchmark" if g.active else ""
        out += _two_sided(
            g.name, "groups", capital(g.name), member, g.lower, g.upper, beside, "weight", than
        )  # fmt: skip
    return out


def _exposures(p: Problem) -> list[Limit]:
    out: list[Limit] = []
    for e in p.exposures:
        beside = float(e.loadings @ p.benchmark) if e.active else 0.0
        name = "Beta" if e.kind == "beta" else f"Exposure to {e.name}"
        than = " against the benchmark" if e.active else ""
        unit: Unit = "beta" if e.kind == "beta" else "exposure"
        out += _two_sided(
            e.name, e.kind, name, e.loadings, e.lower, e.upper, beside, unit, than
        )  # fmt: skip
    return out


def _two_sided(
    name: str,
    kind: str,
    subject: str,
    row: Floats,
    lower: float | None,
    upper: float | None,
    beside: float,
    unit: Unit,
    than: str,
) -> list[Limit]:
    def say(x: float) -> str:
        number = percent(x) if unit == "weight" else f"{x:.2f}".replace("-", "−")
        return number + than

    out = []
    if upper is not None:
        shape = Linear(conic.dense(row), np.array([upper + beside]))
        words = f"{subject}: at most {say(upper)}"
        out.append(Limit(f"max {name}", kind, words, upper, 1.0, unit, shape))
    if lower is not None:
        shape = Linear(conic.dense(-row), np.array([-(lower + beside)]))
        words = f"{subject}: at least {say(lower)}"
        out.append(Limit(f"min {name}", kind, words, lower, -1.0, unit, shape))
    return out


def _whole(p: Problem) -> list[Limit]:
    n = len(p.ids)
    zero, one = np.zeros(n), np.ones(n)
    out = []
    if p.max_gross is not None:
        text = f"Longs and shorts together of at most {percent(p.max_gross)}"
        shape = Absolute(one, zero, zero, p.max_gross)
        out.append(Limit("gross", "gross", text, p.max_gross, 1.0, "weight", shape))
    if p.max_short is not None:
        text = f"Shorts of at most {percent(p.max_short)}"
        shape = Absolute(0.5 * one, zero, -0.5 * one, p.max_short)
        out.append(Limit("short", "short", text, p.max_short, 1.0, "weight", shape))
    for number, least in ((p.max_names, False), (p.min_names, True)):
        if number is not None:
            key = "min names" if least else "max names"
            text = f"At {'least' if least else 'most'} {number} names"
            sign = -1.0 if least else 1.0
            out.append(
                Limit(key, "names", text, float(number), sign, "names", Count(number, least))
            )
    if p.min_holding is not None:
        text = f"No holding smaller than {percent(p.min_holding)}"
        gap = Gap(zero, p.min_holding)
        out.append(Limit("min_holding", "min_holding", text, p.min_holding, -1.0, "weight", gap))
    return out


def _fixed(p: Problem) -> list[Limit]:
    """One limit a reason: what nobody can trade, and each decision of a person."""
    out = []
    for why, where in _by_reason(p).items():
        m = len(where)
        signs = np.repeat([1.0, -1.0], m)
        rows = conic.Entries(np.arange(2 * m), np.tile(where, 2), signs)
        shape = Linear(rows, signs * np.tile(p.fixed[where], 2))
        text = _frozen(p, why, where).rstrip(".")
        out.append(Limit(f"fixed: {why}", "fixed", text, 0.0, 0.0, "weight", shape))
    return out


def _budget(p: Problem) -> Limit:
    ones = np.ones((1, len(p.ids)))
    least = p.budget - leftover(p)
    shape = Linear(conic.dense(np.vstack([ones, -ones])), np.array([p.budget, -least]))
    text = f"Weights must sum to {percent(p.budget)}"
    if least < p.budget:
        text += f", less at most {percent(p.budget - least)} that whole lots leave in cash"
    return Limit("budget", "budget", text, p.budget, 0.0, "weight", shape)


def leftover(p: Problem) -> float:
    """The most that may stay in cash because shares come in lots: one lot of the dearest free name."""
    if p.lot is None:
        return 0.0
    size = np.where(np.isfinite(p.lot), p.lot, 0.0)[p.free]
    able = size <= np.maximum(p.upper, -p.lower)[p.free]
    return float(np.max(size[able], initial=0.0))


def _risk(p: Problem) -> list[Limit]:
    out = []
    if p.max_volatility is not None:
        text = f"Volatility of at most {percent(p.max_volatility)} a year"
        norm = Norm(np.zeros(len(p.ids)), p.max_volatility)
        out.append(
            Limit("volatility", "volatility", text, p.max_volatility, 1.0, "volatility", norm)
        )
    if p.max_tracking_error is not None:
        text = f"Tracking error of at most {percent(p.max_tracking_error)} a year"
        cap, norm = p.max_tracking_error, Norm(p.benchmark, p.max_tracking_error)
        out.append(Limit("tracking_error", "tracking_error", text, cap, 1.0, "volatility", norm))
    return out


def frozen(p: Problem) -> tuple[str, ...]:
    """What is not free, by reason, in words."""
    return tuple(_frozen(p, why, rows) for why, rows in _by_reason(p).items())


def _by_reason(p: Problem) -> dict[str, NDArray[np.int64]]:
    reasons: dict[str, list[int]] = {}
    for i in np.flatnonzero(~p.free):
        reasons.setdefault(p.fixed_why[i] or "fixed", []).append(int(i))
    return {why: np.array(rows, dtype=np.int64) for why, rows in sorted(reasons.items())}


def _frozen(p: Problem, why: str, rows: NDArray[np.int64]) -> str:
    names = ", ".join(p.ids[i] for i in rows[:5]) + (", …" if len(rows) > 5 else "")
    total = percent(float(p.fixed[rows].sum()))
    return f"{count(len(rows))} cannot be chosen ({why}): {names}, together {total}."


def _common(values: Floats) -> float | None:
    """The one bound of all names; None where they differ or there is none."""
    return float(values[0]) if len(values) and np.ptp(values) < 1e-12 else None


__all__ = [
    "SESSIONS_PER_YEAR", "Absolute", "Count", "Gains", "Gap", "Limit", "Linear", "Norm", "excess", "frozen",
    "leftover", "of", "violation",
]  # fmt: skip
