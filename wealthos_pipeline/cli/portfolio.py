"""``wealthos portfolio``: what each mandate should hold, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from wealthos_pipeline.cli import (
    options,
    portfolio_attribution,
    portfolio_explain,
    portfolio_frontier,
    portfolio_optimise,
    portfolio_orders,
    portfolio_stress,
    portfolio_whatif,
)

if TYPE_CHECKING:
    import polars as pl

    from wealthos_pipeline.cli.published import Published

group = typer.Typer(no_args_is_help=True, help="Portfolios: targets, trades, reasons.")
group.command()(portfolio_attribution.attribution)
group.command()(portfolio_optimise.optimise)
group.command()(portfolio_whatif.whatif)
group.command()(portfolio_frontier.frontier)
group.command()(portfolio_stress.stress)
for _command in (portfolio_orders.orders, portfolio_orders.shortfall, portfolio_orders.book):
    group.command()(_command)


@group.command()
def mandates(root: options.Root = None, as_json: options.AsJson = False) -> None:
    """List the mandates as they are written, with their last decision."""
    import polars as pl

    from wealthos_pipeline.cli.output import emit, note, table
    from wealthos_pipeline.cli.published import open_last
    from wealthos_pipeline.core.errors import NoManifestError
    from wealthos_pipeline.portfolio import mandates as room
    from wealthos_pipeline.utils.config import inputs_dir

    settings = options.load(root)
    folder = settings.portfolio.mandates or inputs_dir() / "mandates"
    written = room.load(folder)
    try:
        solves = last_rows(open_last(settings).read("portfolio.solves"), "live")
    except NoManifestError:
        solves = None
    rows = []
    for m in written:
        said = None if solves is None else solves.filter(pl.col("mandate") == m.name)
        decided = None if said is None or not said.height else said.row(0, named=True)
        rows.append(m.model_dump(mode="json") | {"last_decision": decided})
    if as_json:
        emit(rows)
        return
    table(
        ["mandate", "title", "objective", "rebalance", "max weight", "last decision"],
        [
            [
                r["name"],
                r["title"],
                r["objective"].replace("_", " "),
                r["rebalance"],
                f"{r['max_weight']:.0%}",
                _decision(r),
            ]
            for r in rows
        ],
        right=("max weight",),
    )
    note(f"written in {folder}")


def _decision(mandate: dict[str, Any]) -> str:
    """The state of a mandate's last live decision, in a word."""
    if not mandate["live"]:
        return "not live"
    decided = mandate["last_decision"]
    return "–" if decided is None else str(decided["status"])


