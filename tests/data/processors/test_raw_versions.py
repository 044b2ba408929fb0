from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import polars as pl

from wealthos_pipeline.core.data import contract
from wealthos_pipeline.data.processors import raw

PRICES, SERIES, MEMBERS = (contract(f"raw.{n}") for n in ("prices", "series", "membership"))
T0 = datetime(2024, 3, 8, 22, tzinfo=UTC)


def bars(fetched: datetime, **closes: list[float]) -> pl.DataFrame:
    days = [date(2024, 3, 4) + timedelta(days=i) for i in range(5)]
    rows = [
        {
            "source": "v",
            "symbol": s,
            "date": d,
            "fetched_at": fetched,
            "close": c,
            "basis_vintage": fetched.date(),
        }
        for s, values in closes.items()
        for d, c in zip(days, values, strict=False)
    ]
    return PRICES.conform(pl.DataFrame(rows))


def test_the_same_again_appends_nothing_even_with_another_vintage():
    first = bars(T0, A=[1, 2, 3], B=[4, 5])
    again = bars(T0 + timedelta(days=1), A=[1, 2, 3], B=[4, 5])
    assert raw.new_rows(first, again, PRICES).height == 0
    assert raw.new_rows(None, first, PRICES).equals(first)
    assert raw.new_rows(PRICES.empty(), first, PRICES).equals(first)


def test_only_new_keys_and_changed_rows_with_their_neighbours_are_appended():
    first = bars(T0, A=[1, 2, 3, 4], B=[4, 5, 6])
    later = bars(T0 + timedelta(days=1), A=[1, 2, 3, 4, 5], B=[4, 5.5, 6])
    new = raw.new_rows(first, later, PRICES)
    assert new.select("symbol", "close").rows() == [("A", 5), ("B", 4), ("B", 5.5), ("B", 6)]


def test_a_value_that_appears_or_disappears_is_a_change():
    first = bars(T0, A=[1, 2])
    filled = first.with_columns(
        pl.lit(7.0).alias("volume"), pl.col("fetched_at") + timedelta(days=1)
    )
    assert raw.new_rows(first, filled, PRICES).height == 2
    assert (
        raw.new_rows(
            filled, first.with_columns(pl.col("fetched_at") + timedelta(days=2)), PRICES
        ).height
        == 2
    )


def test_a_bar_first_given_before_its_day_is_stored_again_when_its_day_has_come():
    early = bars(T0 - timedelta(days=6), A=[1, 2, 3])
    real = bars(T0, A=[1, 2, 3])
    stored = pl.concat([early, raw.new_rows(early, real, PRICES)])
    assert raw.latest(stored, PRICES)["fetched_at"].to_list() == [T0] * 3
    assert raw.new_rows(stored, bars(T0 + timedelta(days=1), A=[1, 2, 3]), PRICES).height == 0


def test_latest_keeps_the_last_version_of_each_key():
    first = bars(T0, A=[1, 2, 3])
    second = bars(T0 + timedelta(days=1), A=[1, 9, 3])
    both = pl.concat([second, first])
    newest = raw.latest(both, PRICES).sort("date")
    assert newest["close"].to_list() == [1, 9, 3]
    assert newest.height == 3


def test_as_of_shows_bars_by_rule_and_revisions_by_their_fetch(calendar):
    first = bars(T0, A=[1, 2, 3, 4, 5])
    second = bars(T0 + timedelta(days=3), A=[1, 9, 3, 4, 5]).filter(pl.col("close") == 9)
    both = pl.concat([first, second])
    wednesday = calendar.known_at(date(2024, 3, 6))
    assert raw.as_of(both, wednesday, calendar)["close"].to_list() == [1, 2, 3]
    just_before = wednesday - timedelta(microseconds=1)
    assert raw.as_of(both, just_before, calendar)["close"].to_list() == [1, 2]
    assert 9 not in raw.as_of(both, T0 + timedelta(days=2), calendar)["close"].to_list()
    assert 9 in raw.as_of(both, T0 + timedelta(days=3), calendar)["close"].to_list()


def test_as_of_equals_a_store_that_physically_holds_only_what_was_known(calendar):
    versions = [bars(T0 + timedelta(days=k), A=[1 + k / 10, 2, 3 + k, 4, 5]) for k in range(3)]
    stored = versions[0]
    for more in versions[1:]:
        stored = pl.concat([stored, raw.new_rows(stored, more, PRICES)])
    instant = T0 + timedelta(days=1, hours=1)
    there = pl.concat([versions[0], raw.new_rows(versions[0], versions[1], PRICES)])
    key = list(PRICES.key)
    assert raw.as_of(stored, instant, calendar).sort(key).equals(there.sort(key))


def test_series_and_membership_have_their_own_rules(calendar):
    series = SERIES.conform(
        pl.DataFrame(
            {
                "source": "v",
                "series": ["moody_yield", "vix"],
                "tenor": ["AAA", ""],
                "date": [date(2024, 1, 31), date(2024, 1, 31)],
                "fetched_at": [T0, T0],
                "value": [5.0, 14.0],
                "unit": ["percent", "index"],
                "frequency": ["month", "day"],
            }
        )
    )
    evening = calendar.known_at(date(2024, 1, 31))
    assert raw.as_of(series, evening, calendar, "raw.series")["series"].to_list() == ["vix"]
    members = MEMBERS.conform(
        pl.DataFrame(
            {
                "source": "v",
                "universe": "default",
                "symbol": ["A", "B"],
                "start": [date(2010, 1, 4), date(2024, 2, 1)],
                "end": [date(2024, 2, 15), None],
                "fetched_at": [T0, T0],
            }
        )
    )
    seen = raw.as_of(members, datetime(2024, 1, 15, tzinfo=UTC), calendar, "raw.membership")
    assert seen.select("symbol", "end").rows() == [("A", None)]  # the exit was not known yet
    after = raw.as_of(members, datetime(2024, 3, 1, tzinfo=UTC), calendar, "raw.membership")
    assert after.select("symbol", "end").rows() == [("A", date(2024, 2, 15)), ("B", None)]


def test_rejected_rows_are_stored_once_and_known_from_their_fetch(calendar):
    table = contract("raw.rejected")
    row = {
        "table": "raw.prices",
        "source": "v",
        "symbol": "A",
        "date": date(2024, 3, 4),
        "rule": "duplicate_key",
        "detail": "2",
    }
    first = table.conform(pl.DataFrame([{**row, "fetched_at": T0, "known_at": T0}]))
    later = T0 + timedelta(days=1)
    again = table.conform(pl.DataFrame([{**row, "fetched_at": later, "known_at": later}]))
    assert raw.new_rows(first, again, table).height == 0
    other = again.with_columns(pl.lit("3").alias("detail"))
    assert raw.new_rows(first, other, table).height == 1
    assert raw.as_of(first, T0 - timedelta(seconds=1), calendar, "raw.rejected").height == 0
    assert raw.as_of(first, T0, calendar, "raw.rejected").equals(first)
