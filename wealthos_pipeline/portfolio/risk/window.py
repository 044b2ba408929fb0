"""The returns that an estimate at a date may use: the sessions that end with it, the names that count."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date

import numpy as np
import polars as pl
from numpy.typing import NDArray

from wealthos_pipeline.data.processors.calendar import Every, TradingCalendar
from wealthos_pipeline.portfolio.panel import Panel
from wealthos_pipeline.portfolio.risk.model import Floats

MIN_COVERAGE = 0.6
"""A name needs returns on this share of the window's sessions."""


@dataclass(frozen=True, eq=False)
class Window:
    """Daily returns, sessions × names, oldest first; NaN where there is none, and before the data."""

    day: date
    ids: tuple[str, ...]
    returns: Floats


def estimation_dates(
    calendar: TradingCalendar, start: date, end: date, *, every: Every = "month"
) -> list[date]:
    """Last sessions of the periods within [start, end], and the last session at or before ``end``.

    ``end`` is the latest date of the data. The last one is there for today's proposals; when the
    data grow, rows of a latest date that is not the last session of its period must go
    (replace the tables from ``calendar.offset(previous month-end, 1)`` on).
    """
    dates = calendar.lasts(start, end, every)
    last = calendar.date_of(calendar.slot(end))
    return dates if dates and dates[-1] == last else [*dates, last]


def returns(panel: Panel) -> Floats:
    """One-session total returns, T × N; NaN unless both bars are there."""
    out = np.full(panel.tr.shape, np.nan)
    if len(panel.dates) > 1:
        out[1:] = panel.tr[1:] / panel.tr[:-1] - 1.0
    return out


def membership_matrix(
    panel: Panel, universe: pl.DataFrame, calendar: TradingCalendar
) -> NDArray[np.bool_]:
    """Sessions × names: member of the universe on that session. Rows outside the panel drop out."""
    out = np.zeros(panel.tr.shape, dtype=np.bool_)
    sessions = calendar.frame().select("date", "slot")
    names = pl.DataFrame({"instrument_id": panel.ids, "code": np.arange(len(panel.ids))})
    rows = (
        universe.select("date", "instrument_id")
        .join(sessions, on="date", how="inner")
        .join(names, on="instrument_id", how="inner")
        .filter(pl.col("slot").is_between(panel.first_slot, panel.last_slot))
    )
    out[rows["slot"].to_numpy() - panel.first_slot, rows["code"].to_numpy()] = True
    return out


def windows(
    panel: Panel,
    universe: pl.DataFrame,
    dates: Iterable[date],
    calendar: TradingCalendar,
    sessions: int,
) -> Iterator[Window]:
    """The window of each date that has one; a date on which no name qualifies is left out.

    A name counts if it was a member on any date of the window (what was just removed may still be
    held, and its risk is needed to sell it) and has ``MIN_COVERAGE`` of its returns.
    """
    daily, member = returns(panel), membership_matrix(panel, universe, calendar)
    for day in sorted(set(dates)):
        last = panel.row(calendar.slot(day))
        if not 0 <= last < len(panel.dates):
            continue
        first = max(last - sessions + 1, 0)
        counts = np.isfinite(daily[first : last + 1]).sum(axis=0)
        chosen = np.flatnonzero(
            member[first : last + 1].any(axis=0) & (counts >= MIN_COVERAGE * sessions)
        )
        if not len(chosen):
            continue
        out = np.full((sessions, len(chosen)), np.nan)
        out[sessions - (last + 1 - first) :] = daily[first : last + 1].take(chosen, axis=1)
        yield Window(day, tuple(panel.ids[i] for i in chosen), out)
