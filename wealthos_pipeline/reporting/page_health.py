"""Sections 7 and 8: health of the data, where they come from, and how they mislead."""

from __future__ import annotations

from wealthos_pipeline.data.processors.health import MARKS
from wealthos_pipeline.reporting.blocks import (
    Block,
    Cell,
    Chart,
    Column,
    Heading,
    Item,
    Items,
    Table,
    Text,
    cells,
)
from wealthos_pipeline.reporting.report import Report
from wealthos_pipeline.reporting.words import count, day, line, number, percent, sentence


def health(report: Report, charts: frozenset[str]) -> tuple[Block, ...]:
    """What failed, coverage, checks, repairs, quarantine, staleness, what is missing and why."""
    h = report.health
    out: list[Block] = [Text(n, "muted") for n in h.notes]
    if "health" in charts:
        out.append(
            Chart(
                "health",
                "Heat map of data health by month: "
                + "; ".join(f"{name}: {what}" for name, what in MARKS.items()),
                "Share of the bars of each month. "
                + "; ".join(f"{name.capitalize()}: {what}" for name, what in MARKS.items())
                + ".",
            )
        )
    if h.failures:
        out.append(Heading("What the source did not give this time"))
        out.append(
            Items(
                tuple(
                    Item(
                        "warning",
                        names,
                        sentence(reason) + (" Kept: " + sentence(kept) if kept else ""),
                        "warning",
                    )
                    for reason, kept, names, _ in h.failures
                ),
                mail_rows=6,
            )
        )
    if h.behind:
        out.append(
            Table(
                (
                    Column("No bar on the last session", right=False),
                    Column("last bar"),
                    Column("sessions ago"),
                ),
                tuple(cells(name, day(last), number(age, 0)) for name, last, age in h.behind),
                note="Alive names without a price of the session: held ones are frozen, none is bought.",
                mail_rows=8,
            )
        )
    if h.coverage:
        out.append(
            Table(
                (
                    Column("Table", right=False),
                    Column("rows"),
                    Column("expected"),
                    Column("coverage"),
                ),
                tuple(
                    cells(
                        table,
                        number(rows, 0),
                        number(expected, 0),
                        percent(rows / expected if expected else None),
                    )
                    for table, rows, expected in h.coverage
                ),
                title=f"Coverage of {day(report.as_of)}",
                note="Expected: instruments alive on the session.",
            )
        )
    if h.checks:
        passed = sum(ok for _, ok, _, _ in h.checks)
        total = sum(n for _, _, n, _ in h.checks)
        out.append(
            Text(f"Checks: {passed:,} of {total:,} passed on {count(len(h.checks), 'table')}.")
        )
        out.append(
            Table(
                (
                    Column("Table", right=False),
                    Column("passed"),
                    Column("checks"),
                    Column("rows looked at"),
                ),
                tuple(
                    cells(
                        table,
                        Cell(number(ok, 0), "" if ok == n else "warning"),
                        number(n, 0),
                        number(rows, 0),
                    )
                    for table, ok, n, rows in h.checks
                ),
                full=True,
            )
        )
    if h.failed:
        out.append(
            Items(
                tuple(
                    Item(
                        severity,
                        table,
                        f"{check}: {number(bad, 0)} of {number(rows, 0)} rows.",
                        "critical" if severity == "error" else "warning",
                    )
                    for table, check, severity, bad, rows in h.failed
                ),
                mail_rows=8,
            )
        )
    if h.adjusted:
        out.append(
            Table(
                (
                    Column("Changed by rule", right=False),
                    Column("value", right=False),
                    Column("rows"),
                    Column("names"),
                    Column("last on"),
                ),
                tuple(
                    cells(rule.replace("_", " "), field, number(n, 0), number(names, 0), day(last))
                    for rule, field, n, names, last in h.adjusted
                ),
                note="Values before and after, and why: clean.adjustments.",
                mail_rows=8,
            )
        )
    if h.gaps:
        out.append(
            Table(
                (Column("Missing bars", right=False), Column("times"), Column("last began on")),
                tuple(cells(kind, number(n, 0), day(last)) for kind, n, last in h.gaps),
                note="Why sessions are missing: clean.gaps.",
                full=True,
            )
        )
    if h.quarantine:
        out.append(
            Table(
                (
                    Column("Quarantine", right=False),
                    Column("rule", right=False),
                    Column("rows"),
                    Column("last on"),
                ),
                tuple(
                    cells(table, rule, number(n, 0), day(last))
                    for table, rule, n, last in h.quarantine
                ),
                note="Rows that a rule kept out of the clean tables; the raw rows are untouched.",
                mail_rows=10,
            )
        )
    else:
        out.append(Text("Quarantine: empty, no row was rejected."))
    if h.stale:
        out.append(Text("Stopped series: " + "; ".join(h.stale) + "."))
    if h.missing:
        out.append(Heading("What the source does not give, or not in full"))
        out.append(
            Items(
                tuple(
                    Item("", field.replace("_", " ").capitalize(), sentence(why))
                    for field, why in h.missing
                )
            )
        )
    return tuple(out)


def provenance(report: Report) -> tuple[Block, ...]:
    """Source, licence, how the numbers were made; the biases are on every page."""
    s = report.source
    out: list[Block] = [
        Text(f"{s.title} ({s.name}): {line(s.provenance).rstrip('.')}."),
        Text(f"Licence: {line(s.licence).rstrip('.')}."),
        Items(biases(report)) if s.biases else Text("The source declares no bias.", "muted"),
        Text(
            f"Run {report.run_id}, configuration {report.config_hash}"
            + (f", code {report.code_version}" if report.code_version else "")
            + ". Decisions on a close fill at the next close. Backtests charge the mandate's full "
            "costs. Research, not advice.",
            "muted",
        ),
    ]
    out += [Text(sentence(n)) for n in report.notes]
    return tuple(out)


def biases(report: Report) -> tuple[Item, ...]:
    """What flatters or misleads in these data: printed on every page made from them."""
    return tuple(Item("", b.title, sentence(b.detail)) for b in report.source.biases)
