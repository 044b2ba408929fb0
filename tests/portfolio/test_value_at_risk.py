"""VaR forecasts against a plain loop, exact resumption, and their exceptions."""

from __future__ import annotations

import itertools
import math
from datetime import date

import numpy as np
import polars as pl
import pytest
from portfolio_market import SETTINGS, Market

from wealthos_pipeline.portfolio import performance
from wealthos_pipeline.portfolio.backtest import Backtest
from wealthos_pipeline.portfolio.performance import VarForecasts


@pytest.fixture(scope="module")
def made(market: Market, core_run: Backtest, benchmark_run: Backtest) -> VarForecasts:
    return performance.var_forecasts(
        pl.concat([core_run.positions, benchmark_run.positions]),
        pl.concat([core_run.nav, benchmark_run.nav]),
        market.prices,
        market.calendar,
        SETTINGS,
    )


@pytest.mark.parametrize("day", [date(2017, 9, 14), date(2018, 7, 3), date(2019, 7, 31)])
def test_forecast_and_outcome_match_a_plain_loop(
    market: Market, core_run: Backtest, made: VarForecasts, day: date
) -> None:
    calendar = market.calendar
    shots = core_run.positions.filter(pl.col("date") <= day)
    shot = shots.filter(pl.col("date") == shots["date"].max())
    units = dict(shot.select("instrument_id", "units").iter_rows())
    cash = units.pop("cash")
    wide = (
        market.prices.filter(pl.col("instrument_id").is_in(list(units)))
        .sort("date")
        .pivot(on="instrument_id", index="date", values="tr_index")
        .sort("date")
    )
    names = sorted(units)
    held = wide.select("date", *names)
    marks = held.select(pl.all().forward_fill())
    now = marks.filter(pl.col("date") == day).row(0, named=True)
    value = {n: units[n] * now[n] for n in names}
    nav = sum(value.values()) + cash
    days = calendar.sessions(calendar.offset(day, -SETTINGS.var_sessions), day)
    scenario = []
    for before, after in itertools.pairwise(days):
        a = held.filter(pl.col("date") == before).row(0, named=True)
        b = held.filter(pl.col("date") == after).row(0, named=True)
        moves = {n: b[n] / a[n] - 1 for n in names if a[n] is not None and b[n] is not None}
        mean = float(np.mean(list(moves.values())))
        scenario.append(sum(value[n] / nav * moves.get(n, mean) for n in names))
    worst = sorted(scenario)
    got = made.risk.filter((pl.col("mandate") == "core") & (pl.col("date") == day)).row(
        0, named=True
    )
    n = SETTINGS.var_sessions
    assert got["var_95"] == pytest.approx(-worst[int(0.05 * n)], rel=1e-9)
    assert got["var_99"] == pytest.approx(-worst[int(0.01 * n)], rel=1e-9)
    assert got["cvar_95"] == pytest.approx(-np.mean(worst[: int(0.05 * n)]), rel=1e-9)
    weights = 0.94 ** np.arange(n)[::-1]
    variance = float((weights * np.square(scenario)).sum() / weights.sum())
    assert got["volatility"] == pytest.approx(math.sqrt(252 * variance), rel=1e-9)

    after = calendar.offset(day, 1)
    out = made.outcomes.filter((pl.col("mandate") == "core") & (pl.col("date") == day))
    if after > market.last:
        assert out.height == 0
        return
    then = marks.filter(pl.col("date") == after).row(0, named=True)
    pnl = sum(value[n] * (then[n] / now[n] - 1) for n in names) / nav
    assert out["pnl_next"][0] == pytest.approx(pnl, abs=1e-14)
    assert out["exception_95"][0] == (-pnl > got["var_95"])
    assert out["known_at"][0] == calendar.known_at(after)


def test_tails_are_ordered(made: VarForecasts) -> None:
    rows = made.risk.filter(pl.col("volatility") > 0)
    assert rows.height > 500
    assert (rows["var_99"] >= rows["var_95"]).all()
    assert (rows["cvar_95"] >= rows["var_95"]).all()
    assert (rows["cvar_99"] >= rows["var_99"]).all()


@pytest.mark.parametrize("cut", [date(2018, 8, 1), date(2018, 8, 17), date(2019, 8, 1)])
def test_starting_at_a_later_date_gives_the_same_bits(
    market: Market, core_run: Backtest, benchmark_run: Backtest, made: VarForecasts, cut: date
) -> None:
    calendar = market.calendar
    before = calendar.offset(cut, -1)
    nav = pl.concat([core_run.nav, benchmark_run.nav]).filter(pl.col("date") >= before)
    since = calendar.offset(cut, -SETTINGS.var_sessions - 2)
    again = performance.var_forecasts(
        pl.concat([core_run.positions, benchmark_run.positions]),
        nav,
        market.prices.filter(pl.col("date") >= since),
        calendar,
        SETTINGS,
        start=cut,
    )
    assert again.outcomes_start == before
    assert again.risk.equals(made.risk.filter(pl.col("date") >= cut))
    assert again.outcomes.equals(made.outcomes.filter(pl.col("date") >= before))


def test_cash_alone_has_no_risk_and_is_not_judged(made: VarForecasts, core_run: Backtest) -> None:
    first = core_run.nav["date"][0]
    row = made.risk.filter((pl.col("mandate") == "core") & (pl.col("date") == first))
    assert row.select("var_95", "var_99", "volatility").row(0) == (0.0, 0.0, 0.0)
    out = made.outcomes.filter((pl.col("mandate") == "core") & (pl.col("date") == first))
    assert out["exception_95"].to_list() == [None]


def test_exceptions_are_counted_and_tested(made: VarForecasts) -> None:
    from scipy import stats

    table = performance.var_exceptions(made.risk, made.outcomes)
    assert table.height == 4
    row = table.row(0, named=True)
    hits = made.outcomes.filter(pl.col("mandate") == "core")["exception_95"].drop_nulls()
    n, k = len(hits), int(hits.sum())
    assert (row["mandate"], row["level"], row["forecasts"], row["exceptions"]) == (
        "core",
        0.95,
        n,
        k,
    )
    assert row["expected"] == pytest.approx(0.05 * n)
    full = stats.binom.logpmf(k, n, k / n) - stats.binom.logpmf(k, n, 0.05)
    assert row["kupiec_lr"] == pytest.approx(2 * full, rel=1e-9)
    assert row["kupiec_p"] == pytest.approx(stats.chi2.sf(2 * full, 1), rel=1e-9)
