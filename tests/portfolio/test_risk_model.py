"""The factor risk model: against direct computations, and the properties of time."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from datetime import date

import numpy as np
import polars as pl
import pytest
from portfolio_market import SETTINGS, Market
from threadpoolctl import threadpool_limits

from wealthos_pipeline.core.errors import PortfolioError
from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.portfolio import risk
from wealthos_pipeline.utils.config import PortfolioSettings

DAY = date(2018, 3, 29)


def same(a: risk.RiskModel, b: risk.RiskModel) -> bool:
    return (
        (a.date, a.ids, a.factors) == (b.date, b.ids, b.factors)
        and a.B.tobytes() == b.B.tobytes()
        and a.F.tobytes() == b.F.tobytes()
        and a.d.tobytes() == b.d.tobytes()
    )


def simulated(S: int, n: int, seed: int = 3) -> np.ndarray:
    rng = np.random.default_rng(seed)
    market = rng.normal(0, 0.01, size=(S, 1)) * rng.uniform(0.5, 1.5, size=n)
    style = rng.normal(0, 0.004, size=(S, 1)) * rng.normal(size=n)
    return market + style + rng.normal(size=(S, n)) * rng.uniform(0.005, 0.02, size=n)


def weighted_covariance(window: np.ndarray, half_life: float) -> np.ndarray:
    age = np.arange(len(window))[::-1]
    return np.cov(window.T, aweights=0.5 ** (age / half_life), ddof=0)


@pytest.mark.parametrize(("S", "n"), [(200, 30), (80, 120)])
def test_factor_part_is_the_best_low_rank_fit_of_the_correlation(S: int, n: int) -> None:
    window = simulated(S, n)
    settings = PortfolioSettings(risk_sessions=S, risk_half_life=40, risk_factors=4)
    m = risk.from_returns(window, [f"n{i:03d}" for i in range(n)], DAY, settings)
    cov = weighted_covariance(window, 40)
    vol = np.sqrt(np.diag(cov))
    values, vectors = np.linalg.eigh(cov / np.outer(vol, vol))
    top = (vectors[:, -4:] * values[-4:]) @ vectors[:, -4:].T
    np.testing.assert_allclose(m.B @ m.F @ m.B.T, top * np.outer(vol, vol), atol=1e-12)
    assert (m.B.sum(axis=0) != 0).all()
    assert ((m.B / vol[:, None]).sum(axis=0) > 0).all()
    assert (np.diff(np.diag(m.F)) <= 0).all()


def test_total_variance_is_kept_up_to_the_shrinkage_of_specific_risk() -> None:
    window = simulated(400, 60)
    settings = PortfolioSettings(risk_sessions=400, risk_half_life=400, risk_factors=6)
    m = risk.from_returns(window, [f"n{i:03d}" for i in range(60)], DAY, settings)
    vol = np.sqrt(np.diag(weighted_covariance(window, 400)))
    np.testing.assert_allclose(m.volatility(), vol, rtol=0.05)


def test_gaps_do_not_shrink_exposures() -> None:
    window = simulated(400, 40)
    settings = PortfolioSettings(risk_sessions=400, risk_half_life=200, risk_factors=3)
    ids = [f"n{i:03d}" for i in range(40)]
    whole = risk.from_returns(window, ids, DAY, settings)
    holed = window.copy()
    holed[::3, 0] = np.nan
    gappy = risk.from_returns(holed, ids, DAY, settings)
    np.testing.assert_allclose(gappy.B[0, 0], whole.B[0, 0], rtol=0.15)
    np.testing.assert_allclose(gappy.B[1:], whole.B[1:], rtol=0.2, atol=5e-4)


def test_stored_frames_give_back_the_same_bits(market: Market) -> None:
    again = risk.from_frames(*risk.to_frames(market.risk_models.values()))
    assert again.keys() == market.risk_models.keys()
    assert all(same(again[d], m) for d, m in market.risk_models.items())


def test_an_incomplete_stored_model_is_refused(market: Market) -> None:
    exposures, factors = risk.to_frames([market.risk_models[DAY]])
    with pytest.raises(PortfolioError, match=f"risk model of {DAY} is incomplete"):
        risk.from_frames(exposures.head(exposures.height - 1), factors)


def test_threads_row_order_and_later_or_older_history_change_no_bit(market: Market) -> None:
    want = market.risk_models[DAY]
    calendar = market.calendar
    since = calendar.offset(DAY, -SETTINGS.risk_sessions)
    near = market.prices.filter(pl.col("date").is_between(since, DAY)).sample(
        fraction=1.0, shuffle=True, seed=5
    )
    for threads in (1, 2):
        with threadpool_limits(threads):
            got = risk.estimate(near, market.universe, [DAY], calendar, SETTINGS)[DAY]
        assert same(got, want)


def test_every_blas_library_is_held_to_one_thread_in_a_fresh_process() -> None:
    """A library that is loaded after the limit was set would escape it."""
    program = """
