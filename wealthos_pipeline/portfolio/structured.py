"""An interior-point method for the plain portfolio problem, in the problem's own structure.

    minimise   ½ x'(D + h R R')x + c'x + Σ t_i |x_i − w0_i|
    subject to lower ≤ x ≤ upper,  A x = b,  G x ≤ g,  Σ_turned |x_i − w0_i| ≤ 2 T

with D diagonal and R tall (n × k). Each name is x = base + p − q with 0 ≤ p ≤ P, 0 ≤ q ≤ Q: bought and
sold, so that the absolute values are linear. Eliminating a name's own 2 × 2 system leaves one dense
system of the size k + rows a step (some 35 for 500 names in 22 factors): a step costs n (k + rows)²
instead of a sparse factorisation. Mehrotra's predictor-corrector (SIAM J. Optimization 1992) from a
cold start: the answer is a function of the numbers alone, on one BLAS thread.

It proves nothing about problems without an answer: where it does not converge, ``None`` comes back
and a general solver has to say why.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

SMALL = 1e-14
"""A name that may move by less than this does not move."""
MAX_ITERATIONS = 60
TOLERANCE = 1e-10
"""Of residuals and of the gap, relative to the size of the numbers."""
PATIENCE = 12
"""Steps without progress after which nothing more is expected."""
STEP = 0.995
"""Share of the way to the boundary that a step goes."""


@dataclass(frozen=True, eq=False)
class Plain:
    """The problem in numbers: n names, k factors, e equalities, m inequalities.

    D: n, > 0. R: n × k; factor: h > 0. c, cost (≥ 0), w0, lower, upper: n. A: e × n, b: e. G: m × n, g: m.
    turned: n booleans, names whose trades count; turnover: T, one-way, or None.
    """

    D: Floats
    R: Floats
    factor: float
    c: Floats
    cost: Floats
    w0: Floats
    lower: Floats
    upper: Floats
    A: Floats
    b: Floats
    G: Floats
    g: Floats
    turned: NDArray[np.bool_]
    turnover: float | None


@dataclass(frozen=True, eq=False)
class Found:
    """The answer: x, and multipliers, all ≥ 0 but those of the equalities.

    ``D x + h R R'x + c + A'equal + G'under + upper − lower + force = 0`` where force is what costs and turnover pull
    with: in ± (cost + turnover) for a name that stays, at the end of it for one that trades.
    """

    x: Floats
    equal: Floats
    under: Floats
    lower: Floats
    upper: Floats
    force: Floats
    turnover: float
    iterations: int


@dataclass(eq=False)
class _Point:
    """v: moves of names, up or down, in (0, room); u = room − v; z, y: multipliers of v ≥ 0 and u ≥ 0.

    slack, under: of the inequalities, the cap on turnover last. equal: multipliers of the equalities.
    """

    v: Floats
    u: Floats
    z: Floats
    y: Floats
    slack: Floats
    under: Floats
    equal: Floats

    def complementarity(self) -> float:
        return float(self.v @ self.z + self.u @ self.y + self.slack @ self.under)

    def moved(self, d: _Point, step: float) -> _Point:
        return _Point(*(a + step * b for a, b in zip(self._all(), d._all(), strict=True)))

    def reach(self, d: _Point) -> float:
        """The longest step, at most 1 / STEP, that keeps every value positive."""
        longest = 1.0 / STEP
        for value, change in zip(self._all()[:-1], d._all()[:-1], strict=True):
            least = float(np.min(change / value, initial=0.0))
            if least < 0.0:
                longest = min(longest, -1.0 / least)
        return longest

    def _all(self) -> tuple[Floats, ...]:
        return self.v, self.u, self.z, self.y, self.slack, self.under, self.equal


class _Model:
    """The problem over moves: x = base + Σ sign · v, every row of which acts on x but the turnover's."""

    def __init__(self, p: Plain) -> None:
        self.p = p
        self.n, self.k = p.R.shape
        self.e, self.m = len(p.b), len(p.g)
        self.capped = p.turnover is not None
        charged = (p.cost > 0.0) | (p.turned & self.capped)
        # from beyond its box a name moves into it whatever that costs, and only farther from there
        self.base = np.where(charged, np.clip(p.w0, p.lower, p.upper), p.lower)
        up = p.upper - self.base
        down = np.where(charged, self.base - p.lower, 0.0)
        rise, fall = np.flatnonzero(up > SMALL), np.flatnonzero(down > SMALL)
        self.name = np.concatenate([rise, fall])
        self.sign = np.repeat([1.0, -1.0], [len(rise), len(fall)])
        self.room = np.concatenate([up[rise], down[fall]])
        self.cost = np.where(charged, p.cost, 0.0)[self.name]
        turned = p.turned.astype(np.float64) if self.capped else np.zeros(self.n)
        self.turn = turned[self.name]
        beyond = np.where(charged, np.abs(self.base - p.w0), 0.0)
        self.cap = 2.0 * float(p.turnover or 0.0) - float(turned @ beyond)
        self.C = np.vstack([p.A, p.G, p.R.T])
        self.rises = len(rise)

    def x(self, v: Floats) -> Floats:
        return self.base + self.spread(self.sign * v)

    def spread(self, values: Floats) -> Floats:
        """Values of moves summed by name."""
        return np.bincount(self.name, values, self.n).astype(np.float64)

    def room_left(self, v: Floats, x: Floats) -> Floats:
        """Right minus left side of every inequality."""
        left = self.p.g - self.p.G @ x
        return np.append(left, self.cap - float(self.turn @ v)) if self.capped else left

    def start(self) -> _Point:
        v = 0.5 * self.room
        scale = self.scale
        slack = np.maximum(self.room_left(v, self.x(v)), 1e-2)
        ones = np.full(len(v), scale)
        return _Point(
            v, self.room - v, ones, ones.copy(), slack, np.full(len(slack), scale), np.zeros(self.e)
        )

    @property
    def scale(self) -> float:
        p = self.p
        return max(1.0, *(float(np.abs(a).max(initial=0.0)) for a in (p.c, p.cost)))


