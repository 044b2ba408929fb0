"""A price panel laid out for the kernels: per instrument one cell a session, gaps as NaN."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date

import numpy as np
import polars as pl
from numpy.typing import NDArray

from wealthos_pipeline.core.errors import FactorError
from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.factors.operators import FIELDS

Vector = NDArray[np.float64]
Index = NDArray[np.int64]

FILL_DAYS: Mapping[str, int] = {"day": 10, "month": 45}
"""Calendar days for which the latest known value of a series stands, by frequency."""


@dataclass
class Panel:
    """Rows sorted by session and instrument, and the cells that they occupy.

    frame: the rows; code, slot: of each row. off, lo: cells of an instrument and the slot of its
    first one (its listing or the panel's first session, whichever is later).
    by_code: row numbers ordered by instrument; row_off: where each instrument's rows begin there.
    """

    frame: pl.DataFrame
    ids: list[str]
    code: Index
    slot: Index
    off: Index
    lo: Index
    by_code: Index
    row_off: Index
    _columns: dict[str, Vector] = field(default_factory=dict)

    @property
    def cell(self) -> Index:
        """Cell of each row."""
        return self.off[self.code] + self.slot - self.lo[self.code]

    def column(self, name: str) -> Vector:
        """A column of the rows as Float64, NaN where it is null, infinite or absent."""
        if name not in self._columns:
            if name in self.frame.columns:
                values = self.frame[name].cast(pl.Float64).fill_null(float("nan")).to_numpy()
                finite = np.isfinite(values)
                if not finite.all():
                    values = np.where(finite, values, np.nan)
            else:
                values = np.full(self.frame.height, np.nan)
            self._columns[name] = values
        return self._columns[name]

    def values(self, name: str) -> Vector:
        """A ``$field`` of the rows (see ``operators.FIELDS``); of a table without ``tr_index``, and
        where it is no field of ours, the column as given."""
        if name in self.frame.columns and (
            name not in FIELDS or "tr_index" not in self.frame.columns
        ):
            return self.column(name)
        with np.errstate(all="ignore"):
            if name == "close":
                return self.column("tr_index")
            if name in ("open", "high", "low", "vwap"):
                key = f"${name}"
                if key not in self._columns:
                    x, close, index = map(self.column, (name, "close", "tr_index"))
                    # equal as traded is equal here: within the bar, and between bars of one scale
                    scaled = np.where(x == close, index, x * (index / close))
                    self._columns[key] = np.where(np.isfinite(scaled), scaled, np.nan)
                return self._columns[key]
            if name == "volume":
                if "$volume" not in self._columns:
                    scaled = self.column("volume") / self.column("split_index")
                    self._columns["$volume"] = np.where(np.isfinite(scaled), scaled, np.nan)
                return self._columns["$volume"]
        return self.column(name.removeprefix("raw_"))

    def prepare(self, names: Iterable[str]) -> None:
        """Make these fields ready, and forget the columns that only they were made from."""
        kept = {id(self.values(n)) for n in names}
        self._columns = {k: v for k, v in self._columns.items() if id(v) in kept}

    def blocks(self, cells: int) -> list[tuple[int, int]]:
        """Ranges of instruments of at most ``cells`` cells each (one instrument at least)."""
        out, begin = [], 0
        for i in range(len(self.ids)):
            if i > begin and self.off[i + 1] - self.off[begin] > cells:
                out.append((begin, i))
                begin = i
        return [*out, (begin, len(self.ids))] if self.ids else []


def layout(
    prices: pl.DataFrame,
    calendar: TradingCalendar,
    *,
    listed: Mapping[str, date] | None = None,
    start: date | None = None,
    lookback: int = 0,
) -> Panel:
    """``prices`` (``instrument_id, date``, columns of ``clean.prices``) as a panel.

    listed: first session by instrument, where it is known; an instrument's windows are cut there,
    so that the cut is the same however much history is given. Rows may come in any order; two rows
    for one instrument and date raise FactorError.
    """
    frame = prices if "slot" in prices.columns else with_slots(prices, calendar)
    ids = frame["instrument_id"].unique().sort().to_list()
    code = frame["instrument_id"].cast(pl.Enum(ids)).to_physical().to_numpy().astype(np.int64)
    slot = frame["slot"].to_numpy().astype(np.int64)
    key = slot * max(len(ids), 1) + code
    step = np.diff(key)
    if (step <= 0).any():
        order = np.argsort(key, kind="stable")
        frame, code, slot, key = frame[order], code[order], slot[order], key[order]
        if twice := np.flatnonzero(np.diff(key) == 0).tolist():
            row = frame.row(twice[0], named=True)
            raise FactorError(
                f"{len(twice)} instrument-dates have more than one bar, for example "
                f"{row['instrument_id']} on {row['date']}; clean the prices first"
            )
    by_code = np.argsort(code, kind="stable")
    row_off = np.searchsorted(code[by_code], np.arange(len(ids) + 1))
    first = slot[by_code[row_off[:-1]]] if ids else np.zeros(0, np.int64)
    last = slot[by_code[row_off[1:] - 1]] if ids else np.zeros(0, np.int64)
    floor = int(slot.min()) if len(slot) else 0
    if start is not None:
        floor = min(floor, calendar.slot(start) - lookback)
    begins = np.array([_session(calendar, listed, i) for i in ids], np.int64)
    lo = np.minimum(first, np.maximum(begins, floor))
    off = np.concatenate([[0], np.cumsum(last - lo + 1)]).astype(np.int64)
    return Panel(frame, ids, code, slot, off, lo, by_code, row_off)


def _session(calendar: TradingCalendar, listed: Mapping[str, date] | None, name: str) -> int:
    """Slot of an instrument's listing; far in the future where it is not known."""
    day = (listed or {}).get(name)
    if day is None:
        return np.iinfo(np.int32).max
    return calendar.slot(day) + (0 if calendar.is_session(day) else 1)


def with_slots(frame: pl.DataFrame, calendar: TradingCalendar) -> pl.DataFrame:
    """``frame`` with the absolute session number of ``date``; FactorError where it is no session."""
    days = calendar.frame().select("date", "slot")
    sessions = days["date"].to_numpy().astype("datetime64[D]")
    dates = frame["date"].to_numpy().astype("datetime64[D]")
    at = np.minimum(np.searchsorted(sessions, dates), len(sessions) - 1)
    known = sessions[at] == dates
    if not known.all():
        odd = frame["date"].filter(pl.Series(~known)).unique().sort().head(3).to_list()
        raise FactorError(
            f"not sessions of {calendar.exchange}: {', '.join(map(str, odd))}; clean the prices first"
        )
    return frame.with_columns(days["slot"].gather(at).alias("slot"))


def known_by_slot(
    series: pl.DataFrame, name: str, tenor: str, calendar: TradingCalendar, first: int, last: int
) -> Vector:
    """The value of a series that was known when the bar of each slot in [first, last] was.

    The latest period known counts, for ``FILL_DAYS`` calendar days from its date; NaN otherwise.
    """
    days = calendar.frame().filter(pl.col("slot").is_between(first, last))
    out = np.full(last - first + 1, np.nan)
    rows = (
        series.filter((pl.col("series") == name) & (pl.col("tenor") == tenor))
        .drop_nulls("value")
        .sort("known_at", "date")
    )
    if rows.is_empty():
        return out
    period = rows["date"].to_numpy().astype("datetime64[D]").astype(np.int64)
    latest = np.maximum.accumulate(period)
    by_period = np.argsort(period)
    source = by_period[np.searchsorted(period[by_period], latest)]
    at = (
        np.searchsorted(
            rows["known_at"].dt.epoch("us").to_numpy(),
            days["known_at"].dt.epoch("us").to_numpy(),
            side="right",
        )
        - 1
    )
    row = source[np.maximum(at, 0)]
    age = days["date"].to_numpy().astype("datetime64[D]").astype(np.int64) - period[row]
    limit = np.array([FILL_DAYS.get(f, 10) for f in rows["frequency"].to_list()])[row]
    value = rows["value"].to_numpy()[row]
    held = (at >= 0) & (age <= limit) & np.isfinite(value)
    where = days["slot"].to_numpy() - first
    out[where[held]] = value[held]
    return out
