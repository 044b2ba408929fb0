"""Half days, summer time and holidays of New York, London, Hong Kong and Tokyo.

When a bar was known is checked against the exchanges' own hours, written here in local time, and against
``exchange_calendars`` session by session.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import exchange_calendars as xcals
import polars as pl
import pytest

from wealthos_pipeline.core.data import contract
from wealthos_pipeline.data.processors import instruments, prices, raw
from wealthos_pipeline.data.processors.calendar import TradingCalendar

ZONES = {
    "XNYS": "America/New_York", "XLON": "Europe/London", "XHKG": "Asia/Hong_Kong", "XTKS": "Asia/Tokyo",
}  # fmt: skip
LAG = 45


def calendar_of(exchange: str) -> TradingCalendar:
    return TradingCalendar(exchange, lag_minutes=LAG)


def local(exchange: str, day: date, at: time) -> datetime:
    """``at`` on the exchange's clock, as UTC."""
    return datetime.combine(day, at, ZoneInfo(ZONES[exchange])).astimezone(UTC)


@pytest.mark.parametrize(
    ("exchange", "day", "close"),
    [
        # ordinary days
        ("XNYS", date(2024, 3, 7), time(16)),
        ("XLON", date(2024, 3, 7), time(16, 30)),
        ("XHKG", date(2024, 3, 7), time(16)),
        ("XTKS", date(2024, 3, 7), time(15)),
        # the day after Thanksgiving, Christmas Eve, the day before Independence Day
        ("XNYS", date(2023, 11, 24), time(13)),
        ("XNYS", date(2024, 11, 29), time(13)),
        ("XNYS", date(2024, 12, 24), time(13)),
        ("XNYS", date(2024, 7, 3), time(13)),
        # New York trades in full on the 31st of December; London and Hong Kong do not
        ("XNYS", date(2024, 12, 31), time(16)),
        ("XLON", date(2024, 12, 31), time(12, 30)),
        ("XLON", date(2024, 12, 24), time(12, 30)),
        ("XHKG", date(2024, 12, 31), time(12)),
        ("XHKG", date(2024, 12, 24), time(12)),
        ("XHKG", date(2024, 2, 9), time(12)),  # the eve of the lunar new year
        ("XTKS", date(2024, 12, 24), time(15, 30)),  # Tokyo knows no half day
        # Tokyo closes half an hour later since 5 November 2024
        ("XTKS", date(2024, 11, 1), time(15)),
        ("XTKS", date(2024, 11, 5), time(15, 30)),
        # summer time begins: New York on 10 March, London on 31 March; Asia has none
        ("XNYS", date(2024, 3, 8), time(16)),
        ("XNYS", date(2024, 3, 11), time(16)),
        ("XLON", date(2024, 3, 28), time(16, 30)),
        ("XLON", date(2024, 4, 2), time(16, 30)),
        ("XHKG", date(2024, 7, 2), time(16)),
        ("XTKS", date(2024, 7, 2), time(15)),
    ],
)
def test_a_bar_is_known_the_lag_after_the_close_on_the_exchanges_clock(exchange, day, close):
    calendar = calendar_of(exchange)
    known = local(exchange, day, close) + timedelta(minutes=LAG)
    assert calendar.is_session(day)
    assert calendar.known_at(day) == known
    assert calendar.last_known(known) == day
    assert calendar.last_known(known - timedelta(microseconds=1)) == calendar.offset(day, -1)


@pytest.mark.parametrize("exchange", sorted(ZONES))
def test_every_session_is_known_as_exchange_calendars_closes_it(exchange):
    theirs = xcals.get_calendar(exchange, start="2016-01-01", end="2026-06-30")
    sessions = [s.date() for s in theirs.sessions]
    mine = calendar_of(exchange).frame(date(2016, 1, 1), date(2026, 6, 30))
    assert mine["date"].to_list() == sessions
    closes = [theirs.session_close(s).to_pydatetime() for s in theirs.sessions]
    assert mine["close_at"].to_list() == closes
    assert mine["known_at"].to_list() == [c + timedelta(minutes=LAG) for c in closes]
    # half days are there, but in Tokyo
    early = set(theirs.early_closes.date)
    hours = {local(exchange, d, time()) for d in early}
    assert bool(hours) == (exchange != "XTKS")
    for day in early:
        assert calendar_of(exchange).known_at(day) < local(exchange, day, time(14))


@pytest.mark.parametrize("exchange", ["XHKG", "XTKS"])
def test_the_break_at_noon_is_no_close(exchange):
    calendar, day = calendar_of(exchange), date(2024, 3, 7)
    noon = local(exchange, day, time(12, 30)) + timedelta(minutes=LAG)
    assert calendar.last_known(noon) == date(2024, 3, 6)


