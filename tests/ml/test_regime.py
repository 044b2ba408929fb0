"""The regime: the fit against statsmodels, past parameters only, the same from any start."""

from __future__ import annotations

import itertools
import math
from datetime import date

import numpy as np
import polars as pl
import pytest

from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.ml.classifiers import hamilton, regime


def switching(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Percent returns and the true state (1 turbulent)."""
    rng = np.random.default_rng(seed)
    state = np.zeros(n, dtype=int)
    for t in range(1, n):
        stay = 0.985 if state[t - 1] == 0 else 0.95
        state[t] = state[t - 1] if rng.random() < stay else 1 - state[t - 1]
    x = np.where(state, -0.1 + 2.4 * rng.standard_normal(n), 0.06 + 0.7 * rng.standard_normal(n))
    return x, state


@pytest.fixture(scope="module")
def market(calendar: TradingCalendar) -> pl.DataFrame:
    """Returns of the sessions of 2001–2019 with two regimes."""
    days = calendar.sessions(date(2001, 3, 5), date(2019, 6, 28))
    x, _ = switching(len(days), 5)
    return pl.DataFrame({"date": days, "ret": x / 100})


def test_the_fit_is_as_likely_as_that_of_statsmodels() -> None:
    from statsmodels.tsa.regime_switching.markov_regression import MarkovRegression

    x, _ = switching(1500, 1)
    model = MarkovRegression(x, k_regimes=2, trend="c", switching_variance=True)
    theirs = model.fit(disp=False)
    ours = hamilton.fit(x, hamilton.ITERATIONS)
    assert hamilton.log_likelihood(x, ours) > theirs.llf - 0.01

    m0, m1, v0, v1, p00, p11 = ours
    same = model.filter(np.array([p00, 1 - p11, m0, m1, v0, v1]))
    assert hamilton.log_likelihood(x, ours) == pytest.approx(same.llf, rel=1e-10)
    np.testing.assert_allclose(
        hamilton.filtered(x, ours), same.filtered_marginal_probabilities[:, 1], atol=1e-9
    )


def test_each_iteration_raises_the_likelihood() -> None:
    x, _ = switching(900, 2)
    steps = [hamilton.log_likelihood(x, hamilton.fit(x, k)) for k in (1, 2, 5, 20, 100)]
    # the M step leaves out the first state's (stationary) probability, hence the small slack
    assert all(later > earlier - 1e-6 for earlier, later in itertools.pairwise(steps))
    assert steps[-1] > steps[0] + 1


def test_the_turbulent_state_is_the_one_with_the_larger_variance_and_is_found() -> None:
    x, state = switching(3000, 3)
    p = hamilton.fit(x, hamilton.ITERATIONS)
    assert p[3] > p[2]
    said = hamilton.filtered(x, p) > 0.5
    assert (said == state).mean() > 0.93


def test_probabilities_do_not_depend_on_the_start(
    market: pl.DataFrame, calendar: TradingCalendar
) -> None:
    full = regime.filtered(market, calendar)
    for start in (date(2014, 1, 2), date(2015, 7, 1), date(2019, 6, 28)):
        reach = regime.needed_from(calendar, start)
        assert reach > market["date"][0] or start.year < 2012
        part = regime.filtered(market.filter(pl.col("date") >= reach), calendar, start=start)
        assert part.equals(full.filter(pl.col("date") >= start))


def test_the_lookback_covers_what_is_needed(calendar: TradingCalendar) -> None:
    for start in (date(2014, 1, 2), date(2014, 12, 31), date(2012, 12, 31), date(2020, 6, 1)):
        assert calendar.offset(start, -regime.LOOKBACK) <= regime.needed_from(calendar, start)


def test_later_returns_change_nothing(market: pl.DataFrame, calendar: TradingCalendar) -> None:
    full = regime.filtered(market, calendar)
    end = date(2016, 5, 12)
    seen = regime.filtered(market.filter(pl.col("date") <= end), calendar)
    assert seen.equals(full.filter(pl.col("date") <= end))


def test_parameters_come_from_before_the_year(
    market: pl.DataFrame, calendar: TradingCalendar
) -> None:
    known = regime.filtered(market, calendar).drop_nulls("p_turbulent")
    years = known.group_by(pl.col("date").dt.year()).agg(pl.col("refit_date").unique())
    for year, cut in years.iter_rows():
        assert cut == [calendar.offset(date(year, 1, 1), 0)]


def test_unknown_until_two_years_of_returns(
    market: pl.DataFrame, calendar: TradingCalendar
) -> None:
    out = regime.filtered(market, calendar)
    early = out.filter(pl.col("date") < date(2004, 1, 1))
    assert set(early["regime"]) == {"unknown"}
    assert early["p_turbulent"].is_null().all()
    late = out.filter(pl.col("date") >= date(2004, 1, 1))
    assert set(late["regime"]) == {"calm", "turbulent"}
    assert late["p_turbulent"].is_between(0, 1).all()


def test_the_market_is_the_plain_mean_of_names_with_two_bars(
    synthetic_prices: pl.DataFrame,
) -> None:
    out = dict(regime.market_returns(synthetic_prices).iter_rows())
    bars = {
        (n, s): (d, tr)
        for n, s, d, tr in synthetic_prices.select(
            "instrument_id", "slot", "date", "tr_index"
        ).iter_rows()
    }
    by_date: dict[date, list[float]] = {}
    for (name, slot), (day, tr) in bars.items():
        if (name, slot - 1) in bars:
            by_date.setdefault(day, []).append(tr / bars[name, slot - 1][1] - 1)
    assert out.keys() == by_date.keys()
    for day, values in by_date.items():
        assert out[day] == pytest.approx(math.fsum(values) / len(values), abs=1e-15)


def test_the_market_starts_anywhere_and_ignores_row_order(
    synthetic_prices: pl.DataFrame, calendar: TradingCalendar
) -> None:
    full = regime.market_returns(synthetic_prices)
    start = date(2018, 3, 1)
    recent = synthetic_prices.filter(pl.col("date") >= calendar.offset(start, -1))
    part = regime.market_returns(recent.sample(fraction=1.0, shuffle=True, seed=1), start=start)
    assert part.equals(full.filter(pl.col("date") >= start))


def test_the_market_counts_members_only(synthetic_prices: pl.DataFrame) -> None:
    keys = synthetic_prices.filter(pl.col("instrument_id") == "SYN00").select(
        "date", "instrument_id"
    )
    alone = regime.market_returns(synthetic_prices, universe=keys)
    tr = synthetic_prices.filter(pl.col("instrument_id") == "SYN00").sort("date")["tr_index"]
    np.testing.assert_array_equal(alone["ret"].to_numpy(), (tr / tr.shift(1) - 1)[1:].to_numpy())
