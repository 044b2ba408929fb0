"""Forward returns: what factors and models are judged by and trained on."""

from __future__ import annotations

from datetime import date

import numpy as np
import polars as pl

from wealthos_pipeline.core.errors import FactorError
from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.data.processors.prices import Flag


def forward_returns(
    prices: pl.DataFrame,
    horizon: int,
    calendar: TradingCalendar,
    *,
    start: date | None = None,
) -> pl.DataFrame:
    """``tr[t+1+h] / tr[t+1] − 1`` for every bar of t whose label is complete.

    prices: ``instrument_id, date, tr_index`` (``slot`` and ``flags`` are used where they are there).
    Returns ``date, instrument_id, label (Float64, decimal), label_end (date), known_at``, sorted,
    for dates ≥ ``start``. Sessions are the calendar's. No row where the instrument has no bar at
    t+1, or only the terminal bar of a delisting (it cannot be bought), or where t+1+h lies after the panel's last session. A gap at t+1+h is
    valued at the last bar before it; a delisting inside the interval at its last bar, then cash.
    ``known_at`` is that of the session t+1+h.
    """
    if horizon < 1:
        raise FactorError(f"a label's horizon is at least 1 session, found {horizon}")
    frame = prices.select(
        "instrument_id",
        "date",
        _slots(prices, calendar),
        pl.col("tr_index").cast(pl.Float64),
        (
            pl.col("flags") & int(Flag.TERMINAL) == 0 if "flags" in prices.columns else pl.lit(True)
        ).alias("traded"),
    ).drop_nulls()
    empty = _with_ends(
        pl.DataFrame(
            schema={
                "slot": pl.Int64,
                "date": pl.Date,
                "instrument_id": pl.String,
                "label": pl.Float64,
            }
        ),
        horizon,
        calendar,
    )
    if frame.is_empty():
        return empty
    last = frame["slot"].to_numpy().max()
    frame = frame.sort("instrument_id", "slot")
    slot = frame["slot"].to_numpy()
    tr = frame["tr_index"].to_numpy()
    name = frame["instrument_id"].rle_id().to_numpy().astype(np.int64)
    # one increasing key over instruments and slots: the last bar at or before a slot is a search
    width = np.int64(last) + horizon + 3
    key = name * width + slot
    entry = np.minimum(np.arange(len(key)) + 1, len(key) - 1)
    held = (
        (key[entry] == key + 1) & frame["traded"].to_numpy()[entry] & (slot + 1 + horizon <= last)
    )
    exit_ = np.searchsorted(key, key + 1 + horizon, side="right") - 1
    if start is not None:
        held &= slot > calendar.slot(start) - (1 if calendar.is_session(start) else 0)
    kept = np.flatnonzero(held)
    out = (
        frame[kept]
        .select("slot", "date", "instrument_id")
        .with_columns(pl.Series("label", tr[exit_[kept]] / tr[entry[kept]] - 1.0))
    )
    return _with_ends(out, horizon, calendar)


def _slots(prices: pl.DataFrame, calendar: TradingCalendar) -> pl.Series:
    """Absolute session numbers of the rows, null on a day without a session."""
    found = pl.Series("slot", slots(prices, calendar))
    return found.set(found < 0, None)


def slots(rows: pl.DataFrame, calendar: TradingCalendar) -> np.ndarray:
    """Session number of each row: of ``slot``, or of its ``date``; −1 on a day without a session."""
    if "slot" in rows.columns:
        return rows["slot"].cast(pl.Int64).fill_null(-1).to_numpy()
    sessions = calendar.frame()["date"].to_physical().to_numpy()
    days = rows["date"].to_physical().fill_null(-1).to_numpy()
    place = np.minimum(np.searchsorted(sessions, days), len(sessions) - 1)
    return np.where(sessions[place] == days, place, -1).astype(np.int64)


def _with_ends(rows: pl.DataFrame, horizon: int, calendar: TradingCalendar) -> pl.DataFrame:
    ends = calendar.frame().select(
        (pl.col("slot").cast(pl.Int64) - 1 - horizon).alias("slot"),
        pl.col("date").alias("label_end"),
        "known_at",
    )
    return (
        rows.join(ends, on="slot", how="left")
        .select("date", "instrument_id", "label", "label_end", "known_at")
        .sort("date", "instrument_id")
    )
