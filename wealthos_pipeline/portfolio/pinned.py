"""A mixed program with its whole columns pinned: the convex problem that is left, solved exactly."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from wealthos_pipeline.portfolio import conic
from wealthos_pipeline.portfolio.mixed_model import Mixed
from wealthos_pipeline.portfolio.problem import Bools, Floats

SAME = 1e-12
"""Bounds this near to each other leave no choice."""
MISSED = 1e-8
"""A row that nothing can change any more is missed by more than this, or met."""


@dataclass(frozen=True, eq=False)
class Pinned:
    """status: ``solved``, ``infeasible`` or the solver's own word. x: all columns; those above terms are not set."""

    status: str
    x: Floats


def solve(m: Mixed, whole: Floats) -> Pinned:
    """The best x with the whole columns as in ``whole``, rounded.

    What that decides alone (names left out, bounds of single columns) is taken out first, so that the solver
    sees the names held and little else.
    """
    from scipy import sparse

    low, high = m.low.copy(), m.high.copy()
    low[m.whole] = high[m.whole] = np.round(whole[m.whole])
    off = m.off[low[m.off[:, 0]] == 0, 1] if len(m.off) else m.off[:, 0]
    if (low[off] > MISSED).any() or (high[off] < -MISSED).any():
        return Pinned("infeasible", whole)
    low[off] = high[off] = 0.0
    keep = ~m.outer
    shape = (len(m.row_low), len(m.cost))
    A = sparse.csr_matrix((m.rows.value, (m.rows.row, m.rows.column)), shape=shape)[keep]
    sides = (m.row_low[keep], m.row_high[keep])
    above = np.zeros(len(m.cost), dtype=np.bool_)
    above[m.squares.epi] = True
    free, used = _narrowed(A, sides, low, high)
    if (low > high + MISSED).any() or free is None:
        return Pinned("infeasible", whole)
    x = np.where(np.isfinite(low), np.minimum(low, high), 0.0)
    free &= ~above
    if not free.any():
        return Pinned("solved", x)
    return _solved(m, A[used], (sides[0][used], sides[1][used]), low, high, free, x)


def _narrowed(
    A: object, sides: tuple[Floats, Floats], low: Floats, high: Floats
) -> tuple[Bools | None, Bools]:
    """Tightens bounds by rows with one free column until nothing changes; which columns, which rows remain.

    None for the columns where a row cannot be met.
    """
    from scipy import sparse

    assert isinstance(A, sparse.csr_matrix)
    used = np.ones(A.shape[0], dtype=np.bool_)
    row = np.repeat(np.arange(A.shape[0]), np.diff(A.indptr))
    while True:
        free = high - low > SAME
        known = np.where(free, 0.0, np.where(np.isfinite(low), low, 0.0))
        count = np.bincount(row[free[A.indices] & (A.data != 0)], minlength=A.shape[0])
        settled = A @ known
        done = used & (count == 0)
        miss = np.maximum(sides[0] - settled, settled - sides[1])[done]
        if len(miss) and miss.max() > MISSED:
            return None, used
        used &= count > 0
        single = used & (count == 1)
        if not single.any():
            return free, used
        entry = np.flatnonzero(single[row] & free[A.indices] & (A.data != 0))
        column, value, r = A.indices[entry], A.data[entry], row[entry]
        ends = np.sort(np.stack([(side[r] - settled[r]) / value for side in sides]), axis=0)
        np.maximum.at(low, column, ends[0])
        np.minimum.at(high, column, ends[1])
        used &= ~single
        crossed = (low > high) & (low <= high + MISSED)
        low[crossed] = high[crossed] = 0.5 * (low[crossed] + high[crossed])
        if (low > high).any():
            return None, used


