"""Ratios and drawdowns against plain recomputation and cases with known answers."""

from __future__ import annotations

import math
from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest
from portfolio_market import Market
from scipy import stats

from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.portfolio import performance
from wealthos_pipeline.portfolio.backtest import Backtest


def nav_of(returns: list[float], calendar: TradingCalendar, name: str = "m") -> pl.DataFrame:
    value = 100.0 * np.cumprod([1.0, *(1 + r for r in returns)])
    days = calendar.sessions(date(2018, 1, 2), date(2019, 12, 31))[: len(value)]
    return pl.DataFrame(
        {
            "mandate": name,
            "run_kind": "backtest",
            "date": days,
            "nav": value,
            "return_net": [None, *returns],
            "return_gross": [None, *returns],
            "cost": 0.0,
            "turnover": 0.01,
            "cash": 0.0,
            "names": 5,
        },
        schema_overrides={"return_net": pl.Float64, "return_gross": pl.Float64},
    )


def test_ratios_are_the_textbook_ones(calendar: TradingCalendar) -> None:
    rng = np.random.default_rng(0)
    r = rng.normal(0.0005, 0.01, size=300)
    row = performance.summary(nav_of(list(r), calendar)).row(0, named=True)
    value = np.cumprod(np.concatenate([[1.0], 1 + r]))
    assert row["sessions"] == 300
    assert row["total_return"] == pytest.approx(value[-1] - 1)
    assert row["annual_return"] == pytest.approx(value[-1] ** (252 / 300) - 1)
    assert row["annual_volatility"] == pytest.approx(np.std(r, ddof=1) * math.sqrt(252))
    assert row["sharpe"] == pytest.approx(r.mean() / np.std(r, ddof=1) * math.sqrt(252))
    below = math.sqrt(np.mean(np.minimum(r, 0) ** 2))
    assert row["sortino"] == pytest.approx(r.mean() / below * math.sqrt(252))
    deepest = min(value[j] / value[i] - 1 for i in range(301) for j in range(i, 301))
    assert row["max_drawdown"] == pytest.approx(deepest)
    assert row["calmar"] == pytest.approx(row["annual_return"] / -deepest)
    assert row["hit_rate"] == pytest.approx((r > 0).mean())
    assert row["annual_turnover"] == pytest.approx(0.01 * 301 * 252 / 300)
    assert row["holding_period_days"] == pytest.approx(252 / row["annual_turnover"])
    assert row["sharpe_excess"] is None


def test_sharpe_over_the_risk_free_rate_uses_the_sessions_where_it_is_known(
    calendar: TradingCalendar,
) -> None:
    rng = np.random.default_rng(1)
    r = rng.normal(0.0005, 0.01, size=200)
    nav = nav_of(list(r), calendar)
    rf = nav.select("date").head(101).with_columns(pl.lit(1e-4).alias("rf"))
    row = performance.summary(nav, rf).row(0, named=True)
    x = r[:100] - 1e-4
    assert row["risk_free_coverage"] == pytest.approx(0.5)
    assert row["sharpe_excess"] == pytest.approx(x.mean() / np.std(x, ddof=1) * math.sqrt(252))


def test_equal_returns_have_no_ratio_and_no_warning(calendar: TradingCalendar) -> None:
    row = performance.summary(nav_of([0.0] * 20, calendar)).row(0, named=True)
    assert row["sharpe"] is row["sortino"] is row["calmar"] is row["skewness"] is None
    assert row["max_drawdown"] == 0.0
    one = performance.summary(nav_of([], calendar)).row(0, named=True)
    assert one["sessions"] == 0
    assert one["annual_return"] is None
    assert performance.summary(nav_of([], calendar).head(0)).height == 0


def test_years_compound_to_the_whole(core_run: Backtest, benchmark_run: Backtest) -> None:
    nav = pl.concat([core_run.nav, benchmark_run.nav])
    whole = performance.summary(nav)
    years = performance.by_year(nav)
    assert whole["mandate"].to_list() == ["core", "equal_weight"]
    for row in whole.iter_rows(named=True):
        part = years.filter(pl.col("mandate") == row["mandate"])
        assert part["year"].to_list() == sorted(part["year"].unique().to_list())
        assert (1 + part["total_return"]).product() == pytest.approx(1 + row["total_return"])
        assert part["sessions"].sum() == row["sessions"]
        assert row["annual_return_gross"] > row["annual_return"]


def test_drawdowns_are_against_the_highest_value_so_far(core_run: Backtest) -> None:
    got = performance.drawdowns(core_run.nav)
    value = core_run.nav["nav"]
    np.testing.assert_allclose(got["drawdown"], value / value.cum_max() - 1)
    worst = performance.summary(core_run.nav)["max_drawdown"][0]
    assert got["drawdown"].min() == pytest.approx(worst)


