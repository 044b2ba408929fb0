"""Rows that a rule rejected: what ``clean.quarantine`` holds. The raw row itself is untouched."""

from __future__ import annotations

import polars as pl

from wealthos_pipeline.core.data import contract

RULES: dict[str, str] = {
    "duplicate_key": "two rows of one file give different values for the same symbol and date; none "
    "is used, because nothing tells which is right",
    "unreadable_row": "a row without a date or a symbol",
    "incomplete_bar": "the session of the row had not closed (plus lag) when the file was read",
    "not_a_session": "the exchange held no session on this date",
    "future_date": "the row was given before its session closed, or lies after the run",
    "no_close": "the row has values but no close",
    "not_finite": "the close or adjusted close is infinite",
    "non_positive_price": "the close or adjusted close is zero or negative",
    "bad_split": "the split ratio is zero, negative or infinite",
    "bad_dividend": "the dividend is negative, infinite or not below the close",
    "unknown_instrument": "no instrument has this symbol on this date",
    "other_source": "another source gives the bars of this instrument",
    "bad_value": "the value of a series is infinite",
    "conflicting_files": "two files give different values for the same date; the later file is used",
}
"""Rule → what it rejects, in words."""


def collect(*frames: pl.DataFrame) -> pl.DataFrame:
    """The frames as one of ``clean.quarantine``, each row once."""
    table = contract("clean.quarantine")
    kept = [table.empty(), *(f.select(table.column_names) for f in frames if f.height)]
    return table.conform(pl.concat(kept).unique(table.key, keep="first", maintain_order=True))
