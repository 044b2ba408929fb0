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
from wealthos_pipeline.portfolio.var_methods import ALPHA, BETA, METHODS, NOT_VALID, PRIMARY

NUMBERS = ("volatility", "var_95", "var_99", "cvar_95", "cvar_99")


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
    units.pop("cash")
    bars = market.prices.filter(pl.col("date") <= day).sort("date")
    now = dict(bars.group_by("instrument_id").agg(pl.col("close").last()).iter_rows())
    wide = (
        market.prices.filter(pl.col("instrument_id").is_in(list(units)))
        .sort("date")
        .pivot(on="instrument_id", index="date", values="tr_index")
        .sort("date")
    )
    names = sorted(units)
    held = wide.select("date", *names)
    marks = held.select(pl.all().forward_fill())
    value = {n: units[n] * now[n] for n in names}
    nav = core_run.nav.filter(pl.col("date") == day)["nav"][0]
    days = calendar.sessions(calendar.offset(day, -SETTINGS.var_sessions), day)
    scenario = []
    for before, after in itertools.pairwise(days):
        a = held.filter(pl.col("date") == before).row(0, named=True)
        b = held.filter(pl.col("date") == after).row(0, named=True)
        moves = {n: b[n] / a[n] - 1 for n in names if a[n] is not None and b[n] is not None}
        mean = float(np.mean(list(moves.values())))
        scenario.append(sum(value[n] / nav * moves.get(n, mean) for n in names))
    mine = (pl.col("mandate") == "core") & (pl.col("date") == day)
    got = made.risk.filter(mine).row(0, named=True)
    methods = {r["method"]: r for r in made.methods.filter(mine).iter_rows(named=True)}
    r, n = np.array(scenario), SETTINGS.var_sessions

    # the rank (n + 1) p is that of Weibull's plotting positions
    for level in (95, 99):
        p = 1 - level / 100
        plain = np.quantile(r, p, method="weibull")
        assert methods["historical"][f"var_{level}"] == pytest.approx(-plain, rel=1e-9)
        rank = (n + 1) * p
        j = int(rank + 1e-9)
        ordered = np.sort(r)
        tail = (ordered[:j].sum() + (rank - j) * ordered[j]) / rank
        assert methods["historical"][f"cvar_{level}"] == pytest.approx(-tail, rel=1e-6)

    h = [float(np.mean(r**2))]
    for x in r:
        h.append((1 - ALPHA - BETA) * h[0] + ALPHA * x**2 + BETA * h[-1])
    scaled = r / np.sqrt(h[:-1]) * math.sqrt(h[-1])
    assert got["method"] == "filtered"
    assert got["volatility"] == pytest.approx(math.sqrt(252 * h[-1]), rel=1e-9)
    assert got["var_99"] == pytest.approx(-np.quantile(scaled, 0.01, method="weibull"), rel=1e-9)
    assert {k: got[k] for k in NUMBERS} == {k: methods["filtered"][k] for k in NUMBERS}

    modified = methods["cornish_fisher"]
    assert modified["volatility"] == pytest.approx(r.std() * math.sqrt(252), rel=1e-9)

    after = calendar.offset(day, 1)
    out = made.outcomes.filter((pl.col("mandate") == "core") & (pl.col("date") == day))
    if after > market.last:
        assert out.height == 0
        return
    then = marks.filter(pl.col("date") == after).row(0, named=True)
    before = marks.filter(pl.col("date") == day).row(0, named=True)
    pnl = sum(value[n] * (then[n] / before[n] - 1) for n in names) / nav
    assert out["pnl_next"][0] == pytest.approx(pnl, abs=1e-14)
    assert out["exception_95"][0] == (-pnl > got["var_95"])
    assert out["known_at"][0] == calendar.known_at(after)


def test_tails_are_ordered(made: VarForecasts) -> None:
    rows = made.methods.filter(pl.col("volatility") > 0)
    assert rows["method"].value_counts()["count"].min() > 500
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
    assert again.methods.equals(made.methods.filter(pl.col("date") >= cut))
    assert again.outcomes.equals(made.outcomes.filter(pl.col("date") >= before))


def test_cash_alone_has_no_risk_and_is_not_judged(made: VarForecasts, core_run: Backtest) -> None:
    first = core_run.nav["date"][0]
    row = made.risk.filter((pl.col("mandate") == "core") & (pl.col("date") == first))
    assert row.select("var_95", "var_99", "volatility").row(0) == (0.0, 0.0, 0.0)
    out = made.outcomes.filter((pl.col("mandate") == "core") & (pl.col("date") == first))
    assert out["exception_95"].to_list() == [None]


