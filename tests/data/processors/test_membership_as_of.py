"""Membership as of an instant: a name that left later was still a member before."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl
import pytest

from wealthos_pipeline import load
from wealthos_pipeline.core.data import contract
from wealthos_pipeline.data.processors import membership
from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.data.storage.lake import Lake

FIRST, SECOND = datetime(2018, 3, 1, tzinfo=UTC), datetime(2019, 1, 10, 22, tzinfo=UTC)
BEGAN, LEFT = date(2010, 1, 4), date(2019, 1, 9)


def rows(*intervals: tuple[str, date, date | None, datetime]) -> pl.DataFrame:
    terms = contract("raw.membership")
    body = [
        {"source": "v", "universe": "u", "symbol": s, "start": a, "end": b, "fetched_at": f}
        for s, a, b, f in intervals
    ]
    return terms.conform(pl.DataFrame(body, schema_overrides={"end": pl.Date}))


@pytest.fixture
def lake(tmp_path: Path, calendar: TradingCalendar) -> Lake:
    """After the index file said that OLD left, and that NEW joined."""
    registry = pl.DataFrame(
        {"symbol": ["OLD", "STAYS", "NEW"], "instrument_id": ["XNYS:OLD", "XNYS:STAYS", "XNYS:NEW"]}
    ).with_columns(valid_from=pl.lit(BEGAN), valid_to=pl.lit(None, pl.Date))
    raw = rows(
        ("OLD", BEGAN, None, FIRST),
        ("STAYS", BEGAN, None, FIRST),
        ("OLD", BEGAN, LEFT, SECOND),
        ("STAYS", BEGAN, None, SECOND),
        ("NEW", date(2019, 1, 10), None, SECOND),
    )
    lake = Lake(tmp_path, calendar=calendar)
    lake.replace("clean.membership", membership.clean(raw, registry, calendar))
    return lake


def test_who_left_was_a_member_until_then(lake: Lake) -> None:
    def at(*when: int) -> dict[str, date | None]:
        seen = lake.read("clean.membership", as_of=datetime(*when, tzinfo=UTC))
        return dict(seen.select("instrument_id", "valid_to").iter_rows())

    assert at(2009, 12, 31) == {}
    assert at(2015, 1, 5) == {"XNYS:OLD": None, "XNYS:STAYS": None}
    assert at(2019, 1, 9, 22) == {"XNYS:OLD": None, "XNYS:STAYS": None}, "its last day is not over"
    assert at(2019, 1, 10, 22) == {"XNYS:OLD": LEFT, "XNYS:STAYS": None, "XNYS:NEW": None}


def test_the_past_of_a_universe_does_not_lose_who_left(lake: Lake, tmp_path: Path) -> None:
    """Bars of members, asked long after, as of a day when nobody knew that one would leave."""
    from wealthos_pipeline.data.storage.manifest import last
    from wealthos_pipeline.data.storage.run import Run
    from wealthos_pipeline.utils.config import load_settings

    days = lake.calendar.sessions(date(2019, 1, 7), date(2019, 1, 11))
    bars = [
        {"instrument_id": f"XNYS:{s}", "date": d, "slot": lake.calendar.slot(d), "close": 1.0,
         "split_ratio": 1.0, "split_index": 1.0, "tr_index": 1.0, "flags": 0, "currency": "USD",
         "source": "v", "basis": "assumed", "known_at": lake.calendar.known_at(d)}
        for d in days for s in ("OLD", "STAYS", "NEW")
    ]  # fmt: skip
    members = lake.read("clean.membership")
    with Run.open(lake, load_settings(root=tmp_path), now=SECOND) as run:
        lake.replace("clean.membership", members)
        lake.restate(
            "clean.prices", contract("clean.prices").conform(pl.DataFrame(bars)), now=SECOND
        )
        run.publish(as_of=days[-1], source="v")
    assert last(lake).source == "v"

    def names(as_of: datetime | None) -> dict[date, set[str]]:
        frame = load("prices", universe="u", as_of=as_of, root=tmp_path)
        return {
            d: {i.removeprefix("XNYS:") for i in part["instrument_id"]}
            for (d,), part in frame.group_by("date", maintain_order=True)
        }

    before, after = {"OLD", "STAYS"}, {"STAYS", "NEW"}
    assert names(None) == dict(zip(days, [before] * 3 + [after] * 2, strict=True))
    assert names(datetime(2019, 1, 8, 22, tzinfo=UTC)) == dict.fromkeys(days[:2], before)
