"""``wealthos sql``: one query over the published warehouse."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wealthos_pipeline.cli import options

if TYPE_CHECKING:
    from datetime import datetime

    import polars as pl

    from wealthos_pipeline.cli.published import Published


class Format(StrEnum):
    """How rows are printed."""

    table = "table"
    csv = "csv"
    json = "json"
    parquet = "parquet"


def sql(
    query: Annotated[
        str,
        typer.Argument(
            help='SQL, e.g. "from portfolio.nav limit 5"; - reads it from standard input.'
        ),
    ],
    format_: Annotated[
        Format, typer.Option("--format", "-f", help="How to print rows.")
    ] = Format.table,
    as_of: Annotated[
        str | None,
        typer.Option("--as-of", help="Answer as it was known then: a day or an instant."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write to this file.", dir_okay=False)
    ] = None,
    limit: Annotated[
        int, typer.Option("--limit", "-n", min=1, help="Most rows to give.")
    ] = 1_000_000,
    root: options.Root = None,
    as_json: options.AsJson = False,
) -> None:
    """Ask the warehouse. It stays readable while a run is writing.

    Schemas are the layers: clean, factors, models, portfolio, monitor, record, meta. With --as-of
    the tables hold what was known at that time.
    """
    import sys

    from wealthos_pipeline.cli.published import instant, open_last

    settings = options.load(root)
    text = sys.stdin.read() if query == "-" else query
    chosen = Format.json if as_json else format_
    if as_of is None:
        from wealthos_pipeline.data.storage import warehouse

        rows = warehouse.query(settings.root, text, limit).head(limit)
    else:
        run = open_last(settings)
        rows = query_as_of(run, text, instant(as_of, run.lake.calendar), limit)
    write(rows, chosen, output)


def write(rows: pl.DataFrame, form: Format, output: Path | None) -> None:
    """Print ``rows``, or write them to ``output``."""
    import io
    import sys

    from wealthos_pipeline.cli.output import emit, frame, note
    from wealthos_pipeline.core.errors import ConfigError

    if form is Format.parquet:
        if output is None and sys.stdout.isatty():
            raise ConfigError("Parquet is not for a terminal: add --output FILE or redirect.")
        if output is not None:
            rows.write_parquet(output)
        else:
            body = io.BytesIO()
            rows.write_parquet(body)
            sys.stdout.buffer.write(body.getvalue())
    elif form is Format.csv:
        if output is not None:
            rows.write_csv(output)
        else:
            sys.stdout.write(rows.write_csv())
    elif form is Format.json:
        if output is not None:
            rows.write_json(output)
        else:
            emit(rows.to_dicts())
    elif output is not None:
        raise ConfigError("a table is for the terminal: with --output say --format csv or parquet.")
    else:
        frame(rows)
        if sys.stdout.isatty():
            note(f"{rows.height:,} row{'' if rows.height == 1 else 's'}")
    if output is not None:
        note(f"{rows.height:,} rows in {output}")


def query_as_of(run: Published, query: str, at: datetime, limit: int) -> pl.DataFrame:
    """Answer ``query`` from the run's tables as they were known at ``at``.

    Only the tables that the query names are read. Errors of the query come as ConfigError.
    """
    import duckdb

    from wealthos_pipeline.cli.lookup import find
    from wealthos_pipeline.core.errors import ConfigError

    with duckdb.connect(":memory:") as memory:
        memory.execute("SET TimeZone = 'UTC'")
        try:
            named = sorted(memory.get_table_names(query, qualified=True))
        except duckdb.Error as error:
            raise ConfigError(f"the query cannot be read: {error}") from None
        for name in named:
            table = find(
                "table", name.replace('"', ""), run.snapshot.tables(), "wealthos data status"
            )
            schema, short = table.split(".", 1)
            memory.execute(f'CREATE SCHEMA IF NOT EXISTS "{schema}"')
            rows = run.snapshot.read(table, as_of=at)
            memory.register("incoming", rows)
            memory.execute(f'CREATE TABLE "{schema}"."{short}" AS FROM incoming')
            memory.unregister("incoming")
        try:
            return memory.sql(f"FROM ({query.strip().rstrip(';')}) LIMIT {limit}").pl()
        except duckdb.Error as error:
            raise ConfigError(f"the query failed: {error}") from None
