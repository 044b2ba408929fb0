"""Reading the lake as of an instant gives what a store would hold that never saw anything later."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime, timedelta

import polars as pl
import pytest
from pipeline import Driver, settings
from properties import instants, raw_known
from synthetic import END, LOADED, RawMarket

from wealthos_pipeline.core.data import contract
from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.data.storage.lake import Lake

TABLES = ("clean.prices", "clean.series")
STAMPS = ["known_at", "basis"]
"""A correction is stamped by the run that wrote it; its values are what counts here."""


@pytest.fixture(scope="module")
def cleaning(calendar: TradingCalendar) -> Driver:
    return Driver(settings(), calendar, until=TABLES)


AGAIN = pl.col("fetched_at") > pl.col("fetched_at").min().over("symbol", "date")


@pytest.fixture(scope="module")
def corrections(synthetic_raw: RawMarket) -> list[datetime]:
    """Instants at which corrected bars were fetched: the first and the last of the market's."""
    fetched = synthetic_raw.prices.filter(AGAIN)["fetched_at"].unique().sort().to_list()
    return [fetched[0], fetched[-1]]


@pytest.fixture(scope="module")
def market(synthetic_raw: RawMarket, corrections: list[datetime]) -> RawMarket:
    """The synthetic market with these corrections only."""
    wanted = ~AGAIN | pl.col("fetched_at").is_in(corrections)
    return replace(synthetic_raw, prices=synthetic_raw.prices.filter(wanted))


@pytest.fixture(scope="module")
def lake(
    tmp_path_factory: pytest.TempPathFactory,
    cleaning: Driver,
    market: RawMarket,
    corrections: list[datetime],
    calendar: TradingCalendar,
) -> Lake:
    """Written by a run at the first load, on the eve and at the fetch of each correction, at the end."""
    lake = Lake(tmp_path_factory.mktemp("as_of"), calendar=calendar)
    around = [t for c in corrections for t in (c - timedelta(days=1), c)]
    for now in (LOADED, *around, calendar.known_at(END) + timedelta(hours=2)):
        made = cleaning(raw_known(market, now, calendar), now)
        for table in TABLES:
            lake.restate(table, made.tables[table], now=now)
    return lake


@pytest.mark.parametrize("table", TABLES)
def test_as_of_equals_a_store_that_never_saw_later_rows(
    table: str,
    lake: Lake,
    cleaning: Driver,
    market: RawMarket,
    corrections: list[datetime],
    calendar: TradingCalendar,
) -> None:
    moments = instants(calendar, date(2016, 6, 1), date(2019, 7, 1), 4, seed=11)
    moments += [corrections[0] - timedelta(microseconds=1), corrections[0], corrections[-1]]
    key = list(contract(table).key)
    for at in moments:
        stored = lake.read(table, as_of=at).drop(STAMPS).sort(key)
        physical = cleaning(raw_known(market, at, calendar), at)
        fresh = physical.tables[table].filter(pl.col("known_at") <= at).drop(STAMPS).sort(key)
        assert stored.height > 1000
        assert stored.equals(fresh, null_equal=True), f"{table} as of {at}"


def test_now_and_the_past_differ_by_the_corrections(
    lake: Lake, corrections: list[datetime]
) -> None:
    """The equality above is not the equality of a store without history."""
    before = lake.read("clean.prices", as_of=corrections[0] - timedelta(microseconds=1))
    now = lake.read("clean.prices").join(before, on=["instrument_id", "date"], how="semi")
    assert not now.select("close").equals(before.select("close"))
