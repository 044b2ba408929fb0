"""Why a mandate cannot be met: which limits contradict each other, and how far each must give.

Every limit of the problem (the budget, the box, each group, …) gets one slack in its own unit. The
elastic problem, which minimises the sum of the slacks, always has an answer; if it is zero there is no
contradiction. The multipliers of its answer say which limits take part (Farkas); a deletion filter over
those, in a fixed order, leaves an irreducible set: without any one of them the rest could be met
(Chinneck & Dravnieks, "Locating minimal infeasible constraint sets in linear programs", 1991). Then each
limit of the set alone is made elastic, everything else kept: its smallest slack is the least relaxation.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from wealthos_pipeline.portfolio import conic
from wealthos_pipeline.portfolio.problem import SESSIONS_PER_YEAR, Floats, Problem

TOLERANCE = 1e-7
"""A sum of slacks (weights; annual volatility) up to this is no contradiction."""
LOOSE = 10.0
"""A dropped box is ±LOOSE × budget: far outside anything that is asked for."""


@dataclass(frozen=True, eq=False)
class Limit:
    """One named limit: rows ``A w ≤ b`` (with ``− slack``), or a cap on turnover or volatility.

    value: what the limit says now; None where names have different ones, each relaxed by the slack.
    """

    key: str
    words: str
    value: float | None
    sign: float  # relaxed value = value + sign × slack
    rows: conic.Entries | None = None
    right: Floats | None = None


def percent(x: float) -> str:
    """``0.1534`` → ``15.34 %``, without needless zeros."""
    text = f"{100 * x:.2f}".rstrip("0").rstrip(".")
    return f"{'0' if text == '-0' else text} %".replace("-", "−")


def enough(x: float, sign: float) -> str:
    """``percent`` of a relaxed limit, rounded away from what is impossible: up (sign 1) or down (−1).

    The solver's tolerance is taken off first, so that 0.15 + 1e-9 is 15 % and not 15.01 %.
    """
    steps = 1e4 * x
    return percent((np.ceil(steps - 2e-3) if sign > 0 else np.floor(steps + 2e-3)) / 1e4)


def obvious(p: Problem) -> tuple[str, ...]:
    """Contradictions that a look at box and budget shows; empty where there is none."""
    free = p.free
    held = float(p.fixed[~free].sum())
    high, low = held + float(p.upper[free].sum()), held + float(p.lower[free].sum())
    n = int(free.sum())
    frozen = _frozen(p)
    if high < p.budget - TOLERANCE:
        alone = f" and {percent(held)} in names that cannot be traded" if frozen else ""
        out = [
            f"Weights must sum to {percent(p.budget)}, but {_count(n)} at their largest weight{alone} "
            f"come to {percent(high)}; least change that is enough: a budget of {enough(high, -1)}."
        ]
        if n:
            caps = p.upper[free]
            need = _level(caps, p.budget - held, upward=True)
            out.append(
                f"At most {_range(caps)} a name; least change that is enough: {enough(need, 1)}."
            )
        return (*out, *frozen)
    if low > p.budget + TOLERANCE:
        out = [
            f"Weights must sum to {percent(p.budget)}, but {_count(n)} at their smallest weight come "
            f"to {percent(low)}; least change that is enough: a budget of {enough(low, 1)}."
        ]
        if n:
            floors = p.lower[free]
            need = _level(floors, p.budget - held, upward=False)
            out.append(
                f"At least {_range(floors)} a name; least change that is enough: {enough(need, -1)}."
            )
        return (*out, *frozen)
    empty = []
    for g in p.groups:
        if g.lower is not None and g.lower > TOLERANCE and not g.members.any():
            empty.append(
                f"{_capital(g.name)}: at least {percent(g.lower)}, but no name of the universe belongs "
                f"to it; least change that is enough: {percent(0.0)}."
            )
    return tuple(empty)


def explain(p: Problem) -> tuple[str, ...]:
    """One sentence a limit of an irreducible contradiction, with its value and least relaxation."""
    limits = _limits(p)
    keys = [limit.key for limit in limits]
    total = _elastic(p, limits, keys, keys)
    if total is None or total.slack <= TOLERANCE:
        return (
            "The solver found no feasible weights, though the limits miss each other by less than "
            f"{TOLERANCE:.0e}; loosen the tightest limit a little.",
        )
    largest = max(total.multipliers.values())
    conflict = [k for k in keys if total.multipliers[k] > 1e-6 * largest]
    if not _contradictory(p, limits, conflict):
        conflict = keys
    for key in list(conflict):
        rest = [k for k in conflict if k != key]
        if _contradictory(p, limits, rest):
            conflict = rest
    sentences = []
    for limit in limits:
        if limit.key in conflict:
            alone = None if limit.key == "fixed" else _elastic(p, limits, keys, [limit.key])
            sentences.append(_sentence(p, limit, alone))
    return tuple(sentences)


def _contradictory(p: Problem, limits: list[Limit], keys: list[str]) -> bool:
    """Whether no weights meet the limits of ``keys``. Some weights are tried before a solve."""
    chosen = [limit for limit in limits if limit.key in keys]
    for w in (np.zeros(len(p.ids)), p.w0, p.benchmark * p.budget):
        if all(_met(p, limit, w) for limit in chosen):
            return False
    found = _elastic(p, limits, keys, keys)
    return found is not None and found.slack > TOLERANCE


def _met(p: Problem, limit: Limit, w: Floats) -> bool:
    if limit.rows is not None and limit.right is not None:
        used = limit.rows.value * w[limit.rows.column]
        total = np.bincount(limit.rows.row, weights=used, minlength=len(limit.right))
        return bool((total <= limit.right + TOLERANCE).all())
    if limit.key == "turnover":
        return 0.5 * float(np.abs(w - p.w0)[p.free].sum()) <= (p.max_turnover or 0.0) + TOLERANCE
    return p.volatility(w) <= (p.max_volatility or 0.0) + TOLERANCE


def _sentence(p: Problem, limit: Limit, alone: _Elastic | None) -> str:
    if limit.key == "fixed":
        return f"{limit.words}."
    if alone is None:
        return f"{limit.words}; no other value of this limit alone is enough."
    if limit.key == "budget":
        value = enough(alone.invested, 1.0 if alone.invested > p.budget else -1.0)
    elif limit.value is None:
        value = f"each {enough(alone.slack, 1)} {'higher' if limit.sign > 0 else 'lower'}"
    else:
        value = enough(limit.value + limit.sign * alone.slack, limit.sign)
    return f"{limit.words}; least change that is enough: {value}."


def _limits(p: Problem) -> list[Limit]:
    """Every limit, in the order in which the deletion filter tries to do without it."""
    n, free = len(p.ids), p.free
    out: list[Limit] = []
    if p.max_turnover is not None:
        text = f"Turnover of at most {percent(p.max_turnover)}"
        out.append(Limit("turnover", text, p.max_turnover, 1.0))
    lo = np.where(free, p.lower, np.minimum(p.lower, np.nan_to_num(p.fixed)))
    hi = np.where(free, p.upper, np.maximum(p.upper, np.nan_to_num(p.fixed)))
    caps, floors = p.upper[free], p.lower[free]
    words = f"At most {_range(caps)} a name"
    out.append(Limit("upper", words, _common(caps), 1.0, conic.diagonal(1.0, n), hi))
    capped = [g for g in p.groups if g.kind == "sector_cap" and g.upper is not None]
    if capped:
        cap = float(capped[0].upper or 0.0)
        rows = conic.dense(np.array([g.members for g in capped], dtype=float))
        right = np.array([g.upper for g in capped], dtype=float)
        out.append(Limit("sectors", f"At most {percent(cap)} a sector", cap, 1.0, rows, right))
    for g in p.groups:
        member = g.members.astype(float)
        if g.kind == "group" and g.upper is not None:
            text = f"{_capital(g.name)}: at most {percent(g.upper)}"
            rows, right = conic.dense(member), np.array([g.upper])
            out.append(Limit(f"max {g.name}", text, g.upper, 1.0, rows, right))
        if g.kind == "group" and g.lower is not None:
            text = f"{_capital(g.name)}: at least {percent(g.lower)}"
            rows, right = conic.dense(-member), np.array([-g.lower])
            out.append(Limit(f"min {g.name}", text, g.lower, -1.0, rows, right))
    long_only = bool(len(floors)) and bool((floors == 0).all())
    words = "Long only, no weight below 0 %" if long_only else f"At least {_range(floors)} a name"
    out.append(Limit("lower", words, _common(floors), -1.0, conic.diagonal(-1.0, n), -lo))
    if not free.all():
        where, fixed = np.flatnonzero(~free), p.fixed[~free]
        text = " ".join(_frozen(p)).rstrip(".")
        m = len(where)
        signs = np.repeat([1.0, -1.0], m)
        rows = conic.Entries(np.arange(2 * m), np.tile(where, 2), signs)
        out.append(Limit("fixed", text, 0.0, 0.0, rows, signs * np.tile(fixed, 2)))
    ones = np.ones((1, n))
    out.append(
        Limit(
            "budget",
            f"Weights must sum to {percent(p.budget)}",
            p.budget,
            0.0,
            conic.dense(np.vstack([ones, -ones])),
            np.array([p.budget, -p.budget]),
        )
    )
    if p.max_volatility is not None:
        text = f"Volatility of at most {percent(p.max_volatility)} a year"
        out.append(Limit("volatility", text, p.max_volatility, 1.0))
    return out


@dataclass(frozen=True, eq=False)
class _Elastic:
    slack: float
    invested: float
    multipliers: dict[str, float]


def _elastic(
    p: Problem, limits: list[Limit], active: Iterable[str], elastic: Iterable[str]
) -> _Elastic | None:
    """Smallest sum of the ``elastic`` slacks with the other ``active`` limits kept; None: impossible."""
    active, elastic = set(active), list(dict.fromkeys(elastic))
    column = {key: j for j, key in enumerate(elastic)}
    n, slacks = len(p.ids), len(elastic)
    cone = "volatility" in active
    traded = np.flatnonzero(p.free) if "turnover" in active else np.empty(0, dtype=np.int64)
    k, m = (p.F.shape[0] if cone else 0), len(traded)
    rows = conic.Rows({"w": n, "y": k, "u": m, "s": slacks})

    def relief(key: str, height: int) -> dict[str, conic.Entries]:
        if key not in column:
            return {}
        return {"s": conic.picks(np.full(height, column[key]), -1.0)}

    if k:
        R = p.B @ conic.half(p.F)
        rows.add("factors", np.zeros(k), w=conic.dense(R.T), y=conic.diagonal(-1.0, k))
    zero = rows.height
    for limit in limits:
        if limit.key in active and limit.rows is not None and limit.right is not None:
            rows.add(limit.key, limit.right, w=limit.rows, **relief(limit.key, len(limit.right)))
    far = np.full(n, LOOSE * max(1.0, p.budget))
    if "lower" not in active:
        rows.add("loose lower", far, w=conic.diagonal(-1.0, n))
    if "upper" not in active:
        rows.add("loose upper", far, w=conic.diagonal(1.0, n))
    if slacks:
        rows.add("slacks", np.zeros(slacks), s=conic.diagonal(-1.0, slacks))
    if "turnover" in active:
        below = conic.diagonal(-1.0, m)
        rows.add("buy", p.w0[traded], w=conic.picks(traded, 1.0), u=below)
        rows.add("sell", -p.w0[traded], w=conic.picks(traded, -1.0), u=below)
        cap = np.array([float(p.max_turnover or 0.0)])
        rows.add("turnover", cap, u=conic.dense(np.full(m, 0.5)), **relief("turnover", 1))
    nonnegative = rows.height - zero
    if cone:
        year = np.sqrt(SESSIONS_PER_YEAR)
        rows.add(
            "volatility", np.array([float(p.max_volatility or 0.0)]), **relief("volatility", 1)
        )
        rows.add("cone factors", np.zeros(k), y=conic.diagonal(-year, k))
        rows.add("cone specific", np.zeros(n), w=conic.diagonal(-year * p.d, n))
    q = np.zeros(rows.width)
    q[n + k + m :] = 1.0
    A, b = rows.matrix()
    sizes = (zero, nonnegative, rows.height - zero - nonnegative)
    answer = conic.run_clarabel(np.zeros(rows.width), q, A, b, *sizes)
    if answer.status not in ("Solved", "AlmostSolved") or not np.isfinite(answer.x).all():
        return None
    pressure = {
        key: float(np.abs(answer.z[span]).max(initial=0.0)) for key, span in rows.spans.items()
    }
    return _Elastic(
        slack=float(answer.x[n + k + m :].sum()),
        invested=float(answer.x[:n].sum()),
        multipliers={key: pressure.get(key, 0.0) for key in active},
    )


def _frozen(p: Problem) -> tuple[str, ...]:
    """What is not free, by reason, in words."""
    reasons: dict[str, list[int]] = {}
    for i in np.flatnonzero(~p.free):
        reasons.setdefault(p.fixed_why[i] or "fixed", []).append(int(i))
    out = []
    for why, rows in sorted(reasons.items()):
        names = ", ".join(p.ids[i] for i in rows[:5]) + (", …" if len(rows) > 5 else "")
        total = percent(float(p.fixed[rows].sum()))
        out.append(f"{_count(len(rows))} cannot be chosen ({why}): {names}, together {total}.")
    return tuple(out)


def _level(values: Floats, total: float, *, upward: bool) -> float:
    """The common bound at which the names just reach ``total``: every bound moved to it or beyond."""
    v = np.sort(values) if upward else -np.sort(-values)
    goal = total
    for i in range(len(v)):
        level = (goal - v[i + 1 :].sum()) / (i + 1) if i + 1 < len(v) else goal / len(v)
        nxt = v[i + 1] if i + 1 < len(v) else (np.inf if upward else -np.inf)
        if (upward and level <= nxt) or (not upward and level >= nxt):
            return float(level)
    return float(goal / max(len(v), 1))


def _common(values: Floats) -> float | None:
    """The one bound of all names; None where they differ or there is none."""
    return float(values[0]) if len(values) and np.ptp(values) < 1e-12 else None


def _range(values: Floats) -> str:
    if not len(values):
        return percent(0.0)
    low, high = float(values.min()), float(values.max())
    return percent(high) if high - low < 1e-12 else f"{percent(low)} to {percent(high)}"


def _count(n: int) -> str:
    return "1 name" if n == 1 else f"{n} names"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
