"""Health of the data: coverage, quarantine, checks, staleness, what the source cannot give."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import TYPE_CHECKING

import polars as pl

from wealthos_pipeline.data.processors.coverage import ALIVE
from wealthos_pipeline.data.processors.prices import Flag
from wealthos_pipeline.reporting.lens import Lens, groups, largest
from wealthos_pipeline.reporting.market import LABELS
from wealthos_pipeline.reporting.report import Age, Health

if TYPE_CHECKING:
    from wealthos_pipeline.data.sources.base import SourceInfo

__all__ = ["Health", "ages", "collect"]

PARTS = (
    ("trades", "Proposed trades", "portfolio.solves"),
    ("mandates", "Performance of the mandates", "portfolio.nav"),
    ("mandates", "Risk forecasts", "portfolio.risk"),
    ("market", "Regime", "monitor.regime"),
    ("models", "Predictions", "models.predictions"),
)
"""(section, what it shows, the table that it comes from): parts that every session makes anew."""

NAMES = 5
"""Symbols that are named with a failure; of more, three."""

LOOK_BACK = 260
"""Sessions; what is older than that is not found and its section says that there is nothing."""


def ages(lens: Lens, as_of: date, *, past: bool) -> tuple[Age, ...]:
    """Parts of the page whose newest row is of an earlier session than ``as_of``.

    past: no live run was made, so decisions and predictions are those of the backtest, which makes
    none every day; they are not called old.
    """
    out = []
    for anchor, what, table in PARTS:
        live = {"portfolio.solves": "run_kind", "models.predictions": "kind"}.get(table)
        if live and past:
            continue
        rows = lens(table, "date", *([live] if live else []), sessions=LOOK_BACK)
        if live:
            rows = rows.filter(pl.col(live) == "live")
        if rows.is_empty():
            continue
        newest = rows.select(pl.col("date").max()).item()
        age = lens.calendar.slot(as_of) - lens.calendar.slot(newest)
        if age > 0:
            out.append(Age(anchor, what, newest, age))
    return tuple(out)


def collect(lens: Lens, *, run_id: str, as_of: date | None, info: SourceInfo) -> Health:
    """What the tables say about themselves, for the run and the session."""
    notes = []
    covered = lens("meta.coverage", sessions=10)
    covered = covered.filter(pl.col("date") == pl.lit(as_of, pl.Date)).sort("table")
    if covered.is_empty():
        notes.append("Coverage: no row of meta.coverage speaks of this session.")
    checks = lens.read(
        "meta.checks",
        start=None,
        columns=["run_id", "table", "check", "column", "severity", "success", "unexpected", "rows"],
    ).filter(pl.col("run_id") == run_id)
    if checks.is_empty():
        notes.append(f"Checks: none are on record for run {run_id}.")
    rejected = lens("clean.quarantine", "table", "date", "rule")
    failures = lens.read(
        "meta.failures",
        start=None,
        columns=["run_id", "source", "symbol", "reason", "what", "kept"],
    ).filter(pl.col("run_id") == run_id)
    return Health(
        coverage=tuple(covered.select("table", "rows", "expected").iter_rows()),
        quarantine=tuple(
            rejected.group_by("table", "rule")
            .agg(pl.len().cast(pl.Int64), pl.col("date").max())
            .sort("table", "rule")
            .iter_rows()
        ),
        checks=tuple(
            (
                table,
                int(rows["success"].sum()),
                rows.height,
                int(rows["rows"].max() or 0),  # type: ignore[arg-type]
            )
            for table, rows in groups(checks, "table", ["check", "column"])
        ),
        failed=tuple(
            checks.filter(~pl.col("success"))
            .sort("severity", "table", "check", "column")
            .select(
                "table",
                pl.when(pl.col("column") == "")
                .then(pl.col("check"))
                .otherwise(pl.col("check") + " of " + pl.col("column")),
                "severity",
                "unexpected",
                "rows",
            )
            .iter_rows()
        ),
        stale=_stale(lens, as_of),
        missing=tuple(sorted(info.missing.items())),
        notes=tuple(notes),
        adjusted=tuple(
            lens("clean.adjustments", "rule", "field", "instrument_id", "date")
            .group_by("rule", "field")
            .agg(
                pl.len().cast(pl.Int64),
                pl.col("instrument_id").n_unique().cast(pl.Int64),
                pl.col("date").max(),
            )
            .sort("rule", "field")
            .iter_rows()
        ),
        gaps=tuple(
            lens("clean.gaps", "kind", "date")
            .group_by("kind")
            .agg(pl.len().cast(pl.Int64), pl.col("date").max())
            .sort("kind")
            .iter_rows()
        ),
        failures=_failures(failures),
        unserved=_unserved(failures),
        behind=_behind(lens, as_of),
    )


def _failures(rows: pl.DataFrame) -> tuple[tuple[str, str, str, int], ...]:
    """What the source could not give in this run: reason, what stands instead, names, how many."""
    rows = rows.with_columns(pl.col("kept").fill_null(""))
    out = []
    for (reason, kept), part in largest(rows, "reason", "kept"):
        names = sorted(part["symbol"].to_list())
        shown = ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
        out.append((reason, kept, shown, len(names)))
    return tuple(out)


def _unserved(rows: pl.DataFrame) -> tuple[str, ...]:
    """One sentence a reason: prices that a vendor was asked for and did not give, and sources that
    gave nothing at all."""
    rows = rows.filter(
        pl.col("what").is_not_null()
        & (pl.col("what").str.contains("prices") | (pl.col("symbol") == "*"))
    )
    told: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for source, symbol, reason, what in rows.select(
        "source", "symbol", "reason", "what"
    ).iter_rows():
        told.setdefault((source, plainly(reason, source, symbol)), []).append((symbol, what))
    ordered = sorted(told.items(), key=lambda item: (-len(item[1]), item[0]))
    return tuple(f"{who_lacks(source, who)}: {reason}." for (source, reason), who in ordered)


def plainly(reason: str, source: str, symbol: str) -> str:
    """The vendor's words without the names that ``who_lacks`` says."""
    return reason.removeprefix(f"{source} gave nothing: ").removeprefix(f"{symbol}: ").rstrip(".")


