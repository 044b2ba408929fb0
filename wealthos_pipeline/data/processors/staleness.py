"""How old the newest prices are when a run is made."""

from __future__ import annotations

from datetime import date, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wealthos_pipeline.data.processors.calendar import TradingCalendar

ENDED = 20
"""Sessions. A panel whose prices are older than that has ended: it is a study of the past, not late."""


def behind(calendar: TradingCalendar, last: date, now: datetime) -> int:
    """Sessions after ``last`` whose bars could be known at ``now``."""
    return max(calendar.slot(calendar.last_known(now)) - calendar.slot(last), 0)


def late(calendar: TradingCalendar, last: date, now: datetime, *, live: bool = False) -> int:
    """``behind``, and 0 for a panel that has ended; ``live``: a vendor's prices never end."""
    sessions = behind(calendar, last, now)
    return sessions if live or sessions <= ENDED else 0
