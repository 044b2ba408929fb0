"""Intervals that contradict each other, that are taken back, and of symbols that changed."""

from __future__ import annotations

import logging
from datetime import UTC, date, datetime
from typing import Any

import polars as pl
import pytest

from wealthos_pipeline.core.data import contract
from wealthos_pipeline.core.errors import SourceError
from wealthos_pipeline.data.processors import membership, versions
from wealthos_pipeline.data.processors import raw as raw_room
from wealthos_pipeline.data.sources import files

RAW = contract("raw.membership")
MONDAY = datetime(2024, 3, 4, 22, tzinfo=UTC)
TUESDAY = datetime(2024, 3, 5, 22, tzinfo=UTC)
FRIDAY = datetime(2024, 3, 8, 22, tzinfo=UTC)


def given(*rows: tuple[Any, ...], at: datetime = MONDAY, universe: str = "default") -> pl.DataFrame:
    return RAW.conform(
        pl.DataFrame(
            [
                {"source": "v", "universe": universe, "symbol": s, "start": a, "end": b, "fetched_at": at}
                for s, a, b in rows
            ],
            schema_overrides=RAW.schema(),
        )
    )  # fmt: skip


def registry(*rows: tuple[str, str, date, date | None]) -> pl.DataFrame:
    schema = {
        "symbol": pl.String,
        "instrument_id": pl.String,
        "valid_from": pl.Date,
        "valid_to": pl.Date,
    }
    return pl.DataFrame(rows, schema=schema, orient="row")


def spans(frame: pl.DataFrame) -> list[tuple[Any, ...]]:
    """Intervals that stand."""
    standing = frame.filter(pl.col("withdrawn_at").is_null())
    return standing.select("instrument_id", "valid_from", "valid_to").rows()


JAN, JUNE, JULY, DEC = (date(2010, 1, 4), date(2010, 6, 30), date(2010, 7, 1), date(2010, 12, 31))
ALL = registry(*((n, f"XNYS:{n}", date(2000, 1, 3), None) for n in "ABCD"))


# --- the border ------------------------------------------------------------------------------------


def test_a_file_is_refused_with_every_fault(tmp_path):
    path = tmp_path / "members.csv"
    path.write_text(
        "ticker,start,end\nA,2010-01-04,2010-07-01\nB,2010-05-03,2010-01-04\nA,2010-06-01,\n"
        "BRK.B,2010-01-04,\nBRK-B,2012-01-03,2013-01-02\nC,2010-01-04,2010-07-01\nC,2010-07-01,\n"
    )
    with pytest.raises(SourceError) as caught:
        files._read_members(path)
    text = str(caught.value)
    assert "the end is before the start: row 3: B 2010-05-03" in text
    assert (
        "overlap: row 2: A 2010-01-04 through 2010-06-30, and row 4: A 2010-06-01 through now"
        in text
    )
    assert "row 5: BRK.B 2010-01-04 through now, and row 6: BRK-B 2012-01-03" in text
    assert text.count("\n  - ") == 3, "C leaves and comes back on one day: no fault"


def test_the_same_line_twice_and_an_interval_of_no_day_are_read(tmp_path):
    path = tmp_path / "members.csv"
    path.write_text("ticker,start,end\nA,2010-01-04,\nA,2010-01-04,\nB,2010-01-04,2010-01-04\n")
    read = files._read_members(path)
    assert read.select("symbol", "start", "end").rows() == [("A", JAN, None)]


def test_what_a_vendor_gives_is_quarantined_and_the_rest_is_used(calendar, caplog):
    delivery = given(
        ("A", JAN, JUNE), ("A", date(2010, 3, 1), DEC), ("A", JULY, None), ("B", JULY, JAN),
        ("C", JAN, None), ("c", JAN, JUNE),
    )  # fmt: skip
    with caplog.at_level(logging.WARNING, "wealthos"):
        kept, refused = membership.judged(delivery)
    assert kept.select("symbol", "start", "end").rows() == [
        ("A", JAN, JUNE), ("A", JULY, None), ("C", JAN, None),
    ]  # fmt: skip
    assert refused.select("symbol", "date", "rule").sort("symbol").rows() == [
        ("A", date(2010, 3, 1), "overlapping_membership"),
        ("B", JULY, "inverted_membership"),
        ("c", JAN, "overlapping_membership"),
    ]
    assert "3 intervals" in caplog.text
    shuffled = delivery.sample(fraction=1.0, shuffle=True, seed=3)
    again, out = membership.judged(shuffled)
    assert again.sort("symbol", "start").equals(kept.sort("symbol", "start"))
    assert out.equals(refused)


