from __future__ import annotations

import subprocess
import sys
from datetime import UTC, date, datetime

import polars as pl
import pytest

from wealthos_pipeline.core.data import contract
from wealthos_pipeline.core.errors import ConfigError
from wealthos_pipeline.data import sources
from wealthos_pipeline.data.processors import instruments, prices, series
from wealthos_pipeline.data.sources import sample
from wealthos_pipeline.utils.config import Settings, SourceSettings

NOW = datetime(2026, 1, 2, tzinfo=UTC)


@pytest.fixture(scope="module")
def frames(calendar):
    return sources.get(Settings(source=SourceSettings())).fetch(
        sources.Request(None, None, NOW, calendar)
    )


def test_twenty_stocks_five_funds_two_indices_and_oil(frames):
    count = dict(frames.instruments.group_by("asset_class").agg(pl.len()).rows())
    assert count == {"equity": 20, "cross_asset": 8}
    stocks = frames.prices.filter(pl.col("symbol").is_in(list(sample.STOCKS)))
    assert stocks.height == 20 * 8313
    assert (stocks["date"].min(), stocks["date"].max()) == (date(1990, 1, 2), date(2022, 12, 28))
    assert set(frames.prices["symbol"]) == set(frames.instruments["symbol"])
    assert frames.instruments.filter(pl.col("asset_class") == "equity")["sector"].null_count() == 0


def test_prices_are_those_of_the_package(frames):
    """Against the package's own reader (pandas), which the source does not use."""
    from skfolio.datasets import load_factors_dataset, load_sp500_dataset, load_sp500_index

    for load in (load_sp500_dataset, load_factors_dataset, load_sp500_index):
        wide = load()
        for symbol in wide.columns:
            mine = frames.prices.filter(pl.col("symbol") == symbol).sort("date")
            assert mine["close"].to_list() == wide[symbol].dropna().to_list()


def test_the_two_packages_agree_on_the_index(frames):
    from arch.data import sp500

    theirs = sp500.load()["Close"]
    mine = frames.prices.filter(pl.col("symbol") == "SP500").select("date", "close")
    other = pl.DataFrame({"date": [d.date() for d in theirs.index], "other": theirs.to_list()})
    both = mine.join(other, on="date")
    assert both.height == 5031
    assert both.select((pl.col("close") - pl.col("other")).abs().max()).item() < 0.02


def test_nothing_is_invented(frames):
    stocks = frames.prices.filter(pl.col("symbol").is_in([*sample.STOCKS, *sample.ETFS]))
    for absent in ("open", "high", "low", "volume", "dividend", "split_ratio"):
        assert stocks[absent].null_count() == stocks.height
    assert stocks.filter(pl.col("close") != pl.col("adj_close")).height == 0
    assert set(stocks["basis_vintage"]) == {date(2022, 12, 28)}
    index = frames.prices.filter(pl.col("symbol").is_in(list(sample.INDICES)))
    assert index["adj_close"].null_count() == index.height  # a price index is not adjusted
    assert index["basis_vintage"].null_count() == index.height
    assert frames.prices["volume"].null_count() == frames.prices.height
    assert frames.membership.height == 0


def test_series_have_the_months_that_the_text_says(frames):
    """The risk-free file writes 192607: read as a number of nanoseconds it would be 1970."""
    span = {
        (s, t): (a, b, n)
        for s, t, a, b, n in frames.series.group_by("series", "tenor")
        .agg(pl.col("date").min().alias("a"), pl.col("date").max().alias("b"), pl.len())
        .iter_rows()
    }
    assert span["risk_free", "1M"] == (date(1926, 7, 31), date(2018, 11, 30), 1109)
    assert span["moody_yield", "AAA"] == (date(1919, 1, 31), date(2018, 12, 31), 1200)
    assert span["vix", ""][:2] == (date(2014, 1, 3), date(2019, 1, 3))
    assert {"wti", "sp500_price_index", "nasdaq_price_index"} <= {s for s, _ in span}
    crash = frames.series.filter(
        (pl.col("series") == "sp500_price_index") & (pl.col("date") == date(2008, 10, 15))
    )
    assert crash["value"].item() == pytest.approx(907.84)


def test_all_of_it_is_clean(frames, calendar):
    registry = instruments.clean(frames.instruments, frames.prices, calendar=calendar)
    out = prices.clean(frames.prices, registry, calendar, now=NOW)
    assert out.quarantine.height == 0
    assert out.prices.height == frames.prices.height
    assert series.rejected(frames.series, calendar, now=NOW).height == 0
    apple = out.prices.filter(pl.col("instrument_id") == "XNYS:AAPL")
    assert apple["tr_index"][-1] == pytest.approx(125.674 / 0.264, rel=1e-12)


def test_a_request_is_cut_to_its_dates(calendar):
    source = sources.get(Settings(source=SourceSettings()))
    asked = sources.Request(
        date(2010, 1, 4), date(2012, 12, 31), NOW, calendar, since=date(2011, 6, 1)
    )
    cut = source.fetch(asked)
    for frame in (cut.prices, cut.series):
        assert frame["date"].min() >= date(2011, 6, 1)
        assert frame["date"].max() <= date(2012, 12, 31)
    assert set(cut.prices["fetched_at"]) == {NOW}


def test_licence_provenance_biases_and_gaps_are_told():
    info = sources.get(Settings(source=SourceSettings())).info()
    assert "BSD 3-Clause" in info.licence
    assert "NCSA" in info.licence
    assert {b.name for b in info.biases} >= {"survivorship", "back_adjustment", "price_index"}
    assert any(b.title == "20 survivors chosen in hindsight" for b in info.biases)
    assert {"volume", "high", "low", "open", "yield_curve", "market_cap"} <= set(info.missing)
    nullable = {c.name for c in contract("raw.prices").columns if c.nullable}
    assert {"open", "high", "low", "volume", "dividend", "split_ratio"} <= nullable & set(
        info.missing
    )


def test_neither_package_is_imported():
    code = (
        "import sys; from wealthos_pipeline.data.sources.sample import SampleSource, _series\n"
        "_series(); SampleSource().info()\n"
        "assert not {'skfolio', 'arch', 'pandas', 'sklearn'} & set(sys.modules), 'heavy'"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_unknown_source_names_those_that_exist():
    with pytest.raises(ConfigError, match=r"alpha_vantage, files, .*sample, treasury"):
        sources.get(Settings(source=SourceSettings(name="bloomberg")))
    for source in (sources.get(Settings(source=SourceSettings())),):
        assert isinstance(source, sources.Source)
