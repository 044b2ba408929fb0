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
from wealthos_pipeline.factors.library import Library
from wealthos_pipeline.utils.config import FactorSettings

T = TypeVar("T")
R = TypeVar("R")

SCORES = "factors.scores_equity"

KEY = ("date", "instrument_id")


def scores_contract(library: Library) -> TableContract:
    """The contract of ``factors.scores_equity``: one Float32 column an equity factor."""
    return wide_contract(
        SCORES,
        "Equity factors winsorised, standardised, neutralised on sectors, standardised, for the "
        "universe's members at the date. Direction is not applied. Where a sector is a snapshot "
        "(clean.instruments.static), it is used before it was known.",
        [
            Column(n, "f32", f"score of: {library.factors[n].title}", "z", nullable=True)
            for n in library.names(AssetClass.EQUITY)
        ],
    )


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
    sector, sectors = _sectors(rows, instruments)

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


def _sectors(rows: pl.DataFrame, instruments: pl.DataFrame | None) -> tuple[np.ndarray, int]:
    """Sector number of each row (the last number is "other") and the number of sectors.

    The description valid on the date counts; before the first one, the first (a static snapshot).
    """
    if instruments is None or instruments.is_empty():
        return np.zeros(rows.height, np.int64), 0
    words = instruments["sector"].drop_nulls().unique().sort().to_list()
    number = pl.col("sector").replace_strict(
        {w: i for i, w in enumerate(words)}, default=len(words), return_dtype=pl.Int64
    )
    described = instruments.select("instrument_id", "valid_from", number.alias("number")).sort(
        "valid_from", "instrument_id"
    )
    first = described.unique("instrument_id", keep="first", maintain_order=True)
    out = rows.select(KEY)
    if first.height == described.height:
        out = out.join(first, on="instrument_id", how="left", maintain_order="left")
    else:
        out = (
            out.with_row_index("row")
            .sort("date")
            .join_asof(
                described, left_on="date", right_on="valid_from", by="instrument_id",
                check_sortedness=False,
            )
            .sort("row")
            .join(first.select("instrument_id", earliest="number"), on="instrument_id", how="left",
                  maintain_order="left")
            .with_columns(number=pl.coalesce("number", "earliest"))
        )  # fmt: skip
    return out["number"].fill_null(len(words)).to_numpy().astype(np.int64), len(words)


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