def solve(p: Plain) -> Found | None:
    """The optimum, or None where the method does not converge (no interior, no answer)."""
    model = _Model(p)
    at = model.start()
    pairs = max(2 * len(at.v) + len(at.slack), 1)
    right = 1.0 + float(np.abs(np.concatenate([p.b, p.g])).max(initial=0.0))
    best, since = np.inf, 0
    for iteration in range(1, MAX_ITERATIONS + 1):
        x = model.x(at.v)
        f = p.R.T @ x
        price = float(at.under[-1]) if model.capped else 0.0
        pull = p.D * x + p.factor * (p.R @ f) + p.c
        value = 0.5 * float(x @ (pull + p.c)) + float(model.cost @ at.v)
        pull = pull + p.A.T @ at.equal + p.G.T @ at.under[: model.m]
        uphill = model.sign * pull[model.name] + model.cost + price * model.turn
        r_v = -(uphill - at.z + at.y)
        r_equal = p.b - p.A @ x
        r_under = model.room_left(at.v, x) - at.slack
        gap = at.complementarity()
        worst = max(
            float(np.abs(np.concatenate([r_equal, r_under])).max(initial=0.0)) / right,
            float(np.abs(r_v).max(initial=0.0)) / model.scale,
            gap / (1.0 + abs(value)),
        )
        if worst <= TOLERANCE:
            return _found(model, at, x, pull, price, iteration)
        if not np.isfinite(worst):
            return None
        best, since = (worst, 0) if worst < 0.9 * best else (best, since + 1)
        if since > PATIENCE:
            return None
        newton = _Newton.of(model, at, r_v, r_equal, r_under)
        if newton is None:
            return None
        mean = gap / pairs
        first = newton.direction(0.0, None)
        ahead = at.moved(first, at.reach(first)).complementarity() / pairs
        second = newton.direction(mean * (max(ahead, 0.0) / mean) ** 3, first)
        at = at.moved(second, min(1.0, STEP * at.reach(second)))
    return None


