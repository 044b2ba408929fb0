"""A study against pandas, SciPy and loops, on a market with gaps, listings and delistings."""

from __future__ import annotations

import math
from dataclasses import fields
from datetime import UTC, date, datetime

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy import stats

from wealthos_pipeline.core.errors import FactorError
from wealthos_pipeline.factors import forward_returns
from wealthos_pipeline.factors.grid import grid, liquidity
from wealthos_pipeline.factors.study import Study, half_life, study
from wealthos_pipeline.factors.study_frames import monotonicity

HORIZONS = (1, 5, 20)
START = date(2018, 1, 2)


@pytest.fixture(scope="module")
def values(synthetic_prices: pl.DataFrame) -> pl.DataFrame:
    """Half of next week's return, half noise that lasts; holes and a few ties."""
    rng = np.random.default_rng(2)
    rows = synthetic_prices.sort("instrument_id", "date").select(
        "date",
        "instrument_id",
        ahead=(pl.col("tr_index").shift(-6) / pl.col("tr_index").shift(-1)).over("instrument_id"),
    )
    noise = pl.Series(rng.normal(size=rows.height)).rolling_mean(4, min_samples=1)
    x = (rows["ahead"].fill_null(1.0) - 1.0) * 5 + noise
    x = pl.select(
        pl.when(pl.Series(rng.random(rows.height) < 0.1)).then(0.0).otherwise(x)
    ).to_series()
    kept = rows.select("date", "instrument_id", x=x.cast(pl.Float32))
    return kept.filter((pl.col("date") >= START) & pl.Series(rng.random(kept.height) > 0.03))


@pytest.fixture(scope="module")
def instruments(values: pl.DataFrame) -> pl.DataFrame:
    ids = values["instrument_id"].unique().sort().to_list()
    return pl.DataFrame(
        {
            "instrument_id": ids,
            "valid_from": [date(2016, 1, 4)] * len(ids),
            "sector": [None if i == 3 else ("Alone" if i == 9 else f"S{i % 3}") for i in range(len(ids))],
        }
    )  # fmt: skip


@pytest.fixture(scope="module")
def members(values: pl.DataFrame) -> pl.DataFrame:
    return values.filter(pl.col("instrument_id") > "SYN07").select("date", "instrument_id")


