"""What a stage's function is handed: where to read, from which date on to compute, whom to tell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from typing import Any

import polars as pl

from assets._shared.resources import Session
from wealthos_pipeline.utils.config import Settings

SHOWN = 60
"""Sessions that the UI shows of a table that was written in blocks."""


VALUED = (
    "instrument_id", "date", "slot", "close", "split_index", "tr_index", "flags", "known_at",
)  # fmt: skip
"""Columns of ``clean.prices`` by which holdings are valued."""


@dataclass(frozen=True)
class Work:
    """What a stage's function gets: where to read and from which date on to compute."""

    session: Session
    start: date | None
    notes: dict[str, dict[str, Any]] = field(default_factory=dict)
    hindsight: dict[str, pl.DataFrame] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)
    faults: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    """What the stage found wrong itself, by table and check, for its watch."""
    same_code: bool = False
    """Whether the code that made the stored rows is this code; not where everything is asked for again."""

    def say(self, table: str, name: str, words: str) -> None:
        """Note ``name: words`` for ``table``, and tell whoever watches the run."""
        self.note(table, name, words)
        self.said.append(f"{name} {words}")

    def note(self, table: str, key: str, value: Any) -> None:
        """Say ``key: value`` in the metadata of ``table``'s materialisation."""
        self.notes.setdefault(table, {})[key] = value

    def earlier(self, table: str, rows: pl.DataFrame) -> None:
        """Rows of ``table`` with ``known_from, known_to`` that were believed until a later row took
        them back (see ``Lake.restate``)."""
        self.hindsight[table] = rows

    @property
    def settings(self) -> Settings:
        return self.session.settings

    @cached_property
    def end(self) -> date:
        """Last session in ``clean.prices``."""
        last = self.session.lake.scan("clean.prices", columns=["date"]).select(pl.col("date").max())
        value = last.collect().item()
        return value if value is not None else self.session.calendar.last_known(self.session.now)

    @cached_property
    def late(self) -> int:
        """Sessions that have closed and whose prices are missing; 0 for a panel that has ended."""
        from wealthos_pipeline.data.processors.staleness import late

        session = self.session
        return late(session.calendar, self.end, session.now, live=session.live)

    def back(self, sessions: int) -> date | None:
        """The date ``sessions`` before ``start``; None when everything is computed."""
        return None if self.start is None else self.session.calendar.offset(self.start, -sessions)

    def read(
        self,
        table: str,
        *,
        back: int | None = None,
        columns: Sequence[str] | None = None,
        **more: Any,
    ) -> pl.DataFrame:
        """Rows of ``table`` from ``back`` sessions before ``start`` on; all of it without ``back``."""
        start = None if back is None else self.back(back)
        return self.session.lake.read(table, start=start, columns=columns, **more)

    def newest(self, table: str) -> pl.DataFrame:
        """Rows of the last sessions of ``table``, as they are stored now."""
        start = self.session.calendar.offset(self.end, -SHOWN)
        return self.session.lake.read(table, start=start)

    def prices(
        self,
        *,
        back: int | None = None,
        columns: Sequence[str] | None = None,
        equity: bool = True,
        traded: bool = False,
    ) -> pl.DataFrame:
        """``clean.prices``, of equities only unless told otherwise; ``traded``: without the terminal
        bars of delistings, which are values and not prices."""
        from wealthos_pipeline.data.processors.membership import traded as without_terminal

        wanted = columns if columns is None or not traded else [*columns, "flags"]
        frame = self.read("clean.prices", back=back, columns=wanted)
        if traded:
            frame = without_terminal(frame).select(columns or pl.all())
        return frame.filter(pl.col("instrument_id").is_in(self.equities)) if equity else frame

    @cached_property
    def equities(self) -> list[str]:
        """Identities of all equities."""
        frame = self.session.lake.read("clean.instruments")
        return (
            frame.filter(pl.col("asset_class") == "equity")["instrument_id"]
            .unique()
            .sort()
            .to_list()
        )

    def universe(self, *, back: int | None = None) -> pl.DataFrame:
        """``date, instrument_id`` of the members at the date."""
        from wealthos_pipeline.data.processors import membership

        prices = self.prices(back=back, columns=["date", "instrument_id"], traded=True)
        return membership.universe(prices, self.session.lake.read("clean.membership"))
