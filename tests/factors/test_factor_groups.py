"""Groups as described on the date, and what other instruments have."""

from __future__ import annotations

import logging
from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from wealthos_pipeline.core.asset import AssetClass
from wealthos_pipeline.core.errors import FactorError
from wealthos_pipeline.core.factor import Factor
from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.factors.engine import compute
from wealthos_pipeline.factors.groups import by_row, meant, numbers
from wealthos_pipeline.factors.library import Family

FIRST = date(2019, 1, 7)


@pytest.fixture(scope="module")
def days(calendar: TradingCalendar) -> list[date]:
    return calendar.sessions(FIRST, calendar.offset(FIRST, 39))


@pytest.fixture(scope="module")
def bars(days: list[date]) -> pl.DataFrame:
    rng = np.random.default_rng(4)
    rows = [
        (name, day, float(v))
        for name in ("A", "B", "C", "ETF")
        for day, v in zip(
            days, 100 * np.exp(np.cumsum(rng.normal(0, 0.01, len(days)))), strict=True
        )
        if not (name == "C" and day == days[20])
    ]
    frame = pl.DataFrame(rows, schema=["instrument_id", "date", "close"], orient="row")
    return frame.with_columns(tr_index=pl.col("close"), split_index=1.0)


@pytest.fixture(scope="module")
def instruments(days: list[date]) -> pl.DataFrame:
    rows = [
        ("A", days[0], "OLD", "Energy", "equity"), ("A", days[15], "NEW", "Utilities", "equity"),
        ("B", days[10], "BBB", "Energy", "equity"), ("B", days[25], "OLD", "Energy", "equity"),
        ("C", days[0], "CCC", None, "equity"), ("ETF", days[0], "SPY", None, "cross_asset"),
    ]  # fmt: skip
    schema = ["instrument_id", "valid_from", "symbol", "sector", "asset_class"]
    return pl.DataFrame(rows, schema=schema, orient="row").with_columns(exchange=pl.lit("XNYS"))


def run(
    text: str, bars: pl.DataFrame, instruments: pl.DataFrame | None, calendar: TradingCalendar,
    start: date | None = None,
) -> pl.DataFrame:  # fmt: skip
    family = Family(AssetClass.EQUITY, "t", (Factor("x", AssetClass.EQUITY, "t", 1, "", "", text),))
    out = compute(family, bars, None, instruments=instruments, calendar=calendar, start=start)
    return out.sort("date", "instrument_id")


def test_the_group_is_the_one_described_on_the_date(bars, instruments, days) -> None:
    number, count = numbers(bars, instruments, "sector")
    words = [*sorted(["Energy", "Utilities"]), "none"]
    found = dict(zip(bars.select("instrument_id", "date").iter_rows(),
                     [words[min(k, count)] for k in number], strict=True))  # fmt: skip
    assert count == 2
    assert found[("A", days[14])] == "Energy"
    assert found[("A", days[15])] == "Utilities"
    assert found[("B", days[0])] == "Energy"  # before its first description: the first one
    assert found[("C", days[30])] == "none"
    assert np.isnan(by_row(bars, instruments, "sector")[number == 2]).all()


def test_a_symbol_means_who_had_it_on_the_date(instruments, days) -> None:
    before = timedelta(days=1)
    assert meant("OLD", ["A", "B", "C"], instruments) == [
        ("A", date.min, days[0] - before),
        ("A", days[0], days[15] - before),
        ("B", days[25], date.max),
    ]
    assert meant("A", ["A", "B"], instruments) == [("A", date.min, date.max)]
    assert meant("ETF", [], instruments) == [("ETF", date.min, date.max)]
    assert meant("XXX", ["A"], instruments) == meant("SPY", ["A"], None) == []


