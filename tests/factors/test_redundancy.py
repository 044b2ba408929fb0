"""Correlations, clusters and marginal ICs against pandas, SciPy and least squares, date by date."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime

import numpy as np
import polars as pl
import pytest
from scipy import stats
from scipy.cluster.hierarchy import fcluster, linkage

from wealthos_pipeline.factors import redundancy as room

NAMES = ("calm", "copy", "holes", "lone", "ties")
DATES = [date(2019, m, 1) for m in (2, 3, 4, 5)]


@pytest.fixture(scope="module")
def scores() -> pl.DataFrame:
    rng = np.random.default_rng(5)
    keys = pl.DataFrame(
        {"date": np.repeat(np.array(DATES, "datetime64[D]"), 40), "instrument_id": [f"N{i:02d}" for i in range(40)] * 4}
    )  # fmt: skip
    n = keys.height
    calm = rng.normal(size=n)
    holes = 0.3 * calm + rng.normal(size=n)
    holes[rng.random(n) < 0.3] = np.nan
    columns = {
        "calm": calm,
        "copy": -calm + 0.3 * rng.normal(size=n),
        "holes": holes,
        "lone": rng.normal(size=n),
        "ties": rng.integers(0, 4, n).astype(float),
    }
    return keys.with_columns(
        pl.Series(k, v.astype(np.float32), nan_to_null=True) for k, v in columns.items()
    ).with_columns(pl.col("date").cast(pl.Date))


@pytest.fixture(scope="module")
def labels(scores: pl.DataFrame) -> pl.DataFrame:
    rng = np.random.default_rng(6)
    noise = pl.Series(rng.normal(size=scores.height))
    return (
        scores.select(
            "date", "instrument_id", label=pl.col("calm") * 0.3 + pl.col("lone") * 0.3 + noise,
            known_at=pl.lit(datetime(2019, 6, 3, tzinfo=UTC)),
        )
        .filter(pl.Series(rng.random(scores.height) > 0.05))
    )  # fmt: skip


def frames(scores: pl.DataFrame) -> list[np.ndarray]:
    parts = [scores.filter(pl.col("date") == d).select(NAMES) for d in DATES]
    return [p.cast(pl.Float64).fill_null(math.nan).to_numpy() for p in parts]


def centred(column: np.ndarray) -> np.ndarray:
    ranks = stats.rankdata(column[~np.isnan(column)])
    out = np.full(len(column), np.nan)
    out[~np.isnan(column)] = ranks - ranks.mean()
    return out


def test_correlations_are_those_of_ranks_over_common_names(scores: pl.DataFrame) -> None:
    table = room.ranked(scores.sample(fraction=1, shuffle=True, seed=1), NAMES)
    found, dates = room.correlations(table)
    for i in range(len(NAMES)):
        for j in range(len(NAMES)):
            each = []
            for part in frames(scores):
                a, b = centred(part[:, i]), centred(part[:, j])
                both = ~np.isnan(a) & ~np.isnan(b)
                each.append(np.corrcoef(a[both], b[both])[0, 1])
            assert found[i, j] == pytest.approx(np.mean(each), abs=1e-12)
            assert dates[i, j] == len(DATES)


def test_clusters_are_scipys_numbered_by_their_first_factor(scores: pl.DataFrame) -> None:
    rho, _ = room.correlations(room.ranked(scores, NAMES))
    found = room.clusters(rho)
    upper = 1 - np.abs(rho[np.triu_indices(len(NAMES), 1)])
    scipys = fcluster(linkage(upper, "average"), room.CUT, "distance")
    assert (found[:, None] == found[None]).tolist() == (scipys[:, None] == scipys[None]).tolist()
    assert found[0] == found[1] == 1  # copy is calm with its sign turned
    assert found.tolist() == [1, 1, 2, 3, 4]
    assert room.clusters(np.array([[1.0]])).tolist() == [1]


def test_the_representative_is_nearest_to_all_others() -> None:
    rho = np.array(
        [[1.0, 0.9, 0.8, 0.0], [0.9, 1.0, 0.9, 0.0], [0.8, 0.9, 1.0, 0.0], [0, 0, 0, 1.0]]
    )
    cluster = room.clusters(rho)
    assert cluster.tolist() == [1, 1, 1, 2]
    assert room.representatives(rho, cluster).tolist() == [False, True, False, True]


@pytest.mark.parametrize("base", [("calm",), ("calm", "holes", "ties"), ("calm", "calm")])
def test_marginal_ic_is_the_rank_ic_of_least_squares_residuals(base, scores, labels) -> None:
    table = room.ranked(scores, NAMES)
    label = (
        table.rows.join(labels, on=["date", "instrument_id"], how="left", maintain_order="left")
        ["label"].fill_null(math.nan).to_numpy()
    )  # fmt: skip
    found = room.marginal_ics(table, label, base)
    for d, part in enumerate(frames(scores)):
        y = label[40 * d : 40 * (d + 1)]
        ranks = {n: centred(part[:, i]) for i, n in enumerate(NAMES)}
        for i, name in enumerate(NAMES):
            both = ~np.isnan(ranks[name]) & ~np.isnan(y)
            x = ranks[name][both]
            assert found[i, d, 0] == both.sum()
            assert found[i, d, 1] == pytest.approx(stats.spearmanr(x, y[both])[0], abs=1e-12)
            others = [np.nan_to_num(ranks[b][both]) for b in base if b != name]
            design = np.column_stack([np.ones(both.sum()), *others])
            residual = x - design @ np.linalg.lstsq(design, x, rcond=None)[0]
            expected = stats.spearmanr(np.round(residual, 7), y[both])[0]
            assert found[i, d, 2] == pytest.approx(expected, abs=1e-12)


def test_what_the_base_explains_wholly_and_too_few_names_have_no_marginal_ic(
    scores, labels
) -> None:
    twice = scores.with_columns(again=pl.col("calm") * 2)
    table = room.ranked(twice, (*NAMES, "again"))
    label = np.random.default_rng(1).normal(size=table.rows.height)
    found = room.marginal_ics(table, label, ("calm",))
    assert np.isnan(found[5, :, 2]).all()
    assert np.isfinite(found[5, :, 1]).all()
    few = room.ranked(scores.filter(pl.col("instrument_id") < "N08"), NAMES)
    out = room.marginal_ics(few, label[: few.rows.height], ("calm", "copy", "lone"))
    assert np.isnan(out[4, :, 2]).all()  # eight names, four columns


def test_the_report_does_not_depend_on_order_or_threads(scores, labels, calendar) -> None:
    signs = {"ties": 1, "calm": 1, "copy": -1, "lone": 1, "holes": 1}
    one = room.report(scores, labels, signs, 20, calendar, threads=1)
    mixed = scores.sample(fraction=1, shuffle=True, seed=3).select(
        "date", "instrument_id", *sorted(NAMES, reverse=True)
    )
    two = room.report(
        mixed, labels.reverse(), dict(reversed(signs.items())), 20, calendar, threads=2
    )
    assert all(one[t].equals(two[t]) for t in one)
    pairs, groups = one["factors.correlation"], one["factors.clusters"]
    assert pairs.height == 10
    assert (pairs["factor"] < pairs["other"]).all()
    assert pairs["known_at"].unique().to_list() == [calendar.known_at(DATES[-1])]
    assert groups["known_at"].unique().to_list() == [datetime(2019, 6, 3, tzinfo=UTC)]
    copy = groups.row(by_predicate=pl.col("factor") == "copy", named=True)
    assert copy["nearest"] == "calm"
    assert copy["nearest_correlation"] < -0.8
    assert copy["mean_rank_ic"] > 0  # times direction
    named = room.report(scores, labels, signs, 20, calendar, base=("lone", "unknown"))
    in_base = named["factors.clusters"].filter("in_base")["factor"].to_list()
    assert in_base == ["lone"]
    empty = scores.with_columns(none=pl.lit(None, pl.Float32))
    more = room.report(empty, labels, {**signs, "none": 1}, 20, calendar)
    assert all(more[t].equals(one[t]) for t in one)
    assert room.report(scores.clear(), labels, signs, 20, calendar)["factors.clusters"].is_empty()


def test_it_is_due_when_a_month_begins_or_its_label_ends(calendar) -> None:
    months = room.months(pl.Series([date(2019, 1, 10), date(2019, 4, 12)]), calendar)
    assert months == [date(2019, 2, 1), date(2019, 3, 1), date(2019, 4, 1)]
    end = date(2019, 4, 12)

    def due(start: date | None, end: date = end) -> bool:
        return room.due(months, 20, start, end, calendar)

    assert due(None)
    assert due(date(2019, 4, 1))
    assert not due(end)
    label_end = calendar.offset(date(2019, 3, 1), 21)
    assert due(label_end, label_end)
    assert not due(calendar.offset(label_end, 2), calendar.offset(label_end, 2))
