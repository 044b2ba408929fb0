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

PRICES = (
    "instrument_id", "date", "slot", "open", "close", "volume", "dollar_volume", "dividend", "split_ratio",
    "split_index", "tr_index", "flags", "known_at",
)  # fmt: skip
"""Columns of ``clean.prices`` that decisions and accounts read."""

LOOKBACK = 45
"""Sessions before ``start`` that the frames must reach: the last decision, its fill, stale names."""


def lookback(mandates: Sequence[Mandate], settings: PortfolioSettings) -> int:
    """The same of prices: some mandates read the returns of past sessions."""
    return max([LOOKBACK, *(backtest.lookback(m, settings) + 5 for m in mandates)])


BACKTESTED = ("targets", "solves", "trades", "positions", "nav", "events")
TABLES = (*BACKTESTED, "binding")
CERTIFICATES = "certificates"
"""Key of the rows of ``meta.certificates``, without the run and its inputs."""


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
    lots: pl.DataFrame | None = None,
    scores: pl.DataFrame | None = None,
    warnings: Mapping[str, str] | None = None,
) -> dict[str, pl.DataFrame]:
    """Rows of dates ≥ ``start`` of the portfolio tables in ``TABLES``, and ``certificates``.

    state: the stored ``positions`` and ``nav`` (all mandates); rows before ``start`` are the point
    from which each backtest resumes. None computes everything. Live rows are those of ``end``.
    late: sessions after ``end`` whose prices should be here and are not (see ``live.propose``).
    lots: ``clean.lots``. scores: ``date, instrument_id`` and the factors that mandates bound (see
    ``mandates.factors_bound``), over the decision dates at least. warnings: what a person should know of a mandate's holdings.
    """
    models = risk.from_frames(exposures, factors)
    bars = panel.build(prices, calendar)
    out: dict[str, list[pl.DataFrame]] = {name: [] for name in TABLES}
    proofs: list[pl.DataFrame] = []
    seen = None if scores is None else scores_on(scores)
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
            scores=seen,
        )
        for name in BACKTESTED:
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
            lots=lots,
            warning=(warnings or {}).get(mandate.name, ""),
            scores=None if seen is None else seen(end),
        )
        for name in live.DECIDED:
            out[name].append(getattr(proposal, name))
        proofs.append(
            proposal.solves.select(
                "mandate", "date", "status", "solver", "iterations",
                pl.lit(proposal.seconds, dtype=pl.Float64).alias("seconds"),
                "objective", "violation", "gap",
            )
        )  # fmt: skip
    frames = {
        name: contract(f"portfolio.{name}").conform(
            pl.concat([contract(f"portfolio.{name}").empty(), *parts], how="vertical")
        )
        for name, parts in out.items()
    }
    drop = ("run_id", "inputs")
    empty = contract("meta.certificates").empty().drop(drop)
    return {**frames, CERTIFICATES: pl.concat([empty, *proofs])}


def scored(scores: pl.DataFrame) -> dict[str, dict[str, float]]:
    """Scores of one date by factor, then name; names without one are left out."""
    names = scores["instrument_id"].to_list()
    out: dict[str, dict[str, float]] = {}
    for factor in scores.columns:
        if factor not in ("date", "instrument_id"):
            values = scores[factor].cast(pl.Float64).fill_nan(None).to_list()
            out[factor] = {n: v for n, v in zip(names, values, strict=True) if v is not None}
    return out


def scores_on(scores: pl.DataFrame) -> backtest.Scores:
    """``scored`` of any date."""
    return lambda day: scored(scores.filter(pl.col("date") == day))


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
