"""Figures of reports as known on a session: restated, late, taken back, moved years, split shares."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from wealthos_pipeline.core.errors import FactorError
from wealthos_pipeline.factors import statements
from wealthos_pipeline.factors.expression import parse
from wealthos_pipeline.factors.statements import NEAR, STALE, by_row, parts, possible, reach

START, END = date(2014, 1, 2), date(2019, 12, 31)


def row(end: date, known: datetime | date, value: float | None, period: str = "year", *,
        metric: str = "total_assets", name: str = "A", currency: str | None = "USD") -> dict:  # fmt: skip
    at = (
        known
        if isinstance(known, datetime)
        else datetime(known.year, known.month, known.day, 22, tzinfo=UTC)
    )
    return {"instrument_id": name, "metric": metric, "period": period, "period_end": end,
            "value": value, "currency": currency, "known_at": at}  # fmt: skip


def table(*rows: dict) -> pl.DataFrame:
    return pl.DataFrame(rows, schema_overrides={"value": pl.Float64, "known_at": pl.Datetime("us", "UTC"),
                                                "currency": pl.String})  # fmt: skip


@pytest.fixture
def frame(calendar) -> pl.DataFrame:
    days = calendar.frame(START, END)["date"]
    return pl.concat(
        pl.DataFrame({"instrument_id": n, "date": days, "split_index": 1.0}) for n in "AB"
    )


def at(values: np.ndarray, frame: pl.DataFrame, day: date, name: str = "A") -> float:
    return float(values[((frame["date"] == day) & (frame["instrument_id"] == name)).to_numpy()][0])


def test_a_figure_counts_from_its_filing_and_a_restatement_from_its_own(frame, calendar) -> None:
    rows = table(
        row(date(2014, 12, 31), date(2015, 2, 20), 100.0),
        row(date(2014, 12, 31), date(2015, 11, 5), 90.0),
        row(date(2015, 12, 31), date(2016, 2, 22), 120.0),
    )
    found = by_row(rows, frame, "total_assets", "year", calendar)
    assert math.isnan(at(found, frame, date(2015, 2, 19)))
    # 22:00 UTC is after the bar of the day was known (21:30 in winter)
    assert math.isnan(at(found, frame, date(2015, 2, 20)))
    assert at(found, frame, date(2015, 2, 23)) == 100.0
    assert at(found, frame, date(2015, 11, 5)) == 100.0
    assert at(found, frame, date(2015, 11, 6)) == 90.0
    assert at(found, frame, date(2016, 2, 23)) == 120.0
    assert np.isnan(found[(frame["instrument_id"] == "B").to_numpy()]).all()


def test_a_filing_at_the_very_instant_is_known(frame, calendar) -> None:
    known = calendar.known_at(date(2015, 2, 20))
    on_time = table(row(date(2014, 12, 31), known, 1.0))
    late = table(row(date(2014, 12, 31), known + timedelta(microseconds=1), 1.0))
    day = date(2015, 2, 20)
    assert at(by_row(on_time, frame, "total_assets", "year", calendar), frame, day) == 1.0
    assert math.isnan(at(by_row(late, frame, "total_assets", "year", calendar), frame, day))


def test_an_old_year_filed_late_does_not_push_out_a_newer_one(frame, calendar) -> None:
    rows = table(
        row(date(2015, 12, 31), date(2016, 2, 20), 5.0),
        row(date(2014, 12, 31), date(2016, 6, 1), 4.0),
    )
    latest = by_row(rows, frame, "total_assets", "year", calendar)
    before = by_row(rows, frame, "total_assets", "year-1", calendar)
    assert at(latest, frame, date(2016, 7, 1)) == 5.0
    assert math.isnan(at(before, frame, date(2016, 3, 1)))
    assert at(before, frame, date(2016, 7, 1)) == 4.0


def test_what_was_taken_back_is_not_there_and_the_year_before_counts(frame, calendar) -> None:
    rows = table(
        row(date(2014, 12, 31), date(2015, 2, 20), 4.0),
        row(date(2015, 12, 31), date(2016, 1, 20), 5.0),
        row(date(2015, 12, 31), date(2016, 3, 1), None),
        row(date(2015, 12, 31), date(2016, 5, 2), 6.0),
    )
    found = by_row(rows, frame, "total_assets", "year", calendar)
    assert [at(found, frame, date(2016, *d)) for d in ((2, 1), (3, 2), (5, 3))] == [5.0, 4.0, 6.0]


@pytest.mark.parametrize("period", ["year", "quarter", "point"])
def test_a_figure_stands_for_its_days_and_no_longer(period, frame, calendar) -> None:
    end = date(2014, 12, 31)
    found = by_row(
        table(row(end, date(2015, 1, 5), 7.0, period)), frame, "total_assets", period, calendar
    )
    last = end + timedelta(days=STALE[period])
    days = frame.filter(pl.col("instrument_id") == "A")["date"].to_list()
    inside = [d for d in days if date(2015, 1, 6) <= d <= last]
    assert all(at(found, frame, d) == 7.0 for d in (inside[0], inside[-1]))
    assert math.isnan(at(found, frame, next(d for d in days if d > last)))


def test_a_year_of_53_weeks_has_a_year_before_it_and_a_moved_year_has_none(frame, calendar) -> None:
    weeks = table(
        row(date(2014, 12, 27), date(2015, 2, 20), 1.0),
        row(date(2016, 1, 2), date(2016, 2, 20), 2.0),
    )
    assert (
        at(by_row(weeks, frame, "total_assets", "year-1", calendar), frame, date(2016, 3, 1)) == 1.0
    )
    moved = table(
        row(date(2014, 12, 31), date(2015, 2, 20), 1.0),
        row(date(2015, 9, 30), date(2015, 12, 1), 2.0),
        row(date(2016, 9, 30), date(2016, 12, 1), 3.0),
    )
    before = by_row(moved, frame, "total_assets", "year-1", calendar)
    assert math.isnan(at(before, frame, date(2016, 3, 1)))
    assert at(before, frame, date(2017, 3, 1)) == 2.0
    assert NEAR < 92


def test_the_year_before_is_as_known_on_the_same_session(frame, calendar) -> None:
    rows = table(
        row(date(2014, 12, 31), date(2015, 2, 20), 100.0),
        row(date(2015, 12, 31), date(2016, 2, 20), 130.0),
        row(date(2014, 12, 31), date(2016, 2, 20), 110.0),  # restated for comparison
    )
    before = by_row(rows, frame, "total_assets", "year-1", calendar)
    assert at(before, frame, date(2016, 3, 1)) == 110.0


def test_twelve_months_are_the_vendors_or_the_sum_of_four_quarters(frame, calendar) -> None:
    ends = [
        date(2015, 3, 31),
        date(2015, 6, 30),
        date(2015, 9, 30),
        date(2015, 12, 31),
        date(2016, 3, 31),
    ]
    quarters = [
        row(e, e + timedelta(days=40), float(10**k), "quarter", metric="revenue")
        for k, e in enumerate(ends)
    ]
    found = by_row(table(*quarters), frame, "revenue", "ttm", calendar)
    assert math.isnan(at(found, frame, date(2016, 2, 1)))  # three quarters
    assert at(found, frame, date(2016, 3, 1)) == 1111.0
    assert at(found, frame, date(2016, 6, 1)) == 11110.0
    before = by_row(table(*quarters), frame, "revenue", "ttm-1", calendar)
    assert at(before, frame, date(2016, 6, 1)) == 1111.0
    holed = by_row(table(*quarters[:2], *quarters[3:]), frame, "revenue", "ttm", calendar)
    assert np.isnan(holed).all()
    said = [*quarters, row(ends[4], date(2016, 5, 20), 5.0, "ttm", metric="revenue")]
    found = by_row(table(*said), frame, "revenue", "ttm", calendar)
    assert at(found, frame, date(2016, 5, 18)) == 11110.0
    assert at(found, frame, date(2016, 5, 23)) == 5.0


def test_shares_are_in_the_shares_of_the_session(frame, calendar) -> None:
    split = date(2015, 6, 1)
    adjusted = frame.with_columns(
        split_index=pl.when(pl.col("date") >= split).then(4.0).otherwise(1.0)
    )
    rows = table(
        row(
            date(2014, 12, 31),
            date(2015, 2, 20),
            100.0,
            "quarter",
            metric="shares_outstanding",
            currency=None,
        ),
        row(
            date(2015, 6, 30),
            date(2015, 8, 3),
            410.0,
            "quarter",
            metric="shares_outstanding",
            currency=None,
        ),
        row(date(2014, 12, 31), date(2015, 2, 20), 8.0, "quarter", metric="eps_diluted"),
    )
    shares = by_row(rows, adjusted, "shares_outstanding", "quarter", calendar)
    assert [at(shares, adjusted, date(2015, *d)) for d in ((5, 29), (6, 1), (8, 5))] == [
        100.0,
        400.0,
        410.0,
    ]
    earned = by_row(rows, adjusted, "eps_diluted", "quarter", calendar)
    assert [at(earned, adjusted, date(2015, *d)) for d in ((5, 29), (6, 1))] == [8.0, 2.0]
    assert reach("shares_outstanding", "quarter-4") > reach("shares_outstanding", "quarter") > 276
    assert reach("total_assets", "year-3") == 0


def test_a_figure_in_another_currency_than_the_price_is_missing(frame, calendar) -> None:
    instruments = pl.DataFrame(
        {"instrument_id": ["A", "B"], "currency": ["USD", "EUR"], "valid_from": [START, START]}
    )
    rows = table(*(row(date(2014, 12, 31), date(2015, 2, 20), 1.0, name=n) for n in "AB"))
    found = by_row(rows, frame, "total_assets", "year", calendar, instruments=instruments)
    assert at(found, frame, date(2015, 3, 2)) == 1.0
    assert math.isnan(at(found, frame, date(2015, 3, 2), "B"))


def slow(rows: pl.DataFrame, frame: pl.DataFrame, period: str, calendar) -> list[float]:
    """What was known, row by row: all versions up to then, the last of each period, the latest end."""
    kind, back = parts(period)
    out = []
    for name, day in frame.select("instrument_id", "date").iter_rows():
        known = rows.filter(
            (pl.col("instrument_id") == name) & (pl.col("known_at") <= calendar.known_at(day))
        )
        book = (
            known.sort("known_at")
            .group_by("period_end", maintain_order=True)
            .last()
            .drop_nulls("value")
        )
        ends = dict(book.select("period_end", "value").iter_rows())
        latest = max(ends, default=None)
        if latest is None or (day - latest).days > STALE[kind]:
            out.append(math.nan)
            continue
        months = back * {"year": 12, "quarter": 3}[kind]
        off = {e: abs((latest - e).days - months * 365.25 / 12) for e in ends}
        best = min(off, key=lambda e: off[e])
        out.append(ends[best] if off[best] <= NEAR else math.nan)
    return out


@pytest.mark.parametrize("period", ["year", "year-1", "year-2", "quarter", "quarter-4"])
def test_random_histories_equal_the_slow_way(period, calendar) -> None:
    rng = np.random.default_rng(17)
    kind, _ = parts(period)
    step = 365.25 if kind == "year" else 91.3
    rows = []
    for name in "ABC":
        for k in range(14):
            end = date(2010, 12, 31) + timedelta(days=round(k * step + rng.integers(-9, 10)))
            for version in range(rng.integers(1, 4)):
                filed = end + timedelta(days=int(20 + version * 60 + rng.integers(0, 200)))
                value = None if version and rng.random() < 0.3 else float(rng.normal())
                rows.append(row(end, datetime(filed.year, filed.month, filed.day, int(rng.integers(10, 24)),
                                              int(rng.integers(60)), k, version, tzinfo=UTC), value, kind, name=name))  # fmt: skip
    table_ = table(*rows).sample(fraction=1, shuffle=True, seed=3)
    days = calendar.frame(date(2011, 1, 3), date(2024, 12, 31))["date"].gather_every(37)
    frame = pl.concat(pl.DataFrame({"instrument_id": n, "date": days}) for n in "CAB")
    found = by_row(table_, frame, "total_assets", period, calendar)
    expected = np.array(slow(table_, frame, period, calendar))
    assert np.isfinite(expected).sum() > 40
    assert np.array_equal(found, expected, equal_nan=True)
    # nothing that was known later counts: without it the rows until then are the same
    cut = datetime(2014, 5, 1, tzinfo=UTC)
    early = by_row(
        table_.filter(pl.col("known_at") <= cut), frame, "total_assets", period, calendar
    )
    until = (frame["date"] < date(2014, 5, 1)).to_numpy()
    assert np.array_equal(early[until], found[until], equal_nan=True)
    # nor does it matter from where on rows are asked for
    late = frame.filter(pl.col("date") >= date(2013, 1, 1))
    part = by_row(table_, late, "total_assets", period, calendar)
    assert np.array_equal(
        part, found[(frame["date"] >= date(2013, 1, 1)).to_numpy()], equal_nan=True
    )


@pytest.mark.parametrize("period", ["month", "year-0", "year+1", "point-1", "quarter-100", ""])
def test_no_such_period(period) -> None:
    with pytest.raises(FactorError, match="no period"):
        parts(period)


def test_one_of_several_figures_is_enough() -> None:
    a, b = "Statement('a', 'year')", "Statement('b', 'year')"
    either = parse(f"If({a} == {a}, {a}, {b}) / Statement('c', 'year')")
    assert possible(either, {"b", "c"})
    assert not possible(either, {"a", "b"})
    assert not possible(parse(f"{a} + {b}"), {"a"})


def test_no_reports_at_all(frame, calendar) -> None:
    assert np.isnan(by_row(None, frame, "x", "year", calendar)).all()
    assert np.isnan(by_row(table(row(START, START, 1.0)), frame, "x", "year", calendar)).all()
    assert by_row(None, frame.clear(), "x", "year", calendar).shape == (0,)
    assert statements.SHARES.isdisjoint(statements.A_SHARE)
