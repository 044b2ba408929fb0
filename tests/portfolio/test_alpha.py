"""Expected returns and the information coefficient behind them."""

from __future__ import annotations

from datetime import date

import numpy as np
import polars as pl
import pytest
from portfolio_market import Market

from wealthos_pipeline.portfolio import alpha
from wealthos_pipeline.utils.config import PortfolioSettings

DAY = date(2018, 3, 29)


def ic(market: Market, settings: PortfolioSettings, **changes: object) -> alpha.ShrunkIC:
    given = {
        "model": "ridge",
        "horizon": 20,
        "instant": market.calendar.known_at(DAY),
        **changes,
    }
    return alpha.shrunk_ic(market.evaluation, market.calendar, settings, **given)  # type: ignore[arg-type]


def test_ic_is_the_mean_of_what_was_known_shrunk_by_its_length(market: Market) -> None:
    settings = PortfolioSettings(ic_sessions=100, ic_prior_sessions=50.0)
    got = ic(market, settings)
    first = market.calendar.offset(DAY, -99)
    last = market.calendar.offset(DAY, -21)
    rows = market.evaluation.filter(pl.col("date").is_between(first, last))
    assert got.sessions == rows.height == 79
    assert got.raw == pytest.approx(rows["rank_ic"].mean(), abs=1e-15)
    assert got.value == pytest.approx(max(0.0, got.raw * 79 / 129), abs=1e-15)


def test_ic_ignores_what_became_known_later(market: Market) -> None:
    settings = PortfolioSettings()
    future = market.evaluation.with_columns(
        pl.when(pl.col("known_at") > market.calendar.known_at(DAY))
        .then(9.0)
        .otherwise(pl.col("rank_ic"))
        .alias("rank_ic")
    )
    want = ic(market, settings)
    got = alpha.shrunk_ic(
        future,
        market.calendar,
        settings,
        model="ridge",
        horizon=20,
        instant=market.calendar.known_at(DAY),
    )
    assert got == want


def test_negative_skill_and_no_record_give_zero(market: Market) -> None:
    settings = PortfolioSettings()
    bad = market.evaluation.with_columns((-pl.col("rank_ic").abs()).alias("rank_ic"))
    found = alpha.shrunk_ic(
        bad,
        market.calendar,
        settings,
        model="ridge",
        horizon=20,
        instant=market.calendar.known_at(DAY),
    )
    assert found.value == 0.0
    assert found.raw < 0
    assert ic(market, settings, model="nobody").value == 0.0
    assert ic(market, settings, horizon=5).sessions == 0


def test_expected_return_is_ic_times_volatility_times_score() -> None:
    z = np.array([1.0, -2.0, np.nan])
    got = alpha.expected_returns(z, np.array([0.01, 0.02, 0.03]), 0.05, 20)
    np.testing.assert_allclose(got, [0.05 * 0.01 * 20**0.5, -0.05 * 0.02 * 20**0.5 * 2, 0.0])
