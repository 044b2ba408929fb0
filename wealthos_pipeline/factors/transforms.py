"""Scores: winsorise, standardise, neutralise on sectors, standardise; one date at a time.

On sector dummies alone the columns of the design are orthogonal, so that the least-squares residual
(QR) is the value less its sector's mean; that is what the kernel computes, in a fixed order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from typing import TypeVar

import numpy as np
import polars as pl

from wealthos_pipeline.core.asset import AssetClass
from wealthos_pipeline.core.data import Column, TableContract, wide_contract
from wealthos_pipeline.core.errors import FactorError
from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.factors.groups import numbers
from wealthos_pipeline.factors.library import Library
from wealthos_pipeline.utils.config import FactorSettings

T = TypeVar("T")
R = TypeVar("R")

SCORES = "factors.scores_equity"

KEY = ("date", "instrument_id")


LARGE_SETS = frozenset({"alpha158", "alpha360"})
"""Sets whose families have tables of scores of their own, so that no table grows too wide."""


def score_tables(library: Library) -> dict[str, tuple[str, ...]]:
    """Table of scores → the equity factors that it holds: ``factors.scores_equity`` first, then
    ``factors.scores_equity_<family>`` for each family of the large sets."""
    out: dict[str, list[str]] = {SCORES: []}
    for family in library.families():
        if family.asset_class == AssetClass.EQUITY:
            large = all(LARGE_SETS.intersection(f.sets) for f in family.factors)
            table = f"{SCORES}_{family.name}" if large else SCORES
            out.setdefault(table, []).extend(f.name for f in family.factors)
    order = {n: i for i, n in enumerate(library.names(AssetClass.EQUITY))}
    return {t: tuple(sorted(names, key=order.__getitem__)) for t, names in out.items()}


def scores_contracts(library: Library) -> list[TableContract]:
    """The contracts of all tables of scores: one Float32 column a factor."""
    return [
        wide_contract(
            table,
            "Equity factors winsorised, standardised, neutralised on sectors, standardised, for the "
            "universe's members at the date. Direction is not applied. Where a sector is a snapshot "
            "(clean.instruments.static), it is used before it was known.",
            [
                Column(n, "f32", f"score of: {library.factors[n].title}", "z", nullable=True)
                for n in names
            ],
        )
        for table, names in score_tables(library).items()
    ]


def scores_contract(library: Library) -> TableContract:
    """The contract of ``factors.scores_equity``."""
    return scores_contracts(library)[0]


def side_by_side(parts: Iterable[pl.DataFrame]) -> pl.DataFrame:
    """Tables of scores as one: keys of the first, columns of all. Made from the same universe, their
    rows are the same; where they are not, missing ones are null."""
    first, *rest = parts
    out = first.sort(KEY)
    for part in rest:
        other = part.sort(KEY)
        if other.select(KEY).equals(out.select(KEY)):
            out = out.hstack(other.drop(KEY))
        else:
            out = out.join(other, on=list(KEY), how="left", maintain_order="left")
    return out


def scores(
    values: pl.DataFrame,
    universe: pl.DataFrame,
    instruments: pl.DataFrame | None,
    settings: FactorSettings,
    *,
    start: date | None = None,
    threads: int | None = None,
) -> pl.DataFrame:
    """Scores of the universe's members: ``date, instrument_id``, one Float32 column a factor.

    values: all equity factors by ``date, instrument_id``; universe: ``date, instrument_id``;
    instruments: ``clean.instruments`` for the sector (None: one group). By date, over the members
    with a value: clipped at median ± ``winsor_mads`` · MAD (not where the MAD is 0), z-score (n − 1),
    residual on sector dummies, z-score again. A sector with fewer than ``min_sector_names`` of them
    joins "other", as do names without a sector. Null: no value, fewer than ``min_names`` members
    with one, or all alike. Direction is not applied.
    """
    if missing := [k for k in KEY if k not in values.columns]:
        raise FactorError(f"scores need {KEY}; {missing} are not among {values.columns}")
    rows = values.filter(pl.col("date") >= start) if start is not None else values
    rows = rows.join(universe.select(KEY), on=list(KEY), how="semi").sort(KEY).rechunk()
    names = [c for c in rows.columns if c not in KEY]
    off = date_offsets(rows)
    sector, sectors = numbers(rows, instruments, "sector")

    from wealthos_pipeline.factors.kernels.section import score

    def one(name: str) -> np.ndarray:
        out = np.empty(rows.height, np.float32)
        score(
            column32(rows, name),
            off,
            sector,
            sectors,
            settings.winsor_mads,
            settings.min_names,
            settings.min_sector_names,
            out,
        )
        return out

    columns = in_threads(one, names, threads)
    return rows.select(KEY).with_columns(
        pl.Series(n, c, nan_to_null=True) for n, c in zip(names, columns, strict=True)
    )


def date_offsets(rows: pl.DataFrame) -> np.ndarray:
    """Where each date begins in rows sorted by date, and the end."""
    days = rows["date"].to_physical().to_numpy()
    begins = np.flatnonzero(np.diff(days)) + 1 if len(days) else np.zeros(0, np.int64)
    head = [0] if len(days) else []
    return np.concatenate([head, begins, [len(days)]]).astype(np.int64)


def slots_of(days: pl.Series, calendar: TradingCalendar) -> np.ndarray:
    """Session number of each date; of the last session before it on other days."""
    sessions = calendar.frame()["date"].to_physical().to_numpy()
    place = np.searchsorted(sessions, days.to_physical().to_numpy(), side="right") - 1
    return place.astype(np.int64)


def column32(rows: pl.DataFrame, name: str) -> np.ndarray:
    """A column as contiguous Float32, NaN where it is null or not finite."""
    values = np.array(rows[name].cast(pl.Float32).to_numpy(), np.float32)
    values[~np.isfinite(values)] = np.nan
    return values


def in_threads(work: Callable[[T], R], items: Iterable[T], threads: int | None) -> list[R]:
    """``work`` of each item; each is done by one thread, so their number changes no bit."""
    from numba import get_num_threads

    with ThreadPoolExecutor(get_num_threads() if threads is None else max(1, threads)) as pool:
        return list(pool.map(work, items))