def who_lacks(source: str, failures: Sequence[tuple[str, str]]) -> str:
    """The beginning of a sentence on failures, given as (symbol, what was asked for)."""
    names = sorted({symbol for symbol, _ in failures})
    if "*" in names:
        return f"{source} gave nothing" if ("*", "everything") in failures else source
    if len(names) > NAMES:
        return f"{source}, {len(names):,} symbols ({', '.join(names[:3])}, …)"
    return f"{source}, {', '.join(names)}"


def _behind(lens: Lens, as_of: date | None) -> tuple[tuple[str, date, int], ...]:
    """Symbols that are alive and have no bar on the last session: their last bar and its age."""
    if as_of is None:
        return ()
    first = lens.calendar.offset(lens.day, -ALIVE)
    names = ["instrument_id", "date", "known_at", "flags"]
    bars = lens.read("clean.prices", start=first, columns=names).filter(pl.col("date") <= lens.day)
    # a bar whose values were corrected since was there before, with other values
    there = (pl.col("known_at") <= lens.calendar.known_at(lens.day)) | (
        pl.col("flags") & Flag.RESTATED.value > 0
    )
    last = bars.filter(there).group_by("instrument_id").agg(pl.col("date").max())
    last = last.filter(pl.col("date") < as_of).sort("date", "instrument_id")
    symbols = dict(
        lens.read("clean.instruments", start=None, columns=["instrument_id", "symbol"]).iter_rows()
    )
    now = lens.calendar.slot(as_of)
    return tuple(
        (symbols.get(i, i), day, now - lens.calendar.slot(day)) for i, day in last.iter_rows()
    )


def _stale(lens: Lens, as_of: date | None) -> tuple[str, ...]:
    """Sentences about series that have stopped, by series."""
    if as_of is None:
        return ()
    rows = lens("clean.series", "series", "tenor", "date", "frequency")
    last = rows.group_by("series", "frequency").agg(pl.col("date").max()).sort("series")
    now = lens.calendar.slot(as_of)
    out = []
    for name, frequency, day in last.select("series", "frequency", "date").iter_rows():
        age = now - lens.calendar.slot(day)
        if age > (45 if frequency == "month" else 5):
            label = LABELS.get(name, name)
            out.append(f"{label}: last value of {day}, {age:,} sessions before {as_of}")
    return tuple(out)
