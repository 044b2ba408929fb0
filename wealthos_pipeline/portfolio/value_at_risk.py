"""One-day value at risk of the holdings of each close, and what happened the day after.

The weights held at the close of t (after its fills; cash included, with return 0) are frozen and
applied to the total returns of the ``var_sessions`` sessions that end with t (``scenarios``); three methods
make a forecast from them (``var_methods``), side by side in ``portfolio.risk_methods``. That of
``var_methods.PRIMARY`` is ``portfolio.risk``: what reports, alerts and the record go by. With fewer than half of the
sessions there is no forecast.

One day is one fixed-shape computation: bits do not depend on where the computation starts.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import numpy as np
import polars as pl
from numpy.typing import NDArray

from wealthos_pipeline.core.data import contract
from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.portfolio import held as holdings
from wealthos_pipeline.portfolio.accounts import CASH
from wealthos_pipeline.portfolio.marks import Marks
from wealthos_pipeline.portfolio.panel import Panel, build
from wealthos_pipeline.portfolio.problem import Floats
from wealthos_pipeline.portfolio.scenarios import earned, frozen, session_returns
from wealthos_pipeline.portfolio.var_methods import METHODS, PRIMARY, Tails
from wealthos_pipeline.utils.config import PortfolioSettings


@dataclass(frozen=True, eq=False)
class VarForecasts:
    """Rows of ``portfolio.risk`` and ``portfolio.risk_methods`` (dates ≥ start) and of
    ``portfolio.risk_outcomes``.

    outcomes_start: first forecast date that ``outcomes`` covers: the session before ``start``,
    whose result is known from the bar of ``start``. Replace ``risk_outcomes`` from this date on.
    """

    risk: pl.DataFrame
    outcomes: pl.DataFrame
    outcomes_start: date | None
    methods: pl.DataFrame


def forecasts(
    positions: pl.DataFrame,
    nav: pl.DataFrame,
    prices: pl.DataFrame | Panel,
    calendar: TradingCalendar,
    settings: PortfolioSettings,
    *,
    start: date | None = None,
    end: date | None = None,
) -> VarForecasts:
    """See ``performance.var_forecasts``."""
    held = positions.filter(pl.col("instrument_id") != CASH)["instrument_id"].unique()
    panel = build(prices, calendar, ids=held) if held.len() else build(prices, calendar)
    tables = [contract(f"portfolio.{t}") for t in ("risk", "risk_outcomes", "risk_methods")]
    out: list[list[pl.DataFrame]] = [[t.empty()] for t in tables]
    if panel.dates and nav.height:
        last = len(panel.dates) - 1
        if end is not None:
            last = min(last, panel.row(calendar.slot(end)))
        first = 0 if start is None else panel.row(calendar.slot(start))
        returns = session_returns(panel)
        marks = Marks.of(panel).tr
        for book in holdings.of(positions, nav, panel, calendar):
            inside = (book.rows >= first - 1) & (book.rows <= last)
            one = _Book(
                {"mandate": book.mandate, "run_kind": book.run_kind},
                book.rows[inside],
                np.ascontiguousarray(book.weights[inside]),
                np.ascontiguousarray(returns[:, book.columns]),
                np.ascontiguousarray(marks[:, book.columns]),
            )
            for frames, made in zip(
                out, _of_one(one, panel, calendar, settings, first, last), strict=True
            ):
                frames.append(made)
    risk, outcomes, methods = (
        t.conform(pl.concat([f.select(t.column_names) for f in frames]))
        for t, frames in zip(tables, out, strict=True)
    )
    return VarForecasts(
        risk, outcomes, None if start is None else calendar.offset(start, -1), methods
    )


@dataclass(frozen=True, eq=False)
class _Book:
    """Weights of one portfolio at ``rows``, and returns and last prices of its names at all rows."""

    keys: dict[str, str]
    rows: NDArray[np.int64]
    weights: Floats
    returns: Floats
    marks: Floats


def _of_one(
    book: _Book,
    panel: Panel,
    calendar: TradingCalendar,
    settings: PortfolioSettings,
    first: int,
    last: int,
) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Rows of the three tables for one portfolio."""
    parts: dict[str, list[Tails]] = {name: [] for name in METHODS}
    for block in frozen(book.weights, book.rows, book.returns, settings.var_sessions):
        # cash alone has no risk, and needs no window
        idle = ~(book.weights[block.at] != 0.0).any(axis=1)
        usable = block.usable | idle[:, None]
        for name, method in METHODS.items():
            parts[name].append(method(block.returns, usable))
    dates = pl.Series("date", [panel.dates[t] for t in book.rows], dtype=pl.Date)
    forecast = pl.Series("now", book.rows >= first, dtype=pl.Boolean)
    keys = [pl.lit(v, dtype=pl.String).alias(k) for k, v in book.keys.items()]
    methods = [
        _rows(parts[name], dates).with_columns(*keys, pl.lit(name).alias("method"))
        for name in METHODS
    ]
    primary = methods[list(METHODS).index(PRIMARY)]
    judged = np.flatnonzero(book.rows + 1 <= last)
    then = book.rows[judged] + 1
    moves = book.marks[then] / book.marks[then - 1] - 1.0
    pnl = earned(book.weights[judged], moves)
    held = (book.weights[judged] != 0.0).any(axis=1)  # cash alone cannot fail
    outcomes = pl.DataFrame(
        {
            "date": dates.gather(judged),
            "pnl_next": pnl,
            "held": held,
            "known_at": [calendar.known_at(panel.dates[t]) for t in then],
        },
        schema_overrides={"known_at": pl.Datetime("us", "UTC")},
    ).with_columns(
        *keys,
        *(
            pl.when(pl.col("held"))
            .then(-pl.col("pnl_next") > primary[f"var_{level}"].gather(judged))
            .alias(f"exception_{level}")
            for level in (95, 99)
        ),
    )
    return (
        primary.filter(forecast),
        outcomes,
        pl.concat(methods).filter(pl.concat([forecast] * len(METHODS))),
    )


def _rows(parts: list[Tails], dates: pl.Series) -> pl.DataFrame:
    """One method's columns in date order; NaN become null."""

    def column(pieces: list[Floats]) -> Floats:
        return np.concatenate(pieces) if pieces else np.empty(0)

    values = {"volatility": column([p.volatility for p in parts])}
    for i, level in enumerate((95, 99)):
        values[f"var_{level}"] = column([p.var[i] for p in parts])
        values[f"cvar_{level}"] = column([p.cvar[i] for p in parts])
    why = pl.Series("note", [w for p in parts for w in p.why], dtype=pl.String)
    return pl.DataFrame({"date": dates, **values, "note": why}).with_columns(
        pl.col(list(values)).fill_nan(None)
    )
