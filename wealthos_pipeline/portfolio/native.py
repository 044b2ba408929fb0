"""The quadratic problem in factor form, written down as cones and solved by Clarabel.

The movable names x in order, ``y = F^½ B' w`` as extra variables instead of a dense covariance, and
``u_i ≥ |w_i − w0_i|`` only for names that can move both ways from where they are; likewise ``v_i ≥ −w_i``
for names that may be long or short. Impact ``|Δ|^{3/2} ≤ t`` is ``u² ≤ t s`` and ``s² ≤ u``, two cones
of three rows. The objective is divided by γ and multiplied by 1e4, so that doubling alphas, γ and costs
gives the same bits, and tolerances mean the same for every mandate. Clarabel solves it on one thread from
a cold start: the answer is a function of the problem alone.

Another engine for the same problems answers ``solve(problem) -> Outcome`` alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wealthos_pipeline.portfolio import conic, objectives
from wealthos_pipeline.portfolio.problem import SESSIONS_PER_YEAR, Floats, Problem
from wealthos_pipeline.portfolio.reduced import Outcome, Reduced, reduce

SCALE = 1e4
STATIONARY = 1e-6
"""Largest entry of ``Px + q + A'z``, relative to that of q or 1, with which the dual value is a bound."""
TYPICAL_TRADE = 0.01
"""Impact is computed in units of this change of weight, so that its cones hold numbers near 1."""

INFEASIBLE = ("PrimalInfeasible", "AlmostPrimalInfeasible")


def takes(p: Problem, form: Reduced | None = None) -> bool:
    """Whether objective, costs and every limit have a form here."""
    if p.objective_kind not in objectives.QUADRATIC or p.tax is not None or p.lot is not None:
        return False
    if p.impact is not None and p.impact.any() and p.impact_exponent != 0.5:
        return False
    form = form or reduce(p)
    return not form.other and all(_reference(p, form, b) is not None for b in form.bents)


def solve(p: Problem, form: Reduced | None = None) -> Outcome:
    """The optimum before it is snapped and certified. ``p`` must be valid and one that ``takes`` accepts."""
    form = form or reduce(p)
    if form.impossible:
        return Outcome("infeasible", p.w0.copy(), message=form.impossible)
    if not len(form.x):
        value = p.objective(form.rest)
        return Outcome("solved", form.rest.copy(), {}, value, value, solver="none")
    canonical = _canonical(p, form)
    rows = canonical.rows
    A, b = rows.matrix()
    try:
        answer = conic.run_clarabel(canonical.quadratic, canonical.q, A, b, *canonical.cones)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # a panic of the native solver is not an Exception
        return Outcome(
            "failed",
            p.w0.copy(),
            message=f"the solver crashed: {type(error).__name__}: {error}",
        )
    if answer.status in INFEASIBLE:
        return Outcome("infeasible", p.w0.copy(), iterations=answer.iterations)
    if not answer.finite:
        words = f"the solver gave numbers that are not finite ({answer.status})"
        return Outcome("failed", p.w0.copy(), iterations=answer.iterations, message=words)
    unit = p.risk_aversion / SCALE
    size = max(1.0, float(np.abs(canonical.q).max()))
    return Outcome(
        status="solved" if answer.stationarity <= STATIONARY * size else "failed",
        weights=form.whole(answer.x[: len(form.x)]),
        duals=_duals(p, form, canonical, answer.z),
        primal=canonical.constant - unit * answer.primal,
        dual=canonical.constant - unit * answer.dual,
        iterations=answer.iterations,
        message=f"the solver stopped with {answer.status} after {answer.iterations} iterations",
        solver=f"clarabel {_version()}",
    )


def _version() -> str:
    import clarabel

    return str(clarabel.__version__)


@dataclass(frozen=True, eq=False)
class _Canonical:
    """Minimise ½ Σ quadratic x² + q'x over the rows; ``constant − γ/SCALE · value`` is the objective."""

    quadratic: Floats
    q: Floats
    rows: conic.Rows
    cones: list[int]  # rows: zero, nonnegative, then each second-order cone
    constant: float
    lines: NDArray[np.int64]  # of each line of the form, its row


@dataclass(frozen=True, eq=False)
class _Moves:
    """How ``|w − w0|`` and ``max(−w, 0)`` of x are said: ``slope · w`` plus an extra variable where ``two``."""

    two: NDArray[np.int64]
    slope: Floats


def _reference(p: Problem, form: Reduced, bent: Any) -> str | None:
    used = bent.scale > 0
    if (bent.reference[used] == p.w0[form.x][used]).all():
        return "trade"
    return "size" if (bent.reference[used] == 0.0).all() else None


