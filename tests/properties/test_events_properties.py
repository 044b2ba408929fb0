"""No peeking, no repainting, no basis, a day's update equal to the full run: for vendors with events,
other currencies, pence and bars in the wrong unit.

The seeded market again, as such a vendor tells it: closes divided by the splits that it knows, the
bars of the overlap given again when a split moved their basis.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime, timedelta
from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from pipeline import Driver, settings
from properties import instants, known, no_peeking, raw_known, rescaled, same_rows
from synthetic import END, LOADED, REVISED, SOURCE, RawMarket, raw_market, symbol

from wealthos_pipeline.core.data import contract
from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.data.processors.prices import Flag

NAMES = 28
OVERLAP = 10
EUROS, PENCE = symbol(4), symbol(6)
WRONG_UNIT = (100, 720, 721)
"""Sessions whose bar of ``PENCE`` comes in pounds."""
TABLES = ("clean.prices", "clean.adjustments")


@pytest.fixture(scope="module")
def calendar() -> TradingCalendar:
    return TradingCalendar("XNYS")


@pytest.fixture(scope="module")
def market(calendar: TradingCalendar) -> RawMarket:
    plain = raw_market(NAMES)
    money = {EUROS: "EUR", PENCE: "GBp"}
    currency = pl.col("symbol").replace(money).replace({symbol(i): "USD" for i in range(NAMES)})
    return replace(
        plain,
        prices=_told(plain.prices, currency, calendar),
        series=_with_rates(plain.series, calendar),
        instruments=plain.instruments.with_columns(currency.alias("currency")),
    )


def _told(traded: pl.DataFrame, currency: pl.Expr, calendar: TradingCalendar) -> pl.DataFrame:
    """What the vendor says at each fetch of these traded bars."""
    traded = traded.with_columns(
        pl.col("split_ratio").fill_null(1.0), pl.col("dividend").fill_null(0.0)
    )
    splits = traded.filter(pl.col("split_ratio") != 1).select("symbol", "date", "split_ratio")
    stamps = {(n, d): f for n, d, f in traded.sort("fetched_at", descending=True).select(
        "symbol", "date", "fetched_at").iter_rows()}  # fmt: skip
    again = []
    for name, day, _ in splits.iter_rows():
        fetched = stamps[name, day]
        if fetched > LOADED:
            old = (pl.col("symbol") == name) & (pl.col("date") < day)
            late = pl.col("date") >= calendar.offset(day, -OVERLAP)
            again.append(traded.filter(old & late).with_columns(fetched_at=pl.lit(fetched)))
    rows = pl.concat([traded, *again]).with_row_index("_row")
    later = (
        rows.select("_row", "symbol", "date", "fetched_at")
        .join(splits.rename({"date": "_day", "split_ratio": "_ratio"}), on="symbol")
        .filter((pl.col("_day") > pl.col("date")) & (pl.col("_day") <= pl.col("fetched_at").dt.date()))
        .group_by("_row").agg(pl.col("_ratio").product())
    )  # fmt: skip
    wrong = [calendar.date_of(calendar.slot(date(2016, 1, 4)) + t) for t in WRONG_UNIT]
    unit = (
        pl.when(pl.col("symbol") != PENCE).then(1.0)
        .when(pl.col("date").is_in(wrong)).then(1.0)
        .otherwise(100.0)
    )  # fmt: skip
    factor = pl.col("_ratio").fill_null(1.0)
    pounds = pl.when(pl.col("symbol") == PENCE).then(100.0).otherwise(1.0)
    return contract("raw.prices").conform(
        rows.join(later, on="_row", how="left", maintain_order="left")
        .with_columns(
            *(pl.col(n) * unit / factor for n in ("open", "high", "low", "close")),
            pl.col("dividend") * pounds / factor,
            pl.col("volume") * factor,
            currency.alias("currency"),
            pl.col("fetched_at").dt.date().alias("basis_vintage"),
        )
        .drop("_row", "_ratio")
    )


def _with_rates(series: pl.DataFrame, calendar: TradingCalendar) -> pl.DataFrame:
    days = calendar.frame(date(2016, 1, 4), END)
    rng = np.random.default_rng(41)
    parts = [
        days.select(
            pl.lit(SOURCE).alias("source"), pl.lit("fx").alias("series"), pl.lit(pair).alias("tenor"),
            "date", pl.max_horizontal(pl.col("known_at"), pl.lit(LOADED)).alias("fetched_at"),
            pl.Series("value", level * np.exp(np.cumsum(rng.normal(0, 0.005, days.height)))),
            pl.lit("rate").alias("unit"), pl.lit("day").alias("frequency"),
        )
        for pair, level in (("EURUSD", 1.1), ("USDGBP", 0.75))
    ]  # fmt: skip
    return contract("raw.series").conform(pl.concat([series, *parts]))


@pytest.fixture(scope="module")
def driver(calendar: TradingCalendar) -> Driver:
    return Driver(settings(), calendar, until=list(TABLES))


@pytest.fixture(scope="module")
def end(calendar: TradingCalendar) -> datetime:
    return calendar.known_at(END) + timedelta(days=9)


def uncorrected(raw: RawMarket) -> RawMarket:
    revised = [symbol(i) for i, _ in REVISED]
    return replace(raw, prices=raw.prices.filter(~pl.col("symbol").is_in(revised)))


def test_the_total_return_is_that_of_the_plain_market(driver, market, end) -> None:
    """The same market, told as traded and in dollars, makes the same indices."""
    plain = raw_market(NAMES)
    ids = [f"XNYS:{n}" for n in (EUROS, PENCE)]
    a, b = (
        driver(m, end).tables["clean.prices"].filter(~pl.col("instrument_id").is_in(ids))
        for m in (plain, market)
    )
    assert a.height == b.height > 15_000
    for name in ("tr_index", "split_index", "close"):
        np.testing.assert_allclose(b[name], a[name], rtol=1e-11)
    assert a["split_ratio"].equals(b["split_ratio"])
    doubt = int(Flag.SPLIT_DOUBT | Flag.UNIT_SWITCH | Flag.DIVIDEND_REPAIRED)
    assert b.filter(pl.col("flags") & doubt != 0).height == 0


def test_the_wrong_units_are_found_and_nothing_else(driver, market, end) -> None:
    out = driver(market, end).tables
    logged = out["clean.adjustments"]
    assert set(logged["instrument_id"]) == {f"XNYS:{PENCE}"}
    assert logged["rule"].to_list() == ["unit_switch"] * len(WRONG_UNIT)
    prices = out["clean.prices"].filter(pl.col("instrument_id") == f"XNYS:{PENCE}")
    assert set(prices["currency"]) == {"USD"}
    assert set(prices["local_currency"]) == {"GBP"}


def test_no_peeking(driver, market, calendar, end) -> None:
    for at in instants(calendar, date(2018, 1, 3), END, 4, 5):
        assert no_peeking(driver, market, at, end, calendar)["clean.prices"] > 10_000


def test_no_repainting(driver, market, calendar) -> None:
    """A split, a dividend, a rate or a basis after t is no restatement: nothing moves at all."""
    raw = uncorrected(market)
    times = sorted(instants(calendar, date(2018, 1, 3), END, 4, 9))
    for earlier, later in pairwise(times):
        before, after = (driver(raw_known(raw, t, calendar), t) for t in (earlier, later))
        for name in TABLES:
            terms = contract(name)
            left, right = (known(r.tables[name], terms, earlier, calendar) for r in (before, after))
            same_rows(left, right, terms.key, name)
        assert set(after.tables["clean.prices"]["basis"]) == {"assumed"}


def test_no_basis(driver, market, end) -> None:
    scale = {symbol(i): 2.0 ** (i % 7 - 3) for i in range(NAMES)}
    plain, scaled = (
        driver(m, end).tables["clean.prices"] for m in (market, rescaled(market, scale))
    )
    same = ["instrument_id", "date", "tr_index", "split_index", "split_ratio", "flags", "fx_rate"]
    same_rows(plain.select(same), scaled.select(same), ("instrument_id", "date"), "basis")


def test_a_day_s_update_is_the_full_run(driver, market, calendar) -> None:
    days = calendar.sessions(date(2018, 7, 16), date(2018, 7, 24))  # over a split of another basis
    days += calendar.sessions(date(2018, 10, 12), date(2018, 10, 18))
    lake = driver.lake(raw_known(market, calendar.known_at(days[0]), calendar))
    for stage in driver.stages:
        driver.step(lake, stage, calendar.known_at(days[0]), None)
    for day in days[1:]:
        now = calendar.known_at(day) + timedelta(hours=2)
        there = raw_known(market, now, calendar)
        update = driver.advance(lake, there, now)
        full = driver(there, now)
        for name in TABLES:
            terms = contract(name)
            same_rows(full.tables[name], update.tables[name], terms.key, f"{day} {name}")
