"""Blocks of dates: the same bits as all at once, whatever the budget."""

from __future__ import annotations

from datetime import date
from itertools import pairwise

import polars as pl
import pytest
import synthetic

from wealthos_pipeline import factors
from wealthos_pipeline.core.asset import AssetClass
from wealthos_pipeline.core.factor import Factor
from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.data.storage.lake import Lake
from wealthos_pipeline.factors import dated
from wealthos_pipeline.factors.engine import compute
from wealthos_pipeline.factors.library import Family

EXPRESSIONS = {
    "reversal": "-($close / Ref($close, 5) - 1)",
    "place": "IdxMax($high, 20) + Rank($close, 10)",
    "beta": "Beta($ret, $market_ret, 60)",
    "among": "CSRank(Std($ret, 21))",
    "smooth": "EMA($close, 10) / Quantile($close, 30, 0.2)",
}


@pytest.fixture(scope="module")
def family() -> Family:
    given = tuple(
        Factor(n, AssetClass.EQUITY, "own", 1, n, "", expression=text)
        for n, text in EXPRESSIONS.items()
    )
    return Family(AssetClass.EQUITY, "own", given)


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """A megabyte stands for this many rows: some 40 names over 600 sessions do not fit."""
    monkeypatch.setattr(dated, "MEGABYTE", 1 << 16)


@pytest.mark.parametrize("start", [None, date(2018, 3, 3), date(2019, 7, 29)])
@pytest.mark.parametrize("memory_mb", [1, 3, 1024])
def test_any_budget_gives_the_same_bits(
    memory_mb, start, tiny, family, synthetic_prices, calendar
) -> None:
    whole = compute(family, synthetic_prices, None, calendar=calendar, start=start)
    shuffled = synthetic_prices.sample(fraction=1, shuffle=True, seed=1)
    for prices in (synthetic_prices.sort("date", "instrument_id"), shuffled):
        blocks = list(
            factors.compute_blocks(
                family, prices, None, calendar=calendar, start=start, memory_mb=memory_mb
            )
        )
        assert pl.concat(blocks).equals(whole)
        if memory_mb == 1 and start is None:
            assert len(blocks) > 5
            most = max(b.height for b in blocks)
            assert most * 4 * len(EXPRESSIONS) <= 1 << 16
        if memory_mb == 3 and start is None:
            assert 1 < len(blocks) < 5
            ends = [b["date"].max().year != c["date"].min().year
                    for b, c in pairwise(blocks)]  # fmt: skip
            assert all(ends)


def test_nothing_to_compute_is_one_empty_block(family, synthetic_prices, calendar) -> None:
    (block,) = factors.compute_blocks(family, synthetic_prices.clear(), None, calendar=calendar)
    assert block.equals(family.contract.empty())


def test_the_lake_takes_the_blocks(tiny, tmp_path, family, synthetic_prices, calendar) -> None:
    whole, streamed = Lake(tmp_path / "whole"), Lake(tmp_path / "streamed")
    for lake in (whole, streamed):
        lake.register(family.contract)
    table = family.table
    a = whole.replace(table, compute(family, synthetic_prices, None, calendar=calendar))
    b = streamed.replace(
        table,
        factors.compute_blocks(family, synthetic_prices, None, calendar=calendar, memory_mb=1),
    )
    assert a == b
    assert streamed.read(table).equals(whole.read(table))


def test_series_have_their_rows_in_blocks_too(
    tiny, synthetic_prices, calendar: TradingCalendar, synthetic_raw: synthetic.RawMarket
) -> None:
    days = TradingCalendar().frame().select("date", "known_at")
    series = synthetic_raw.series.sort("date").join_asof(
        days, on="date", strategy="forward", check_sortedness=False
    )
    f = Factor("level", AssetClass.FIXED_INCOME, "own", 1, "f", "", "Mean(Series('vix'), 20)")
    family = Family(AssetClass.FIXED_INCOME, "own", (f,))
    whole = compute(family, synthetic_prices, series, calendar=calendar)
    assert whole.height > 500
    blocks = factors.compute_blocks(
        family, synthetic_prices, series, calendar=calendar, memory_mb=1
    )
    assert pl.concat(list(blocks)).equals(whole)
