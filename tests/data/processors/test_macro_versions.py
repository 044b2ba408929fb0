"""clean.macro: which version of a statistic was known when."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from wealthos_pipeline.core.data import contract
from wealthos_pipeline.core.errors import SourceError
from wealthos_pipeline.data.processors import macro, raw, series

RAW = contract("raw.macro")
NOW = datetime(2026, 1, 5, tzinfo=UTC)
FETCH = datetime(2024, 6, 3, 22, tzinfo=UTC)


def row(day: date, value: float | None, **more) -> dict:
    """A row of raw.macro; ``vintage`` a date of publication."""
    out = {"source": "fred", "series": "cpi", "date": day, "vintage": "", "fetched_at": FETCH,
           "value": value, "unit": "index", "frequency": "month", "published_at": None, **more}  # fmt: skip
    if out["vintage"]:
        out["published_at"] = midnight_after(date.fromisoformat(out["vintage"]))
    return out


def midnight_after(day: date) -> datetime:
    """The end of ``day`` in New York, summer time or not."""
    frame = pl.DataFrame({"day": [day + timedelta(days=1)]})
    return frame.select(macro.midnight(pl.col("day"))).item()


def frame(*rows: dict) -> pl.DataFrame:
    return RAW.conform(pl.DataFrame(list(rows), schema_overrides=RAW.schema()))


def said(cleaned: pl.DataFrame) -> list[tuple]:
    return cleaned.select("date", "value", "basis", "known_at").rows()


@pytest.mark.parametrize(
    ("frequency", "day", "known"),
    [
        # end of the period plus the documented days; midnight in New York
        ("day", date(2024, 3, 7), datetime(2024, 3, 15, 4, tzinfo=UTC)),
        ("week", date(2024, 1, 1), datetime(2024, 1, 22, 5, tzinfo=UTC)),
        ("month", date(2024, 1, 1), datetime(2024, 4, 3, 4, tzinfo=UTC)),
        ("quarter", date(2024, 1, 1), datetime(2024, 7, 5, 4, tzinfo=UTC)),
        ("year", date(2023, 1, 1), datetime(2024, 8, 28, 4, tzinfo=UTC)),
    ],
)
def test_an_undated_first_version_is_known_after_the_documented_days(frequency, day, known):
    out = macro.clean(frame(row(day, 1.0, frequency=frequency)), now=NOW)
    assert said(out) == [(day, 1.0, "assumed", known)]
    before = macro.clean(
        frame(row(day, 1.0, frequency=frequency)), now=known - timedelta(microseconds=1)
    )
    assert before.height == 0


def test_every_vintage_is_a_version_known_from_its_publication():
    day = date(2024, 1, 1)
    out = macro.clean(
        frame(
            row(day, 3.1, vintage="2024-02-13"),
            row(day, 3.2, vintage="2024-03-12"),
            row(day, 3.2, vintage="2024-04-10"),  # says nothing new
            row(day, 3.0, vintage="2025-02-12"),
        ),
        now=NOW,
    )
    assert said(out) == [
        (day, 3.1, "observed", datetime(2024, 2, 14, 5, tzinfo=UTC)),
        (day, 3.2, "observed", datetime(2024, 3, 13, 4, tzinfo=UTC)),
        (day, 3.0, "observed", datetime(2025, 2, 13, 5, tzinfo=UTC)),
    ]


def test_a_revision_without_a_date_is_known_from_its_fetch():
    day, later = date(2024, 1, 1), FETCH + timedelta(days=30)
    out = macro.clean(frame(row(day, 1.0), row(day, 1.5, fetched_at=later)), now=NOW)
    assert said(out)[1] == (day, 1.5, "observed", later)
    # fetched twice before the rule says that it is known: the later one counts, once
    early = [FETCH.replace(month=2), FETCH.replace(month=3)]
    out = macro.clean(frame(*(row(day, float(i), fetched_at=t) for i, t in enumerate(early))), now=NOW)  # fmt: skip
    assert out.select("value", "known_at").rows() == [(1.0, datetime(2024, 4, 3, 4, tzinfo=UTC))]


def test_a_vintage_corrected_by_the_vendor_is_known_from_the_fetch_of_the_correction():
    day, later = date(2024, 1, 1), FETCH + timedelta(days=1)
    out = macro.clean(
        frame(
            row(day, 3.1, vintage="2024-02-13"),
            row(day, 3.4, vintage="2024-02-13", fetched_at=later),
        ),
        now=NOW,
    )
    assert out["known_at"].to_list() == [datetime(2024, 2, 14, 5, tzinfo=UTC), later]


def test_what_is_missing_infinite_or_dated_before_its_period_is_no_value():
    day = date(2024, 1, 1)
    out = macro.clean(
        frame(
            row(day, None, vintage="2024-02-13"),
            row(date(2024, 2, 1), float("inf"), vintage="2024-03-13"),
            row(date(2024, 3, 1), 4.0, vintage="2024-02-13"),  # a forecast
            row(date(2024, 4, 1), 5.0, vintage="2024-05-13"),
        ),
        now=NOW,
    )
    assert out["date"].to_list() == [date(2024, 4, 1)]


def test_one_value_comes_from_one_source_the_one_known_first():
    """Rebased indices or rounding of another vendor are no revisions."""
    days = [date(2024, 1, 1), date(2024, 2, 1)]
    other = [row(d, 100.0, source="alpha_vantage") for d in days]
    dated = [row(days[0], 3.1, vintage="2024-02-13"), row(days[0], 3.2, vintage="2024-09-12")]
    out = macro.clean(frame(*other, *dated), now=NOW)
    assert out.select("date", "source", "value").rows() == [
        (days[0], "fred", 3.1),
        (days[0], "fred", 3.2),
        (days[1], "alpha_vantage", 100.0),
    ]


def test_equals_are_decided_by_the_order_of_the_settings(calendar):
    both = frame(*(row(date(2024, 1, 1), v, source=s) for s, v in (("a", 1.0), ("b", 2.0))))
    assert macro.clean(both, now=NOW)["source"].to_list() == ["a"]
    assert macro.clean(both, now=NOW, order=("b", "a"))["source"].to_list() == ["b"]
    table = contract("raw.series")
    rates = table.conform(
        pl.DataFrame(
            [
                {"source": s, "series": "vix", "tenor": "", "date": date(2024, 3, 7), "value": v,
                 "unit": "index", "frequency": "day", "fetched_at": FETCH}
                for s, v in (("a", 14.0), ("b", 15.0))
            ]
        )
    )  # fmt: skip
    assert series.clean(rates, calendar, now=NOW)["source"].to_list() == ["a"]
    assert series.clean(rates, calendar, now=NOW, order=("b",))["source"].to_list() == ["b"]


def test_a_frequency_without_a_rule_is_refused_by_name():
    with pytest.raises(SourceError, match=r"'decade'.*quarter"):
        macro.clean(frame(row(date(2020, 1, 1), 1.0, frequency="decade")), now=NOW)


# --- what was known at T -------------------------------------------------------------------------


def market(seed: int) -> pl.DataFrame:
    """Dated and undated statistics of two sources, revised, some fetched again, some missing."""
    rng = np.random.default_rng(seed)
    rows = []
    for k in range(40):
        day = date(2015 + k // 12, k % 12 + 1, 1)
        for name, source, dated in (
            ("cpi", "fred", True),
            ("cpi", "alpha_vantage", False),
            ("retail", "alpha_vantage", False),
        ):
            when = datetime(day.year, day.month, 1, 14, tzinfo=UTC) + timedelta(
                days=int(rng.integers(20, 90))
            )
            for version in range(int(rng.integers(1, 4))):
                value = None if rng.random() < 0.1 else float(np.round(rng.normal(), 1))
                more = {"vintage": str(when.date())} if dated else {}
                fetched = when + timedelta(hours=int(rng.integers(1, 200)))
                rows.append(row(day, value, series=name, source=source, fetched_at=fetched, **more))
                if rng.random() < 0.2:  # the same version, given otherwise
                    again = {"fetched_at": fetched + timedelta(days=3), "value": version + 0.5}
                    rows.append({**rows[-1], **again})
                when += timedelta(days=int(rng.integers(4, 200)))
    return frame(*rows)


@pytest.mark.parametrize("seed", range(4))
def test_cleaning_what_was_known_gives_what_was_known_of_the_clean(seed, calendar):
    everything = market(seed)
    whole = macro.clean(everything, now=NOW)
    assert whole.group_by("series", "date").len()["len"].max() >= 3
    rng = np.random.default_rng(100 + seed)
    stamps = whole["known_at"].to_list()
    moments = [stamps[int(i)] - timedelta(microseconds=int(i) % 2) for i in rng.integers(0, len(stamps), 12)]  # fmt: skip
    for at in moments:
        cut = raw.as_of(everything, at, calendar, "raw.macro")
        expected = whole.filter(pl.col("known_at") <= at)
        assert macro.clean(cut, now=NOW).equals(expected), at
        # rows of the future are not looked at either
        assert macro.clean(everything, now=at).equals(expected), at


@pytest.mark.parametrize("seed", range(3))
def test_series_as_known_do_not_depend_on_what_came_later(seed, calendar):
    """The same for ``clean.series``, with two sources and corrections."""
    rng = np.random.default_rng(seed)
    days = calendar.sessions(date(2023, 1, 3), date(2023, 4, 28))
    rows = []
    for source in ("fred", "treasury"):
        for day in days:
            if rng.random() < 0.15:
                continue
            stamp = datetime(2023, 6, 1, tzinfo=UTC)
            for _ in range(1 + int(rng.random() < 0.2)):
                rows.append({"source": source, "series": "ust_par", "tenor": "10Y", "date": day, "unit": "percent",
                             "frequency": "day", "fetched_at": stamp, "value": float(np.round(rng.normal(4), 2))})  # fmt: skip
                stamp += timedelta(days=int(rng.integers(1, 60)))
    everything = contract("raw.series").conform(pl.DataFrame(rows))
    seen = 0
    for day in rng.choice(days, 8):
        at = calendar.known_at(day) + timedelta(hours=int(rng.integers(0, 30)))
        at = at if rng.random() < 0.7 else datetime(2023, 7, 1, tzinfo=UTC)
        cut = raw.as_of(everything, at, calendar, "raw.series")
        now = series.clean(everything, calendar, now=at)
        # what the fetch dates lies after `at` only for the physical store of the past
        rule = pl.col("known_at") <= at
        assert series.clean(cut, calendar, now=NOW).filter(rule).equals(now.filter(rule)), at
        seen += now["source"].n_unique()
    assert seen > 8


def test_the_order_of_rows_does_not_matter():
    everything = market(9)
    shuffled = everything.sample(fraction=1.0, shuffle=True, seed=3)
    assert macro.clean(shuffled, now=NOW).equals(macro.clean(everything, now=NOW))
