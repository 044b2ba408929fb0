"""Linear rows that every point of a mixed program meets: tangents of its convex terms."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from wealthos_pipeline.portfolio.mixed_model import Mixed
from wealthos_pipeline.portfolio.problem import Floats

Rows = tuple[Floats, Floats, NDArray[np.int64], NDArray[np.int64], Floats]
"""low, high, starts, columns, values."""
FINE = 1e-9
"""A term that is too low by less, in units of the program, needs no tangent."""
GRID = 5
"""Ratios between a name's least and largest weight at which its square is touched from the start."""


@dataclass(eq=False)
class _Rows:
    low: list[float] = field(default_factory=list)
    column: list[NDArray[np.int64]] = field(default_factory=list)
    value: list[Floats] = field(default_factory=list)

    def add(self, columns: NDArray[np.int64], values: Floats, low: Floats) -> None:
        """Rows with the same number of entries: (rows × entries), ``values · x[columns] ≥ low``."""
        self.low += low.tolist()
        self.column += list(columns)
        self.value += list(values)

    def done(self) -> Rows:
        size = [len(c) for c in self.column]
        start = np.concatenate([[0], np.cumsum(size)])[:-1].astype(np.int64)
        column = np.concatenate([*self.column, np.empty(0, dtype=np.int64)])
        value = np.concatenate([*self.value, np.empty(0)])
        low = np.array(self.low, dtype=np.float64)
        return low, np.full(len(low), np.inf), start, column, value


def first(m: Mixed) -> Rows:
    """Tangents to begin with: a grid for the names, one for the expected shortfall."""
    out, s = _Rows(), m.squares
    own = np.flatnonzero(s.on >= 0)
    high = np.maximum(np.abs(m.high[s.column[own]]), np.abs(m.low[s.column[own]]))
    for share in np.geomspace(0.04, 1.0, GRID):
        for sign in (1.0, -1.0):
            able = (m.high if sign > 0 else -m.low)[s.column[own]] > 0
            _perspective(out, m, own[able], sign * share * high[able])
    if m.tail is not None:
        _tail(out, m, np.zeros(m.tail.returns.shape[1]))
    return out.done()


def at(m: Mixed, x: Floats, *, every: bool = False) -> tuple[Rows, float]:
    """Tangents at x of every term that x has too low, and by how much they are, summed; ``every``: of all terms."""
    out, missing = _Rows(), 0.0
    s = m.squares
    plain = np.flatnonzero(s.on < 0)
    point = x[s.column[plain]] - s.shift[plain]
    short = s.scale[plain] * point**2 - x[s.epi[plain]]
    need = every | (short > FINE)
    missing += float(short[need].sum())
    _plain(out, m, plain[need], point[need])

    own = np.flatnonzero(s.on >= 0)
    on = x[s.on[own]]
    held = on > 1e-9
    ratio = np.divide(x[s.column[own]], on, out=np.zeros(len(own)), where=held)
    short = s.scale[own] * ratio**2 * on - x[s.epi[own]]
    need = held & (every | (short > FINE))
    missing += float(short[need].sum())
    _perspective(out, m, own[need], ratio[need])

    w = m.powers
    if len(w.epi):
        point = np.maximum(x[w.column], 0.0)
        short = w.scale * point**w.exponent - x[w.epi]
        need = every | (short > FINE)
        missing += float(short[need].sum())
        slope = w.exponent * w.scale[need] * point[need] ** (w.exponent - 1.0)
        columns = np.column_stack([w.epi[need], w.column[need]])
        base = w.scale[need] * point[need] ** w.exponent - slope * point[need]
        out.add(columns, np.column_stack([np.ones(len(slope)), -slope]), base)
    if m.tail is not None:
        at_w, has = tail_value(m, x[m.w]), float(x[m.tail.epi])
        scale = float(s.scale[-1])  # of its square, the last one
        low = scale * (at_w**2 - has**2)
        if every or low > FINE:
            missing += max(low, 0.0)
            _tail(out, m, x[m.w])
    return out.done(), missing


def _plain(out: _Rows, m: Mixed, which: NDArray[np.int64], point: Floats) -> None:
    s = m.squares
    q, shift = s.scale[which], s.shift[which]
    columns = np.column_stack([s.epi[which], s.column[which]])
    values = np.column_stack([np.ones(len(which)), -2.0 * q * point])
    out.add(columns, values, -q * point**2 - 2.0 * q * point * shift)


def _perspective(out: _Rows, m: Mixed, which: NDArray[np.int64], ratio: Floats) -> None:
    """``e ≥ q (2 r x − r² z)``, which touches ``q x²/z`` along ``x = r z``."""
    s = m.squares
    q = s.scale[which]
    columns = np.column_stack([s.epi[which], s.column[which], s.on[which]])
    values = np.column_stack([np.ones(len(which)), -2.0 * q * ratio, q * ratio**2])
    out.add(columns, values, np.zeros(len(which)))


def _worst(losses: Floats, level: float) -> Floats:
    """Weights of the sessions in the expected shortfall: the worst ones, the last of them in part."""
    count = (1.0 - level) * len(losses)
    order = np.argsort(-losses, kind="stable")
    share = np.zeros(len(losses))
    share[order] = np.clip(count - np.arange(len(losses)), 0.0, 1.0) / count
    return share


def tail_value(m: Mixed, w: Floats) -> float:
    """Expected shortfall of the losses at w, 0 at least."""
    assert m.tail is not None
    losses = -(m.tail.returns @ w + m.tail.rest)
    return max(float(_worst(losses, m.tail.level) @ losses), 0.0)


def _tail(out: _Rows, m: Mixed, w: Floats) -> None:
    t = m.tail
    assert t is not None
    share = _worst(-(t.returns @ w + t.rest), t.level)
    slope = share @ t.returns
    columns = np.concatenate([[t.epi], m.w])[None, :]
    out.add(
        columns,
        np.concatenate([[1.0], slope])[None, :],
        np.array([-float(share @ t.rest)]),
    )
