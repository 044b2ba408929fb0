"""Prices as dense matrices, sessions × instruments, for the portfolio stages."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import polars as pl
from numpy.typing import NDArray

from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.data.processors.prices import Flag

Floats = NDArray[np.float64]

UNTRADED = Flag.STALE | Flag.TERMINAL
"""A bar with one of these flags gives a value, and no price at which anything is bought or sold: it is
old, or it is no price."""
DOUBTFUL = Flag.SPIKE_DOUBT | Flag.SPLIT_DOUBT
"""Nobody knows yet whether the bar is right: it is not traded at, either."""
OPTIONAL = ("open", "split_index", "flags", "dividend", "split_ratio", "dollar_volume")
"""Columns of ``clean.prices`` that become matrices where a frame has them."""
VOLUME_SESSIONS = 20
"""Sessions over which a name's daily dollar volume is averaged, by the median."""


@dataclass(frozen=True, eq=False)
class Panel:
    """Bars of ``ids`` (sorted) on every session between the first and the last bar.

    ids: instrument ids, ascending; N of them.
    first_slot: calendar slot of row 0; row r is slot ``first_slot + r``.
    dates: session of each row, T of them.
    tr: total-return index, T × N, NaN where there is no bar.
    close, open: traded prices, T × N, NaN where there is none.
    split: forward-chained split index, T × N; None where it was not given.
    untraded: the bar is no price at which one could trade (``UNTRADED`` or ``DOUBTFUL``), T × N; None
        where the flags were not given. doubtful: nobody knows yet whether it is right (``DOUBTFUL``):
        the next bar will tell, or the vendor's list of splits.
    """

    ids: tuple[str, ...]
    first_slot: int
    dates: tuple[date, ...]
    tr: Floats
    close: Floats
    open: Floats
    split: Floats | None = None
    untraded: NDArray[np.bool_] | None = None
    doubtful: NDArray[np.bool_] | None = None
    dividend: Floats | None = None
    """Cash dividend a share with its ex-date there, T × N; NaN where none was stated. None: none was."""
    split_ratio: Floats | None = None
    """New per old shares, effective on the bar, T × N; NaN where there is no bar. None: not given."""
    volume: Floats | None = None
    """Dollar volume of the session, T × N; NaN where it is unknown. None: not given."""

    def row(self, slot: int) -> int:
        """Row of a slot; may lie outside [0, T)."""
        return slot - self.first_slot

    def tradable(self, row: int) -> NDArray[np.bool_]:
        """Which instruments have a price on ``row`` that one could trade at."""
        priced = np.isfinite(self.tr[row]) & np.isfinite(self.close[row])
        return priced if self.untraded is None else priced & ~self.untraded[row]

    @property
    def last_slot(self) -> int:
        return self.first_slot + len(self.dates) - 1


def build(
    prices: pl.DataFrame | Panel, calendar: TradingCalendar, *, ids: Iterable[str] | None = None
) -> Panel:
    """A Panel from rows of ``clean.prices`` (any order); a Panel is returned as it is.

    prices: ``instrument_id, slot, close, tr_index``; ``OPTIONAL`` columns where they are there.
    ids: keep these instruments only; None keeps all.
    """
    if isinstance(prices, Panel):
        return prices
    wanted = ["instrument_id", "slot", "close", "tr_index"]
    wanted += [c for c in OPTIONAL if c in prices.columns]
    rows = prices.select(wanted)
    if ids is not None:
        rows = rows.filter(pl.col("instrument_id").is_in(sorted(set(ids))))
    names = tuple(sorted(rows["instrument_id"].unique().to_list()))
    if not names:
        empty = np.empty((0, 0))
        return Panel((), 0, (), empty, empty, empty)
    codes = pl.DataFrame({"instrument_id": names, "code": np.arange(len(names), dtype=np.int64)})
    code = rows.select("instrument_id").join(
        codes, on="instrument_id", how="left", maintain_order="left"
    )["code"]
    slot = rows["slot"].to_numpy().astype(np.int64)
    first, last = int(slot.min()), int(slot.max())
    where = (slot - first, code.to_numpy())
    shape = (last - first + 1, len(names))

    def matrix(column: str) -> Floats:
        out = np.full(shape, np.nan)
        out[where] = rows[column].cast(pl.Float64).fill_null(float("nan")).to_numpy()
        return out

    def marked(flag: Flag) -> NDArray[np.bool_]:
        out = np.zeros(shape, dtype=np.bool_)
        out[where] = (rows["flags"].fill_null(0).to_numpy() & int(flag)) != 0
        return out

    dates = tuple(calendar.date_of(s) for s in range(first, last + 1))
    flagged = "flags" in wanted
    return Panel(
        names,
        first,
        dates,
        matrix("tr_index"),
        matrix("close"),
        matrix("open") if "open" in wanted else np.full(shape, np.nan),
        matrix("split_index") if "split_index" in wanted else None,
        marked(UNTRADED | DOUBTFUL) if flagged else None,
        marked(DOUBTFUL) if flagged else None,
        matrix("dividend") if "dividend" in wanted and rows["dividend"].sum() != 0 else None,
        matrix("split_ratio") if "split_ratio" in wanted else None,
        matrix("dollar_volume") if "dollar_volume" in wanted else None,
    )


def volume_on(panel: Panel, row: int) -> dict[str, float]:
    """Average daily dollar volume by name, known at the close of ``row``: the median of the last
    ``VOLUME_SESSIONS`` sessions; absent where fewer than half of them have a volume, or it is 0."""
    if panel.volume is None or not 0 <= row < len(panel.dates):
        return {}
    average = average_volume(panel.volume, row)
    return {panel.ids[i]: float(average[i]) for i in np.flatnonzero(np.isfinite(average))}


def average_volume(volume: Floats, row: int) -> Floats:
    """``volume_on`` as one number a column; NaN where it is unknown."""
    window = np.sort(volume[max(row - VOLUME_SESSIONS + 1, 0) : row + 1], axis=0)  # NaN last
    known = np.isfinite(window).sum(axis=0)
    middle = np.maximum(known - 1, 0)
    every = np.arange(window.shape[1])
    low, high = window[middle // 2, every], window[(middle + 1) // 2, every]
    median = 0.5 * (low + high)
    out: Floats = np.where((2 * known >= VOLUME_SESSIONS) & (median > 0), median, np.nan)
    return out


def returns_before(panel: Panel, row: int, sessions: int, names: Sequence[str]) -> Floats:
    """Simple total returns of the ``sessions`` sessions that end with ``row``, oldest first, S × names.

    NaN unless a session and the one before it have a bar, for names that the panel lacks, and for
    sessions before its first.
    """
    code = {name: i for i, name in enumerate(panel.ids)}
    out = np.full((sessions, len(names)), np.nan)
    there = [(j, code[name]) for j, name in enumerate(names) if name in code]
    first = max(row - sessions + 1, 1)
    if there and row >= first:
        to, columns = (np.array(x, dtype=np.int64) for x in zip(*there, strict=True))
        tr = panel.tr[first - 1 : row + 1].take(columns, axis=1)
        out[sessions - (row - first + 1) :, to] = tr[1:] / tr[:-1] - 1.0
    return out
