"""Drift: the index by hand, limits that hold without drift, planted drift found, later runs equal to full ones."""

from __future__ import annotations

import math
from datetime import date
from typing import Any

import numpy as np
import polars as pl
import pytest

from wealthos_pipeline.core.data import contract
from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.ml import drift, drift_review

NAMES, MONTHS = 60, 48
FEATURES = tuple(f"f{i}" for i in range(8))


def test_the_index_is_the_formula() -> None:
    now, before = np.array([10, 30, 60]), np.array([400, 400, 200])
    q = [(c + 0.5) / 1001.5 for c in (400, 400, 200)]
    p = [(c + 1.5 * s) / 101.5 for c, s in zip((10, 30, 60), q, strict=True)]
    by_hand = sum((a - b) * math.log(a / b) for a, b in zip(p, q, strict=True))
    assert drift.psi(now, before) == pytest.approx(by_hand, rel=1e-12)
    large = drift.psi(now * 10**6, before * 10**6)  # smoothing gone: the textbook's number
    shares = zip((0.1, 0.3, 0.6), (0.4, 0.4, 0.2), strict=True)
    assert large == pytest.approx(sum((a - b) * math.log(a / b) for a, b in shares), rel=1e-5)


def test_a_class_that_is_empty_on_both_sides_adds_next_to_nothing_and_a_new_one_much() -> None:
    before = np.array([500, 500, 0])
    assert drift.psi(np.array([50, 50, 0]), before) < 0.005
    assert drift.psi(np.array([40, 40, 20]), before) > 0.25


def test_classes_are_tenths_of_the_reference_as_near_as_cells_allow() -> None:
    rng = np.random.default_rng(1)
    counts = drift.cells(rng.standard_normal((50_000, 1)))[0]
    shares = drift.gathered(counts, drift.merge(counts[:-1]))[:-1] / 50_000
    assert len(shares) == drift.CLASSES
    assert np.abs(shares - 0.1).max() < 0.02
    lumps = np.zeros(drift.CELLS, dtype=np.int64)
    lumps[[5, 40]] = 70, 30
    merged = drift.gathered(np.append(lumps, 0), drift.merge(lumps))
    assert merged.tolist() == [70, 30, 0]
    assert drift.merge(np.zeros(drift.CELLS, dtype=np.int64)).max() == 0


def test_limits_without_drift_are_those_of_chi_square_or_wider() -> None:
    from scipy.stats import chi2

    rng = np.random.default_rng(2)
    share = np.full(10, 0.1)
    reference = rng.multinomial(200, share, size=120)
    limit = drift.usual(reference, 200, 0.01)
    new = drift.psi(rng.multinomial(200, share, size=4000), reference.sum(0))
    assert np.mean(new > limit) < 0.015
    asymptotic = (1 / 200 + 1 / reference.sum()) * chi2.isf(0.01, 9)
    assert 0.85 * asymptotic < limit < 1.6 * asymptotic
    assert drift.usual(reference, 20, 0.01) > 5 * limit  # few names differ by chance


def test_names_that_stand_elsewhere_show_although_the_distribution_does_not() -> None:
    rng = np.random.default_rng(3)
    old = rng.standard_normal((200, 2))
    new = 0.9 * old + 0.3 * rng.standard_normal((200, 2))
    new[:3, 0] = np.nan
    found = drift.same_place(new, old)
    assert found[0] == pytest.approx(np.corrcoef(new[3:, 0], old[3:, 0])[0, 1], abs=1e-12)
    past = np.array([drift.same_place(0.9 * old + 0.3 * rng.standard_normal(old.shape), old)[0] for _ in range(30)])  # fmt: skip
    low, high = drift.bounds(past, 200, 0.001)
    assert low < found[1] < high
    mixed = drift.same_place(rng.permutation(new), old)[1]
    assert mixed < low
    assert high < 1.0  # a frozen feature
    assert np.isnan(drift.bounds(past[:5], 200, 0.001)).all()


Section = tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]


def sections(calendar: TradingCalendar, seed: int) -> tuple[list[date], np.ndarray]:
    """First sessions of months, and scores (months, names, features) of slowly changing names."""
    days = calendar.firsts(date(2010, 1, 1), date(2014, 1, 1), "month")[:MONTHS]
    rng = np.random.default_rng(seed)
    state = rng.standard_normal((NAMES, len(FEATURES)))
    out = np.empty((MONTHS, *state.shape))
    for i in range(MONTHS):
        state = 0.8 * state + 0.6 * rng.standard_normal(state.shape)
        out[i] = (state - state.mean(0)) / state.std(0)
    return days, out


def frames(days: list[date], values: np.ndarray) -> Section:
    """Scores, universe and predictions (the first feature, undone) of the review dates."""
    keys = pl.DataFrame(
        {
            "date": np.repeat(np.array(days, dtype="datetime64[D]"), NAMES),
            "instrument_id": [f"N{i:02d}" for i in range(NAMES)] * len(days),
        }
    )
    flat = values.reshape(-1, len(FEATURES))
    scores = keys.with_columns(
        pl.Series(f, flat[:, j].astype(np.float32)).fill_nan(None) for j, f in enumerate(FEATURES)
    )
    said = keys.with_columns(
        pl.lit("line").alias("model"),
        pl.lit("walk_forward").alias("kind"),
        pl.Series("prediction", 0.01 * np.nan_to_num(flat[:, 0])),
    )
    return scores, keys, said


