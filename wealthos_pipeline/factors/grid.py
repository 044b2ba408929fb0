"""Prices and values as sessions × names: what one factor is judged on, without joins."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from wealthos_pipeline.core.errors import FactorError
from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.data.processors.prices import Flag
from wealthos_pipeline.factors.labels import slots

VOLUME_SESSIONS = 20
"""Sessions over which dollar volume is averaged."""


@dataclass(frozen=True, slots=True)
class Grid:
    """Bars by session (rows, from slot ``first`` on) and name (columns, in the order of ``ids``).

    index: total-return index of the last bar at or before the session; NaN before the first.
    bar: there is a bar. traded: there is one that can be bought (no terminal bar of a delisting).
    """

    ids: pl.Series
    first: int
    days: pl.Series
    index: np.ndarray
    bar: np.ndarray
    traded: np.ndarray

    def labels(self, horizon: int, delay: int = 1, end: int | None = None) -> np.ndarray:
        """``index[t + delay + h] / index[t + delay] − 1`` at t; NaN where ``forward_returns`` has no
        row, and where t + delay + h lies after slot ``end``."""
        if horizon < 1 or delay < 0:
            raise FactorError(
                f"a label needs a horizon of 1 session or more and a delay of 0 or more, found "
                f"{horizon} and {delay}"
            )
        out = np.full(self.index.shape, np.nan)
        rows = len(self.index) - delay - horizon
        if end is not None:
            rows = min(rows, end + 1 - self.first - delay - horizon)
        if rows > 0:
            entry = self.index[delay : delay + rows]
            exit_ = self.index[delay + horizon : delay + horizon + rows]
            held = self.bar[:rows] & self.traded[delay : delay + rows]
            np.divide(exit_, entry, out=out[:rows], where=held)
            out[:rows] -= 1.0
        return out

    def column(self, frame: pl.DataFrame, name: str, calendar: TradingCalendar) -> np.ndarray:
        """Float32 values of ``frame`` (``date, instrument_id, name``) where there is a bar, else NaN."""
        out = np.full(self.index.shape, np.nan, np.float32)
        row, code, kept = self._cells(frame, calendar)
        out[row, code] = frame[name].cast(pl.Float32).fill_null(float("nan")).to_numpy()[kept]
        out[~(self.bar & np.isfinite(out))] = np.nan
        return out

    def mask(self, frame: pl.DataFrame, calendar: TradingCalendar) -> np.ndarray:
        """Bars whose ``date, instrument_id`` is in ``frame``."""
        out = np.zeros(self.index.shape, bool)
        row, code, _ = self._cells(frame, calendar)
        out[row, code] = True
        return out & self.bar

    def sectors(self, instruments: pl.DataFrame) -> tuple[np.ndarray, list[str]]:
        """Sector number of each cell (the last number, beyond the words, is none) and their words.

        The description valid on the date counts; before the first one, the first (a snapshot).
        """
        words = instruments["sector"].drop_nulls().unique().sort().to_list()
        number = {w: i for i, w in enumerate(words)}
        code = {name: i for i, name in enumerate(self.ids)}
        out = np.full(self.index.shape, len(words), np.int64)
        seen: set[int] = set()
        described = instruments.select("instrument_id", "valid_from", "sector")
        for name, valid, sector in described.sort("valid_from", "instrument_id").iter_rows():
            if (c := code.get(name)) is None:
                continue
            begin = int(self.days.search_sorted(valid)) if c in seen else 0
            out[begin:, c] = number.get(sector, len(words))
            seen.add(c)
        return out, words

    def _cells(
        self, frame: pl.DataFrame, calendar: TradingCalendar
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Row and column of the rows of ``frame`` that lie in the grid, and which those are."""
        code = codes(frame["instrument_id"], self.ids)
        row = slots(frame, calendar) - self.first
        kept = np.flatnonzero((code >= 0) & (row >= 0) & (row < len(self.index)))
        return row[kept], code[kept], kept


def grid(prices: pl.DataFrame, calendar: TradingCalendar) -> Grid:
    """The grid of ``instrument_id, date, tr_index`` (``slot`` and ``flags`` are used if there).

    FactorError without a single bar, naming what is needed.
    """
    needed = ("instrument_id", "date", "tr_index")
    if missing := [c for c in needed if c not in prices.columns]:
        raise FactorError(f"prices need {needed}; {missing} are not among {prices.columns}")
    rows = prices.filter(pl.col("tr_index").is_not_null())
    slot = slots(rows, calendar)
    if len(slot) and slot.min() < 0:
        rows = rows.filter(pl.Series(slot >= 0))
        slot = slot[slot >= 0]
    if not len(slot):
        raise FactorError("there are no prices to judge a factor on: every tr_index is null")
    ids = rows["instrument_id"].unique().sort()
    code = codes(rows["instrument_id"], ids)
    first, last = int(slot.min()), int(slot.max())
    shape = (last - first + 1, len(ids))
    index = np.full(shape, np.nan)
    index[slot - first, code] = rows["tr_index"].cast(pl.Float64).to_numpy()
    bar = ~np.isnan(index)
    traded = bar.copy()
    if "flags" in rows.columns:
        ended = (rows["flags"].to_numpy() & int(Flag.TERMINAL)) != 0
        traded[(slot - first)[ended], code[ended]] = False
    for r in range(1, len(index)):
        np.copyto(index[r], index[r - 1], where=~bar[r])
    days = calendar.frame()["date"].slice(first, shape[0])
    return Grid(ids, first, days, index, bar, traded)


def liquidity(prices: pl.DataFrame, cells: Grid, calendar: TradingCalendar) -> np.ndarray:
    """Log of the mean ``dollar_volume`` of the bars of the last 20 sessions; NaN where there is none."""
    volume = np.full(cells.index.shape, np.nan)
    row, code, kept = cells._cells(prices, calendar)
    volume[row, code] = (
        prices["dollar_volume"].cast(pl.Float64).fill_null(float("nan")).to_numpy()[kept]
    )
    known = np.isfinite(volume)
    volume[~known] = 0.0
    total, count = np.zeros(volume.shape), np.zeros(volume.shape)
    for back in range(min(VOLUME_SESSIONS, len(volume))):
        total[back:] += volume[: len(volume) - back]
        count[back:] += known[: len(volume) - back]
    out = np.full(volume.shape, np.nan)
    some = (count > 0) & (total > 0)
    out[some] = np.log(total[some] / count[some])
    return out


def codes(names: pl.Series, ids: pl.Series) -> np.ndarray:
    """Place of each name in ``ids`` (sorted, unique), −1 where it is not among them."""
    found = names.cast(pl.Enum(ids), strict=False).to_physical()
    return found.cast(pl.Int64).fill_null(-1).to_numpy()