def test_monthly_risk_free_compounds_to_the_month(calendar: TradingCalendar) -> None:
    series = pl.DataFrame(
        {
            "series": "risk_free",
            "tenor": "1M",
            "date": [date(2018, 1, 31), date(2018, 2, 28)],
            "value": [0.12, 0.11],
        }
    )
    rf = performance.risk_free(series, calendar)
    assert rf is not None
    january = rf.filter(pl.col("date") <= date(2018, 1, 31))
    assert january.height == len(calendar.sessions(date(2018, 1, 1), date(2018, 1, 31)))
    assert (1 + january["rf"]).product() == pytest.approx(1.0012, rel=1e-12)
    assert rf["date"].max() == date(2018, 2, 28)


def test_par_yields_are_the_fallback_and_nothing_is_none(calendar: TradingCalendar) -> None:
    series = pl.DataFrame(
        {
            "series": "ust_par",
            "tenor": ["3M", "3M", "10Y"],
            "date": [date(2018, 1, 2), date(2018, 1, 4), date(2018, 1, 2)],
            "value": [2.52, 5.04, 9.0],
        }
    )
    rf = performance.risk_free(series, calendar)
    assert rf is not None
    assert rf["rf"].to_list() == pytest.approx([1e-4, 1e-4, 2e-4])
    assert performance.risk_free(series.head(0), calendar) is None


def test_summary_keeps_mandates_and_run_kinds_apart(market: Market, core_run: Backtest) -> None:
    other = core_run.nav.with_columns(pl.lit("research").alias("run_kind"))
    got = performance.summary(pl.concat([core_run.nav, other]))
    assert got["run_kind"].to_list() == ["backtest", "research"]
    assert got["sharpe"].n_unique() == 1


def test_a_benchmark_measured_from_a_later_day_leaves_out_what_was_before(
    calendar: TradingCalendar,
) -> None:
    r = [0.5, 0.01, -0.02, 0.03]
    nav = nav_of(r, calendar)
    first = nav["date"][1]
    row = performance.summary(performance.since(nav, first)).row(0, named=True)
    assert row["start"] == first
    assert row["sessions"] == 3
    assert row["total_return"] == pytest.approx(1.01 * 0.98 * 1.03 - 1)
    assert performance.since(nav, first)["turnover"][0] == 0.0
    assert performance.since(nav, first)["cost"][0] == 0.0


def test_window_returns_start_at_the_last_value_at_or_before_the_day(
    calendar: TradingCalendar,
) -> None:
    nav = nav_of([0.001] * 450, calendar)
    days = nav["date"].to_list()
    got = performance.window_return(nav, days[100])
    assert got == pytest.approx(1.001**350 - 1)
    year = performance.window_return(nav, days[100], annual=True)
    assert year == pytest.approx(1.001**252 - 1)
    weekend = next(d for d in days if (d - timedelta(1)) not in days and d > days[100])
    before = days.index(weekend) - 1
    assert performance.window_return(nav, weekend - timedelta(1)) == pytest.approx(
        1.001 ** (450 - before) - 1
    )
    assert performance.window_return(nav, days[0] - timedelta(1)) is None
    assert performance.window_return(nav, days[-1]) is None


def test_new_ratios_against_plain_recomputation(calendar: TradingCalendar) -> None:
    rng = np.random.default_rng(7)
    r = rng.standard_t(5, size=400) * 0.01 + 0.0004
    row = performance.summary(nav_of(list(r), calendar)).row(0, named=True)
    assert row["omega"] == pytest.approx(r[r > 0].sum() / -r[r < 0].sum())
    assert row["tail_ratio"] == pytest.approx(-np.percentile(r, 95) / np.percentile(r, 5))
    s = r.mean() / r.std(ddof=1)
    mertens = 1 + s**2 / 2 - stats.skew(r) * s + stats.kurtosis(r) / 4 * s**2
    assert row["sharpe_se"] == pytest.approx(math.sqrt(mertens / 400) * math.sqrt(252))
    assert row["skewness"] == pytest.approx(stats.skew(r))
    assert row["excess_kurtosis"] == pytest.approx(stats.kurtosis(r))


def test_standard_error_of_sharpe_is_what_simulation_finds(calendar: TradingCalendar) -> None:
    rng = np.random.default_rng(8)
    found = []
    for _ in range(200):
        row = performance.summary(nav_of(list(rng.normal(0.001, 0.01, 250)), calendar))
        found.append(row.select("sharpe", "sharpe_se").row(0))
    ratio, se = np.array(found).T
    assert se.mean() == pytest.approx(ratio.std(), rel=0.15)