@dataclass(frozen=True, eq=False)
class _Newton:
    """One linearisation: directions for any target of the products of values and multipliers.

    A name's own system is ``[[D + s₊, −D], [−D, D + s₋]]`` for its moves up and down; ``a, off, d`` are
    the entries of its inverse (a move that does not exist has an infinite s). half: Cholesky factor of
    the system in the rows.
    """

    model: _Model
    at: _Point
    r_v: Floats
    r_equal: Floats
    r_under: Floats
    a: Floats
    off: Floats
    d: Floats
    turn_up: Floats
    turn_down: Floats
    half: Floats

    @classmethod
    def of(
        cls, model: _Model, at: _Point, r_v: Floats, r_equal: Floats, r_under: Floats
    ) -> _Newton | None:
        from scipy.linalg.lapack import dpotrf

        n, e, m, k = model.n, model.e, model.m, model.k
        stiff = 1.0 / (at.z / at.v + at.y / at.u)
        up, down, turn_up, turn_down = (np.zeros(n) for _ in range(4))
        rise, fall = model.name[: model.rises], model.name[model.rises :]
        up[rise], down[fall] = stiff[: model.rises], stiff[model.rises :]
        turn_up[rise], turn_down[fall] = model.turn[: model.rises], model.turn[model.rises :]
        D, C = model.p.D, model.C
        whole = 1.0 + D * (up + down)
        off = D * up * down / whole
        a, d = up / whole + off, down / whole + off
        M = (C * (a + d - 2.0 * off)) @ C.T
        loose = at.slack / at.under
        diagonal = M.reshape(-1)[:: len(M) + 1]
        diagonal[:e] *= 1.0 + 1e-14
        diagonal[e : e + m] += loose[:m]
        diagonal[e + m : e + m + k] += 1.0 / model.p.factor
        if model.capped:
            cross = C @ ((a - off) * turn_up - (d - off) * turn_down)
            own = a * turn_up**2 + 2.0 * off * turn_up * turn_down + d * turn_down**2
            corner = np.array([[float(own.sum()) + float(loose[m])]])
            M = np.block([[M, cross[:, None]], [cross[None, :], corner]])
        half, fault = dpotrf(M, lower=True, overwrite_a=True) if len(M) else (M, 0)
        if fault:
            return None
        return cls(model, at, r_v, r_equal, r_under, a, off, d, turn_up, turn_down, half)

    def direction(self, target: float, before: _Point | None) -> _Point:
        """before: the predictor, whose second-order terms are taken off (None: none)."""
        from scipy.linalg.lapack import dpotrs

        model, at = self.model, self.at
        e, m, k = model.e, model.m, model.k
        less = 0.0 if before is None else 1.0
        b = at if before is None else before
        to_z = (target - less * b.v * b.z) / at.v - at.z
        to_y = (target - less * b.u * b.y) / at.u - at.y
        to_s = (target - less * b.slack * b.under) / at.under - at.slack
        want = self.r_v + to_z - to_y
        up, down = np.zeros(model.n), np.zeros(model.n)
        up[model.name[: model.rises]] = want[: model.rises]
        down[model.name[model.rises :]] = want[model.rises :]
        free_up, free_down = self.a * up + self.off * down, self.off * up + self.d * down
        right = model.C @ (free_up - free_down)
        right[:e] -= self.r_equal
        right[e : e + m] -= (self.r_under - to_s)[:m]
        if model.capped:
            moved = float(self.turn_up @ free_up + self.turn_down @ free_down)
            right = np.append(right, moved - float(self.r_under[m] - to_s[m]))
        rows = right if not len(right) else np.asarray(dpotrs(self.half, right, lower=True)[0])
        pull = model.C.T @ rows[: e + m + k]
        price = float(rows[-1]) if model.capped else 0.0
        up, down = up - pull - price * self.turn_up, down + pull - price * self.turn_down
        d_up, d_down = self.a * up + self.off * down, self.off * up + self.d * down
        dv = np.concatenate([d_up[model.name[: model.rises]], d_down[model.name[model.rises :]]])
        under = rows[e : e + m]
        if model.capped:
            under = np.append(under, price)
        return _Point(
            v=dv,
            u=-dv,
            z=to_z - at.z / at.v * dv,
            y=to_y + at.y / at.u * dv,
            slack=to_s - at.slack / at.under * under,
            under=under,
            equal=rows[:e],
        )


def _found(
    model: _Model, at: _Point, x: Floats, pull: Floats, price: float, iterations: int
) -> Found:
    p, rises = model.p, model.rises
    sides = np.full((4, model.n), np.nan)
    rise, fall = model.name[:rises], model.name[rises:]
    sides[0, rise], sides[1, rise] = at.z[:rises], at.y[:rises]
    sides[2, fall], sides[3, fall] = at.z[rises:], at.y[rises:]
    stay_up, top, stay_down, bottom = sides
    up, down = np.isfinite(top), np.isfinite(bottom)
    full = p.cost + price * p.turned
    still = full * np.sign(x - p.w0)  # of a name that cannot move
    lower = np.where(down, bottom, np.where(up, stay_up, np.maximum(pull + still, 0.0)))
    upper = np.where(up, top, np.where(down, stay_down, np.maximum(-pull - still, 0.0)))
    force = np.where(up, np.where(down, -pull - upper + lower, full), np.where(down, -full, still))
    force = np.clip(force, -full, full)
    return Found(
        x=x,
        equal=at.equal,
        under=at.under[: model.m],
        lower=lower,
        upper=upper,
        force=force,
        turnover=price,
        iterations=iterations,
    )
