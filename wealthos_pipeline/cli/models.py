"""``wealthos models``: what was fitted, on what, and how it did."""

from __future__ import annotations

from typing import Any

import typer

from wealthos_pipeline.cli import options

group = typer.Typer(no_args_is_help=True, help="Models: fits and how they did.")


@group.callback()
def about() -> None:
    """Models: fits and how they did."""


@group.command("list")
def list_(root: options.Root = None, as_json: options.AsJson = False) -> None:
    """List the models of the last run with their newest fits and out-of-sample results."""
    import polars as pl

    from wealthos_pipeline.cli.output import cell, emit, note, table
    from wealthos_pipeline.cli.published import open_last

    run = open_last(options.load(root))
    registry = run.read("models.registry")
    evaluation = run.read("models.evaluation")
    rows: list[dict[str, Any]] = []
    for model, kind in registry.select("model", "kind").unique().sort("model", "kind").iter_rows():
        fits = registry.filter((pl.col("model") == model) & (pl.col("kind") == kind))
        stale = fits.filter(pl.col("stale_since").is_not_null())
        newest = fits.sort("refit_date", "model_id").row(-1, named=True)
        judged = evaluation.filter(pl.col("model") == model) if kind == "walk_forward" else None
        rows.append(
            {
                "model": model,
                "kind": kind,
                "fits": fits.height,
                "stale": stale.height,
                "stale_since": stale["stale_since"].max(),
                "stale_reason": newest["stale_reason"] or stale["stale_reason"].max(),
                "newest": newest["model_id"],
                "refit_date": newest["refit_date"],
                "trained": [newest["train_start"], newest["train_cutoff"]],
                "rows": newest["rows"],
                "horizon": newest["horizon"],
                "dates": None if judged is None else judged.height,
                "mean_rank_ic": None if judged is None else judged["rank_ic"].mean(),
                "mean_spread": None if judged is None else judged["spread"].mean(),
            }
        )
    if as_json:
        emit(rows)
        return
    table(
        ["model", "kind", "fits", "stale", "last refit", "trained on", "rows", "rank IC", "spread"],
        [
            [
                r["model"],
                r["kind"],
                str(r["fits"]),
                str(r["stale"] or "–"),
                str(r["refit_date"]),
                f"{r['trained'][0]} … {r['trained'][1]}",
                f"{r['rows']:,}",
                cell(r["mean_rank_ic"], "+.4f"),
                cell(r["mean_spread"], "+.2%"),
            ]
            for r in rows
        ],
        right=("fits", "stale", "rows", "rank IC", "spread"),
    )
    horizons = ", ".join(sorted({str(r["horizon"]) for r in rows}))
    note(f"rank IC and spread: means over walk-forward dates, outcomes over {horizons} sessions")
    for r in rows:
        if r["stale"]:
            note(
                f"{r['stale']} {r['kind']} fits of {r['model']} stand though their data were restated "
                f"({r['stale_reason']}); `wealthos run --full` makes them again"
            )