@group.command()
def show(
    mandate: Annotated[str, typer.Argument(help="Name of a mandate.")],
    backtest: Annotated[
        bool, typer.Option("--backtest", help="The last decision of the backtest instead.")
    ] = False,
    root: options.Root = None,
    as_json: options.AsJson = False,
) -> None:
    """Show the last decision: weights before and after, why, and what it costs."""
    import polars as pl

    from wealthos_pipeline.cli.lookup import find
    from wealthos_pipeline.cli.output import emit, facts, frame, note
    from wealthos_pipeline.cli.published import open_last

    run = open_last(options.load(root))
    kind = "backtest" if backtest else "live"
    solves = run.read("portfolio.solves").filter(pl.col("run_kind") == kind)
    name = find("mandate", mandate, solves["mandate"].unique(), "wealthos portfolio mandates")
    solve = solves.filter(pl.col("mandate") == name).sort("date").row(-1, named=True)
    targets = _of(run, "portfolio.targets", name, kind, solve["date"])
    trades = _of(run, "portfolio.trades", name, kind, solve["date"])
    if as_json:
        emit({"solve": solve, "targets": targets.to_dicts(), "trades": trades.to_dicts()})
        return
    pairs: list[tuple[str, object]] = [("decided at the close of", solve["date"])]
    pairs += [("status", solve["status"]), ("in words", solve["message"])]
    done = solve["status"] == "optimal"
    if done and solve["volatility"] is not None:
        pairs.append(("volatility", f"{solve['volatility']:.1%} a year, forecast"))
    if done and solve["turnover"] is not None:
        pairs.append(("turnover", f"{solve['turnover']:.1%} one-way"))
    if done and solve["ic"] is not None:
        pairs.append(("IC used", f"{solve['ic']:.4f}, shrunk, out of sample"))
    facts([p for p in pairs if p[1] is not None], title=f"{name} ({kind})")
    held = targets.filter((pl.col("weight").abs() > 5e-5) | (pl.col("weight_before").abs() > 5e-5))
    if held.height:
        columns = ["symbol", "weight_before", "weight", "alpha", "volatility", "risk_contribution"]
        percent = dict.fromkeys(columns, ".1%") | {"alpha": "+.2%"}
        frame(
            held.sort("weight", descending=True).select(columns), title="Weights", formats=percent
        )
    if trades.height:
        shown = trades.sort(pl.col("value").abs(), descending=True)
        columns = ["symbol", "side", "weight_before", "weight", "value", "cost", "reason"]
        formats = {"weight_before": ".1%", "weight": ".1%", "value": "+,.0f", "cost": ",.0f"}
        frame(shown.select(columns), title="Trades", formats=formats)
        note(f"why one name is in or out: wealthos portfolio explain {shown['symbol'][0]}")


@group.command()
def explain(
    symbol: Annotated[str, typer.Argument(help="Symbol of an instrument.")],
    mandate: Annotated[
        str | None,
        typer.Option("--mandate", help="Decide again for one mandate: what pulls at the name."),
    ] = None,
    root: options.Root = None,
    as_json: options.AsJson = False,
) -> None:
    """Say why each mandate wants more or less of one name: scores, predictions, trade reasons.

    With --mandate: what expected return, risk, cost and each limit contribute, in basis points.
    """
    from wealthos_pipeline.cli.lookup import find
    from wealthos_pipeline.cli.output import cell, emit, facts, note, table
    from wealthos_pipeline.cli.published import open_last

    run = open_last(options.load(root))
    by_symbol = {s: i for i, s in run.symbols().items()}
    name = find("symbol", symbol, by_symbol, 'wealthos sql "select symbol from clean.instruments"')
    body = explanation(run, name, by_symbol[name])
    if mandate is not None:
        body["decision"] = portfolio_explain.pulled(run, mandate, by_symbol[name])
    if as_json:
        emit(body)
        return
    about = body["instrument"]
    facts(
        [
            ("instrument", about["instrument_id"]),
            ("name", about["name"]),
            ("sector", _sector(about["sector"], body["sector_static"])),
            ("last close", f"{cell(body['close'])} on {body['date']}"),
        ],
        title=name,
    )
    if body["scores"]:
        table(
            ["factor", "score"],
            [[s["factor"], cell(s["score"], "+.2f")] for s in body["scores"]],
            title=f"Strongest factor scores on {body['scores_date']} (standard deviations)",
            right=("score",),
        )
    if body["predictions"]:
        table(
            ["model", "date", "z", "rank", "fit"],
            [
                [p["model"], str(p["date"]), cell(p["z"], "+.2f"), p["rank"], p["model_id"]]
                for p in body["predictions"]
            ],
            title="Live predictions",
            right=("z",),
        )
    if body["targets"]:
        table(
            ["mandate", "before", "target", "alpha", "risk", "decision"],
            [
                [
                    t["mandate"],
                    cell(t["weight_before"], ".1%"),
                    cell(t["weight"], ".1%"),
                    cell(t["alpha"], "+.2%"),
                    cell(t["risk_contribution"], ".1%"),
                    t["reason"] or "no trade",
                ]
                for t in body["targets"]
            ],
            title="What the mandates want",
            right=("before", "target", "alpha", "risk"),
        )
    if mandate is not None:
        portfolio_explain.show(body["decision"])
    elif body["targets"]:
        note(
            f"what pulls at it: wealthos portfolio explain {name} --mandate {body['targets'][0]['mandate']}"
        )


