"""``wealthos doctor``: is this machine fit, and where did each setting come from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wealthos_pipeline.cli import options

if TYPE_CHECKING:
    from wealthos_pipeline.utils.config import Settings
    from wealthos_pipeline.utils.doctor import Check

_MARKS = {"ok": "[green]✓[/green]", "warn": "[yellow]![/yellow]", "fail": "[red]✗[/red]"}


def doctor(
    settings_: Annotated[
        bool, typer.Option("--settings/--no-settings", help="List every setting and its origin.")
    ] = True,
    root: options.Root = None,
    as_json: options.AsJson = False,
) -> None:
    """Check the machine and the lake, and show where each setting came from.

    Ends with exit code 1 where something must be put right. Secrets are masked.
    """
    from dataclasses import asdict

    from rich.markup import escape

    from wealthos_pipeline.cli.output import emit, out, table
    from wealthos_pipeline.utils.doctor import keys, machine, origins

    given = options.flags(root)
    settings = options.load(root)
    checks = [
        *machine(Path(settings.root)),
        *keys(settings),
        *_sources(settings),
        *_lake(settings),
    ]
    where = origins(given, settings)
    failed = any(c.status == "fail" for c in checks)
    if as_json:
        emit(
            {
                "healthy": not failed,
                "checks": [asdict(c) for c in checks],
                "settings": [asdict(o) for o in where],
                "config_hash": settings.config_hash,
            }
        )
        raise typer.Exit(int(failed))
    console = out()
    width = max(len(c.name) for c in checks)
    for c in checks:
        console.print(f"{_MARKS[c.status]} {c.name.ljust(width)}  {escape(c.found)}")
        if c.advice:
            console.print(f"  {' ' * width}  [yellow]{escape(c.advice)}[/yellow]")
    if settings_:
        console.print()
        table(
            ["setting", "value", "from"],
            [[o.name, o.value, o.origin] for o in where],
            title=f"Settings (hash {settings.config_hash})",
            dim=[i for i, o in enumerate(where) if o.origin == "default"],
        )
    raise typer.Exit(int(failed))


def _sources(settings: Settings) -> list[Check]:
    """Which sources could be used as the settings are, and whether the chosen one can."""
    from wealthos_pipeline.core.errors import ConfigError
    from wealthos_pipeline.data import sources
    from wealthos_pipeline.utils.doctor import Check

    def usable(name: str) -> str | None:
        part = settings.source.model_copy(update={"name": name, "also": ()})
        if settings.keys.lacks(name):
            return "no key"
        try:
            sources.get(settings.model_copy(update={"source": part}))
        except ConfigError as error:
            return "no panel" if name == "files" else str(error)
        return None

    names = sorted(sources.load())
    why = {name: usable(name) for name in names}
    ready = [n for n in names if why[n] is None]
    rest = [f"{n} ({_short(why[n])})" for n in names if why[n] is not None]
    found = f"ready: {', '.join(ready)}" + (f"; not yet: {', '.join(rest)}" if rest else "")
    checks = [Check("sources", "ok", found)]
    try:
        sources.get(settings)
    except ConfigError as error:
        checks.append(Check("source", "fail", str(error)))
    return checks


def _short(reason: str | None) -> str:
    return "no symbols" if reason and "symbol" in reason else reason or ""


def _lake(settings: Settings) -> list[Check]:
    """Whether the lake, its lock and the warehouse can be used."""
    from wealthos_pipeline.cli.published import open_last
    from wealthos_pipeline.core.errors import NoManifestError, WealthOSError
    from wealthos_pipeline.utils.doctor import Check

    checks: list[Check] = []
    try:
        run = open_last(settings)
    except NoManifestError:
        return [Check("lake", "ok", "nothing published yet", "start with `wealthos run`")]
    except WealthOSError as error:
        return [Check("lake", "fail", str(error))]
    from wealthos_pipeline.cli.output import short_run

    tables = run.snapshot.tables()
    found = (
        f"{len(tables)} tables, run {short_run(run.manifest.run_id)} through {run.manifest.as_of}"
    )
    checks.append(Check("lake", "ok", found))
    checks.append(_lock(Path(settings.root)))
    checks.append(_warehouse(settings, run.manifest.run_id))
    return checks


def _lock(root: Path) -> Check:
    from wealthos_pipeline.cli.holder import writing
    from wealthos_pipeline.data.storage.lock import LOCK_FILE, holder
    from wealthos_pipeline.utils.doctor import Check

    if writing(root) is None:
        return Check("lock", "ok", "free")
    return Check("lock", "warn", f"held by {holder(root / LOCK_FILE)}", "wait until it has ended")


def _warehouse(settings: Settings, run_id: str) -> Check:
    from wealthos_pipeline.cli.output import size
    from wealthos_pipeline.utils.doctor import Check

    link = Path(settings.root) / "wealthos.duckdb"
    if not link.exists():
        return Check("warehouse", "fail", "missing", "make it again: `wealthos warehouse rebuild`")
    if link.resolve().stem != run_id:
        return Check(
            "warehouse",
            "warn",
            f"is of run {link.resolve().stem}, the last published run is {run_id}",
            "bring it up to date: `wealthos warehouse rebuild`",
        )
    return Check("warehouse", "ok", f"{link}, {size(link)}")
