"""Scores and performance against plain NumPy and SciPy, one date at a time."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime
from types import MappingProxyType

import numpy as np
import polars as pl
import pytest
from scipy import stats as scipy_stats
from statsmodels.stats.multitest import multipletests

from wealthos_pipeline.core.asset import AssetClass
from wealthos_pipeline.core.factor import Factor
from wealthos_pipeline.factors import (
    evaluation,
    forward_returns,
    performance,
    scores,
    scores_contract,
    summary,
)
from wealthos_pipeline.factors.library import Library, load
from wealthos_pipeline.factors.transforms import (
    SCORES,
    score_tables,
    scores_contracts,
    side_by_side,
)
from wealthos_pipeline.stats.mean_test import mean_test
from wealthos_pipeline.utils.config import FactorSettings

END = datetime(2019, 8, 2, tzinfo=UTC)
SECTORS = ("Energy", "Financials", "Tech", "Utilities")


def _factor(name: str, direction: int) -> Factor:
    return Factor(name, AssetClass.EQUITY, "t", direction, name, "", expression="$close")


LIBRARY = Library(
    MappingProxyType({n: _factor(n, d) for n, d in (("a", 1), ("b", -1), ("ties", 1))})
)


@pytest.fixture(scope="module")
def values(synthetic_prices: pl.DataFrame) -> pl.DataFrame:
    """Three factors from 2018-10 on: one with outliers and holes, one plain, one with many ties."""
    keys = synthetic_prices.filter(pl.col("date") >= date(2018, 10, 1)).select(
        "date", "instrument_id"
    )
    keys = keys.sort("date", "instrument_id")
    rng = np.random.default_rng(8)
    a = rng.standard_t(2, keys.height)
    a[rng.random(keys.height) < 0.1] = np.nan
    b = rng.normal(size=keys.height)
    ties = rng.integers(0, 4, keys.height).astype(float)
    return keys.with_columns(
        pl.Series(n, v.astype(np.float32), nan_to_null=True)
        for n, v in (("a", a), ("b", b), ("ties", ties))
    )


@pytest.fixture(scope="module")
def universe(values: pl.DataFrame) -> pl.DataFrame:
    """SYN06 leaves in 2019; SYN01 is never in."""
    gone = (pl.col("instrument_id") == "SYN06") & (pl.col("date") >= date(2019, 1, 2))
    return values.filter(~gone & (pl.col("instrument_id") != "SYN01")).select(
        "date", "instrument_id"
    )


@pytest.fixture(scope="module")
def instruments(values: pl.DataFrame) -> pl.DataFrame:
    ids = values["instrument_id"].unique().sort().to_list()
    sector = [
        None if i == 5 else ("Odd" if i in (7, 8) else SECTORS[i % 4]) for i in range(len(ids))
    ]
    return pl.DataFrame(
        {"instrument_id": ids, "sector": sector, "valid_from": [date(2016, 1, 4)] * len(ids)}
    )


@pytest.fixture(scope="module")
def scored(values, universe, instruments) -> pl.DataFrame:
    return scores(values, universe, instruments, FactorSettings())


def z(v: np.ndarray) -> np.ndarray:
    return (v - v.mean()) / v.std(ddof=1)


@pytest.mark.parametrize("name", ["a", "b", "ties"])
def test_scores_are_winsorised_standardised_and_neutral(
    name: str, scored, values, universe, instruments
) -> None:
    sector = dict(instruments.select("instrument_id", "sector").iter_rows())
    members = values.join(universe, on=["date", "instrument_id"], how="semi")
    assert scored.select("date", "instrument_id").equals(members.select("date", "instrument_id"))
    for (day,), rows in list(members.group_by("date", maintain_order=True))[::17]:
        kept = rows.filter(pl.col(name).is_not_null())
        v = kept[name].cast(pl.Float64).to_numpy()
        middle = np.median(v)
        mad = np.median(np.abs(v - middle))
        x = z(np.clip(v, middle - 5 * mad, middle + 5 * mad) if mad else v)
        group = [sector[i] for i in kept["instrument_id"]]
        group = [g if g and group.count(g) >= 3 else "other" for g in group]
        design = np.array([[float(g == h) for h in sorted(set(group))] for g in group])
        fitted = np.linalg.lstsq(design, x, rcond=None)[0]
        expected = z(x - design @ fitted)
        found = scored.filter((pl.col("date") == day) & pl.col(name).is_not_null())
        assert found["instrument_id"].to_list() == kept["instrument_id"].to_list()
        assert np.allclose(found[name].to_numpy(), expected, rtol=1e-5, atol=2e-6)


def test_scores_of_some_dates_any_order_any_threads_are_the_same_bits(
    scored, values, universe, instruments
) -> None:
    for threads, start in ((1, None), (2, date(2019, 3, 9))):
        mixed = values.sample(fraction=1, shuffle=True, seed=4)
        part = scores(mixed, universe, instruments, FactorSettings(), start=start, threads=threads)
        assert part.equals(scored.filter(pl.col("date") >= (start or date(1990, 1, 1))))


def test_too_few_names_or_no_spread_give_no_score(values, universe) -> None:
    few = values.filter(pl.col("instrument_id").is_in(["SYN00", "SYN02", "SYN04", "SYN06"]))
    assert scores(few, universe, None, FactorSettings())["b"].is_null().all()
    flat = values.with_columns(b=pl.lit(0.3, pl.Float32))
    out = scores(flat, universe, None, FactorSettings())
    assert out["b"].is_null().all()
    assert out["a"].is_not_null().any()


def test_a_sector_counts_from_the_day_it_was_given(values, universe, instruments) -> None:
    changed = pl.concat([instruments, instruments.filter(pl.col("instrument_id") == "SYN00").with_columns(
        sector=pl.lit("Tech"), valid_from=pl.lit(date(2019, 2, 1)))])  # fmt: skip
    before = scores(values, universe, instruments, FactorSettings())
    after = scores(values, universe, changed, FactorSettings())
    early = pl.col("date") < date(2019, 2, 1)
    assert before.filter(early).equals(after.filter(early))
    assert not before.filter(~early).equals(after.filter(~early))


def test_the_contract_fits(scored) -> None:
    table = scores_contract(LIBRARY)
    assert table.name == "factors.scores_equity"
    assert table.conform(scored).equals(scored)


def test_large_sets_have_tables_of_scores_of_their_own() -> None:
    library = load(("core", "alpha158", "alpha360"))
    tables = score_tables(library)
    assert next(iter(tables)) == SCORES
    assert not any(n in tables[SCORES] for n in ("KMID", "ROC5", "CLOSE1"))
    everything = [n for names in tables.values() for n in names]
    assert sorted(everything) == sorted(library.names(AssetClass.EQUITY))
    assert f"{SCORES}_alpha158_bars" in tables
    for table in scores_contracts(library):
        assert tuple(c.name for c in table.columns[2:]) == tables[table.name]
        assert len(table.columns) <= 62 or table.name == SCORES
    assert list(score_tables(load(("core",)))) == [SCORES]


def test_tables_of_scores_side_by_side(scored: pl.DataFrame) -> None:
    a, b = scored.select("date", "instrument_id", "a"), scored.drop("a")
    assert side_by_side([a, b]).equals(scored)
    assert side_by_side([a, b.reverse()]).equals(scored)
    late = b.filter(pl.col("date") > date(2019, 3, 1))
    found = side_by_side([a, late])
    assert found["a"].equals(scored["a"])
    assert found.filter(pl.col("date") <= date(2019, 3, 1))["b"].is_null().all()


@pytest.fixture(scope="module")
def performed(scored, values, synthetic_prices, universe, calendar) -> pl.DataFrame:
    return performance(
        scored, synthetic_prices, universe, LIBRARY, (5, 20), calendar, end_known=END, values=values
    )


def buckets(x: np.ndarray, count: int) -> np.ndarray:
    edges = np.quantile(x, np.arange(1, count) / count)
    return np.searchsorted(edges, x, side="left")


@pytest.mark.parametrize(
    ("name", "kind"), [("a", "all"), ("b", "all"), ("ties", "all"), ("a", "members")]
)
@pytest.mark.parametrize("horizon", [5, 20])
def test_performance_equals_scipy(
    name, kind, horizon, performed, scored, values, synthetic_prices, calendar
) -> None:
    frame = scored if kind == "members" else values
    labels = forward_returns(synthetic_prices, horizon, calendar)
    joined = frame.join(labels, on=["date", "instrument_id"]).drop_nulls([name, "label"])
    rows = performed.filter(
        (pl.col("factor") == name) & (pl.col("universe") == kind) & (pl.col("horizon") == horizon)
    )
    assert rows.height == joined["date"].n_unique()
    sign = LIBRARY.factors[name].direction
    for row in rows.iter_rows(named=True):
        part = joined.filter(pl.col("date") == row["date"])
        x, y = part[name].cast(pl.Float64).to_numpy(), part["label"].to_numpy()
        assert row["n"] == len(x) >= 25
        assert math.isclose(row["ic"], np.corrcoef(x, y)[0, 1], abs_tol=1e-9)
        assert math.isclose(row["rank_ic"], scipy_stats.spearmanr(x, y).statistic, abs_tol=1e-9)
        bucket = buckets(x, 5)
        means = [float(y[bucket == b].mean()) if (bucket == b).any() else None for b in range(5)]
        for q, mean in enumerate(means, 1):
            assert (row[f"q{q}"] is None) == (mean is None)
            assert mean is None or math.isclose(row[f"q{q}"], mean, abs_tol=1e-12)
        if means[0] is not None and means[4] is not None:
            assert math.isclose(row["spread"], sign * (means[4] - means[0]), abs_tol=1e-12)
        assert row["known_at"] == calendar.known_at(calendar.offset(row["date"], 1 + horizon))


def test_turnover_counts_new_names_of_the_top_bucket(performed, values) -> None:
    rows = performed.filter(
        (pl.col("factor") == "a") & (pl.col("universe") == "all") & (pl.col("horizon") == 5)
    )
    assert rows["turnover"][0] is None
    before: set[str] = set()
    for row in rows.iter_rows(named=True):
        part = values.filter((pl.col("date") == row["date"]) & pl.col("a").is_not_null())
        top = buckets(part["a"].cast(pl.Float64).to_numpy(), 5) == 4
        names = set(part.filter(pl.Series(top))["instrument_id"])
        if before:
            assert math.isclose(row["turnover"], len(names - before) / len(names))
        before = names


@pytest.mark.parametrize("horizon", [5, 20])
def test_renewal_and_rank_autocorrelation_are_those_of_a_loop(horizon, performed, values) -> None:
    rows = performed.filter(
        (pl.col("factor") == "ties")
        & (pl.col("universe") == "all")
        & (pl.col("horizon") == horizon)
    )
    days = values["date"].unique().sort().to_list()
    for row in rows.filter(pl.col("renewal").is_not_null())[::11].iter_rows(named=True):
        at = days.index(row["date"])
        now, day_before, then = (
            dict(
                values.filter((pl.col("date") == days[k]) & pl.col("ties").is_not_null())
                .select("instrument_id", "ties")
                .iter_rows()
            )
            for k in (at, at - 1, at - horizon)
        )
        sides = []
        for q in (0, 4):
            a, b = (
                {
                    n
                    for n, k in zip(x, buckets(np.array(list(x.values())), 5), strict=True)
                    if k == q
                }
                for x in (now, then)
            )
            sides.append(len(a - b) / len(a))
        assert math.isclose(row["renewal"], np.mean(sides), abs_tol=1e-12)
        ranks = [
            dict(zip(x, scipy_stats.rankdata(list(x.values())), strict=True))
            for x in (now, day_before)
        ]
        both = sorted(set(now) & set(day_before))
        expected = np.corrcoef([ranks[0][n] for n in both], [ranks[1][n] for n in both])[0, 1]
        assert math.isclose(row["rank_autocorrelation"], expected, abs_tol=1e-12)


def test_performance_of_some_dates_is_the_same_bits(
    performed, scored, values, synthetic_prices, universe, calendar
) -> None:
    start = date(2019, 5, 1)
    near = pl.col("date") >= calendar.offset(start, -evaluation.back((5, 20)))
    part = performance(
        scored.filter(near).sample(fraction=1, shuffle=True, seed=2),
        synthetic_prices.filter(pl.col("date") >= start), universe, LIBRARY, (5, 20), calendar,
        start=start, end_known=END, values=values.filter(near), threads=1,
    )  # fmt: skip
    assert part.equals(performed.filter(pl.col("date") >= start))


def test_only_labels_known_by_then_count(
    performed, scored, values, synthetic_prices, universe, calendar
) -> None:
    instant = datetime(2019, 3, 15, 12, tzinfo=UTC)
    then = performance(scored, synthetic_prices, universe, LIBRARY, (5, 20), calendar,
                       end_known=instant, values=values)  # fmt: skip
    assert then.equals(performed.filter(pl.col("known_at") <= instant))
    blind = performance(
        scored, synthetic_prices.filter(pl.col("date") <= calendar.last_known(instant)), universe,
        LIBRARY, (5, 20), calendar, end_known=instant, values=values,
    )  # fmt: skip
    assert then.equals(blind)


@pytest.mark.parametrize(("names", "kept"), [(30, "12345"), (20, "135"), (8, "15"), (4, "")])
def test_small_universes_have_fewer_buckets(
    names, kept, values, synthetic_prices, universe, calendar
) -> None:
    ids = values["instrument_id"].unique().sort()[:names]
    some = values.filter(pl.col("instrument_id").is_in(ids.implode()) & pl.col("b").is_not_null())
    out = performance(some, synthetic_prices, universe, LIBRARY, (5,), calendar, end_known=END)
    out = out.filter(pl.col("factor") == "b")
    if not kept:
        assert out.is_empty()
        return
    full = out.filter(pl.col("n") == pl.col("n").max())
    assert full.height > 10
    for q in "12345":
        assert full[f"q{q}"].is_not_null().all() == (q in kept)


def test_summary_is_signed_by_direction_and_says_what_can_be_seen(performed, values) -> None:
    out = summary(performed, LIBRARY, evaluation.coverage(values))
    assert out.height == 3 * 2 * 2
    row = out.filter(
        (pl.col("factor") == "b") & (pl.col("universe") == "all") & (pl.col("horizon") == 5)
    ).row(0, named=True)
    ics = performed.filter(
        (pl.col("factor") == "b") & (pl.col("universe") == "all") & (pl.col("horizon") == 5)
    )["rank_ic"].to_numpy()
    assert math.isclose(row["mean_rank_ic"], -ics.mean())
    e = ics - ics.mean()
    gamma = [np.sum(e[k:] * e[: len(e) - k]) / len(e) for k in range(11)]
    se = math.sqrt((gamma[0] + 2 * sum((1 - k / 11) * gamma[k] for k in range(1, 11))) / len(e))
    assert math.isclose(row["t_newey_west"], -ics.mean() / se)
    assert row["detectable_ic"] >= 2.8 * se - 1e-12
    assert row["dates"] == len(ics)
    test = mean_test(-ics, 5)
    assert (row["t"], row["p_value"]) == (test.t, test.p_value)
    assert math.isclose(row["icir"], -ics.mean() / ics.std(ddof=1))
    rows = performed.filter(
        (pl.col("factor") == "b") & (pl.col("universe") == "all") & (pl.col("horizon") == 5)
    )
    paid = 4 * 25e-4 * rows["renewal"].mean()
    dear = summary(performed, LIBRARY, {}, costs_bp=25.0).filter(
        (pl.col("factor") == "b") & (pl.col("universe") == "all") & (pl.col("horizon") == 5)
    )
    assert math.isclose(dear["spread_net"][0], rows["spread"].mean() - paid)
    means = [-rows[f"q{q}"].mean() for q in range(1, 6)]
    assert math.isclose(row["monotonicity"], scipy_stats.spearmanr(range(5), means).statistic)
    rho = rows["rank_autocorrelation"].mean()
    assert (row["half_life"] is None) == (rho <= 0)
    together = out.filter((pl.col("universe") == "all") & (pl.col("horizon") == 5))
    verdict = multipletests(together["p_value"].to_numpy(), 0.05, "fdr_bh")[0].tolist()
    assert together["bh_rejected"].to_list() == verdict
    cover = out.filter(pl.col("factor") == "a")["coverage"]
    assert (cover - 0.9).abs().max() < 0.03
    assert summary(performed.clear(), LIBRARY, {}).is_empty()


def test_first_affected_reaches_back_the_longest_label(calendar) -> None:
    day = date(2019, 3, 15)
    first = evaluation.first_affected(day, (5, 20), calendar)
    assert calendar.slot(day) - calendar.slot(first) == 21
