"""A factor's spread judged among all factors that were tried."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from wealthos_pipeline.factors.deflated import with_deflated
from wealthos_pipeline.stats.sharpe import judge
from wealthos_pipeline.stats.trials import effective_trials

H = 5


@pytest.fixture(scope="module")
def rows() -> pl.DataFrame:
    rng = np.random.default_rng(1)
    n = 1500
    days = [date(2015, 1, 1) + timedelta(days=i) for i in range(n)]
    shared = rng.standard_normal(n + H - 1)
    parts = []
    for i, drift in enumerate((0.25, 0.0, -0.05)):
        daily = 0.7 * shared + 0.7 * rng.standard_normal(n + H - 1) + drift
        spread = 0.01 * np.convolve(daily, np.ones(H), "valid")
        parts.append(
            pl.DataFrame({"factor": f"f{i}", "date": days, "spread": spread, "renewal": 0.5})
        )
    keys = {"universe": pl.lit("members"), "horizon": pl.lit(H, pl.Int32)}
    return pl.concat(parts).with_columns(**keys)


def test_a_spread_is_judged_after_costs_on_every_hth_date_among_all(rows: pl.DataFrame) -> None:
    summary = pl.DataFrame(
        {"factor": ["f0", "f1", "f2", "timed"], "universe": ["members"] * 3 + ["time series"],
         "horizon": pl.Series([H] * 4, dtype=pl.Int32), "t": [1.0, 2.0, 3.0, 4.0]}
    )  # fmt: skip
    out = with_deflated(summary, rows, costs_bp=10.0, further=2)
    assert out.select(summary.columns).equals(summary)
    x = np.column_stack(
        [rows.filter(pl.col("factor") == f"f{i}")["spread"].to_numpy() - 0.002 for i in range(3)]
    )
    for i, row in enumerate(out.head(3).to_dicts()):
        assert row["psr"] == pytest.approx(judge(x[:, i], spacing=H).psr)
        assert row["dsr"] < row["psr"]
        # three that resemble each other, one that is judged through time, two models
        assert row["trials"] == 6
        assert row["effective_trials"] == pytest.approx(effective_trials(x[::H]) + 3)
    assert out["psr"][0] > 0.95
    assert out["psr"][2] < 0.5
    assert out.row(3)[-4:] == (None, None, None, None)
    more = with_deflated(summary, rows, costs_bp=10.0, further=200)
    assert more["dsr"][0] < out["dsr"][0]
    assert with_deflated(summary, rows.clear(), costs_bp=10.0).equals(summary)


def test_a_factor_of_a_few_weeks_does_not_deflate_the_others(rows: pl.DataFrame) -> None:
    """Its own ratio is noise, many times as large as theirs; it counts as a trial."""
    names = ["f0", "f1", "f2", "new"]
    summary = pl.DataFrame(
        {"factor": names, "universe": "members", "horizon": pl.Series([H] * 4, dtype=pl.Int32)}
    )
    late = rows.filter(pl.col("factor") == "f2").tail(30)
    # a few good weeks: a ratio of about two a session
    wave = 0.02 + 0.01 * pl.int_range(pl.len()).cast(pl.Float64).sin()
    late = late.with_columns(pl.lit("new").alias("factor"), wave.alias("spread"))
    without = with_deflated(summary, rows, costs_bp=10.0)
    both = with_deflated(summary, pl.concat([rows, late.select(rows.columns)]), costs_bp=10.0)
    assert (without["trials"][0], both["trials"].to_list()) == (4, [4] * 4)
    assert both["dsr"][0] > 0.7  # 0.00 where its ratio widens the variance
    assert without["dsr"][0] > both["dsr"][0]
