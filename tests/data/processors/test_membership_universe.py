from __future__ import annotations

from datetime import UTC, date, datetime

import polars as pl

from wealthos_pipeline.core.data import contract
from wealthos_pipeline.data.processors import membership

T0 = datetime(2024, 3, 8, tzinfo=UTC)


def raw(*rows: tuple[str, date, date | None]) -> pl.DataFrame:
    return contract("raw.membership").conform(
        pl.DataFrame(
            [
                {
                    "source": "v",
                    "universe": "default",
                    "symbol": s,
                    "start": a,
                    "end": b,
                    "fetched_at": T0,
                }
                for s, a, b in rows
            ],
            schema_overrides={"end": pl.Date},
        )
    )


def registry(*symbols: str) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "symbol": symbols,
            "instrument_id": [f"XNYS:{s}" for s in symbols],
            "valid_from": date(2000, 1, 3),
            "valid_to": pl.Series([None] * len(symbols), dtype=pl.Date),
        }
    )


def test_membership_as_of_keeps_delisted(calendar):
    """A name that left is a member on the days when it was one."""
    members = membership.clean(
        raw(("OLD", date(2005, 1, 3), date(2010, 6, 30)), ("NEW", date(2010, 7, 1), None)),
        registry("OLD", "NEW", "NEVER"),
        calendar,
    )
    days = [date(2006, 1, 3), date(2010, 6, 30), date(2010, 7, 1), date(2020, 1, 2)]
    prices = pl.DataFrame(
        [(d, f"XNYS:{s}") for d in days for s in ("OLD", "NEW", "NEVER")],
        schema=["date", "instrument_id"],
        orient="row",
    )
    out = membership.universe(prices, members)
    assert out.rows() == [
        (days[0], "XNYS:OLD"),
        (days[1], "XNYS:OLD"),
        (days[2], "XNYS:NEW"),
        (days[3], "XNYS:NEW"),
    ]


def test_without_membership_everybody_belongs(calendar):
    prices = pl.DataFrame(
        {"date": [date(2020, 1, 3), date(2020, 1, 2)], "instrument_id": ["b", "a"]}
    )
    empty = contract("clean.membership").empty()
    assert membership.universe(prices, empty).rows() == [
        (date(2020, 1, 2), "a"),
        (date(2020, 1, 3), "b"),
    ]


def test_intervals_are_in_sessions_and_the_entry_is_known_at_its_open(calendar):
    out = membership.clean(
        raw(
            ("A", date(2024, 1, 1), date(2024, 3, 31)),  # a holiday; Easter Sunday
            ("B", date(2024, 1, 6), date(2024, 1, 7)),  # a weekend only
        ),
        registry("A", "B"),
        calendar,
    )
    assert out.select("valid_from", "valid_to", "known_at").rows() == [
        (date(2024, 1, 2), date(2024, 3, 28), datetime(2024, 1, 2, 14, 30, tzinfo=UTC))
    ]


def test_a_name_may_leave_and_return(calendar):
    out = membership.clean(
        raw(("A", date(2010, 1, 4), date(2012, 1, 3)), ("A", date(2015, 1, 2), None)),
        registry("A"),
        calendar,
    )
    prices = pl.DataFrame(
        {"date": [date(2011, 1, 3), date(2013, 1, 2), date(2016, 1, 4)], "instrument_id": "XNYS:A"}
    )
    assert membership.universe(prices, out)["date"].to_list() == [
        date(2011, 1, 3),
        date(2016, 1, 4),
    ]


def test_spellings_are_matched_and_the_unmatched_are_named(calendar):
    given = raw(
        ("BRK-B", date(2010, 1, 4), None),
        ("BF.B", date(2010, 1, 4), None),
        ("LEH", date(2000, 1, 3), date(2008, 9, 15)),
    )
    known = registry("BRK.B", "BF.B")
    out = membership.clean(given, known, calendar)
    assert out["instrument_id"].to_list() == ["XNYS:BF.B", "XNYS:BRK.B"]
    assert membership.unmatched(given, known) == ["LEH"]
