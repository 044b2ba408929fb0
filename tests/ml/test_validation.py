"""No training label may reach into the test side."""

from datetime import date

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wealthos_pipeline.core.errors import ModelError
from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.ml import validation

CALENDAR = TradingCalendar()
EXCHANGES = [CALENDAR, TradingCalendar("XLON", 15)]
FRAMES = {c: c.frame() for c in EXCHANGES}
SESSIONS = st.integers(5_000, 13_000)
QUIET = settings(deadline=None, derandomize=True)
EVERY = st.sampled_from(["week", "month", "quarter", "year"])


def labels(
    calendar: TradingCalendar, slots: np.ndarray, horizon: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Dates, ends and known_at of the labels at ``slots``."""
    frame = FRAMES[calendar]
    days = frame["date"].to_numpy().astype("datetime64[D]")
    known = frame["known_at"].dt.replace_time_zone(None).to_numpy()
    return days[slots], days[slots + 1 + horizon], known[slots + 1 + horizon]


@QUIET
@given(
    calendar=st.sampled_from(EXCHANGES),
    slot=SESSIONS,
    horizon=st.integers(1, 130),
    every=EVERY,
    data=st.data(),
)
def test_no_admissible_label_overlaps_the_test_side(calendar, slot, horizon, every, data) -> None:
    refit = validation.live_refit(calendar, calendar.date_of(slot), every)
    window = validation.window(calendar, refit, horizon, 400)
    at = calendar.slot(refit)
    gaps = data.draw(st.sets(st.integers(at - 600, at + 300), max_size=60))
    slots = np.array([s for s in range(at - 600, at + 300) if s not in gaps])
    start, end, known = labels(calendar, slots, horizon)
    train = validation.admissible(end, known, window)
    test = start >= np.datetime64(refit)
    validation.certify(start[train], end[train], start[test], end[test])
    # against the definition, pair by pair
    for a, b in zip(start[train], end[train], strict=True):
        assert not np.any((a <= end[test]) & (start[test] <= b))
        assert b < np.datetime64(refit)
    assert np.all(known[train] < np.datetime64(refit))  # midnight UTC before the open
    # nothing is thrown away without need: the last admissible date is the window's last slot
    if window.last_slot in slots:
        assert slots[train][-1] == window.last_slot


@QUIET
@given(slot=SESSIONS, horizon=st.integers(1, 60), shortfall=st.integers(1, 60))
def test_an_unpurged_split_is_caught(slot: int, horizon: int, shortfall: int) -> None:
    refit = CALENDAR.date_of(slot)
    last = validation.window(CALENDAR, refit, horizon, 100).last_slot
    leak = np.arange(last - 50, last + 1 + min(shortfall, horizon + 1))
    start, end, _ = labels(CALENDAR, leak, horizon)
    test_start, test_end, _ = labels(CALENDAR, np.arange(slot, slot + 20), horizon)
    with pytest.raises(ModelError, match="overlap the test side"):
        validation.certify(start, end, test_start, test_end)
    clean = slice(0, 51)
    validation.certify(start[clean], end[clean], test_start, test_end)


@QUIET
@given(
    train=st.lists(st.tuples(st.integers(0, 60), st.integers(0, 9)), max_size=25),
    test=st.lists(st.tuples(st.integers(0, 60), st.integers(0, 9)), max_size=8),
)
def test_overlapping_is_what_it_says_for_any_intervals(train, test) -> None:
    a = np.array([s for s, _ in train], dtype=np.int64)
    b = a + np.array([n for _, n in train], dtype=np.int64)
    c = np.array([s for s, _ in test], dtype=np.int64)
    d = c + np.array([n for _, n in test], dtype=np.int64)
    expected = [any(s <= y and x <= e for x, y in zip(c, d, strict=True)) for s, e in zip(a, b, strict=True)]  # fmt: skip
    assert validation.overlapping(a, b, c, d).tolist() == expected


@QUIET
@given(first=SESSIONS, later=st.integers(0, 700), every=EVERY)
def test_refit_dates_are_the_calendars_alone(first: int, later: int, every) -> None:
    end = CALENDAR.date_of(first + 1000)
    full = validation.refit_dates(CALENDAR, CALENDAR.date_of(first), end, every)
    cut = CALENDAR.date_of(first + later)
    assert validation.refit_dates(CALENDAR, cut, end, every) == [d for d in full if d >= cut]


@QUIET
@given(slot=SESSIONS, every=EVERY)
def test_the_live_refit_is_the_last_first_session(slot: int, every) -> None:
    day = CALENDAR.date_of(slot)
    refit = validation.live_refit(CALENDAR, day, every)
    assert refit <= day
    assert refit == CALENDAR.firsts(date(1980, 1, 1), day, every)[-1]
    assert slot - CALENDAR.slot(refit) < validation.PERIOD_SESSIONS[every]


def test_live_refit_of_a_week_that_starts_with_a_holiday() -> None:
    assert validation.live_refit(CALENDAR, date(2024, 1, 5), "week") == date(2024, 1, 2)
    assert validation.live_refit(CALENDAR, date(2024, 1, 8), "week") == date(2024, 1, 8)
