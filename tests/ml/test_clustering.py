"""Clusters: planted blocks, peers for every formula, numbers that stay, the same bits from any month."""

from __future__ import annotations

from datetime import date

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.ml.clustering import correlation, matching, monthly, sectors

BLOCKS = np.repeat([0, 1, 2, 3], 6)
FIRST, LAST, SWITCH = date(2014, 3, 3), date(2018, 4, 18), date(2016, 8, 1)


def planted(sessions: int, seed: int, market: float) -> np.ndarray:
    """Returns of 24 names in four blocks; ``market`` moves all of them, with loadings of their own."""
    rng = np.random.default_rng(seed)
    blocks = rng.standard_normal((sessions, 4))
    common = rng.standard_normal((sessions, 1)) * rng.uniform(0.5, 1.5, len(BLOCKS))
    own = rng.standard_normal((sessions, len(BLOCKS)))
    return 0.01 * (market * common + blocks[:, BLOCKS] + own)


@pytest.fixture(scope="module")
def prices(calendar: TradingCalendar) -> pl.DataFrame:
    """24 names in four blocks; from ``SWITCH`` on six names make a block of their own. One name is listed
    late, one leaves, one stands still, and there are gaps."""
    days = calendar.frame(FIRST, LAST)
    r = planted(days.height, 1, 1.0)
    late = (days["date"] >= SWITCH).to_numpy()
    moved = [0, 1, 6, 7, 12, 13]
    extra = 0.03 * np.random.default_rng(2).standard_normal(days.height)
    r[np.ix_(late, moved)] += extra[late][:, None]
    names = [f"N{i:02d}" for i in range(24)] + ["STILL"]
    r = np.column_stack([r, np.zeros(days.height)])
    alive = np.random.default_rng(3).random(r.shape) > 0.01
    alive[:400, 4] = False
    alive[900:, 9] = False
    grid = days.select("date", "slot").join(pl.DataFrame({"instrument_id": names}), how="cross")
    return grid.with_columns(
        tr_index=pl.Series(np.cumprod(1 + r, axis=0).ravel()), alive=pl.Series(alive.ravel())
    ).filter("alive")


@pytest.fixture(scope="module")
def universe(prices: pl.DataFrame) -> pl.DataFrame:
    return prices.select("date", "instrument_id")


@pytest.fixture(scope="module")
def full(
    prices: pl.DataFrame, universe: pl.DataFrame, calendar: TradingCalendar
) -> monthly.Clusters:
    return monthly.clusters(prices, universe, calendar, end=LAST)


def rand(a: np.ndarray, b: np.ndarray) -> float:
    from sklearn.metrics import adjusted_rand_score

    return float(adjusted_rand_score(a, b))


@pytest.mark.parametrize("linkage", ["ward", "average"])
def test_planted_blocks_are_found(linkage: str) -> None:
    found = correlation.partition(correlation.correlations(planted(504, 4, 0.0)), linkage)
    np.testing.assert_array_equal(found.labels, BLOCKS + 1)


@pytest.mark.parametrize("linkage", ["ward", "average"])
def test_blocks_below_a_market_are_found_in_what_it_leaves(linkage: str) -> None:
    returns = planted(504, 5, 3.0)
    found = correlation.partition(correlation.correlations(sectors.residuals(returns)), linkage)
    np.testing.assert_array_equal(found.labels, BLOCKS + 1)


def test_correlations_are_those_of_each_pairs_common_sessions() -> None:
    rng = np.random.default_rng(6)
    x = planted(80, 7, 1.0)[:, :6] + 0.5
    x[rng.random(x.shape) < 0.2] = np.nan
    x[:, 5] = np.where(np.isfinite(x[:, 5]), 0.25, np.nan)
    rho = correlation.correlations(x)
    for i in range(5):
        for j in range(5):
            both = np.isfinite(x[:, i]) & np.isfinite(x[:, j])
            want = np.corrcoef(x[both, i], x[both, j])[0, 1]
            assert rho[i, j] == pytest.approx(want, abs=1e-10)
    assert np.isnan(rho[5]).all()
    assert np.isnan(rho[:, 5]).all()
    whole = planted(60, 8, 1.0)
    np.testing.assert_allclose(
        correlation.correlations(whole), np.corrcoef(whole, rowvar=False), atol=1e-12
    )


def test_residuals_are_those_of_a_regression_with_a_constant() -> None:
    x = planted(90, 9, 1.0)[:, :5] + 0.001
    x[np.random.default_rng(10).random(x.shape) < 0.15] = np.nan
    market = np.nanmean(x, axis=1)
    left = sectors.residuals(x)
    for j in range(5):
        there = np.isfinite(x[:, j])
        A = np.column_stack([np.ones(there.sum()), market[there]])
        beta = np.linalg.lstsq(A, x[there, j])[0]
        np.testing.assert_allclose(left[there, j], x[there, j] - A @ beta, atol=1e-12)
        assert np.isnan(left[~there, j]).all()
    same = np.repeat(x[:, :1], 3, axis=1)
    assert np.isnan(sectors.residuals(same)).all()  # the market explains all of them


