"""The three properties of time, incremental = full, and what rows come out."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest
import synthetic

from wealthos_pipeline import factors
from wealthos_pipeline.core.asset import AssetClass
from wealthos_pipeline.core.data import contract
from wealthos_pipeline.core.errors import FactorError
from wealthos_pipeline.core.factor import Factor
from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.factors.admission import leaks
from wealthos_pipeline.factors.engine import compute, compute_all, evaluate
from wealthos_pipeline.factors.library import Family, Library
from wealthos_pipeline.factors.panel import known_by_slot

CROSS_ASSETS = ("SYN30", "SYN32", "SYN33")
"""Synthetic instruments declared as cross-asset ones here."""

CUTS = [date(2017, 5, 10), date(2018, 11, 23), date(2019, 6, 3)]
"""The second one is a half day."""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Library:
    return factors.load(("core",), tmp_path_factory.mktemp("own"))


@pytest.fixture(scope="module")
def instruments(synthetic_prices: pl.DataFrame) -> pl.DataFrame:
    kind = pl.when(pl.col("instrument_id").is_in(CROSS_ASSETS))
    return (
        synthetic_prices.group_by("instrument_id")
        .agg(valid_from=pl.col("date").min())
        .with_columns(asset_class=kind.then(pl.lit("cross_asset")).otherwise(pl.lit("equity")))
        .with_columns(sector=pl.lit("S") + pl.col("instrument_id").str.slice(-1))
        .sort("instrument_id")
    )


@pytest.fixture(scope="module")
def series(synthetic_raw: synthetic.RawMarket) -> pl.DataFrame:
    """``clean.series``: the raw values, known when they were fetched in the test's market."""
    days = TradingCalendar().frame().select("date", close="known_at")
    raw = synthetic_raw.series.sort("date").join_asof(
        days, on="date", strategy="backward", check_sortedness=False
    )
    late = pl.when(pl.col("frequency") == "month").then(timedelta(days=5)).otherwise(timedelta(0))
    return contract("clean.series").conform(
        raw.with_columns(known_at=pl.col("close") + late, basis=pl.lit("assumed")).select(
            contract("clean.series").column_names
        )
    )


@pytest.fixture(scope="module")
def whole(
    library: Library, synthetic_prices: pl.DataFrame, series: pl.DataFrame,
    instruments: pl.DataFrame, calendar: TradingCalendar,
) -> dict[str, pl.DataFrame]:  # fmt: skip
    return compute_all(
        library.families(), synthetic_prices, series, instruments=instruments, calendar=calendar
    )


def test_every_family_has_values_where_its_history_allows(whole, library) -> None:
    long = {"reversal_36_12", "same_month_3y", "residual_momentum_12_1"}
    for family in library.families():
        frame = whole[family.table]
        for f in family.factors:
            known = frame[f.name].drop_nulls()
            assert len(known) > (50 if f.name in long else 200), f.name
            assert known.is_finite().all()
            assert known.n_unique() > 5, f.name


def test_rows_are_bars_of_the_class_and_sessions_of_the_series(
    whole, synthetic_prices, instruments
) -> None:
    kinds = dict(instruments.select("instrument_id", "asset_class").iter_rows())
    bars = synthetic_prices.select("date", "instrument_id")
    equity = bars.filter(~pl.col("instrument_id").is_in(CROSS_ASSETS))
    for table, frame in whole.items():
        keys = frame.select("date", "instrument_id")
        assert keys.equals(keys.sort("date", "instrument_id"))
        if table.startswith("factors.equity"):
            assert keys.equals(equity.sort("date", "instrument_id"))
    trend = whole["factors.cross_asset_trend"]
    assert set(trend["instrument_id"]) == set(CROSS_ASSETS)
    assert kinds["SYN00"] == "equity"
    assert set(whole["factors.fixed_income_curve"]["instrument_id"]) == {"series:ust_par"}
    assert set(whole["factors.fixed_income_credit"]["instrument_id"]) == {"series:moody_yield"}
    assert set(whole["factors.cross_asset_risk"]["instrument_id"]) == {
        "series:vix", "series:ust_par", "series:wti",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("start", "threads", "cells"),
    [
        (date(2019, 8, 1), 1, 65_536),
        (date(2019, 7, 6), 2, 3_000),
        (date(2019, 1, 2), 2, 1),
        (date(2017, 2, 1), 1, 10_000),
    ],
)
def test_incremental_equals_full_bit_for_bit(
    start, threads, cells, whole, library, synthetic_prices, series, instruments, calendar
) -> None:
    shuffled = synthetic_prices.sample(fraction=1, shuffle=True, seed=threads)
    for family in library.families():
        back = calendar.offset(start, -family.lookback - (0 if calendar.is_session(start) else -1))
        part = compute(
            family, shuffled.filter(pl.col("date") >= back),
            series.filter(pl.col("date") >= back - timedelta(days=45)),
            instruments=instruments, calendar=calendar, start=start, threads=threads,
            block_cells=cells,
        )  # fmt: skip
        assert part.equals(whole[family.table].filter(pl.col("date") >= start)), family.table


