from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest

from wealthos_pipeline.core.data import contract
from wealthos_pipeline.data.processors import series
from wealthos_pipeline.data.processors.calendar import TradingCalendar

T0 = datetime(2026, 1, 5, tzinfo=UTC)
RAW = contract("raw.series")


def rows(*given: tuple) -> pl.DataFrame:
    return RAW.conform(
        pl.DataFrame(
            [
                {
                    "source": "v",
                    "series": s,
                    "tenor": t,
                    "date": d,
                    "value": x,
                    "frequency": f,
                    "unit": u,
                    "fetched_at": at,
                }
                for s, t, d, x, f, u, at in given
            ]
        )
    )


@pytest.mark.parametrize(
    ("name", "frequency", "day", "known"),
    [
        ("vix", "day", date(2024, 3, 7), datetime(2024, 3, 7, 21, 30, tzinfo=UTC)),
        ("ust_par", "day", date(2024, 3, 7), datetime(2024, 3, 8, 0, 0, tzinfo=UTC)),
        # a half day: the close is at 18:00 UTC
        ("vix", "day", date(2024, 11, 29), datetime(2024, 11, 29, 18, 30, tzinfo=UTC)),
        # Good Friday: bonds traded, the exchange did not; the Monday after
        ("ust_par", "day", date(2021, 4, 2), datetime(2021, 4, 5, 23, 0, tzinfo=UTC)),
        # a half day: the Treasury publishes in the evening all the same
        ("ust_par", "day", date(2024, 11, 29), datetime(2024, 11, 30, 0, 0, tzinfo=UTC)),
        # six sessions after a Thursday: Friday of the week after
        ("wti", "day", date(2019, 1, 3), datetime(2019, 1, 11, 21, 30, tzinfo=UTC)),
        # monthly average: first session after the month
        ("moody_yield", "month", date(2018, 12, 31), datetime(2019, 1, 2, 21, 30, tzinfo=UTC)),
        ("cpi", "month", date(2018, 8, 31), datetime(2018, 9, 4, 20, 30, tzinfo=UTC)),
        # last session of the month after
        ("risk_free", "month", date(2018, 11, 30), datetime(2018, 12, 31, 21, 30, tzinfo=UTC)),
        # before the calendar begins
        ("moody_yield", "month", date(1919, 1, 31), datetime(1919, 4, 3, tzinfo=UTC)),
    ],
)
def test_when_a_first_value_is_known(calendar, name, frequency, day, known):
    out = series.clean(rows((name, "", day, 1.0, frequency, "percent", T0)), calendar, now=T0)
    assert out["known_at"].item() == known
    assert out["basis"].item() == "assumed"


def test_a_revision_is_known_from_its_fetch(calendar):
    day, fetch = date(2024, 3, 7), datetime(2024, 4, 1, 12, tzinfo=UTC)
    frame = rows(
        ("ust_par", "10Y", day, 4.1, "day", "percent", datetime(2024, 3, 8, 12, tzinfo=UTC)),
        ("ust_par", "10Y", day, 4.2, "day", "percent", fetch),
    )
    out = series.clean(frame, calendar, now=T0)
    assert out.select("value", "basis", "known_at").row(0) == (4.2, "observed", fetch)
    before = series.clean(frame, calendar, now=fetch - timedelta(seconds=1))
    assert before.select("value", "basis").row(0) == (4.1, "assumed")


def test_the_future_and_the_infinite_are_rejected_by_name(calendar):
    frame = rows(
        ("vix", "", date(2024, 3, 7), 14.0, "day", "index", T0),
        ("vix", "", date(2026, 3, 9), 15.0, "day", "index", T0),
        ("ust_par", "10Y", date(2024, 3, 7), float("inf"), "day", "percent", T0),
        ("ust_par", "2Y", date(2024, 3, 7), None, "day", "percent", T0),
    )
    assert series.clean(frame, calendar, now=T0)["date"].to_list() == [date(2024, 3, 7)]
    bad = series.rejected(frame, calendar, now=T0)
    assert bad.select("symbol", "rule").sort("symbol").rows() == [
        ("ust_par 10Y", "bad_value"),
        ("vix", "future_date"),
    ]


def test_nothing_is_known_before_it_is(calendar):
    frame = rows(("moody_yield", "AAA", date(2018, 12, 31), 4.0, "month", "percent", T0))
    known = series.clean(frame, calendar, now=T0)["known_at"].item()
    assert series.clean(frame, calendar, now=known).height == 1
    assert series.clean(frame, calendar, now=known - timedelta(microseconds=1)).height == 0


@pytest.mark.parametrize("exchange", ["XTKS", "XLON", "XHKG", "XNYS"])
@pytest.mark.parametrize(
    ("name", "day", "known"),
    [
        ("ust_par", date(2024, 3, 7), datetime(2024, 3, 8, 0, 0, tzinfo=UTC)),
        ("ust_par", date(2024, 7, 3), datetime(2024, 7, 3, 23, 0, tzinfo=UTC)),
        ("vix", date(2024, 3, 7), datetime(2024, 3, 7, 21, 30, tzinfo=UTC)),
        # a holiday of New York is none of London's; the value waits for New York
        ("vix", date(2024, 7, 4), datetime(2024, 7, 5, 20, 30, tzinfo=UTC)),
    ],
)
def test_series_of_the_united_states_keep_new_yorks_clock(exchange, name, day, known):
    """At the close of Tokyo, London and Hong Kong nobody knows New York's close of that day."""
    abroad = TradingCalendar(exchange, lag_minutes=30)
    out = series.clean(rows((name, "", day, 1.0, "day", "percent", T0)), abroad, now=T0)
    assert out["known_at"].item() == known
    assert name == "vix" or known > abroad.known_at(day) or exchange == "XNYS"


@pytest.mark.parametrize(
    ("source", "known"),
    [
        # a file: with the session; a vendor's last quote of the day: when the day is over
        ("files", datetime(2024, 3, 7, 17, 0, tzinfo=UTC)),
        ("yahoo", datetime(2024, 3, 8, 0, 0, tzinfo=UTC)),
        ("alpha_vantage", datetime(2024, 3, 8, 0, 0, tzinfo=UTC)),
    ],
)
def test_a_rate_of_exchange_is_known_when_its_day_is_quoted(source, known):
    london = TradingCalendar("XLON", lag_minutes=30)
    frame = rows(("fx", "GBPUSD", date(2024, 3, 7), 1.28, "day", "rate", T0))
    out = series.clean(frame.with_columns(pl.lit(source).alias("source")), london, now=T0)
    assert out["known_at"].item() == known


def test_a_rate_of_exchange_that_is_not_positive_is_rejected(calendar):
    frame = rows(
        ("fx", "GBPUSD", date(2024, 3, 7), 0.0, "day", "rate", T0),
        ("fx", "EURUSD", date(2024, 3, 7), 1.09, "day", "rate", T0),
        ("ust_par", "1M", date(2024, 3, 7), 0.0, "day", "percent", T0),
    )
    assert set(series.clean(frame, calendar, now=T0)["tenor"]) == {"EURUSD", "1M"}
    bad = series.rejected(frame, calendar, now=T0)
    assert bad.select("symbol", "rule").rows() == [("fx GBPUSD", "bad_value")]