@pytest.fixture(scope="module")
def pair(calendar: TradingCalendar) -> tuple[pl.DataFrame, pl.DataFrame, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(9)
    b = rng.normal(0.0004, 0.01, 450)
    r = 0.0002 + 0.8 * b + rng.normal(0, 0.005, 450)
    nav = pl.concat([nav_of(list(r), calendar), nav_of(list(b), calendar, "equal_weight")])
    rf = nav.filter(pl.col("mandate") == "m").select("date", pl.lit(1e-4).alias("rf"))
    return nav, rf, r, b


def test_ratios_against_a_benchmark_are_those_of_a_regression(
    pair: tuple[pl.DataFrame, pl.DataFrame, np.ndarray, np.ndarray],
) -> None:
    import statsmodels.api as sm

    nav, rf, r, b = pair
    table = performance.relative(nav, rf)
    assert table["mandate"].to_list() == ["m"]
    row = table.row(0, named=True)
    lags = int(4 * (450 / 100) ** (2 / 9))
    fit = sm.OLS(r - 1e-4, sm.add_constant(b - 1e-4)).fit(
        cov_type="HAC", cov_kwds={"maxlags": lags, "use_correction": False}
    )
    assert row["beta"] == pytest.approx(fit.params[1], rel=1e-10)
    assert row["beta_se"] == pytest.approx(fit.bse[1], rel=1e-8)
    assert row["alpha"] == pytest.approx((1 + fit.params[0]) ** 252 - 1, rel=1e-9)
    assert row["alpha_t"] == pytest.approx(fit.tvalues[0], rel=1e-8)
    active = r - b
    assert row["tracking_error"] == pytest.approx(active.std(ddof=1) * math.sqrt(252))
    assert row["information_ratio"] == pytest.approx(
        active.mean() / active.std(ddof=1) * math.sqrt(252)
    )
    up = b > 0
    mine, theirs = (np.prod(1 + x[up]) ** (252 / up.sum()) - 1 for x in (r, b))
    assert row["up_capture"] == pytest.approx(mine / theirs)
    assert row["down_capture"] < 1
    assert performance.relative(nav, benchmark="nobody").height == 0


def test_rolling_numbers_are_those_of_each_window(
    pair: tuple[pl.DataFrame, pl.DataFrame, np.ndarray, np.ndarray],
) -> None:
    nav, rf, r, b = pair
    table = performance.rolling(nav, rf, benchmark="equal_weight", sessions=100)
    mine = table.filter(pl.col("mandate") == "m")
    assert mine.height == 450 - 100 + 1
    row, x, y = mine.row(37, named=True), r[37:137], b[37:137]
    assert row["date"] == nav.filter(pl.col("mandate") == "m")["date"][137]
    assert row["annual_volatility"] == pytest.approx(x.std(ddof=1) * math.sqrt(252))
    assert row["sharpe"] == pytest.approx((x - 1e-4).mean() / x.std(ddof=1) * math.sqrt(252))
    assert row["beta"] == pytest.approx(np.cov(x, y)[0, 1] / y.var(ddof=1))
    assert row["annual_return"] == pytest.approx(np.prod(1 + x) ** 2.52 - 1)
    alone = performance.rolling(nav, sessions=100)
    assert alone["beta"].null_count() == alone.height
    assert performance.rolling(nav, sessions=600).height == 0


def test_drawdown_table_tells_each_fall_once(calendar: TradingCalendar) -> None:
    nav = nav_of([0.1, -0.1, -0.1, 0.3, -0.05, 0.06, -0.2, 0.1], calendar)
    days = nav["date"].to_list()
    got = performance.drawdown_table(nav).rows(named=True)
    assert [round(g["depth"], 4) for g in got] == [-0.2, -0.19, -0.05]
    assert got[1] | {"depth": 0} == {
        "mandate": "m", "run_kind": "backtest", "depth": 0, "start": days[1], "trough": days[3],
        "recovery": days[4], "length": 3, "to_trough": 2,
    }  # fmt: skip
    assert (got[0]["recovery"], got[0]["trough"], got[0]["length"]) == (None, days[7], 2)
    assert performance.drawdown_table(nav, worst=1).height == 1


def test_deepest_of_the_table_is_the_summary(core_run: Backtest) -> None:
    table = performance.drawdown_table(core_run.nav)
    assert table["depth"][0] == pytest.approx(performance.summary(core_run.nav)["max_drawdown"][0])
    assert (table["trough"] > table["start"]).all()
