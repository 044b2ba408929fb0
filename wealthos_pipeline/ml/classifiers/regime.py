"""Calm or turbulent: filtered probabilities with parameters from the past only.

The market is the equal-weight mean of the universe's returns. At the first session of each year a
two-state Gaussian Markov-switching model is fitted on the 2,520 sessions before it; through that
year the filter runs forward from the beginning of the same window. A probability at t therefore
uses returns up to t and parameters from before the year, and its bits do not depend on ``start``.
"""

from __future__ import annotations

from datetime import date
from typing import Final

import numpy as np
import polars as pl

from wealthos_pipeline.core.data import contract
from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.ml.classifiers import market

WINDOW: Final = 2520
"""Sessions of history for a fit."""

LOOKBACK: Final = WINDOW + 255
"""Sessions before ``start`` that the prices must reach: a window, a year, one return."""

LEAST: Final = 504
"""Fewer returns in the window: the regime is unknown."""


def market_returns(
    prices: pl.DataFrame, *, universe: pl.DataFrame | None = None, start: date | None = None
) -> pl.DataFrame:
    """Equal-weight mean of one-session total returns, by date: ``date, ret`` (decimal).

    prices: ``clean.prices`` (``instrument_id, date, slot, tr_index``); a name counts on a date if
        it has a bar there and on the session before, and if it is in ``universe`` (``date,
        instrument_id``; None: all). ``start``: first date to return; prices must reach one session
        further back. Dates on which no name counts are left out.
    """
    return market.sections(prices, universe=universe, start=start).select("date", "ret")


def needed_from(calendar: TradingCalendar, start: date) -> date:
    """First date of the returns that ``filtered(…, start=start)`` needs."""
    year = calendar.firsts(date(start.year - 1, 12, 1), start, "year")
    return calendar.offset(year[-1] if year else date(start.year - 1, 1, 1), -WINDOW - 1)


def filtered(
    market_returns: pl.DataFrame, calendar: TradingCalendar, *, start: date | None = None
) -> pl.DataFrame:
    """Filtered probability of the turbulent state for dates ≥ ``start`` (``monitor.regime``).

    market_returns: ``date, ret`` reaching back to ``needed_from(calendar, start)``; dates that are
        not there are skipped by the filter. ``p_turbulent`` is null and the regime ``unknown``
        where the window before the year holds fewer than ``LEAST`` returns; ``turbulent`` means a
        probability above one half. ``refit_date``: last session used for the parameters.
    """
    out = contract("monitor.regime")
    frame = market_returns.select("date", "ret").drop_nulls().sort("date")
    if frame.is_empty():
        return out.empty()
    days = frame["date"].to_numpy().astype("datetime64[D]")
    ret = np.ascontiguousarray(frame["ret"].to_numpy(), dtype=np.float64)
    first, last = frame["date"][0], frame["date"][-1]
    if start is not None:
        first = max(first, start)
    parts: list[pl.DataFrame] = []
    for year in range(first.year, last.year + 1):
        opening = calendar.sessions(date(year, 1, 1), date(year, 12, 31))[0]
        closing = date(year, 12, 31)
        cut = int(np.searchsorted(days, np.datetime64(opening)))
        window = int(np.searchsorted(days, np.datetime64(calendar.offset(opening, -WINDOW))))
        end = int(np.searchsorted(days, np.datetime64(closing), side="right"))
        if end == cut:
            continue
        part = frame[cut:end].select("date")
        if cut - window >= LEAST:
            from wealthos_pipeline.ml.classifiers import hamilton

            # percent, so that no product of densities or squares comes near the smallest floats
            x = 100.0 * ret[window:end]
            parameters = hamilton.fit(x[: cut - window].copy(), hamilton.ITERATIONS)
            p = hamilton.filtered(x, parameters)[cut - window :]
            part = part.with_columns(
                pl.Series("p_turbulent", p),
                pl.Series("regime", np.where(p > 0.5, "turbulent", "calm")),
                pl.lit(frame["date"][cut - 1]).alias("refit_date"),
            )
        else:
            part = part.with_columns(
                pl.lit(None, dtype=pl.Float64).alias("p_turbulent"),
                pl.lit("unknown").alias("regime"),
                pl.lit(None, dtype=pl.Date).alias("refit_date"),
            )
        parts.append(part)
    frame = pl.concat(parts)
    if start is not None:
        frame = frame.filter(pl.col("date") >= start)
    return out.conform(frame)
