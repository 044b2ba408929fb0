from __future__ import annotations

from datetime import date, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vendor import Vendor

from wealthos_pipeline.core.data import contract
from wealthos_pipeline.core.errors import ContractError
from wealthos_pipeline.data.processors import instruments, prices, raw, row_rules
from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.data.processors.prices import Flag

PRICES = contract("raw.prices")
SPLITS = {"S0": {60: 2.0}, "S2": {30: 0.1, 110: 3.0}}
DIVIDENDS = {"S0": {40: 0.7, 100: 0.9}, "S1": {75: 1.5}, "S2": {80: 2.0}}


def bits(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.select(
        "instrument_id",
        "date",
        pl.col("tr_index", "split_index", "close").reinterpret(signed=False),
        "flags",
        "known_at",
        "basis",
    )


def incremental(rows, registry, calendar, now, cut: date, whole: pl.DataFrame) -> pl.DataFrame:
    begin = prices.context_start(cut, calendar)
    return prices.clean(
        rows.filter(pl.col("date") >= begin),
        registry,
        calendar,
        now=now,
        previous=prices.last_rows(whole, cut),
        start=cut,
    ).prices


@pytest.mark.parametrize("kind", ["traded", "adjusted"])
def test_total_return_is_that_of_a_holder_who_reinvests(vendor, registry, calendar, now, kind):
    v = vendor(splits=SPLITS, dividends=DIVIDENDS)
    rows = getattr(v, kind)(v.sessions - 1)
    out = prices.clean(rows, registry(v), calendar, now=now).prices
    for symbol in v.symbols:
        mine = out.filter(pl.col("instrument_id") == f"XNYS:{symbol}")
        oracle = v.growth(symbol)
        assert mine["date"].to_list() == list(oracle)
        np.testing.assert_allclose(mine["tr_index"], list(oracle.values()), rtol=1e-11)


def test_split_index_counts_shares_where_prices_are_traded(vendor, registry, calendar, now):
    v = vendor(splits=SPLITS)
    out = prices.clean(v.traded(v.sessions - 1), registry(v), calendar, now=now).prices
    last = out.filter(pl.col("instrument_id") == "XNYS:S2").sort("date")
    assert last["split_index"][0] == 1.0
    assert last["split_index"][-1] == pytest.approx(0.3, rel=1e-12)
    adjusted = prices.clean(v.adjusted(v.sessions - 1), registry(v), calendar, now=now).prices
    assert set(adjusted["split_index"]) == {1.0}  # inside the prices already


@settings(max_examples=9, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    cut=st.integers(1, 158),
    fetches=st.lists(st.integers(5, 158), max_size=3),
)
def test_continuing_from_stored_rows_gives_the_bits_of_a_full_computation(seed, cut, fetches):
    calendar = TradingCalendar("XNYS", 30)
    v = _vendor(seed, calendar)
    rows = v.history(sorted({*fetches, v.sessions - 1}))
    registry = instruments.clean(v.instruments(), rows, calendar=calendar)
    now = v.known(v.sessions - 1)
    whole = prices.clean(rows, registry, calendar, now=now).prices
    day = v.days[cut]
    part = incremental(rows, registry, calendar, now, day, whole)
    assert bits(part).equals(bits(whole.filter(pl.col("date") >= day)))


def _vendor(seed, calendar):
    return Vendor(seed, calendar, splits=SPLITS, dividends=DIVIDENDS)


@pytest.mark.parametrize("overlap", [None, 15])
@pytest.mark.parametrize("digits", [None, 3])
def test_a_rebased_history_repaints_nothing(vendor, registry, calendar, now, overlap, digits):
    """Splits, dividends and listings after t do not change a bit of t."""
    v = vendor(splits=SPLITS, dividends=DIVIDENDS, digits=digits)
    fetches = [50, 55, 70, 90, 120, v.sessions - 1]
    known = registry(v)
    before = None
    for n in range(1, len(fetches) + 1):
        rows = v.history(fetches[:n], overlap)
        after = prices.clean(rows, known, calendar, now=now).prices
        assert set(after["basis"]) == {"assumed"}
        if before is not None:
            day = before["date"].max()
            assert bits(after.filter(pl.col("date") <= day)).equals(bits(before))
        before = after
    oracle = v.growth("S0")
    mine = before.filter(pl.col("instrument_id") == "XNYS:S0")
    np.testing.assert_allclose(
        mine["tr_index"], list(oracle.values()), rtol=1e-11 if digits is None else 2e-3
    )
    # closes stay as first seen, and the change of basis is recorded as the split it was
    assert mine["split_index"][-1] == pytest.approx(2.0, rel=1e-3)


@pytest.mark.parametrize("digits", [None, 3])
def test_a_history_that_is_fetched_again_repaints_nothing(vendor, registry, calendar, now, digits):
    """The recent bars come unchanged, those before the last event in another basis: no correction."""
    v = vendor(splits=SPLITS, dividends=DIVIDENDS, digits=digits)
    rows = v.history([50, 55, 70, 90, 120, v.sessions - 1], overlap=15)
    again = raw.new_rows(rows, v.adjusted(v.sessions - 1), contract("raw.prices")).with_columns(
        (pl.col("fetched_at") + timedelta(days=1)).alias("fetched_at")
    )
    assert 0 < again.height < v.adjusted(v.sessions - 1).height
    known = registry(v)
    before, after = (
        prices.clean(r, known, calendar, now=now).prices for r in (rows, pl.concat([rows, again]))
    )
    assert set(after["basis"]) == {"assumed"}
    assert bits(after).equals(bits(before))


def test_a_correction_moves_the_index_from_its_date_and_says_when_it_was_known(
    vendor, registry, calendar, now
):
    v = vendor(dividends=DIVIDENDS)
    first = v.adjusted(120)
    day = v.days[100]
    target = first.filter((pl.col("symbol") == "S1") & (pl.col("date") <= day))["date"].max()
    hit = (pl.col("symbol") == "S1") & (pl.col("date") == target)
    stamp = v.known(120) + timedelta(days=1)
    second = first.with_columns(
        pl.when(hit)
        .then(pl.col("close", "adj_close", "open", "high", "low") * 1.02)
        .otherwise(pl.col("close", "adj_close", "open", "high", "low")),
        pl.lit(stamp).cast(pl.Datetime("us", "UTC")).alias("fetched_at"),
    )
    appended = raw.new_rows(first, second, PRICES)
    changed = appended.filter(hit)
    assert changed.height == 1
    assert appended.height <= 3  # with its two neighbours
    known = registry(v)
    old = prices.clean(first, known, calendar, now=now).prices
    new = prices.clean(pl.concat([first, appended]), known, calendar, now=now).prices
    fresh = prices.clean(second, known, calendar, now=now).prices
    assert bits(new.filter(pl.col("date") < target)).equals(
        bits(old.filter(pl.col("date") < target))
    )
    np.testing.assert_allclose(new["tr_index"], fresh["tr_index"], rtol=1e-13)
    mine = new.filter(pl.col("instrument_id") == "XNYS:S1", pl.col("date") >= target)
    assert set(mine["known_at"]) == {stamp}
    assert set(mine["basis"]) == {"observed"}
    assert mine["flags"][0] & Flag.RESTATED
    others = new.filter(pl.col("instrument_id") != "XNYS:S1")
    assert set(others["basis"]) == {"assumed"}


def test_a_correction_of_the_last_bar_alone_is_a_correction(vendor, registry, calendar, now):
    v = vendor()
    first = v.adjusted(80)
    last = first.filter(pl.col("symbol") == "S0")["date"].max()
    second = v.adjusted(81).with_columns(
        pl.when((pl.col("symbol") == "S0") & (pl.col("date") == last))
        .then(pl.col("adj_close") * 1.01)
        .otherwise("adj_close")
        .alias("adj_close")
    )
    rows = pl.concat([first, raw.new_rows(first, second, PRICES)])
    out = prices.clean(rows, registry(v), calendar, now=now).prices
    fresh = prices.clean(second, registry(v), calendar, now=now).prices
    np.testing.assert_allclose(out["tr_index"], fresh["tr_index"], rtol=1e-13)


def test_a_bar_that_came_late_is_known_from_its_fetch(vendor, registry, calendar, now):
    v = vendor()
    full = v.adjusted(100)
    day = full.filter(pl.col("symbol") == "S2")["date"][50]
    gone = (pl.col("symbol") == "S2") & (pl.col("date") == day)
    first = full.filter(~gone)
    stamp = v.known(101)
    late = full.with_columns(pl.lit(stamp).cast(pl.Datetime("us", "UTC")).alias("fetched_at"))
    rows = pl.concat([first, raw.new_rows(first, late, PRICES)])
    out = prices.clean(rows, registry(v), calendar, now=now).prices
    mine = out.filter(pl.col("instrument_id") == "XNYS:S2")
    assert mine.filter(pl.col("date") == day)["known_at"].item() == stamp
    assert set(mine.filter(pl.col("date") < day)["basis"]) == {"assumed"}
    early = raw.as_of(rows, stamp - timedelta(seconds=1), calendar)
    assert early.filter(gone).height == 0
    fresh = prices.clean(late, registry(v), calendar, now=now).prices
    np.testing.assert_allclose(out["tr_index"], fresh["tr_index"], rtol=1e-13)


@settings(max_examples=8, deadline=None)
@given(power=st.integers(-8, 8), seed=st.integers(0, 1000))
def test_scaling_a_history_by_a_power_of_two_changes_no_bit(power, seed):
    calendar = TradingCalendar("XNYS", 30)
    v = _vendor(seed, calendar)
    now = v.known(v.sessions - 1)
    for rows in (v.traded(v.sessions - 1), v.adjusted(v.sessions - 1)):
        registry = instruments.clean(v.instruments(), rows, calendar=calendar)
        money = pl.col("open", "high", "low", "close", "adj_close", "dividend")
        scaled = rows.with_columns(money * 2.0**power, pl.col("volume") * 2.0**-power)
        a = prices.clean(rows, registry, calendar, now=now).prices
        b = prices.clean(scaled, registry, calendar, now=now).prices
        index = ["tr_index", "split_index", "dollar_volume"]
        assert a.select(index).equals(b.select(index))


def test_the_order_of_rows_does_not_matter(vendor, registry, calendar, now):
    v = vendor(splits=SPLITS, dividends=DIVIDENDS)
    rows = v.history([50, 90, v.sessions - 1])
    a = prices.clean(rows, registry(v), calendar, now=now)
    b = prices.clean(
        rows.sample(fraction=1.0, shuffle=True, seed=3), registry(v), calendar, now=now
    )
    assert a.prices.equals(b.prices)


def test_computing_as_of_equals_computing_from_what_was_there(vendor, registry, calendar, now):
    """No peeking: as_of(T) against a store that physically holds only what was known at T."""
    v = vendor(splits=SPLITS, dividends=DIVIDENDS)
    fetches = [50, 90, 120, v.sessions - 1]
    rows = v.history(fetches)
    known = registry(v)
    for n, last in enumerate(fetches, start=1):
        instant = v.known(last) + timedelta(minutes=1)
        there = v.history(fetches[:n])
        a = prices.clean(raw.as_of(rows, instant, calendar), known, calendar, now=instant).prices
        b = prices.clean(there, known, calendar, now=instant).prices
        assert bits(a).equals(bits(b))
    instant = v.known(70)  # between fetches: bars by rule, nothing of later fetches
    seen = raw.as_of(rows, instant, calendar)
    assert seen["date"].max() == v.days[70]
    late = seen.filter(pl.col("date") <= v.days[50])
    assert set(late["fetched_at"]) == {v.known(50)}


def _row(day: date, close: float | None, fetched: datetime, **more) -> dict:
    return {
        "source": "vendor",
        "symbol": "S0",
        "date": day,
        "fetched_at": fetched,
        "close": close,
        **more,
    }


@pytest.mark.parametrize(
    ("rule", "row"),
    [
        ("not_a_session", {"date": date(2015, 6, 6), "close": 10.0}),  # a Saturday
        ("not_a_session", {"date": date(2015, 12, 25), "close": 10.0}),
        ("future_date", {"date": date(2027, 3, 1), "close": 10.0}),
        ("non_positive_price", {"close": -5.0}),
        ("non_positive_price", {"close": 0.0}),
        ("non_positive_price", {"close": 5.0, "adj_close": -1.0}),
        ("not_finite", {"close": float("inf")}),
        ("no_close", {"close": None, "volume": 100.0}),
        ("bad_split", {"close": 10.0, "split_ratio": -2.0}),
        ("bad_dividend", {"close": 10.0, "dividend": -1.0}),
        ("bad_dividend", {"close": 10.0, "dividend": 11.0}),
        ("unknown_instrument", {"symbol": "ZZZ", "close": 10.0}),
    ],
)
def test_a_bad_row_is_quarantined_by_name_and_the_chain_goes_over_it(calendar, rule, row):
    fetched = datetime.fromisoformat("2026-01-02T00:00:00+00:00")
    days = calendar.sessions(date(2015, 6, 1), date(2015, 6, 12))
    good = [_row(d, 100.0 + i, fetched) for i, d in enumerate(days) if i != 5]
    bad = {**_row(days[5], 1.0, fetched), **row}
    frame = PRICES.conform(
        pl.DataFrame([*good, bad], schema_overrides=PRICES.schema(), infer_schema_length=None)
    )
    described = pl.DataFrame(
        {"source": "vendor", "symbol": ["S0"], "name": [None], "asset_class": "equity", "sector": [None],
         "exchange": "XNYS", "currency": "USD", "fetched_at": [fetched]}
    )  # fmt: skip
    registry = instruments.clean(described, frame, calendar=calendar)
    out = prices.clean(frame, registry, calendar, now=fetched)
    assert out.quarantine["rule"].to_list() == [rule]
    assert out.quarantine["date"].to_list() == [bad["date"]]
    assert out.prices["date"].to_list() == [d for i, d in enumerate(days) if i != 5]
    assert out.prices["tr_index"][-1] == pytest.approx((100.0 + len(days) - 1) / 100.0)


def test_rows_without_any_value_are_no_rows(calendar, vendor, registry, now):
    v = vendor()
    rows = v.traded(20)
    nothing = rows.head(1).with_columns(
        pl.lit(v.days[25]).alias("date"),
        *(pl.lit(None, dtype=pl.Float64).alias(c) for c in row_rules.FIELDS),
    )
    out = prices.clean(pl.concat([rows, nothing]), registry(v), calendar, now=now)
    assert out.quarantine.height == 0
    assert out.prices["date"].max() == v.days[20]


def test_crossed_bars_keep_the_close_and_lose_the_rest(vendor, registry, calendar, now):
    v = vendor(names=2)
    rows = v.traded(30)
    symbol = pl.col("symbol") == "S0"
    days = rows.filter(symbol)["date"]
    bad = rows.with_columns(
        pl.when(symbol & (pl.col("date") == days[3]))
        .then(pl.col("low") * 0.9)
        .otherwise("high")
        .alias("high"),
        pl.when(symbol & (pl.col("date") == days[5]))
        .then(-5.0)
        .otherwise("volume")
        .alias("volume"),
        pl.when(symbol & (pl.col("date") == days[7]))
        .then(pl.col("close") * 1.003)
        .otherwise("low")
        .alias("low"),
    )
    out = prices.clean(bad, registry(v), calendar, now=now).prices.filter(
        pl.col("instrument_id") == "XNYS:S0"
    )
    crossed, volume, rounded = (
        out.filter(pl.col("date") == days[i]).row(0, named=True) for i in (3, 5, 7)
    )
    assert crossed["flags"] & Flag.CROSSED
    assert [crossed[n] for n in ("open", "high", "low")] == [None] * 3
    assert crossed["close"] > 0
    assert volume["flags"] & Flag.BAD_VOLUME
    assert volume["volume"] is None
    assert not rounded["flags"] & Flag.CROSSED  # within rounding of an adjusted price
    assert rounded["low"] is not None


def test_extreme_moves_and_gaps_are_flagged_and_kept(calendar, now):
    days = calendar.sessions(date(2015, 1, 5), date(2015, 9, 1))
    closes = {
        days[0]: 10.0,
        days[1]: 10.0,
        days[2]: 16.0,
        days[3]: 4.0,
        days[5]: 4.1,
        days[100]: 5.0,
    }
    rows = pl.DataFrame(
        [_row(d, c, now, volume=0.0 if d == days[1] else 5.0) for d, c in closes.items()]
    )
    frame = PRICES.conform(rows)
    described = pl.DataFrame(
        {"source": "vendor", "symbol": ["S0"], "name": [None], "asset_class": "equity", "sector": [None],
         "exchange": "XNYS", "currency": "USD", "fetched_at": [now]}
    )  # fmt: skip
    registry = instruments.clean(described, frame, calendar=calendar)
    flags = prices.clean(frame, registry, calendar, now=now).prices["flags"].to_list()
    assert flags[0] == 0
    assert flags[1] == Flag.ZERO_VOLUME
    assert flags[2] == Flag.EXTREME
    assert flags[3] == Flag.EXTREME | Flag.SPIKE_DOUBT
    assert flags[4] == Flag.GAP
    assert flags[5] == Flag.GAP | Flag.LONG_GAP


def test_after_a_long_pause_the_chain_continues_the_same_from_stored_rows(
    calendar, now, vendor, registry
):
    v = vendor(names=2, sessions=200, dividends={"S0": {5: 1.0, 150: 2.0}})
    pause = set(v.days[20:140])
    rows = v.adjusted(v.sessions - 1).filter(
        ~((pl.col("symbol") == "S0") & pl.col("date").is_in(list(pause)))
    )
    whole = prices.clean(rows, registry(v), calendar, now=now).prices
    for cut in (130, 139, 141, 150):
        part = incremental(rows, registry(v), calendar, now, v.days[cut], whole)
        assert bits(part).equals(bits(whole.filter(pl.col("date") >= v.days[cut])))


def test_continuing_without_the_bar_before_is_refused(vendor, registry, calendar, now):
    v = vendor()
    rows = v.adjusted(v.sessions - 1)
    whole = prices.clean(rows, registry(v), calendar, now=now).prices
    cut = v.days[100]
    with pytest.raises(ContractError, match="context_start"):
        prices.clean(
            rows.filter(pl.col("date") >= cut),
            registry(v),
            calendar,
            now=now,
            previous=prices.last_rows(whole, cut),
            start=cut,
        )
    with pytest.raises(ContractError, match="last_rows"):
        prices.clean(rows, registry(v), calendar, now=now, previous=None, start=cut)


@settings(max_examples=9, deadline=None)
@given(
    seed=st.integers(0, 1000),
    cut=st.integers(30, 158),
    wrong=st.lists(st.integers(5, 110), min_size=1, max_size=4, unique=True),
)
def test_continuing_after_corrections_gives_the_bits_of_a_full_computation(seed, cut, wrong):
    calendar = TradingCalendar("XNYS", 30)
    v = _vendor(seed, calendar)
    hit = pl.col("date").is_in([v.days[i] for i in wrong]) & (pl.col("symbol") != "S1")
    first = v.adjusted(115).with_columns(
        pl.when(hit)
        .then(pl.col("close", "adj_close") * 1.07)
        .otherwise(pl.col("close", "adj_close"))
    )
    rows = pl.concat([first, raw.new_rows(first, v.adjusted(120), PRICES)])
    rows = pl.concat([rows, raw.new_rows(rows, v.adjusted(v.sessions - 1), PRICES)])
    registry = instruments.clean(v.instruments(), rows, calendar=calendar)
    now = v.known(v.sessions - 1)
    whole = prices.clean(rows, registry, calendar, now=now).prices
    part = incremental(rows, registry, calendar, now, v.days[cut], whole)
    assert bits(part).equals(bits(whole.filter(pl.col("date") >= v.days[cut])))
    fresh = prices.clean(v.adjusted(v.sessions - 1), registry, calendar, now=now).prices
    np.testing.assert_allclose(whole["tr_index"], fresh["tr_index"], rtol=1e-11)
    later = whole.filter(pl.col("basis") == "observed")
    assert set(later["known_at"]) <= {v.known(120)}
