"""What books that follow the models would have earned, beside momentum, reversal and 1/N."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime

import numpy as np
import polars as pl

from wealthos_pipeline.core.data import contract
from wealthos_pipeline.core.factor import Factor
from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.ml.evaluation.books import Book, book, delisted, fifths, leg, lookback
from wealthos_pipeline.ml.evaluation.sections import (
    Flags,
    Floats,
    Order,
    Sections,
    assemble,
    dense,
    sections,
)

LONG_SHORT, LONG_ONLY, EQUAL_WEIGHT = "long_short", "long_only", "equal_weight"

BENCHMARKS: Mapping[str, tuple[str, ...]] = {
    "momentum": ("momentum_12_1", "momentum_6_1", "residual_momentum_12_1"),
    "reversal": ("reversal_1m", "reversal_1w", "residual_reversal_1m"),
}
"""Model name of a benchmark → score columns that may stand for it, the first that is there."""


def benchmark_columns(
    factors: Sequence[Factor], columns: Sequence[str]
) -> dict[str, tuple[str, int]]:
    """Benchmark → score column and its direction; left out where no column stands for it."""
    known = {f.name: f.direction for f in factors}
    out = {}
    for name, candidates in BENCHMARKS.items():
        found = next((c for c in candidates if c in columns and c in known), None)
        if found is not None:
            out[name] = found, known[found]
    return out


def returns(
    predictions: pl.DataFrame,
    prices: pl.DataFrame,
    universe: pl.DataFrame,
    calendar: TradingCalendar,
    horizon: int,
    *,
    costs_bp: float,
    scores: pl.DataFrame | None = None,
    benchmarks: Mapping[str, tuple[str, int]] | None = None,
    start: date | None = None,
    known_until: datetime,
) -> pl.DataFrame:
    """``models.returns`` of one horizon, for sessions ≥ ``start``.

    predictions: ``models.predictions``, prices: ``instrument_id, date, tr_index`` (``slot``, ``flags``),
    universe and scores: ``date, instrument_id``; all from ``lookback(horizon)`` sessions before
    ``start`` on. Books are described in ``books``; benchmarks: name → column of ``scores``, direction;
    they and 1/N hold names of ``universe`` and renew their cohorts when a model has scores. costs_bp:
    one-way, of what is bought and sold. Fewer than five names, or scores that are all the same, make no cohort: its part is cash,
    and a book that is all cash has rows as well: what a model does not dare counts, and so does what its return to the market costs.
    A bar or score of D changes sessions from D on.
    """
    found = sections(predictions, prices, calendar, horizon, start=start, known_until=known_until)
    if found is None:
        return contract("models.returns").empty()
    frames = [
        _frame(model, kind, made, found, calendar)
        for model, kind, made in _books(
            found, universe, scores, benchmarks or {}, calendar, costs_bp / 1e4
        )
    ]
    return assemble("models.returns", [f for f in frames if f.height])


def _books(
    found: Sections,
    universe: pl.DataFrame,
    scores: pl.DataFrame | None,
    benchmarks: Mapping[str, tuple[str, int]],
    calendar: TradingCalendar,
    rate: float,
) -> Iterator[tuple[str, str, Book]]:
    """Model, kind of book and book of everything that is held."""
    cells, h = found.grid, found.horizon
    gone = delisted(cells)

    def both(model: str, given: Floats) -> Iterator[tuple[str, str, Book]]:
        score = np.where(_differs(given)[:, None], given, np.nan)
        said: Flags = np.isfinite(given).sum(axis=1) > 0
        top, bottom = (leg(fifths(score, s), cells, gone, h, s) for s in (1, -1))
        yield model, LONG_SHORT, book((top, bottom), said, h, rate)
        yield model, LONG_ONLY, book((top,), said, h, rate)

    scored: Flags = np.zeros(len(cells.index), dtype=bool)
    for model, score in found.models.items():
        scored |= np.isfinite(score).any(axis=1)
        yield from both(model, score)
    members = cells.mask(universe, calendar) & scored[:, None]
    for model, (column, direction) in sorted(benchmarks.items()):
        if scores is not None:
            raw = direction * dense(scores, column, cells, calendar)
            yield from both(model, np.where(members, raw, np.nan))
    everyone = Order.of(np.where(members, 0.0, np.nan))
    one = leg(everyone.everyone(), cells, gone, h, 1)
    yield EQUAL_WEIGHT, EQUAL_WEIGHT, book((one,), everyone.n > 0, h, rate)


def _differs(score: Floats) -> Flags:
    """Sessions on which not all scores are the same."""
    known = np.isfinite(score)
    low = np.where(known, score, np.inf).min(axis=1, initial=np.inf)
    out: Flags = np.where(known, score, -np.inf).max(axis=1, initial=-np.inf) > low
    return out


def _frame(
    model: str, kind: str, made: Book, found: Sections, calendar: TradingCalendar
) -> pl.DataFrame:
    last = min(len(made.known) - 1, found.last - found.grid.first)
    rows = np.flatnonzero(made.known[: last + 1])
    rows = rows[rows >= found.first]
    gross, cost = made.gross[rows], made.cost[rows]
    return pl.DataFrame(
        {
            "date": found.grid.days.gather(rows),
            "gross": gross,
            "cost": cost,
            "net": gross - cost,
            "turnover": made.turnover[rows],
            "names": made.names[rows].astype(np.int32),
            "long": made.long[rows],
            "short": made.short[rows],
            "known_at": found.known_at(calendar, rows, 0),
        }
    ).with_columns(
        pl.lit(model).alias("model"),
        pl.lit(kind).alias("book"),
        pl.lit(found.horizon, pl.Int32).alias("horizon"),
    )


__all__ = [
    "BENCHMARKS", "EQUAL_WEIGHT", "LONG_ONLY", "LONG_SHORT", "benchmark_columns", "lookback", "returns",
]  # fmt: skip
