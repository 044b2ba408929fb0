"""Health of the data: coverage, quarantine, checks, staleness, what the source cannot give."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

import polars as pl

from wealthos_pipeline.reporting.lens import Lens, groups
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
