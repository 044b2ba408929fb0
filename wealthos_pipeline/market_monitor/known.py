"""Which rows of a table could have been known after the close of a session."""

from __future__ import annotations

from datetime import date

import polars as pl

from wealthos_pipeline.core.data import contract
from wealthos_pipeline.data.processors.calendar import TradingCalendar


def known(
    table: str, frame: pl.DataFrame, day: date, calendar: TradingCalendar, *, wide: bool = False
) -> pl.DataFrame:
    """Rows of ``frame`` (of ``table``) that were known at ``calendar.known_at(day)``.

    ``known_at`` decides where the contract has it (``known="column"``), else the date. Tables
    without either are returned whole. ``wide``: a table without a declared contract (scores),
    decided by ``date``.
    """
    if wide:
        return frame.filter(pl.col("date") <= day)
    declared = contract(table)
    if declared.known == "column":
        return frame.filter(pl.col("known_at") <= calendar.known_at(day))
    if declared.date_column is not None:
        return frame.filter(pl.col(declared.date_column) <= day)
    return frame
