"""Planted faults are found, and ordinary days are not: coverage, distribution, sign."""

from __future__ import annotations

import math
from datetime import date

import numpy as np
import polars as pl
import pytest
from scipy import stats as scipy_stats

from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.factors import health

LAST = date(2019, 6, 28)


def market(calendar: TradingCalendar, names: int, seed: int = 3) -> pl.DataFrame:
    """A slow factor, a fast one and a market-wide one over the dates that ``examine`` wants."""
    dense, sparse = health.wanted(LAST, calendar)
    days = [*sparse, *calendar.sessions(dense, LAST)]
    rng = np.random.default_rng(seed)
    level = rng.normal(size=names)
    parts = []
    for day in days:
        mood = rng.normal()
        level = level + 0.05 * rng.normal(size=names)
        parts.append(
            pl.DataFrame(
                {
                    "date": [day] * names, "instrument_id": [f"n{i:03}" for i in range(names)],
                    "slow": level, "fast": rng.normal(size=names),
                    "common": 2 * mood + rng.normal(size=names),
                }
            )
        )  # fmt: skip
    return pl.concat(parts).with_columns(pl.col("slow", "fast", "common").cast(pl.Float32))


def found(rows: pl.DataFrame, calendar: TradingCalendar) -> set[tuple[str, str]]:
    seen = health.examine(rows, ["slow", "fast", "common"], calendar, start=LAST)
    assert seen.dates == (LAST,)
    return {(f.check, f.factor) for f in seen.findings}


def spoil(rows: pl.DataFrame, **columns: pl.Expr) -> pl.DataFrame:
    """``rows`` with columns changed on the last date."""
    today = pl.col("date") == LAST
    return rows.with_columns(
        pl.when(today).then(e).otherwise(pl.col(c)).alias(c) for c, e in columns.items()
    )


@pytest.mark.parametrize("names", [12, 25, 60, 400])
@pytest.mark.parametrize("seed", range(5))
def test_ordinary_days_have_no_finding(calendar, names: int, seed: int) -> None:
    assert found(market(calendar, names, seed), calendar) == set()


@pytest.mark.parametrize("names", [12, 60])
def test_a_column_of_zeros_is_found(calendar, names: int) -> None:
    rows = spoil(market(calendar, names), fast=pl.lit(0.0))
    assert found(rows, calendar) == {("distribution", "fast")}


@pytest.mark.parametrize("names", [12, 60])
def test_another_unit_is_found(calendar, names: int) -> None:
    rows = spoil(market(calendar, names), slow=pl.col("slow") * 0.01 + 100)
    assert ("distribution", "slow") in found(rows, calendar)


def test_a_flipped_sign_is_found_where_the_sign_is_steady(calendar) -> None:
    rows = spoil(market(calendar, 60), slow=-pl.col("slow"), fast=-pl.col("fast"))
    assert {f for c, f in found(rows, calendar) if c == "sign_flip"} == {"slow"}


@pytest.mark.parametrize("absent", [True, False])
def test_half_of_the_names_missing_is_found(calendar, absent: bool) -> None:
    """Whether their values are null or their rows are not there at all."""
    rows = market(calendar, 60)
    half = (pl.col("date") == LAST) & (pl.col("instrument_id") < "n030")
    if absent:
        rows = rows.filter(~half)
    else:
        rows = rows.with_columns(pl.when(~half).then(pl.col("slow")).alias("slow"))
    seen = health.examine(rows, ["slow"], calendar, start=LAST)
    (one,) = [f for f in seen.findings if f.check == "coverage"]
    assert (one.value, one.affected, one.names) == (0.5, 30, 60)
    assert seen.table.row(0, named=True)["usual"] == 1.0


def test_a_name_that_never_had_values_is_usual(calendar) -> None:
    rows = market(calendar, 60)
    rows = rows.with_columns(
        pl.when(pl.col("instrument_id") >= "n040").then(pl.col("slow")).alias("slow")
    )
    assert found(rows, calendar) == set()


def test_nothing_before_the_first_date_is_no_fault(calendar) -> None:
    rows = market(calendar, 60).filter(pl.col("date") == LAST)
    assert health.examine(rows, ["slow"], calendar).findings == ()
    assert health.examine(rows.clear(), ["slow"], calendar).table.is_empty()


def test_stability_index_by_hand() -> None:
    usual = np.array([0.5, 0.5])
    assert health.stability(np.array([0.5, 0.5]), usual, 100) == 0.0
    by_hand = (0.8 - 0.5) * math.log(0.8 / 0.5) + (0.2 - 0.5) * math.log(0.2 / 0.5)
    assert health.stability(np.array([0.8, 0.2]), usual, 100) == pytest.approx(by_hand)
    assert math.isfinite(health.stability(np.array([1.0, 0.0]), usual, 100))


def test_rank_correlation_of_the_names_of_both_days() -> None:
    """Against SciPy: ties, values missing on one day, names that came and went."""
    rng = np.random.default_rng(1)
    code = np.array([*range(30), *range(5, 40)])
    column = rng.integers(0, 8, 65).astype(float)
    column[[3, 12, 40]] = np.nan
    x, y = column[5:30], column[30:55]
    both = ~(np.isnan(x) | np.isnan(y))
    expected = scipy_stats.spearmanr(x[both], y[both]).statistic
    value, n = health._with_before(1, np.array([0, 30, 65]), code, column)
    assert (value, n) == (pytest.approx(expected), both.sum())


def test_months_of_the_longest_horizon() -> None:
    rows = pl.DataFrame(
        {
            "factor": ["a"] * 5, "universe": ["members"] * 4 + ["all"], "horizon": [20, 20, 20, 5, 20],
            "date": [date(2020, 1, 2), date(2020, 1, 31), date(2020, 2, 3), date(2020, 2, 3), date(2020, 2, 4)],
            "rank_ic": [0.1, 0.3, -0.1, 9.0, 9.0],
        }
    )  # fmt: skip
    assert health.monthly_ic(rows) == {"a": [pytest.approx(0.2), -0.1]}
    assert health.monthly_ic(rows.clear()) == {}
