"""``wealthos backtest``: how each mandate would have done."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wealthos_pipeline.cli import options

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from datetime import date

    import polars as pl

    from wealthos_pipeline.cli.published import Published
    from wealthos_pipeline.core.mandate import Mandate
    from wealthos_pipeline.utils.config import Settings


def backtest(
    mandate: Annotated[
        str | None, typer.Argument(help="One mandate, by year; all of them without it.")
    ] = None,
    begin: Annotated[str | None, typer.Option("--from", help="First session, 2008-09-15.")] = None,
    to: Annotated[str | None, typer.Option("--to", help="Last session.")] = None,
    mandate_file: Annotated[
        Path | None,
        typer.Option(
            "--mandate-file", help="Backtest the mandate of this YAML file now.", dir_okay=False
        ),
    ] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="Backtest now with key=value changed: of the mandate (max_weight=0.2, costs.impact=0.5) or of "
            "the settings (portfolio.ic_sessions=500). Several times.",
        ),
    ] = None,
    events: Annotated[
        Path | None,
        typer.Option(
            "--events", help="Write every movement of money to this CSV file.", dir_okay=False
        ),
    ] = None,
    root: options.Root = None,
    as_json: options.AsJson = False,
) -> None:
    """Show the stored backtests beside 1/N of the same universe, after costs.

    With a MANDATE: one row a calendar year. With --mandate-file or --set the mandate is backtested now, from
    cash, on the published data, and shown beside 1/N of the same sessions; nothing is stored but that it was tried.
    """
    from wealthos_pipeline.cli.backtest_trial import check_period
    from wealthos_pipeline.cli.published import day
    from wealthos_pipeline.core.errors import ConfigError

    start, end = day(begin, "--from"), day(to, "--to")
    check_period(start, end)
    if events is not None and events.exists():
        raise ConfigError(f"{events} is there already. Name another file, or remove it first.")
    if mandate_file is not None or changes:
        _now(mandate, mandate_file, changes or [], start, end, events, root, as_json)
    else:
        _stored(options.load(root), mandate, start, end, events, as_json)


def _stored(
    settings: Settings,
    mandate: str | None,
    start: date | None,
    end: date | None,
    events: Path | None,
    as_json: bool,
) -> None:
    import polars as pl

    from wealthos_pipeline.cli.lookup import find
    from wealthos_pipeline.cli.output import emit
    from wealthos_pipeline.cli.published import calendar, open_last
    from wealthos_pipeline.core.errors import ConfigError
    from wealthos_pipeline.portfolio import performance

    run = open_last(settings)
    kept = pl.col("run_kind") == "backtest"
    if start is not None:
        kept &= pl.col("date") >= start
    if end is not None:
        kept &= pl.col("date") <= end
    nav = run.read("portfolio.nav").filter(kept)
    if not nav.height and (start or end):
        raise ConfigError(
            f"no backtest has a session between {start or 'the first'} and {end or 'the last'}"
        )
    rates = performance.risk_free(run.read("clean.series"), calendar(settings))
    mine = kept
    if mandate is None:
        rows = performance.summary(nav, rates, tried=_tried(run))
    else:
        names = nav["mandate"].unique().to_list()
        name = find("mandate", mandate, names, "wealthos portfolio mandates")
        mine = kept & (pl.col("mandate") == name)
        rows = performance.by_year(nav.filter(pl.col("mandate") == name), rates)
    if events is not None:
        _written(run, run.read("portfolio.events").filter(mine), events)
    if as_json:
        emit(rows.to_dicts())
        return
    show(rows, yearly=mandate is not None)
    _biases(run)


def _now(
    name: str | None,
    path: Path | None,
    changes: list[str],
    start: date | None,
    end: date | None,
    events: Path | None,
    root: Path | None,
    as_json: bool,
) -> None:
    from wealthos_pipeline.cli import backtest_trial, portfolio_inputs
    from wealthos_pipeline.cli.output import count, emit, note
    from wealthos_pipeline.cli.published import calendar, open_last
    from wealthos_pipeline.core.errors import ConfigError
    from wealthos_pipeline.portfolio import performance
    from wealthos_pipeline.utils.written import pairs

    if (name is None) == (path is None):
        raise ConfigError(
            "which mandate? Give its name with --set, or a file with --mandate-file: one of the two."
        )
    given = pairs(changes)
    settings, own = _settings(root, given)
    mandate: Mandate = (
        portfolio_inputs.from_file(path)
        if path is not None
        else portfolio_inputs.written(settings, name or "")
    )
    if own:
        mandate = portfolio_inputs.changed(mandate, own)
    run = open_last(settings)
    with _moving(mandate.name, quiet=as_json) as progress:
        trial = backtest_trial.run(run, mandate, start, end, progress)
    if events is not None:
        _written(run, trial.made.events, events)
    rates = performance.risk_free(run.read("clean.series"), calendar(settings))
    rows = performance.summary(trial.nav, rates, tried=_tried(run))
    if as_json:
        emit(rows.to_dicts())
        return
    show(rows, yearly=False)
    status = trial.made.solves["status"]
    idle = int(status.is_in(["infeasible", "held", "failed"]).sum())
    if idle:
        note(f"{count(idle, 'decision')} of {len(status):,} held what was held: no answer")
    note("not stored: run_kind research, on the data of the last published run")
    _biases(run)


def _tried(run: Published) -> int:
    """Configurations that a portfolio was picked among, those that commands tried included."""
    import polars as pl

    from wealthos_pipeline.ml import trials

    known = [run.lake.read(table) for table in ("record.trials", "raw.trials")]
    return trials.counted(pl.concat(known), "portfolio")


def _settings(root: Path | None, given: dict[str, object]) -> tuple[Settings, dict[str, object]]:
    """Settings with the changes of ``portfolio.*``, and the changes of the mandate."""
    own, portfolio = {}, {}
    for key, value in given.items():
        head, _, rest = key.partition(".")
        if head == "portfolio" and rest:
            portfolio[rest] = value
        else:
            own[key] = value
    return options.load(root, portfolio=portfolio), own


def _moving(name: str, *, quiet: bool) -> AbstractContextManager[Callable[[int, int], None] | None]:
    """A moving line on a terminal, one line elsewhere."""
    import sys
    from contextlib import contextmanager

    from rich.progress import Progress

    from wealthos_pipeline.cli.output import err, note

    @contextmanager
    def shown() -> Iterator[Callable[[int, int], None] | None]:
        if quiet or not sys.stderr.isatty():
            if not quiet:
                note(f"backtesting {name}")
            yield None
            return
        with Progress(console=err(), transient=True) as bar:
            task = bar.add_task(f"decisions of {name}", total=None)
            yield lambda done, whole: bar.update(task, completed=done, total=whole)

    return shown()


def _written(run: Published, events: pl.DataFrame, path: Path) -> None:
    from wealthos_pipeline.cli.backtest_trial import told
    from wealthos_pipeline.cli.output import count, note

    told(events, run.symbols()).write_csv(path)
    note(f"{count(events.height, 'event')} in {path}")


def _biases(run: Published) -> None:
    import polars as pl

    from wealthos_pipeline.cli.output import note

    biases = run.read("meta.catalog").filter(pl.col("kind") == "bias")
    for title in biases["title"]:
        note(f"bias of the data: {title}")


_COLUMNS = (
    ("annual_return", "return", "+.1%"),
    ("annual_volatility", "volatility", ".1%"),
    ("sharpe", "Sharpe", ".2f"),
    ("sharpe_excess", "over rf", ".2f"),
    ("dsr", "DSR", ".2f"),
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
        ("total_return", *c[1:]) if yearly and c[0] == "annual_return" else c
        for c in _COLUMNS
        if not (yearly and c[0] == "dsr")
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
        if tried := [n for n in rows["trials"] if n]:
            note(
                "DSR: probability that the ratio over rf is more than the luck of the best of "
                f"{max(tried):,} configurations tried; below 0.95 that is not shown"
            )
    if idle and not yearly:
        note("– : never invested, because its limits contradict each other")
