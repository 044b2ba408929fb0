"""Renames, reuse and withdrawn members through the graph's own stages: a walk over days equals the full
run wherever what is known allows it, and what was told later is stamped so."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from pipeline import Driver, settings
from properties import same_rows
from synthetic import RawMarket

from wealthos_pipeline.core.data import contract
from wealthos_pipeline.data.processors import raw as raw_room
from wealthos_pipeline.data.processors.calendar import TradingCalendar

FIRST, RENAMED, LAST = date(2022, 3, 1), date(2022, 6, 9), date(2022, 9, 16)
GONE, BACK = date(2022, 5, 2), date(2022, 8, 15)
TOLD = datetime(2022, 8, 22, 22, tzinfo=UTC)
"""Another FIGI of ABC is given a week after the new company's first bar."""
DROPPED = datetime(2022, 7, 1, 22, tzinfo=UTC)
"""From this delivery on OTHER is not in the list, and never was."""
TABLES = ("clean.instruments", "clean.prices", "clean.membership")


def frame(table: str, rows: list[dict[str, Any]]) -> pl.DataFrame:
    terms = contract(table)
    return terms.conform(
        pl.DataFrame(
            [{"source": "v", **r} for r in rows], schema_overrides=terms.schema(), infer_schema_length=None
        )
    )  # fmt: skip


def given(calendar: TradingCalendar, until: date) -> RawMarket:
    """What had been fetched in the evening of ``until``, a fetch a day."""

    def evening(day: date) -> datetime:
        return calendar.known_at(day) + timedelta(minutes=30)

    bars, spans = (
        [],
        {"FB": (FIRST, date(2022, 6, 8)), "OTHER": (FIRST, LAST), "ABC": (FIRST, LAST)},
    )
    spans["META"] = (RENAMED, LAST)
    for symbol, (first, last) in spans.items():
        for i, day in enumerate(calendar.sessions(first, min(last, until))):
            if symbol == "ABC" and GONE < day < BACK:
                continue
            bars.append({"symbol": symbol, "date": day, "fetched_at": evening(day), "currency": "USD",
                         "close": 20.0 + i % 5 + len(symbol)})  # fmt: skip
    if until >= RENAMED:  # the vendor gives the whole history under the new symbol
        bars += [{"symbol": "META", "date": d, "fetched_at": evening(RENAMED), "currency": "USD",
                  "close": 99.0} for d in calendar.sessions(FIRST, date(2022, 6, 8))]  # fmt: skip
    told = [("FB", "BBG1", evening(FIRST)), ("OTHER", "BBG2", evening(FIRST)), ("ABC", "BBG3", evening(FIRST)),
            ("META", "BBG1", evening(RENAMED)), ("ABC", "BBG4", TOLD)]  # fmt: skip
    names = [{"symbol": s, "figi": f, "fetched_at": at, "asset_class": "equity", "exchange": "XNYS",
              "currency": "USD", "sector": "Energy"} for s, f, at in told if at <= evening(until)]  # fmt: skip
    members = contract("raw.membership").empty()
    for at in (evening(FIRST), DROPPED):
        if at <= evening(until):
            inside = ["FB", "OTHER"] if at < DROPPED else ["FB"]
            rows = [
                {"universe": "default", "symbol": s, "start": FIRST, "fetched_at": at}
                for s in inside
            ]
            news = raw_room.new_rows(
                members, frame("raw.membership", rows), contract("raw.membership")
            )
            members = pl.concat([members, news])
    empty = contract("raw.series").empty()
    return RawMarket(frame("raw.prices", bars), empty, frame("raw.instruments", names), members)


@pytest.fixture(scope="module")
def driver(calendar: TradingCalendar) -> Driver:
    return Driver(settings(), calendar, until=TABLES)


def test_a_walk_equals_the_full_run(driver: Driver, calendar: TradingCalendar) -> None:
    days = [date(2022, 6, 7), date(2022, 6, 8), RENAMED, date(2022, 6, 10), date(2022, 7, 1),
            BACK, date(2022, 8, 19), date(2022, 8, 22), date(2022, 8, 23), LAST]  # fmt: skip
    lake = driver.lake(given(calendar, days[0]))
    for stage in driver.stages:
        driver.step(lake, stage, calendar.known_at(days[0]) + timedelta(hours=1), None)
    for day in days[1:]:
        now = calendar.known_at(day) + timedelta(hours=1)
        market = given(calendar, day)
        walked = driver.advance(lake, market, now)
        full = driver(market, now)
        for table in (*TABLES, "clean.quarantine"):
            same_rows(
                walked.tables[table], full.tables[table], contract(table).key, f"{day}: {table}"
            )
    prices, names = full.tables["clean.prices"], full.tables["clean.instruments"]
    assert set(names["instrument_id"]) == {"XNYS:FB", "XNYS:OTHER", "XNYS:ABC", "XNYS:ABC#2"}
    renamed = prices.filter(pl.col("instrument_id") == "XNYS:FB")
    assert renamed["date"].to_list() == calendar.sessions(FIRST, LAST)
    assert renamed["close"].max() < 99.0
    overlap = full.tables["clean.quarantine"].filter(pl.col("rule") == "renamed_symbol_overlap")
    assert overlap.height == len(calendar.sessions(FIRST, date(2022, 6, 8)))
    members = full.tables["clean.membership"].select("instrument_id", "withdrawn_at").rows()
    assert members == [("XNYS:FB", None), ("XNYS:OTHER", DROPPED)]


def test_identity_that_is_told_later_does_not_leak(
    driver: Driver, calendar: TradingCalendar
) -> None:
    """Rows known before the other FIGI came: the same with it as without it, but for the bars that were
    then taken for the old company's."""
    before = calendar.known_at(date(2022, 8, 19))
    with_ = driver(given(calendar, LAST), calendar.known_at(LAST) + timedelta(hours=1))
    without = driver(given(calendar, date(2022, 8, 19)), before)
    known = with_.tables["clean.prices"].filter(pl.col("known_at") <= before)
    assert "XNYS:ABC#2" not in set(known["instrument_id"])
    other = pl.col("instrument_id") != "XNYS:ABC"
    left, right = (
        f.filter(other | (pl.col("date") <= GONE)) for f in (known, without.tables["clean.prices"])
    )
    assert same_rows(left, right, contract("clean.prices").key, "bars") > 250
    names = with_.tables["clean.instruments"].filter(pl.col("known_at") <= before)
    assert "XNYS:ABC#2" not in set(names["instrument_id"])
