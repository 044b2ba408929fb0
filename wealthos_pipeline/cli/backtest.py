"""``wealthos backtest``: how each mandate would have done."""

from __future__ import annotations

from typing import Annotated

import typer

from wealthos_pipeline.cli import options


def backtest(
    mandate: Annotated[
        str | None, typer.Argument(help="One mandate, by year; all of them without it.")
    ] = None,
    root: options.Root = None,
    as_json: options.AsJson = False,
) -> None:
    """Show the stored backtests beside 1/N of the same universe, after costs.

    With a MANDATE: one row a calendar year.
    """
    import polars as pl

    from wealthos_pipeline.cli.lookup import find
    from wealthos_pipeline.cli.output import emit, frame, note
    from wealthos_pipeline.cli.published import calendar, open_last
    from wealthos_pipeline.portfolio import performance

    settings = options.load(root)
    run = open_last(settings)
    nav = run.read("portfolio.nav").filter(pl.col("run_kind") == "backtest")
    rates = performance.risk_free(run.read("clean.series"), calendar(settings))
    if mandate is None:
        rows = performance.summary(nav, rates)
    else:
        names = nav["mandate"].unique().to_list()
        name = find("mandate", mandate, names, "wealthos portfolio mandates")
        rows = performance.by_year(nav.filter(pl.col("mandate") == name), rates)
    if as_json:
        emit(rows.to_dicts())
        return
    shown = rows.drop("run_kind") if "run_kind" in rows.columns else rows
    frame(shown, formats={c: spec for c in shown.columns if (spec := _spec(c))})
    biases = run.read("meta.catalog").filter(pl.col("kind") == "bias")
    for title in biases["title"]:
        note(f"bias of the data: {title}")


def _spec(column: str) -> str:
    """Percent for returns, volatilities and drawdowns; two digits for ratios."""
    words = column.lower()
    percent = (
        "return",
        "volatility",
        "drawdown",
        "turnover",
        "cost",
        "var_",
        "cagr",
        "hit",
        "share",
    )
    if any(w in words for w in percent):
        return ".1%"
    if any(w in words for w in ("sharpe", "sortino", "calmar", "ratio", "skew", "kurtosis")):
        return ".2f"
    return "d" if words == "year" else ""
