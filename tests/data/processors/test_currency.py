"""Bars in other currencies: which rate, and the three properties of time with it."""

from __future__ import annotations

from datetime import date, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from wealthos_pipeline.core.data import contract
from wealthos_pipeline.data.processors import instruments, prices, raw
from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.data.processors.prices import Cleaned

PRICES, SERIES = contract("raw.prices"), contract("raw.series")
CALENDAR = TradingCalendar("XNYS")
N = 150
FIRST = CALENDAR.slot(date(2018, 1, 2))
DAYS = [CALENDAR.date_of(FIRST + i) for i in range(N)]
MONEY = {"EU": "EUR", "UK": "GBp", "US": "USD", "JP": "JPY"}


def known(at: int) -> datetime:
    return CALENDAR.known_at(DAYS[at]) + timedelta(minutes=10)


def market(upto: int = N, *, daily: bool = False) -> pl.DataFrame:
    """raw.prices of four listings; fetched once, or each bar in the evening of its day."""
    rng = np.random.default_rng(23)
    rows = []
    for name, money in MONEY.items():
        close = 80 * np.exp(np.cumsum(rng.normal(0, 0.01, N)))
        close[90:] /= 2.0 if name == "EU" else 1.0
        close = np.round(close, 2)
        for i in range(upto):
            rows.append(
                {"source": "vendor", "symbol": name, "date": DAYS[i], "close": close[i],
                 "fetched_at": known(i) if daily else known(upto - 1),
                 "volume": 10.0, "dividend": 0.5 if i == 60 and name != "UK" else 0.0,
                 "split_ratio": 2.0 if i == 90 and name == "EU" else 1.0, "currency": money}
            )  # fmt: skip
    return PRICES.conform(pl.DataFrame(rows))


def rates(
    pairs: dict[str, float], *, skip: tuple[int, ...] = (), daily: bool = True
) -> pl.DataFrame:
    rng = np.random.default_rng(29)
    rows = []
    for pair, level in pairs.items():
        value = level * np.exp(np.cumsum(rng.normal(0, 0.004, N)))
        rows += [
            {"source": "file", "series": "fx", "tenor": pair, "date": DAYS[i], "value": value[i],
             "fetched_at": known(i), "unit": "rate", "frequency": "day"}
            for i in range(N) if i not in skip
        ]  # fmt: skip
    return SERIES.conform(pl.DataFrame(rows))


PAIRS = {"EURUSD": 1.1, "GBPUSD": 1.3, "USDJPY": 110.0}


def registry(rows: pl.DataFrame) -> pl.DataFrame:
    described = contract("raw.instruments").conform(
        rows.group_by("source", "symbol").agg(pl.col("fetched_at").min(), pl.col("currency").first())
        .with_columns(pl.lit("equity").alias("asset_class"), pl.lit("XNYS").alias("exchange"))
    )  # fmt: skip
    return instruments.clean(described, rows, calendar=CALENDAR)


def cleaned(
    rows: pl.DataFrame,
    series: pl.DataFrame,
    base: str = "USD",
    at: datetime | None = None,
    **more: object,
) -> Cleaned:
    return prices.clean(
        rows, registry(rows), CALENDAR, now=at or known(N - 1), base=base, series=series, **more
    )  # type: ignore[arg-type]


