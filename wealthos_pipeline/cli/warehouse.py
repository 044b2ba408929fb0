"""``wealthos warehouse``: the DuckDB file that analysts open."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from wealthos_pipeline.cli import options

group = typer.Typer(no_args_is_help=True, help="Warehouse: the DuckDB file that analysts open.")


@group.command()
def status(root: options.Root = None, as_json: options.AsJson = False) -> None:
    """Say which run the warehouse holds, where it lies and how to open it."""
    from wealthos_pipeline.cli.output import emit, facts, note, size
    from wealthos_pipeline.cli.published import open_last
    from wealthos_pipeline.data.storage import warehouse as room

    settings = options.load(root)
    link = Path(settings.root) / room.LINK
    with room.connect(settings.root) as connection:
        found = connection.execute(
            "SELECT run_id, increments, (SELECT count(*) FROM information_schema.tables) "
            "FROM meta.warehouse"
        ).fetchone()
    run_id, increments, tables = found if found is not None else (None, None, None)
    last = open_last(settings).manifest
    body = {
        "file": str(link),
        "points_to": str(link.resolve()),
        "bytes": link.stat().st_size,
        "run_id": run_id,
        "current": run_id == last.run_id,
        "tables": tables,
        "increments": increments,
    }
    if as_json:
        emit(body)
        return
    facts(
        [
            ("file", link),
            ("size", size(link)),
            ("run", run_id),
            ("tables and views", tables),
            ("last published run", "yes" if body["current"] else f"no, that is {last.run_id}"),
        ],
        title="Warehouse",
    )
    if body["current"]:
        note(f'open it: duckdb -readonly {link}; or: wealthos sql "from readme"')
    else:
        note("bring it up to date: wealthos warehouse rebuild")


@group.command()
def export(
    path: Annotated[Path, typer.Argument(help="File to write.", dir_okay=False)],
    full: Annotated[
        bool, typer.Option("--full/--as-published", help="With the whole factor history inside.")
    ] = True,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    root: options.Root = None,
    as_json: options.AsJson = False,
) -> None:
    """Write one self-contained DuckDB file to give away."""
    import shutil

    from wealthos_pipeline.cli.output import emit, err, out, size
    from wealthos_pipeline.cli.published import open_last
    from wealthos_pipeline.core.errors import ConfigError
    from wealthos_pipeline.data.storage import warehouse as room

    settings = options.load(root)
    run = open_last(settings)
    if path.exists() and not force:
        raise ConfigError(f"{path} exists; add --force to replace it.")
    if full:
        with err().status("writing every table …"):
            room.export_full(run.lake, run.manifest, path)
    else:
        room.connect(settings.root).close()
        shutil.copyfile((Path(settings.root) / room.LINK).resolve(), path)
    if as_json:
        emit({"file": str(path), "bytes": path.stat().st_size, "run_id": run.manifest.run_id})
    else:
        out().print(f"{path}, {size(path)}", markup=False)


@group.command()
def rebuild(root: options.Root = None, as_json: options.AsJson = False) -> None:
    """Make the warehouse of the last published run again, from nothing."""
    from wealthos_pipeline.cli.output import emit, err, out, size
    from wealthos_pipeline.cli.published import open_last
    from wealthos_pipeline.data.storage import warehouse as room
    from wealthos_pipeline.data.storage.lock import lock

    settings = options.load(root)
    run = open_last(settings)
    with lock(settings.root, "warehouse rebuild"), err().status("building the warehouse …"):
        path = room.publish(run.lake, run.manifest, full=True)
    if as_json:
        emit({"file": str(path), "bytes": path.stat().st_size, "run_id": run.manifest.run_id})
    else:
        out().print(f"{path}, {size(path)}", markup=False)
