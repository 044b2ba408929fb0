"""Gaps: what is missing and why, day by day as in one go, and never told early."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from pipeline import Driver, settings
from polars.testing import assert_frame_equal
from properties import instants, no_peeking, raw_known
from synthetic import END, GONE, SUSPENDED, RawMarket, symbol

from wealthos_pipeline.core.data import contract
from wealthos_pipeline.data.processors import delistings, gaps
from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.data.processors.delistings import UNKNOWN
from wealthos_pipeline.utils.config import CleaningSettings

FIRST = date(2016, 1, 4)
NOW = datetime(2016, 12, 1, tzinfo=UTC)
NAMES = ("A", "B", "C", "D", "E")
TUNED = CleaningSettings(delisted_after=8)


@pytest.fixture
def days(calendar: TradingCalendar) -> list[date]:
    return calendar.sessions(FIRST, calendar.offset(FIRST, 79))


def instruments(calendar: TradingCalendar, **exchange: str) -> pl.DataFrame:
    rows = [
        {"instrument_id": n, "symbol": n, "asset_class": "equity", "exchange": exchange.get(n, "XNYS"),
         "currency": "USD", "source": "v", "valid_from": FIRST, "static": False,
         "known_at": calendar.known_at(FIRST)}
        for n in NAMES
    ]  # fmt: skip
    table = contract("clean.instruments")
    return table.conform(pl.DataFrame(rows, schema_overrides=table.schema()))


def bars(
    days: list[date], calendar: TradingCalendar, without: dict[str, set[int]], upto: int = 80
) -> pl.DataFrame:
    """Bars of five names on all sessions but those ``without``."""
    return pl.DataFrame(
        [
            {"instrument_id": n, "date": d, "slot": calendar.slot(d), "flags": 0,
             "known_at": calendar.known_at(d)}
            for n in NAMES for i, d in enumerate(days[:upto]) if i not in without.get(n, set())
        ],
        schema_overrides={"slot": pl.Int32, "flags": pl.Int32, "known_at": pl.Datetime("us", "UTC")},
    )  # fmt: skip


def each(names: str, sessions: set[int]) -> dict[str, set[int]]:
    return dict.fromkeys(names, sessions)


NOTHING = pl.DataFrame(schema={"instrument_id": pl.String, "date": pl.Date, "rule": pl.String})


def stated(calendar: TradingCalendar, names: pl.DataFrame, *rows: dict[str, Any]) -> pl.DataFrame:
    return delistings.resolved(pl.DataFrame(rows, schema=delistings.COLUMNS), names, calendar)


def find(
    frame: pl.DataFrame,
    calendar: TradingCalendar,
    *,
    names: pl.DataFrame | None = None,
    **more: Any,
) -> pl.DataFrame:
    names = instruments(calendar) if names is None else names
    given = {"given": NOTHING, "ends": stated(calendar, names), "now": NOW, **more}
    return gaps.find(frame, names, calendar, given.pop("tuned", TUNED), **given)


def told(frame: pl.DataFrame, name: str) -> list[tuple[Any, ...]]:
    columns = ["date", "until", "sessions", "kind", "known_at"]
    return frame.filter(pl.col("instrument_id") == name).select(columns).rows()


def test_a_gap_is_told_when_it_closes(days: list[date], calendar: TradingCalendar) -> None:
    out = find(bars(days, calendar, {"A": {5, 6, 7, 30}, "B": {0, 1}}), calendar)
    assert told(out, "A") == [
        (days[5], days[7], 3, "gap", calendar.known_at(days[8])),
        (days[30], days[30], 1, "gap", calendar.known_at(days[31])),
    ]
    assert told(out, "B") == []  # before its first bar
    assert set(out["detail"]) == {"the source gave nothing"}


def test_rows_without_a_trade_are_a_halt_and_rejected_ones_are_named(
    days: list[date], calendar: TradingCalendar
) -> None:
    rows = [
        ("A", days[6], None),
        ("A", days[7], None),
        ("B", days[6], "spike"),
        ("C", days[9], "spike"),
    ]
    given = pl.DataFrame(rows, schema=NOTHING.schema, orient="row")
    out = find(bars(days, calendar, each("AB", {5, 6, 7})), calendar, given=given)
    assert out.select("instrument_id", "kind", "detail").rows() == [
        ("A", "halt", "the source gave 2 rows without a trade"),
        ("B", "gap", "what the source gave was rejected: spike"),
    ]


def test_when_many_miss_it_is_the_vendor(days: list[date], calendar: TradingCalendar) -> None:
    out = find(bars(days, calendar, each("ABC", {5, 6}) | {"D": {6}}), calendar)
    assert [(r[0], r[3]) for n in "ABC" for r in told(out, n)] == [(days[5], "vendor")] * 3
    assert told(out, "D")[0][3] == "vendor"  # of four
    two = find(bars(days, calendar, each("AB", {5, 6})), calendar)
    assert set(two["kind"]) == {"gap"}
    strict = TUNED.model_copy(update={"vendor_gap": 0.4})
    assert set(find(bars(days, calendar, each("AB", {5, 6})), calendar, tuned=strict)["kind"]) == {"vendor"}  # fmt: skip
    assert out.filter(pl.col("instrument_id") == "A")["detail"][0].startswith("60%")


def test_an_index_that_ends_is_no_share_without_a_return(
    days: list[date], calendar: TradingCalendar
) -> None:
    out = find(bars(days, calendar, {"B": set(range(60, 80))}), calendar)
    names = instruments(calendar).with_columns(asset_class=pl.lit("cross_asset"))
    assert gaps.unknown_returns(out, names) == []


def test_an_open_gap_and_a_delisting(days: list[date], calendar: TradingCalendar) -> None:
    without = {"A": set(range(75, 80)), "B": set(range(60, 80))}
    out = find(bars(days, calendar, without), calendar)
    assert told(out, "A") == [
        (days[75], None, 5, "open", calendar.known_at(calendar.offset(days[79], 8)))
    ]
    assert told(out, "B") == [(days[60], None, 8, "delisting", calendar.known_at(days[67]))]
    assert gaps.unknown_returns(out, instruments(calendar)) == ["B"]


def test_sessions_without_anybody_do_not_count_towards_a_delisting(
    days: list[date], calendar: TradingCalendar
) -> None:
    nobody = set(range(62, 72))
    without = each("BCDE", nobody) | {"A": set(range(60, 80))}
    out = find(bars(days, calendar, without), calendar)
    assert told(out, "A")[0][3:] == ("delisting", calendar.known_at(days[77]))
    assert told(out, "B")[0][3] == "vendor"  # ten sessions, and no delisting


def test_who_comes_back_was_taken_for_delisted(days: list[date], calendar: TradingCalendar) -> None:
    out = find(bars(days, calendar, {"A": set(range(20, 50))}), calendar)
    assert told(out, "A") == [(days[20], days[49], 8, "delisting", calendar.known_at(days[27]))]


def test_stated_delistings(days: list[date], calendar: TradingCalendar) -> None:
    names = instruments(calendar)
    ends = stated(
        calendar, names,
        {"symbol": "A", "date": days[70], "terminal_return": -0.5, "reason": "bankruptcy"},
        {"symbol": "B", "date": days[70]},
        {"symbol": "C", "date": days[77], "known_on": date(2017, 3, 1)},
    )  # fmt: skip
    without = each("AB", set(range(71, 80))) | {"C": {78, 79}}
    out = find(bars(days, calendar, without), calendar, ends=ends)
    assert told(out, "A") == [(days[71], None, 1, "delisting", calendar.known_at(days[71]))]
    details = dict(out.select("instrument_id", "detail").iter_rows())
    assert details["A"] == "bankruptcy; terminal return -0.5"
    assert details["B"] == f"stated in delistings.csv; {UNKNOWN}"
    assert gaps.unknown_returns(out, instruments(calendar)) == ["B"]
    assert told(out, "C")[0][3] == "open"  # nobody knows yet


def test_holidays_of_another_exchange(calendar: TradingCalendar) -> None:
    """Easter Monday and a bank holiday in London, a May bank holiday missed by more than one day."""
    days = calendar.sessions(date(2016, 3, 1), date(2016, 6, 30))
    london = TradingCalendar("XLON")
    shut = [i for i, d in enumerate(days) if not london.is_session(d)]
    assert [days[i] for i in shut] == [date(2016, 3, 28), date(2016, 5, 2)]
    names = instruments(calendar, A="XLON")
    a = shut[1]
    out = find(
        bars(days, calendar, {"A": {shut[0], a - 1, a, a + 1}}, len(days)), calendar, names=names
    )
    assert [r[:4] for r in told(out, "A")] == [
        (days[shut[0]], days[shut[0]], 1, "holiday"),
        (days[a - 1], days[a + 1], 2, "gap"),
        (days[a], days[a], 1, "holiday"),
    ]
    assert told(out, "A")[0][4] == calendar.known_at(days[shut[0]])


# --- over time -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def driver(calendar: TradingCalendar) -> Driver:
    return Driver(settings(cleaning={"delisted_after": 15}), calendar, until=("clean.gaps",))


def test_a_walk_equals_the_full_run(
    driver: Driver, synthetic_raw: RawMarket, calendar: TradingCalendar
) -> None:
    """Over a suspension that begins, is taken for a delisting, and ends."""
    dates = synthetic_raw.prices["date"].unique().sort()
    lo, hi = SUSPENDED[7]
    steps = [lo - 3, lo + 1, lo + 2, lo + 14, lo + 15, lo + 20, hi - 1, hi, hi + 1, hi + 9]
    market = replace(
        synthetic_raw, prices=synthetic_raw.prices.filter(pl.col("date") <= dates[hi + 12])
    )
    lake = None
    kinds = set()
    for t in steps:
        now = calendar.known_at(dates[t]) + timedelta(minutes=1)
        given = raw_known(market, now, calendar)
        full = driver(given, now).tables["clean.gaps"]
        if lake is None:
            lake = driver.lake(given)
            for stage in driver.stages:
                driver.step(lake, stage, now, None)
        else:
            driver.advance(lake, given, now)
        assert_frame_equal(lake.read("clean.gaps"), full, check_exact=True)
        mine = full.filter(pl.col("instrument_id").str.ends_with(symbol(7)))
        kinds |= set(mine.select("kind", pl.col("until").is_null().alias("lasts")).rows()[-1:])
    assert kinds >= {("open", True), ("delisting", True), ("delisting", False)}
    assert lake is not None
    assert lake.dirty["clean.gaps"] >= dates[hi]  # the last step left what was told alone


def test_what_was_told_stays(
    driver: Driver, synthetic_raw: RawMarket, calendar: TradingCalendar
) -> None:
    end = calendar.known_at(END) + timedelta(days=3)
    raw = synthetic_raw
    counts = []
    dates = raw.prices["date"].unique().sort()
    moments = instants(calendar, date(2016, 10, 1), date(2019, 6, 1), 3, seed=2)
    moments += [calendar.known_at(dates[t]) for t in (GONE[13] + 20, SUSPENDED[7][1] - 5)]
    for at in moments:
        counts.append(no_peeking(driver, raw, at, end, calendar)["clean.gaps"])
    assert max(counts) > 50
