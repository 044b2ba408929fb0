"""How complete a table is, session by session."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import numpy as np
import polars as pl

from wealthos_pipeline.core.data import contract
from wealthos_pipeline.data.processors.calendar import TradingCalendar

ALIVE = 10
"""Sessions: an instrument counts as alive while its last bar is at most this old. Looks back only,
so a name that was delisted is expected for ten sessions more, and a gap at the end shows."""


def coverage(
    prices: pl.DataFrame,
    calendar: TradingCalendar,
    dates: Sequence[date] | None = None,
    *,
    table: str = "clean.prices",
    rows: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """``meta.coverage`` of ``table``: rows a session against instruments alive then.

    prices: ``date, instrument_id``, reaching ``ALIVE`` sessions back before the first of ``dates``
        (None: every session from the first bar to the last).
    rows: the table's ``date`` column where it is not ``prices`` itself (for example factor values).
    Sessions without any row are listed with 0.
    """
    contract_ = contract("meta.coverage")
    if not prices.height:
        return contract_.empty()
    first, last = prices["date"].min(), prices["date"].max()
    assert isinstance(first, date)
    assert isinstance(last, date)
    days = calendar.sessions(first, last) if dates is None else sorted(dates)
    counted = (prices if rows is None else rows).group_by("date").agg(pl.len().alias("rows"))
    out = pl.DataFrame({"date": days}, schema={"date": pl.Date}).join(
        counted, on="date", how="left", maintain_order="left"
    )
    alive = _alive(prices, calendar)
    slots = [calendar.slot(d) for d in days]
    return contract_.conform(
        out.with_columns(
            pl.lit(table).alias("table"),
            pl.col("rows").fill_null(0).cast(pl.Int64),
            pl.Series("expected", [alive.get(s, 0) for s in slots], dtype=pl.Int64),
        )
    )


def members(
    prices: pl.DataFrame,
    membership: pl.DataFrame,
    calendar: TradingCalendar,
    dates: Sequence[date] | None = None,
    *,
    universe: str = "default",
) -> pl.DataFrame:
    """``meta.coverage`` of ``clean.membership``: members at the date that have a bar, against members.

    prices: ``date, instrument_id`` of the sessions in ``dates`` at least (None: every session from the
        first bar to the last). Members are those that the registry knows; intervals that were taken
        back do not count. No row where nobody says who is in the universe.
    """
    from wealthos_pipeline.data.processors import membership as room

    contract_ = contract("meta.coverage")
    spans = membership.filter((pl.col("universe") == universe) & pl.col("withdrawn_at").is_null())
    if not prices.height or not spans.height:
        return contract_.empty()
    first, last = prices["date"].min(), prices["date"].max()
    assert isinstance(first, date)
    assert isinstance(last, date)
    days = calendar.sessions(first, last) if dates is None else sorted(dates)
    if not days:
        return contract_.empty()
    lo, slots = calendar.slot(days[0]), [calendar.slot(d) for d in days]
    change = np.zeros(slots[-1] - lo + 2, dtype=np.int64)
    for begin, end in spans.select("valid_from", "valid_to").iter_rows():
        since = max(calendar.slot(begin), lo)
        until = slots[-1] if end is None else min(calendar.slot(end), slots[-1])
        if since <= until:
            change[since - lo] += 1
            change[until - lo + 1] -= 1
    expected = np.cumsum(change)
    counted = (
        room.universe(prices, membership, universe).group_by("date").agg(pl.len().alias("rows"))
    )
    out = pl.DataFrame({"date": days}, schema={"date": pl.Date}).join(
        counted, on="date", how="left", maintain_order="left"
    )
    return contract_.conform(
        out.with_columns(
            pl.lit("clean.membership").alias("table"),
            pl.col("rows").fill_null(0).cast(pl.Int64),
            pl.Series("expected", [int(expected[s - lo]) for s in slots], dtype=pl.Int64),
        )
    )


def _alive(prices: pl.DataFrame, calendar: TradingCalendar) -> dict[int, int]:
    """Slot → instruments with a bar in the ``ALIVE`` sessions up to it.

    Each bar keeps its instrument alive from its slot until its next bar, at most ``ALIVE`` on:
    +1 at the start of each such stretch, −1 after its end, summed up (integers: exact).
    """
    slots = calendar.frame().select("date", "slot")
    bars = (
        prices.select("date", "instrument_id")
        .join(slots, on="date", how="inner")
        .sort("instrument_id", "slot")
    )
    at = bars["slot"].to_numpy()
    ids = bars["instrument_id"].rle_id().to_numpy()
    follows = np.append((ids[1:] == ids[:-1]), False)
    until = np.where(follows, np.append(at[1:], 0), at + ALIVE + 1)
    until = np.minimum(until, at + ALIVE + 1)
    lo = int(at.min())
    change = np.zeros(int(until.max()) - lo + 1, dtype=np.int64)
    np.add.at(change, at - lo, 1)
    np.add.at(change, until - lo, -1)
    total = np.cumsum(change)
    return {lo + i: int(n) for i, n in enumerate(total)}
