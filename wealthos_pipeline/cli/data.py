"""``wealthos data``: what the lake holds, what was rejected, what was restated."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from wealthos_pipeline.cli import options
from wealthos_pipeline.cli.quarantine import quarantine
from wealthos_pipeline.cli.status import status

if TYPE_CHECKING:
    import polars as pl


group = typer.Typer(no_args_is_help=True, help="Data: state, quarantine, history, migration.")
group.command()(status)


group.command()(quarantine)


@group.command()
def history(
    symbol: Annotated[str, typer.Argument(help="Symbol of an instrument.")],
    on: Annotated[str | None, typer.Option("--date", help="One session only.")] = None,
    limit: options.Limit = 50,
    root: options.Root = None,
    as_json: options.AsJson = False,
) -> None:
    """Show every bar of SYMBOL that was restated or taken back: what was believed, and when."""
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
        withdrawn = pl.col("known_to").dt.year() < 9999  # a spike: no version follows
        rows = rows.filter((pl.len().over("date") > 1) | withdrawn)
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
    if done:
        out().print("next: wealthos run, which makes again what the change touches")
    else:
        out().print(f"nothing to do: the lake has layout {migrations.LAKE_VERSION}")
