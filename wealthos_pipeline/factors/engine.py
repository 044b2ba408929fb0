"""Runs factor definitions over a price panel, in full or for some dates."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import polars as pl

from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.factors.library import Family


def compute(
    family: Family,
    prices: pl.DataFrame,
    series: pl.DataFrame | None,
    *,
    instruments: pl.DataFrame | None = None,
    calendar: TradingCalendar,
    start: date | None = None,
    threads: int | None = None,
) -> pl.DataFrame:
    """Values of one family: ``date, instrument_id`` and a Float32 column a factor."""
    return compute_all(
        [family], prices, series, instruments=instruments, calendar=calendar, start=start,
        threads=threads,
    )[family.table]  # fmt: skip


def compute_all(
    families: Sequence[Family],
    prices: pl.DataFrame,
    series: pl.DataFrame | None,
    *,
    instruments: pl.DataFrame | None = None,
    calendar: TradingCalendar,
    start: date | None = None,
    threads: int | None = None,
) -> dict[str, pl.DataFrame]:
    """Values of several families by table name; the panel is laid out once."""
    raise NotImplementedError