def test_the_number_of_clusters_is_that_with_the_best_silhouette() -> None:
    from scipy.cluster.hierarchy import fcluster
    from scipy.cluster.hierarchy import linkage as tree
    from scipy.spatial.distance import squareform
    from sklearn.metrics import silhouette_score

    for seed, method in ((11, "ward"), (12, "average"), (13, "ward")):
        returns = planted(120, seed, 0.7)[:, np.random.default_rng(seed).permutation(24)]
        D = correlation.distances(correlation.correlations(returns))
        Z = tree(squareform(D, checks=False), method)
        cuts = {k: fcluster(Z, k, "maxclust") for k in range(2, 9)}
        scores = {k: silhouette_score(D, c, metric="precomputed") for k, c in cuts.items()}
        best = max(scores, key=lambda k: scores[k])
        found = correlation.partition(correlation.correlations(returns), method)
        assert found.clusters == best
        assert found.silhouette == pytest.approx(scores[best], abs=1e-10)
        assert rand(found.labels, cuts[best]) == 1.0
        near = [k for k in scores if 0 < scores[best] - scores[k] < 0.19 * scores[best]]
        far = [k for k in scores if scores[best] - scores[k] > 0.21 * scores[best]]
        rho = correlation.correlations(returns)
        assert all(correlation.partition(rho, method, k).clusters == k for k in near)
        assert all(correlation.partition(rho, method, k).clusters == best for k in far)
        assert near or far


@given(
    st.lists(st.tuples(st.integers(1, 4), st.integers(1, 5)), min_size=1, max_size=30),
)
def test_the_adjusted_rand_index_is_that_of_scikit_learn(pairs: list[tuple[int, int]]) -> None:
    names = [f"n{i}" for i in range(len(pairs))]
    now = correlation.numbered(np.array([a for a, _ in pairs]))
    before = {n: b for n, (_, b) in zip(names, pairs, strict=True)}
    shared = matching.overlap(names, now, before, sorted(set(before.values())))
    ours = matching.adjusted_rand(shared)
    assert ours == pytest.approx(rand(now, np.array(list(before.values()))), abs=1e-12)
    together = matching.companions(names, now, before)
    for i, name in enumerate(names):
        a = {n for n, k in zip(names, now, strict=True) if k == now[i]} - {name}
        b = {n for n in names if before[n] == before[name]} - {name}
        assert together[i] == pytest.approx(len(a & b) / len(a | b) if a | b else 1.0)


def test_numbers_follow_their_clusters() -> None:
    names = [f"n{i:02d}" for i in range(12)]
    before = dict(zip(names, np.repeat([7, 3, 9], 4).tolist(), strict=True))
    same = matching.follow(names, np.repeat([1, 2, 3], 4), before, 10)
    assert same.tolist() == list(before.values())
    swapped = matching.follow(names[::-1], np.repeat([1, 2, 3], 4), before, 10)
    assert swapped.tolist() == list(before.values())[::-1]
    split = matching.follow(names, np.array([1, 1, 1, 2, 3, 3, 3, 3, 4, 4, 5, 5]), before, 10)
    assert split.tolist() == [7, 7, 7, 10, 3, 3, 3, 3, 9, 9, 11, 11]
    merged = matching.follow(names, np.array([1] * 7 + [2] * 5), before, 10)
    assert merged.tolist() == [7] * 7 + [9] * 5
    assert matching.follow(names, np.repeat([1, 2, 3], 4), {}, 1).tolist() == [1] * 4 + [2] * 4 + [3] * 4  # fmt: skip


def test_a_cluster_that_shares_little_with_any_gets_a_new_number() -> None:
    names = [f"n{i:02d}" for i in range(11)]
    before = dict(zip(names, [1] * 4 + [2] * 4 + [3] * 3, strict=True))
    # the second has one name of each old cluster, and 3 is left for it
    now = np.array([1, 1, 1, 2, 2, 3, 3, 3, 2, 3, 3])
    assert matching.follow(names, now, before, 4).tolist() == [1, 1, 1, 4, 4, 2, 2, 2, 4, 2, 2]


def test_blocks_are_found_through_time_and_keep_their_numbers(full: monthly.Clusters) -> None:
    rows = full.members.filter(pl.col("method") == "sectors")
    days = rows["date"].unique().sort().to_list()
    assert days[0] == date(
        2015, 9, 30
    )  # the first month end with 378 returns, some bars being missing
    calm = rows.filter((pl.col("date") < SWITCH) & (pl.col("date") > date(2016, 2, 1)))
    for (_,), part in calm.group_by("date"):
        block = part["instrument_id"].str.slice(1).cast(pl.Int32).to_numpy() // 6
        assert rand(part["cluster"].to_numpy(), block) == 1.0
    kept = calm.group_by("instrument_id").agg(pl.col("cluster").n_unique())
    assert kept["cluster"].max() == 1
    last = rows.filter(pl.col("date") == days[-1])
    moved = last.filter(pl.col("instrument_id").is_in(["N00", "N01", "N06", "N07", "N12", "N13"]))
    assert moved["cluster"].n_unique() == 1
    assert moved["cluster"][0] > calm["cluster"].max()  # type: ignore[operator]
    assert "STILL" not in rows["instrument_id"]


