"""All mandates at once: backtests from where they stopped, and today's proposals beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date

import polars as pl

from wealthos_pipeline.core.data import contract
from wealthos_pipeline.core.portfolio import Mandate
from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.portfolio import backtest, live, panel, risk
from wealthos_pipeline.utils.config import PortfolioSettings

LOOKBACK = 45
"""Sessions before ``start`` that the frames must reach: the last decision, its fill, stale names."""

TABLES = ("targets", "solves", "trades", "positions", "nav")


def run(
    mandates: Sequence[Mandate],
    *,
    prices: pl.DataFrame,
    universe: pl.DataFrame,
    predictions: pl.DataFrame,
    evaluation: pl.DataFrame,
    instruments: pl.DataFrame,
    exposures: pl.DataFrame,
    factors: pl.DataFrame,
    holdings: pl.DataFrame,
    state: Mapping[str, pl.DataFrame] | None,
    calendar: TradingCalendar,
    settings: PortfolioSettings,
    start: date | None,
    end: date,
    late: int = 0,
) -> dict[str, pl.DataFrame]:
    """Rows of dates ≥ ``start`` of ``portfolio.targets, solves, trades, positions, nav``.

    state: the stored ``positions`` and ``nav`` (all mandates); rows before ``start`` are the point
    from which each backtest resumes. None computes everything. Live rows are those of ``end``.
    late: sessions after ``end`` whose prices should be here and are not (see ``live.propose``).
    """
    models = risk.from_frames(exposures, factors)
    bars = panel.build(prices, calendar)
    out: dict[str, list[pl.DataFrame]] = {name: [] for name in TABLES}
    for mandate in (*mandates, backtest.EQUAL_WEIGHT):
        done = backtest.run(
            mandate,
            bars,
            universe,
            predictions.filter(pl.col("kind") == "walk_forward"),
            evaluation,
            instruments,
            models,
            calendar,
            settings,
            state=None if state is None or start is None else _resume(state, mandate, start),
            start=start,
            end=end,
        )
        for name in TABLES:
            out[name].append(getattr(done, name))
        if mandate.name == backtest.EQUAL_WEIGHT.name or not mandate.live:
            continue
        own = holdings.filter(pl.col("mandate") == mandate.name)
        proposal = live.propose(
            mandate,
            date=end,
            prices=bars,
            universe=universe.filter(pl.col("date") == end),
            predictions=predictions.filter((pl.col("kind") == "live") & (pl.col("date") == end)),
            evaluation=evaluation,
            instruments=instruments,
            risk_model=models.get(end),
            holdings=own if own.height else None,
            paper=_paper(state, mandate, start, done),
            calendar=calendar,
            settings=settings,
            late=late,
        )
        for name in ("targets", "solves", "trades"):
            out[name].append(getattr(proposal, name))
    return {
        name: contract(f"portfolio.{name}").conform(pl.concat(frames, how="vertical"))
        for name, frames in out.items()
    }


def _of(frame: pl.DataFrame, mandate: Mandate) -> pl.DataFrame:
    return frame.filter((pl.col("mandate") == mandate.name) & (pl.col("run_kind") == "backtest"))


def _resume(
    state: Mapping[str, pl.DataFrame], mandate: Mandate, start: date
) -> backtest.State | None:
    before = {name: _of(state[name], mandate).filter(pl.col("date") < start) for name in state}
    if before["nav"].is_empty():
        return None
    return backtest.State(before["positions"], before["nav"])


def _paper(
    state: Mapping[str, pl.DataFrame] | None,
    mandate: Mandate,
    start: date | None,
    done: backtest.Backtest,
) -> backtest.State | None:
    """The backtest's positions and value at the end: the paper portfolio that trades start from."""
    positions, nav = done.positions, done.nav
    if state is not None and start is not None:
        old = {name: _of(state[name], mandate).filter(pl.col("date") < start) for name in state}
        positions = pl.concat([old["positions"], positions])
        nav = pl.concat([old["nav"], nav])
    return backtest.State(positions, nav) if nav.height else None
