"""Lots, the order in which a sale takes them, and what selling them costs in tax.

A sale of x of a name's weight takes its lots in the order of the policy: first in, first out (by the
date of purchase); highest cost a share first; or ``specific``, the lots that cost least in tax first.
The tax of x is then piecewise linear: a lot with unrealised gain g (per unit of weight) and rate r has
the slope ``r g``, negative for a loss, which is worth its rate. As a function of the weight it is convex
only where the slopes rise along the order and the first is not negative: a lot at a loss pays for
being sold, and nothing for the name being bought. ``segments`` gives the largest convex function below
it, and by how much that is too low; ``integer`` solves the whole.

In the objective the tax is charged like a trading cost, ``h/H`` of it (DESIGN §11): it is paid once for
a change that earns over the holding period H. This counts it in full even though a gain that is not
realised today is mostly taxed later; what deferral is worth beyond H is not modelled. Wash sales are
not modelled either: a loss counts although the name may have been bought within 30 days of the sale, or
be bought back. Nor are carried losses, netting of short against long gains, or lots of shorts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
from numpy.typing import NDArray

from wealthos_pipeline.core.errors import PortfolioError
from wealthos_pipeline.core.mandate import Tax
from wealthos_pipeline.portfolio.problem import Floats, Problem, TaxLots
from wealthos_pipeline.portfolio.situation import Lot


def lots_at(
    day: date,
    lots: Sequence[Lot],
    prices: Mapping[str, float],
    nav: float,
    policy: Tax,
    ids: Sequence[str],
) -> TaxLots:
    """The lots as a decision of ``day`` sees them, name by name in ``ids``, in the order of sale.

    prices: of one share in the base currency; a lot of a name without one is left out, because the name
    cannot be sold today. A lot held for more than ``policy.long_days`` calendar days has the long rate.
    Ties within a name go by the lot's id. PortfolioError lists every lot that cannot be used.
    """
    where = {name: i for i, name in enumerate(ids)}
    faults = [f"the net asset value is {nav}, expected above 0"] if not nav > 0 else []
    seen: set[tuple[str, str]] = set()
    rows = []
    for lot in lots:
        named = f"{lot.instrument_id} lot {lot.lot}"
        if lot.instrument_id not in where:
            faults.append(f"{named}: not a name of the problem")
        if not (np.isfinite(lot.units) and lot.units > 0):
            faults.append(f"{named}: {lot.units} units, expected above 0 (no lots of shorts)")
        if not (np.isfinite(lot.cost) and lot.cost >= 0):
            faults.append(f"{named}: a cost of {lot.cost} a share, expected 0 or more")
        if lot.acquired > day:
            faults.append(f"{named}: acquired on {lot.acquired}, after {day}")
        if (lot.instrument_id, lot.lot) in seen:
            faults.append(f"{named}: given twice")
        seen.add((lot.instrument_id, lot.lot))
        price = prices.get(lot.instrument_id)
        if price is None or lot.instrument_id not in where:
            continue
        if not (np.isfinite(price) and price > 0):
            faults.append(f"{named}: a price of {price}, expected above 0")
            continue
        gain = 1.0 - lot.cost / price
        rate = rate_of(policy, (day - lot.acquired).days)
        first: float = {
            "fifo": float(lot.acquired.toordinal()),
            "hifo": -lot.cost,
            "specific": rate * gain,
        }[policy.method]
        weight = lot.units * price / nav if nav > 0 else 0.0
        rows.append((where[lot.instrument_id], first, lot.lot, weight, gain, rate))
    if faults:
        raise PortfolioError("the tax lots cannot be used: " + "; ".join(faults))
    rows.sort(key=lambda row: row[:3])
    return TaxLots(
        row=np.array([r[0] for r in rows], dtype=np.int64),
        weight=np.array([r[3] for r in rows], dtype=np.float64),
        gain=np.array([r[4] for r in rows], dtype=np.float64),
        rate=np.array([r[5] for r in rows], dtype=np.float64),
        ordered=policy.method != "specific",
        gains_budget=policy.gains_budget,
        what=tuple(r[2] for r in rows),
    )


def rate_of(policy: Tax, days: int) -> float:
    """Tax rate of a gain on what was held for ``days`` calendar days."""
    return policy.long_rate if days > policy.long_days else policy.short_rate


def sold(p: Problem, w: Floats) -> Floats:
    """Weight of each lot (m) that goes where names are reduced from ``w0`` to w, in the lots' order.

    A name that goes short is sold in full. What is held beyond the lots is sold last, and untaxed.
    """
    lots = _lots(p)
    left = np.maximum(np.maximum(p.w0, 0.0) - np.maximum(w, 0.0), 0.0)
    out = np.zeros(len(lots.weight))
    for j, i in enumerate(lots.row):
        out[j] = min(float(left[i]), float(lots.weight[j]))
        left[i] -= out[j]
    return out


def realised(p: Problem, w: Floats) -> float:
    """Net realised gain of going from ``w0`` to w, as a fraction of net asset value."""
    return float(sold(p, w) @ _lots(p).gain)


def tax_of(p: Problem, w: Floats) -> float:
    """Tax of going from ``w0`` to w, as a fraction of net asset value: all of it, not ``h/H`` of it.

    Negative where the losses are worth more than the gains cost. 0 for a problem without lots.
    """
    if p.tax is None:
        return 0.0
    return float(sold(p, w) @ (p.tax.rate * p.tax.gain))


@dataclass(frozen=True, eq=False)
class Sale:
    """The largest convex function below the tax of one name, by how far its weight is reduced.

    row: the name. reduction: b + 1 rising breakpoints of ``w0 − w`` (negative: bought), the first and the
    last are all that the box allows. tax: at the breakpoints, fractions of net asset value. slopes: b,
    rising. exact: it is the tax itself. gap: the most by which it is too low.
    """

    row: int
    reduction: Floats
    tax: Floats
    slopes: Floats
    exact: bool
    gap: float


@dataclass(frozen=True, eq=False)
class Segments:
    """``Sale`` of every free name that has lots and may be reduced, by row.

    exact: the sum over names of the pieces is the tax. gap: the most by which it is too low, a fraction of
    net asset value; times ``problem.kappa`` it bounds what the objective is overstated by.
    """

    sales: tuple[Sale, ...]
    exact: bool
    gap: float


DUST = 1e-9
"""Weights of a lot, or held beside the lots, up to this are rounding: no piece of their own."""
FLAT = 1e-12
"""Differences of tax (fractions of net asset value) below this are none."""


def segments(p: Problem) -> Segments:
    """The tax as convex pieces: maximise the objective less ``κ Σ max over pieces``, a bound from above.

    Where ``exact``, that is the problem itself. Otherwise ``integer`` closes the gap.
    """
    lots = p.tax
    if lots is None:
        return Segments((), True, 0.0)
    out = []
    for i in sorted(set(lots.row.tolist())):
        if not np.isnan(p.fixed[i]) or p.w0[i] <= 0:
            continue
        x, tax = curve(p, i)
        if x[-1] > 0.0:
            out.append(_hull(i, x, tax))
    gap = float(sum(s.gap for s in out))
    return Segments(tuple(out), all(s.exact for s in out), gap)


@dataclass(frozen=True, eq=False)
class Pieces:
    """One name's tax over a range of weights, piece by piece from the largest weight down.

    start: ``w0 − w`` at the first piece, 0 or less. length: weights. tax, gain: tax and realised gain per unit of
    weight. breaks: the pieces before which everything earlier must be full, because either of the two is
    less there than before: without them, the pieces fill in their order by themselves.
    """

    start: float
    length: Floats
    tax: Floats
    gain: Floats
    breaks: NDArray[np.int64]


def pieces(p: Problem, i: int, low: float, high: float) -> Pieces:
    """Pieces of name i for weights between low and high; none where it cannot be sold or has no lots."""
    lots = _lots(p)
    mine = np.flatnonzero(lots.row == i)
    held = max(float(p.w0[i]), 0.0)
    ends = np.minimum(np.cumsum(lots.weight[mine]), held)
    gains = np.concatenate([[0.0], lots.gain[mine], [0.0, 0.0]])
    taxes = np.concatenate([[0.0], (lots.rate * lots.gain)[mine], [0.0, 0.0]])
    start, end = min(float(p.w0[i]) - high, 0.0), float(p.w0[i]) - low
    # bought; lot by lot; held beyond the lots; short
    knots = np.concatenate([[start, 0.0], ends, [held, max(end, held)]])
    knots = np.clip(knots, start, end)
    keep = _apart(knots)
    length = np.diff(knots[np.concatenate([[True], keep])])
    if end <= 0.0 or not len(mine):
        return Pieces(start, np.empty(0), np.empty(0), np.empty(0), np.empty(0, dtype=np.int64))
    taxes, gains = taxes[keep], gains[keep]
    falls = np.diff(taxes) < 0.0
    if lots.gains_budget is not None:
        falls |= np.diff(gains) < 0.0
    return Pieces(start, length, taxes, gains, 1 + np.flatnonzero(falls))


def _apart(knots: Floats) -> NDArray[np.bool_]:
    """Pieces between rising knots that are kept: one shorter than DUST is part of the one after it, or of the last."""
    keep = np.zeros(len(knots) - 1, dtype=np.bool_)
    before = knots[0]
    for j, knot in enumerate(knots[1:]):
        if knot - before > DUST:
            keep[j], before = True, knot
    if before < knots[-1] and keep.any():
        knots[1 + np.flatnonzero(keep)[-1]] = knots[-1]
    return keep


def piece_at(p: Problem, w: Floats) -> tuple[Floats, Floats, Floats]:
    """Slope of each name's tax at w (per unit of weight sold) and the weights between which it holds (n each).

    At a breakpoint it is that of the lot before it, the last one that is touched. 0 for a name that is not
    sold, between what is held and no end; a name without lots has no bounds.
    """
    n = len(p.ids)
    slope, low, high = np.zeros(n), np.full(n, -np.inf), np.full(n, np.inf)
    lots = _lots(p)
    for i in sorted(set(lots.row.tolist())):
        part = pieces(
            p, i, min(float(p.lower[i]), float(w[i])), max(float(p.upper[i]), float(w[i]))
        )
        if not len(part.length):
            continue
        ends = part.start + np.concatenate([[0.0], np.cumsum(part.length)])
        reduced = float(p.w0[i] - w[i])
        j = int(np.clip(np.searchsorted(ends, reduced - 1e-12) - 1, 0, len(part.length) - 1))
        slope[i] = part.tax[j]
        high[i] = p.w0[i] - ends[j] if j else np.inf
        low[i] = p.w0[i] - ends[j + 1] if j + 1 < len(part.length) else -np.inf
    return slope, low, high


def curve(p: Problem, i: int) -> tuple[Floats, Floats]:
    """Breakpoints of ``w0_i − w_i`` over the box and the name's tax there: piecewise linear between them."""
    lots = _lots(p)
    mine = np.flatnonzero(lots.row == i)
    held = max(float(p.w0[i]), 0.0)
    knots = np.minimum(np.concatenate([[0.0], np.cumsum(lots.weight[mine])]), held)
    slopes = lots.rate[mine] * lots.gain[mine]
    values = np.concatenate([[0.0], np.cumsum(slopes * np.diff(knots))])
    low, high = float(p.w0[i] - p.upper[i]), float(p.w0[i] - p.lower[i])
    ends = [low]
    ends += [k for k in knots.tolist() if low + DUST < k < high - DUST]
    x = np.array([*ends, high] if high > low else [low])
    x = x[np.concatenate([[True], np.diff(x) > DUST])]
    return x, np.interp(x, knots, values)


def _hull(row: int, x: Floats, tax: Floats) -> Sale:
    """Lower convex hull of the points (Andrew 1979), and how far the points lie above it."""
    keep: list[int] = []
    for j in range(len(x)):
        while len(keep) >= 2:
            a, b = keep[-2], keep[-1]
            turn = (tax[b] - tax[a]) * (x[j] - x[a]) - (tax[j] - tax[a]) * (x[b] - x[a])
            if turn < 0.0:
                break
            keep.pop()
        keep.append(j)
    above = float(np.max(tax - np.interp(x, x[keep], tax[keep])))
    slopes = np.diff(tax[keep]) / np.diff(x[keep])
    return Sale(row, x[keep], tax[keep], slopes, above <= FLAT, max(above, 0.0))


def _lots(p: Problem) -> TaxLots:
    if p.tax is None:
        raise ValueError("the problem has no tax lots")
    return p.tax