def test_mask_follows_the_symbol_and_windows_follow_the_instrument(
    bars, instruments, days, calendar
) -> None:
    out = run("Mask(Mean($close, 5), 'OLD')", bars, instruments, calendar)
    own = run("Mean($close, 5)", bars, instruments, calendar)
    value = {(n, d): v for d, n, v in own.iter_rows()}
    for day, name, v in out.iter_rows():
        k = days.index(day)
        expected = value[("A", day)] if k < 15 else None if k < 25 else value[("B", day)]
        assert v == expected, (name, day)


def test_mask_reaches_instruments_of_other_classes(bars, instruments, calendar) -> None:
    for name in ("SPY", "ETF"):
        out = run(f"Beta($ret, Mask($ret, '{name}'), 10)", bars, instruments, calendar)
        wide = bars.pivot("instrument_id", index="date", values="close").sort("date")
        ret = wide.with_columns(pl.col(c) / pl.col(c).shift(1) - 1 for c in ("A", "ETF"))
        a, m = ret["A"].to_numpy(), ret["ETF"].to_numpy()
        found = out.filter(pl.col("instrument_id") == "A")["x"].to_list()
        for t in range(15, 40):
            w = slice(t - 9, t + 1)
            assert found[t] == pytest.approx(np.polyfit(m[w], a[w], 1)[0], rel=1e-5)


def test_mask_has_the_same_bits_wherever_it_starts(bars, instruments, days, calendar) -> None:
    for text in ("IdxMax($close, 7) - Mask(IdxMax($close, 7), 'OLD')", "Mask(Sum($close, 0), 'NEW')",
                 "Mask(CSRank(Mean($close, 4)), 'BBB')", "Mask(WMA($ret, 6), 'SPY')"):  # fmt: skip
        whole = run(text, bars, instruments, calendar)
        for k in (12, 24, 33):
            part = run(text, bars, instruments, calendar, start=days[k])
            assert part.equals(whole.filter(pl.col("date") >= days[k])), (text, k)


def test_a_name_that_nobody_has_is_null_and_told(bars, instruments, calendar, caplog) -> None:
    with caplog.at_level(logging.WARNING):
        out = run("$close / Mask($close, 'SPX')", bars, instruments, calendar)
    assert out["x"].null_count() == out.height
    assert "'SPX'; did you mean 'SPY'?" in caplog.text


def test_a_plain_table_says_its_groups_itself(bars, calendar) -> None:
    sectors = {"A": "x", "B": "x", "ETF": "y"}
    table = bars.with_columns(
        sector=pl.col("instrument_id").replace_strict(sectors, default=None, return_dtype=pl.String)
    )
    out = run("CSMean($close, sector)", table, None, calendar)
    both = out.filter(pl.col("instrument_id").is_in(["A", "B"])).group_by("date").agg("x")
    assert (both["x"].list.n_unique() == 1).all()
    assert out.filter(pl.col("instrument_id") == "C")["x"].null_count() == 39
    own = out.filter(pl.col("instrument_id") == "ETF").join(bars, on=["date", "instrument_id"])
    assert own["x"].equals(own["close"].cast(pl.Float32).rename("x"))


def test_groups_need_descriptions(bars, instruments, calendar) -> None:
    with pytest.raises(FactorError, match=r"a group by sector needs clean\.instruments"):
        run("CSRank($close, sector)", bars, None, calendar)
    with pytest.raises(FactorError, match="needs its column currency"):
        run("CSRank($close, currency)", bars, instruments, calendar)


def test_a_suspended_name_is_in_no_cross_section(bars, instruments, days, calendar) -> None:
    """Its five-day mean exists on the day, but it has no bar: the others are ranked among themselves."""
    out = run("CSRank(Mean($close, 5))", bars, instruments, calendar)
    on = out.filter(pl.col("date") == days[20])
    assert on["instrument_id"].to_list() == ["A", "B"]
    assert sorted(on["x"]) == [0.5, 1.0]
    later = run("Count(CSRank(Mean($close, 5)), 3)", bars, instruments, calendar)
    of_c = later.filter(pl.col("instrument_id") == "C", pl.col("date") == days[22])
    assert of_c["x"].item() == 2.0
