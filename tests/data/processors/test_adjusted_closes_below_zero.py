"""A vendor's adjusted close that is no price: large special dividends make some of them negative."""

from __future__ import annotations

from datetime import UTC, date, datetime

import polars as pl
import pytest

from wealthos_pipeline.core.data import contract
from wealthos_pipeline.data.processors import instruments, prices
from wealthos_pipeline.data.processors.calendar import TradingCalendar

NOW = datetime(2024, 6, 3, 22, tzinfo=UTC)


@pytest.mark.parametrize("wrong", [-4.79, 0.0, float("inf")])
@pytest.mark.parametrize("events", [True, False])
def test_beside_events_the_bar_stays_and_without_them_it_does_not(calendar, wrong, events) -> None:
    days = calendar.sessions(date(2024, 5, 1), date(2024, 5, 31))
    adjusted = [wrong] * 5 + [40.0] * (len(days) - 5)
    rows = contract("raw.prices").conform(
        pl.DataFrame(
            {"source": "v", "symbol": "A", "date": days, "fetched_at": NOW, "currency": "USD",
             "close": [40.0 + i % 3 for i in range(len(days))], "adj_close": adjusted,
             "dividend": [0.0] * len(days), "split_ratio": [1.0] * len(days), "basis_vintage": days[-1]}
        ).with_columns(pl.when(events).then(n).alias(n) for n in ("dividend", "split_ratio"))
    )  # fmt: skip
    told = contract("raw.instruments").conform(
        pl.DataFrame({"source": ["v"], "symbol": ["A"], "fetched_at": [NOW], "asset_class": ["equity"],
                      "exchange": ["XNYS"], "currency": ["USD"]})
    )  # fmt: skip
    names = instruments.clean(told, rows, calendar=calendar)
    out = prices.clean(rows, names, calendar, now=NOW)
    assert out.prices["date"].to_list() == (days if events else days[5:])
    if events:
        growth = out.prices["tr_index"] / out.prices["close"] * out.prices["close"][0]
        assert growth.to_list() == pytest.approx([1.0] * len(days))


@pytest.fixture
def calendar() -> TradingCalendar:
    return TradingCalendar("XNYS")
