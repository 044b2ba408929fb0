"""The end of a run: what was made, where it lies, what needs a look, what to type next."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import RenderableType
from rich.markup import escape
from rich.padding import Padding

from wealthos_pipeline.cli.output import count, out, program, short_run, typed

FAILURES = 5
"""Reasons for missing data that are printed."""

if TYPE_CHECKING:
    import polars as pl

    from wealthos_pipeline.cli.published import Published
    from wealthos_pipeline.utils.config import Settings


def collect(settings: Settings, *, job: str, seconds: float) -> dict[str, Any]:
    """What the last published run of the root holds, as plain data."""
    from wealthos_pipeline.cli.published import open_last

    run = open_last(settings)
    manifest = run.manifest
    return {
        "run_id": manifest.run_id,
        "job": job,
        "source": manifest.source,
        "as_of": manifest.as_of,
        "seconds": round(seconds, 1),
        "root": str(settings.root),
        "made": _made(run),
        "attention": _attention(run),
        "places": {k: str(v) for k, v in places(settings).items() if v.exists()},
    }


def places(settings: Settings) -> dict[str, Path]:
    """Where the things lie that people open; some may not exist."""
    from wealthos_pipeline.utils.places import latest_report

    report = latest_report(settings.reports)
    found = {
        "warehouse": Path(settings.root) / "wealthos.duckdb",
        "lake": Path(settings.root) / "lake",
    }
    if report is not None:
        found = {"report": report} | found
        mails = sorted(report.parent.glob("*.eml"))
        if mails:
            found["mail"] = mails[-1]
    return found


def show(summary: dict[str, Any]) -> None:
    """Print the summary for a person."""
    console = out()
    console.print()
    console.print(
        f"[bold green]Done[/bold green] in {summary['seconds']:.0f} s: "
        f"{escape(summary['source'])} through [bold]{summary['as_of']}[/bold]"
        f"  [dim]run {short_run(summary['run_id'])}[/dim]"
    )
    for line in summary["made"]:
        console.print(_indented(line))
    if summary["attention"]:
        console.print("\n[bold yellow]Worth a look[/bold yellow]")
        for line in summary["attention"]:
            console.print(_indented(line))
    console.print("\n[bold]Where it lies[/bold]")
    for name, path in summary["places"].items():
        console.print(f"  {name:<10} {escape(_short(Path(path)))}")
    console.print("\n[bold]Next[/bold]")
    width = max(len(command) for command, _ in next_steps(summary))
    for command, why in next_steps(summary):
        console.print(f"  [cyan]{escape(command.ljust(width))}[/cyan]  [dim]{escape(why)}[/dim]")


def _indented(line: str) -> RenderableType:
    """Two spaces in, also where the line goes on; plain where nobody looks at a terminal."""
    line = typed(line)
    return Padding(escape(line), (0, 0, 0, 2)) if sys.stdout.isatty() else escape(f"  {line}")


def next_steps(summary: dict[str, Any]) -> list[tuple[str, str]]:
    """Commands to type next, complete with the root where it is not the default."""
    default = Path(summary["root"]).resolve() == Path("data").resolve()
    root = "" if default else f" --root {shlex.quote(summary['root'])}"
    name = program()
    return [
        (f"{name} report --open{root}", "the page that goes out each morning"),
        (f"{name} backtest{root}", "how each mandate would have done, beside 1/N"),
        (f'{name} sql "from portfolio.nav limit 5"{root}', "ask the warehouse"),
        (f"{name} ui{root}", "the graph, its runs and checks"),
    ]


def _short(path: Path) -> str:
    try:
        return str(path.absolute().relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def _made(run: Published) -> list[str]:
    import polars as pl

    lines = []
    bars = run.snapshot.scan("clean.prices", columns=["instrument_id", "date"])
    rows, names, first, last = bars.select(
        pl.len(),
        pl.col("instrument_id").n_unique(),
        pl.col("date").min().alias("first"),
        pl.col("date").max().alias("last"),
    ).collect().row(0)  # fmt: skip
    if rows:
        lines.append(f"{rows:,} bars of {names} instruments, {first!s} to {last!s}")
    summary = run.read("factors.summary")
    if summary.height:
        lines.append(f"{summary['factor'].n_unique()} factors judged")
    registry = run.read("models.registry")
    if registry.height:
        models = ", ".join(sorted(registry["model"].unique()))
        lines.append(f"{count(registry.height, 'fit')} of {models}")
    trades = _latest_live(run.read("portfolio.trades"))
    solves = _latest_live(run.read("portfolio.solves"))
    if solves.height:
        told = "no trades"
        if trades.height:
            by = trades.group_by("mandate").len().sort("mandate")
            told = "trades: " + ", ".join(f"{mandate} {n}" for mandate, n in by.rows())
        lines.append(f"{count(solves['mandate'].n_unique(), 'live mandate')}; {told}")
    alerts = run.read("monitor.alerts")
    if alerts.height:
        today = alerts.filter(pl.col("date") == run.manifest.as_of)
        lines.append(f"{count(today.height, 'alert')} for {run.manifest.as_of}")
    return lines


def _attention(run: Published) -> list[str]:
    import polars as pl

    lines = _failed(run)
    strangers = _strangers(run)
    if strangers:
        lines.append(
            f"delistings.csv names what no instrument is called: {', '.join(strangers)}. "
            "Check the symbol and the date"
        )
    quarantine = run.read("clean.quarantine")
    if quarantine.height:
        lines.append(
            f"{count(quarantine.height, 'raw row')} in quarantine: `wealthos data quarantine`"
        )
    admissions = run.read("factors.admissions")
    if admissions.height and (out := admissions.filter(~pl.col("admitted"))["factor"].to_list()):
        named = ", ".join(sorted(out)[:3]) + (", …" if len(out) > 3 else "")
        lines.append(
            f"{count(len(out), 'own factor')} left out ({named}): `wealthos factors check`"
        )
    checks = run.read("meta.checks").filter(
        (pl.col("run_id") == run.manifest.run_id) & ~pl.col("success")
    )
    if checks.height:
        tables = ", ".join(sorted(checks["table"].unique()))
        lines.append(
            f"{count(checks.height, 'data check')} did not pass ({tables}): `wealthos data status`"
        )
    solves = _latest_live(run.read("portfolio.solves")).filter(
        pl.col("status").is_in(["infeasible", "failed"])
    )
    for row in solves.iter_rows(named=True):
        words = (row["message"] or row["status"]).strip().splitlines()[0].split(". ")[0]
        more = f"`wealthos portfolio show {row['mandate']}`"
        lines.append(f"mandate {row['mandate']}: {words.rstrip('.')}. {more}")
    return lines


def _failed(run: Published) -> list[str]:
    """What the sources did not give in this run: a line a reason, those about most names first."""
    import polars as pl

    from wealthos_pipeline.reporting.health import plainly, who_lacks

    rows = run.read("meta.failures").filter(pl.col("run_id") == run.manifest.run_id)
    told: dict[tuple[str, str, str], list[tuple[str, str]]] = {}
    for source, symbol, reason, what, kept in rows.select(
        "source", "symbol", "reason", pl.col("what", "kept").fill_null("")
    ).iter_rows():
        key = (source, plainly(reason, source, symbol), kept)
        told.setdefault(key, []).append((symbol, what))
    ordered = sorted(told.items(), key=lambda item: (-len(item[1]), item[0]))
    lines = [
        f"{who_lacks(source, who)}: {reason}" + (f". In its place: {kept}" if kept else "")
        for (source, reason, kept), who in ordered[:FAILURES]
    ]
    if len(ordered) > FAILURES:
        left = count(len(ordered) - FAILURES, "more thing")
        lines.append(f"{left} that the sources did not give: `wealthos data status`")
    return lines


def _strangers(run: Published) -> list[str]:
    """Names in the list of delistings that no instrument has: what was stated of them is not used."""
    from wealthos_pipeline.cli.published import calendar
    from wealthos_pipeline.data.processors import delistings
    from wealthos_pipeline.utils.config import inputs_dir

    path = inputs_dir() / delistings.FILE
    if not path.is_file():
        return []
    stated = delistings.read(path, calendar(run.settings))
    return delistings.unmatched(stated, run.read("clean.instruments"))


def _latest_live(frame: pl.DataFrame) -> pl.DataFrame:
    import polars as pl

    live = frame.filter(pl.col("run_kind") == "live")
    return live.filter(pl.col("date") == live["date"].max()) if live.height else live
