from __future__ import annotations

from datetime import date

import polars as pl

from wealthos_pipeline.data.processors import coverage


def brute_force(prices: pl.DataFrame, calendar, day: date) -> int:
    first = calendar.offset(day, -coverage.ALIVE)
    return prices.filter(pl.col("date").is_between(first, day))["instrument_id"].n_unique()


def test_expected_counts_names_seen_in_the_last_sessions(vendor, calendar, registry, now):
    from wealthos_pipeline.data.processors import prices as cleaning

    v = vendor(names=6, sessions=120)
    prices = cleaning.clean(v.traded(119), registry(v), calendar, now=now).prices
    out = coverage.coverage(prices, calendar)
    assert out["date"].to_list() == v.days
    for row in out.iter_rows(named=True):
        assert row["expected"] == brute_force(prices, calendar, row["date"])
        assert row["rows"] == prices.filter(pl.col("date") == row["date"]).height


def test_a_session_without_rows_shows_and_chosen_dates_need_only_the_lookback(
    vendor, calendar, registry, now
):
    from wealthos_pipeline.data.processors import prices as cleaning

    v = vendor(names=6, sessions=120)
    prices = cleaning.clean(v.traded(119), registry(v), calendar, now=now).prices
    hole = prices.filter(pl.col("date") != v.days[60])
    chosen = v.days[55:65]
    whole = coverage.coverage(hole, calendar, chosen, table="factors.x")
    near = hole.filter(
        pl.col("date").is_between(calendar.offset(chosen[0], -coverage.ALIVE), chosen[-1])
    )
    assert whole.equals(coverage.coverage(near, calendar, chosen, table="factors.x"))
    assert whole.filter(pl.col("date") == v.days[60])["rows"].item() == 0
    assert whole.filter(pl.col("date") == v.days[60])["expected"].item() > 0
