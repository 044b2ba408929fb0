"""How many sessions the prices are behind, and from when on a panel has ended."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from wealthos_pipeline.data.processors import staleness
from wealthos_pipeline.data.processors.calendar import TradingCalendar


@pytest.mark.parametrize(
    ("last", "now", "sessions"),
    [
        (date(2024, 3, 8), datetime(2024, 3, 8, 21, 30, tzinfo=UTC), 0),  # close + 30 minutes
        (date(2024, 3, 7), datetime(2024, 3, 8, 21, 29, tzinfo=UTC), 0),  # not yet known
        (date(2024, 3, 7), datetime(2024, 3, 8, 21, 30, tzinfo=UTC), 1),
        (date(2024, 3, 8), datetime(2024, 3, 10, 12, 0, tzinfo=UTC), 0),  # a weekend
        (date(2024, 3, 8), datetime(2024, 3, 12, 20, 30, tzinfo=UTC), 2),  # summer time by now
        (date(2023, 11, 22), datetime(2023, 11, 24, 18, 30, tzinfo=UTC), 1),  # half day, 13:00
    ],
)
def test_sessions_behind(last: date, now: datetime, sessions: int) -> None:
    calendar = TradingCalendar("XNYS", 30)
    assert staleness.behind(calendar, last, now) == sessions
    assert staleness.late(calendar, last, now) == sessions


def test_a_panel_that_has_ended_is_not_late_and_a_vendor_is() -> None:
    calendar = TradingCalendar("XNYS", 30)
    last, now = date(2022, 12, 28), datetime(2024, 3, 8, 22, 0, tzinfo=UTC)
    assert staleness.behind(calendar, last, now) > staleness.ENDED
    assert staleness.late(calendar, last, now) == 0
    assert staleness.late(calendar, last, now, live=True) == staleness.behind(calendar, last, now)
