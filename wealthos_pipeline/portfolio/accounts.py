"""Units, cash and value of one portfolio by session: the daily accounting of a backtest.

Positions are units of the total-return index, so dividends are reinvested in the name that paid
them, at the close of the ex-date. Cash earns nothing. A name without a bar keeps its last price;
after ``DEAD_AFTER`` sessions without one it becomes cash at that price, without a cost: nobody can
know on the day that no bar will follow.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from wealthos_pipeline.portfolio.panel import Panel
from wealthos_pipeline.portfolio.problem import Floats

DEAD_AFTER = 10
"""Sessions without a bar after which a holding is taken for delisted."""


@dataclass(frozen=True, eq=False)
class Marks:
    """Last prices and their age, sessions × names. ``tr`` is forward-filled; age 0 = a bar."""

    tr: Floats
    age: NDArray[np.int32]

    @classmethod
    def of(cls, panel: Panel) -> Marks:
        seen = np.isfinite(panel.tr)
        rows = np.arange(len(panel.dates), dtype=np.int32)[:, None]
        last = np.maximum.accumulate(np.where(seen, rows, np.int32(-1)), axis=0)
        tr = np.take_along_axis(panel.tr, np.maximum(last, 0), axis=0)
        age = np.where(last >= 0, rows - last, np.int32(1 << 30)).astype(np.int32)
        return cls(np.where(last >= 0, tr, np.nan), age)


@dataclass(eq=False)
class Account:
    """What one portfolio holds, and the rows that its history leaves.

    units: of the total-return index, one a panel name. cash: currency.
    """

    panel: Panel
    marks: Marks
    units: Floats
    cash: float
    rows: list[tuple[int, float, float, float, float, int]] = field(default_factory=list)
    """row, nav, cost, turnover, cash, names"""
    snapshots: dict[int, tuple[Floats, float]] = field(default_factory=dict)

    @property
    def held(self) -> NDArray[np.int64]:
        return np.flatnonzero(self.units)

    def values(self, row: int) -> Floats:
        """Value of each holding at the close of ``row``; 0 for what is not held."""
        out = np.zeros(len(self.units))
        held = self.held
        out[held] = self.units[held] * self.marks.tr[row, held]
        return out

    def nav(self, row: int) -> float:
        """Cash plus holdings at the close of ``row``, summed over the held names in order."""
        return float(self._navs(row, row + 1)[0])

    def _navs(self, start: int, stop: int) -> Floats:
        held = self.held
        values = np.ascontiguousarray(self.marks.tr[start:stop].take(held, axis=1))
        return (values * self.units[held]).sum(axis=1) + self.cash

    def snapshot(self, row: int) -> None:
        self.snapshots[row] = (self.units.copy(), self.cash)

    def quiet(self, start: int, stop: int) -> None:
        """Sessions [start, stop) without fills: drift, and what has died becomes cash."""
        while start < stop:
            held = self.held
            dead = (self.marks.age[start:stop].take(held, axis=1) >= DEAD_AFTER).any(axis=1)
            until = start + int(dead.argmax()) if dead.any() else stop
            self._note(start, until)
            if until < stop:
                self._bury(until)
                self._note(until, until + 1)
                until += 1
            start = until

    def fill(self, row: int, units: Floats, prices: Floats, cost: Floats, floor: float) -> None:
        """Trade ``units`` (signed changes) at ``prices`` in session ``row``, and mark its close.

        Names without a price there are not traded. Sales are done in full; purchases are scaled by
        one factor, if need be, so that cash does not end below ``floor``. cost: decimal by name.
        """
        # compacted to the names traded: sums must not depend on what else the panel holds
        rows = np.flatnonzero((units != 0.0) & np.isfinite(prices))
        change = units[rows]
        value = change * prices[rows]
        charge = np.abs(value) * cost[rows]
        sold = change < 0
        proceeds = float(-value[sold].sum() - charge[sold].sum())
        spent = float(value[~sold].sum() + charge[~sold].sum())
        room = self.cash + proceeds - floor
        scale = 1.0 if spent <= max(room, 0.0) else max(room, 0.0) / spent
        factor = np.where(sold, 1.0, scale)
        traded = value * factor
        paid = float((charge * factor).sum())
        before = self.nav(row)
        after = self.units.copy()
        after[rows] += change * factor
        after[rows[sold & (change == -self.units[rows])]] = 0.0
        self.units = after
        self.cash = self.cash - float(traded.sum()) - paid
        if (self.marks.age[row].take(self.held) >= DEAD_AFTER).any():
            self._bury(row)
        self.snapshot(row)
        self._note(row, row + 1, paid, 0.5 * float(np.abs(traded).sum()) / before)

    def _bury(self, row: int) -> None:
        held = self.held
        dead = held[self.marks.age[row].take(held) >= DEAD_AFTER]
        self.cash += float((self.units[dead] * self.marks.tr[row, dead]).sum())
        self.units = self.units.copy()
        self.units[dead] = 0.0
        self.snapshot(row)

    def _note(self, start: int, stop: int, cost: float = 0.0, turnover: float = 0.0) -> None:
        names = len(self.held)
        for row, nav in zip(range(start, stop), self._navs(start, stop), strict=True):
            self.rows.append((row, float(nav), cost, turnover, self.cash, names))