def test_everything_comes_in_the_base_currency_by_an_obvious_loop() -> None:
    rows, series = market(), rates(PAIRS)
    out = cleaned(rows, series)
    value = {(p, d): v for p, d, v in series.select("tenor", "date", "value").iter_rows()}
    look = {
        "EU": lambda d: value["EURUSD", d], "UK": lambda d: value["GBPUSD", d],
        "JP": lambda d: 1 / value["USDJPY", d], "US": lambda d: 1.0,
    }  # fmt: skip
    for name in MONEY:
        mine = out.prices.filter(pl.col("instrument_id") == f"XNYS:{name}").sort("date")
        given = rows.filter(pl.col("symbol") == name).sort("date")
        unit = 0.01 if name == "UK" else 1.0
        index, before = [], None
        for row in given.iter_rows(named=True):
            close = row["close"] * unit * look[name](row["date"])
            paid = row["dividend"] * unit * look[name](row["date"])
            step = 1.0 if before is None else (close + paid) * row["split_ratio"] / before
            index.append(step * (index[-1] if index else 1.0))
            before = close
        np.testing.assert_allclose(mine["tr_index"], index, rtol=1e-12)
        assert set(mine["currency"]) == {"USD"}
        if name == "US":
            assert mine["fx_rate"].null_count() == mine.height
            assert mine["local_currency"].null_count() == mine.height
        else:
            assert set(mine["local_currency"]) == {MONEY[name].replace("GBp", "GBP")}
            np.testing.assert_allclose(
                mine["close"] / mine["fx_rate"], given["close"] * unit, rtol=1e-14
            )
        np.testing.assert_allclose(mine["dollar_volume"], mine["close"] * 10.0, rtol=1e-14)
    assert out.counts["converted"] == 3 * N


def test_a_universe_in_the_base_currency_is_left_alone() -> None:
    rows = market().filter(pl.col("symbol") == "US")
    plain = prices.clean(rows, registry(rows), CALENDAR, now=known(N - 1)).prices
    assert cleaned(rows, rates(PAIRS)).prices.equals(plain)
    assert plain["fx_rate"].null_count() == plain.height


@pytest.mark.parametrize(
    ("pairs", "base"),
    [({"EURUSD": 1.1}, "USD"), ({"USDEUR": 0.9}, "USD"), ({"EURUSD": 1.1, "GBPUSD": 1.3}, "GBP"),
     ({"USDEUR": 0.9, "USDGBP": 0.8}, "GBP"), ({"EURGBP": 0.85}, "GBP"), ({"GBPEUR": 1.2}, "GBP")],
)  # fmt: skip
def test_the_pair_its_inverse_or_both_against_the_dollar(pairs, base) -> None:
    rows = market().filter(pl.col("symbol") == "EU")
    series = rates(pairs)
    out = cleaned(rows, series, base).prices.sort("date")
    value = {p: series.filter(pl.col("tenor") == p)["value"].to_numpy() for p in pairs}

    def rate(one: str, other: str) -> np.ndarray | None:
        if one + other in value:
            return value[one + other]
        return 1 / value[other + one] if other + one in value else None

    direct = rate("EUR", base)
    expected = rate("EUR", "USD") * rate("USD", base) if direct is None else direct
    np.testing.assert_allclose(out["fx_rate"], expected, rtol=1e-14)


def test_an_old_rate_serves_for_some_sessions_and_then_the_bar_is_quarantined() -> None:
    rows = market().filter(pl.col("symbol") == "EU")
    series = rates({"EURUSD": 1.1}, skip=tuple(range(70, 80)))
    out = cleaned(rows, series)
    last = series.filter(pl.col("date") == DAYS[69])["value"].item()
    fx = dict(out.prices.select("date", "fx_rate").iter_rows())
    assert [fx[DAYS[i]] for i in range(70, 78)] == [last] * 8
    assert out.quarantine["rule"].to_list() == ["no_fx"] * 2
    assert out.quarantine["date"].to_list() == DAYS[78:80]
    # the chain goes over the hole
    whole = cleaned(rows, rates({"EURUSD": 1.1})).prices
    a, b = (f.filter(pl.col("date") == DAYS[85])["tr_index"].item() for f in (out.prices, whole))
    assert a == pytest.approx(b, rel=1e-12)


def test_without_any_rate_every_foreign_bar_is_quarantined() -> None:
    out = cleaned(market(), rates({"EURUSD": 1.1}))
    assert set(out.prices["instrument_id"]) == {"XNYS:EU", "XNYS:US"}
    assert out.quarantine["rule"].value_counts().row(0) == ("no_fx", 2 * N)


