"""Evaluation against scipy and direct recomputation; what noise looks like."""

from __future__ import annotations

from datetime import UTC, date, datetime

import numpy as np
import polars as pl
import pytest
from scipy import stats

from wealthos_pipeline import ml
from wealthos_pipeline.factors.labels import forward_returns
from wealthos_pipeline.stats.mean_test import mean_test

FOREVER = datetime(2100, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def predictions(world) -> pl.DataFrame:
    """Noise as predictions for every member."""
    rows = world.universe.filter(pl.col("date") >= date(2003, 1, 1)).sort("date", "instrument_id")
    return rows.with_columns(
        pl.lit("noise").alias("model"),
        pl.lit("walk_forward").alias("kind"),
        pl.lit(5, dtype=pl.Int32).alias("horizon"),
        pl.Series("prediction", np.random.default_rng(2).standard_normal(rows.height)),
    )


def evaluate(world, predictions, **more):
    keywords = {"known_until": FOREVER} | more
    return ml.evaluate(predictions, world.prices, world.calendar, 5, **keywords)


def test_a_date_against_scipy(world, predictions) -> None:
    day = date(2003, 5, 6)
    found = evaluate(world, predictions).filter(pl.col("date") == day).row(0, named=True)
    rows = (
        predictions.filter(pl.col("date") == day)
        .join(forward_returns(world.prices, 5, world.calendar), on=["date", "instrument_id"])
        .sort("prediction")
    )
    p, y = rows["prediction"].to_numpy(), rows["label"].to_numpy()
    k = len(p) // 5
    assert found["n"] == len(p)
    assert found["ic"] == pytest.approx(stats.pearsonr(p, y).statistic, rel=1e-9)
    assert found["rank_ic"] == pytest.approx(stats.spearmanr(p, y).statistic, rel=1e-9)
    assert found["spread"] == pytest.approx(y[-k:].mean() - y[:k].mean(), rel=1e-9)
    assert found["known_at"] == world.calendar.known_at(world.calendar.offset(day, 6))


def test_labels_that_are_not_known_yet_are_not_used(world, predictions) -> None:
    full = evaluate(world, predictions)
    T = datetime(2004, 3, 10, 21, 29, tzinfo=UTC)
    cut = evaluate(world, predictions, known_until=T)
    assert cut.equals(full.filter(pl.col("known_at") <= T))
    last = cut["date"].max()
    assert last is not None
    assert world.calendar.offset(last, 6) == date(2004, 3, 9)


def test_incremental_equals_full(world, predictions) -> None:
    full = evaluate(world, predictions)
    start = ml.first_affected(world.calendar, date(2004, 6, 1), 5)
    tail = pl.col("date") >= start
    since = pl.col("date") >= world.calendar.offset(
        start, -1
    )  # the turnover looks one session back
    part = ml.evaluate(
        predictions.filter(since), world.prices.filter(since), world.calendar, 5,
        start=start, known_until=FOREVER,
    )  # fmt: skip
    assert part.equals(full.filter(tail))
    # and no earlier date can be touched by a bar of the first dirty date
    moved = world.prices.with_columns(
        pl.when(pl.col("date") >= date(2004, 6, 1)).then(pl.col("tr_index") * (1 + pl.col("slot") % 3)).otherwise(pl.col("tr_index")).alias("tr_index")
    )  # fmt: skip
    other = ml.evaluate(predictions, moved, world.calendar, 5, known_until=FOREVER)
    assert other.filter(~tail).equals(full.filter(~tail))
    at = pl.col("date") == start
    assert not other.filter(at).equals(full.filter(at))


def test_constant_predictions_and_few_names_have_no_ic(world, predictions) -> None:
    flat = evaluate(world, predictions.with_columns(pl.lit(0.3).alias("prediction")))
    assert flat["ic"].null_count() == flat["rank_ic"].null_count() == flat.height > 0
    pair = world.universe.filter(pl.col("instrument_id").is_in(["N00", "N01"]))
    few = evaluate(world, predictions, universe=pair)
    assert few["n"].max() == 2
    assert few["ic"].null_count() == few["spread"].null_count() == few.height
    summary = ml.summary(few, 5).row(0, named=True)
    assert summary["dates"] == 0
    assert summary["mean_rank_ic"] is None
    assert summary["detectable_ic"] is None


def test_other_kinds_and_horizons_are_left_out(world, predictions) -> None:
    live = predictions.with_columns(pl.lit("live").alias("kind"))
    assert evaluate(world, live).is_empty()
    other = predictions.with_columns(pl.lit(20, dtype=pl.Int32).alias("horizon"))
    assert evaluate(world, other).is_empty()
    assert ml.summary(evaluate(world, live), 5).is_empty()


def test_summary_decides_by_the_test_of_means(world, predictions) -> None:
    found = evaluate(world, predictions)
    row = ml.summary(found, 5).row(0, named=True)
    x = found["rank_ic"].to_numpy()
    test = mean_test(x, 5)
    assert row["mean_rank_ic"] == pytest.approx(x.mean(), rel=1e-9)
    assert row["icir"] == pytest.approx(x.mean() / x.std(ddof=1), rel=1e-9)
    assert (row["t"], row["detectable_ic"]) == (test.t, test.detectable)
    assert abs(row["t"]) <= min(
        abs(row[f"t_{m}"]) for m in ("newey_west", "bootstrap", "non_overlapping")
    )
    assert row["p_value"] == test.p_value


def test_noise_is_called_noise(world) -> None:
    """Persistent random predictions on random walks: |t| > 1.96 in about 5 %."""
    rng = np.random.default_rng(12)
    sessions = world.calendar.frame(date(2003, 1, 2), date(2004, 11, 17))
    days, n, worlds = sessions.height, 15, 25
    names = pl.DataFrame({"instrument_id": [f"N{i:02d}" for i in range(n)]})
    grid = sessions.select("date", "slot").join(names, how="cross")
    walk = np.cumprod(1 + 0.02 * rng.standard_normal((days, n)), axis=0)
    prices = grid.with_columns(pl.Series("tr_index", walk.ravel()))
    runs = []
    for k in range(worlds):
        slow = np.cumsum(rng.standard_normal((days, n)), axis=0)
        runs.append(
            grid.select(
                "date",
                "instrument_id",
                pl.lit(f"m{k:02d}").alias("model"),
                pl.lit("walk_forward").alias("kind"),
                pl.lit(5, dtype=pl.Int32).alias("horizon"),
                pl.Series("prediction", (slow - np.roll(slow, 60, axis=0)).ravel()),
            ).slice(60 * n)
        )
    found = ml.evaluate(pl.concat(runs), prices, world.calendar, 5, known_until=FOREVER)
    t = ml.summary(found, 5)["t"].to_numpy()
    assert len(t) == worlds
    assert np.mean(np.abs(t) > 1.96) <= 0.15
    assert np.abs(t).max() < 4
