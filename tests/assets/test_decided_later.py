"""A person's word given after the last close concerns what is live on that session."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from types import SimpleNamespace

import small_root

from assets._shared.decided import decided_later
from wealthos_pipeline.data.processors.calendar import TradingCalendar


def test_a_word_after_the_data_is_due_on_the_last_session(
    tmp_path: Path, calendar: TradingCalendar
) -> None:
    root = small_root.build(tmp_path, calendar, sessions=30)
    session = SimpleNamespace(
        lake=root.lake, calendar=calendar, now=calendar.known_at(root.days[-1])
    )
    end = root.days[-1]
    assert decided_later(session, end + timedelta(days=900)) == end  # type: ignore[arg-type]
    for dirty in (None, date.min, end, root.days[3]):
        assert decided_later(session, dirty) is None  # type: ignore[arg-type]
