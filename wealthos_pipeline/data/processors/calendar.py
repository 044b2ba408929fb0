"""The exchange's calendar: sessions, absolute slots, and when a bar could have been known.

A *slot* is the number of a session counted from 1970-01-01 in the exchange's own calendar. It does
not depend on where anybody's data begin; rolling windows and refit dates are anchored to it.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta, tzinfo
from functools import cache
from typing import Any, Literal

import numpy as np
import polars as pl

from wealthos_pipeline.core.errors import ConfigError

EPOCH = date(1970, 1, 1)
HORIZON = date(2040, 12, 31)
"""Sessions are known up to here; holidays after the library's own horizon are by rule."""

SHORT = date(2020, 1, 1), date(2020, 2, 28)
"""Enough to ask an exchange for its bounds and its time zone; building all its sessions takes half a
second."""

Every = Literal["week", "month", "quarter", "year"]


class TradingCalendar:
    """Sessions of one exchange.

    exchange: a name of the ``exchange_calendars`` library, e.g. ``XNYS``.
    lag_minutes: added to the official close (half days respected) to give ``known_at``.
    """

    def __init__(self, exchange: str = "XNYS", lag_minutes: int = 30) -> None:
        self.exchange = exchange
        self.lag = timedelta(minutes=lag_minutes)
        self._dates, self._opens, self._closes = _sessions(exchange)

    @property
    def zone(self) -> tzinfo:
        """The exchange's time zone."""
        return _calendar(self.exchange, *SHORT).tz

    def frame(self, start: date | None = None, end: date | None = None) -> pl.DataFrame:
        """Columns ``date, slot (Int32), close_at, known_at`` (UTC), one row a session."""
        dates = pl.Series("date", self._dates)
        out = pl.DataFrame({"date": dates, "close_at": pl.Series(self._closes)}).with_columns(
            pl.int_range(pl.len(), dtype=pl.Int32).alias("slot"),
            pl.col("close_at").cast(pl.Datetime("us")).dt.replace_time_zone("UTC"),
        )
        out = out.with_columns((pl.col("close_at") + self.lag).alias("known_at"))
        if start is not None:
            out = out.filter(pl.col("date") >= start)
        if end is not None:
            out = out.filter(pl.col("date") <= end)
        return out.select("date", "slot", "close_at", "known_at")

    def sessions(self, start: date, end: date) -> list[date]:
        """Sessions in [start, end]."""
        lo, hi = self._bounds(start, end)
        return self._dates[lo:hi].tolist()

    def is_session(self, day: date) -> bool:
        i = int(np.searchsorted(self._dates, np.datetime64(day)))
        return i < len(self._dates) and self._dates[i] == np.datetime64(day)

    def slot(self, day: date) -> int:
        """Slot of the session ``day``; of the last session before it on other days."""
        return int(np.searchsorted(self._dates, np.datetime64(day), side="right")) - 1

    def date_of(self, slot: int) -> date:
        """Session at ``slot``."""
        return self._dates[slot].item()

    def offset(self, day: date, sessions: int) -> date:
        """The session ``sessions`` after (before, if negative) the one at or before ``day``."""
        return self.date_of(max(0, min(self.slot(day) + sessions, len(self._dates) - 1)))

    def known_at(self, day: date) -> datetime:
        """Instant from which the bar of ``day`` could have been known (UTC)."""
        from datetime import UTC

        close: datetime = self._closes[self.slot(day)].item()
        return close.replace(tzinfo=UTC) + self.lag

    def open_at(self, day: date) -> datetime:
        """Official open (UTC) of the first session on or after ``day``."""
        from datetime import UTC

        i = int(np.searchsorted(self._dates, np.datetime64(day), side="left"))
        opened: datetime = self._opens[min(i, len(self._opens) - 1)].item()
        return opened.replace(tzinfo=UTC)

    def on_or_after(self, day: date) -> date:
        """First session on or after ``day``."""
        i = int(np.searchsorted(self._dates, np.datetime64(day), side="left"))
        return self.date_of(min(i, len(self._dates) - 1))

    def last_known(self, instant: datetime) -> date:
        """Last session whose bar could have been known at ``instant``."""
        from datetime import UTC

        naive = np.datetime64(instant.astimezone(UTC).replace(tzinfo=None) - self.lag, "us")
        i = int(np.searchsorted(self._closes, naive, side="right")) - 1
        return self.date_of(max(i, 0))

    def firsts(self, start: date, end: date, every: Every) -> list[date]:
        """First session of each week (ISO), month, quarter or year, within [start, end].

        A period whose first session lies before ``start`` contributes nothing, so the dates do
        not depend on where the data begin.
        """
        lo, hi = self._bounds(start, end)
        days = self._dates[max(lo - 1, 0) : hi]
        if every == "week":
            period = (days.astype("int64") + 3) // 7
        else:
            months = days.astype("datetime64[M]").astype("int64")
            period = months // {"month": 1, "quarter": 3, "year": 12}[every]
        new = np.flatnonzero(np.diff(period) != 0) + 1
        return days[new].tolist()

    def lasts(self, start: date, end: date, every: Every) -> list[date]:
        """Last session of each completed period: the session before each of ``firsts``."""
        after = self.offset(end, 1)
        return [d for f in self.firsts(start, after, every) if start <= (d := self.offset(f, -1))]

    def _bounds(self, start: date, end: date) -> tuple[int, int]:
        lo = int(np.searchsorted(self._dates, np.datetime64(start), side="left"))
        hi = int(np.searchsorted(self._dates, np.datetime64(end), side="right"))
        return lo, hi


def _calendar(exchange: str, first: date, last: date) -> Any:
    """The library's calendar; ConfigError for a name that it does not know."""
    import exchange_calendars as xcals

    try:
        return xcals.get_calendar(exchange, start=first.isoformat(), end=last.isoformat())
    except xcals.errors.InvalidCalendarName as error:
        raise ConfigError(
            f"no exchange calendar {exchange!r}; known: {', '.join(xcals.get_calendar_names())}"
        ) from error


@cache
def _sessions(exchange: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Dates, opens and closes (naive UTC microseconds) of all sessions."""
    bounds = _calendar(exchange, *SHORT)
    start, end = bounds.bound_min(), bounds.bound_max()
    first = EPOCH if start is None else max(EPOCH, start.date())
    last = HORIZON if end is None else min(HORIZON, end.date())
    calendar = _calendar(exchange, first, last)
    dates = calendar.sessions.to_numpy().astype("datetime64[D]")
    opens = calendar.opens.dt.tz_localize(None).to_numpy().astype("datetime64[us]")
    closes = calendar.closes.dt.tz_localize(None).to_numpy().astype("datetime64[us]")
    return dates, opens, closes
