"""From target weights to whole shares: sells before buys, never more than is held or can be paid.

Sells are rounded up and buys down, so that caps on weights, groups and money hold by themselves; then
what is left over buys one lot after another, the largest remainder first, where no limit stands against it.
A position that is given up whole is sold whole, odd shares included. A trade that rounding
brings below the mandate's smallest trade gets one lot more, or is left out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wealthos_pipeline.portfolio import limits
from wealthos_pipeline.portfolio.compliance import STRICT, TOLERANCE
from wealthos_pipeline.portfolio.problem import Floats, Problem

EXACT = 1e-6
"""A number of lots this near to a whole one is whole: weights carry rounding errors of their own."""
PENNY = 1e-9
"""Money, as a share of the net asset value, that is rounding error."""
GONE = 1e-9
"""A target weight up to this is none."""


@dataclass(frozen=True, eq=False)
class Rounded:
    """Shares to trade by name (n, signed), what is held and wanted (n), and the money.

    cash_before, cash_after, cash_target: currency; after: at the closes, less the modelled cost; target: what the
    decision leaves. cost: modelled cost of each trade (n).
    """

    held: Floats
    unrounded: Floats
    shares: Floats
    price: Floats
    weights: Floats
    cost: Floats
    cash_before: float
    cash_after: float
    cash_target: float


def costs(p: Problem, change: Floats) -> Floats:
    """Modelled cost of each change of weight (n), as fractions of net asset value."""
    size = np.abs(change)
    out: Floats = p.cost * size
    if p.impact is not None:
        out = out + p.impact * size ** (1.0 + p.impact_exponent)
    return out


def shares_of(weights: Floats, nav: float, price: Floats) -> Floats:
    """Shares of each weight; to the whole share where it is one but for rounding errors; NaN without a price."""
    with np.errstate(divide="ignore", invalid="ignore"):
        exact = np.where(price > 0, weights * nav / price, np.nan)
    near = np.round(exact)
    out: Floats = np.where(
        np.abs(exact - near) <= EXACT * np.maximum(1.0, np.abs(near)) * 1e-3, near, exact
    )
    return out


def to_lots(p: Problem, weights: Floats, nav: float, price: Floats, lot: int = 1) -> Rounded:
    """Whole lots of ``lot`` shares for going from ``p.w0`` to ``weights`` (n) at ``price`` (n, NaN: not traded).

    The cash after the orders is not below what the decision leaves (``nav (1 − budget)``), unless the
    sells alone do not give that much.
    """
    book = _Book(p, weights, nav, price, float(lot))
    book.round()
    book.afford()
    book.calm()
    book.spend()
    return book.done()


class _Book:
    """Orders in the making: ``q`` signed shares by name."""

    def __init__(self, p: Problem, weights: Floats, nav: float, price: Floats, lot: float) -> None:
        self.p, self.nav, self.lot = p, nav, lot
        self.price = np.where(np.isfinite(price) & (price > 0), price, np.nan)
        self.target = weights
        self.held = shares_of(p.w0, nav, self.price)
        moved = np.abs(weights - p.w0) > GONE
        wanted = shares_of(weights, nav, self.price)
        wanted = np.where(np.abs(weights) <= GONE, 0.0, wanted)
        self.unrounded = np.where(moved & np.isfinite(self.price), wanted - self.held, 0.0)
        self.step = np.nan_to_num(lot * self.price / nav)
        self.q = np.zeros(len(p.ids))
        self.cap = _caps(p)
        self.strict = [x for x in limits.of(p) if x.kind != "budget"]

    def weights(self) -> Floats:
        """Weights after the orders; where nothing is traded, what was held to the last bit."""
        out: Floats = np.where(
            self.q != 0, self.p.w0 + np.nan_to_num(self.q * self.price) / self.nav, self.p.w0
        )
        closed = (self.q != 0) & (self.q == -self.held)
        return np.where(closed, 0.0, out)

    def cost(self) -> Floats:
        return costs(self.p, self.weights() - self.p.w0) * self.nav

    def cash(self) -> float:
        w = self.weights()
        return self.nav * (1.0 - float(w.sum())) - float(self.cost().sum())

    def round(self) -> None:
        """Sells up, buys down, within what is held, the caps on trades and the smallest trade."""
        for i in np.flatnonzero(self.unrounded):
            want, held = float(self.unrounded[i]), float(self.held[i])
            closes = self.target[i] == 0 or abs(self.target[i]) <= GONE
            most = self.cap[i] / self.step[i] * self.lot if self.step[i] else 0.0
            if closes and abs(held) <= most * (1 + 1e-12):
                self.q[i] = -held
                continue
            lots = abs(want) / self.lot
            size = (np.ceil(lots - EXACT) if want < 0 else np.floor(lots + EXACT)) * self.lot
            if want < 0 <= self.target[i]:
                size = min(size, np.floor(held / self.lot + EXACT) * self.lot, held)
            if want > 0 >= self.target[i]:  # covering a short does not make a long position
                size = min(size, -held)
            if size > most * (1 + 1e-12):
                size = np.floor(most / self.lot + EXACT) * self.lot
            size = self._not_too_small(int(i), float(size), want, float(most))
            self.q[i] = np.sign(want) * size

    def _not_too_small(self, i: int, size: float, want: float, most: float) -> float:
        """``size``, one lot more, or 0: a trade is none or at least the mandate's smallest, and so is what
        is left of a holding."""
        least = self.p.min_trade
        value = self.price[i] / self.nav
        if least is not None and size > 0 and size * value < least * (1 - 1e-12):
            size = np.ceil(least / value / self.lot - EXACT) * self.lot
        elif least is not None and size == 0:
            return 0.0
        after = self.held[i] + np.sign(want) * size
        smallest = self.p.min_holding
        if smallest is not None and 0 < abs(after) * value < smallest * (1 - 1e-12):
            if want > 0:
                size += np.ceil((smallest / value - after) / self.lot - EXACT) * self.lot
            else:
                size -= np.ceil((smallest / value - after) / self.lot - EXACT) * self.lot
                size = max(size, 0.0)
            after = self.held[i] + np.sign(want) * size
        low, high = self.p.lower[i], self.p.upper[i]
        fits = size <= most * (1 + 1e-12)
        if want > 0:
            fits = fits and after * value <= max(high, self.target[i]) + TOLERANCE
        else:
            fits = fits and after * value >= min(low, self.target[i]) - self.step[i]
        return float(size) if fits else 0.0

    def afford(self) -> None:
        """Takes lots off the buys until the orders and their costs are paid for."""
        floor = self.nav * (1.0 - self.p.budget)
        short = floor - self.cash()
        order = np.argsort(-(self.q - self.unrounded) * np.nan_to_num(self.price), kind="stable")
        rounds = 0
        while short > PENNY * self.nav and rounds < 64:
            rounds += 1
            buys = [i for i in order if self.q[i] > 0]
            if not buys:
                return
            for i in buys:
                need = short / (self.price[i] * (1.0 + self.p.cost[i]))
                lots = min(np.ceil(need / self.lot), np.ceil(self.q[i] / self.lot))
                # spread over the names: a name gives up one lot a round, the last round what is left
                self._less(i, 1.0 if rounds < 32 else float(lots))
                short = floor - self.cash()
                if short <= PENNY * self.nav:
                    return

    def _less(self, i: int, lots: float) -> None:
        size = abs(self.q[i]) - lots * self.lot
        least = (self.p.min_trade or 0.0) * self.nav / self.price[i]
        size = size if size > EXACT and size >= least * (1 - 1e-12) else 0.0
        self.q[i] = np.sign(self.q[i]) * size

    def calm(self) -> None:
        """Turnover that rounding the sells up has added is taken back, one lot at a time."""
        cap = self.p.max_turnover
        if cap is None:
            return
        free = self.p.free
        over = 0.5 * float(np.abs(self.weights() - self.p.w0)[free].sum()) - cap
        extra = (np.abs(self.q) - np.abs(self.unrounded)) * np.nan_to_num(self.price)
        for i in np.argsort(-extra, kind="stable"):
            if over <= TOLERANCE or extra[i] <= 0:
                return
            back = self.p.w0[i] + (self.q[i] + np.sign(self.unrounded[i]) * -self.lot) * (
                self.price[i] / self.nav
            )
            closes = self.q[i] == -self.held[i]
            if closes or not free[i] or back > self.p.upper[i] + TOLERANCE:
                continue
            self._less(int(i), 1.0)
            over = 0.5 * float(np.abs(self.weights() - self.p.w0)[free].sum()) - cap

    def spend(self) -> None:
        """What is left over buys lots, the largest remainder first, where no limit gets worse."""
        floor = self.nav * (1.0 - self.p.budget)
        left, missed = self.cash() - floor, None
        while True:
            bought = False
            short = np.where(self.unrounded > 0, self.unrounded - self.q, 0.0)
            remainder = short * np.nan_to_num(self.price)
            for i in np.argsort(-remainder, kind="stable"):
                lot_value = self.step[i] * self.nav
                if remainder[i] <= EXACT * lot_value:
                    break
                if left < lot_value - PENNY * self.nav:
                    continue
                missed = self._missed() if missed is None else missed
                before = self.q[i]
                self.q[i] = before + self.lot
                cash, after = self.cash() - floor, self._missed()
                worse = any(after[k] > max(missed[k], TOLERANCE) for k in after)
                if cash < -PENNY * self.nav or worse:
                    self.q[i] = before
                else:
                    left, missed, bought = cash, after, True
            if not bought:
                return

    def _missed(self) -> dict[str, float]:
        w = self.weights()
        return {x.key: limits.excess(self.p, x, w) for x in self.strict}

    def done(self) -> Rounded:
        weights = self.weights()
        return Rounded(
            held=self.held,
            unrounded=self.unrounded,
            shares=self.q,
            price=self.price,
            weights=weights,
            cost=self.cost(),
            cash_before=self.nav * (1.0 - float(self.p.w0.sum())),
            cash_after=self.cash(),
            cash_target=self.nav * (1.0 - float(self.target.sum())),
        )


def _caps(p: Problem) -> Floats:
    """The most that each weight may change."""
    out = np.full(len(p.ids), np.inf)
    for trade in p.trade_caps:
        out = np.minimum(out, np.where(p.free, trade.caps, np.inf))
    return out


__all__ = ["STRICT", "Rounded", "costs", "shares_of", "to_lots"]