def test_cleaning_uses_neither_kind_and_says_so(calendar, caplog):
    bad = given(("A", JAN, JUNE), ("A", date(2010, 3, 1), DEC), ("B", JULY, JAN), ("C", JAN, JUNE))
    with caplog.at_level(logging.WARNING, "wealthos"):
        out = membership.clean(bad, ALL, calendar)
    assert spans(out) == [("XNYS:A", JAN, JUNE), ("XNYS:C", JAN, JUNE)]
    assert "overlap others" in caplog.text
    assert "end before they start" in caplog.text


# --- intervals that are taken back -----------------------------------------------------------------


def stored(*deliveries: pl.DataFrame) -> pl.DataFrame:
    out = RAW.empty()
    for delivery in deliveries:
        out = pl.concat([out, raw_room.new_rows(out, delivery, RAW)])
    return RAW.conform(out)


def test_an_interval_that_is_no_longer_given_is_withdrawn(calendar):
    first = given(("A", JAN, None), ("B", JAN, None))
    rows = stored(first, given(("A", JAN, None), at=TUESDAY))
    assert rows.filter(pl.col("withdrawn")).select("symbol", "fetched_at").rows() == [
        ("B", TUESDAY)
    ]
    assert spans(membership.clean(rows, ALL, calendar)) == [("XNYS:A", JAN, None)]
    before = raw_room.as_of(rows, MONDAY, calendar, "raw.membership")
    assert len(spans(membership.clean(before, ALL, calendar))) == 2, "Monday still sees it"

    table = contract("clean.membership")
    made = membership.clean(rows, ALL, calendar)
    for at, count in ((MONDAY, 2), (TUESDAY, 1), (FRIDAY, 1)):
        seen = versions.as_known(made.lazy(), table, at).collect()
        bars = pl.DataFrame({"date": [JULY] * 3, "instrument_id": ["XNYS:A", "XNYS:B", "XNYS:C"]})
        assert len(spans(seen)) == count
        assert membership.universe(bars, seen).height == count
        assert seen["withdrawn_at"].null_count() == count, (
            "what is taken back later is not known yet"
        )
    assert membership.universe(bars, made)["instrument_id"].to_list() == ["XNYS:A"]
    assert stored(rows, given(("A", JAN, None), at=FRIDAY)).equals(rows), "said once"


def test_an_interval_may_come_back(calendar):
    first, without = given(("A", JAN, None), ("B", JAN, None)), given(("A", JAN, None), at=TUESDAY)
    rows = stored(first, without, given(("A", JAN, None), ("B", JAN, None), at=FRIDAY))
    out = membership.clean(rows, ALL, calendar)
    assert spans(out) == [("XNYS:A", JAN, None), ("XNYS:B", JAN, None)]
    assert out["withdrawn_at"].null_count() == 2
    between = raw_room.as_of(rows, TUESDAY, calendar, "raw.membership")
    assert spans(membership.clean(between, ALL, calendar)) == [("XNYS:A", JAN, None)]


def test_a_moved_interval_is_a_correction_and_known_from_its_fetch(calendar):
    rows = stored(given(("A", JAN, None), ("B", JAN, None)),
                  given(("A", JULY, None), ("B", JAN, None), at=TUESDAY))  # fmt: skip
    out = membership.clean(rows, ALL, calendar)
    assert spans(out) == [("XNYS:A", JULY, None), ("XNYS:B", JAN, None)]
    told = {(i, d): k for i, d, k in out.select("instrument_id", "valid_from", "known_at").rows()}
    assert told["XNYS:A", JULY] == TUESDAY
    assert told["XNYS:A", JAN] == told["XNYS:B", JAN] == calendar.open_at(JAN)
    before = raw_room.as_of(rows, MONDAY, calendar, "raw.membership")
    assert spans(membership.clean(before, ALL, calendar)) == [
        ("XNYS:A", JAN, None), ("XNYS:B", JAN, None),
    ]  # fmt: skip