from datetime import date
import numpy as np, polars as pl
from threadpoolctl import threadpool_info
from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.portfolio import risk
from wealthos_pipeline.utils.config import PortfolioSettings
calendar = TradingCalendar()
days = calendar.frame(date(2020, 1, 2), date(2020, 6, 30))
rng = np.random.default_rng(0)
prices = pl.concat([days.select("date", "slot", pl.lit(f"n{i}").alias("instrument_id")).with_columns(
    pl.Series("tr_index", np.exp(np.cumsum(rng.normal(size=days.height) * 0.01)))) for i in range(8)])
prices = prices.with_columns(pl.col("tr_index").alias("close"))
from wealthos_pipeline.portfolio.risk import statistical
plain, seen = statistical.from_returns, []
def spy(*args):
    out = plain(*args)
    seen.extend(x["num_threads"] for x in threadpool_info() if x["user_api"] == "blas")
    return out
statistical.from_returns = spy
settings = PortfolioSettings(risk_sessions=80)
assert risk.estimate(prices, prices, [date(2020, 6, 30)], calendar, settings)
print(sorted(set(seen)))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[1]"


def test_names_need_enough_observations_and_membership(market: Market) -> None:
    before = market.calendar.offset(DAY, -SETTINGS.risk_sessions + 1)
    out = market.universe.filter(
        (pl.col("instrument_id") != "SYN02")
        & ((pl.col("instrument_id") != "SYN08") | (pl.col("date") <= before))
    )
    m = risk.estimate(market.prices, out, [DAY], market.calendar, SETTINGS)[DAY]
    assert "SYN02" not in m.ids
    assert "SYN08" in m.ids, "a member early in the window still counts: it may be held"
    counts = (
        market.prices.filter(pl.col("date").is_between(before, DAY))
        .group_by("instrument_id")
        .len()
        .filter(pl.col("len") < 0.6 * SETTINGS.risk_sessions - 1)
    )
    assert counts.height > 0
    assert not set(counts["instrument_id"]) & set(m.ids)


def test_one_name_and_constant_prices_have_a_positive_specific_risk() -> None:
    settings = PortfolioSettings(risk_sessions=100)
    one = risk.from_returns(simulated(100, 1), ["x"], DAY, settings)
    assert one.factors == ()
    assert one.B.shape == (1, 0)
    flat = risk.from_returns(np.zeros((100, 10)), [f"n{i}" for i in range(10)], DAY, settings)
    assert (flat.d >= 1e-4).all()
    assert np.isfinite(flat.B).all()
    again = risk.from_frames(*risk.to_frames([one]))[DAY]
    assert same(one, again)


def test_names_that_the_model_does_not_know_are_typical_and_riskier(market: Market) -> None:
    m = market.risk_models[DAY]
    B, d, known = m.align(["ZZZ", m.ids[0]])
    assert known.tolist() == [False, True]
    np.testing.assert_array_equal(B[0], m.B.mean(axis=0))
    assert d[0] > np.median(m.d)
    np.testing.assert_array_equal(B[1], m.B[0])


def test_estimation_dates_are_month_ends_and_the_latest(calendar: TradingCalendar) -> None:
    dates = risk.estimation_dates(calendar, date(2018, 1, 10), date(2018, 3, 15))
    assert dates == [date(2018, 1, 31), date(2018, 2, 28), date(2018, 3, 15)]
    dates = risk.estimation_dates(calendar, date(2018, 1, 10), date(2018, 3, 29))
    assert dates == [date(2018, 1, 31), date(2018, 2, 28), date(2018, 3, 29)]


def test_a_model_is_a_value(market: Market) -> None:
    m = market.risk_models[DAY]
    doubled = replace(m, d=2 * m.d)
    assert (doubled.volatility() > m.volatility()).all()
