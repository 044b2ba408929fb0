"""Ranked names: order, honest notes, nothing from later."""

from __future__ import annotations

from datetime import date

import numpy as np
import polars as pl
import pytest
from scipy import stats

from wealthos_pipeline.core.asset import AssetClass
from wealthos_pipeline.core.data import contract
from wealthos_pipeline.core.factor import Factor
from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.market_monitor import opportunity
from wealthos_pipeline.market_monitor.evidence import ic_words, mean_with_overlap, signed

DAY = date(2019, 6, 28)
NAMES = ("A", "B", "C")
FACTORS = (
    Factor("momentum", AssetClass.EQUITY, "f", 1, "Momentum", "r", expression="$close"),
    Factor("volatility", AssetClass.EQUITY, "f", -1, "Low volatility", "r", expression="$close"),
)
SCORES = pl.DataFrame(
    {
        "date": DAY,
        "instrument_id": NAMES,
        "momentum": [1.5, 0.1, -2.0],
        "volatility": [1.2, 0.2, None],
    },
    schema_overrides={"momentum": pl.Float32, "volatility": pl.Float32},
)


def predictions(day: date = DAY) -> pl.DataFrame:
    z = {
        ("ridge", "walk_forward"): (9.0, 9.0, 9.0),
        ("ridge", "live"): (1.0, -0.5, 0.5),
        ("lightgbm", "live"): (0.0, -0.5, -0.5),
    }
    rows = [
        {
            "model": m,
            "kind": k,
            "date": day,
            "instrument_id": n,
            "horizon": 5,
            "prediction": v,
            "z": v,
            "train_cutoff": date(2019, 1, 2),
            "model_id": "x",
        }
        for (m, k), values in z.items()
        for n, v in zip(NAMES, values, strict=True)
    ]
    schema = contract("models.predictions").schema()
    return contract("models.predictions").conform(pl.DataFrame(rows, schema=schema))


def evaluation(calendar: TradingCalendar, mean: float, *, seed: int = 2) -> pl.DataFrame:
    days = calendar.sessions(date(2016, 1, 4), DAY)
    rng = np.random.default_rng(seed)
    rows = [
        {
            "model": m,
            "horizon": 5,
            "date": d,
            "n": 3,
            "rank_ic": mean + 0.3 * rng.standard_normal(),
            "known_at": calendar.known_at(calendar.offset(d, 6)),
        }
        for m in ("ridge", "lightgbm")
        for d in days
    ]
    schema = {k: v for k, v in contract("models.evaluation").schema().items() if k in rows[0]}
    return contract("models.evaluation").conform(pl.DataFrame(rows, schema=schema))


def test_live_scores_rank_and_ties_go_by_name(calendar: TradingCalendar) -> None:
    out = opportunity.rank(predictions(), SCORES, calendar=calendar)
    assert out.select("rank", "instrument_id").rows() == [(1, "A"), (2, "C"), (3, "B")]
    assert out["score"].to_list() == [0.5, 0.0, -0.5]


def test_notes_say_what_speaks_for_and_against(calendar: TradingCalendar) -> None:
    out = opportunity.rank(predictions(), SCORES, calendar=calendar, factors=FACTORS)
    notes = dict(out.select("instrument_id", "note").iter_rows())
    assert notes["A"].startswith("A: For: Momentum +1.5. Against: Low volatility −1.2.")
    assert "For: nothing stands out. Against: nothing stands out." in notes["B"]
    assert "Against: Momentum −2.0." in notes["C"]
    assert "The models disagree (lightgbm −0.5, ridge +0.5)." in notes["C"]
    assert "disagree" not in notes["B"]
    assert "No model has been scored out of sample yet." in notes["B"]


def test_a_weak_ic_is_admitted_and_a_strong_one_is_not_hidden(calendar: TradingCalendar) -> None:
    def note(mean: float) -> str:
        out = opportunity.rank(
            predictions(), SCORES, calendar=calendar, evaluation=evaluation(calendar, mean)
        )
        return str(out["note"][0])

    assert note(0.0).count("not distinguishable from 0 (smallest detectable 0.0") == 2
    assert "not distinguishable" not in note(0.2)
    assert "t +" in note(0.2)


def test_outcomes_that_were_not_known_do_not_count(calendar: TradingCalendar) -> None:
    every = evaluation(calendar, 0.0)
    day = date(2018, 3, 1)
    known = every.filter(pl.col("known_at") <= calendar.known_at(day))
    later = every.with_columns(
        pl.when(pl.col("known_at") > calendar.known_at(day))
        .then(1.0)
        .otherwise(pl.col("rank_ic"))
        .alias("rank_ic")
    )
    ranks = [
        opportunity.rank(predictions(day), SCORES, calendar=calendar, evaluation=e)
        for e in (known, later)
    ]
    assert ranks[0].equals(ranks[1])


def test_symbols_stand_for_ids_where_they_are_known(calendar: TradingCalendar) -> None:
    described = pl.DataFrame(
        {"instrument_id": ["A"], "symbol": ["AAPL"], "valid_from": [date(2000, 1, 3)]}
    )
    out = opportunity.rank(predictions(), SCORES, calendar=calendar, instruments=described)
    assert out["note"][0].startswith("AAPL: ")


def test_dates_without_predictions_give_nothing(calendar: TradingCalendar) -> None:
    out = opportunity.rank(predictions(), SCORES, calendar=calendar, dates=[date(2019, 6, 27)])
    assert out.is_empty()
    empty = contract("models.predictions").empty()
    assert opportunity.rank(empty, SCORES, calendar=calendar).is_empty()


def test_ic_words_name_the_smallest_ic_that_could_be_seen() -> None:
    noise = np.random.default_rng(1).standard_normal(3000) * 0.3
    ic = mean_with_overlap(noise, 20)
    # 20 sessions ahead: 3,000 dates hold 150 outcomes that do not overlap
    assert ic.detectable == pytest.approx(2.8 * 0.3 / np.sqrt(150), rel=0.1)
    assert f"cannot detect an IC below {ic.detectable:.3f}" in ic_words(ic, "ridge")
    assert "too few to judge" in ic_words(mean_with_overlap(noise[:30], 20), "ridge")
    assert "no rank IC" in ic_words(mean_with_overlap(np.array([np.nan]), 20), "ridge")


def test_a_missing_day_keeps_its_place_among_overlapping_observations() -> None:
    """Every other day is missing: at horizon 2 nothing that is left overlaps."""
    rng = np.random.default_rng(3)
    x = np.full(400, np.nan)
    x[::2] = 0.02 + 0.1 * rng.normal(size=200)
    kept = x[::2]
    got = mean_with_overlap(x, 2)
    plain = kept.std(ddof=1) / np.sqrt(200)
    assert got.n == 200
    assert plain <= (got.se or 0.0) < 1.15 * plain
    t = got.t or 0.0
    assert 0.85 * kept.mean() / plain < t <= kept.mean() / plain + 1e-12
    assert got.p == pytest.approx(2 * stats.t.sf(t, 199))
    assert got.distinguishable == (got.p < 0.05)


def test_no_sign_on_what_rounds_to_zero() -> None:
    assert [signed(v, 2) for v in (-0.004, 0.004, -0.5, 0.5)] == ["0.00", "0.00", "−0.50", "+0.50"]
