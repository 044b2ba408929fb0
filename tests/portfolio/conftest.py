"""One small market for the portfolio tests: 30 synthetic stocks, their views and risk models."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from portfolio_market import SECTORS, SETTINGS, Market

from wealthos_pipeline.core.portfolio import Mandate
from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.portfolio import backtest, risk


@pytest.fixture(scope="session")
def market(synthetic_prices: pl.DataFrame, calendar: TradingCalendar) -> Market:
    names = [f"SYN{i:02d}" for i in range(32)]
    prices = synthetic_prices.filter(pl.col("instrument_id").is_in(names))
    universe = prices.select("date", "instrument_id")
    rng = np.random.default_rng(11)
    z = rng.normal(size=prices.height)
    predictions = prices.select("date", "instrument_id").with_columns(
        pl.lit("ridge").alias("model"), pl.lit("walk_forward").alias("kind"), pl.Series("z", z)
    )
    live = predictions.filter(pl.col("date") == prices["date"].max()).with_columns(
        pl.lit("live").alias("kind")
    )
    days = prices["date"].unique().sort()
    evaluation = pl.DataFrame(
        {
            "model": ["ridge"] * len(days),
            "horizon": np.full(len(days), 20, dtype=np.int32),
            "date": days,
            "rank_ic": rng.normal(0.05, 0.2, size=len(days)),
            "known_at": [calendar.known_at(calendar.offset(d, 21)) for d in days],
        },
        schema_overrides={"known_at": pl.Datetime("us", "UTC")},
    )
    instruments = pl.DataFrame(
        {
            "instrument_id": names,
            "symbol": names,
            "sector": [SECTORS[i % 5] if i != 4 else None for i in range(len(names))],
            "valid_from": [days[0]] * len(names),
        }
    )
    dates = risk.estimation_dates(calendar, days[0], days[-1])
    models = risk.estimate(prices, universe, dates, calendar, SETTINGS)
    return Market(
        prices,
        universe,
        instruments,
        pl.concat([predictions, live]),
        evaluation,
        models,
        calendar,
        SETTINGS,
    )


@pytest.fixture(scope="session")
def core() -> Mandate:
    return Mandate(
        name="core",
        title="Core",
        max_weight=0.10,
        sector_max_weight=0.35,
        max_turnover=0.20,
        initial_nav=1_000_000.0,
    )


@pytest.fixture(scope="session")
def core_run(market: Market, core: Mandate) -> backtest.Backtest:
    return market.run(core)


@pytest.fixture(scope="session")
def benchmark_run(market: Market) -> backtest.Backtest:
    return market.run(backtest.EQUAL_WEIGHT)
