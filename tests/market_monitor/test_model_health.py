"""Alerts about models: drift and live decay, each in one sentence, from nothing later than the day."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest

from wealthos_pipeline.core.data import contract
from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.market_monitor import alerts

DAY = date(2019, 6, 28)
REVIEW = date(2019, 6, 3)


@pytest.fixture(scope="module")
def calendar() -> TradingCalendar:
    return TradingCalendar()


def frame(table: str, rows: list[dict[str, Any]]) -> pl.DataFrame:
    columns = alerts.INPUTS[table].columns
    schema = {c: t for c, t in contract(table).schema().items() if c in columns}
    return pl.DataFrame(rows, schema=schema, orient="row")


def reviewed(calendar: TradingCalendar, subject: str, **more: Any) -> dict[str, Any]:
    day = more.get("date", REVIEW)
    quiet = {
        "model": "ridge", "date": day, "subject": subject, "psi": 0.05, "psi_limit": 0.2,
        "stability": 0.9, "stability_low": 0.8, "stability_high": 0.97, "turnover": None,
        "turnover_before": None, "drifted": False, "known_at": calendar.known_at(day),
    }  # fmt: skip
    return quiet | more


def judged(calendar: TradingCalendar, **frames: pl.DataFrame) -> dict[tuple[str, str], dict[str, Any]]:  # fmt: skip
    given = {k.replace("__", "."): v for k, v in frames.items()}
    found = alerts.evaluate(given, dates=[DAY], calendar=calendar)
    return {(r["alert"], r["subject"]): r for r in found.iter_rows(named=True)}


def test_drifted_features_are_one_alert_a_model_the_worst_named_first(
    calendar: TradingCalendar,
) -> None:
    rows = [
        reviewed(calendar, "beta", psi=0.4, drifted=True),
        reviewed(calendar, "size", psi=0.12, stability=0.31, drifted=True),
        reviewed(calendar, "value"),
        reviewed(calendar, "beta", date=date(2019, 5, 1), psi=2.0, drifted=True),
    ]
    found = judged(calendar, models__drift=frame("models.drift", rows))
    assert set(found) == {("feature_drift", "ridge")}
    told = found["feature_drift", "ridge"]
    assert told["severity"] == "warning"
    assert told["value"] == 0.4
    assert told["text"] == (
        "ridge: 2 of 3 features were not distributed on 2019-06-03 as on the dates that its fit learnt from: "
        "beta (PSI 0.40, by chance up to 0.20), size (correlation with the month before +0.31, as a rule +0.80 "
        "to +0.97); shifts that are the same for all names do not show."
    )


def test_a_moderate_index_is_for_information_and_a_quiet_review_says_nothing(
    calendar: TradingCalendar,
) -> None:
    moderate = frame("models.drift", [reviewed(calendar, "beta", psi=0.15, psi_limit=0.12, drifted=True)])  # fmt: skip
    assert judged(calendar, models__drift=moderate)["feature_drift", "ridge"]["severity"] == "info"
    # a large index that chance explains is no drift
    chance = frame("models.drift", [reviewed(calendar, "beta", psi=0.6, psi_limit=0.9)])
    assert judged(calendar, models__drift=chance) == {}


def test_predictions_say_how_many_names_changed(calendar: TradingCalendar) -> None:
    row = reviewed(calendar, "prediction", psi=0.3, drifted=True, turnover=0.75, turnover_before=0.4)  # fmt: skip
    found = judged(calendar, models__drift=frame("models.drift", [row]))
    assert set(found) == {("prediction_drift", "ridge")}
    text = found["prediction_drift", "ridge"]["text"]
    assert "75 % of its top fifth are new since the review before, 40 % as a rule" in text


def test_reviews_of_long_ago_or_of_tomorrow_do_not_count(calendar: TradingCalendar) -> None:
    for day in (date(2019, 5, 1), date(2019, 7, 1)):
        rows = frame("models.drift", [reviewed(calendar, "beta", date=day, psi=1.0, drifted=True)])
        assert judged(calendar, models__drift=rows) == {}


def live(calendar: TradingCalendar, mean: float, n: int = 200, late: int = 0) -> pl.DataFrame:
    h = 5
    days = calendar.sessions(calendar.offset(DAY, -n - h - 1), calendar.offset(DAY, -h - 2))
    values = mean + 0.05 * np.random.default_rng(4).standard_normal(len(days))
    return frame(
        "models.live",
        [
            {
                "model": "ridge",
                "horizon": h,
                "date": d,
                "rank_ic": v,
                "expected_rank_ic": 0.02,
                "known_at": calendar.known_at(calendar.offset(d, h + 1)) + timedelta(late),
            }
            for d, v in zip(days, values, strict=True)
        ],
    )


def test_live_predictions_that_fall_short_of_their_record_are_told(
    calendar: TradingCalendar,
) -> None:
    found = judged(calendar, models__live=live(calendar, -0.02))
    told = found["live_ic_decay", "ridge, 5 sessions"]
    assert told["severity"] == "warning"
    assert told["value"] == pytest.approx(-0.02, abs=0.01)
    assert told["text"].startswith("ridge: what it issued had a mean rank IC of −0.0")
    assert "against what its walk-forward record promised then (t −" in told["text"]
    assert told["text"].count(".") - told["text"].count("0.") <= 3


def test_live_predictions_as_promised_or_too_few_or_not_known_say_nothing(
    calendar: TradingCalendar,
) -> None:
    assert judged(calendar, models__live=live(calendar, 0.02)) == {}
    assert judged(calendar, models__live=live(calendar, -0.05, n=12)) == {}
    assert judged(calendar, models__live=live(calendar, -0.05, late=400)) == {}
