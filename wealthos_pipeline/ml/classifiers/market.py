"""What one session says of the whole market: the means of its names and the series known at its close.

Everything here is of one session. What looks back (volatility, drawdown, correlation over weeks) is made
from these rows where it is needed, so that a new day reads two sessions of prices and no more.
"""

from __future__ import annotations

from datetime import date

import numpy as np
import polars as pl

from wealthos_pipeline.core.data import contract
from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.factors.panel import known_by_slot

SERIES = {
    "vix": (("vix", ""), None),
    "credit_spread": (("moody_yield", "BAA"), ("moody_yield", "AAA")),
    "term_spread": (("ust_par", "10Y"), ("ust_par", "3M")),
}
"""Column → series and tenor, less another series and tenor."""


def sections(
    prices: pl.DataFrame, *, universe: pl.DataFrame | None = None, start: date | None = None
) -> pl.DataFrame:
    """Moments of the one-session total returns of the names, by date: ``date, names (u32), ret,
    mean_square``; ``ret`` is their equal-weight mean (decimal), ``mean_square`` that of their squares.

    prices: ``clean.prices`` (``instrument_id, date, slot, tr_index``); a name counts on a date if
        it has a bar there and on the session before, and if it is in ``universe`` (``date,
        instrument_id``; None: all). ``start``: first date to return; prices must reach one session
        further back. Dates on which no name counts are left out.
    """
    frame = prices.select("instrument_id", "date", "slot", "tr_index").sort("instrument_id", "slot")
    same = (pl.col("instrument_id") == pl.col("instrument_id").shift(1)) & (
        pl.col("slot") == pl.col("slot").shift(1) + 1
    )
    frame = frame.with_columns(
        pl.when(same).then(pl.col("tr_index") / pl.col("tr_index").shift(1) - 1.0).alias("ret")
    ).drop_nulls("ret")
    if start is not None:
        frame = frame.filter(pl.col("date") >= start)
    if universe is not None:
        keys = universe.select("date", "instrument_id").unique()
        frame = frame.join(keys, on=["date", "instrument_id"], how="semi")
    frame = frame.sort("date", "instrument_id")
    if frame.is_empty():
        kinds = {"date": pl.Date, "names": pl.UInt32, "ret": pl.Float64, "mean_square": pl.Float64}
        return pl.DataFrame(schema=kinds)
    days = frame["date"].rle()
    counts = days.struct.field("len").to_numpy()
    which = np.repeat(np.arange(counts.size), counts)
    ret = frame["ret"].to_numpy()
    total = np.bincount(which, weights=ret)
    squares = np.bincount(which, weights=ret * ret)
    return pl.DataFrame(
        {
            "date": days.struct.field("value"),
            "names": days.struct.field("len"),
            "ret": total / counts,
            "mean_square": squares / counts,
        }
    )


def states(
    prices: pl.DataFrame,
    series: pl.DataFrame,
    regime: pl.DataFrame,
    calendar: TradingCalendar,
    *,
    universe: pl.DataFrame | None = None,
    start: date | None = None,
) -> pl.DataFrame:
    """Rows of ``models.market_state`` for dates ≥ ``start``.

    prices, universe: as for ``sections``. series: ``clean.series``; of each the value of the latest
    period that was known when the session's bars were, null where none is or where it is too old
    (``factors.panel.FILL_DAYS``). regime: ``monitor.regime``.
    """
    out = contract("models.market_state")
    rows = sections(prices, universe=universe, start=start)
    if rows.is_empty():
        return out.empty()
    first, last = calendar.slot(rows["date"][0]), calendar.slot(rows["date"][-1])
    days = calendar.frame(rows["date"][0], rows["date"][-1])["date"]
    values = {}
    for column, (of, less) in SERIES.items():
        value = known_by_slot(series, *of, calendar, first, last)
        if less is not None:
            value = value - known_by_slot(series, *less, calendar, first, last)
        values[column] = pl.Series(value).fill_nan(None)
    known = pl.DataFrame({"date": days, **values})
    probability = regime.select("date", "p_turbulent")
    return out.conform(
        rows.join(known, on="date", how="left").join(probability, on="date", how="left")
    )
