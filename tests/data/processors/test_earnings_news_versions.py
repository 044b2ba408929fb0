"""Reports and headlines: what was expected, what was said, and from when it was known."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest

from wealthos_pipeline.core.data import contract
from wealthos_pipeline.data.processors import earnings, news, raw, versions
from wealthos_pipeline.data.processors.calendar import TradingCalendar

EARNINGS, NEWS = contract("raw.earnings"), contract("raw.news")
LOADED = datetime(2018, 6, 1, 12, tzinfo=UTC)
LATER = datetime(2030, 1, 1, tzinfo=UTC)
QUARTER, REPORT = date(2018, 3, 31), date(2018, 4, 26)
REPORTED = datetime(2018, 4, 27, 4, tzinfo=UTC)
"""The day of the report is over in New York."""


def reports(*rows: dict[str, Any]) -> pl.DataFrame:
    usual = {
        "source": "v", "symbol": "ABC", "period_end": QUARTER, "fetched_at": LOADED,
        "report_date": REPORT, "hour": "after", "currency": "USD",
    }  # fmt: skip
    return EARNINGS.conform(pl.DataFrame([usual | r for r in rows], schema=EARNINGS.schema()))


def stories(*rows: dict[str, Any]) -> pl.DataFrame:
    usual = {
        "source": "v", "symbol": "ABC", "news_id": "1", "fetched_at": LOADED, "headline": "h",
        "published_at": LOADED - timedelta(days=30),
    }  # fmt: skip
    return NEWS.conform(pl.DataFrame([usual | r for r in rows], schema=NEWS.schema()))


@pytest.fixture(scope="module")
def ids() -> pl.DataFrame:
    rows = [
        ("ABC", "XNYS:ABC", date(2010, 1, 4), None),
        ("DEF", "XNYS:DEF", date(2010, 1, 4), None),
        ("XYZ", "XNYS:XYZ", date(2005, 1, 3), date(2012, 6, 29)),
        ("XYZ", "XNYS:XYZ#2", date(2015, 1, 2), None),
    ]
    columns = ["symbol", "instrument_id", "valid_from", "valid_to"]
    frame = pl.DataFrame(rows, schema=columns, orient="row", schema_overrides={"valid_to": pl.Date})
    return contract("clean.instruments").conform(
        frame.with_columns(
            source=pl.lit("v"), asset_class=pl.lit("equity"), exchange=pl.lit("XNYS"),
            currency=pl.lit("USD"), static=pl.lit(value=False), known_at=pl.lit(LOADED),
        )
    )  # fmt: skip


@pytest.mark.parametrize(
    ("day", "hour", "known"),
    [
        (REPORT, "before", datetime(2018, 4, 26, 13, 30, tzinfo=UTC)),
        (REPORT, "after", REPORTED),
        (REPORT, "during", REPORTED),
        (REPORT, "unknown", REPORTED),
        (date(2018, 4, 28), "before", datetime(2018, 4, 30, 13, 30, tzinfo=UTC)),  # a Saturday
    ],
)
def test_a_report_is_known_by_its_hour(day, hour, known, ids, calendar) -> None:
    rows = reports({"report_date": day, "hour": hour, "eps_actual": 1.0})
    made = earnings.clean(rows, ids, calendar, now=LATER)
    assert made.select("eps_actual", "known_at", "basis").rows() == [(1.0, known, "assumed")]


def test_a_report_before_new_york_opens_is_not_known_when_tokyo_does(ids) -> None:
    rows = reports({"report_date": REPORT, "hour": "before", "eps_actual": 1.0})
    made = earnings.clean(rows, ids, TradingCalendar("XTKS"), now=LATER)
    assert made["known_at"].to_list() == [datetime(2018, 4, 26, 13, 30, tzinfo=UTC)]


def test_nobody_reports_before_the_period_is_over(ids, calendar) -> None:
    """The day is a slip, or that of another period: the figure is known from its fetch."""
    rows = reports({"report_date": date(2018, 3, 1), "eps_actual": 1.0})
    assert rows["period_end"].item() > date(2018, 3, 1)
    made = earnings.clean(rows, ids, calendar, now=LATER)
    assert made.select("eps_actual", "known_at", "basis").rows() == [(1.0, LOADED, "observed")]


def test_estimates_of_the_past_are_known_from_their_fetch(ids, calendar) -> None:
    rows = reports({"eps_actual": 1.0, "eps_estimate": 0.9})
    made = earnings.clean(rows, ids, calendar, now=LATER)
    assert made.select("eps_actual", "eps_estimate", "known_at").rows() == [
        (1.0, None, REPORTED),
        (1.0, 0.9, LOADED),
    ]


def test_what_was_expected_stands_beside_what_was_reported(ids, calendar) -> None:
    """Fetched before the report, and after it."""
    before, after = datetime(2018, 4, 20, tzinfo=UTC), datetime(2018, 5, 2, tzinfo=UTC)
    rows = reports(
        {"fetched_at": before, "report_date": date(2018, 4, 25), "eps_estimate": 0.9},
        {"fetched_at": after, "eps_actual": 1.0, "eps_estimate": 0.8},  # a day later than announced
    )
    made = earnings.clean(rows, ids, calendar, now=LATER)
    columns = ["report_date", "eps_estimate", "eps_actual", "known_at", "basis"]
    assert made.select(columns).rows() == [
        (date(2018, 4, 25), 0.9, None, before, "observed"),
        (REPORT, 0.9, 1.0, REPORTED, "assumed"),
        (REPORT, 0.8, 1.0, after, "observed"),
    ]


def test_an_actual_that_an_earlier_fetch_should_have_had_is_known_from_its_own(
    ids, calendar
) -> None:
    late = LOADED + timedelta(days=7)
    rows = reports({"eps_estimate": 0.9}, {"eps_actual": 1.0, "fetched_at": late})
    made = earnings.clean(rows, ids, calendar, now=LATER)
    assert made.filter(pl.col("eps_actual").is_not_null())["known_at"].to_list() == [late]


def test_an_actual_without_a_day_and_one_seen_before_its_day_is_over(ids, calendar) -> None:
    evening = datetime(2018, 4, 26, 22, tzinfo=UTC)
    for row in (
        {"report_date": None, "eps_actual": 1.0},
        {"fetched_at": evening, "eps_actual": 1.0},
    ):
        made = earnings.clean(reports(row), ids, calendar, now=LATER)
        stamp = row.get("fetched_at", LOADED)
        assert made.select("known_at", "basis").rows() == [(stamp, "observed")]


def test_a_reused_ticker_keeps_reports_apart(ids, calendar) -> None:
    old = {"symbol": "XYZ", "period_end": date(2011, 3, 31), "report_date": date(2011, 4, 20)}
    rows = reports(
        {**old, "eps_actual": 1.0, "fetched_at": datetime(2011, 5, 1, tzinfo=UTC)},
        {"symbol": "XYZ", "eps_actual": 2.0},
        {**old, "period_end": date(2010, 12, 31), "eps_actual": 3.0},  # given under the new holder
    )
    made = earnings.clean(rows, ids, calendar, now=LATER)
    assert made.select("instrument_id", "eps_actual").rows() == [
        ("XNYS:XYZ", 1.0),
        ("XNYS:XYZ#2", 2.0),
    ]


def calendar_of_reports(seed: int) -> pl.DataFrame:
    """Announcements, changed estimates, reports on time, late and corrected, over two sources."""
    rng = np.random.default_rng(seed)
    stored = EARNINGS.empty()
    fetches = [LOADED + timedelta(days=7 * k, hours=int(rng.integers(0, 12))) for k in range(40)]
    said: dict[tuple[str, str, date], dict[str, Any]] = {}
    for now in fetches:
        for source, symbol in (("v", "ABC"), ("v", "DEF"), ("w", "ABC")):
            for k in range(12):
                end = date(2016 + (k + 2) // 4, 3 * ((k + 2) % 4) + 1, 1) - timedelta(days=1)
                day = end + timedelta(days=20 + 2 * k)
                if day > now.date() + timedelta(days=60) or rng.random() < 0.2:
                    continue
                row = said.setdefault(
                    (source, symbol, end), {"report_date": day, "eps_actual": None}
                )
                if rng.random() < 0.3:
                    row = {**row, "eps_estimate": float(rng.integers(1, 9))}
                if day < now.date() and (row["eps_actual"] is None or rng.random() < 0.05):
                    row = {**row, "eps_actual": float(rng.integers(1, 9))}
                row["hour"] = ("before", "after", "unknown")[k % 3]
                said[source, symbol, end] = row
        given = [
            {"source": s, "symbol": n, "period_end": e, "fetched_at": now, **r}
            for (s, n, e), r in said.items()
        ]
        stored = pl.concat([stored, raw.new_rows(stored, reports(*given), EARNINGS)])
    return EARNINGS.conform(stored)


@pytest.mark.parametrize("seed", [1, 2])
def test_earnings_know_no_more_than_was_known(seed: int, ids, calendar) -> None:
    """Against a store that physically lacks later rows, and of rows fetched later the estimates."""
    rows = calendar_of_reports(seed)
    key = versions.value_key(contract("clean.earnings"))
    full = earnings.clean(rows, ids, calendar, now=LATER, order=("v", "w"))
    stamps = full["known_at"].unique().sort().to_list()
    rng = np.random.default_rng(seed)
    sizes = set()
    for i in rng.integers(0, len(stamps), 12):
        for at in (stamps[int(i)], stamps[int(i)] - timedelta(microseconds=1)):
            cut = raw.as_of(rows, at, calendar, "raw.earnings")
            fresh = earnings.clean(cut, ids, calendar, now=at, order=("v", "w"))
            assert fresh.equals(full.filter(pl.col("known_at") <= at)), f"as of {at}"
            assert versions.known(fresh, at, key).equals(versions.known(full, at, key))
            sizes.add(fresh.height)
    assert len(sizes) > 8


@pytest.mark.parametrize("seed", [3, 4])
def test_earnings_fetch_by_fetch_equal_everything_at_once(seed: int, ids, calendar) -> None:
    rows = calendar_of_reports(seed)
    full = earnings.clean(rows, ids, calendar, now=LATER, order=("v", "w"))
    assert full.group_by("instrument_id", "period_end").len()["len"].max() > 3
    for now in rows["fetched_at"].unique().sort().to_list()[1::4]:
        known = rows.filter(pl.col("fetched_at") <= now)
        stored = earnings.clean(known, ids, calendar, now=now, order=("v", "w"))
        assert stored.height > 20
        same = full.join(stored, on=list(contract("clean.earnings").key), how="semi")
        assert same.equals(stored), f"what the run of {now} knew"
    last = earnings.clean(rows, ids, calendar, now=rows["fetched_at"].max(), order=("v", "w"))
    assert last.equals(full)


# --- news ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("published", "known", "day"),
    [
        (datetime(2018, 5, 1, 23, 30, tzinfo=UTC),) * 2 + (date(2018, 5, 1),),
        (LOADED + timedelta(hours=1), LOADED, date(2018, 6, 1)),  # ahead of its own answer
        (None, LOADED, date(2018, 6, 1)),
        (datetime(2018, 5, 1, tzinfo=UTC), datetime(2018, 5, 2, 4, tzinfo=UTC), date(2018, 5, 1)),
    ],
)
def test_a_story_is_known_when_it_was_published(published, known, day, ids) -> None:
    made = news.clean(stories({"published_at": published}), ids, now=LATER)
    assert made.select("known_at", "date", "basis").rows() == [(known, day, "observed")]


def test_a_story_keeps_its_first_words_and_has_a_row_an_instrument(ids) -> None:
    again = LOADED + timedelta(days=1)
    rows = stories(
        {"headline": "first"},
        {"headline": "second", "fetched_at": again},
        {"symbol": "DEF"},
        {"symbol": "XYZ", "published_at": datetime(2012, 3, 1, 9, tzinfo=UTC)},
        {"symbol": "XYZ", "news_id": "2", "published_at": datetime(2013, 3, 1, 9, tzinfo=UTC)},
        {"source": "w", "headline": "of another vendor"},
    )
    made = news.clean(rows, ids, now=LATER).sort("news_id", "instrument_id")
    assert made.select("news_id", "instrument_id", "headline").rows() == [
        ("v:1", "XNYS:ABC", "first"),
        ("v:1", "XNYS:DEF", "h"),
        ("v:1", "XNYS:XYZ", "h"),
        ("w:1", "XNYS:ABC", "of another vendor"),
    ]


def test_a_story_that_an_earlier_fetch_should_have_had_is_known_from_its_own(ids) -> None:
    """A symbol that was put to an old story later was not known with the story."""
    hour, again = timedelta(hours=1), LOADED + timedelta(days=1)
    rows = stories(
        {"published_at": LOADED - 9 * hour},
        {"news_id": "2", "published_at": LOADED - hour, "fetched_at": again},
        {"news_id": "3", "published_at": LOADED + hour, "fetched_at": again},
        {"news_id": "1", "symbol": "DEF", "published_at": LOADED - 9 * hour, "fetched_at": again},
    )
    made = news.clean(rows, ids, now=LATER).sort("news_id", "instrument_id")
    assert made.select("news_id", "instrument_id", "known_at").rows() == [
        ("v:1", "XNYS:ABC", LOADED - 9 * hour),
        ("v:1", "XNYS:DEF", LOADED - 9 * hour),  # the first load of DEF
        ("v:2", "XNYS:ABC", again),
        ("v:3", "XNYS:ABC", LOADED + hour),
    ]


def test_an_edit_is_known_from_its_own_fetch(ids, calendar) -> None:
    """Even where it brings the date that the first answer lacked."""
    said = LOADED - timedelta(days=2)
    rows = stories(
        {"headline": "first", "published_at": None},
        {"headline": "second", "published_at": said, "fetched_at": LOADED + timedelta(days=1)},
    )
    full = news.clean(rows, ids, now=LATER)
    assert full.select("headline", "known_at").rows() == [("first", LOADED)]
    for at in (said, LOADED - timedelta(microseconds=1), LOADED):
        cut = raw.as_of(rows, at, calendar, "raw.news")
        assert news.clean(cut, ids, now=at).equals(full.filter(pl.col("known_at") <= at))


@pytest.mark.parametrize("seed", [1, 2])
def test_news_know_no_more_than_was_known(seed: int, ids, calendar) -> None:
    rng = np.random.default_rng(seed)
    given, stored = [], NEWS.empty()
    for k in range(30):
        now = LOADED + timedelta(days=k)
        for n in range(6):
            age = timedelta(minutes=int(rng.integers(-60, 90_000)))
            dated = rng.random() < 0.8
            given.append({"news_id": str(6 * k + n), "symbol": ("ABC", "DEF", "XYZ")[n % 3],
                          "published_at": now - age if dated else None, "fetched_at": now})  # fmt: skip
        edited = {
            **given[int(rng.integers(len(given)))],
            "headline": f"edited {k}",
            "fetched_at": now,
        }
        fresh = stories(*[g for g in given if g["fetched_at"] == now and g["news_id"] != edited["news_id"]], edited)  # fmt: skip
        stored = pl.concat([stored, raw.new_rows(stored, fresh, NEWS)])
    full = news.clean(stored, ids, now=LATER)
    assert full.height > 150
    for m in rng.integers(0, 200_000, 20):
        at = datetime(2018, 4, 1, tzinfo=UTC) + timedelta(minutes=int(m))
        cut = raw.as_of(stored, at, calendar, "raw.news")
        assert news.clean(cut, ids, now=at).equals(full.filter(pl.col("known_at") <= at))
        run = stored.filter(pl.col("fetched_at") <= at)
        same = full.join(news.clean(run, ids, now=at), on=["news_id", "instrument_id"], how="semi")
        assert same.equals(news.clean(run, ids, now=at)), "fetch by fetch"
