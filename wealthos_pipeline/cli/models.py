"""``wealthos models``: what was fitted, on what, and how it did."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from wealthos_pipeline.cli import (
    models_card,
    models_compare,
    models_decide,
    models_evaluate,
    models_search,
    models_train,
    options,
)

if TYPE_CHECKING:
    import polars as pl

    from wealthos_pipeline.cli.published import Published

group = typer.Typer(no_args_is_help=True, help="Models: train, judge, promote and roll back.")

_JUDGED = (
    "mean_rank_ic", "t", "detectable_ic", "sharpe_net", "psr", "dsr", "trials", "effective_trials",
    "pbo", "spa_p", "verdict",
)  # fmt: skip


@group.callback()
def about() -> None:
    """Models: train, judge, promote and roll back."""


@group.command("list")
def list_(root: options.Root = None, as_json: options.AsJson = False) -> None:
    """List the models of the last run: fits, champion, walk-forward and live results, what luck could do.

    The champion of a slot is marked. t is the most careful of three; below the detectable IC nothing can be
    told from these data.
    """
    from wealthos_pipeline.cli.output import emit
    from wealthos_pipeline.cli.published import open_last

    rows = _rows(open_last(options.load(root)))
    if as_json:
        emit(rows)
    else:
        _show(rows)


@group.command("families")
def families(as_json: options.AsJson = False) -> None:
    """List the families of models with their parameters: what `--set` and a YAML file may say."""
    from wealthos_pipeline.cli.output import emit, note, table
    from wealthos_pipeline.ml import predictors

    found = predictors.families()
    if as_json:
        emit(
            [
                {
                    "family": f.name,
                    "title": f.title,
                    "learns": f.learns,
                    "use": f.use,
                    "source": f.source,
                    "labels": list(f.labels),
                    "parameters": [
                        {
                            "name": p.name,
                            "default": p.default,
                            "type": p.kind,
                            "bounds": p.bounds,
                            "title": p.title,
                        }
                        for p in f.parameters
                    ],
                }
                for f in found
            ]
        )
        return
    table(
        ["family", "what it is", "when to take it"],
        [[f.name, f.title, f.use] for f in found],
    )
    table(
        ["family", "parameter", "default", "may be", "what"],
        [
            [f.name, p.name, str(p.default), " ".join((p.kind, p.bounds)).strip(), p.title]
            for f in found
            for p in f.parameters
        ],
    )
    note("try one: wealthos models train FAMILY --set PARAMETER=VALUE")


group.command("train")(models_train.train)
group.command("evaluate")(models_evaluate.evaluate)
group.command("compare")(models_compare.compare)
group.command("promote")(models_decide.promote)
group.command("rollback")(models_decide.rollback)
group.command("pin")(models_decide.pin)
group.command("unpin")(models_decide.unpin)
group.command("search")(models_search.search)
group.command("card")(models_card.card)


def _rows(run: Published) -> list[dict[str, Any]]:
    """One row a model and kind of fit."""
    import polars as pl

    from wealthos_pipeline.ml import champions, decisions, integrity, live

    registry, evaluation = run.read("models.registry"), run.read("models.evaluation")
    table = run.read("models.champions")
    slots = {s: champions.champion_at(table, s) for s in table["slot"].unique().sort()}
    came = {
        (r["model"], r["horizon"]): r
        for r in live.beside(run.read("models.live"), evaluation).to_dicts()
    }
    summary = {(r["model"], r["horizon"]): r for r in run.read("models.summary").to_dicts()}
    said = run.lake.read("raw.model_decisions")
    pins = decisions.pins(said, said["decided_at"].max()) if said.height else {}  # type: ignore[arg-type]
    rows: list[dict[str, Any]] = []
    for model, kind in registry.select("model", "kind").unique().sort("model", "kind").iter_rows():
        fits = registry.filter((pl.col("model") == model) & (pl.col("kind") == kind))
        stale = fits.filter(pl.col("stale_since").is_not_null())
        newest = fits.sort("refit_date", "model_id").row(-1, named=True)
        walked = kind == "walk_forward"
        key = (model, newest["horizon"])
        judged = _judged(evaluation, *key) if walked else None
        luck = summary.get(key, {}) if walked else {}
        rows.append(
            {
                "model": model,
                "kind": kind,
                "champion_of": [s for s, name in slots.items() if name == model],
                "pinned": pins[model]["model_id"] if model in pins and kind == "live" else None,
                "fits": fits.height,
                "stale": stale.height,
                "stale_since": stale["stale_since"].max(),
                "stale_reason": newest["stale_reason"] or stale["stale_reason"].max(),
                "damaged": [w for f in fits.iter_rows(named=True) if (w := integrity.damage(f))],
                "newest": newest["model_id"],
                "refit_date": newest["refit_date"],
                "trained": [newest["train_start"], newest["train_cutoff"]],
                "rows": newest["rows"],
                "horizon": newest["horizon"],
                "dates": None if judged is None else judged.height,
                "mean_rank_ic": None if judged is None else judged["rank_ic"].mean(),
                "mean_spread": None if judged is None else judged["spread"].mean(),
                "live": came.get(key) if not walked else None,
                **{name: luck[name] for name in _JUDGED if name in luck},
            }
        )
    return rows


def _judged(evaluation: pl.DataFrame, model: str, horizon: int) -> pl.DataFrame:
    import polars as pl

    return evaluation.filter((pl.col("model") == model) & (pl.col("horizon") == horizon))


def _show(rows: list[dict[str, Any]]) -> None:
    from wealthos_pipeline.cli.output import cell, note, table

    table(
        ["model", "kind", "champion", "fits", "stale", "last refit", "trained on", "rows"],
        [
            [
                r["model"], r["kind"], ", ".join(r["champion_of"]) or "–", str(r["fits"]),
                str(r["stale"] or "–"), str(r["refit_date"]), f"{r['trained'][0]} … {r['trained'][1]}",
                f"{r['rows']:,}",
            ]
            for r in rows
        ],
        right=("fits", "stale", "rows"),
    )  # fmt: skip
    walked = [r for r in rows if r["kind"] == "walk_forward"]
    live = {r["model"]: r["live"] for r in rows if r["live"]}
    columns = [
        "model", "horizon", "dates", "rank IC", "t", "detectable", "spread", "net Sharpe", "DSR", "trials",
        "live IC", "live dates",
    ]  # fmt: skip
    table(
        columns,
        [
            [
                r["model"], str(r["horizon"]), cell(r["dates"]), cell(r["mean_rank_ic"], "+.4f"),
                cell(r.get("t"), "+.1f"), cell(r.get("detectable_ic"), ".4f"),
                cell(r["mean_spread"], "+.2%"), cell(r.get("sharpe_net"), "+.2f"), cell(r.get("dsr"), ".2f"),
                cell(r.get("trials")), cell((live.get(r["model"]) or {}).get("mean_rank_ic"), "+.4f"),
                cell((live.get(r["model"]) or {}).get("dates")),
            ]
            for r in walked
        ],
        title="Walk-forward, and live as it was issued",
        right=columns[1:],
    )  # fmt: skip
    for r in walked:
        if r.get("verdict"):
            note(f"{r['model']}: {r['verdict']}")
    for r in rows:
        for words in r["damaged"]:
            note(words)
        if r["pinned"]:
            note(
                f"{r['model']}: the fit {r['pinned']} is pinned; `wealthos models unpin {r['model']}`"
            )
        if r["stale"]:
            note(
                f"{r['stale']} {r['kind']} fits of {r['model']} stand though their data were restated "
                f"({r['stale_reason']}); `wealthos run --full` makes them again"
            )
