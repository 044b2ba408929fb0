"""Reading tables as they were known after one session's close."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date

import polars as pl

from wealthos_pipeline.core.data import contract
from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.market_monitor.known import known

Read = Callable[..., pl.DataFrame]
"""``read(table, start=…, columns=…)``: a frame, empty with the contract's columns if there is none."""


@dataclass(frozen=True)
class Lens:
    """``read``, narrowed to what could have been known after the close of ``day``."""

    read: Read
    day: date
    calendar: TradingCalendar

    def __call__(
        self, table: str, *columns: str, sessions: int | None = None, start: date | None = None
    ) -> pl.DataFrame:
        """Known rows of ``table`` with ``columns`` (and ``known_at`` where it decides).

        sessions: only this many sessions back from ``day``; start: only from this date.
        """
        declared = contract(table)
        wanted = list(columns) or list(declared.column_names)
        deciding = "known_at" if declared.known == "column" else declared.date_column
        if deciding is not None and deciding not in wanted:
            wanted.append(deciding)
        first = self.calendar.offset(self.day, -sessions) if sessions is not None else start
        frame = self.read(table, start=first, columns=wanted)
        return known(table, frame.select(wanted), self.day, self.calendar)

    def issued(self, *columns: str) -> pl.DataFrame:
        """Rows of the record that speak of ``day`` or before, whenever they were issued."""
        frame = self.read("record.issued", start=None, columns=[*columns])
        return frame.filter(pl.col("date") <= self.day)


def groups(frame: pl.DataFrame, by: str, order: Sequence[str]) -> list[tuple[str, pl.DataFrame]]:
    """(value of ``by``, its rows in ``order``), by value."""
    return [
        (str(key[0]), rows)
        for key, rows in frame.sort(by, *order).group_by(by, maintain_order=True)
    ]


def largest(frame: pl.DataFrame, *by: str) -> list[tuple[tuple[str, ...], pl.DataFrame]]:
    """(values of ``by``, their rows), the largest groups first, then by value."""
    parts = [(tuple(map(str, key)), rows) for key, rows in frame.group_by(*by)]
    return sorted(parts, key=lambda part: (-part[1].height, part[0]))
