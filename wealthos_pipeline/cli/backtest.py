"""``wealthos backtest``: how each mandate would have done."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from wealthos_pipeline.cli import options

if TYPE_CHECKING:
    import polars as pl


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
    from wealthos_pipeline.cli.output import emit, note
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
    show(rows, yearly=mandate is not None)
    biases = run.read("meta.catalog").filter(pl.col("kind") == "bias")
    for title in biases["title"]:
        note(f"bias of the data: {title}")


_COLUMNS = (
    ("annual_return", "return", "+.1%"),
    ("annual_volatility", "volatility", ".1%"),
    ("sharpe", "Sharpe", ".2f"),
    ("sharpe_excess", "over rf", ".2f"),
    ("max_drawdown", "worst loss", ".1%"),
    ("annual_turnover", "turnover", ".0%"),
    ("annual_cost", "cost", ".2%"),
    ("mean_names", "names", ".0f"),
)
_NAMES = {"equal_weight": "1/N (equal_weight)"}


def show(rows: pl.DataFrame, *, yearly: bool) -> None:
    """Print the summary; a mandate that never held anything says so instead of zeros."""
    from wealthos_pipeline.cli.output import cell, note, table

    first = "year" if yearly else "mandate"
    columns = [
        ("total_return", *c[1:]) if yearly and c[0] == "annual_return" else c for c in _COLUMNS
    ]
    body, idle = [], []
    for i, r in enumerate(rows.iter_rows(named=True)):
        held = r["mean_names"] is not None and r["mean_names"] > 0
        numbers = [cell(r[c], spec) if held else "–" for c, _, spec in columns]
        name = str(r[first]) if yearly else _NAMES.get(r[first], r[first])
        body.append([name, *([] if yearly else [f"{r['start'].year}–{r['end'].year}"]), *numbers])
        if not held:
            idle.append(i)
    headings = [first, *([] if yearly else ["years"]), *(h for _, h, _ in columns)]
    table(headings, body, right=headings[1:], dim=idle)
    if yearly:
        note(
            "return: of the sessions of the calendar year, as they were; the rest as a year of 252"
        )
    else:
        note(
            "a year of 252 sessions, after costs; Sharpe with nothing deducted; turnover is one-way"
        )
        if shares := [r for r in rows["risk_free_coverage"] if r]:
            part = (
                "" if min(shares) >= 1 else f", on the {min(shares):.0%} of sessions that have one"
            )
            note(f"over rf: the same ratio over the risk-free rate{part}")
    if idle and not yearly:
        note("– : never invested, because its limits contradict each other")
