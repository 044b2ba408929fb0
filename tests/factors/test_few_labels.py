"""Long labels on a short history: a handful of independent observations proves nothing."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import date

import numpy as np
import polars as pl
import pytest
from scipy import stats

from wealthos_pipeline.core.errors import FactorError
from wealthos_pipeline.factors.multiple import judged
from wealthos_pipeline.factors.study import Study, study
from wealthos_pipeline.factors.verdict import verdict
from wealthos_pipeline.stats.mean_test import mean_test


def overlapping(rng: np.random.Generator, dates: int, horizon: int) -> np.ndarray:
    """Sums of ``horizon`` independent draws: the ICs of a factor that stands still and knows nothing."""
    running = np.cumsum(np.r_[0.0, rng.standard_normal(dates + horizon - 1)])
    return running[horizon:] - running[:-horizon]


@pytest.mark.parametrize(("dates", "horizon"), [(200, 120), (300, 60), (504, 120)])
def test_noise_seldom_passes_the_hurdle_and_seldom_leaves_the_interval(dates, horizon) -> None:
    """|t| > 3.0 alone was passed by up to a third of these; the bootstrap's own interval left out by half."""
    rng = np.random.default_rng(5)
    tests = [mean_test(overlapping(rng, dates, horizon), horizon) for _ in range(300)]
    rows = pl.DataFrame(
        {
            "universe": "all", "horizon": horizon, "t": [m.t for m in tests],
            "p_value": [m.p_value for m in tests],
        }
    )  # fmt: skip
    assert judged(rows)["hlz_passed"].sum() <= 3
    outside = sum(abs(m.mean) > m.half_width for m in tests)
    assert outside <= 300 * 0.05 + 3 * math.sqrt(300 * 0.05 * 0.95)


def test_the_interval_is_that_of_student() -> None:
    x = overlapping(np.random.default_rng(1), 500, 20)
    found = mean_test(x, 20)
    assert found.half_width == pytest.approx(stats.t.ppf(0.975, 500 // 20 - 1) * found.se)


@pytest.fixture(scope="module")
def short(calendar) -> Study:
    """30 names × 200 sessions; the value is what a name's noise comes to over 120 sessions, standing still."""
    rng = np.random.default_rng(3)
    days = calendar.frame()["date"].slice(calendar.slot(calendar.frame()["date"][0]) + 500, 330)
    ret = 0.01 * rng.standard_normal((330, 30))
    index = np.cumprod(1 + ret, axis=0)
    rows = pl.DataFrame(
        {
            "date": np.repeat(days.to_numpy(), 30), "instrument_id": [f"n{j:02}" for j in range(30)] * 330,
            "tr_index": index.ravel(), "x": np.tile(index[-1] / index[0], 330).astype(np.float32),
        }
    )  # fmt: skip
    return study(
        rows.select("date", "instrument_id", "x"),
        rows,
        name="x",
        calendar=calendar,
        horizons=(1, 120),
    )


def test_a_large_t_of_two_labels_is_no_proof(short: Study) -> None:
    row = short.summary.filter(pl.col("horizon") == 120).row(0, named=True)
    assert row["t"] > 3.0
    said = verdict(short, 120)
    assert said.tone != "strong"
    assert "1 label side by side" in said.headline
    assert row["high"] - row["low"] > 2 * 1.96 * row["se"]
    decay = short.decay.filter(pl.col("horizon") == 120).row(0, named=True)
    assert decay["high"] - decay["mean_rank_ic"] == pytest.approx(row["half_width"])


def test_a_year_of_a_few_dates_is_not_counted(short: Study) -> None:
    years = pl.DataFrame(
        {
            "horizon": 1, "year": ["2001", "2002", "2003", "2004"], "dates": [59, 253, 60, 252], "names": 30.0,
            "mean_rank_ic": [0.1, 0.1, -0.1, 0.1], "t": 1.0,
        }
    )  # fmt: skip
    (said,) = [s for s in verdict(replace(short, by_year=years), 1).sentences if "years" in s]
    assert "in 2 of 3 calendar years" in said


def test_values_further_apart_than_the_horizon_are_counted_one_by_one() -> None:
    """A factor of month-ends has labels of 20 sessions that never overlap: an ordinary t of its months."""
    rng = np.random.default_rng(4)
    months = 0.3 + rng.standard_normal(120)
    days = np.full(120 * 21, np.nan)
    days[::21] = months
    found = mean_test(days, 20)
    plain = stats.ttest_1samp(months, 0.0)
    assert found.t_non_overlapping == pytest.approx(plain.statistic)
    assert found.labels == 120
    assert found.p_value >= plain.pvalue
    assert found.p_value == mean_test(months, 1).p_value < 0.05
    pairs = np.full(120 * 21, np.nan)
    pairs[::21] = pairs[1::21] = months  # two days each, whose labels are nearly the same
    assert mean_test(pairs, 20).p_value == mean_test(np.repeat(months, 2), 2).p_value


@pytest.mark.parametrize(("names", "with_value"), [(4, 4), (30, 3)])
def test_too_few_names_are_told(names: int, with_value: int, calendar) -> None:
    days = calendar.sessions(date(2017, 1, 3), date(2018, 12, 31))[:60]
    rng = np.random.default_rng(0)
    x = rng.standard_normal((60, names)).astype(np.float32)
    x[:, with_value:] = np.nan
    rows = pl.DataFrame(
        {
            "date": np.repeat(np.array(days, "datetime64[D]"), names),
            "instrument_id": [f"n{j:02}" for j in range(names)] * 60,
            "tr_index": np.cumprod(1 + 0.01 * rng.standard_normal((60, names)), axis=0).ravel(), "x": x.ravel(),
        }
    )  # fmt: skip
    with pytest.raises(FactorError, match="on no date do 5 names have a value and a label"):
        study(rows, rows, name="x", calendar=calendar, horizons=(1, 5))


def test_a_constant_has_no_verdict(short: Study) -> None:
    none = short.summary.with_columns(
        *(
            pl.lit(None, pl.Float64).alias(c)
            for c in ("mean_rank_ic", "t", "p_value", "detectable_ic")
        )
    )
    said = verdict(replace(short, summary=none), 1)
    assert said.tone == "none"
    assert "nan" not in said.headline
