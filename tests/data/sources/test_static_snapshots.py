"""What is known of one day only says so, with the day."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import polars as pl

from wealthos_pipeline.core.data import contract
from wealthos_pipeline.data.processors.delistings import UNKNOWN
from wealthos_pipeline.data.sources import snapshots
from wealthos_pipeline.data.sources.base import Bias, SourceInfo

MAY, JUNE = (datetime(2024, m, 3, 23, tzinfo=UTC) for m in (5, 6))
RAW, MEMBERS = contract("raw.instruments"), contract("clean.membership")


def described(*rows: tuple[str, datetime, str | None]) -> pl.DataFrame:
    full = [
        {"source": "v", "symbol": s, "fetched_at": at, "sector": sector, "asset_class": "equity",
         "exchange": "XNYS", "currency": "USD"}
        for s, at, sector in rows
    ]  # fmt: skip
    return RAW.conform(pl.DataFrame(full, schema_overrides=RAW.schema()))


def members(withdrawn: datetime | None = None) -> pl.DataFrame:
    row = {"universe": "default", "instrument_id": "A", "valid_from": date(2010, 1, 4), "source": "v",
           "withdrawn_at": withdrawn, "known_at": MAY}  # fmt: skip
    return MEMBERS.conform(pl.DataFrame([row], schema_overrides=MEMBERS.schema()))


def biases(
    raw: pl.DataFrame, inside: pl.DataFrame, *own: Bias, gaps: pl.DataFrame | None = None
) -> dict[str, Any]:
    info = SourceInfo("v", "V", "", "", biases=own)
    gaps = contract("clean.gaps").empty() if gaps is None else gaps
    shares = gaps.select(pl.col("instrument_id").unique(), asset_class=pl.lit("equity"))
    tables = {"raw.instruments": raw, "clean.membership": inside, "clean.gaps": gaps,
              "clean.instruments": shares}  # fmt: skip
    return {b.name: b for b in snapshots.declared(info, tables.__getitem__).biases}


def test_sectors_say_the_day_on_which_they_were_fetched():
    found = biases(described(("A", MAY, "Energy"), ("B", MAY, None)), members())
    assert set(found) == {"static_sectors"}
    assert found["static_sectors"].title == "Sectors as of 2024-05-03, a snapshot"
    assert "neutralised" in found["static_sectors"].detail


def test_the_day_is_that_of_the_first_description_which_stands_for_the_past():
    """A later one holds from then on only and is no snapshot of the past."""
    again = described(("A", MAY, "Energy"), ("A", JUNE, "Utilities"))
    assert snapshots.fetched(again) == (date(2024, 5, 3), date(2024, 5, 3))
    two = biases(described(("A", MAY, "Energy"), ("B", JUNE, "Utilities")), members())
    assert "2024-05-03 to 2024-06-03" in two["static_sectors"].title


def test_what_a_source_says_itself_is_kept_and_not_said_twice():
    own = Bias("sector_snapshot", "Sectors are today's", "As the vendor files them.")
    other = Bias("survivors", "Only those that live", "")
    found = biases(described(("A", MAY, "Energy")), members(), own, other)
    assert set(found) == {"survivors", "static_sectors"}
    assert found["static_sectors"].detail.endswith("Sectors are today's. As the vendor files them.")


def test_no_sectors_no_bias():
    own = Bias("static_sectors", "Sectors are one snapshot", "")
    assert biases(described(("A", MAY, None)), members(), own) == {}


def test_a_universe_without_intervals_was_chosen_in_hindsight():
    raw = described(("A", MAY, None))
    assert set(biases(raw, MEMBERS.empty())) == {"hindsight_universe"}
    assert set(biases(raw, members(withdrawn=JUNE))) == {"hindsight_universe"}
    assert biases(raw, members()) == {}


def test_delistings_whose_return_nobody_knows_are_counted():
    row = {"date": date(2020, 1, 2), "sessions": 20, "kind": "delisting", "known_at": MAY}
    gone = [
        {**row, "instrument_id": "A", "detail": f"no bar; {UNKNOWN}"},
        {**row, "instrument_id": "B", "detail": "bankruptcy; terminal return -0.9"},
        {**row, "instrument_id": "C", "detail": f"merger; {UNKNOWN}"},
    ]
    table = contract("clean.gaps")
    frame = table.conform(pl.DataFrame(gone, schema_overrides=table.schema()))
    found = biases(described(("A", MAY, None)), members(), gaps=frame)
    assert set(found) == {"unknown_terminal_returns"}
    bias = found["unknown_terminal_returns"]
    assert bias.title.startswith("2 delistings")
    assert bias.detail.endswith("A, C.")