def registry(days: list[date]) -> pl.DataFrame:
    """Two fits: one learnt from the first 30 reviews, the next from six more."""
    table = contract("models.registry")
    rows = [
        {
            "model_id": f"line.{i}", "model": "line", "kind": "walk_forward", "refit_date": days[r],
            "horizon": 5, "train_start": days[0], "train_cutoff": days[r - 2], "rows": 1,
            "features": '["' + '", "'.join(FEATURES) + '"]', "params": "{}", "artefact": "",
            "artefact_hash": "",
        }
        for i, r in enumerate((32, 38))
    ]  # fmt: skip
    return table.conform(pl.DataFrame(rows, schema_overrides=table.schema()))


def reviewed(calendar: TradingCalendar, days: list[date], values: np.ndarray, **more: Any) -> pl.DataFrame:  # fmt: skip
    scores, universe, said = frames(days, values)
    return drift_review.review(scores, universe, said, registry(days), calendar, **more)


@pytest.fixture(scope="module")
def calendar() -> TradingCalendar:
    return TradingCalendar()


def test_nothing_drifts_in_a_stationary_world(calendar: TradingCalendar) -> None:
    """Stated: at most 2 % of a model's reviews by either measure; five worlds of 16 reviews are 80."""
    worlds = [reviewed(calendar, *sections(calendar, seed)) for seed in range(5)]
    by_review = pl.concat([w.group_by("date").agg(pl.col("drifted").any()) for w in worlds])
    assert by_review.height == 80
    assert by_review["drifted"].mean() <= 0.05  # 2 %, and two standard errors of 80 reviews
    thumb = pl.concat(worlds)["psi"] > drift.MODERATE
    assert thumb.mean() > 0.3  # what the rule of thumb alone would say of 60 names


@pytest.mark.parametrize("how", ["shape", "missing", "mixed", "frozen"])
def test_planted_drift_is_found_where_and_when_it_is(calendar: TradingCalendar, how: str) -> None:
    days, values = sections(calendar, 1)
    since, others = 44, pl.col("subject") != "f3"
    without = reviewed(calendar, days, values).filter("drifted")
    rng = np.random.default_rng(9)
    for i in range(since, MONTHS):
        if how == "shape":
            values[i, :, 3] = np.sign(values[i, :, 3])  # two lumps
        elif how == "missing":
            values[i, : NAMES // 2, 3] = np.nan
        elif how == "mixed":
            values[i, :, 3] = rng.permutation(values[i, :, 3])
        else:
            values[i, :, 3] = values[since - 1, :, 3]
    found = reviewed(calendar, days, values).filter("drifted")
    mine = found.filter(~others)
    assert without.height <= 1
    assert set(mine["date"]) == set(days[since:])
    assert found.filter(others).equals(without.filter(others))  # by chance: one of 144


def test_predictions_are_reviewed_against_the_reviews_before(calendar: TradingCalendar) -> None:
    days, values = sections(calendar, 2)
    scores, universe, said = frames(days, values)
    late = pl.col("date") >= days[45]
    wide = said.with_columns(pl.when(late).then(5 * pl.col("prediction")).otherwise("prediction").alias("prediction"))  # fmt: skip
    made = drift_review.review(scores, universe, wide, registry(days), calendar)
    mine = made.filter(pl.col("subject") == "prediction")
    assert mine.filter("drifted")["date"].to_list()[0] == days[45]
    first = mine.row(0, named=True)
    assert first["date"] == days[32]
    assert first["reference_rows"] == 32 * NAMES
    top = [set(np.argsort(-values[i, :, 0], kind="stable")[: NAMES // 5]) for i in (31, 32)]
    assert first["turnover"] == pytest.approx(len(top[1] - top[0]) / (NAMES // 5))


def test_a_later_start_gives_the_same_rows_from_what_it_asks_for(calendar: TradingCalendar) -> None:
    days, values = sections(calendar, 4)
    scores, universe, said = frames(days, values)
    fits = registry(days)
    full = drift_review.review(scores, universe, said, fits, calendar)
    start = days[40]
    first = drift_review.needed_from(fits, start)
    assert first is not None
    kept = [f.filter(pl.col("date") >= first) for f in (scores, universe, said)]
    part = drift_review.review(*kept, fits, calendar, start=start)
    assert part.equals(full.filter(pl.col("date") >= start))
    shuffled = [f.sample(fraction=1.0, shuffle=True, seed=1) for f in (scores, universe, said)]
    assert drift_review.review(*shuffled, fits, calendar).equals(full)
    known = [f.filter(pl.col("date") <= start) for f in (scores, universe, said)]
    past = drift_review.review(*known, fits, calendar)
    assert past.equals(full.filter(pl.col("date") <= start))  # nothing later is looked at


def test_without_scores_or_fits_nothing_is_reviewed(calendar: TradingCalendar) -> None:
    days, values = sections(calendar, 4)
    scores, universe, said = frames(days, values)
    none = contract("models.registry").empty()
    assert drift_review.review(scores, universe, said, none, calendar).is_empty()
    assert drift_review.review(scores.clear(), universe, said, registry(days), calendar).is_empty()
