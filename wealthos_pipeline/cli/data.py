"""``wealthos data``: what the lake holds, what was rejected, what was restated."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from wealthos_pipeline.cli import options
from wealthos_pipeline.cli.quarantine import quarantine

if TYPE_CHECKING:
    import polars as pl

    from wealthos_pipeline.cli.published import Published

group = typer.Typer(no_args_is_help=True, help="Data: state, quarantine, history, migration.")


@group.command()
def status(root: options.Root = None, as_json: options.AsJson = False) -> None:
    """List the tables of the last run: rows, dates, versions; checks that did not pass."""
    import polars as pl

    from wealthos_pipeline.cli.output import cell, count, emit, facts, note, short_run, table
    from wealthos_pipeline.cli.published import open_last

    run = open_last(options.load(root))
    rows = [_extent(run, name) for name in run.snapshot.tables()]
    failed = run.read("meta.checks").filter(
        (pl.col("run_id") == run.manifest.run_id) & ~pl.col("success")
    )
    if as_json:
        body = {"run_id": run.manifest.run_id, "as_of": run.manifest.as_of}
        emit(body | {"tables": rows, "failed_checks": failed.to_dicts()})
        return
    m = run.manifest
    finished = f"{m.finished_at:%Y-%m-%d %H:%M} UTC"
    facts(
        [
            ("run", short_run(m.run_id)),
            ("through", m.as_of),
            ("source", m.source),
            ("finished", finished),
        ],
        title="Last published run",
    )
    table(
        ["table", "rows", "first", "last", "version"],
        [
            [r["table"], f"{r['rows']:,}", cell(r["first"]), cell(r["last"]), str(r["version"])]
            for r in rows
        ],
        right=("rows", "version"),
    )
    if failed.height:
        table(
            ["table", "check", "column", "severity", "rows that fail"],
            [
                [c["table"], c["check"], c["column"], c["severity"], f"{c['unexpected']:,}"]
                for c in failed.iter_rows(named=True)
            ],
            title="Checks that did not pass",
            right=("rows that fail",),
        )
    rejected = run.read("clean.quarantine").height
    if rejected:
        note(f"in quarantine: {count(rejected, 'raw row')}; see wealthos data quarantine")


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


group.command()(quarantine)


@group.command()
def history(
    symbol: Annotated[str, typer.Argument(help="Symbol of an instrument.")],
    on: Annotated[str | None, typer.Option("--date", help="One session only.")] = None,
    limit: options.Limit = 50,
    root: options.Root = None,
    as_json: options.AsJson = False,
) -> None:
    """Show every bar of SYMBOL that was restated: what was believed, from when to when."""
    import polars as pl

    from wealthos_pipeline.cli.lookup import find
    from wealthos_pipeline.cli.output import emit, frame, note
    from wealthos_pipeline.cli.published import day, open_last

    run = open_last(options.load(root))
    wanted = day(on, "--date")
    ids = {s: i for i, s in run.symbols().items()}
    name = find("symbol", symbol, ids, 'wealthos sql "select symbol from clean.instruments"')
    rows = run.snapshot.scan("clean.prices_history").filter(pl.col("instrument_id") == ids[name])
    if wanted is not None:
        rows = rows.filter(pl.col("date") == wanted)
    else:
        rows = rows.filter(pl.len().over("date") > 1)
    columns = ["date", "open", "high", "low", "close", "volume", "dividend", "split_ratio"]
    columns += ["tr_index", "basis", "known_from", "known_to"]
    found = rows.select(columns).sort("date", "known_from").collect()
    if as_json:
        emit(found.head(limit).to_dicts())
        return
    if not found.height:
        which = f"of {wanted} " if wanted else ""
        note(
            f"no bar {which}of {name} was ever restated"
            if wanted is None
            else f"no bar {which}of {name}"
        )
        return
    told = ["date", "close", *(c for c in columns[1:7] if c != "close" and _said(found, c))]
    ends = pl.col("known_to").dt.strftime("%Y-%m-%d %H:%M")
    shown = found.head(limit).select(
        *told,
        "basis",
        pl.col("known_from").dt.strftime("%Y-%m-%d %H:%M").alias("believed from"),
        pl.when(pl.col("known_to").dt.year() == 9999)
        .then(pl.lit("now"))
        .otherwise(ends)
        .alias("to"),
    )
    frame(shown, title=f"{name}: versions of its bars (UTC)", formats={"close": ",.4f"})
    if found.height > limit:
        note(f"{found.height - limit:,} more; see them with --limit")


def _said(rows: pl.DataFrame, column: str) -> bool:
    """Whether a column says anything: not only nulls, not only a split of 1."""
    values = rows[column].drop_nulls()
    return bool(len(values)) and not (column == "split_ratio" and bool((values == 1.0).all()))


@group.command()
def migrate(root: options.Root = None, as_json: options.AsJson = False) -> None:
    """Bring a lake that an older program wrote to this program's layout."""
    from wealthos_pipeline.cli.output import emit, out
    from wealthos_pipeline.cli.published import open_lake
    from wealthos_pipeline.data.storage import migrations
    from wealthos_pipeline.data.storage.lock import lock

    settings = options.load(root)
    lake = open_lake(settings)
    with lock(lake.root, "migration"):
        done = migrations.migrate(lake)
    if as_json:
        emit({"lake_version": migrations.LAKE_VERSION, "done": done})
        return
    for step in done:
        out().print(f"[green]✓[/green] {step}")
    if not done:
        out().print(f"nothing to do: the lake has layout {migrations.LAKE_VERSION}")