def test_quality_says_when_the_blocks_changed(full: monthly.Clusters) -> None:
    rows = full.quality.filter(pl.col("method") == "sectors")
    assert rows["stability_to_previous"][0] is None
    assert rows["stayed"][0] is None
    assert rows["stability_to_previous"].drop_nulls().min() < 0.9  # type: ignore[operator]
    before = rows.filter((pl.col("date") < SWITCH) & (pl.col("date") > date(2016, 3, 1)))
    assert (before["stability_to_previous"] == 1.0).all()
    assert (before["stayed"] == 1.0).all()
    late = full.members.filter(pl.col("instrument_id") == "N04").sort("date")
    assert late["date"][0] > date(2017, 1, 1)
    assert late["stability"][0] is None


def test_each_cluster_has_a_size_and_one_representative(full: monthly.Clusters) -> None:
    by = full.members.group_by("date", "method", "cluster").agg(
        pl.len().alias("n"), pl.col("size").unique(), pl.col("representative").sum()
    )
    assert by.filter(pl.col("size").list.len() != 1).is_empty()
    assert (by["size"].list.first() == by["n"]).all()
    assert (by["representative"] == 1).all()


@pytest.mark.parametrize("start", [date(2015, 8, 3), date(2016, 9, 1), date(2018, 3, 1)])
def test_a_run_from_any_month_goes_on_from_the_stored_numbers(
    start: date,
    full: monthly.Clusters,
    prices: pl.DataFrame,
    universe: pl.DataFrame,
    calendar: TradingCalendar,
) -> None:
    since = calendar.offset(start, -monthly.WINDOW - 1)
    part = monthly.clusters(
        prices.filter(pl.col("date") >= since), universe.filter(pl.col("date") >= start), calendar,
        start=start, end=LAST, stored=full.members.filter(pl.col("date") < start),
    )  # fmt: skip
    assert part.members.equals(full.members.filter(pl.col("date") >= start))
    assert part.quality.equals(full.quality.filter(pl.col("date") >= start))
    assert part.members.height > 0


def test_later_bars_change_nothing(
    full: monthly.Clusters,
    prices: pl.DataFrame,
    universe: pl.DataFrame,
    calendar: TradingCalendar,
) -> None:
    for end in (date(2016, 8, 31), date(2017, 2, 14)):
        seen = monthly.clusters(
            prices.filter(pl.col("date") <= end), universe.filter(pl.col("date") <= end), calendar,
            end=end,
        )  # fmt: skip
        assert seen.members.equals(full.members.filter(pl.col("date") <= end))
        at = calendar.known_at(end)
        assert seen.quality.equals(full.quality.filter(pl.col("known_at") <= at))


def test_neither_the_order_of_rows_nor_names_matter(
    full: monthly.Clusters,
    prices: pl.DataFrame,
    universe: pl.DataFrame,
    calendar: TradingCalendar,
) -> None:
    mixed = monthly.clusters(
        prices.sample(fraction=1.0, shuffle=True, seed=1),
        universe.sample(fraction=1.0, shuffle=True, seed=2),
        calendar,
        end=LAST,
    )
    assert mixed.members.equals(full.members)
    names = prices["instrument_id"].unique().sort().to_list()
    other = dict(zip(names, np.random.default_rng(4).permutation(names).tolist(), strict=True))
    renamed = monthly.clusters(
        *(f.with_columns(pl.col("instrument_id").replace_strict(other)) for f in (prices, universe)),
        calendar, end=LAST,
    )  # fmt: skip
    back = {v: k for k, v in other.items()}
    there = renamed.members.with_columns(pl.col("instrument_id").replace_strict(back))
    both = full.members.join(there, on=["date", "method", "instrument_id"], suffix="_renamed")
    assert both.height == full.members.height
    for _, part in both.group_by("date", "method"):
        assert rand(part["cluster"].to_numpy(), part["cluster_renamed"].to_numpy()) == 1.0


def test_too_few_names_or_sessions_give_no_rows(
    prices: pl.DataFrame, universe: pl.DataFrame, calendar: TradingCalendar
) -> None:
    few = pl.col("instrument_id").is_in(["N00", "N01", "N02", "N03", "N05", "STILL"])
    made = monthly.clusters(prices.filter(few), universe, calendar, end=LAST)
    assert made.members.is_empty()
    assert made.quality.is_empty()
    short = prices.filter(pl.col("date") < date(2015, 8, 1))
    assert monthly.clusters(short, universe, calendar, end=date(2015, 7, 31)).members.is_empty()
    assert monthly.clusters(prices.clear(), universe, calendar, end=LAST).members.is_empty()
    still = prices.with_columns(tr_index=pl.lit(1.0))
    assert monthly.clusters(still, universe, calendar, end=LAST).members.is_empty()