def test_each_date_has_each_method_once(made: VarForecasts) -> None:
    counts = made.methods.group_by("mandate", "date").agg(pl.col("method").sort())
    assert counts["method"].to_list() == [sorted(METHODS)] * made.risk.height
    assert made.risk["method"].unique().to_list() == [PRIMARY]
    none = made.methods.filter(pl.col("var_99").is_null())
    assert none["note"].null_count() == 0
    assert made.methods.filter(pl.col("var_99").is_not_null())["note"].null_count() == (
        made.methods.height - none.height
    )


def test_more_scenarios_than_the_window_has_returns_give_no_forecast(
    market: Market, core_run: Backtest
) -> None:
    """Holdings of the panel's first weeks: no window is half full, so there is a reason and no number."""
    early = core_run.nav["date"][1]
    since = market.calendar.offset(early, -20)
    made = performance.var_forecasts(
        core_run.positions,
        core_run.nav.filter(pl.col("date") >= since),
        market.prices.filter(pl.col("date") >= since),
        market.calendar,
        SETTINGS,
    )
    row = made.methods.filter(pl.col("date") == early)
    assert row["var_95"].null_count() == row.height == 3
    assert all("fewer than half" in note for note in row["note"])
    later = made.outcomes.filter(pl.col("date") == early)
    assert later["exception_95"].to_list() == [None]
    assert NOT_VALID not in row["note"].to_list()


def test_exceptions_are_counted_and_tested_by_method(made: VarForecasts) -> None:
    from scipy import stats

    table = performance.var_exceptions(made.methods, made.outcomes)
    assert table.height == 2 * len(METHODS) * 2
    joined = made.methods.join(made.outcomes, on=["mandate", "run_kind", "date"])
    for row in table.iter_rows(named=True):
        level = round(100 * row["level"])
        part = joined.filter(
            (pl.col("mandate") == row["mandate"])
            & (pl.col("method") == row["method"])
            & pl.col("exception_95").is_not_null()
            & pl.col(f"var_{level}").is_not_null()
        )
        n, p = part.height, 1 - row["level"]
        k = int((-part["pnl_next"] > part[f"var_{level}"]).sum())
        assert (row["forecasts"], row["exceptions"]) == (n, k)
        assert row["expected"] == pytest.approx(p * n)
        full = stats.binom.logpmf(k, n, k / n) - stats.binom.logpmf(k, n, p)
        assert row["kupiec_p"] == pytest.approx(stats.chi2.sf(2 * full, 1), rel=1e-6)
        hit = -part["pnl_next"] > part[f"var_{level}"]
        z2 = (part["pnl_next"] / part[f"cvar_{level}"]).filter(hit).sum() / (n * p) + 1
        assert row["z2"] == pytest.approx(z2)
        assert 0 < row["power_kupiec"] <= 1
    one = performance.var_exceptions(made.risk, made.outcomes)
    mine = table.filter(pl.col("method") == PRIMARY)
    assert one["exceptions"].to_list() == mine["exceptions"].to_list()
    stored = made.outcomes.filter(pl.col("mandate") == "core")["exception_99"].sum()
    assert (
        one.filter((pl.col("mandate") == "core") & (pl.col("level") == 0.99))["exceptions"][0]
        == stored
    )


def test_a_verdict_says_when_it_cannot_be_known(made: VarForecasts) -> None:
    few = made.outcomes.filter(pl.col("exception_95").is_not_null()).head(120)
    table = performance.var_exceptions(made.risk, few).filter(pl.col("level") == 0.99)
    words = table.filter(pl.col("forecasts") > 0)["verdict"][0]
    assert words.startswith("cannot tell: only 1.2 exceptions expected")
    assert "%" in words
    none = performance.var_exceptions(made.risk, made.outcomes.head(0))
    assert set(none["verdict"]) == {"no forecast has an outcome yet"}


def test_each_fault_is_named_in_the_verdict() -> None:
    from wealthos_pipeline.portfolio.var_exceptions import verdict

    row = {
        "forecasts": 1000, "exceptions": 31, "expected": 10.0, "kupiec_p": 1e-8, "independence_p": 0.02,
        "z1_p": 0.001, "power_kupiec": 0.9,
    }  # fmt: skip
    words = verdict(row, 0.01)
    assert "more exceptions than 1 %: 31 where 10.0 were expected (p < 0.001)" in words
    assert "clusters (p = 0.020)" in words
    assert "larger than CVaR says" in words
    good = row | {"kupiec_p": 0.4, "independence_p": 0.4, "z1_p": 0.4, "exceptions": 12}
    assert verdict(good, 0.01).startswith("as often as it says: 12 exceptions")
