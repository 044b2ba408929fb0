"""Calibration against NumPy, decay against scipy, what a summary says, and investigations."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime

import numpy as np
import polars as pl
import pytest
from scipy import stats

from wealthos_pipeline.core.errors import ModelError
from wealthos_pipeline.factors.labels import forward_returns
from wealthos_pipeline.ml import evaluation as room
from wealthos_pipeline.ml.evaluation.model_summary import LEAST, long_enough
from wealthos_pipeline.stats.mean_test import mean_test
from wealthos_pipeline.stats.pbo import overfitting_probability
from wealthos_pipeline.stats.sharpe import deflated_sharpe, expected_maximum, moments
from wealthos_pipeline.stats.trials import Deflation

FOREVER = datetime(2100, 1, 1, tzinfo=UTC)
KEY = ["date", "instrument_id"]
H = 5


def predicted(rows: pl.DataFrame, values: np.ndarray | pl.Expr, model: str = "m") -> pl.DataFrame:
    """``rows`` (date, instrument_id) as predictions."""
    value = (
        values.alias("prediction")
        if isinstance(values, pl.Expr)
        else pl.Series("prediction", values)
    )
    return rows.select(*KEY, value).with_columns(
        pl.lit(model).alias("model"),
        pl.lit("walk_forward").alias("kind"),
        pl.lit(H, pl.Int32).alias("horizon"),
    )


@pytest.fixture(scope="module")
def labelled(world) -> pl.DataFrame:
    """Members of 2003 and 2004 with their label, and a score that knows a little of it."""
    rows = world.universe.filter(pl.col("date") >= date(2003, 1, 1)).sort(KEY)
    labels = forward_returns(world.prices, H, world.calendar)
    rows = rows.join(labels, on=KEY, how="left", maintain_order="left")
    noise = pl.Series("noise", np.random.default_rng(3).standard_normal(rows.height) * 0.04)
    return rows.with_columns((pl.col("label").fill_null(0.0) * 0.5 + noise).alias("score"))


@pytest.fixture(scope="module")
def predictions(labelled) -> pl.DataFrame:
    return predicted(labelled, pl.col("score"))


@pytest.fixture(scope="module")
def judged(world, predictions) -> room.ByDate:
    return room.judge_by_date(predictions, world.prices, world.calendar, H, known_until=FOREVER)


def test_bins_against_numpy(labelled, judged) -> None:
    day = date(2003, 5, 6)
    rows = labelled.filter((pl.col("date") == day) & pl.col("label").is_not_null()).sort("score")
    x, y = rows["score"].to_numpy(), rows["label"].to_numpy()
    bin_ = np.arange(len(x)) * 10 // len(x) + 1
    found = judged.bins.filter(pl.col("date") == day)
    assert found["bin"].to_list() == list(range(1, 11))
    for row in found.iter_rows(named=True):
        inside = bin_ == row["bin"]
        assert row["n"] == inside.sum()
        assert row["mean_prediction"] == pytest.approx(x[inside].mean(), rel=1e-12)
        assert row["mean_outcome"] == pytest.approx(
            y[inside].mean() - y.mean(), rel=1e-9, abs=1e-15
        )


def test_calibration_is_the_mean_over_dates_with_errors_that_know_the_overlap(judged) -> None:
    found = room.calibrate(judged.bins)
    assert found["bin"].to_list() == list(range(1, 11))
    assert found["mean_prediction"].is_sorted()
    lowest = judged.bins.filter(pl.col("bin") == 1).sort("date")
    row = found.row(0, named=True)
    x = lowest["mean_outcome"].to_numpy()
    assert row["mean_outcome"] == pytest.approx(x.mean(), rel=1e-9)
    assert row["n"] == lowest["n"].sum()
    assert row["se"] == mean_test(x, H).se > x.std() / math.sqrt(len(x))
    assert row["known_at"] == lowest["known_at"].max()


def test_slope_and_dispersion_against_numpy(labelled, judged) -> None:
    rows = labelled.filter(pl.col("label").is_not_null())
    total = square = 0.0
    for (day,), part in rows.group_by("date", maintain_order=True):
        x, y = part["score"].to_numpy(), part["label"].to_numpy()
        found = judged.evaluation.filter(pl.col("date") == day).row(0, named=True)
        if day.day == 6:  # type: ignore[attr-defined]
            assert found["dispersion"] == pytest.approx(x.std(), rel=1e-9)
            assert found["slope"] == pytest.approx(np.polyfit(x, y, 1)[0], rel=1e-9)
        total += float(np.sum((x - x.mean()) * (y - y.mean())))
        square += float(np.sum((x - x.mean()) ** 2))
    made = room.summarise(judged.evaluation, pl.DataFrame(schema=RETURNS), {})
    assert made["calibration_slope"].item() == pytest.approx(total / square, rel=1e-9)


def test_turnover_is_what_changed_in_the_top_fifth(labelled, judged) -> None:
    days = judged.evaluation["date"].to_list()
    fifth = {
        day: set(part.sort("score")["instrument_id"].to_list()[-(part.height // 5) :])
        for (day,), part in labelled.group_by("date", maintain_order=True)
    }
    assert judged.evaluation["turnover"][0] is None  # nothing before the first date
    for before, day, found in zip(
        days[:50], days[1:51], judged.evaluation["turnover"][1:51], strict=True
    ):
        assert found == pytest.approx(len(fifth[day] - fifth[before]) / len(fifth[day]))


def test_probabilities_are_judged_by_what_rose(world, labelled) -> None:
    p = 1 / (1 + np.exp(-20 * labelled["score"].to_numpy()))
    made = room.judge_by_date(
        predicted(labelled, p),
        world.prices,
        world.calendar,
        H,
        known_until=FOREVER,
        classifiers=["m"],
    )
    known = labelled.with_columns(pl.Series("p", p)).filter(pl.col("label").is_not_null())
    day = known.filter(pl.col("date") == date(2003, 5, 6))
    up = (day["label"].to_numpy() > 0).astype(float)
    found = made.evaluation.filter(pl.col("date") == date(2003, 5, 6)).row(0, named=True)
    assert found["brier"] == pytest.approx(np.mean((day["p"].to_numpy() - up) ** 2), rel=1e-12)
    bins = made.bins.filter(pl.col("date") == date(2003, 5, 6))
    share = (bins["mean_outcome"] * bins["n"]).sum() / bins["n"].sum()
    assert share == pytest.approx(up.mean())
    assert 0 < made.evaluation["brier"].mean() < 0.25  # type: ignore[operator]


def test_decay_against_scipy(world, predictions, judged) -> None:
    day = date(2003, 5, 6)
    for lag in (1, 20, 60):
        rows = predictions.filter(pl.col("date") == day).join(
            forward_returns(world.prices, lag, world.calendar), on=KEY
        )
        found = judged.lags.filter((pl.col("date") == day) & (pl.col("lag") == lag)).row(
            0, named=True
        )
        want = stats.spearmanr(rows["prediction"].to_numpy(), rows["label"].to_numpy()).statistic
        assert found["rank_ic"] == pytest.approx(want, abs=1e-12)
        assert found["known_at"] == world.calendar.known_at(world.calendar.offset(day, 1 + lag))
    decay = room.decay(judged.lags)
    assert decay["lag"].to_list() == list(room.LAGS)
    own = decay.filter(pl.col("lag") == H).row(0, named=True)
    test = mean_test(judged.evaluation.sort("date")["rank_ic"].to_numpy(), H)
    assert own["mean_rank_ic"] == pytest.approx(test.mean, rel=1e-9)
    assert own["t"] == pytest.approx(test.t, rel=1e-6)
    # the score knows five sessions: less and less of longer outcomes
    assert decay["mean_rank_ic"][2] > decay["mean_rank_ic"][4] > decay["mean_rank_ic"][6]


def test_by_date_incremental_equals_full_and_truncated(world, predictions, judged) -> None:
    start = world.calendar.offset(date(2004, 6, 1), -62)
    since = pl.col("date") >= world.calendar.offset(start, -1)
    part = room.judge_by_date(
        predictions.filter(since), world.prices.filter(since), world.calendar, H,
        start=start, known_until=FOREVER,
    )  # fmt: skip
    at = world.calendar.known_at(date(2004, 3, 9))
    known = pl.col("date") <= date(2004, 3, 9)
    cut = room.judge_by_date(
        predictions.filter(known), world.prices.filter(known), world.calendar, H, known_until=at
    )
    for name in ("evaluation", "lags", "bins"):
        whole = getattr(judged, name)
        assert getattr(part, name).equals(whole.filter(pl.col("date") >= start)), name
        assert getattr(cut, name).equals(whole.filter(pl.col("known_at") <= at)), name
        assert getattr(cut, name).height > 100


def test_constant_predictions_have_no_bins_and_no_slope(world, labelled) -> None:
    made = room.judge_by_date(
        predicted(labelled, pl.lit(0.3)), world.prices, world.calendar, H, known_until=FOREVER
    )
    assert made.bins.is_empty()
    assert made.evaluation["slope"].null_count() == made.evaluation.height > 0
    assert made.lags["rank_ic"].null_count() == made.lags.height > 0
    assert room.decay(made.lags).is_empty()
    row = room.summarise(made.evaluation, pl.DataFrame(schema=RETURNS), {}).row(0, named=True)
    assert row["calibration_slope"] is row["t"] is row["dsr"] is None
    assert row["verdict"].startswith("no rank IC is known yet")


RETURNS = {
    "model": pl.String, "horizon": pl.Int32, "book": pl.String, "date": pl.Date, "gross": pl.Float64,
    "cost": pl.Float64, "net": pl.Float64, "turnover": pl.Float64, "names": pl.Int32, "long": pl.Float64,
    "short": pl.Float64, "known_at": pl.Datetime("us", "UTC"),
}  # fmt: skip


@pytest.fixture(scope="module")
def returns(world, predictions, labelled) -> pl.DataFrame:
    other = predicted(labelled, np.random.default_rng(5).standard_normal(labelled.height), "noise")
    return room.returns(
        pl.concat([predictions, other]), world.prices, world.universe, world.calendar, H,
        costs_bp=5, known_until=FOREVER,
    )  # fmt: skip


def test_a_summary_is_made_of_the_series(judged, returns) -> None:
    both = returns.filter((pl.col("model") == "m") & (pl.col("book") == "long_short")).sort("date")
    net = both["net"].to_numpy()
    ratio = net.mean() / net.std(ddof=1)
    skew, kurtosis = moments(net)
    variance = (0.95 * ratio / expected_maximum(12.0, 1.0)) ** 2  # so that luck nearly explains it
    row = room.summarise(judged.evaluation, returns, {H: Deflation(40, 12.0, variance)}).row(
        0, named=True
    )
    assert row["sharpe_net"] == pytest.approx(ratio * math.sqrt(252), rel=1e-9)
    shape = {"skew": skew, "kurtosis": kurtosis}
    want = deflated_sharpe(ratio, len(net), trials=12.0, variance=variance, **shape)
    assert row["dsr"] == pytest.approx(want, rel=1e-9)
    assert 0.5 < row["dsr"] < 0.95 < row["psr"]
    assert (row["trials"], row["effective_trials"]) == (40, 12.0)
    assert row["turnover"] == pytest.approx(both["turnover"].mean() * 252, rel=1e-9)
    long_only, equal = (
        returns.filter((pl.col("model") == m) & (pl.col("book") == b))
        .sort("date")["net"]
        .to_numpy()
        for m, b in (("m", "long_only"), ("equal_weight", "equal_weight"))
    )
    a, b = (np.prod(1 + x) ** (252 / len(x)) - 1 for x in (long_only, equal))
    assert row["long_only_net_return"] == pytest.approx(a, rel=1e-9)
    assert row["excess_over_equal_weight"] == pytest.approx(a - b, rel=1e-9)
    noise = returns.filter((pl.col("model") == "noise") & (pl.col("book") == "long_short")).sort(
        "date"
    )
    strategies = np.column_stack([net, noise["net"].to_numpy()])
    assert row["pbo"] == overfitting_probability(strategies, 12).probability
    assert 0 <= row["spa_p"] < 0.05  # the score foretells returns: some book beats 1/N


def test_a_model_that_began_late_takes_nothing_from_what_is_said_of_the_others(
    judged, returns
) -> None:
    """PBO and SPA are of the sessions that all books have: a short record is left out, and says so."""
    days = returns["date"].unique().sort()
    late = returns.filter((pl.col("model") == "noise") & (pl.col("date") > days[-40]))
    late = late.with_columns(pl.lit("late").alias("model"))
    seen = judged.evaluation.filter(pl.col("date") > days[-40])
    seen = seen.with_columns(pl.lit("late").alias("model"))
    before = room.summarise(judged.evaluation, returns, {}).row(0, named=True)
    both = room.summarise(
        pl.concat([judged.evaluation, seen]), pl.concat([returns, late]), {}
    ).rows_by_key("model", named=True, unique=True)
    assert (both["m"]["pbo"], both["m"]["spa_p"]) == (before["pbo"], before["spa_p"])
    assert both["m"]["verdict"] == before["verdict"]
    assert both["late"]["pbo"] is both["late"]["spa_p"] is None
    assert "its record of 39 sessions is too short" in both["late"]["verdict"]
    # half of the sessions are enough
    half = returns.filter(
        (pl.col("model") == "noise") & (pl.col("date") > days[len(days) // 2 - 1])
    )
    assert set(long_enough(half.with_columns(pl.lit("half").alias("model")).vstack(returns))["model"]) == {
        "m", "noise", "half", "equal_weight",
    }  # fmt: skip


def test_few_sessions_in_common_compare_nothing(judged, returns) -> None:
    days = returns["date"].unique().sort()
    for sessions, known in ((LEAST, True), (LEAST - 1, False)):
        few = returns.filter(pl.col("date") > days[-sessions - 1])
        row = room.summarise(judged.evaluation, few, {}).row(0, named=True)
        assert [row[c] is not None for c in ("sharpe_net", "pbo", "spa_p")] == [True, known, known]


def test_a_short_record_is_deflated_by_no_less_than_its_own_luck(judged, returns) -> None:
    """Trials of many years lie near each other; worthless ones of 40 sessions would not."""
    days = returns["date"].unique().sort()
    few = returns.filter(pl.col("date") > days[-41])
    net = few.filter((pl.col("model") == "m") & (pl.col("book") == "long_short")).sort("date")[
        "net"
    ]
    x = net.to_numpy()
    skew, kurtosis = moments(x)
    want = deflated_sharpe(
        x.mean() / x.std(ddof=1), 40, trials=20.0, variance=1 / 40, skew=skew, kurtosis=kurtosis
    )
    row = room.summarise(judged.evaluation, few, {H: Deflation(30, 20.0, 1 / 4000)}).row(
        0, named=True
    )
    assert row["dsr"] == pytest.approx(want, rel=1e-9)


def test_one_trial_falls_back_to_the_probabilistic_ratio(judged, returns) -> None:
    row = room.summarise(judged.evaluation, returns, {}).row(0, named=True)
    assert row["trials"] == 1
    assert row["dsr"] == row["psr"]


def test_summary_says_null_where_there_is_too_little(judged, returns) -> None:
    first = judged.evaluation.head(1)
    row = room.summarise(first, returns.clear(), {}).row(0, named=True)
    for name in (
        "t",
        "p_value",
        "sharpe_net",
        "psr",
        "dsr",
        "pbo",
        "spa_p",
        "min_track_record",
        "brier",
    ):
        assert row[name] is None, name
    assert row["dates"] == 1
    assert row["verdict"].startswith("too few dates to tell skill from luck")
    assert room.summarise(first.clear(), returns, {}).is_empty()


@pytest.mark.parametrize(
    ("numbers", "words"),
    [
        ({"mean_rank_ic": 0.004, "t": 0.4, "p_value": 0.7, "detectable_ic": 0.045, "dsr": 0.12, "trials": 213},
         "no evidence of skill: mean rank IC 0.004, t 0.4, and this panel cannot detect a rank IC below 0.045; "
         "deflated Sharpe 0.12 of 213 trials: luck is not ruled out"),
        ({"mean_rank_ic": -0.03, "t": -2.9, "p_value": 0.004, "detectable_ic": 0.03, "sharpe_net": -0.4,
          "sharpe_gross": 0.1},
         "worse than guessing: mean rank IC −0.030, t −2.9; costs take all that the long-short book earns "
         "(net Sharpe −0.40)"),
        ({"mean_rank_ic": 0.06, "t": 5.0, "p_value": 1e-6, "detectable_ic": 0.03, "sharpe_net": 0.8,
          "sharpe_gross": 1.1, "excess_over_equal_weight": -0.012, "dsr": 0.97, "trials": 1},
         "too good to be believed as it stands, an investigation is due: its ranking foretells returns: mean "
         "rank IC 0.060, t 5.0; net Sharpe of the long-short book 0.80, long-only 1.2 % a year below 1/N; it "
         "survives the number of trials (deflated Sharpe 0.97 of 1 trial)"),
    ],
)  # fmt: skip
def test_a_verdict_is_what_the_numbers_say(numbers, words) -> None:
    assert room.verdict(numbers) == words


def test_an_investigation_finds_whose_doing_it_is(world, labelled) -> None:
    """A score that knows the future of one name only."""
    noise = np.random.default_rng(8).standard_normal(labelled.height)
    known = labelled["instrument_id"].to_numpy() == "N11"
    score = np.where(known, 1e3 * labelled["label"].fill_null(0.0).to_numpy(), noise)
    found = room.investigate(
        predicted(labelled, score),
        world.prices,
        world.calendar,
        H,
        "m",
        known_until=FOREVER,
        best=(1, 3),
    )
    mean = room.evaluate(
        predicted(labelled, score), world.prices, world.calendar, H, known_until=FOREVER
    )
    assert found.by_name["instrument_id"][0] == "N11"
    assert found.by_name["rank_ic"].sum() == pytest.approx(mean["rank_ic"].mean(), rel=1e-9)
    assert found.by_name["spread"].sum() == pytest.approx(mean["spread"].mean(), rel=1e-9)
    assert found.without["names"].to_list() == [0, 1, 3]
    assert found.without["mean_rank_ic"][0] == pytest.approx(mean["rank_ic"].mean(), rel=1e-9)
    assert found.without["mean_rank_ic"][1] < 0.5 * found.without["mean_rank_ic"][0]
    assert found.by_year["year"].to_list() == [2003, 2004]
    assert found.by_year["dates"].sum() == mean["rank_ic"].count()
    with pytest.raises(ModelError, match="no walk-forward prediction of model 'gone'"):
        room.investigate(
            predicted(labelled, score), world.prices, world.calendar, H, "gone", known_until=FOREVER
        )


def test_a_model_whose_outcomes_are_not_known_yet_has_no_rows(world, labelled) -> None:
    fresh = labelled.filter(pl.col("date") >= world.calendar.offset(world.end, -1))
    made = room.judge_by_date(
        predicted(fresh, pl.col("score")), world.prices, world.calendar, H, known_until=FOREVER
    )
    assert fresh.height > 0
    assert made.evaluation.is_empty()
    assert made.bins.is_empty()
    assert made.lags.is_empty()
    assert room.calibrate(made.bins).is_empty()
    assert room.decay(made.lags).is_empty()
    with_old = predicted(labelled, pl.col("score"), "old")
    both = room.judge_by_date(
        pl.concat([with_old, predicted(fresh, pl.col("score"), "new")]),
        world.prices, world.calendar, H, known_until=FOREVER,
    )  # fmt: skip
    assert set(both.evaluation["model"]) == {"old"}
