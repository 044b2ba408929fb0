"""Values of a family as blocks of dates, so that what is held at once is bounded by a setting.

A value depends on the bars within its lookback alone (``engine.compute``); so dates are cut into
blocks, each computed from its own bars and the lookback before them. Nothing is spilled to a disk:
computing a lookback twice at a border costs less than writing and reading the values once more.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date

import numpy as np
import polars as pl

from wealthos_pipeline.core.asset import AssetClass
from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.factors import engine
from wealthos_pipeline.factors.library import Family

MEGABYTE = 1 << 20
MEMORY_MB = 1024
"""Default budget of one block's values (``factors.memory_mb``)."""


def compute_blocks(
    family: Family,
    prices: pl.DataFrame,
    series: pl.DataFrame | None,
    *,
    instruments: pl.DataFrame | None = None,
    statements: pl.DataFrame | None = None,
    calendar: TradingCalendar,
    start: date | None = None,
    threads: int | None = None,
    memory_mb: int = MEMORY_MB,
) -> Iterator[pl.DataFrame]:
    """What ``engine.compute`` gives, bit for bit, as frames in order of date.

    Each frame conforms to ``family.contract`` and holds whole dates, whole calendar years where the
    budget allows; ``Lake.replace`` takes the iterator as it is, with the same ``start``. memory_mb:
    Float32 values of one frame, in megabytes; beside it there is room for the bars of its dates and
    of the lookback. At least one frame comes, empty if there are no rows.
    """
    if instruments is None:
        first = prices.group_by("instrument_id").agg(valid_from=pl.col("date").min())
        kind = pl.lit(AssetClass.EQUITY.value).alias("asset_class")
        instruments = first.with_columns(kind).sort("instrument_id")
    days = prices["date"]
    sorted_days = days.is_sorted()
    for begin, end in _cuts(days, family, start, memory_mb):
        rows = prices
        if end is not None:
            rows = prices[: days.search_sorted(end, "right")] if sorted_days else prices.filter(
                days <= end)  # fmt: skip
        if begin is not None:
            here = begin if calendar.is_session(begin) else calendar.offset(begin, 1)
            oldest = calendar.offset(here, -family.lookback)
            inside = rows["date"]
            rows = rows[inside.search_sorted(oldest, "left") :] if sorted_days else rows.filter(
                inside >= oldest)  # fmt: skip
        yield engine.compute(
            family,
            rows,
            series,
            instruments=instruments,
            statements=statements,
            calendar=calendar,
            start=begin,
            threads=threads,
        )


def _cuts(
    days: pl.Series, family: Family, start: date | None, memory_mb: int
) -> list[tuple[date | None, date | None]]:
    """First and last date of each block; None where nothing is cut off."""
    kept = days if start is None else days.filter(days >= start)
    by_day = kept.value_counts(name="rows").sort(days.name)
    most = max(1, memory_mb * MEGABYTE // (4 * max(1, len(family.factors))))
    if by_day["rows"].sum() <= most or by_day.height < 2:
        return [(start, None)]
    dates = by_day[days.name].to_numpy().astype("datetime64[D]")
    upto = np.concatenate([[0], np.cumsum(by_day["rows"].to_numpy())])
    years = dates.astype("datetime64[Y]")
    out: list[tuple[date | None, date | None]] = []
    at = 0
    while at < len(dates):
        end = max(at + 1, int(np.searchsorted(upto, upto[at] + most, side="right")) - 1)
        if end < len(dates):
            whole = int(np.searchsorted(years, years[end], side="left"))
            end = whole if whole > at else end
        first = start if at == 0 else dates[at].item()
        out.append((first, dates[end - 1].item() if end < len(dates) else None))
        at = end
    return out
