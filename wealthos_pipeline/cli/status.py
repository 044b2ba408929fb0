"""``wealthos data status``: how the data are, and what the lake holds."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wealthos_pipeline.cli import options

if TYPE_CHECKING:
    import polars as pl

    from wealthos_pipeline.cli.published import Published
    from wealthos_pipeline.reporting.report import Health

MONTHS = 60
"""Months of the heat map."""


def status(
    tables: Annotated[
        bool, typer.Option("--tables", help="List every table, the empty ones too.")
    ] = False,
    root: options.Root = None,
    as_json: options.AsJson = False,
) -> None:
    """Show the health of the data, then the tables of the last run: rows, dates, versions."""
    from wealthos_pipeline.cli.output import emit, note
    from wealthos_pipeline.cli.published import open_last
    from wealthos_pipeline.data.processors.health import monthly

    run = open_last(options.load(root))
    rows = [_extent(run, name) for name in run.snapshot.tables()]
    health = _health(run)
    months = monthly(run.read("meta.coverage"))
    if as_json:
        emit(_body(run, rows, health, months))
        return
    _facts(run)
    _heat(months)
    _problems(health)
    shown = rows if tables else [r for r in rows if r["rows"]]
    _tables(shown)
    if len(shown) < len(rows):
        note(f"{len(rows) - len(shown)} empty tables are not shown; see them with --tables")


def _health(run: Published) -> Health:
    from wealthos_pipeline.cli.published import calendar
    from wealthos_pipeline.data.sources import SourceInfo
    from wealthos_pipeline.reporting import health
    from wealthos_pipeline.reporting.lens import Lens

    class Now(Lens):
        """All that the run holds: what came after the last close too."""

        def __call__(
            self, table: str, *columns: str, sessions: int | None = None, start: date | None = None
        ) -> pl.DataFrame:
            first = start if sessions is None else self.calendar.offset(self.day, -sessions)
            return self.read(table, start=first, columns=list(columns) or None)

    m = run.manifest
    nothing = SourceInfo(m.source, m.source, "", "")
    lens = Now(run.snapshot.read, m.as_of, calendar(run.settings))
    return health.collect(lens, run_id=m.run_id, as_of=m.as_of, info=nothing)


def _facts(run: Published) -> None:
    from wealthos_pipeline.cli.output import facts, short_run

    m = run.manifest
    facts(
        [
            ("run", short_run(m.run_id)),
            ("through", m.as_of),
            ("source", m.source),
            ("finished", f"{m.finished_at:%Y-%m-%d %H:%M} UTC"),
        ],
        title="Last published run",
    )


def _heat(months: pl.DataFrame) -> None:
    """One line a mark, one character a month."""
    from rich.markup import escape

    from wealthos_pipeline.cli.output import out
    from wealthos_pipeline.data.processors.health import SHADES, heat

    if months.is_empty():
        return
    console, part = out(), months.tail(MONTHS)
    first, last = part["month"][0], part["month"][-1]
    console.print(f"[bold]Health by month, {first:%Y-%m} to {last:%Y-%m}[/bold]")
    for mark, line, worst in heat(months, MONTHS):
        said = f"worst month {100 * worst:.2f} %" if worst > 0 else "none"
        colour = "dim" if line.endswith((SHADES[0], " ")) else "red"
        console.print(f"  {mark:<9} [{colour}]{escape(line)}[/{colour}]  {said}")
    console.print("[dim]  share of the bars: · none  ░ from 0.01 %  ▒ 0.1 %  ▓ 1 %  █ 10 %[/dim]\n")


def _problems(h: Health) -> None:
    from wealthos_pipeline.cli.output import cell, note, table

    if h.failures:
        table(
            ["names", "reason", "kept"],
            [[names, reason, kept or "–"] for reason, kept, names, _ in h.failures],
            title="What the source did not give this time",
        )
    if h.behind:
        table(
            ["symbol", "last bar", "sessions ago"],
            [[name, cell(last), str(age)] for name, last, age in h.behind[:20]],
            title=f"No bar on the last session: {len(h.behind):,}",
            right=("sessions ago",),
        )
    if h.adjusted:
        table(
            ["rule", "value", "rows", "names", "last on"],
            [[r, f, f"{n:,}", f"{k:,}", cell(d)] for r, f, n, k, d in h.adjusted],
            title="Changed by a rule (clean.adjustments)",
            right=("rows", "names"),
        )
    if h.gaps:
        table(
            ["kind", "times", "last began on"],
            [[kind, f"{n:,}", cell(d)] for kind, n, d in h.gaps],
            title="Missing bars (clean.gaps)",
            right=("times",),
        )
    if h.quarantine:
        table(
            ["table", "rule", "rows", "last on"],
            [[t, r, f"{n:,}", cell(d)] for t, r, n, d in h.quarantine],
            title="In quarantine",
            right=("rows",),
        )
        note("why, and how to release a row: wealthos data quarantine")
    if h.failed:
        table(
            ["table", "check", "severity", "rows that fail", "of"],
            [[t, c, s, f"{bad:,}", f"{n:,}"] for t, c, s, bad, n in h.failed],
            title="Checks that did not pass",
            right=("rows that fail", "of"),
        )
    for sentence in h.stale:
        note(sentence)


def _tables(rows: list[dict[str, Any]]) -> None:
    from wealthos_pipeline.cli.output import cell, table

    table(
        ["table", "rows", "first", "last", "version"],
        [
            [r["table"], f"{r['rows']:,}", cell(r["first"]), cell(r["last"]), str(r["version"])]
            for r in rows
        ],
        title="Tables",
        right=("rows", "version"),
    )


def _body(
    run: Published, rows: list[dict[str, Any]], h: Health, months: pl.DataFrame
) -> dict[str, Any]:
    import polars as pl

    failed = run.read("meta.checks").filter(
        (pl.col("run_id") == run.manifest.run_id) & ~pl.col("success")
    )
    return {
        "run_id": run.manifest.run_id,
        "as_of": run.manifest.as_of,
        "tables": rows,
        "failed_checks": failed.to_dicts(),
        "health_by_month": months.to_dicts(),
        "failures": [
            dict(zip(("reason", "kept", "names", "count"), f, strict=True)) for f in h.failures
        ],
        "behind": [dict(zip(("symbol", "last", "sessions"), b, strict=True)) for b in h.behind],
        "adjusted": [
            dict(zip(("rule", "field", "rows", "names", "last"), a, strict=True))
            for a in h.adjusted
        ],
        "gaps": [dict(zip(("kind", "times", "last"), g, strict=True)) for g in h.gaps],
        "quarantine": [
            dict(zip(("table", "rule", "rows", "last"), q, strict=True)) for q in h.quarantine
        ],
    }


def _extent(run: Published, name: str) -> dict[str, Any]:
    import polars as pl

    column = run.snapshot.contract(name).date_column
    wanted = [pl.len().alias("rows")]
    if column is not None:
        wanted += [pl.col(column).min().alias("first"), pl.col(column).max().alias("last")]
    row = run.snapshot.scan(name).select(wanted).collect().row(0, named=True)
    return {
        "table": name,
        "rows": row["rows"],
        "first": row.get("first"),
        "last": row.get("last"),
        "version": run.snapshot.version(name),
    }
