"""Predictions and outcomes as sessions × names, and what is common to all that judges them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime

import numpy as np
import polars as pl
from numpy.typing import NDArray

from wealthos_pipeline.core.data import contract
from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.factors.grid import Grid, codes, grid
from wealthos_pipeline.factors.labels import slots

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]

FIFTHS = 5
"""A top or bottom fifth is ``n // 5`` names; fewer than five names have none."""


@dataclass(frozen=True, slots=True)
class Sections:
    """Walk-forward predictions of one horizon over a grid of bars.

    models: model → (sessions, names) predictions, NaN where there is none. first: row of the first
    session that is asked for. last: slot of the last session known.
    """

    grid: Grid
    horizon: int
    models: dict[str, Floats]
    first: int
    last: int

    def outcomes(self, sessions: int) -> Floats:
        """``tr[t+1+h] / tr[t+1] − 1`` (see ``factors.labels``); NaN where it is not known."""
        return self.grid.labels(sessions, end=self.last)

    def known_at(self, calendar: TradingCalendar, rows: Ints, after: int) -> pl.Series:
        """When the session ``after`` sessions after each of ``rows`` was known."""
        return calendar.frame()["known_at"].gather(rows + self.grid.first + after)


def sections(
    predictions: pl.DataFrame,
    prices: pl.DataFrame,
    calendar: TradingCalendar,
    horizon: int,
    universe: pl.DataFrame | None = None,
    *,
    start: date | None = None,
    known_until: datetime,
) -> Sections | None:
    """The finite walk-forward predictions of ``horizon`` where there is a bar; None without any.

    predictions: ``models.predictions``. prices: ``instrument_id, date, tr_index`` (``slot``, ``flags``).
    universe: ``date, instrument_id``; None: every predicted name.
    """
    rows = predictions.filter(
        (pl.col("kind") == "walk_forward")
        & (pl.col("horizon") == horizon)
        & pl.col("prediction").is_finite()
    )
    if rows.is_empty():
        return None
    # what nobody predicted yet is not looked at
    since = pl.col("date") >= rows["date"].min()
    bars = prices.filter(since & pl.col("tr_index").is_not_null())
    if bars.is_empty():
        return None
    cells = grid(bars, calendar)
    inside = None if universe is None else cells.mask(universe, calendar)
    models = {}
    for name in rows["model"].unique().sort():
        mine = dense(rows.filter(pl.col("model") == name), "prediction", cells, calendar)
        models[str(name)] = mine if inside is None else np.where(inside, mine, np.nan)
    first = 0 if start is None else int(cells.days.search_sorted(start, side="left"))
    return Sections(cells, horizon, models, first, calendar.slot(calendar.last_known(known_until)))


def dense(frame: pl.DataFrame, name: str, cells: Grid, calendar: TradingCalendar) -> Floats:
    """Column ``name`` of ``frame`` (``date, instrument_id, name``) over the grid, NaN where missing
    or where there is no bar."""
    out = np.full(cells.index.shape, np.nan)
    code = codes(frame["instrument_id"], cells.ids)
    row = slots(frame, calendar) - cells.first
    kept = np.flatnonzero((code >= 0) & (row >= 0) & (row < len(out)))
    out[row[kept], code[kept]] = frame[name].cast(pl.Float64).fill_null(np.nan).to_numpy()[kept]
    out[~(cells.bar & np.isfinite(out))] = np.nan
    return out


@dataclass(frozen=True, slots=True)
class Order:
    """Names of each session in order of a value: ``order`` (sessions, names) with those that have none
    last, ``n`` how many have one. Ties stand by instrument_id."""

    order: Ints
    n: Ints

    @classmethod
    def of(cls, values: Floats) -> Order:
        return cls(
            np.argsort(values, axis=1, kind="stable"),
            np.isfinite(values).sum(axis=1).astype(np.int64),
        )

    def fifths(self) -> Iterator[tuple[Ints, Ints, Ints]]:
        """Rows whose fifths have the same number of names k, and the codes of bottom and top (rows, k).

        In blocks of one k, so that a sum over names never depends on other sessions."""
        size = self.n // FIFTHS
        for k in np.unique(size[size > 0]).tolist():
            rows = np.flatnonzero(size == k)
            place = self.n[rows, None] - k + np.arange(k)
            top = np.take_along_axis(self.order[rows], place, axis=1)
            yield rows, self.order[rows, :k], top

    def everyone(self) -> Iterator[tuple[Ints, Ints]]:
        """As ``fifths``: rows with the same number of names, at least five, and all their codes."""
        for k in np.unique(self.n[self.n >= FIFTHS]).tolist():
            rows = np.flatnonzero(self.n == k)
            yield rows, np.sort(self.order[rows, :k], axis=1)


def centred_ranks(values: Floats) -> Floats:
    """Twice the rank of each value in its row, ties averaged, less the mean: whole numbers, so that sums
    of them and of their products are exact in any order. 0 where ``values`` is NaN."""
    if not values.size:
        return np.zeros(values.shape)
    wide = values.shape[1]
    order = np.argsort(values, axis=1)  # ties are averaged: how they lie does not matter
    ordered = np.take_along_axis(values, order, axis=1)
    new = np.ones(values.shape, dtype=bool)
    new[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    at = np.arange(wide)
    first = np.maximum.accumulate(np.where(new, at, 0), axis=1)
    following = np.full(values.shape, wide)
    following[:, :-1] = np.where(new[:, 1:], at[1:], wide)
    last = np.minimum.accumulate(following[:, ::-1], axis=1)[:, ::-1] - 1
    known = np.isfinite(values)
    out = np.empty(values.shape)
    np.put_along_axis(out, order, (first + last + 2).astype(np.float64), axis=1)
    return np.where(known, out - (known.sum(axis=1) + 1)[:, None], 0.0)


def rank_correlation(x: Floats, y: Floats) -> tuple[Ints, Floats, Floats, Floats]:
    """Spearman's correlation of each row, over the names that have both: ``(n, rank_ic, a, b)``.

    a, b: the centred ranks. NaN for fewer than three names or without differences. Up to some 10,000
    names the sums are exact, so that the bits depend on nothing but the ranks.
    """
    both = np.isfinite(x) & np.isfinite(y)
    a = centred_ranks(np.where(both, x, np.nan))
    b = centred_ranks(np.where(both, y, np.nan))
    n = both.sum(axis=1).astype(np.int64)
    scale = np.sqrt((a * a).sum(axis=1) * (b * b).sum(axis=1))
    with np.errstate(divide="ignore", invalid="ignore"):
        out = (a * b).sum(axis=1) / scale
    return n, np.where((n >= 3) & (scale > 0), np.clip(out, -1.0, 1.0), np.nan), a, b


def assemble(table: str, frames: list[pl.DataFrame]) -> pl.DataFrame:
    """Rows of ``table`` from its parts, NaN as null."""
    terms = contract(table)
    if not frames:
        return terms.empty()
    joined = pl.concat(frames).with_columns(pl.col(pl.Float64).fill_nan(None))
    return terms.conform(joined.select(c for c in terms.column_names if c in joined.columns))
