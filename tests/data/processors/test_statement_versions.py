"""Statements by version: what could have been known of a figure, and when."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
import pytest

from wealthos_pipeline.core.data import contract
from wealthos_pipeline.core.errors import StorageError
from wealthos_pipeline.data.processors import fundamentals, raw, versions

TABLE, RAW = contract("clean.fundamentals"), contract("raw.fundamentals")
VALUE = ["instrument_id", "metric", "period", "period_end"]
LOADED = datetime(2018, 6, 1, 12, tzinfo=UTC)
LATER = datetime(2030, 1, 1, tzinfo=UTC)
NEW_YORK = ZoneInfo("America/New_York")


def statements(*rows: dict[str, Any]) -> pl.DataFrame:
    usual = {
        "source": "v", "symbol": "ABC", "metric": "revenue", "period": "quarter", "vintage": "",
        "fetched_at": LOADED, "currency": "USD", "form": None, "published_at": None,
    }  # fmt: skip
    return RAW.conform(pl.DataFrame([usual | r for r in rows], schema=RAW.schema()))


def registry(*rows: tuple[str, str, str, date, date | None]) -> pl.DataFrame:
    """``source, symbol, instrument_id, valid_from, valid_to``."""
    out = [
        {
            "source": s, "symbol": n, "instrument_id": i, "valid_from": a, "valid_to": b,
            "asset_class": "equity", "exchange": "XNYS", "currency": "USD", "static": False,
            "known_at": LOADED,
        }
        for s, n, i, a, b in rows
    ]  # fmt: skip
    table = contract("clean.instruments")
    return table.conform(pl.DataFrame(out, schema_overrides={"valid_to": pl.Date}))


ABC = registry(("v", "ABC", "XNYS:ABC", date(2010, 1, 4), None))


def clean(rows: pl.DataFrame, now: datetime = LATER, **more: Any) -> pl.DataFrame:
    return fundamentals.clean(rows, more.pop("instruments", ABC), now=now, **more)


def after(day: date, days: int) -> datetime:
    """Midnight in New York after ``days`` days."""
    local = datetime.combine(day + timedelta(days=days + 1), datetime.min.time(), NEW_YORK)
    return local.astimezone(UTC)


MARCH, DECEMBER = date(2017, 3, 31), date(2017, 12, 31)


@pytest.mark.parametrize(
    ("period", "end", "form", "days"),
    [
        ("quarter", MARCH, None, 45),
        ("ttm", MARCH, None, 45),
        ("year", DECEMBER, None, 90),
        ("quarter", MARCH, "10-K", 90),
        ("year", DECEMBER, "20-F", 120),
        ("year", DECEMBER, "8-K", 90),
    ],
)
def test_undated_figures_are_known_when_the_deadline_is_over(period, end, form, days) -> None:
    made = clean(statements({"period": period, "period_end": end, "form": form, "value": 1.0}))
    assert made.select("known_at", "basis").rows() == [(after(end, days), "assumed")]


@pytest.mark.parametrize(
    ("period", "end", "form", "days"),
    [
        ("quarter", MARCH, None, 90),
        ("ttm", MARCH, None, 90),
        ("year", DECEMBER, None, 120),
        ("year", DECEMBER, "10-K", 90),
    ],
)
def test_figures_in_another_currency_have_the_deadlines_of_abroad(period, end, form, days) -> None:
    row = {"period": period, "period_end": end, "form": form, "value": 1.0, "currency": "GBP"}
    assert clean(statements(row))["known_at"].to_list() == [after(end, days)]


def test_a_restatement_is_not_known_at_the_deadline_of_the_first_figure() -> None:
    """Fetches in between that brought the old figure left no row."""
    early, again = datetime(2017, 4, 20, 12, tzinfo=UTC), LOADED + timedelta(days=7)
    rows = statements(
        {"period_end": MARCH, "value": 1.0, "fetched_at": early},
        {"period_end": DECEMBER, "value": 9.0, "fetched_at": early - timedelta(days=400)},
        {"period_end": MARCH, "value": 1.1, "fetched_at": again},
    )
    made = clean(rows).filter(pl.col("period_end") == MARCH)
    assert early < after(MARCH, 45) < again
    assert made.select("value", "known_at", "basis").rows() == [
        (1.0, early, "observed"),
        (1.1, again, "observed"),
    ]


def test_a_figure_that_other_fetches_of_the_symbol_lacked_is_known_from_its_own() -> None:
    """A profile that changed every week says when the vendor was asked."""
    weekly = [LOADED + timedelta(days=7 * k) for k in range(14)]
    shares = [
        {"metric": "shares", "period": "point", "period_end": t.date(), "value": float(k), "fetched_at": t}
        for k, t in enumerate(weekly)
    ]  # fmt: skip
    june = date(2018, 6, 30)
    rows = statements(
        {"period_end": MARCH, "value": 1.0},
        {"period_end": june, "value": 2.0, "fetched_at": weekly[-1]},
        *shares,
    )
    made = clean(rows).filter(pl.col("period_end") == june)
    assert after(june, 45) < weekly[-2]
    assert made.select("known_at", "basis").rows() == [(weekly[-1], "observed")]


def test_nobody_files_before_the_period_is_over() -> None:
    slip = datetime(2017, 2, 4, 20, 31, tzinfo=UTC)
    made = clean(statements({"period_end": MARCH, "value": 1.0, "published_at": slip}))
    assert made.select("known_at", "basis").rows() == [(after(MARCH, 45), "assumed")]


def test_a_quarter_that_ends_its_year_comes_with_the_year() -> None:
    made = clean(
        statements(
            {"period_end": DECEMBER, "value": 1.0},
            {"period_end": MARCH, "value": 2.0},
            {"period_end": DECEMBER, "period": "year", "value": 4.0, "metric": "assets"},
        )
    )
    stamps = dict(made.select(pl.concat_str("period", "period_end"), "known_at").iter_rows())
    assert stamps["quarter2017-12-31"] == stamps["year2017-12-31"] == after(DECEMBER, 90)
    assert stamps["quarter2017-03-31"] == after(MARCH, 45)


def test_nothing_is_known_later_than_its_fetch() -> None:
    made = clean(statements({"period_end": date(2018, 5, 31), "value": 1.0}))
    assert made.select("known_at", "basis").rows() == [(LOADED, "observed")]


@pytest.mark.parametrize("period", ["point", "month"])
def test_what_has_no_deadline_is_known_from_its_fetch(period: str) -> None:
    made = clean(statements({"period": period, "period_end": MARCH, "value": 1.0}))
    assert made.select("known_at", "basis").rows() == [(LOADED, "observed")]


FILED = datetime(2017, 5, 4, 20, 31, tzinfo=UTC)


@pytest.mark.parametrize(
    ("said", "known"),
    [
        (FILED, FILED),
        (datetime(2017, 5, 4, tzinfo=UTC), datetime(2017, 5, 5, 4, tzinfo=UTC)),  # a bare day
        (LOADED + timedelta(days=2), LOADED),  # the vendor's clock is ahead
    ],
)
def test_a_filing_counts_from_the_instant_that_the_vendor_names(said, known) -> None:
    made = clean(statements({"period_end": MARCH, "value": 1.0, "published_at": said}))
    assert made.select("known_at", "basis").rows() == [(known, "observed")]


def test_an_amendment_is_a_version_from_its_own_filing() -> None:
    amended = FILED + timedelta(days=100)
    rows = statements(
        {"period_end": MARCH, "vintage": "0001", "value": 1.0, "published_at": FILED},
        {"period_end": MARCH, "vintage": "0002", "value": 1.5, "published_at": amended},
        {"period_end": MARCH, "vintage": "0003", "value": 1.5, "published_at": LOADED},  # says the same
    )  # fmt: skip
    made = clean(rows)
    assert made.select("value", "known_at").rows() == [(1.0, FILED), (1.5, amended)]
    before = versions.known(made, amended - timedelta(microseconds=1), VALUE)
    assert before["value"].to_list() == [1.0]
    assert versions.known(made, amended, VALUE)["value"].to_list() == [1.5]


def test_what_the_vendor_says_otherwise_later_is_known_from_that_fetch() -> None:
    again = LOADED + timedelta(days=7)
    for stamp in (None, FILED):  # undated; and dated by the same filing as before
        rows = statements(
            {"period_end": MARCH, "value": 1.0, "published_at": stamp},
            {"period_end": MARCH, "value": 1.1, "published_at": stamp, "fetched_at": again},
        )
        made = clean(rows)
        assert made["value"].to_list() == [1.0, 1.1]
        assert made.row(1, named=True)["known_at"] == again
        assert made.row(1, named=True)["basis"] == "observed"


def test_what_was_published_since_the_last_fetch_is_known_from_its_publication() -> None:
    again, said = LOADED + timedelta(days=7), LOADED + timedelta(days=3)
    rows = statements(
        {"period_end": MARCH, "value": 1.0, "published_at": FILED},
        {"period_end": MARCH, "value": 1.1, "published_at": said, "fetched_at": again},
    )
    assert clean(rows)["known_at"].to_list() == [FILED, said]


def test_a_figure_of_a_period_long_past_that_comes_late_is_known_from_its_fetch() -> None:
    again = LOADED + timedelta(days=7)
    rows = statements(
        {"period_end": date(2018, 3, 31), "value": 1.0},
        {"period_end": MARCH, "value": 2.0, "fetched_at": again},
    )
    assert clean(rows).filter(pl.col("period_end") == MARCH)["known_at"].to_list() == [again]


def test_a_figure_that_is_withdrawn_is_null_from_then_on() -> None:
    again = LOADED + timedelta(days=7)
    rows = statements(
        {"period_end": MARCH, "value": 1.0},
        {"period_end": MARCH, "value": None, "fetched_at": again},
        {"period_end": DECEMBER, "value": None},
        {"period_end": DECEMBER, "value": float("nan"), "fetched_at": again},
    )
    made = clean(rows)
    assert made.select("period_end", "value").rows() == [(MARCH, 1.0), (MARCH, None)]


# --- whose statement it is -------------------------------------------------------------------------

REUSED = registry(
    ("v", "XYZ", "XNYS:XYZ", date(2005, 1, 3), date(2012, 6, 29)),
    ("v", "XYZ", "XNYS:XYZ#2", date(2015, 1, 2), None),
)


def test_a_reused_ticker_does_not_give_one_company_the_statements_of_the_other() -> None:
    old_fetch = datetime(2012, 5, 1, tzinfo=UTC)
    rows = statements(
        # fetched while the first company held the symbol
        {"symbol": "XYZ", "period_end": date(2011, 12, 31), "value": 1.0, "fetched_at": old_fetch},
        # fetched since the second one holds it
        {"symbol": "XYZ", "period_end": MARCH, "value": 2.0},
        {"symbol": "XYZ", "period_end": date(2010, 12, 31), "value": 3.0},  # whose? nobody's
        {"symbol": "XYZ", "period_end": date(2013, 12, 31), "value": 4.0},  # nobody held it
    )
    made = clean(rows, instruments=REUSED)
    assert made.select("instrument_id", "value").rows() == [("XNYS:XYZ", 1.0), ("XNYS:XYZ#2", 2.0)]


def test_a_source_without_bars_is_matched_by_spelling_and_day() -> None:
    ids = pl.concat([REUSED, registry(("bars", "BRK-B", "XNYS:BRK-B", date(2010, 1, 4), None))])
    rows = statements(
        {"source": "other", "symbol": "BRK.B", "period_end": MARCH, "value": 1.0},
        {"source": "other", "symbol": "XYZ", "period_end": MARCH, "value": 2.0},
        {"source": "other", "symbol": "XYZ", "period_end": date(2011, 3, 31), "value": 3.0},
        {"source": "other", "symbol": "NEVER", "period_end": MARCH, "value": 4.0},
    )
    made = clean(rows, instruments=ids)
    assert made.select("instrument_id", "value").rows() == [
        ("XNYS:BRK-B", 1.0),
        ("XNYS:XYZ#2", 2.0),
    ]


def test_a_spelling_that_two_instruments_have_at_once_is_nobodys() -> None:
    ids = registry(
        ("a", "SAME", "XNYS:SAME", date(2010, 1, 4), None),
        ("b", "SAME", "XLON:SAME", date(2010, 1, 4), None),
    )
    rows = statements({"source": "other", "symbol": "SAME", "period_end": MARCH, "value": 1.0})
    assert clean(rows, instruments=ids).height == 0


def test_one_source_a_figure_the_one_that_could_be_known_first() -> None:
    ids = pl.concat([ABC, registry(("w", "ABC", "XNYS:ABC", date(2010, 1, 4), None))])
    rows = statements(
        {"source": "v", "period_end": MARCH, "value": 1.0},
        {"source": "w", "period_end": MARCH, "value": 1.2, "published_at": FILED},
        {"source": "v", "period_end": DECEMBER, "value": 5.0},
        {"source": "w", "period_end": DECEMBER, "value": 5.1},
    )
    made = clean(rows, instruments=ids, order=("v", "w"))
    assert made.select("source", "value").rows() == [("w", 1.2), ("v", 5.0)]


def test_a_source_that_comes_late_does_not_displace_what_was_known() -> None:
    ids = pl.concat([ABC, registry(("w", "ABC", "XNYS:ABC", date(2010, 1, 4), None))])
    first, second = datetime(2018, 5, 2, tzinfo=UTC), datetime(2018, 5, 9, tzinfo=UTC)
    end = date(2018, 3, 31)
    rows = statements(
        {"source": "w", "period_end": MARCH, "value": 0.5, "published_at": FILED,
         "fetched_at": datetime(2018, 4, 2, tzinfo=UTC)},
        {"source": "v", "period_end": end, "value": 1.0, "fetched_at": first},
        {"source": "w", "period_end": end, "value": 1.2, "fetched_at": second,
         "published_at": datetime(2018, 5, 1, 21, tzinfo=UTC)},
    )  # fmt: skip
    for now in (first, second):
        known = rows.filter(pl.col("fetched_at") <= now)
        made = clean(known, now, instruments=ids, order=("w", "v")).filter(
            pl.col("period_end") == end
        )
        assert made.select("source", "value", "known_at").rows() == [("v", 1.0, first)]
    alone = rows.filter((pl.col("source") == "w") | (pl.col("fetched_at") == second))
    made = clean(alone, second, instruments=ids).filter(pl.col("period_end") == end)
    assert made["known_at"].to_list() == [datetime(2018, 5, 1, 21, tzinfo=UTC)]


# --- the last version known ------------------------------------------------------------------------


def test_known_is_the_last_version_whatever_the_order_of_rows() -> None:
    stamp = datetime(2020, 1, 1, tzinfo=UTC)
    frame = pl.DataFrame(
        {
            "k": ["a", "a", "a", "b"],
            "known_at": [stamp, stamp + timedelta(1), stamp + timedelta(1), stamp + timedelta(9)],
            "v": [9.0, 1.0, 2.0, 3.0],
        },
        schema_overrides={"known_at": pl.Datetime("us", "UTC")},
    )
    for order in ([0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1]):
        seen = versions.known(frame[order], stamp + timedelta(days=2), ["k"])
        assert seen.select("k", "v").rows() == [("a", 2.0)], "ties: the greater"
        lazy = versions.known(frame[order].lazy(), stamp + timedelta(days=9), ["k"]).collect()
        assert lazy.select("k", "v").rows() == [("a", 2.0), ("b", 3.0)]
    with pytest.raises(StorageError, match="no time zone"):
        versions.known(frame, datetime(2020, 1, 1), ["k"])  # noqa: DTZ001


# --- properties ------------------------------------------------------------------------------------


def history(seed: int) -> pl.DataFrame:
    """Six symbols of two sources over four years: a first load, then fetches that find new periods,
    restatements, amendments, late and withdrawn figures, and points."""
    rng = np.random.default_rng(seed)
    fetches = [LOADED + timedelta(days=int(d)) for d in np.cumsum(rng.integers(5, 60, 12))]
    stored = RAW.empty()
    said: dict[tuple[Any, ...], dict[str, Any]] = {}
    for now in [LOADED, *fetches]:
        for source, symbol in (
            ("v", "AAA"),
            ("v", "BBB"),
            ("v", "CCC"),
            ("w", "AAA"),
            ("w", "DDD"),
        ):
            dated = source == "w"
            for months in range(1, 48):
                end = (date(2015, 1, 1) + timedelta(days=31 * months)).replace(day=1) - timedelta(1)
                if end.month % 3 or end + timedelta(days=int(rng.integers(20, 80))) > now.date():
                    continue
                for kind in ("quarter", "year") if end.month == 12 else ("quarter",):
                    key = (source, symbol, kind, end)
                    filed = datetime.combine(end, datetime.min.time(), UTC) + timedelta(
                        days=int(rng.integers(20, 50)), hours=int(rng.integers(0, 24))
                    )
                    row = said.get(key)
                    if row is None and (now == LOADED and rng.random() < 0.1):
                        continue  # this one comes late
                    if row is None:
                        row = {
                            "value": float(rng.integers(1, 9)),
                            "published_at": filed if dated else None,
                        }
                        row["vintage"] = "0" if dated else ""
                    elif rng.random() < 0.08:
                        row = {
                            **row,
                            "value": float(rng.integers(1, 9)) if rng.random() < 0.9 else None,
                        }
                        if dated and rng.random() < 0.7:
                            row["vintage"] = str(int(row["vintage"]) + 1)
                            row["published_at"] = now - timedelta(
                                days=int(rng.integers(0, 9)), minutes=7
                            )
                    said[key] = row
        given = [
            {"source": s, "symbol": n, "period": p, "period_end": e, "fetched_at": now, **row}
            for (s, n, p, e), row in said.items()
        ]
        given.append({"period": "point", "period_end": now.date(), "symbol": "AAA", "metric": "shares",
                      "fetched_at": now, "value": float(rng.integers(1, 4))})  # fmt: skip
        stored = pl.concat([stored, raw.new_rows(stored, statements(*given), RAW)])
    return RAW.conform(stored)


IDS = registry(
    *(("v", n, f"XNYS:{n}", date(2014, 1, 2), None) for n in ("AAA", "BBB", "CCC")),
    ("w", "DDD", "XNYS:DDD", date(2014, 1, 2), None),
)


def moments(rows: pl.DataFrame, seed: int, count: int = 12) -> list[datetime]:
    """Random instants, and those at and just before which something became known."""
    rng = np.random.default_rng(seed)
    stamps = fundamentals.with_known_at(rows)["known_at"].unique().sort().to_list()
    chosen = [stamps[int(i)] for i in rng.integers(0, len(stamps), count)]
    spread = [datetime(2015, 6, 1, tzinfo=UTC) + timedelta(minutes=int(m)) for m in rng.integers(0, 3_000_000, count)]  # fmt: skip
    return [*chosen, *(t - timedelta(microseconds=1) for t in chosen), *spread]


@pytest.mark.parametrize("seed", [1, 2])
def test_cleaning_what_was_known_equals_what_was_known_of_the_clean(seed: int, calendar) -> None:
    rows = history(seed)
    full = clean(rows, instruments=IDS, order=("v", "w"))
    assert full.group_by(VALUE).len()["len"].max() > 2
    assert set(full["basis"]) == {"assumed", "observed"}
    seen = set()
    for at in moments(rows, seed):
        cut = raw.as_of(rows, at, calendar, "raw.fundamentals")
        fresh = clean(cut, at, instruments=IDS, order=("v", "w"))
        assert fresh.equals(full.filter(pl.col("known_at") <= at)), f"as of {at}"
        assert versions.known(fresh, at, VALUE).equals(versions.known(full, at, VALUE))
        seen.add(fresh.height)
    assert len(seen) > 5


@pytest.mark.parametrize("seed", [4, 5])
def test_fetch_by_fetch_equals_everything_at_once(seed: int) -> None:
    """A version that was known to a run stays as it was, whatever is fetched later."""
    rows = history(seed)
    stamps = rows["fetched_at"].unique().sort().to_list()
    full = clean(rows, instruments=IDS, order=("v", "w"))
    for now in stamps[:-1]:
        stored = clean(
            rows.filter(pl.col("fetched_at") <= now), now, instruments=IDS, order=("v", "w")
        )
        later = full.join(stored, on=list(TABLE.key), how="semi", nulls_equal=True)
        assert stored.height > 50
        assert later.equals(stored), f"what the run of {now} knew"
    last = clean(rows, stamps[-1], instruments=IDS, order=("v", "w"))
    assert last.equals(full), "nothing waits for a later day"


def test_the_order_of_rows_does_not_matter() -> None:
    rows = history(6)
    wanted = clean(rows, instruments=IDS, order=("v", "w"))
    mixed = rows.sample(fraction=1.0, shuffle=True, seed=3)
    assert clean(mixed, instruments=IDS.reverse(), order=("v", "w")).equals(wanted)
