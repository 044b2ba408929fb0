from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import exchange_calendars as xcals
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wealthos_pipeline.core.errors import ConfigError
from wealthos_pipeline.data.processors.calendar import TradingCalendar

DAYS = st.dates(date(1971, 1, 1), date(2039, 1, 1))


def test_known_when_the_official_close_and_the_lag_are_over(calendar):
    assert calendar.known_at(date(2024, 3, 7)) == datetime(2024, 3, 7, 21, 30, tzinfo=UTC)
    assert calendar.known_at(date(2024, 3, 11)) == datetime(2024, 3, 11, 20, 30, tzinfo=UTC)
    assert calendar.known_at(date(2024, 11, 29)) == datetime(2024, 11, 29, 18, 30, tzinfo=UTC)


@given(day=DAYS)
def test_sessions_are_those_of_the_exchange_and_slots_count_them(day):
    calendar = TradingCalendar("XNYS", 30)
    first = calendar.on_or_after(day)
    assert first >= day
    assert calendar.is_session(first)
    assert calendar.is_session(day) == (first == day)
    assert calendar.date_of(calendar.slot(first)) == first
    assert calendar.slot(day) == calendar.slot(first) - (first != day)
    assert calendar.offset(calendar.offset(first, 7), -7) == first


@given(day=DAYS)
def test_the_last_known_session_is_never_one_that_is_not_known(day):
    calendar = TradingCalendar("XNYS", 30)
    known = calendar.known_at(calendar.on_or_after(day))
    assert calendar.last_known(known) == calendar.on_or_after(day)
    assert calendar.last_known(known - timedelta(microseconds=1)) < calendar.on_or_after(day)


def test_opens_are_official(calendar):
    theirs = xcals.get_calendar("XNYS", start="2023-01-01", end="2024-12-31")
    for day in calendar.sessions(date(2023, 6, 1), date(2023, 8, 1)):
        assert calendar.open_at(day) == theirs.session_open(str(day)).to_pydatetime()
    assert calendar.open_at(date(2023, 7, 4)) == calendar.open_at(date(2023, 7, 5))


@pytest.mark.parametrize("every", ["week", "month", "quarter", "year"])
def test_first_sessions_do_not_depend_on_where_the_data_begin(calendar, every):
    whole = calendar.firsts(date(2010, 1, 1), date(2020, 12, 31), every)
    for start in (date(2012, 2, 29), date(2013, 7, 4), date(2015, 1, 2)):
        assert calendar.firsts(start, date(2020, 12, 31), every) == [d for d in whole if d >= start]
    lasts = calendar.lasts(date(2010, 1, 1), date(2020, 12, 31), every)
    assert [calendar.offset(d, 1) for d in lasts][: len(whole) - 1] == whole[1:]


def test_an_unknown_exchange_is_refused_with_those_that_exist():
    with pytest.raises(ConfigError, match="XNYS"):
        TradingCalendar("MOON")
