"""What the accounting reads of prices: last closes, and what a share became and paid on its way.

Between a bar and the name's bar before it the total-return index says what a holder earned. Of that the
close says the price; a stated split changes the number of shares; a stated dividend is cash. What then
remains has no name in the data: closes adjusted for dividends that nobody listed, a series whose
back-adjustment was renewed. Up to ``BASIS`` of the price it is paid out in cash (or charged) as
a dividend that the index implies; beyond that it changes the number of shares, as a split would.
So one session's gain of a holding is its total return, whatever the vendor lists.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wealthos_pipeline.portfolio.panel import Panel
from wealthos_pipeline.portfolio.problem import Floats

DEAD_AFTER = 10
"""Sessions without a bar after which a holding is taken for delisted."""
BASIS = 0.2
"""Share of the price up to which an unexplained return is cash; beyond, it is a change of units."""
EXACT = 1e-9
"""Share of the price below which what remains is rounding."""
COLUMNS = 256
"""Names computed at a time, so that intermediate matrices stay small."""
AGREES = 1e-3
"""Share of the price by which a stated dividend may differ from what the index says."""


@dataclass(frozen=True, eq=False)
class Marks:
    """Last prices and their age, sessions × names. ``tr`` and ``close`` are forward-filled; age 0 = a bar."""

    tr: Floats
    age: NDArray[np.int32]
    close: Floats

    @classmethod
    def of(cls, panel: Panel) -> Marks:
        seen = np.isfinite(panel.tr) & np.isfinite(panel.close)
        rows = np.arange(len(panel.dates), dtype=np.int32)[:, None]
        last = np.maximum.accumulate(np.where(seen, rows, np.int32(-1)), axis=0)
        there = np.maximum(last, 0)
        never = last < 0
        tr, close = (np.take_along_axis(x, there, axis=0) for x in (panel.tr, panel.close))
        tr[never], close[never] = np.nan, np.nan
        age = np.where(never, np.int32(1 << 30), rows - last).astype(np.int32)
        return cls(tr, age, close)


@dataclass(frozen=True, eq=False)
class Actions:
    """What happens to a share on each bar, T × N; 0 × 0 where nothing ever does.

    ratio: shares for a share, 1 on other days. income: cash a share, after the split, 0 on other days.
    """

    ratio: Floats
    income: Floats

    @classmethod
    def of(cls, panel: Panel, marks: Marks) -> Actions:
        shape = panel.close.shape
        none = cls(np.empty((0, 0)), np.empty((0, 0)))
        if shape[0] < 2 or not shape[1]:
            return none
        ratio, income = np.ones(shape), np.zeros(shape)
        for start in range(0, shape[1], COLUMNS):
            part = np.s_[:, start : start + COLUMNS]
            ratio[1:][part], income[1:][part] = _actions(panel, marks, part)
        if (ratio == 1.0).all() and not income.any():
            return none
        return cls(ratio, income)


def _actions(panel: Panel, marks: Marks, part: tuple[slice, slice]) -> tuple[Floats, Floats]:
    """Ratio and income of some columns, from the second session on."""
    into = (marks.age[1:][part] == 0) & np.isfinite(marks.close[:-1][part])
    close = marks.close[1:][part]
    split = _split(panel, marks, part)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        growth = marks.tr[1:][part] / marks.tr[:-1][part]
        earned = growth * marks.close[:-1][part] / split - close
        share = earned / close
    stated = np.zeros_like(close)
    if panel.dividend is not None:
        told = panel.dividend[1:][part]
        stated = np.where(np.isfinite(told), told, 0.0)
    known = (stated != 0.0) & (np.abs(earned - stated) <= AGREES * close)
    paid = np.where(known, stated, np.where(np.abs(share) > EXACT, earned, 0.0))
    rebased = into & ~known & (np.abs(share) > BASIS)
    ratio = np.where(rebased, split * (1.0 + share), np.where(into, split, 1.0))
    return ratio, np.where(into & ~rebased, paid, 0.0)


def _split(panel: Panel, marks: Marks, part: tuple[slice, slice]) -> Floats:
    """Stated splits into each bar from the second session on; 1 where there is none."""
    if panel.split_ratio is not None:
        told = panel.split_ratio[1:][part]
        return np.where(np.isfinite(told) & (told > 0), told, 1.0)
    if panel.split is None:
        return np.ones_like(panel.close[1:][part])
    rows = np.arange(len(panel.dates))[:, None]
    before = np.maximum(rows - marks.age[part], 0)
    last = np.take_along_axis(panel.split[part], before, axis=0)
    with np.errstate(invalid="ignore"):
        told = last[1:] / last[:-1]
    return np.where(np.isfinite(told) & (told > 0), told, 1.0)