def _trades(p: Problem, form: Reduced, charged: NDArray[np.bool_]) -> _Moves:
    w0 = p.w0[form.x]
    up_only = w0 <= form.lower
    down_only = (w0 >= form.upper) & ~up_only
    two = np.flatnonzero(charged & ~up_only & ~down_only)
    slope = np.where(up_only, 1.0, np.where(down_only, -1.0, 0.0)) * charged
    return _Moves(two, slope)


def _shorts(form: Reduced, needed: NDArray[np.bool_]) -> _Moves:
    only = needed & (form.upper <= 0.0)
    two = np.flatnonzero(needed & (form.lower < 0.0) & (form.upper > 0.0))
    return _Moves(two, np.where(only, -1.0, 0.0))


def _canonical(p: Problem, form: Reduced) -> _Canonical:
    x, rest = form.x, form.rest
    n, k = len(x), p.F.shape[0]
    R = p.B @ conic.half(p.F)
    gamma, h = p.risk_aversion, float(p.horizon)
    w0 = p.w0[x]
    linear, impact, borrow = (v[x] for v in objectives.rates(p))

    trading = [b for b in form.bents if _reference(p, form, b) == "trade"]
    sized = [b for b in form.bents if _reference(p, form, b) == "size"]
    charged = (linear > 0) | (impact > 0)
    for bent in trading:
        charged = charged | (bent.scale > 0)
    short = borrow > 0
    for bent in sized:
        short = short | (bent.scale > 0)
    trades, shorts = _trades(p, form, charged), _shorts(form, short)
    hit = np.flatnonzero(impact > 0)
    m, s, t = len(trades.two), len(shorts.two), len(hit)

    # objective, in canonical units: risk and alpha over γ, times SCALE
    wanted = objectives.wanted(p) + gamma * h * p.covariance_times(objectives.reference(p))
    c, e, f = linear / gamma, borrow / gamma, impact[hit] / gamma * TYPICAL_TRADE**1.5
    q = SCALE * np.concatenate(
        [
            -wanted[x] / gamma + c * trades.slope + e * shorts.slope,
            np.zeros(k),
            c[trades.two],
            e[shorts.two],
            f,
            np.zeros(t),
        ]
    )
    risk = SCALE * h
    quadratic = np.concatenate([risk * p.d[x] ** 2, np.full(k, risk), np.zeros(m + s + 2 * t)])
    constant = _constant(p, rest, x) + float((linear * trades.slope * w0).sum())

    rows = conic.Rows({"w": n, "y": k, "u": m, "v": s, "t": t, "r": t})
    if k:
        inside = conic.dense(R[x].T)
        rows.add("factors", -(R.T @ rest), w=inside, y=conic.diagonal(-1.0, k))
    equal = [i for i, line in enumerate(form.lines) if line.twin is not None]
    loose = [i for i, line in enumerate(form.lines) if line.twin is None]
    place = np.zeros(len(form.lines), dtype=np.int64)

    def lines(name: str, chosen: list[int]) -> None:
        if chosen:
            place[chosen] = rows.height + np.arange(len(chosen))
            right = np.array([form.lines[i].right for i in chosen])
            rows.add(name, right, w=conic.dense(np.array([form.lines[i].a for i in chosen])))

    lines("equal", equal)
    zero = rows.height
    rows.add("upper", form.upper, w=conic.diagonal(1.0, n))
    rows.add("lower", -form.lower, w=conic.diagonal(-1.0, n))
    if m:
        below = conic.diagonal(-1.0, m)
        rows.add("buy", w0[trades.two], w=conic.picks(trades.two, 1.0), u=below)
        rows.add("sell", -w0[trades.two], w=conic.picks(trades.two, -1.0), u=below)
    if s:
        below = conic.diagonal(-1.0, s)
        rows.add("short", np.zeros(s), w=conic.picks(shorts.two, -1.0), v=below)
        rows.add("no short", np.zeros(s), v=below)
    lines("loose", loose)
    for bent in trading:
        slope = bent.scale * trades.slope
        right = np.array([bent.right + float((slope * w0).sum())])
        extra = {"u": conic.dense(bent.scale[trades.two])} if m else {}
        rows.add(f"at most {bent.key}", right, w=conic.dense(slope + bent.slope), **extra)
    for bent in sized:  # |w| = w + 2 max(−w, 0)
        slope = bent.scale * (1.0 + 2.0 * shorts.slope) + bent.slope
        extra = {"v": conic.dense(2.0 * bent.scale[shorts.two])} if s else {}
        rows.add(f"at most {bent.key}", np.array([bent.right]), w=conic.dense(slope), **extra)
    nonnegative = rows.height - zero

    cones = [zero, nonnegative]
    pinned = np.ones(len(p.ids), dtype=np.bool_)
    pinned[x] = False
    for ball in form.balls:
        start = rows.height
        unit = np.sqrt(SESSIONS_PER_YEAR) / ball.right  # the cone in units of the cap
        frozen = unit * float(np.sqrt(((p.d * (rest - ball.reference))[pinned] ** 2).sum()))
        rows.add(f"ball {ball.key}", np.array([1.0, frozen]))
        beside = R.T @ ball.reference
        rows.add(f"ball {ball.key} factors", -unit * beside, y=conic.diagonal(-unit, k))
        own = -unit * p.d[x] * ball.reference[x]
        rows.add(f"ball {ball.key} specific", own, w=conic.diagonal(-unit * p.d[x], n))
        cones.append(rows.height - start)
    if t:
        _impact(rows, hit, trades, w0)
        cones += [3] * (2 * t)
    return _Canonical(quadratic, q, rows, cones, constant, place)


