"""From tables to a ``Report``: only rows that could have been known after the session's close."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import date as Date  # noqa: N812  the argument is called date
from datetime import datetime
from typing import TYPE_CHECKING

import polars as pl

from wealthos_pipeline.core.factor import Factor
from wealthos_pipeline.core.portfolio import Mandate
from wealthos_pipeline.data.processors import staleness
from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.data.processors.health import monthly
from wealthos_pipeline.market_monitor import alerts as monitor
from wealthos_pipeline.portfolio.live import too_late
from wealthos_pipeline.reporting import books as portfolios
from wealthos_pipeline.reporting import changes, health, market, skill
from wealthos_pipeline.reporting import mandates as books
from wealthos_pipeline.reporting.lens import Lens, Read
from wealthos_pipeline.reporting.report import (
    Age,
    Alert,
    Causes,
    Proposal,
    Report,
    Series,
    Status,
)
from wealthos_pipeline.utils.config import Settings

if TYPE_CHECKING:
    from wealthos_pipeline.data.sources.base import SourceInfo

DATA_ALERTS = frozenset({"coverage_drop", "quarantine", "stale_instrument", "stale_series"})
"""Alerts that the data are not what they were: from ``warning`` on they make a report degraded.
A failed check that does not block is an alert and no more."""


def collect(
    read: Read,
    *,
    date: Date,
    info: SourceInfo,
    settings: Settings,
    run_id: str,
    calendar: TradingCalendar | None = None,
    mandates: Sequence[Mandate] = (),
    factors: Iterable[Factor] = (),
    notes: Sequence[str] = (),
    code_version: str = "",
    causes: Causes | None = None,
    now: datetime | None = None,
) -> Report:
    """The report of the session ``date`` (the last session before it on other days).

    read: ``read(table, start=…, columns=…)`` gives a frame, of a pinned snapshot; a table that does
        not exist reads as empty. Rows that could not have been known after the close of ``date``
        are dropped here, so later data cannot change a past report.
    mandates, factors: definitions, for titles, currencies and directions. notes: sentences to
        print with the provenance. causes: the comparison with the run before (see ``causes``).
    now: when the run was made, to tell whether later prices should have been there; None: not judged.
    Nothing is invented: what is missing says why.
    """
    clock = calendar or TradingCalendar(settings.source.exchange, settings.time.known_lag_minutes)
    day = clock.date_of(clock.slot(date))
    lens = Lens(read, day, clock)
    defined = tuple(factors)
    bars = lens("clean.prices", "date", sessions=30)
    if bars.is_empty():
        bars = lens("clean.prices", "date")
    as_of = bars.select(pl.col("date").max()).item() if bars.height else None
    instruments = lens("clean.instruments")
    if instruments.is_empty():  # descriptions are loaded later than a past report's day
        instruments = read("clean.instruments", start=None, columns=None)
        instruments = instruments.filter(pl.col("valid_from") <= day)
    described = instruments.sort("instrument_id", "valid_from").unique(
        "instrument_id", keep="last", maintain_order=True
    )
    live = lens("portfolio.solves", "mandate", "run_kind", "date", sessions=0)
    decided = live.filter((pl.col("run_kind") == "live") & (pl.col("date") == day))
    past = decided.is_empty() and any(m.live for m in mandates)

    before, changed = changes.since(lens, run_id=run_id, as_of=as_of, config=settings.config_hash)
    raised = _alerts(lens, run_id, defined, before)
    data = health.collect(lens, run_id=run_id, as_of=as_of, info=info)
    ages = health.ages(lens, as_of, past=past) if as_of is not None else ()
    behind = 0 if as_of is None or now is None else staleness.behind(clock, as_of, now)
    late = 0 if as_of is None or now is None else staleness.late(clock, as_of, now, live=info.live)
    status, reasons = _status(day, as_of, data, raised, ages, late)
    said = tuple(notes)
    if behind > late:
        said = (*said, f"The prices of this source end on {as_of}: the page speaks of that close")
    nav = lens("portfolio.nav").filter(pl.col("run_kind") == "backtest").sort("mandate", "date")
    outcomes = books.outcomes(lens)
    reports = books.collect(lens, mandates, nav, outcomes)
    return Report(
        date=day,
        as_of=as_of,
        run_id=run_id,
        code_version=code_version,
        config_hash=settings.config_hash,
        status=status,
        reasons=reasons,
        past=past,
        source=info,
        labels=dict(described.select("instrument_id", "symbol").iter_rows()),
        names=dict(described.drop_nulls("name").select("instrument_id", "name").iter_rows()),
        changes=replace(changed, causes=causes),
        alerts=raised,
        proposals=_still_good(books.proposals(lens, mandates), as_of, late),
        mandates=reports,
        market=market.collect(lens, info),
        models=skill.models(lens),
        factors=skill.factors(lens, defined, settings),
        health=data,
        series=Series(
            nav=nav.select("mandate", "date", "nav"),
            outcomes=outcomes,
            regime=lens("monitor.regime", "date", "p_turbulent").sort("date"),
            health=monthly(lens("meta.coverage")),
        ),
        notes=said,
        ages=ages,
        books=portfolios.collect(lens, reports, mandates, nav),
    )


def _still_good(
    proposals: tuple[Proposal, ...], as_of: Date | None, late: int
) -> tuple[Proposal, ...]:
    """``proposals``, or why they no longer hold: no trade is shown on a stale price."""
    if as_of is None or not late:
        return proposals
    why = too_late(as_of, late)
    return tuple(
        replace(p, status="held", message=why, turnover=None, trades=()) for p in proposals
    )


def _alerts(
    lens: Lens, run_id: str, factors: Sequence[Factor], before: frozenset[tuple[str, str]] | None
) -> tuple[Alert, ...]:
    """The day's alerts, most severe first; evaluated here where none are stored for the day."""
    stored = lens("monitor.alerts", sessions=0).filter(pl.col("date") == lens.day)
    if stored.is_empty():
        frames = monitor.gather(lens.read, dates=[lens.day], calendar=lens.calendar)
        stored = monitor.evaluate(
            frames, dates=[lens.day], calendar=lens.calendar, run_id=run_id, factors=factors
        )
    weight = {"critical": 0, "warning": 1, "info": 2}
    found = [
        Alert(
            row["alert"],
            row["subject"],
            row["severity"],
            row["text"],
            before is not None and (row["alert"], row["subject"]) not in before,
        )
        for row in stored.iter_rows(named=True)
    ]
    return tuple(sorted(found, key=lambda a: (weight[a.severity], a.name, a.subject)))


def _status(
    day: Date,
    as_of: Date | None,
    data: health.Health,
    raised: tuple[Alert, ...],
    ages: tuple[Age, ...],
    late: int,
) -> tuple[Status, tuple[str, ...]]:
    """blocked: no data, or a failed check that blocks; degraded: the data are not what they were,
    or parts of the page are older than it."""
    if as_of is None:
        return "blocked", ("There are no prices: nothing below can be trusted.",)
    blocking = [
        f"Check {check} on {table} failed: {bad:,} of {rows:,} rows."
        for table, check, severity, bad, rows in data.failed
        if severity == "error"
    ]
    if blocking:
        return "blocked", tuple(blocking)
    reasons = []
    if as_of < day:
        reasons.append(f"The last prices are of {as_of}, before the report's session {day}.")
    elif late:
        reasons.append(
            f"The last prices are of {as_of}: {late} session{'s' if late > 1 else ''} since then "
            "had closed when the run was made, and no price of them had come."
        )
    reasons += [a.words for a in ages]
    reasons += data.unserved
    reasons += [a.text for a in raised if a.name in DATA_ALERTS and a.severity != "info"]
    return ("degraded" if reasons else "complete"), tuple(reasons)
