"""``wealthos portfolio stress``: what the holdings would lose in past crises and scenarios of one's own."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wealthos_pipeline.cli import options

if TYPE_CHECKING:
    import polars as pl

    from wealthos_pipeline.cli.published import Published
    from wealthos_pipeline.portfolio.books import Book
    from wealthos_pipeline.portfolio.stress import Market, Outcome


def stress(
    mandate: Annotated[
        str | None, typer.Argument(help="One mandate; all of them without it.")
    ] = None,
    scenario: Annotated[
        str | None, typer.Option("--scenario", help="One scenario, name by name.")
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option("--file", help="A scenario in YAML, tried without a run.", dir_okay=False),
    ] = None,
    root: options.Root = None,
    as_json: options.AsJson = False,
) -> None:
    """Show what the holdings of the latest close would gain or lose, scenario by scenario.

    Live holdings where there are some, else those of the backtest. Computed from the last published run.
    """
    from wealthos_pipeline.cli.lookup import find
    from wealthos_pipeline.cli.output import emit
    from wealthos_pipeline.cli.published import open_last
    from wealthos_pipeline.core.errors import ConfigError
    from wealthos_pipeline.portfolio import scenario_files
    from wealthos_pipeline.portfolio import stress as room
    from wealthos_pipeline.utils.config import inputs_dir

    settings = options.load(root)
    run = open_last(settings)
    market, books = _situation(run)
    if file is None:
        written = scenario_files.load(settings.portfolio.scenarios or inputs_dir() / "scenarios")
    else:
        written = scenario_files.read([file])
        scenario = scenario or written[0].name
        faults = written[0].unknown(
            set(market.symbols.values()), set(market.sectors.values()), market.model.factors
        )
        if faults:
            lines = "\n".join(f"  - {fault}" for fault in faults)
            raise ConfigError(f"{file.name} cannot be computed:\n{lines}")
    if mandate is not None:
        name = find("mandate", mandate, [b.mandate for b in books], "wealthos portfolio mandates")
        books = [b for b in books if b.mandate == name]
    found = [(book, one) for book in books for one in room.outcomes(book, market, written)]
    if scenario is not None:
        names = [one.scenario for _, one in found]
        chosen = find("scenario", scenario, names, "wealthos portfolio stress")
        found = [(book, one) for book, one in found if one.scenario == chosen]
    if as_json:
        emit([_plain(book, one, market, names=scenario is not None) for book, one in found])
    else:
        _show(found, market, names=scenario is not None)


def _situation(run: Published) -> tuple[Market, list[Book]]:
    """The market of the run's latest close, and what is held there."""
    import polars as pl

    from wealthos_pipeline.cli.published import calendar
    from wealthos_pipeline.core.errors import PortfolioError
    from wealthos_pipeline.portfolio import books, decision, risk, stress

    exposures = run.snapshot.scan("portfolio.risk_exposures")
    day = exposures.select(pl.col("date").max()).collect().item()
    if day is None:
        raise PortfolioError(
            "the last run has no risk model, so nothing can be stressed; start one with `wealthos run`"
        )
    latest = pl.col("date") == day
    model = risk.from_frames(
        exposures.filter(latest).collect(),
        run.snapshot.scan("portfolio.risk_factors").filter(latest).collect(),
    )[day]
    prices = run.snapshot.scan("clean.prices").select(
        "instrument_id", "date", "slot", "close", "split_index", "tr_index", "flags"
    )
    windows = {}
    for window in stress.WINDOWS:
        if window.end <= day:
            near = [pl.col("date").is_between(*end) for end in stress.ends(window)]
            windows[window.name] = stress.window_returns(
                prices.filter(pl.any_horizontal(near)).collect(), window
            )
    names = decision.labels(run.read("clean.instruments"), day)
    held = books.live(run.read("portfolio.targets"), run.read("portfolio.trades"), day)
    recent = prices.filter(pl.col("date") > day - timedelta(days=45)).collect()
    nav = run.read("portfolio.nav").filter(latest & (pl.col("run_kind") == "backtest"))
    tested = books.backtest(
        run.read("portfolio.positions"), nav, recent, calendar(run.settings), [day]
    )
    live = {b.mandate for b in held if b.ids}
    chosen = [b for b in held if b.ids] + [b for b in tested if b.ids and b.mandate not in live]
    return stress.Market(model, names.symbol, names.sector, windows), chosen


def _plain(book: Book, one: Outcome, market: Market, *, names: bool) -> dict[str, object]:
    body: dict[str, object] = {
        "mandate": book.mandate,
        "run_kind": book.run_kind,
        "date": book.date,
        "scenario": one.scenario,
        "title": one.title,
        "kind": one.kind,
        "pnl": one.pnl,
        "covered": one.covered,
        "proxied": one.proxied,
        "detail": one.detail,
    }
    if names:
        body["names"] = _names(book, one, market).to_dicts()
    return body


def _names(book: Book, one: Outcome, market: Market) -> pl.DataFrame:
    """Symbol, weight and part of the outcome of each name, the worst first."""
    import polars as pl

    parts = one.parts
    return pl.DataFrame(
        {
            "symbol": [market.symbols.get(i, i) for i in book.ids],
            "weight": book.weights,
            "pnl": parts if parts is not None else [None] * len(book.ids),
        },
        schema_overrides={"pnl": pl.Float64},
    ).sort("pnl", "symbol")


def _show(found: list[tuple[Book, Outcome]], market: Market, *, names: bool) -> None:
    from wealthos_pipeline.cli.output import cell, frame, note, table

    for mandate in dict.fromkeys(book.mandate for book, _ in found):
        mine = [(book, one) for book, one in found if book.mandate == mandate]
        book = mine[0][0]
        title = f"{mandate}: holdings of {book.date} ({book.run_kind})"
        rows = [
            [one.scenario, one.title, cell(one.pnl, "+.1%"), cell(one.proxied, ".0%"), _worst(b, one, market)]
            for b, one in mine
        ]  # fmt: skip
        table(
            ["scenario", "what", "gain or loss", "by model", "worst name"],
            rows,
            title=title,
            right=("gain or loss", "by model"),
        )
        for b, one in mine:
            if names and one.parts is not None:
                formats = {"weight": ".1%", "pnl": "+.2%"}
                frame(_names(b, one, market), title=one.title, formats=formats)
            if names or one.parts is None:
                note(f"{one.scenario}: {one.detail}")
    note("of net asset value, first order: nothing is rebalanced and trading costs nothing")


def _worst(book: Book, one: Outcome, market: Market) -> str:
    from wealthos_pipeline.cli.output import cell

    if one.parts is None or not len(one.parts) or one.parts.min() >= 0:
        return "–"
    i = int(one.parts.argmin())
    return f"{market.symbols.get(book.ids[i], book.ids[i])} {cell(float(one.parts[i]), '+.1%')}"
