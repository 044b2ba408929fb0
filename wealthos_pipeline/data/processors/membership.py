"""Who belonged to a universe when. Names that left keep their interval: a universe of the past is
made of those who were members then."""

from __future__ import annotations

import polars as pl

from wealthos_pipeline.core.data import contract
from wealthos_pipeline.data.processors import raw
from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.data.processors.instruments import normalised


def assumed_known_at(frame: pl.DataFrame, calendar: TradingCalendar) -> pl.DataFrame:
    """``frame`` (``start``) with ``known_at``: the open of the first session in."""
    days = frame["start"].unique().drop_nulls()
    opens = pl.DataFrame(
        {"start": days, "known_at": [calendar.open_at(d) for d in days]},
        schema={"start": pl.Date, "known_at": pl.Datetime("us", "UTC")},
    )
    return frame.join(opens, on="start", how="left", maintain_order="left")


def clean(
    raw_membership: pl.DataFrame, instruments: pl.DataFrame, calendar: TradingCalendar
) -> pl.DataFrame:
    """``clean.membership``: intervals of instruments that have bars, in sessions.

    Symbols are matched by spelling first and by ``normalised`` spelling then; symbols without an
    instrument have no row (``unmatched`` counts them). An interval that contains no session has
    none either. The start is known at its open; a corrected interval from its fetch.
    """
    table = contract("clean.membership")
    stamped = raw.with_known_at(raw_membership, calendar, "raw.membership")
    newest = raw.latest(stamped, contract("raw.membership"))
    matched = _matched(newest, instruments).filter(pl.col("instrument_id").is_not_null())
    rows = [
        {
            **row,
            "valid_from": calendar.on_or_after(row["start"]),
            "valid_to": None if row["end"] is None else calendar.date_of(calendar.slot(row["end"])),
        }
        for row in matched.iter_rows(named=True)
    ]
    schema = table.schema()
    frame = pl.DataFrame(
        [{n: r[n] for n in schema} for r in rows], schema=schema, orient="row"
    ).filter(pl.col("valid_to").is_null() | (pl.col("valid_to") >= pl.col("valid_from")))
    # two spellings of one instrument with one start: the longer interval
    longest = frame.sort(*table.key, "valid_to", nulls_last=True)
    return table.conform(longest.unique(table.key, keep="last", maintain_order=True))


def unmatched(raw_membership: pl.DataFrame, instruments: pl.DataFrame) -> list[str]:
    """Member symbols that no instrument has: their returns are missing (survivorship)."""
    lost = _matched(raw_membership, instruments).filter(pl.col("instrument_id").is_null())
    return lost["symbol"].unique().sort().to_list()


def _matched(members: pl.DataFrame, instruments: pl.DataFrame) -> pl.DataFrame:
    ids = instruments.select("symbol", "instrument_id", _name=normalised(pl.col("symbol")))
    exact = ids.select("symbol", "instrument_id").unique("symbol", keep="last", maintain_order=True)
    loose = ids.select("_name", _id="instrument_id").unique(
        "_name", keep="last", maintain_order=True
    )
    return (
        members.with_columns(normalised(pl.col("symbol")).alias("_name"))
        .join(exact, on="symbol", how="left", maintain_order="left")
        .join(loose, on="_name", how="left", maintain_order="left")
        .with_columns(pl.coalesce("instrument_id", "_id").alias("instrument_id"))
        .drop("_name", "_id")
    )


def universe(prices: pl.DataFrame, membership: pl.DataFrame, name: str = "default") -> pl.DataFrame:
    """``date, instrument_id``: the rows of ``prices`` that were in universe ``name`` on their date.

    Everything when the universe has no membership rows.
    """
    rows = prices.select("date", "instrument_id").sort("date", "instrument_id")
    spans = membership.filter(pl.col("universe") == name).select(
        "instrument_id", "valid_from", "valid_to"
    )
    if not spans.height:
        return rows
    return (
        rows.join(spans, on="instrument_id", how="inner")
        .filter(
            (pl.col("date") >= pl.col("valid_from"))
            & (pl.col("valid_to").is_null() | (pl.col("date") <= pl.col("valid_to")))
        )
        .select("date", "instrument_id")
        .unique()
        .sort("date", "instrument_id")
    )
