"""From a source and a lake to the rows to append: what is asked, what is new, what failed.

A vendor plans by itself what it asks for and looks up what is stored (``Stored``); files are asked
for everything since an overlap. A day reads no more of the lake than a day needs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime
from typing import TYPE_CHECKING

import polars as pl

from wealthos_pipeline.core.data import TableContract, contract
from wealthos_pipeline.data.processors import membership, raw
from wealthos_pipeline.data.sources.base import RawFrames, Request, Source
from wealthos_pipeline.data.sources.combined import or_stored

if TYPE_CHECKING:
    from wealthos_pipeline.data.processors.calendar import TradingCalendar
    from wealthos_pipeline.data.storage.lake import Lake

TABLES = (
    "raw.prices", "raw.series", "raw.instruments", "raw.membership", "raw.fundamentals", "raw.macro",
    "raw.news", "raw.earnings",
)  # fmt: skip

MARGIN = 10
"""Sessions beyond the overlap that are looked at, for symbols whose last bar is some days old."""

_HISTORIES = {"raw.prices": ("source", "symbol"), "raw.series": ("source", "series", "tenor")}


class Stored:
    """What the lake has, by raw table: the ``stored`` of a ``Request``. Each table is read once.

    source: name in the column ``source`` of the bars. symbols: those that are asked for; empty: all.
    overlap: sessions before a symbol's last bar that are wanted.
    """

    def __init__(
        self,
        lake: Lake,
        calendar: TradingCalendar,
        source: str,
        *,
        now: datetime,
        overlap: int,
        symbols: Sequence[str] = (),
    ) -> None:
        self.lake = lake
        self.calendar = calendar
        self.source = source
        self.now = now
        self.overlap = overlap
        self.symbols = tuple(symbols)
        self._read: dict[str, pl.DataFrame] = {}
        self._begin: date | None = None

    def __call__(self, table: str) -> pl.DataFrame:
        """Of ``raw.prices`` the latest versions of each symbol's last bars; else all rows."""
        if table not in self._read:
            self._read[table] = self._bars() if table == "raw.prices" else self.lake.read(table)
        return self._read[table]

    @property
    def begin(self) -> date | None:
        """First date of which bars were read for all symbols; None: there are none."""
        self("raw.prices")
        return self._begin

    def _bars(self) -> pl.DataFrame:
        terms = contract("raw.prices")
        mine = pl.col("source") == self.source
        past = pl.col("date") <= self.now.date()  # a date in the future is no last bar
        last = self.lake.scan(terms.name).filter(mine & past).select(pl.col("date").max())
        day: date | None = last.collect().item()
        if day is None:
            return terms.empty()
        self._begin = self.calendar.offset(day, -(self.overlap + MARGIN))
        recent = self.lake.scan(terms.name, start=self._begin).filter(mine).collect()
        parts = [raw.latest(recent, terms)]
        described = self.lake.read("raw.instruments", columns=["source", "symbol"]).filter(mine)
        named = set(described["symbol"]) & set(self.symbols or described["symbol"])
        paused = sorted(named - set(recent.filter(past)["symbol"]))
        if paused:
            older = self.lake.scan(terms.name).filter(mine & pl.col("symbol").is_in(paused) & past)
            versions = raw.latest(older.collect(), terms).sort("symbol", "date")
            parts.append(versions.group_by("symbol", maintain_order=True).tail(self.overlap + 1))
        return terms.conform(pl.concat([p.select(terms.column_names) for p in parts]))


def gather(
    source: Source, lake: Lake, request: Request, *, run_id: str, stored: Stored | None = None
) -> dict[str, pl.DataFrame]:
    """Rows to append by table: those of ``TABLES`` that differ, ``raw.rejected``, ``meta.failures``.

    stored: for those that plan by themselves: the source, or others joined in beside files.
    SourceError when nothing usable can be had.
    """
    plans = getattr(source, "plans", False)
    request = replace(request, stored=stored)
    if plans:
        request = replace(request, since=None)
        fetched = or_stored(source, request)
    else:
        fetched = source.fetch(request)
        if request.since is not None and _begins(lake, fetched, source.name, request.since):
            request = replace(request, since=None)
            fetched = source.fetch(request)
    frames = {name: getattr(fetched, name.removeprefix("raw.")) for name in TABLES}
    frames["raw.membership"], refused = membership.judged(fetched.membership)
    frames["raw.rejected"] = pl.concat([fetched.rejected, refused])
    begin = stored.begin if plans and stored is not None else request.since
    return {
        name: raw.new_rows(_existing(lake, contract(name), frame, begin), frame, contract(name))
        for name, frame in frames.items()
    } | {"meta.failures": failures(fetched.failures, run_id, source.name)}


def failures(found: pl.DataFrame, run_id: str, source: str) -> pl.DataFrame:
    """Rows of ``meta.failures``: one a source, symbol and reason, with everything that it was about."""
    terms = contract("meta.failures")
    if "source" not in found.columns:
        found = found.with_columns(pl.lit(source).alias("source"))
    missing = [n for n in ("what", "kept") if n not in found.columns]
    found = found.with_columns(pl.lit(None, dtype=pl.String).alias(n) for n in missing)
    words = [
        pl.col(n).drop_nulls().unique(maintain_order=True).str.join(", ").replace("", None)
        for n in ("what", "kept")
    ]
    merged = found.group_by("source", "symbol", "reason", maintain_order=True).agg(words)
    merged = merged.with_columns(pl.lit(run_id).alias("run_id"))
    return merged.select(terms.column_names)


def early() -> pl.Expr:
    """Rows that came before their day: they are rejected, and have to be asked for again when it has come."""
    return pl.col("date") > pl.col("fetched_at").dt.date()


def _existing(
    lake: Lake, terms: TableContract, frame: pl.DataFrame, begin: date | None
) -> pl.DataFrame:
    """Stored rows that ``frame`` can repeat. begin: most of its rows are not older."""
    if frame.is_empty():
        return terms.empty()
    if terms.date_column is None:
        if terms.name == "raw.membership":  # a delivery says also what it no longer holds
            return lake.read(terms.name)
        names = frame["symbol"].unique().implode()
        rows = lake.scan(terms.name).filter(pl.col("symbol").is_in(names))
        return rows.select(terms.column_names).collect()
    day = terms.date_column
    first: date = frame[day].min()  # type: ignore[assignment]
    if terms.name != "raw.prices" or begin is None or first >= begin:
        return lake.read(terms.name, start=first)
    deep = frame.filter(pl.col(day) < begin)["symbol"].unique().implode()
    older = lake.scan(terms.name).filter((pl.col(day) < begin) & pl.col("symbol").is_in(deep))
    return pl.concat(
        [lake.read(terms.name, start=begin), older.select(terms.column_names).collect()]
    )


def _begins(lake: Lake, fetched: RawFrames, source: str, since: date) -> bool:
    """Whether something came of which the lake has nothing since ``since``: a new symbol or series, or
    one that was not kept up. Its history before ``since`` is missing then."""
    return any(
        getattr(fetched, table.removeprefix("raw."))
        .filter(pl.col("source") == source)
        .join(lake.read(table, start=since, columns=by), on=by, how="anti")
        .height
        for table, by in _HISTORIES.items()
    )
