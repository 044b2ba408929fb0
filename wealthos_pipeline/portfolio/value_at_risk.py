"""One-day value at risk of the holdings of each close, and what happened the day after.

The weights held at the close of t (after its fills; cash included, with return 0) are frozen and
applied to the total returns of the ``var_sessions`` sessions that end with t. A name without a return in a
session of the window (not listed yet, a gap) is given the mean return of the other held names in
that session; a session in which no held name has one is left out, and with fewer than half of the sessions
there is no forecast. With n returns in ascending order, VaR at 95 % is minus the one with
``floor(0.05 n)`` below it, so at most 5 % of them are worse; CVaR is minus the mean of those worse. The
volatility is exponentially weighted (λ = 0.94, RiskMetrics 1996) over the same returns.

One day is one fixed-shape computation: bits do not depend on where the computation starts.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import numpy as np
import polars as pl

from wealthos_pipeline.core.data import contract
from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.portfolio.accounts import Marks
from wealthos_pipeline.portfolio.backtest import CASH
from wealthos_pipeline.portfolio.panel import Panel, build
from wealthos_pipeline.portfolio.problem import SESSIONS_PER_YEAR, Floats
from wealthos_pipeline.utils.config import PortfolioSettings

DECAY = 0.94
LEVELS = (0.95, 0.99)
MIN_SHARE = 0.5
"""Share of the window's sessions that must have a return."""


@dataclass(frozen=True, eq=False)
class VarForecasts:
    """Rows of ``portfolio.risk`` (dates ≥ start) and ``portfolio.risk_outcomes``.

    outcomes_start: first forecast date that ``outcomes`` covers: the session before ``start``,
    whose result is known from the bar of ``start``. Replace ``risk_outcomes`` from this date on.
    """

    risk: pl.DataFrame
    outcomes: pl.DataFrame
    outcomes_start: date | None


@dataclass(frozen=True, eq=False)
class Span:
    """Sessions [start, stop) of a panel during which one portfolio holds the same units."""

    mandate: str
    run_kind: str
    start: int
    stop: int
    columns: np.ndarray
    units: Floats
    cash: float


def spans(
    positions: pl.DataFrame, nav: pl.DataFrame, panel: Panel, calendar: TradingCalendar
) -> list[Span]:
    """Constant holdings by mandate, run kind and time, over the sessions that ``nav`` has.

    Rows of a span are those of its snapshot's date and after, up to the next snapshot. A held name that
    the panel lacks raises PortfolioError.
    """
    from wealthos_pipeline.core.errors import PortfolioError

    code = {name: i for i, name in enumerate(panel.ids)}
    out = []
    ends = nav.group_by("mandate", "run_kind").agg(
        pl.col("date").min().alias("first"), pl.col("date").max().alias("last")
    )
    for mandate, run_kind, first, last in ends.sort("mandate", "run_kind").iter_rows():
        lo, hi = panel.row(calendar.slot(first)), panel.row(calendar.slot(last)) + 1
        lo, hi = max(lo, 0), min(hi, len(panel.dates))
        mine = positions.filter((pl.col("mandate") == mandate) & (pl.col("run_kind") == run_kind))
        shots = [
            (panel.row(calendar.slot(day)), part)
            for (day,), part in sorted(
                mine.sort("date", "instrument_id").partition_by("date", as_dict=True).items()
            )
        ]
        for k, (row, part) in enumerate(shots):
            start = max(row, lo)
            stop = min(shots[k + 1][0] if k + 1 < len(shots) else hi, hi)
            if start >= stop:
                continue
            cash, columns, units = 0.0, [], []
            for name, amount in part.select("instrument_id", "units").iter_rows():
                if name == CASH:
                    cash = float(amount)
                elif name not in code:
                    raise PortfolioError(
                        f"{mandate} holds {name} on {panel.dates[start]}, which has no price among "
                        "those given; hand in prices of everything that is held"
                    )
                else:
                    columns.append(code[name])
                    units.append(float(amount))
            out.append(
                Span(
                    mandate,
                    run_kind,
                    start,
                    stop,
                    np.array(columns, dtype=np.int64),
                    np.array(units, dtype=np.float64),
                    cash,
                )
            )
    return out


