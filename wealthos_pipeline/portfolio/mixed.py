"""A decision as a mixed-integer program: linear rows, convex terms on single columns, whole columns.

The risk is kept in factors: ``y = F^½ B'(w − c)``, one square a factor and one a name, so that every convex
term is on one column and its tangents are sharp. Where a name may be left out (z binary, w = 0 where
z = 0) its square is the perspective ``w²/z``, which is the same at z = 1 and 0 and as convex as can be between
(Frangioni & Gentile, "Perspective cuts for a class of convex 0–1 mixed integer programs", 2006).
The tax of a sale is piecewise linear, filled piece by piece; a binary stands where the slopes fall
(Croxton, Gendron & Magnanti 2003, the incremental model, whose relaxation is the convex hull).

Everything is minimised, in units of ``10⁻⁴ γ`` of the objective, so that doubling alphas, γ and costs is the
same program.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wealthos_pipeline.core.errors import PortfolioError
from wealthos_pipeline.portfolio import conic, limits, objectives, tax
from wealthos_pipeline.portfolio.mixed_model import (
    Ball,
    Builder,
    Columns,
    Mixed,
    Powers,
    Squares,
    Tail,
)
from wealthos_pipeline.portfolio.problem import SESSIONS_PER_YEAR, Floats, Problem

OBJECTIVES = (*objectives.QUADRATIC, "cvar")
"""Objectives that are a mixed-integer program; ``integer`` comes near the others by way of these."""
SMALLEST = 1e-6
"""A name that counts towards a least number of names has at least this weight."""
NEVER = 1e-9
"""Weights up to this are none (``limits``)."""
NONE = np.empty(0, dtype=np.int64)


def build(p: Problem, target: Floats | None = None) -> Mixed:
    """The program of a problem, one of ``OBJECTIVES``; target: weights (n) to come near instead, in variance."""
    if target is None and p.objective_kind not in OBJECTIVES:
        raise PortfolioError(
            f"the objective {p.objective_kind} is no mixed-integer program; expected one of "
            f"{', '.join(OBJECTIVES)}"
        )
    return _Build(p, target).run()


@dataclass(eq=False)
class _Build:
    p: Problem
    target: Floats | None

    def run(self) -> Mixed:
        p, b = self.p, Builder()
        self.b = b
        self.free = np.flatnonzero(p.free)
        self.n = len(self.free)
        self.rest = np.where(p.free, 0.0, p.fixed)
        self.unit = 1e4 / p.risk_aversion
        self.impossible: list[str] = []
        self.all = limits.of(p)
        self.lo, self.hi = self._box()
        self.w0 = p.w0[self.free]
        wanted = objectives.wanted(p)[self.free] if self.target is None else 0.0
        self.w = b.add(self.lo, self.hi, -self.unit * wanted)
        self.linear, self.impact, self.borrow = (
            self.unit * (x if self.target is None else 0.0 * x)[self.free]
            for x in objectives.rates(p)
        )
        self._moves()
        self._signs()
        self._held()
        self._trades()
        self._share_lots()
        self._taxes()
        self._linear()
        squares, balls = self._risk()
        squares, tail = self._tail(squares)
        powers = self._powers()
        return self._done(squares, powers, tail, balls)

    def _box(self) -> tuple[Floats, Floats]:
        """Bounds of the free names: the box, limits on one name each, and what the budget leaves."""
        p, free = self.p, self.free
        low, high = np.full(len(p.ids), -np.inf), np.full(len(p.ids), np.inf)
        low[free], high[free] = p.lower[free], p.upper[free]
        for limit in self.all:
            shape = limit.shape
            if not isinstance(shape, limits.Linear) or limit.kind in ("upper", "lower", "fixed"):
                continue
            rows = shape.rows
            alone = np.bincount(rows.row, minlength=len(shape.right))[rows.row] == 1
            for r, c, v in zip(rows.row[alone], rows.column[alone], rows.value[alone], strict=True):
                if v > 0:
                    high[c] = min(high[c], float(shape.right[r] / v))
                elif v < 0:
                    low[c] = max(low[c], float(shape.right[r] / v))
        lo, hi = low[free], high[free]
        if (lo >= 0).all():
            spare = p.budget - float(self.rest.sum()) - float(lo.sum())
            hi = np.minimum(hi, np.maximum(spare, 0.0) + lo)
        for i in np.flatnonzero(lo > hi + NEVER)[:5]:
            self.impossible.append(
                f"{p.ids[free[i]]} has to weigh at least {lo[i]:.4g} and at most {hi[i]:.4g}"
            )
        return lo, np.maximum(lo, hi)

    def _moves(self) -> None:
        """``w = w0 + buy − sell``, with the linear cost of both."""
        cost = self.linear
        self.buy = self.b.add(np.zeros(self.n), np.maximum(self.hi - self.w0, 0.0), cost)
        self.sell = self.b.add(np.zeros(self.n), np.maximum(self.w0 - self.lo, 0.0), cost)
        self.b.each(self.w0, self.w0, (self.w, 1.0), (self.buy, -1.0), (self.sell, 1.0))

    def _signs(self) -> None:
        """Long and short parts of names that may be either; the fee on shorts."""
        self.both = np.flatnonzero((self.lo < 0) & (self.hi > 0))
        at, fee = self.both, self.borrow
        zero = np.zeros(len(at))
        self.long = self.b.add(zero, self.hi[at])
        self.short = self.b.add(zero, -self.lo[at], fee[at])
        self.b.each(0.0, 0.0, (self.w[at], 1.0), (self.long, -1.0), (self.short, 1.0))
        self.fee = np.where(self.hi <= 0, fee, 0.0)  # of names that are short or nothing

    def _held(self) -> None:
        """z: whether a name is held, for counts and for the least holding."""
        p, b = self.p, self.b
        self.z = np.full(self.n, -1)
        if p.max_names is None and p.min_names is None and p.min_holding is None:
            return
        least = p.min_holding or 0.0
        if p.min_names is not None:
            least = max(least, SMALLEST)
        lo, hi = self.lo, self.hi
        must = (lo > 0) | (hi < 0)
        never = np.where(lo >= 0, hi < max(least, NEVER), (hi <= 0) & (-lo < max(least, NEVER)))
        never &= ~must
        z = b.add(must.astype(float), np.where(never, 0.0, 1.0), whole=True)
        self.z = z
        up, down = np.flatnonzero(lo >= 0), np.flatnonzero((hi <= 0) & (lo < 0))
        b.gate(z[up], self.w[up], hi[up], least)
        if len(down):
            b.each(-np.inf, 0.0, (self.w[down], -1.0), (z[down], lo[down]))
            b.each(-np.inf, 0.0, (self.w[down], 1.0), (z[down], least))
            b.off.append(np.column_stack([z[down], self.w[down]]))
        at = self.both
        zero, one = np.zeros(len(at)), np.ones(len(at))
        above, below = b.add(zero, one, whole=True), b.add(zero, one, whole=True)
        b.gate(above, self.long, hi[at], least)
        b.gate(below, self.short, -lo[at], least)
        b.each(0.0, 0.0, (z[at], 1.0), (above, -1.0), (below, -1.0))
        b.off.append(np.column_stack([z[at], self.w[at]]))
        frozen = int((np.abs(self.rest[~p.free]) > NEVER).sum())
        if p.max_names is not None:
            b.keys["max names"] = b.one(-np.inf, p.max_names - frozen, (z, 1.0))
        if p.min_names is not None:
            b.keys["min names"] = b.one(p.min_names - frozen, np.inf, (z, 1.0))

    def _trades(self) -> None:
        """No trade, or one of at least ``min_trade``."""
        b, least = self.b, self.p.min_trade
        if least is None:
            return
        zero, one = np.zeros(self.n), np.ones(self.n)
        bought, gone = b.add(zero, one, whole=True), b.add(zero, one, whole=True)
        b.gate(bought, self.buy, np.maximum(self.hi - self.w0, 0.0), least)
        b.gate(gone, self.sell, np.maximum(self.w0 - self.lo, 0.0), least)
        b.each(-np.inf, 1.0, (bought, 1.0), (gone, 1.0))

    def _share_lots(self) -> None:
        """Trades of whole lots. A holding that is no whole number of lots may be sold off in full."""
        p, b = self.p, self.b
        if p.lot is None:
            return
        size, w0 = p.lot[self.free], self.w0
        priced = np.isfinite(size) & (size > 0)
        step = np.where(priced, size, 1.0)
        least = np.where(priced, np.ceil((self.lo - w0) / step - 1e-6), 0.0)
        most = np.where(priced, np.floor((self.hi - w0) / step + 1e-6), 0.0)
        close = priced & (w0 != 0) & (self.lo <= 0) & (self.hi >= 0)
        close &= np.abs(w0 / step - np.round(w0 / step)) > 1e-6
        stuck = (least > most) | (~priced & ((w0 < self.lo - NEVER) | (w0 > self.hi + NEVER)))
        for i in np.flatnonzero(stuck & ~close)[:5]:
            why = "has no price" if not priced[i] else f"comes in lots of {size[i]:.4g}"
            self.impossible.append(
                f"{p.ids[self.free[i]]}, of which {w0[i]:.4g} is held, {why} and has to weigh between "
                f"{self.lo[i]:.4g} and {self.hi[i]:.4g}"
            )
        only = np.flatnonzero(close & (least > most))  # nothing but selling it off will do
        nothing = least > most
        least[nothing], most[nothing] = 0.0, 0.0
        count = b.add(least, most, whole=True)
        scaled = w0 / step  # in lots, so that whole numbers meet coefficients of 1
        b.each(scaled, scaled, (self.w, 1.0 / step), (count, np.where(priced, -1.0, 0.0)))
        at = np.flatnonzero(close)
        if len(at):
            must = np.isin(at, only).astype(float)
            end = b.add(must, np.ones(len(at)), whole=True)
            rows = np.arange(b.height - self.n, b.height)[at]
            b.entries.append((rows, end, scaled[at]))
            b.each(-np.inf, most[at], (count[at], 1.0), (end, most[at]))
            b.each(least[at], np.inf, (count[at], 1.0), (end, least[at]))

    def _taxes(self) -> None:
        """The tax of each name, filled piece by piece; a binary where the pieces are out of order."""
        p, b = self.p, self.b
        if p.tax is None:
            return
        weight = self.unit * p.kappa if self.target is None else 0.0
        position = {int(i): j for j, i in enumerate(self.free)}
        taken: list[Columns] = []
        gains: list[Floats] = []
        for i in sorted(set(p.tax.row.tolist())):
            if i not in position or p.w0[i] <= 0:
                continue
            j = position[i]
            pieces = tax.pieces(p, i, float(self.lo[j]), float(self.hi[j]))
            if not len(pieces.length):
                continue
            part = b.add(np.zeros(len(pieces.length)), pieces.length, weight * pieces.tax)
            right = float(p.w0[i] - pieces.start)
            b.one(right, right, (self.w[j : j + 1], 1.0), (part, 1.0))
            for k in pieces.breaks.tolist():
                full = b.add(np.zeros(1), np.ones(1), whole=True)
                before = np.arange(max([0, *(x for x in pieces.breaks.tolist() if x < k)]), k)
                now = np.arange(k, min([len(part), *(x for x in pieces.breaks.tolist() if x > k)]))
                own = np.repeat(full, len(before))
                b.each(0.0, np.inf, (part[before], 1.0), (own, -pieces.length[before]))
                own = np.repeat(full, len(now))
                b.each(-np.inf, 0.0, (part[now], 1.0), (own, -pieces.length[now]))
                b.off.append(np.column_stack([own, part[now]]))
            taken.append(part)
            gains.append(pieces.gain)
        if p.tax.gains_budget is not None and taken:
            forced = tax.realised(p, np.where(p.free, p.w0, p.fixed))
            b.keys["gains"] = b.one(
                -np.inf, p.tax.gains_budget - forced, (np.concatenate(taken), np.concatenate(gains))
            )

    def _linear(self) -> None:
        """Budget, groups, exposures, turnover, gross and shorts."""
        p, b = self.p, self.b
        for limit in self.all:
            shape = limit.shape
            if isinstance(shape, limits.Linear) and limit.key == "budget":
                slack = limits.leftover(p)
                left = p.budget - float(self.rest.sum())
                b.keys["budget"] = b.one(left - slack, left, (self.w, 1.0))
            elif isinstance(shape, limits.Linear) and limit.kind not in ("upper", "lower", "fixed"):
                self._rows(limit.key, shape)
            elif isinstance(shape, limits.Absolute):
                b.keys[limit.key] = self._absolute(shape)

    def _rows(self, key: str, shape: limits.Linear) -> None:
        b, e = self.b, shape.rows
        right = shape.right - shape.sides(self.rest)
        inside = self.p.free[e.column]
        column = np.searchsorted(self.free, e.column[inside])
        b.entries.append((e.row[inside] + b.height, self.w[column], e.value[inside]))
        b.sides.append((np.full(len(right), -np.inf), right))
        b.keys[key] = slice(b.height, b.height + len(right))
        b.height += len(right)

    def _absolute(self, shape: limits.Absolute) -> slice:
        """``|w − w0|`` is buy + sell, ``|w|`` is long + short; anything else gets columns of its own."""
        b, free = self.b, self.free
        scale, reference = shape.scale[free], shape.reference[free]
        gone = np.delete(shape.scale * np.abs(self.rest - shape.reference), free)
        right = shape.right - float(gone.sum()) - float(shape.slope @ self.rest)
        terms: list[tuple[Columns, Floats]] = [(self.w, shape.slope[free])]
        traded = (reference == self.w0) & (scale > 0)
        terms += [(c[traded], scale[traded]) for c in (self.buy, self.sell)]
        whole = (reference == 0) & (scale > 0) & ~traded
        sign = np.where(self.lo >= 0, 1.0, np.where(self.hi <= 0, -1.0, 0.0))
        terms.append((self.w[whole], (scale * sign)[whole]))
        at = whole[self.both]
        terms += [(c[at], scale[self.both][at]) for c in (self.long, self.short)]
        other = np.flatnonzero((scale > 0) & ~traded & ~whole)
        if len(other):
            away = b.add(np.zeros(len(other)), np.full(len(other), np.inf))
            b.each(reference[other], np.inf, (self.w[other], 1.0), (away, 1.0))
            b.each(-np.inf, reference[other], (self.w[other], 1.0), (away, -1.0))
            terms.append((away, scale[other]))
        return b.one(-np.inf, right, *terms)

    def _risk(self) -> tuple[Squares, tuple[Ball, ...]]:
        p, b = self.p, self.b
        norms = [x for x in self.all if isinstance(x.shape, limits.Norm)]
        kind = p.objective_kind
        charged = self.target is not None or kind in objectives.QUADRATIC
        none = Squares(NONE, np.empty(0), NONE, np.empty(0), NONE)
        if not charged and not norms:
            return none, ()
        aim = objectives.reference(p) if self.target is None else self.target
        active = kind == "tracking_error" or p.max_tracking_error is not None
        centre = aim if self.target is not None or not active else p.benchmark
        root = p.B @ conic.half(p.F)
        k, free = root.shape[1], self.free
        far = np.full(k, np.inf)
        y = b.add(-far, far)
        for j in range(k):
            right = float(root[:, j] @ (self.rest - centre))
            b.one(right, right, (y[j : j + 1], 1.0), (self.w, -root[free, j]))
        weight = 0.5 * self.unit * p.risk_aversion * p.horizon
        own = p.d[free] ** 2
        risky = np.flatnonzero(own > 0)
        cost = 1.0 if charged else 0.0
        t = b.add(np.zeros(k), far, cost)
        s = b.add(np.zeros(len(risky)), np.full(len(risky), np.inf), cost)
        shift = np.where(self.z[risky] >= 0, 0.0, centre[free][risky])

        def linear(reference: Floats) -> tuple[list[tuple[Columns, Floats]], float]:
            """Terms and constant that make Σt + Σs the scaled variance of ``w − reference``."""
            gap = root.T @ (reference - centre)
            fixed = (p.d * (self.rest - reference))[~p.free]
            ref = reference[free][risky]
            terms = [
                (y, -2.0 * weight * gap),
                (self.w[risky], -2.0 * weight * own[risky] * (ref - shift)),
            ]
            beyond = float(fixed @ fixed) + float((own[risky] * (ref**2 - shift**2)).sum())
            return terms, weight * (float(gap @ gap) + beyond)

        if charged:
            self.beside, self.constant = linear(aim)
        balls = []
        for limit in norms:
            shape = limit.shape
            assert isinstance(shape, limits.Norm)
            terms, constant = linear(shape.reference)
            cap = shape.right / np.sqrt(SESSIONS_PER_YEAR)
            b.keys[limit.key] = b.one(
                -np.inf, weight * cap**2 - constant, (t, 1.0), (s, 1.0), *terms
            )
            b.outer.append(np.array([b.height - 1]))
            fixed = (p.d * (self.rest - shape.reference))[~p.free]
            balls.append(
                Ball(
                    key=limit.key,
                    root=root[free],
                    offset=root.T @ (shape.reference - self.rest),
                    d=p.d[free],
                    reference=shape.reference[free],
                    beyond=float(np.linalg.norm(fixed)),
                    right=float(cap),
                )
            )
        squares = Squares(
            epi=np.concatenate([t, s]),
            scale=weight * np.concatenate([np.ones(k), own[risky]]),
            column=np.concatenate([y, self.w[risky]]),
            shift=np.concatenate([np.zeros(k), shift]),
            on=np.concatenate([np.full(k, -1), self.z[risky]]),
        )
        return squares, tuple(balls)

    def _powers(self) -> Powers:
        b, at = self.b, np.flatnonzero(self.impact > 0)
        column = np.concatenate([self.buy[at], self.sell[at]])
        zero = np.zeros(len(column))
        epi = b.add(zero, zero + np.inf, 1.0)
        scale = np.tile(self.impact[at], 2)
        return Powers(epi, scale, column, 1.0 + self.p.impact_exponent)

    def _tail(self, squares: Squares) -> tuple[Squares, Tail | None]:
        """The expected shortfall, at least 0, and its square, which is what the objective charges."""
        p = self.p
        if p.objective_kind != "cvar" or self.target is not None:
            return squares, None
        past = objectives.scenarios(p)
        shortfall = self.b.add(np.zeros(1), np.array([np.inf]))
        square = self.b.add(np.zeros(1), np.array([np.inf]), 1.0)
        scale = 0.5 * self.unit * p.risk_aversion * p.horizon / objectives.normal_tail(p) ** 2
        squares = Squares(
            epi=np.concatenate([squares.epi, square]),
            scale=np.append(squares.scale, scale),
            column=np.concatenate([squares.column, shortfall]),
            shift=np.append(squares.shift, 0.0),
            on=np.append(squares.on, -1),
        )
        tail = Tail(int(shortfall[0]), past[:, self.free], past @ self.rest, p.cvar_level)
        return squares, tail

    def _frozen(self) -> float:
        """What the names that cannot be chosen add to the objective, their risk apart."""
        p, fixed = self.p, ~self.p.free
        if self.target is not None or not fixed.any():
            return 0.0
        linear, impact, borrow = (x[fixed] for x in objectives.rates(p))
        w, moved = self.rest[fixed], np.abs(self.rest - p.w0)[fixed]
        value = float(objectives.wanted(p)[fixed] @ w) - float(linear @ moved)
        value -= float(impact @ moved ** (1.0 + p.impact_exponent))
        value -= float(borrow @ np.maximum(-w, 0.0))
        if p.tax is not None:
            value -= p.kappa * tax.tax_of(p, np.where(p.free, p.w0, p.fixed))
        return -self.unit * value

    def _done(
        self, squares: Squares, powers: Powers, tail: Tail | None, balls: tuple[Ball, ...]
    ) -> Mixed:
        b = self.b
        cost = np.concatenate([c[2] for c in b.columns]).copy()
        cost[self.w] -= self.fee
        for column, value in getattr(self, "beside", []):
            np.add.at(cost, column, value)
        outer = np.zeros(b.height, dtype=np.bool_)
        outer[np.concatenate([*b.outer, NONE])] = True
        rows = conic.Entries(*(np.concatenate([e[i] for e in b.entries]) for i in range(3)))  # type: ignore[arg-type]
        return Mixed(
            cost=cost,
            offset=getattr(self, "constant", 0.0) + self._frozen(),
            low=np.concatenate([c[0] for c in b.columns]),
            high=np.concatenate([c[1] for c in b.columns]),
            whole=np.concatenate([np.full(len(c[0]), c[3]) for c in b.columns]),
            rows=rows,
            row_low=np.concatenate([s[0] for s in b.sides]),
            row_high=np.concatenate([s[1] for s in b.sides]),
            outer=outer,
            keys=b.keys,
            squares=squares,
            powers=powers,
            tail=tail,
            balls=balls,
            w=self.w,
            off=np.concatenate([*b.off, np.empty((0, 2), dtype=np.int64)]),
            moves=np.column_stack([self.w, self.buy, self.sell]),
            scale=self.unit,
            impossible=tuple(self.impossible),
        )