def test_an_end_that_was_told_late_was_not_known_before(calendar):
    """As-of reads of the days between see the member that runs of those days saw."""
    left = date(2024, 2, 14)
    rows = stored(given(("A", JAN, None), ("B", JAN, None), at=datetime(2024, 2, 1, tzinfo=UTC)),
                  given(("A", JAN, None), ("B", JAN, left), at=TUESDAY))  # fmt: skip
    out = membership.clean(rows, ALL, calendar)
    assert spans(out) == [("XNYS:A", JAN, None), ("XNYS:B", JAN, left)]
    days = calendar.sessions(date(2024, 2, 12), date(2024, 2, 20))
    bars = pl.DataFrame([{"date": d, "instrument_id": f"XNYS:{n}"} for d in days for n in "AB"])

    def seen(at: datetime) -> pl.DataFrame:
        table = contract("clean.membership")
        known = versions.as_known(out.lazy(), table, at).collect()
        then = membership.clean(raw_room.as_of(rows, at, calendar, "raw.membership"), ALL, calendar)
        mine, theirs = (membership.universe(bars, m) for m in (known, then))
        assert mine.equals(theirs), f"as of {at}"
        return mine.filter(pl.col("instrument_id") == "XNYS:B")

    for at in (
        datetime(2024, 2, 14, 23, tzinfo=UTC),
        datetime(2024, 2, 20, 23, tzinfo=UTC),
        MONDAY,
    ):
        assert seen(at)["date"].to_list() == days
    for at in (TUESDAY, FRIDAY):
        assert seen(at)["date"].to_list() == [d for d in days if d <= left]
    # told in time, or with the first delivery, it needs no second interval
    in_time = stored(given(("B", JAN, None)), given(("B", JAN, date(2024, 3, 28)), at=TUESDAY))
    assert membership.clean(in_time, ALL, calendar).height == 1
    assert membership.clean(given(("B", JAN, left)), ALL, calendar).height == 1


def test_a_new_member_is_known_at_its_open(calendar):
    day = date(2024, 3, 5)
    rows = stored(given(("A", JAN, None)), given(("A", JAN, None), ("B", day, None), at=TUESDAY))
    known = dict(membership.clean(rows, ALL, calendar).select("instrument_id", "known_at").rows())
    assert known["XNYS:B"] == calendar.open_at(day)


def test_another_universe_and_an_empty_delivery_withdraw_nothing(calendar):
    first = given(("A", JAN, None))
    other = given(("B", JAN, None), at=TUESDAY, universe="small")
    rows = stored(first, other, RAW.empty())
    assert rows["withdrawn"].null_count() == 2
    assert membership.clean(rows, ALL, calendar).height == 2


def test_day_by_day_gives_what_all_deliveries_give(calendar):
    """Any order of additions, ends, removals and returns: the last delivery is what counts."""
    import numpy as np

    rng = np.random.default_rng(11)
    keys = [(n, s) for n in "ABCD" for s in (JAN, date(2012, 1, 3))]
    rows = RAW.empty()
    for k in range(12):
        at = datetime(2024, 3, 4 + k, 22, tzinfo=UTC)
        given_rows = [
            (n, s, None if rng.random() < 0.5 else date(s.year + 1, 3, 1))
            for n, s in keys
            if rng.random() < 0.7
        ]
        kept, _ = membership.judged(given(*given_rows, at=at))
        rows = pl.concat([rows, raw_room.new_rows(rows, kept, RAW)])
        walked = membership.clean(rows, ALL, calendar)
        alone = membership.clean(kept, ALL, calendar)
        assert spans(walked) == spans(alone), k


# --- symbols that changed --------------------------------------------------------------------------

RENAMED = registry(
    ("FB", "XNYS:FB", date(2012, 5, 18), date(2022, 6, 8)),
    ("META", "XNYS:FB", date(2022, 6, 9), None),
)


@pytest.mark.parametrize(
    "intervals",
    [
        [("FB", date(2013, 12, 23), None)],  # never told of the new symbol
        [("META", date(2013, 12, 23), None)],  # told of it for all the past
        [("FB", date(2013, 12, 23), date(2022, 6, 8)), ("META", date(2022, 6, 9), None)],
        [("FB", date(2013, 12, 23), None), ("META", date(2022, 6, 9), None)],
    ],
)
def test_a_renamed_member_stays_one(calendar, intervals):
    out = membership.clean(given(*intervals), RENAMED, calendar)
    days = [date(2014, 1, 2), date(2022, 6, 8), date(2022, 6, 9), date(2024, 1, 2)]
    bars = pl.DataFrame({"date": days, "instrument_id": "XNYS:FB"})
    assert membership.universe(bars, out)["date"].to_list() == days
    starts = out["valid_from"].to_list()
    assert starts[0] == date(2013, 12, 23)
    assert len(starts) == (2 if intervals[0][2] else 1)


def test_members_of_a_reused_symbol_are_told_apart_by_date(calendar):
    reused = registry(
        ("ABC", "XNYS:ABC", date(2000, 1, 3), date(2010, 6, 30)),
        ("ABC", "XNYS:ABC#2", date(2015, 1, 2), None),
    )
    out = membership.clean(
        given(("ABC", date(1995, 1, 3), date(2010, 6, 30)), ("ABC", date(2014, 12, 1), None)),
        reused,
        calendar,
    )
    assert spans(out) == [
        ("XNYS:ABC", date(1995, 1, 3), date(2010, 6, 30)),
        ("XNYS:ABC#2", date(2014, 12, 1), None),
    ]