def _sector(sector: str | None, static: str | None) -> str | None:
    return f"{sector} ({static[0].lower()}{static[1:]})" if sector and static else sector


def explanation(run: Published, symbol: str, instrument: str) -> dict[str, Any]:
    """Everything that the last run says about one instrument, as plain data."""
    import polars as pl

    def own(table: str) -> pl.DataFrame:
        return run.snapshot.scan(table).filter(pl.col("instrument_id") == instrument).collect()

    about = run.read("clean.instruments").filter(pl.col("instrument_id") == instrument)
    bars = own("clean.prices").sort("date").tail(1)
    scores = own("factors.scores_equity").sort("date").tail(1)
    live = run.read("models.predictions").filter(pl.col("kind") == "live")
    live = live.filter(pl.col("date") == pl.col("date").max().over("model"))
    ranked = live.with_columns(
        pl.col("z").rank("min", descending=True).over("model").alias("place"),
        pl.len().over("model").alias("names"),
    ).filter(pl.col("instrument_id") == instrument)
    targets = last_rows(run.read("portfolio.targets"), "live")
    trades = last_rows(run.read("portfolio.trades"), "live").select(
        "mandate", "instrument_id", "side", "reason"
    )
    decided = targets.filter(pl.col("instrument_id") == instrument).join(
        trades, on=["mandate", "instrument_id"], how="left"
    )
    biases = run.read("meta.catalog").filter(
        (pl.col("kind") == "bias") & (pl.col("name") == "static_sectors")
    )
    return {
        "symbol": symbol,
        "instrument": about.sort("valid_from").row(-1, named=True),
        "sector_static": biases["title"][0] if biases.height else None,
        "date": bars["date"][0] if bars.height else None,
        "close": bars["close"][0] if bars.height else None,
        "scores_date": scores["date"][0] if scores.height else None,
        "scores": _strongest(scores),
        "predictions": [
            {k: r[k] for k in ("model", "date", "z", "model_id")}
            | {"rank": f"{r['place']} of {r['names']}"}
            for r in ranked.sort("model").iter_rows(named=True)
        ],
        "targets": [
            {
                k: r[k]
                for k in (
                    "mandate", "date", "weight_before", "weight", "alpha", "volatility",
                    "risk_contribution", "side", "reason",
                )
            }
            for r in decided.sort("mandate").iter_rows(named=True)
        ],
    }  # fmt: skip


def last_rows(frame: pl.DataFrame, kind: str) -> pl.DataFrame:
    """Rows of the last decision date of a run kind, over all mandates."""
    import polars as pl

    rows = frame.filter(pl.col("run_kind") == kind)
    return rows.filter(pl.col("date") == rows["date"].max()) if rows.height else rows


def _strongest(scores: pl.DataFrame, n: int = 8) -> list[dict[str, Any]]:
    if not scores.height:
        return []
    row = scores.drop("date", "instrument_id").row(0, named=True)
    known = [(k, v) for k, v in row.items() if v is not None and v == v]
    known.sort(key=lambda kv: (-abs(kv[1]), kv[0]))
    return [{"factor": k, "score": v} for k, v in known[:n]]


def _of(run: Published, table: str, mandate: str, kind: str, day: object) -> pl.DataFrame:
    import polars as pl

    rows = (
        run.snapshot.scan(table)
        .filter(
            (pl.col("mandate") == mandate)
            & (pl.col("run_kind") == kind)
            & (pl.col("date") == pl.lit(day))
        )
        .collect()
    )
    return rows.with_columns(pl.col("instrument_id").replace(run.symbols()).alias("symbol"))
