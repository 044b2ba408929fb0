"""``wealthos models search``: parameters chosen within the training side of every fit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from wealthos_pipeline.cli import options
from wealthos_pipeline.core.errors import ConfigError

if TYPE_CHECKING:
    import polars as pl

    from wealthos_pipeline.utils.config import Settings


def search(
    name: Annotated[
        str | None,
        typer.Argument(metavar="NAME", help="Model whose file has a key `search`; default: all."),
    ] = None,
    full: Annotated[
        bool, typer.Option("--full", help="Search again, also what was searched on the same rows.")
    ] = False,
    root: options.Root = None,
    as_json: options.AsJson = False,
) -> None:
    """Search parameters of the models of a run; the fits of the next run use what was found.

    Nested: each fit's parameters are chosen from data before it, with purged folds. Every configuration that
    is tried counts as a trial. What was searched on the same rows before stands.
    """
    from wealthos_pipeline.cli.execution import execute
    from wealthos_pipeline.cli.output import emit, note
    from wealthos_pipeline.cli.progress import StageDisplay
    from wealthos_pipeline.cli.published import open_last
    from wealthos_pipeline.data.storage.lock import refuse_held

    settings = options.load(root)
    wanted = _wanted(settings, name)
    open_last(settings)  # nothing published: there is nothing to search on
    refuse_held(settings.root)
    with StageDisplay(f"wealthos models search → {settings.root}", quiet=as_json) as display:
        execute("search", settings, options.flags(root), display, full=full)
    rows = _rows(open_last(settings).read("models.searches"), wanted)
    if as_json:
        emit(rows)
        return
    _show(rows)
    note("the fits of the next run use them: `wealthos run`")


def _wanted(settings: Settings, name: str | None) -> list[str]:
    """The models to show. ConfigError where none has a search, or the one that was asked for has none."""
    from wealthos_pipeline.cli.lookup import find
    from wealthos_pipeline.ml import specs

    models = {m.name: m for m in specs.load(settings.models)}
    able = [n for n, m in models.items() if m.search is not None]
    if name is not None:
        found = find("model", name, models, "wealthos models list")
        if found not in able:
            raise ConfigError(
                f"{found} has nothing to search: its file has no key `search` (trials, folds and a space of "
                f"parameters). Models that have one: {', '.join(able) or 'none'}."
            )
        return [found]
    if not able:
        raise ConfigError(
            f"none of the models {', '.join(models)} has a key `search` in its file (trials, folds and a "
            "space of parameters), so there is nothing to search"
        )
    return able


def _rows(searches: pl.DataFrame, wanted: list[str]) -> list[dict[str, Any]]:
    """The newest search of each model and refit."""
    import polars as pl

    mine = searches.filter(pl.col("model").is_in(wanted)).sort("model", "refit_date")
    columns = ["model", "refit_date", "params", "score", "own_score", "trials", "seed"]
    return mine.select(c for c in columns if c in mine.columns).to_dicts()


def _show(rows: list[dict[str, Any]]) -> None:
    from wealthos_pipeline.cli.output import cell, table

    table(
        ["model", "refit", "parameters", "rank IC", "as declared", "trials"],
        [
            [r["model"], str(r["refit_date"]), r["params"], cell(r["score"], "+.4f"), cell(r["own_score"], "+.4f"), cell(r["trials"])]
            for r in rows
        ],
        right=("rank IC", "as declared", "trials"),
    )  # fmt: skip