@pytest.fixture(scope="module")
def regimes(calendar) -> pl.DataFrame:
    days = calendar.sessions(date(2018, 6, 1), date(2019, 12, 31))
    words = ["calm" if (i // 30) % 2 else "turbulent" for i in range(len(days))]
    return pl.DataFrame({"date": days, "regime": words})


@pytest.fixture(scope="module")
def found(values, synthetic_prices, members, instruments, regimes, calendar) -> Study:
    return study(
        values, synthetic_prices, name="x", direction=-1, calendar=calendar, horizons=HORIZONS,
        universe=members, groups=instruments, regimes=regimes, costs_bp=7.0,
    )  # fmt: skip


@pytest.fixture(scope="module")
def wide(values, synthetic_prices, calendar) -> dict[str, pd.DataFrame]:
    """Values and labels as dates × names, in pandas."""
    out = {"x": values.pivot("instrument_id", index="date", values="x")}
    for h in HORIZONS:
        labels = forward_returns(synthetic_prices, h, calendar, start=START)
        out[str(h)] = labels.pivot("instrument_id", index="date", values="label")
    frames = {k: v.sort("date").to_pandas().set_index("date") for k, v in out.items()}
    days = pd.to_datetime(pd.Series(calendar.sessions(START, values["date"].max())))
    names = sorted(values["instrument_id"].unique())
    return {k: v.reindex(index=days, columns=names) for k, v in frames.items()}


def fifths(known: np.ndarray) -> np.ndarray:
    """Bucket from 0 of each value: five of 25 names or more, three of 12, else two."""
    count = 5 if len(known) >= 25 else (3 if len(known) >= 12 else 2)
    edges = np.quantile(known.astype(np.float64), np.arange(1, count) / count)
    return np.searchsorted(edges, known, side="left")


def bucket_of(row: pd.Series) -> pd.Series:
    known = row.dropna()
    return pd.Series(fifths(known.to_numpy()), known.index)


def rows_of(frame: pl.DataFrame, **chosen: object) -> pl.DataFrame:
    return frame.filter(*(pl.col(k) == v for k, v in chosen.items()))


@pytest.mark.parametrize("horizon", HORIZONS)
def test_ic_by_date_is_that_of_scipy(horizon: int, found: Study, wide) -> None:
    mine = rows_of(found.ic, universe="all", variant="plain", horizon=horizon)
    assert mine.height > 200
    for row in mine.sample(60, seed=1).iter_rows(named=True):
        day = pd.Timestamp(row["date"])
        both = pd.DataFrame({"x": wide["x"].loc[day], "y": wide[str(horizon)].loc[day]}).dropna()
        assert row["n"] == len(both)
        assert row["ic"] == pytest.approx(-np.corrcoef(both["x"], both["y"])[0, 1], abs=1e-9)
        assert row["rank_ic"] == pytest.approx(-stats.spearmanr(both["x"], both["y"])[0], abs=1e-12)


def test_members_are_judged_beside_all_names(found: Study, members, wide) -> None:
    assert found.universes == ("members", "all")
    mine = rows_of(found.ic, universe="members", variant="plain", horizon=5)
    row = mine.row(50, named=True)
    day = pd.Timestamp(row["date"])
    both = pd.DataFrame({"x": wide["x"].loc[day], "y": wide["5"].loc[day]}).dropna()
    both = both[both.index > "SYN07"]
    assert row["n"] == len(both)
    assert row["rank_ic"] == pytest.approx(-stats.spearmanr(both["x"], both["y"])[0], abs=1e-12)


@pytest.mark.parametrize("horizon", [1, 20])
def test_quantiles_spread_and_costs_are_those_of_a_loop(horizon: int, found: Study, wide) -> None:
    by_bucket: dict[int, list[float]] = {q: [] for q in range(1, 6)}
    excess: dict[int, list[float]] = {q: [] for q in range(1, 6)}
    gross, renewal = [], []
    legs: list[tuple[set[int], set[int]]] = []
    names = np.arange(wide["x"].shape[1])
    for day, x, y in zip(
        wide["x"].index, wide["x"].to_numpy(), wide[str(horizon)].to_numpy(), strict=True
    ):
        there = ~np.isnan(x)
        whole = fifths(x[there]) if there.sum() >= 5 else np.array([], np.int64)
        held = names[there][: len(whole)]
        legs.append((set(held[whole == 4]), set(held[whole == 0])))
        if len(legs) > horizon and legs[-1][0] and legs[-1 - horizon][0]:
            now, then = legs[-1], legs[-1 - horizon]
            renewal.append(np.mean([len(a - b) / len(a) for a, b in zip(now, then, strict=True)]))
        both = there & ~np.isnan(y)
        if both.sum() < 25:
            assert both.sum() < 5 or day.date() > date(2019, 6, 1)
            continue
        part, label = fifths(x[both]), y[both]
        means = {q: label[part == q].mean() for q in range(5) if (part == q).any()}
        for q, mean in means.items():
            by_bucket[q + 1].append(mean)
            excess[q + 1].append(mean - label.mean())
        if {0, 4} <= set(means):
            gross.append(-(means[4] - means[0]))
    mine = rows_of(found.quantiles, universe="all", horizon=horizon)
    assert mine["bucket"].to_list() == [1, 2, 3, 4, 5]
    np.testing.assert_allclose(
        mine["mean_return"], [np.mean(v) for v in by_bucket.values()], rtol=1e-9
    )
    np.testing.assert_allclose(
        mine["mean_excess"], [np.mean(v) for v in excess.values()], rtol=1e-9, atol=1e-15
    )
    row = rows_of(found.spread, universe="all", horizon=horizon).row(0, named=True)
    assert row["gross"] == pytest.approx(np.mean(gross), rel=1e-9)
    assert row["renewal"] == pytest.approx(np.mean(renewal), rel=1e-9)
    assert row["net"] == pytest.approx(row["gross"] - row["cost"], rel=1e-9)
    assert row["cost"] == pytest.approx(4 * 7e-4 * np.mean(renewal), rel=0.05)


def test_turnover_and_autocorrelation_are_those_of_a_loop(found: Study, wide) -> None:
    ranks = wide["x"].rank(axis=1)
    for lag in (1, 5, 20):
        expected = ranks.corrwith(ranks.shift(lag), axis=1).mean()
        mine = rows_of(found.autocorrelation, universe="all", lag=lag)["rank_autocorrelation"][0]
        assert mine == pytest.approx(expected, abs=1e-9)
    day = wide["x"].index[100]
    now, then = bucket_of(wide["x"].iloc[100]), bucket_of(wide["x"].iloc[99])
    row = rows_of(found.turnover, universe="all", date=day.date()).row(0, named=True)
    for side, q in (("top", 4), ("bottom", 0)):
        a, b = set(now.index[now == q]), set(then.index[then == q])
        assert row[side] == pytest.approx(len(a - b) / len(a))


def test_variants_are_residuals_of_ranks(
    found: Study, wide, instruments, members, synthetic_prices, calendar
) -> None:
    sector = dict(instruments.select("instrument_id", "sector").iter_rows())
    cells = grid(synthetic_prices, calendar)
    volume = pd.DataFrame(
        liquidity(synthetic_prices, cells, calendar), pd.to_datetime(cells.days.to_pandas()), list(cells.ids)
    )  # fmt: skip
    dollars = synthetic_prices.pivot("instrument_id", index="date", values="dollar_volume")
    dollars = dollars.sort("date").to_pandas().set_index("date").reindex(volume.index)
    usual = np.log(dollars.rolling(20, min_periods=1).mean())
    for at in (60, 200):
        day = wide["x"].index[at]
        np.testing.assert_allclose(
            volume.loc[day].dropna(), usual.loc[day, volume.loc[day].dropna().index], rtol=1e-9
        )
        x = wide["x"].loc[day].dropna()
        x = x[x.index > "SYN07"]
        ranks = x.rank()
        traded = volume.loc[day, x.index].dropna()
        some = x[traded.index].rank()
        group = pd.Series({i: sector[i] or "other" for i in x.index})
        group = group.where(group.map(group.value_counts()) >= 3, "other")
        design = np.column_stack([np.ones(len(some)), traded])
        y = wide["5"].loc[day]
        residuals = {
            "sector": ranks - ranks.groupby(group).transform("mean"),
            "liquidity": some - design @ np.linalg.lstsq(design, some, rcond=None)[0],
        }
        for variant, residual in residuals.items():
            both = pd.DataFrame({"x": residual, "y": y}).dropna()
            row = rows_of(found.ic, variant=variant, horizon=5, date=day.date())
            expected = -stats.spearmanr(both["x"].astype(np.float32), both["y"])[0]
            assert row["rank_ic"][0] == pytest.approx(expected, abs=5e-3)


def test_parts_by_year_regime_and_sector(found: Study, wide, regimes, instruments) -> None:
    ic = rows_of(found.ic, universe="members", variant="plain", horizon=5)
    years = ic.group_by(year=pl.col("date").dt.year().cast(pl.String)).agg(
        m=pl.col("rank_ic").mean()
    )
    mine = rows_of(found.by_year, horizon=5).join(years, on="year")
    assert mine.height == years.height == 2
    np.testing.assert_allclose(mine["mean_rank_ic"], mine["m"], rtol=1e-9)
    parts = (
        ic.join(regimes, on="date").group_by("regime").agg(m=pl.col("rank_ic").mean(), k=pl.len())
    )
    mine = rows_of(found.by_regime, horizon=5).join(parts, on="regime")
    assert mine["dates"].to_list() == mine["k"].to_list()
    np.testing.assert_allclose(mine["mean_rank_ic"], mine["m"], rtol=1e-9)
    ids = instruments.filter((pl.col("sector") == "S1") & (pl.col("instrument_id") > "SYN07"))
    names = ids["instrument_id"].to_list()
    each = []
    for x, y in zip(wide["x"][names].to_numpy(), wide["5"][names].to_numpy(), strict=True):
        both = ~np.isnan(x) & ~np.isnan(y)
        if both.sum() >= 5:
            ranks = stats.rankdata(x[both]), stats.rankdata(y[both])
            each.append(-np.corrcoef(*ranks)[0, 1])
    row = rows_of(found.by_sector, horizon=5, sector="S1").row(0, named=True)
    assert row["dates"] == len(each)
    assert row["mean_rank_ic"] == pytest.approx(np.mean(each), rel=1e-9)
    assert rows_of(found.by_sector, sector="Alone").is_empty()


def test_cumulative_returns_are_dated_by_the_end_of_the_label(found: Study, wide, calendar) -> None:
    mine = rows_of(found.cumulative, universe="all")
    first = mine.row(0, named=True)
    day = calendar.offset(first["date"], -2)
    both = pd.DataFrame(
        {"x": wide["x"].loc[pd.Timestamp(day)], "y": wide["1"].loc[pd.Timestamp(day)]}
    )
    both = both.dropna()
    means = both["y"].groupby(bucket_of(both["x"])).mean()
    assert first["q1"] == pytest.approx(means[0], rel=1e-9)
    assert first["spread"] == pytest.approx(means[0] - means[4], rel=1e-9)
    assert first["spread_net"] == pytest.approx(first["spread"] - 2 * 7e-4)  # both legs are bought
    assert (mine["spread_net"] <= mine["spread"]).all()


def test_a_planted_factor_is_recovered_and_its_direction(
    values, synthetic_prices, calendar, found
) -> None:
    """It knows half of the five sessions after the fill, and no more of twenty than of five."""
    up = study(values, synthetic_prices, name="x", calendar=calendar, horizons=HORIZONS)
    row = {h: rows_of(up.summary, variant="plain", horizon=h).row(0, named=True) for h in HORIZONS}
    assert row[5]["t"] > 5
    assert row[5]["mean_rank_ic"] > row[20]["mean_rank_ic"] > 0
    assert row[5]["low"] < row[5]["mean_rank_ic"] < row[5]["high"]
    assert row[5]["p_value"] < 1e-4
    assert rows_of(up.monotonicity, horizon=5)["spearman"][0] == 1.0
    down = rows_of(found.summary, universe="all", variant="plain", horizon=5).row(0, named=True)
    assert down["mean_rank_ic"] == pytest.approx(-row[5]["mean_rank_ic"], rel=1e-12)
    assert rows_of(found.monotonicity, universe="all", horizon=5)["right_steps"][0] == 0.0


def test_only_labels_known_by_then_count(values, synthetic_prices, calendar) -> None:
    instant = datetime(2019, 3, 15, 12, tzinfo=UTC)
    last = calendar.last_known(instant)
    then = study(
        values, synthetic_prices, name="x", calendar=calendar, horizons=HORIZONS, end_known=instant
    )
    blind = study(
        values.filter(pl.col("date") <= last), synthetic_prices.filter(pl.col("date") <= last),
        name="x", calendar=calendar, horizons=HORIZONS,
    )  # fmt: skip
    for part in fields(Study):
        mine, theirs = getattr(then, part.name), getattr(blind, part.name)
        if isinstance(mine, pl.DataFrame):
            assert mine.equals(theirs), part.name
        elif part.name != "half_life":
            assert mine == theirs, part.name
    assert then.known_at is not None
    assert then.known_at <= instant
    whole = study(values, synthetic_prices, name="x", calendar=calendar, horizons=HORIZONS)
    near = calendar.offset(last, -6)
    early = (pl.col("date") <= near) & (pl.col("horizon") == 5)
    assert then.ic.filter(early).equals(whole.ic.filter(early))


def test_the_order_of_rows_and_the_names_of_names_do_not_matter(
    values, synthetic_prices, calendar, instruments
) -> None:
    one = study(
        values, synthetic_prices, name="x", calendar=calendar, horizons=(5,), groups=instruments
    )
    two = study(
        values.sample(fraction=1, shuffle=True, seed=1),
        synthetic_prices.sample(fraction=1, shuffle=True, seed=2),
        name="x", calendar=calendar, horizons=(5,), groups=instruments.reverse(),
    )  # fmt: skip
    assert all(
        getattr(one, f.name).equals(getattr(two, f.name))
        for f in fields(Study)
        if f.type == "pl.DataFrame"
    )
    ids = synthetic_prices["instrument_id"].unique().sort().to_list()
    turned = dict(zip(ids, reversed(ids), strict=True))
    renamed = [
        f.with_columns(pl.col("instrument_id").replace(turned)) for f in (values, synthetic_prices)
    ]
    three = study(*renamed, name="x", calendar=calendar, horizons=(5,))
    a, b = rows_of(one.ic, variant="plain"), rows_of(three.ic, variant="plain")
    np.testing.assert_allclose(a["rank_ic"], b["rank_ic"], atol=1e-13)
    np.testing.assert_allclose(one.turnover["top"], three.turnover["top"], atol=1e-13)


@pytest.mark.parametrize(("delay", "horizon"), [(0, 1), (0, 5), (1, 1), (1, 20), (2, 5)])
def test_labels_of_the_grid_are_forward_returns(delay, horizon, synthetic_prices, calendar) -> None:
    cells = grid(synthetic_prices, calendar)
    found = cells.labels(horizon, delay)
    if delay == 1:
        labels = forward_returns(synthetic_prices, horizon, calendar)
        expected = np.full(found.shape, np.nan)
        row = np.array([calendar.slot(d) for d in labels["date"]]) - cells.first
        place = {n: i for i, n in enumerate(cells.ids)}
        column = np.array([place[n] for n in labels["instrument_id"]])
        expected[row, column] = labels["label"].to_numpy()
        np.testing.assert_array_equal(found, expected)
    else:
        index = cells.index
        at, name = np.argwhere(np.isfinite(found))[1234]
        assert found[at, name] == index[at + delay + horizon, name] / index[at + delay, name] - 1
        assert np.isnan(found[len(found) - delay - horizon :]).all()


def test_half_life_is_read_between_the_lags() -> None:
    def at(*pairs: tuple[int, float | None]) -> float:
        return half_life(pl.DataFrame(pairs, schema=["lag", "rank_autocorrelation"], orient="row"))

    assert at((1, 0.9), (5, 0.9**5), (20, 0.9**20)) == pytest.approx(math.log(0.5) / math.log(0.9))
    assert at((1, 0.5), (5, 0.1)) == pytest.approx(1.0)
    assert at((1, 0.99), (20, 0.99**20)) == pytest.approx(math.log(0.5) / math.log(0.99))
    assert at((1, 0.75), (5, -0.25)) == pytest.approx(2.0)
    assert at((1, -0.25), (5, 0.3)) == pytest.approx(0.4)
    assert math.isnan(at((1, None), (5, 0.3)))
    assert at((1, 1.0), (5, 1.0)) == math.inf


def test_monotonicity_of_few_buckets() -> None:
    assert monotonicity(np.array([0.1, 0.3, 0.2])) == pytest.approx((0.5, 0.5))
    assert monotonicity(np.array([0.1, 0.3])) == (1.0, 1.0)
    assert all(math.isnan(v) for v in monotonicity(np.array([0.1])))


def test_what_cannot_be_judged_is_said(values, synthetic_prices, calendar, instruments) -> None:
    plain = synthetic_prices.select("instrument_id", "date", "tr_index")
    bare = study(values, plain, name="x", calendar=calendar, horizons=(5, 4000))
    assert bare.horizons == (5,)
    assert set(bare.notes) == {"sector", "by_sector", "liquidity", "by_regime"}
    assert bare.by_sector.is_empty()
    assert bare.by_regime.is_empty()
    with pytest.raises(FactorError, match="'y'"):
        study(values, plain, name="y", calendar=calendar)
    with pytest.raises(FactorError, match="no value"):
        study(values.with_columns(x=pl.lit(None, pl.Float32)), plain, name="x", calendar=calendar)
    last = values.filter(pl.col("date") == values["date"].max())
    with pytest.raises(FactorError, match="too few"):
        study(last, plain, name="x", calendar=calendar)
    with pytest.raises(FactorError, match="tr_index"):
        study(values, plain.drop("tr_index"), name="x", calendar=calendar)
    flat = study(
        values.with_columns(x=pl.lit(1.0, pl.Float32)),
        plain,
        name="x",
        calendar=calendar,
        horizons=(5,),
    )
    assert flat.summary["dates"].to_list() == [0]
    assert flat.summary["t"].to_list() == [None]