def test_numba_threads_change_no_bit(
    whole, library, synthetic_prices, instruments, calendar
) -> None:
    import numba

    before = numba.get_num_threads()
    family = library.family(AssetClass.EQUITY, "volatility")
    try:
        for n in {1, before}:
            numba.set_num_threads(n)
            again = compute(family, synthetic_prices, None, instruments=instruments,
                            calendar=calendar, block_cells=2_000)  # fmt: skip
            assert again.equals(whole[family.table])
    finally:
        numba.set_num_threads(before)


def test_nothing_looks_ahead(library, synthetic_prices, series, instruments, calendar) -> None:
    for family in library.families():
        assert leaks(family, synthetic_prices, series, instruments=instruments,
                     calendar=calendar, cuts=CUTS) == {}  # fmt: skip


def peeking(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.select(
        "date", "instrument_id",
        value=pl.col("close").shift(-1).over("instrument_id", order_by="date") / pl.col("close") - 1,
    )  # fmt: skip


def normalised_by_everything(frame: pl.DataFrame) -> pl.DataFrame:
    z = (pl.col("close") - pl.col("close").mean().over("instrument_id")) / 10
    return frame.select("date", "instrument_id", value=z)


def honest(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.select("date", "instrument_id", value=pl.col("high") / pl.col("low") - 1)


@pytest.mark.parametrize("leak", [peeking, normalised_by_everything])
def test_a_planted_leak_is_caught(leak: Callable[[pl.DataFrame], pl.DataFrame],
                                  synthetic_prices, calendar) -> None:  # fmt: skip
    family = own_family(leak)
    found = leaks(family, synthetic_prices, None, calendar=calendar, cuts=CUTS[:1])
    assert set(found) == {"f"}
    assert "2017-05-10" in found["f"]


def test_a_series_used_before_it_was_known_is_caught(
    library, synthetic_prices, series, calendar
) -> None:
    """The average of a month stamped as known on its last day: the check sees the difference."""
    family = library.family(AssetClass.FIXED_INCOME, "credit")
    early = series.with_columns(
        known_at=pl.when(pl.col("frequency") == "month")
        .then(pl.col("known_at") - timedelta(days=12)).otherwise(pl.col("known_at"))
    )  # fmt: skip
    honest_values = compute(family, synthetic_prices, series, calendar=calendar)
    leaking = compute(family, synthetic_prices, early, calendar=calendar)
    assert not honest_values.equals(leaking)
    end = date(2018, 5, 31)
    then = honest_values.filter(pl.col("date").is_between(end, end + timedelta(days=4)))
    value = series.filter((pl.col("series") == "moody_yield") & (pl.col("date") == end))
    aaa, baa = (value.filter(pl.col("tenor") == t)["value"].item() for t in ("AAA", "BAA"))
    assert all(not math.isclose(v, baa - aaa, rel_tol=1e-6) for v in then["credit_spread"])
    after = honest_values.filter(pl.col("date") == date(2018, 6, 7))["credit_spread"].item()
    assert math.isclose(after, baa - aaa, rel_tol=1e-6)


def own_family(function: Callable[[pl.DataFrame], pl.DataFrame], lookback: int = 0) -> Family:
    factor = Factor(
        "f", AssetClass.EQUITY, "own", 1, "f", "own", function=function, lookback=lookback
    )
    return Family(AssetClass.EQUITY, "own", (factor,))


def test_a_python_function_sees_the_adjusted_panel(synthetic_prices, calendar) -> None:
    out = compute(own_family(honest), synthetic_prices, None, calendar=calendar)
    expected = synthetic_prices.sort("date", "instrument_id")["high"] / synthetic_prices.sort(
        "date", "instrument_id")["low"] - 1  # fmt: skip
    assert out["f"].null_count() == expected.null_count() > 0
    assert (out["f"].cast(pl.Float64) - expected).abs().max() < 1e-6


def nothing(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.select("date", "instrument_id")


def everything_twice(frame: pl.DataFrame) -> pl.DataFrame:
    return pl.concat([honest(frame), honest(frame)])


@pytest.mark.parametrize(
    ("function", "words"),
    [(nothing, "expected a frame with date, instrument_id, value"), (everything_twice, "several")],
)
def test_a_python_function_that_gives_something_else(
    function, words, synthetic_prices, calendar
) -> None:
    with pytest.raises(FactorError, match=words):
        compute(own_family(function), synthetic_prices, None, calendar=calendar)


def scaled(prices: pl.DataFrame, factor: float) -> pl.DataFrame:
    """The same history quoted in another unit: prices × factor, volume / factor."""
    quoted = pl.col("open", "high", "low", "close", "dividend") * factor
    return prices.with_columns(quoted, pl.col("volume") / factor)


@pytest.mark.parametrize("k", [-7, 3])
def test_no_basis_powers_of_two_change_no_bit(
    k, whole, library, synthetic_prices, series, instruments, calendar
) -> None:
    frame = scaled(synthetic_prices, 2.0**k).with_columns(pl.col("tr_index") * 2.0**k)
    out = compute_all(library.families(), frame, series, instruments=instruments, calendar=calendar)
    for table, values in out.items():
        assert values.equals(whole[table]), table


def test_no_basis_other_constants_change_nothing_that_matters(
    whole, library, synthetic_prices, series, instruments, calendar
) -> None:
    frame = scaled(synthetic_prices, 1.7).with_columns(pl.col("tr_index") * 0.3)
    out = compute_all(library.families(), frame, series, instruments=instruments, calendar=calendar)
    for family in library.families():
        before = whole[family.table]
        for f in family.factors:
            a, b = before[f.name], out[family.table][f.name]
            assert a.is_null().equals(b.is_null()), f.name
            size = max(float(a.abs().median() or 0), 1e-3)
            assert float((a.cast(pl.Float64) - b).abs().max()) <= 2e-6 * max(
                size, float(a.abs().max())
            ), f.name


def test_renaming_instruments_permutes_the_result(
    whole, library, synthetic_prices, instruments, calendar
) -> None:
    names = synthetic_prices["instrument_id"].unique().sort().to_list()
    renamed = dict(zip(names, [f"X{(7 * i) % 40:02d}" for i in range(40)], strict=True))
    other = synthetic_prices.with_columns(pl.col("instrument_id").replace(renamed))
    listed = instruments.with_columns(pl.col("instrument_id").replace(renamed))
    for name in ("momentum", "technical"):
        family = library.family(AssetClass.EQUITY, name)
        out = compute(family, other, None, instruments=listed, calendar=calendar)
        expected = whole[family.table].with_columns(pl.col("instrument_id").replace(renamed))
        for f in family.factors:
            a = out.select("date", "instrument_id", f.name)
            b = expected.select("date", "instrument_id", f.name).sort("date", "instrument_id")
            if f.expression and "$market_ret" in f.expression:
                # the market's mean is summed in another order
                assert (a[f.name] - b[f.name]).abs().max() < 1e-4
            else:
                assert a.equals(b), f.name


def test_momentum_is_what_it_says(whole, synthetic_prices, calendar) -> None:
    frame = whole["factors.equity_momentum"]
    tr = {(r[0], r[1]): r[2] for r in
          synthetic_prices.select("instrument_id", "date", "tr_index").iter_rows()}  # fmt: skip
    checked = 0
    for day, name, value in frame.select("date", "instrument_id", "momentum_12_1")[
        ::97
    ].iter_rows():
        a, b = (tr.get((name, calendar.offset(day, -n))) for n in (21, 252))
        if value is None:
            assert a is None or b is None
        else:
            assert math.isclose(value, a / b - 1, rel_tol=1e-6, abs_tol=1e-7)
            checked += 1
    assert checked > 100


def test_beta_regresses_on_the_mean_of_the_names_present(whole, synthetic_prices, calendar) -> None:
    equity = synthetic_prices.filter(~pl.col("instrument_id").is_in(CROSS_ASSETS))
    days = calendar.sessions(date(2016, 1, 4), date(2019, 8, 1))
    grid = equity.pivot("instrument_id", index="date", values="tr_index").sort("date")
    names = [c for c in grid.columns if c != "date"]
    tr = grid.select(names).fill_null(math.nan).to_numpy()
    assert grid["date"].to_list() == days
    ret = np.full_like(tr, np.nan)
    ret[1:] = tr[1:] / tr[:-1] - 1
    market = np.array([np.nanmean(r) if np.isfinite(r).any() else np.nan for r in ret])
    frame = whole["factors.equity_beta"]
    for name in ("SYN00", "SYN07", "SYN20"):
        y = ret[:, names.index(name)]
        rows = frame.filter((pl.col("instrument_id") == name) & pl.col("beta_252").is_not_null())
        assert rows.height > 100
        for day, value in rows.select("date", "beta_252")[::61].iter_rows():
            t = days.index(day)
            u, v = y[max(0, t - 251) : t + 1], market[max(0, t - 251) : t + 1]
            both = np.isfinite(u) & np.isfinite(v)
            expected = np.polyfit(v[both], u[both], 1)[0]
            assert math.isclose(value, expected, rel_tol=1e-5)


def test_fields_are_forward_adjusted(synthetic_prices, calendar) -> None:
    out = evaluate(
        {"close": "$close", "high": "$high", "volume": "$volume", "raw": "$raw_high",
         "money": "$dollar_volume"},
        synthetic_prices, calendar=calendar,
    )  # fmt: skip
    rows = synthetic_prices.sort("date", "instrument_id")
    pairs = {
        "close": rows["tr_index"],
        "high": rows["high"] * rows["tr_index"] / rows["close"],
        "volume": rows["volume"] / rows["split_index"],
        "raw": rows["high"],
        "money": rows["dollar_volume"],
    }
    for name, expected in pairs.items():
        assert out[name].null_count() == expected.null_count()
        assert (out[name].cast(pl.Float64) / expected - 1).abs().max() < 1e-6


def test_what_is_not_there_is_null_and_said(
    library, synthetic_prices, instruments, calendar
) -> None:
    closes = synthetic_prices.with_columns(
        pl.lit(None, pl.Float64).alias(c)
        for c in ("open", "high", "low", "volume", "dollar_volume")
    )
    out = compute_all(library.families(), closes, None, instruments=instruments, calendar=calendar)
    assert out["factors.fixed_income_curve"].is_empty()
    assert out["factors.equity_liquidity"]["amihud_252"].is_null().all()
    assert out["factors.equity_liquidity"]["zero_return_days_252"].is_not_null().any()
    reasons = library.missing_reasons({"close", "tr_index", "split_index"}, set())
    for table, frame in out.items():
        for name in frame.columns[2:]:
            assert (name in reasons) == frame[name].is_null().all(), (table, name)
    assert "dollar_volume" in reasons["amihud_252"]
    assert "ust_par 10Y" in reasons["curve_slope"]


def test_series_stand_for_ten_days_or_forty_five(calendar) -> None:
    stamp = calendar.known_at
    base = {"series": "s", "tenor": "", "unit": "percent", "source": "t", "basis": "assumed"}
    rows = [
        {**base, "date": date(2020, 1, 31), "value": 1.0, "frequency": "month", "known_at": stamp(date(2020, 2, 5))},
        {**base, "date": date(2020, 2, 29), "value": 2.0, "frequency": "month", "known_at": stamp(date(2020, 3, 5))},
        # an old month that was revised late does not replace a newer one
        {**base, "date": date(2019, 12, 31), "value": 9.0, "frequency": "month", "known_at": stamp(date(2020, 3, 9))},
    ]  # fmt: skip
    frame = pl.DataFrame(rows, schema=contract("clean.series").schema())
    first, last = calendar.slot(date(2020, 1, 31)), calendar.slot(date(2020, 5, 1))
    known = known_by_slot(frame, "s", "", calendar, first, last)
    values = {calendar.date_of(first + i): v for i, v in enumerate(known)}
    assert math.isnan(values[date(2020, 2, 4)])
    assert values[date(2020, 2, 5)] == values[date(2020, 3, 4)] == 1.0
    assert values[date(2020, 3, 5)] == values[date(2020, 3, 9)] == values[date(2020, 4, 14)] == 2.0
    assert math.isnan(values[date(2020, 4, 15)])
    daily = frame.with_columns(frequency=pl.lit("day"))
    known = known_by_slot(daily, "s", "", calendar, first, last)
    values = {calendar.date_of(first + i): v for i, v in enumerate(known)}
    assert values[date(2020, 2, 10)] == 1.0
    assert math.isnan(values[date(2020, 2, 11)])


def test_a_suspension_does_not_look_like_a_listing(calendar) -> None:
    """Comparisons in a gap count as false, so it must be known that the instrument is older."""
    days = calendar.sessions(date(2020, 1, 2), date(2020, 3, 31))
    kept = [*days[:5], *days[30:]]
    bars = pl.DataFrame(
        {"instrument_id": "A", "date": kept, "tr_index": [1.0 + 0.01 * i for i in range(len(kept))]}
    )
    listed = pl.DataFrame(
        {"instrument_id": ["A"], "asset_class": ["equity"], "valid_from": [days[0]]}
    )
    f = Factor("f", AssetClass.EQUITY, "t", 1, "f", "", "Mean($close > 0, 20)")
    family = Family(AssetClass.EQUITY, "t", (f,))
    full = compute(family, bars, None, instruments=listed, calendar=calendar)
    start = days[35]
    part = compute(family, bars.filter(pl.col("date") >= calendar.offset(start, -19)), None,
                   instruments=listed, calendar=calendar, start=start)  # fmt: skip
    assert part.equals(full.filter(pl.col("date") >= start))
    assert part["f"][0] == pytest.approx(6 / 20)


def test_bad_panels_are_refused_in_words(synthetic_prices, calendar, library) -> None:
    family = library.family(AssetClass.EQUITY, "reversal")
    twice = pl.concat([synthetic_prices, synthetic_prices[:3]])
    with pytest.raises(FactorError, match="3 instrument-dates have more than one bar"):
        compute(family, twice, None, calendar=calendar)
    odd = synthetic_prices.drop("slot").with_columns(pl.lit(date(2018, 7, 4)).alias("date"))[:1]
    with pytest.raises(FactorError, match="not sessions of XNYS: 2018-07-04"):
        compute(family, odd, None, calendar=calendar)


def test_thin_panels_give_rows_and_nulls(library, calendar, synthetic_prices, instruments) -> None:
    families = library.families()
    listed = instruments.with_columns(asset_class=pl.lit("equity"))
    none = compute_all(
        families, synthetic_prices.clear(), None, instruments=listed, calendar=calendar
    )
    assert all(f.is_empty() for f in none.values())
    day = synthetic_prices.filter(pl.col("date") == date(2018, 7, 5))
    one = compute_all(families, day, None, instruments=listed, calendar=calendar)
    assert one["factors.equity_momentum"].height == day.height
    assert one["factors.equity_momentum"]["momentum_12_1"].is_null().all()
    many = pl.concat([day[:1].with_columns(instrument_id=pl.lit(f"N{i}")) for i in range(500)])
    out = compute(library.family(AssetClass.EQUITY, "beta"), many, None, calendar=calendar)
    assert out.height == 500