def _constant(p: Problem, rest: Floats, x: NDArray[np.int64]) -> float:
    """What the canonical problem leaves out of the objective: the pinned names, the benchmark's own risk."""
    gamma, h = p.risk_aversion, p.horizon
    base = objectives.reference(p)
    sigma = p.covariance_times(base)
    slope = objectives.wanted(p) + gamma * h * sigma
    own = np.ones(len(p.ids), dtype=np.bool_)
    own[x] = False
    linear, impact, borrow = objectives.rates(p)
    traded = np.abs(rest - p.w0)
    cost = linear * traded + impact * traded ** (1.0 + p.impact_exponent)
    cost += borrow * np.maximum(-rest, 0.0) + 0.5 * gamma * h * p.d**2 * rest**2
    return float((slope * rest - cost)[own].sum()) - 0.5 * gamma * h * float(base @ sigma)


def _impact(rows: conic.Rows, hit: NDArray[np.int64], trades: _Moves, w0: Floats) -> None:
    """``a² ≤ t r`` and ``r² ≤ a`` for ``a = |Δ| / TYPICAL_TRADE``: so ``t ≥ a^{3/2}``.

    ``a² ≤ t r`` is ``‖(2a, t − r)‖ ≤ t + r``, and ``r² ≤ a`` is ``‖(2r, a − 1)‖ ≤ a + 1`` (Lobo et al.,
    "Applications of second-order cone programming", 1998, §2.3).
    """
    t = len(hit)
    number = np.full(len(w0), -1)
    number[trades.two] = np.arange(len(trades.two))
    bent = number[hit] >= 0
    side = trades.slope[hit]

    def amount(copies: list[NDArray[np.int64]], scale: float) -> tuple[Floats, dict[str, Any]]:
        """``scale · a`` in the rows of each copy: what it adds to b, and its blocks of A."""
        right, unit = np.zeros(3 * t), scale / TYPICAL_TRADE
        blocks: dict[str, Any] = {}
        one = ~bent
        if one.any():
            place = np.concatenate([c[one] for c in copies])
            names, slope = np.tile(hit[one], len(copies)), np.tile(side[one], len(copies))
            right[place] = -unit * slope * w0[names]
            blocks["w"] = conic.Entries(place, names, -unit * slope)
        if bent.any():
            place = np.concatenate([c[bent] for c in copies])
            names = np.tile(number[hit[bent]], len(copies))
            blocks["u"] = conic.Entries(place, names, np.full(len(place), -unit))
        return right, blocks

    first = 3 * np.arange(t)
    top, both = np.concatenate([first, first + 1]), np.tile(np.arange(t), 2)
    right, blocks = amount([first + 2], 2.0)
    rows.add(
        "impact", right, **blocks,
        t=conic.Entries(top, both, np.full(2 * t, -1.0)),
        r=conic.Entries(top, both, np.repeat([-1.0, 1.0], t)),
    )  # fmt: skip
    right, blocks = amount([first, first + 1], 1.0)
    right[first] += 1.0
    right[first + 1] -= 1.0
    root = conic.Entries(first + 2, np.arange(t), np.full(t, -2.0))
    rows.add("impact root", right, **blocks, r=root)


def _duals(p: Problem, form: Reduced, canonical: _Canonical, z: Floats) -> dict[str, Floats]:
    """Multipliers of every limit's rows, in returns over the horizon."""
    z = z * (p.risk_aversion / SCALE)
    out: dict[str, Floats] = {}
    spans = canonical.rows.spans
    form.line_duals(z[canonical.lines], out)
    for bent in form.bents:
        out[bent.key] = np.maximum(z[spans[f"at most {bent.key}"]], 0.0)
    for ball in form.balls:
        out[ball.key] = np.maximum(z[spans[f"ball {ball.key}"]][:1], 0.0) / ball.right
    return out