def _solved(
    m: Mixed, A: object, sides: tuple[Floats, Floats], low: Floats, high: Floats, free: Bools, x: Floats
) -> Pinned:  # fmt: skip
    from scipy import sparse

    assert isinstance(A, sparse.csr_matrix)
    at = np.full(len(m.cost), -1)
    at[free] = np.arange(int(free.sum()))
    n, extra = int(free.sum()), 0
    q, P = m.cost[free].copy(), np.zeros(n)
    s = m.squares
    inside = free[s.column]
    weight = (m.cost[s.epi] * s.scale)[inside]
    np.add.at(P, at[s.column[inside]], 2.0 * weight)
    np.add.at(q, at[s.column[inside]], -2.0 * weight * s.shift[inside])

    blocks: list[tuple[Any, Floats]] = []
    cones: list[tuple[str, float]] = []
    settled = A @ np.where(free, 0.0, x)
    inner = A[:, free]
    equal = sides[1] - sides[0] <= SAME
    blocks.append((inner[equal], (sides[1] - settled)[equal]))
    cones.append(("zero", float(equal.sum())))
    identity = sparse.identity(n, format="csr")
    above, below = ~equal & np.isfinite(sides[1]), ~equal & np.isfinite(sides[0])
    lows, highs = np.isfinite(low[free]), np.isfinite(high[free])
    blocks += [
        (inner[above], (sides[1] - settled)[above]),
        (-inner[below], (settled - sides[0])[below]),
        (identity[highs], high[free][highs]),
        (-identity[lows], -low[free][lows]),
    ]
    if m.tail is not None:
        # epi ≥ v + Σ u / ((1 − level) S), u ≥ losses − v, u ≥ 0
        t = m.tail
        S = len(t.rest)
        extra = S + 1
        inw = free[m.w]
        losses = sparse.csr_matrix(t.returns[:, inw])
        picked = sparse.csr_matrix(
            (np.ones(int(inw.sum())), (np.arange(int(inw.sum())), at[m.w[inw]])),
            shape=(int(inw.sum()), n),
        )
        epi = sparse.csr_matrix(([-1.0], ([0], [at[t.epi]])), shape=(1, n))
        ones = sparse.csr_matrix(np.ones((S, 1)))
        each = sparse.identity(S, format="csr")
        share = np.full((1, S), 1.0 / ((1.0 - t.level) * S))
        none = sparse.csr_matrix((S, n + 1))
        held = t.rest + t.returns[:, ~inw] @ x[m.w[~inw]]
        rows = sparse.vstack(
            [
                sparse.hstack([epi, sparse.csr_matrix([[1.0]]), sparse.csr_matrix(share)]),
                sparse.hstack([-losses @ picked, -ones, -each]),
                sparse.hstack([none, -each]),
            ]
        )
        right = np.concatenate([[0.0], held, np.zeros(S)])
        blocks.append((rows, right))
    nonnegative = sum(len(right) for _, right in blocks[1:])
    cones.append(("nonnegative", float(nonnegative)))
    for ball in m.balls:
        inw = free[m.w]
        columns = at[m.w[inw]]
        k, count = ball.root.shape[1], int(inw.sum())
        rest = np.where(inw, 0.0, x[m.w])
        top = np.zeros((1, n))
        factors, own = np.zeros((k, n)), np.zeros((count + 1, n))
        factors[:, columns] = -ball.root[inw].T
        own[np.arange(count), columns] = -ball.d[inw]
        gone = np.linalg.norm(np.append((ball.d * (rest - ball.reference))[~inw], ball.beyond))
        right = np.concatenate(
            [
                [ball.right],
                ball.root.T @ rest - ball.offset,
                -(ball.d * ball.reference)[inw],
                [gone],
            ]
        )
        matrix = sparse.csr_matrix(np.vstack([top, factors, own]) / ball.right)
        blocks.append((matrix, right / ball.right))
        cones.append(("second", float(len(right))))
    w = m.powers
    for epi_column, scale, column in zip(w.epi, w.scale, w.column, strict=True):
        if free[column]:  # (epi/scale, 1, column) in the cone a^(1/e) · 1 ≥ |c|
            rows = sparse.csr_matrix(
                ([-1.0 / scale, -1.0], ([0, 2], [at[epi_column], at[column]])), shape=(3, n)
            )
            blocks.append((rows, np.array([0.0, 1.0, 0.0])))
            cones.append(("power", 1.0 / w.exponent))
    width = n + extra
    wide = [
        sparse.hstack([b, sparse.csr_matrix((b.shape[0], width - b.shape[1]))])
        if b.shape[1] < width
        else b
        for b, _ in blocks
    ]
    curve = sparse.diags(np.concatenate([P, np.zeros(extra)]), format="csc")
    answer = conic.run(
        curve, np.concatenate([q, np.zeros(extra)]), sparse.csc_matrix(sparse.vstack(wide)),
        np.concatenate([right for _, right in blocks]), cones,
    )  # fmt: skip
    if answer.status in ("PrimalInfeasible", "AlmostPrimalInfeasible"):
        return Pinned("infeasible", x)
    if answer.status not in ("Solved", "AlmostSolved") or not np.isfinite(answer.x).all():
        return Pinned(answer.status, x)
    x = x.copy()
    x[free] = np.clip(answer.x[:n], low[free], high[free])
    return Pinned("solved", x)
