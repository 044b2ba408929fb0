"""Turbulence: the outcome by hand, fits against peers, nothing from later, honest where nothing can be said."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from wealthos_pipeline.core.errors import ModelError
from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.data.storage.lake import Lake
from wealthos_pipeline.ml.classifiers import logistic, market, turbulence
from wealthos_pipeline.ml.classifiers.calibration import sigmoid
from wealthos_pipeline.ml.classifiers.spans import KNOWN, LEAST, spans
from wealthos_pipeline.ml.datasets import Training

FIRST, LAST = date(2001, 3, 5), date(2010, 9, 30)


def make_states(
    calendar: TradingCalendar, seed: int, persistence: float, end: date = LAST
) -> pl.DataFrame:
    """A market of 50 names whose log-volatility is an AR(1) with ``persistence`` (0: unforeseeable)."""
    days = calendar.frame(FIRST, end)["date"]
    rng = np.random.default_rng(seed)
    n = len(days)
    log_vol = np.zeros(n)
    for t in range(1, n):
        log_vol[t] = persistence * log_vol[t - 1] + 0.1 * rng.standard_normal()
    ret = 0.01 * np.exp(log_vol) * rng.standard_normal(n)
    apart = 0.0002 * np.exp(log_vol + 0.2 * rng.standard_normal(n))
    vix = 16.0 * np.exp(log_vol + 0.1 * rng.standard_normal(n))
    return pl.DataFrame(
        {
            "date": days,
            "names": pl.Series(np.full(n, 50), dtype=pl.Int32),
            "ret": ret,
            "mean_square": ret**2 + apart,
            "vix": vix,
            "credit_spread": pl.Series([None] * n, dtype=pl.Float64),
            "term_spread": rng.standard_normal(n),
            "p_turbulent": pl.Series(np.where(np.arange(n) < 500, np.nan, 0.5)).fill_nan(None),
        }
    )


@pytest.fixture(scope="module")
def states(calendar: TradingCalendar) -> pl.DataFrame:
    """A few sessions are missing."""
    made = make_states(calendar, 1, 0.98)
    return made.filter(~pl.int_range(pl.len()).is_in([700, 701, 1500]))


@pytest.fixture(scope="module")
def table(states: pl.DataFrame, calendar: TradingCalendar) -> pl.DataFrame:
    return turbulence.classify(states, calendar)


def test_spans_are_those_of_a_plain_computation() -> None:
    rng = np.random.default_rng(2)
    ret, h = 0.01 * rng.standard_normal(3600), 20
    ret[[900, 901, 2000]] = np.nan
    found = spans(ret, h, 0.8)
    by_hand = np.full(len(ret), np.nan)
    for t in range(len(ret) - h - 1):
        part = ret[t + 2 : t + h + 2]
        if np.isfinite(part[-1]):
            by_hand[t] = np.sqrt(252 * np.nanmean(part**2))
    np.testing.assert_allclose(found.volatility, by_hand, rtol=1e-12)
    for t in (100, LEAST + h, LEAST + h + 10, 1500, 3599):
        known = by_hand[max(0, t - h - KNOWN) : max(0, t - h)]
        known = known[np.isfinite(known)]
        if len(known) < LEAST:
            assert np.isnan(found.threshold[t])
        else:
            assert found.threshold[t] == pytest.approx(np.quantile(known, 0.8), rel=1e-12)
    both = np.isfinite(by_hand) & np.isfinite(found.threshold)
    assert both.sum() > 2500
    np.testing.assert_array_equal(np.isfinite(found.outcome), both)
    np.testing.assert_array_equal(found.outcome[both], (by_hand > found.threshold)[both])


def test_the_outcome_does_not_know_its_own_span_and_ends_a_session_after_the_fill() -> None:
    rng = np.random.default_rng(3)
    ret = 0.01 * rng.standard_normal(1500)
    moved = ret.copy()
    moved[1101] *= 50  # t + 1 of t = 1100: before the fill
    assert spans(moved, 20, 0.8).volatility[1100] == spans(ret, 20, 0.8).volatility[1100]
    assert spans(moved, 20, 0.8).threshold[1100] == spans(ret, 20, 0.8).threshold[1100]
    moved[1102] *= 50
    assert spans(moved, 20, 0.8).volatility[1100] > 2 * spans(ret, 20, 0.8).volatility[1100]
    assert spans(moved, 20, 0.8).threshold[1100] == spans(ret, 20, 0.8).threshold[1100]


def test_the_regression_is_that_of_scikit_learn() -> None:
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(4)
    X = rng.standard_normal((900, 4)) * [1.0, 20.0, 0.01, 1.0] + [0.0, 5.0, -3.0, 2.0]
    X[:, 3] = 2.0
    y = (rng.random(900) < sigmoid(1.5 * X[:, 0] - 1)).astype(float)
    w = rng.uniform(0.02, 0.1, 900)
    ours = logistic.fit(X, y, w)
    Z = (X - X.mean(axis=0)) / np.where(X.std(axis=0) > 0, X.std(axis=0), 1.0)
    theirs = LogisticRegression(C=1.0, tol=1e-10, max_iter=5000).fit(Z, y, sample_weight=w)
    np.testing.assert_allclose(ours.coefficients, theirs.coef_[0], atol=1e-5)
    assert ours.coefficients[3] == 0
    np.testing.assert_allclose(ours.log_odds(X), theirs.decision_function(Z), atol=1e-4)


def test_features_are_those_of_a_plain_computation(
    states: pl.DataFrame, calendar: TradingCalendar
) -> None:
    rows = calendar.frame(FIRST, LAST).join(states, on="date", how="left").sort("date")
    columns = {
        c: rows[c].cast(pl.Float64).fill_null(np.nan).to_numpy()
        for c in states.columns
        if c != "date"
    }
    threshold = np.full(rows.height, 0.2)
    X = turbulence.features(columns, threshold)
    ret, square = columns["ret"], columns["mean_square"]
    for t in (900, 1800, 2300):
        for j, h in enumerate(turbulence.HALF_LIVES):
            lag = np.arange(24 * h)
            past = ret[t - lag[lag <= t]] ** 2
            w = 2.0 ** (-lag[: len(past)] / h) * np.isfinite(past)
            mean = np.nansum(w * past) / w.sum()
            assert X[t, j] == pytest.approx(np.log(np.sqrt(252 * mean) / 0.2), rel=1e-10)
        level = np.nancumprod(1 + np.nan_to_num(ret[: t + 1]))
        assert X[t, 3] == pytest.approx(1 - level[-1] / level[-252:].max(), abs=1e-12)
        lag = np.arange(24 * 21)
        past, all_ = ret[t - lag], square[t - lag]
        w = 2.0 ** (-lag / 21) * np.isfinite(past)
        pair = (50 * past**2 - all_) / 49
        assert X[t, 4] == pytest.approx(np.nansum(w * pair) / np.nansum(w * all_), rel=1e-10)
    assert np.isnan(X[700]).sum() >= 4  # no return there: nothing is known
    assert np.isnan(X[:, turbulence.NAMES.index("credit_spread")]).all()


def test_the_mean_correlation_is_that_of_the_names() -> None:
    """Of one session: mean product of two different names over the mean square."""
    rng = np.random.default_rng(6)
    r = rng.standard_normal(7)
    rows = {"names": np.full(60, 7.0), "ret": np.full(60, r.mean()), "mean_square": np.full(60, (r * r).mean())}  # fmt: skip
    rows |= {c: np.full(60, np.nan) for c in ("vix", "credit_spread", "term_spread", "p_turbulent")}
    X = turbulence.features(rows, np.ones(60))
    product = np.outer(r, r)[~np.eye(7, dtype=bool)].mean()
    assert X[-1, turbulence.NAMES.index("correlation")] == pytest.approx(product / (r * r).mean())


def test_probabilities_are_calibrated_and_beat_the_base_rate_where_volatility_lasts(
    calendar: TradingCalendar,
) -> None:
    parts = [
        turbulence.classify(make_states(calendar, seed, 0.98, date(2012, 12, 31)), calendar)
        for seed in (11, 12, 13)
    ]
    scores = [turbulence.quality(p).row(0, named=True) for p in parts]
    assert all(s["skill"] > 0.1 and s["skill_nominal"] > 0.1 for s in scores)
    assert not any(s["verdict"].startswith("no better") for s in scores)
    assert sum(s["verdict"].startswith("better than both") for s in scores) >= 2
    # one history holds few independent spans: calibration is judged over three
    together = pl.concat(
        p.with_columns(pl.col("date").dt.offset_by(f"{20 * i}y")) for i, p in enumerate(parts)
    )
    judged = turbulence.quality(together).row(0, named=True)
    assert judged["dates"] > 4000
    assert abs(judged["calibration"]) < 0.05
    bins = turbulence.reliability(together)
    assert bins["dates"].sum() == judged["dates"]
    wide = bins.filter(pl.col("dates") > 300)
    assert wide.height >= 3
    assert (wide["mean_p"] - wide["turbulent"]).abs().max() < 0.15
    assert wide["turbulent"].is_sorted()


def test_nothing_is_claimed_where_volatility_cannot_be_foreseen(calendar: TradingCalendar) -> None:
    for seed in (21, 22):
        made = turbulence.classify(make_states(calendar, seed, 0.0), calendar)
        judged = turbulence.quality(made).row(0, named=True)
        assert judged["skill_nominal"] < 0.05
        assert not judged["verdict"].startswith("better")


def test_what_was_known_is_what_a_truncated_store_gives(
    states: pl.DataFrame, table: pl.DataFrame, calendar: TradingCalendar, tmp_path: Path
) -> None:
    lake = Lake(tmp_path, calendar=calendar)
    lake.replace("models.turbulence", table)
    for day in (date(2006, 12, 29), date(2007, 1, 3), date(2008, 7, 16), date(2009, 2, 2)):
        at = calendar.known_at(day) + timedelta(hours=2)
        seen = turbulence.classify(states.filter(pl.col("date") <= day), calendar)
        assert seen.equals(table.filter(pl.col("known_at") <= at))  # nothing repaints
        stored = lake.read("models.turbulence", as_of=at)
        assert stored["date"].is_unique().all()
        latest = seen.sort("date", "known_at").unique("date", keep="last", maintain_order=True)
        assert stored.equals(latest)
        assert stored.filter(pl.col("date") > calendar.offset(day, -21))["outcome"].is_null().all()
        assert stored.filter(pl.col("date") == calendar.offset(day, -21))["outcome"][0] is not None


def test_a_run_from_any_day_gives_the_same_bits(
    states: pl.DataFrame, table: pl.DataFrame, calendar: TradingCalendar
) -> None:
    for start in (date(2005, 6, 1), date(2009, 1, 2), date(2010, 9, 30)):
        part = turbulence.classify(states, calendar, start=start)
        assert part.equals(table.filter(pl.col("date") >= start))


def test_the_order_of_rows_does_not_matter(
    states: pl.DataFrame, table: pl.DataFrame, calendar: TradingCalendar
) -> None:
    mixed = states.sample(fraction=1.0, shuffle=True, seed=3)
    assert turbulence.classify(mixed, calendar, start=date(2010, 1, 4)).equals(
        table.filter(pl.col("date") >= date(2010, 1, 4))
    )


def test_each_date_is_said_once_and_answered_once(
    table: pl.DataFrame, calendar: TradingCalendar
) -> None:
    said, answered = (table.filter(pl.col("outcome").is_null() == v) for v in (True, False))
    assert said["date"].is_unique().all()
    assert answered["date"].is_unique().all()
    both = said.join(answered, on="date", suffix="_later")
    assert both.height == answered.height > 1500
    for c in ("p_turbulent", "base_rate", "threshold", "refit_date"):
        assert both[c].equals(both[f"{c}_later"])
    row = answered.filter(pl.col("date") == date(2008, 7, 16)).row(0, named=True)
    assert row["known_at"] == calendar.known_at(calendar.offset(date(2008, 7, 16), 21))
    assert row["outcome"] == int(row["volatility"] > row["threshold"])


def test_fits_are_made_at_the_first_session_of_a_year(
    table: pl.DataFrame, calendar: TradingCalendar
) -> None:
    made = table.drop_nulls("p_turbulent")
    first = made.group_by(pl.col("date").dt.year().alias("y")).agg(pl.col("refit_date").unique())
    assert first.height > 4
    for year, refits in first.iter_rows():
        assert refits == [calendar.on_or_after(date(year, 1, 1))]
    assert made["p_turbulent"].is_between(0, 1, closed="none").all()


def test_a_series_that_is_not_there_is_left_out_and_said(table: pl.DataFrame) -> None:
    last = table.drop_nulls("features").tail(1)["features"][0].split(", ")
    assert "vix" in last
    assert "term_spread" in last
    assert "credit_spread" not in last


def test_early_dates_say_why_they_have_no_probability(table: pl.DataFrame) -> None:
    early = table.filter(pl.col("p_turbulent").is_null())
    assert early["reason"].null_count() == 0
    assert early["reason"].str.contains("too little history|so close together|not known").all()
    assert table.drop_nulls("p_turbulent")["reason"].null_count() > 0


def test_a_class_that_never_occurs_is_an_absence_in_words(calendar: TradingCalendar) -> None:
    days = calendar.frame(FIRST, date(2006, 12, 29))["date"]
    n = len(days)
    rng = np.random.default_rng(8)
    ret = 0.02 * np.exp(-np.arange(n) / 300) * rng.choice([-1.0, 1.0], n)  # ever calmer
    calm = pl.DataFrame({"date": days, "names": pl.Series([9] * n, dtype=pl.Int32), "ret": ret,
                         "mean_square": 2 * ret**2}).with_columns(
        *(pl.lit(None, pl.Float64).alias(c) for c in ("vix", "credit_spread", "term_spread", "p_turbulent"))
    )  # fmt: skip
    made = turbulence.classify(calm, calendar)
    assert made["p_turbulent"].null_count() == made.height
    reasons = made.filter(pl.col("date") >= date(2006, 1, 3))["reason"].unique().to_list()
    assert len(reasons) == 1
    assert reasons[0].startswith("turbulent spans never occur among the ")
    assert turbulence.quality(made).is_empty()
    assert turbulence.reliability(made).is_empty()


def test_returns_without_variation_and_no_rows_fail_nothing(
    states: pl.DataFrame, calendar: TradingCalendar
) -> None:
    flat = states.head(1600).with_columns(ret=pl.lit(0.0), mean_square=pl.lit(0.0))
    made = turbulence.classify(flat, calendar)
    assert made["p_turbulent"].null_count() == made.height
    assert turbulence.classify(states.clear(), calendar).is_empty()


def test_what_cannot_be_fitted_is_told() -> None:
    days = np.arange("2001-01-01", "2003-12-31", dtype="datetime64[D]")
    n = len(days)

    def rows(y: np.ndarray, X: np.ndarray) -> Training:
        stamps = (days + 30).astype("datetime64[us]")
        return Training(
            X, y, np.full(n, 0.05), days, days + 30, stamps, np.zeros(n, np.int32), y, turbulence.NAMES
        )  # fmt: skip

    X = np.random.default_rng(9).standard_normal((n, len(turbulence.NAMES)))
    last = X[-1]
    with pytest.raises(ModelError, match="calm spans never occur"):
        turbulence.fit(rows(np.ones(n), X), days, 20, last)
    burst = (np.arange(n) < 60).astype(float)
    with pytest.raises(ModelError, match="so close together"):
        turbulence.fit(rows(burst, X), days, 20, last)
    some = (np.arange(n) % 100 < 30).astype(float)
    with pytest.raises(ModelError, match="no feature is known on 90 %"):
        turbulence.fit(rows(some, np.full_like(X, np.nan)), days, 20, last)
    with pytest.raises(ModelError, match="too little history: 300 dates"):
        turbulence.fit(rows(some, X).take(slice(0, 300)), days, 20, last)
    assert turbulence.fit(rows(some, X), days, 20, last).base_rate == pytest.approx(some.mean())


def test_scores_are_those_of_scikit_learn(table: pl.DataFrame) -> None:
    from sklearn.metrics import brier_score_loss, log_loss

    rows = table.drop_nulls(["p_turbulent", "outcome"])
    y, p = rows["outcome"].to_numpy(), rows["p_turbulent"].to_numpy()
    ours = turbulence.quality(table).row(0, named=True)
    assert ours["brier"] == pytest.approx(brier_score_loss(y, p), rel=1e-12)
    assert ours["log_loss"] == pytest.approx(log_loss(y, p), rel=1e-9)
    assert ours["brier_base"] == pytest.approx(brier_score_loss(y, rows["base_rate"].to_numpy()))
    assert ours["brier_nominal"] == pytest.approx(brier_score_loss(y, np.full(len(y), 0.2)))


def test_a_forecast_that_is_worse_than_the_base_rate_is_called_so(table: pl.DataFrame) -> None:
    wrong = table.with_columns(p_turbulent=1.0 - pl.col("p_turbulent"))
    judged = turbulence.quality(wrong).row(0, named=True)
    assert judged["skill"] < 0
    assert judged["verdict"] == "no better than the base rate"


def test_the_state_of_a_session_uses_series_known_at_its_close(
    synthetic_prices: pl.DataFrame, calendar: TradingCalendar
) -> None:
    day = date(2018, 3, 1)
    series = pl.DataFrame(
        {
            "series": ["vix", "vix"], "tenor": ["", ""], "frequency": ["day", "day"],
            "date": [day, calendar.offset(day, 1)], "value": [15.0, 40.0],
            "known_at": [calendar.known_at(day), calendar.known_at(calendar.offset(day, 2))],
        }
    )  # fmt: skip
    regime = pl.DataFrame({"date": [day], "p_turbulent": [0.25]})
    rows = market.states(synthetic_prices, series, regime, calendar)
    seen = dict(rows.select("date", "vix").iter_rows())
    assert seen[day] == seen[calendar.offset(day, 1)] == 15.0
    assert seen[calendar.offset(day, 2)] == 40.0
    assert seen[calendar.offset(day, -1)] is None
    assert rows.filter(pl.col("date") == day)["p_turbulent"][0] == 0.25
    part = market.states(
        synthetic_prices.filter(pl.col("date") >= calendar.offset(day, -1)), series, regime,
        calendar, start=day,
    )  # fmt: skip
    assert part.equals(rows.filter(pl.col("date") >= day))
    assert (rows["mean_square"] >= rows["ret"] ** 2 * (1 - 1e-12)).all()


def test_a_probability_outside_0_and_1_blocks_the_table() -> None:
    from wealthos_pipeline.utils import validation

    bounds = {
        r.column: (r.low, r.high, r.severity)
        for r in validation.rules("models.turbulence")
        if r.check == "in_range"
    }
    assert bounds["p_turbulent"] == bounds["base_rate"] == (0.0, 1.0, "error")