def test_a_rate_that_is_revised_later_changes_no_bar() -> None:
    rows, series = market(), rates(PAIRS)
    better = series.filter(pl.col("date") == DAYS[100]).with_columns(
        pl.col("value") * 1.02,
        pl.lit(known(105)).cast(pl.Datetime("us", "UTC")).alias("fetched_at"),
    )
    both = pl.concat([series, better])
    assert cleaned(rows, both).prices.equals(cleaned(rows, series).prices)


def test_a_rate_that_arrives_late_is_taken_up_from_its_date_on() -> None:
    rows, series = market(), rates(PAIRS)
    missing = series.filter((pl.col("tenor") != "EURUSD") | ~pl.col("date").is_in(DAYS[90:104]))
    before = cleaned(rows, missing)
    assert set(before.quarantine["date"]) == set(DAYS[98:104])
    day = DAYS[90]
    part = cleaned(
        rows.filter(pl.col("date") >= prices.context_start(day, CALENDAR)), series,
        previous=prices.last_rows(before.prices, day), start=day,
    )  # fmt: skip
    whole = cleaned(rows, series).prices
    assert part.quarantine.height == 0
    assert part.prices.equals(whole.filter(pl.col("date") >= day))
    assert before.prices.filter(pl.col("date") < day).equals(whole.filter(pl.col("date") < day))


@pytest.mark.parametrize("cut", [1, 61, 91, 120, 149])
def test_continuing_gives_the_bits_of_a_full_computation(cut) -> None:
    rows, series = market(daily=True), rates(PAIRS, skip=(59, 60, 118, 119, 120))
    whole = cleaned(rows, series).prices
    day = DAYS[cut]
    part = prices.clean(
        rows.filter(pl.col("date") >= prices.context_start(day, CALENDAR)), registry(rows), CALENDAR,
        now=known(N - 1), base="USD", series=series,
        previous=prices.last_rows(whole, day), start=day,
    ).prices  # fmt: skip
    assert part.equals(whole.filter(pl.col("date") >= day))


@pytest.mark.parametrize("at", [30, 60, 90, 91, 130])
def test_what_was_known_is_the_same_without_what_came_after(at) -> None:
    """Bars, rates, a split and dividends, one bar in another unit: no peeking, no repainting."""
    rows, series = market(daily=True), rates(PAIRS)
    wrong = (pl.col("symbol") == "UK") & pl.col("date").is_in([DAYS[29], DAYS[90]])
    rows = rows.with_columns(
        pl.when(wrong).then(pl.col("close") / 100).otherwise("close").alias("close")
    )
    whole = cleaned(rows, series).prices
    instant = known(at)
    seen = cleaned(
        raw.as_of(rows, instant, CALENDAR),
        raw.as_of(series, instant, CALENDAR, "raw.series"),
        at=instant,
    ).prices
    assert whole.filter(pl.col("known_at") <= instant).equals(seen)
    assert (whole.filter(pl.col("instrument_id") == "XNYS:UK")["close"] > 0.5).all()


def test_a_listing_that_changes_its_currency_has_one_chain() -> None:
    """Each bar is converted in its own currency; the same value in both makes the same index."""
    rows, series = market(), rates(PAIRS)
    value = dict(series.filter(pl.col("tenor") == "EURUSD").select("date", "value").iter_rows())
    late = (pl.col("symbol") == "EU") & (pl.col("date") >= DAYS[100])
    fx = pl.col("date").replace_strict(value, default=None, return_dtype=pl.Float64)
    changed = rows.with_columns(
        *(pl.when(late).then(pl.col(n) * fx).otherwise(n).alias(n) for n in ("close", "dividend")),
        pl.when(late).then(pl.lit("USD")).otherwise("currency").alias("currency"),
    )
    a, b = cleaned(rows, series).prices, cleaned(changed, series).prices
    np.testing.assert_allclose(b["tr_index"], a["tr_index"], rtol=1e-12)
    np.testing.assert_allclose(b["close"], a["close"], rtol=1e-12)
    mine = b.filter(pl.col("instrument_id") == "XNYS:EU").sort("date")
    assert mine["local_currency"].to_list()[99:101] == ["EUR", None]
