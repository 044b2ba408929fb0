"""Prices as dense matrices, sessions × instruments, for the portfolio stages."""

from __future__ import annotations

from collections.abc import Iterable
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

    prices: ``instrument_id, slot, close, tr_index``; ``open`` and ``split_index`` and ``flags`` where they are there.
    ids: keep these instruments only; None keeps all.
    """
    if isinstance(prices, Panel):
        return prices
    wanted = ["instrument_id", "slot", "close", "tr_index"]
    wanted += [c for c in ("open", "split_index", "flags") if c in prices.columns]
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
    )
