"""Universes that grow past 12 and 25 names, and studies that end before the panel does."""

from __future__ import annotations

from datetime import UTC, date, datetime

import numpy as np
import polars as pl
import pytest
from scipy import stats

from wealthos_pipeline.core.asset import AssetClass
from wealthos_pipeline.core.data import contract
from wealthos_pipeline.core.factor import Factor
from wealthos_pipeline.factors.evaluation import summary
from wealthos_pipeline.factors.library import Library
from wealthos_pipeline.factors.redundancy import report
from wealthos_pipeline.factors.study import Study, study

FEW, MANY, DATES = 15, 30, 200


@pytest.fixture(scope="module")
def market(calendar) -> pl.DataFrame:
    """15 names in a market that falls, from half-time on 30 in one that rises; value i earns i."""
    days = calendar.sessions(date(2017, 1, 3), date(2018, 12, 31))[:DATES]
    rows = []
    rng = np.random.default_rng(0)
    for j in range(MANY):
        ret = np.where(np.arange(DATES) < DATES // 2, -0.02, 0.02) + 2e-4 * j
        ret = ret + 1e-5 * rng.standard_normal(DATES)
        begin = 0 if j % 2 else DATES // 2
        rows += [
            (f"n{j:02}", d, float(v), float(j))
            for d, v in list(zip(days, np.cumprod(1 + ret), strict=True))[begin:]
        ]
    return pl.DataFrame(
        rows, schema={"instrument_id": pl.String, "date": pl.Date, "tr_index": pl.Float64, "x": pl.Float32},
        orient="row",
    )  # fmt: skip


@pytest.fixture(scope="module")
def found(market, calendar) -> Study:
    return study(market, market, name="x", calendar=calendar, horizons=(1,))


def test_a_bucket_that_some_dates_lack_keeps_its_line(found: Study, market: pl.DataFrame) -> None:
    """One date of 15 names must not take the second bucket away from all dates of 30 after it."""
    assert set(found.quantiles["dates"]) == {98, 198}
    line = found.cumulative
    assert line["q2"].null_count() == 100
    late = line.filter(pl.col("q2").is_not_null())
    assert late["q2"].is_sorted()
    assert late["q2"][-1] == pytest.approx(np.prod(1.02 + 2e-4 * np.full(98, 8.5)) - 1, rel=0.01)


def test_monotonicity_is_not_about_which_dates_a_bucket_has(found: Study, calendar) -> None:
    """Buckets 2 and 4 exist in the rising market alone: their plain means lie above that of bucket 5."""
    means = found.quantiles.sort("bucket")["mean_return"].to_list()
    assert means[1] > means[4]
    assert found.monotonicity["spearman"].to_list() == [1.0]
    rows = []
    for i in range(100):
        level, few = (-0.02, True) if i < 50 else (0.02, False)
        buckets = {f"q{q}": None if few and q in (2, 4) else level + 0.001 * q for q in range(1, 6)}
        rows.append(
            {"date": calendar.offset(date(2017, 1, 3), i), "rank_ic": 0.1 * (i % 3), **buckets}
        )
    table = contract("factors.performance")
    frame = pl.DataFrame(rows).with_columns(
        factor=pl.lit("f"), universe=pl.lit("members"), horizon=pl.lit(1), n=pl.lit(20), ic=0.1, spread=0.004,
        turnover=0.1, renewal=0.1, rank_autocorrelation=0.9, known_at=pl.lit(datetime(2019, 1, 1, tzinfo=UTC)),
    )  # fmt: skip
    factor = Factor("f", AssetClass.EQUITY, "own", 1, "f", "nobody", expression="$close")
    out = summary(table.conform(frame), Library({"f": factor}), {})
    assert out["monotonicity"].to_list() == [1.0]


def test_a_study_that_ends_early_covers_no_day_after_its_end(market, calendar) -> None:
    end = market["date"].unique().sort()[120]
    early = study(
        market, market, name="x", calendar=calendar, horizons=(1,), end_known=calendar.known_at(end)
    )
    assert early.coverage["date"].max() == end
    assert early.coverage["share"].to_list() == [1.0] * 121


def test_a_marginal_ic_stands_beside_the_ic_of_the_same_months(calendar) -> None:
    """In the first year there are too few names to set a factor beside the base; its ICs then are −1."""
    days = calendar.firsts(date(2016, 1, 4), date(2018, 1, 2), "month")
    rng = np.random.default_rng(1)
    parts = []
    for i, day in enumerate(days):
        n = 7 if i < 12 else 40
        a, b = rng.standard_normal((2, n))
        parts.append(
            pl.DataFrame(
                {
                    "date": [day] * n, "instrument_id": [f"n{j:02}" for j in range(n)], "a": a, "b": b,
                    "label": a * (-1.0 if i < 12 else 1.0), "known_at": calendar.known_at(calendar.offset(day, 6)),
                }
            )
        )  # fmt: skip
    rows = pl.concat(parts).with_columns(c=pl.col("b") + 2 * pl.col("a"))
    out = report(
        rows.select("date", "instrument_id", "a", "b", "c"), rows.select("date", "instrument_id", "label", "known_at"),
        {"a": 1, "b": 1, "c": 1}, 5, calendar, base=("b", "c"),
    )["factors.clusters"]  # fmt: skip
    row = out.filter(pl.col("factor") == "a").row(0, named=True)
    assert row["dates"] == len(days) - 12
    assert row["mean_rank_ic"] == pytest.approx(1.0)


def test_a_factor_of_month_ends_keeps_its_distances_in_the_summary(calendar) -> None:
    """Beside one that has every date, its 20-session labels are seen not to overlap."""
    days = calendar.sessions(date(2010, 1, 4), date(2017, 12, 29))
    ics = 0.03 + 0.1 * np.random.default_rng(2).standard_normal(len(days))
    both = [("daily", d, v) for d, v in zip(days, ics, strict=True)]
    both += [("monthly", d, v) for d, v in list(zip(days, ics, strict=True))[::21]]
    frame = pl.DataFrame(both, schema=["factor", "date", "rank_ic"], orient="row").with_columns(
        universe=pl.lit("members"), horizon=pl.lit(20), n=pl.lit(20), ic=0.1, spread=0.004, turnover=0.1,
        renewal=0.1, rank_autocorrelation=0.9, known_at=pl.lit(datetime(2019, 1, 1, tzinfo=UTC)),
        **{f"q{q}": pl.lit(0.01 * q) for q in range(1, 6)},
    )  # fmt: skip
    names = ("daily", "monthly")
    library = Library(
        {n: Factor(n, AssetClass.EQUITY, "own", 1, n, "", expression="$close") for n in names}
    )
    out = summary(contract("factors.performance").conform(frame), library, {})
    row = out.filter(pl.col("factor") == "monthly").row(0, named=True)
    plain = stats.ttest_1samp(ics[::21], 0.0)
    assert row["t_non_overlapping"] == pytest.approx(plain.statistic)
    assert row["p_value"] == pytest.approx(stats.t.sf(abs(row["t"]), len(ics[::21]) - 1) * 2)


def test_names_of_a_sector_are_those_of_the_dates_that_count(calendar) -> None:
    days = calendar.sessions(date(2017, 1, 3), date(2017, 12, 29))[:100]
    rng = np.random.default_rng(0)
    index = np.cumprod(1 + 0.01 * rng.standard_normal((100, 12)), axis=0)
    x = rng.standard_normal((100, 12)).astype(np.float32)
    x[:50, :5], x[:50, 5] = 1.0, np.nan  # five of the sector's six, all alike: no ranks within it
    ids = [f"n{j:02}" for j in range(12)]
    rows = pl.DataFrame(
        {
            "date": np.repeat(np.array(days, "datetime64[D]"), 12), "instrument_id": ids * 100,
            "tr_index": index.ravel(), "x": x.ravel(),
        }
    )  # fmt: skip
    groups = pl.DataFrame(
        {"instrument_id": ids, "valid_from": days[0], "sector": ["A"] * 6 + ["B"] * 6}
    )
    found = study(rows, rows, name="x", calendar=calendar, horizons=(1,), groups=groups).by_sector
    assert found.select("sector", "dates", "names").rows() == [("A", 48, 6.0), ("B", 98, 6.0)]
