from __future__ import annotations

from datetime import UTC, date, datetime

import numpy as np
import polars as pl

from wealthos_pipeline.core.data import contract
from wealthos_pipeline.data.processors import coverage, membership

NAMES = [f"N{i}" for i in range(8)]


def members(*spans: tuple[str, date, date | None, datetime | None]) -> pl.DataFrame:
    rows = [
        {"universe": "default", "instrument_id": n, "valid_from": a, "valid_to": b, "source": "v",
         "withdrawn_at": w, "known_at": datetime(2016, 1, 4, tzinfo=UTC)}
        for n, a, b, w in spans
    ]  # fmt: skip
    table = contract("clean.membership")
    return table.conform(pl.DataFrame(rows, schema_overrides=table.schema()))


def test_members_with_a_bar_against_members_by_counting(calendar):
    rng = np.random.default_rng(4)
    days = calendar.sessions(date(2019, 1, 2), date(2019, 6, 28))
    bars = pl.DataFrame(
        [(d, n) for d in days for n in NAMES if rng.random() < 0.8],
        schema=["date", "instrument_id"], orient="row",
    )  # fmt: skip
    spans = [
        (
            n,
            days[int(rng.integers(0, 40))],
            None if i % 2 else days[int(rng.integers(50, 120))],
            None,
        )
        for i, n in enumerate(NAMES)
    ]
    spans[3] = (NAMES[3], date(2001, 1, 2), None, None)  # long before the first bar
    spans[4] = (NAMES[4], date(2001, 1, 2), date(2002, 1, 2), None)  # over before it
    gone = (NAMES[4], date(2010, 1, 4), None, datetime(2019, 3, 1, tzinfo=UTC))  # taken back
    table = members(*spans, gone)
    out = coverage.members(bars, table, calendar)
    assert out["date"].to_list() == days
    assert set(out["table"]) == {"clean.membership"}
    seen = membership.universe(bars, table)
    for row in out.iter_rows(named=True):
        day = row["date"]
        inside = [n for n, a, b, _ in spans if a <= day and (b is None or day <= b)]
        assert row["expected"] == len(inside)
        assert row["rows"] == seen.filter(pl.col("date") == day).height <= len(inside)
    assert out["rows"].sum() > 0
    part = coverage.members(bars, table, calendar, days[40:50])
    assert part.equals(out.filter(pl.col("date").is_in(days[40:50])))


def test_a_session_without_bars_lacks_everybody(calendar):
    days = calendar.sessions(date(2019, 1, 2), date(2019, 1, 8))
    bars = pl.DataFrame({"date": [days[0], days[2]], "instrument_id": ["N0", "N0"]})
    table = members(("N0", days[0], None, None), ("N1", days[0], None, None))
    rows = coverage.members(bars, table, calendar).select("rows", "expected").rows()
    assert rows == [(1, 2), (0, 2), (1, 2)]


def test_without_a_list_of_members_nothing_is_said(calendar):
    bars = pl.DataFrame({"date": [date(2019, 1, 2)], "instrument_id": ["N0"]})
    assert coverage.members(bars, contract("clean.membership").empty(), calendar).height == 0