def session_returns(panel: Panel) -> Floats:
    """One-session total returns, sessions × names; NaN unless both bars are there."""
    out = np.full(panel.tr.shape, np.nan)
    if len(panel.dates) > 1:
        out[1:] = panel.tr[1:] / panel.tr[:-1] - 1.0
    return out


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
    risk_table, outcome_table = contract("portfolio.risk"), contract("portfolio.risk_outcomes")
    if not panel.dates or not nav.height:
        return VarForecasts(risk_table.empty(), outcome_table.empty(), start)
    marks, returns = Marks.of(panel), session_returns(panel)
    moves = np.zeros_like(returns)
    moves[1:] = marks.tr[1:] / marks.tr[:-1] - 1.0
    last = len(panel.dates) - 1
    if end is not None:
        last = min(last, panel.row(calendar.slot(end)))
    first = 0 if start is None else panel.row(calendar.slot(start))
    rows: list[tuple[object, ...]] = []
    results: list[tuple[object, ...]] = []
    for span in spans(positions, nav, panel, calendar):
        lo, hi = max(span.start, first - 1, 0), min(span.stop, last + 1)
        if lo >= hi:
            continue
        for t, w, numbers in _span_forecasts(span, lo, hi, returns, marks, settings):
            key = (span.mandate, span.run_kind, panel.dates[t])
            if t >= first:
                rows.append((*key, *numbers))
            if t + 1 <= last:
                moved = np.ascontiguousarray(moves[t + 1].take(span.columns))
                pnl = float((w * moved).sum())
                judged = len(w) > 0 and numbers[1] is not None  # cash alone cannot fail
                hits = [-pnl > v if judged else None for v in (numbers[1], numbers[2])]
                known = calendar.known_at(panel.dates[t + 1])
                results.append((*key, pnl, *hits, known))
    return VarForecasts(
        risk=risk_table.conform(pl.DataFrame(rows, schema=risk_table.schema(), orient="row")),
        outcomes=outcome_table.conform(
            pl.DataFrame(results, schema=outcome_table.schema(), orient="row")
        ),
        outcomes_start=None if start is None else calendar.offset(start, -1),
    )


def _span_forecasts(  # type: ignore[no-untyped-def]
    span: Span, lo: int, hi: int, returns: Floats, marks: Marks, settings: PortfolioSettings
):
    """Yield (row, frozen weights, (volatility, var_95, var_99, cvar_95, cvar_99))."""
    S = settings.var_sessions
    n = len(span.columns)
    if not n:
        for t in range(lo, hi):
            yield t, np.empty(0), (0.0, 0.0, 0.0, 0.0, 0.0)
        return
    begin = lo - S + 1
    past = np.full((S + hi - lo - 1, n), np.nan)
    top = max(begin, 0)
    past[top - begin :] = returns[top:hi].take(span.columns, axis=1)
    seen = np.isfinite(past)
    counts = seen.sum(axis=1)
    total = np.where(seen, past, 0.0).sum(axis=1)
    mean = total / np.maximum(counts, 1)
    past = np.where(seen, past, mean[:, None])
    usable = counts > 0
    decay = DECAY ** np.arange(S - 1, -1, -1)
    product = np.empty((S, n))
    for t in range(lo, hi):
        value = span.units * marks.tr[t, span.columns]
        w = value / (float(value.sum()) + span.cash)
        window, keep = past[t - lo : t - lo + S], usable[t - lo : t - lo + S]
        if keep.sum() < MIN_SHARE * S:
            yield t, w, (None,) * 5
            continue
        np.multiply(window, w, out=product)
        scenario = product.sum(axis=1)
        weight = np.where(keep, decay, 0.0)
        volatility = np.sqrt((weight * scenario**2).sum() / weight.sum() * SESSIONS_PER_YEAR)
        ordered = np.sort(scenario[keep])
        var, cvar = [], []
        for level in LEVELS:
            j = int(np.floor((1.0 - level) * len(ordered) + 1e-9))
            var.append(0.0 - float(ordered[j]))
            cvar.append(0.0 - float(ordered[: max(j, 1)].mean()))
        yield t, w, (float(volatility), *var, *cvar)