@pytest.mark.parametrize(
    ("exchange", "holidays"),
    [
        ("XNYS", [date(2024, 3, 29), date(2024, 6, 19), date(2024, 11, 28), date(2018, 12, 5)]),
        ("XLON", [date(2024, 3, 29), date(2024, 4, 1), date(2024, 12, 26), date(2022, 9, 19)]),
        ("XHKG", [date(2024, 2, 12), date(2024, 2, 13), date(2024, 10, 1), date(2024, 12, 26)]),
        ("XTKS", [date(2024, 1, 2), date(2024, 5, 3), date(2024, 5, 6), date(2024, 12, 31)]),
    ],
)
def test_holidays_are_the_exchanges_own(exchange, holidays):
    calendar = calendar_of(exchange)
    for day in holidays:
        assert not calendar.is_session(day)
        assert calendar.slot(day) == calendar.slot(day - timedelta(days=1))
        assert calendar.on_or_after(day) > day
    assert TradingCalendar("XNYS").is_session(date(2021, 6, 18))  # Juneteenth came in 2022
    assert not TradingCalendar("XNYS").is_session(date(2022, 6, 20))


@pytest.mark.parametrize(
    ("east", "west"), [("XTKS", "XLON"), ("XHKG", "XLON"), ("XLON", "XNYS"), ("XTKS", "XNYS")]
)
def test_the_day_ends_in_the_east_first(east, west):
    """On one date Asia is known before London and London before New York, on half days too."""
    first, second = (
        calendar_of(e).frame(date(2023, 1, 1), date(2025, 12, 31)) for e in (east, west)
    )
    both = first.join(second, on="date")
    assert both.height > 650
    assert (both["known_at"] < both["known_at_right"]).all()
    at = calendar_of(east).known_at(date(2024, 3, 7))
    assert calendar_of(west).last_known(at) == date(2024, 3, 6)


def test_summer_time_moves_the_instant_not_the_hour():
    calendar = calendar_of("XNYS")
    days = calendar.sessions(date(2024, 1, 2), date(2024, 12, 31))
    offsets = {calendar.known_at(d).astimezone(ZoneInfo("America/New_York")).time() for d in days}
    assert offsets == {time(16, LAG), time(13, LAG)}
    assert {calendar.known_at(d).hour for d in days if d not in (date(2024, 7, 3), date(2024, 11, 29), date(2024, 12, 24))} == {20, 21}  # fmt: skip


@pytest.mark.parametrize(
    ("exchange", "day", "close"),
    [("XLON", date(2024, 12, 24), time(12, 30)), ("XHKG", date(2024, 2, 9), time(12))],
)
def test_rows_of_bars_carry_the_half_days_instant(exchange, day, close):
    """What cleaning and as-of reads use: the bar of a half day is known early, and not before."""
    calendar = calendar_of(exchange)
    known = local(exchange, day, close) + timedelta(minutes=LAG)
    rows = contract("raw.prices").conform(
        pl.DataFrame(
            {"source": ["v"], "symbol": ["A"], "date": [day], "close": [1.0],
             "fetched_at": [datetime(2025, 2, 1, tzinfo=UTC)]}
        )
    )  # fmt: skip
    assert raw.with_known_at(rows, calendar)["known_at"].item() == known
    assert raw.as_of(rows, known, calendar).height == 1
    assert raw.as_of(rows, known - timedelta(microseconds=1), calendar).height == 0


@pytest.mark.parametrize(
    ("root", "own", "day", "close"),
    [
        ("XLON", "XNYS", date(2024, 3, 7), time(16)),
        ("XTKS", "XNYS", date(2024, 3, 7), time(16)),
        ("XTKS", "XLON", date(2024, 7, 2), time(16, 30)),
        # New York closes early after Thanksgiving, Toronto does not
        ("XNYS", "XTSE", date(2024, 11, 29), time(16)),
    ],
)
def test_a_bar_of_an_exchange_that_closes_later_is_not_known_before_its_own_close(
    root, own, day, close
):
    """Slots are the root's; what trades elsewhere was known when it was over there."""
    calendar = calendar_of(root)
    zone = ZoneInfo(ZONES.get(own, "America/Toronto"))
    over = datetime.combine(day, close, zone).astimezone(UTC)
    assert calendar.known_at(day) < over + timedelta(minutes=LAG)

    def cleaned(fetched: datetime, now: datetime) -> prices.Cleaned:
        keys = {"source": "v", "fetched_at": fetched, "currency": "USD"}
        days = [calendar.offset(day, -1), day]
        rows = contract("raw.prices").conform(
            pl.DataFrame(
                [{**keys, "symbol": s, "date": d, "close": 9.0} for s in "AH" for d in days]
            )
        )
        where = {"A": own, "H": root}
        told = contract("raw.instruments").conform(
            pl.DataFrame([{**keys, "symbol": s, "exchange": x, "asset_class": "equity"} for s, x in where.items()])
        )  # fmt: skip
        names = instruments.clean(told, rows, calendar=calendar)
        return prices.clean(rows, names, calendar, now=now)

    later = datetime(2025, 2, 1, tzinfo=UTC)
    known = dict(
        cleaned(later, later)
        .prices.filter(pl.col("date") == day)
        .select("instrument_id", "known_at")
        .iter_rows()
    )
    assert known == {
        f"{own}:A": over + timedelta(minutes=LAG),
        f"{root}:H": calendar.known_at(day),
    }
    # seen at the root's close it is a bar of a running session
    early = cleaned(calendar.known_at(day), calendar.known_at(day))
    assert early.quarantine.select("symbol", "date", "rule").rows() == [("A", day, "future_date")]
