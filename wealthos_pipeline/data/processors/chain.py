"""The chain of a name: the return into each bar, ``split_index`` and ``tr_index``, and the state that
a day continues from.

Both indices are sequential Float64 products from the instrument's first bar, so a continuation from
stored rows gives the bits of a full computation.
"""

from __future__ import annotations

from datetime import date

import numpy as np
import polars as pl

from wealthos_pipeline.core.data import contract
from wealthos_pipeline.core.errors import ContractError
from wealthos_pipeline.data.processors import quarantine
from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.data.processors.units import SETTLED

MAX_GAP = 63
"""Sessions. After a longer pause the return is that of the closes, in whatever basis they are."""
CONTEXT = MAX_GAP + 21
"""Sessions of raw bars before ``start`` that ``prices.clean`` needs to continue a chain."""
STATE = (
    "instrument_id", "date", "slot", "close", "split_index", "tr_index", "known_at", "basis",
    "currency", "local_currency", "fx_rate", "basis_vintage",
)  # fmt: skip
"""Columns of ``clean.prices`` that ``previous`` needs."""


def context_start(start: date | None, calendar: TradingCalendar) -> date | None:
    """From which date raw bars must be read to compute clean bars from ``start`` on."""
    return None if start is None else calendar.offset(start, -CONTEXT)


def last_rows(prices: pl.DataFrame, start: date) -> pl.DataFrame:
    """The state to continue from: the last row of every instrument before ``start``, and all rows of
    the ``CONTEXT`` sessions before it."""
    rows = prices.lazy().filter(pl.col("date") < start).select(STATE).sort("instrument_id", "date")
    near = pl.col("slot") > pl.col("slot").max() - CONTEXT
    last = pl.col("instrument_id").is_last_distinct()
    return rows.filter(near | last).collect()


def continued(
    bars: pl.DataFrame, previous: pl.DataFrame | None, calendar: TradingCalendar, start: date | None
) -> pl.DataFrame:
    """``bars`` with the state before the first: ``_close, _split, _tr, _observed_before`` (null for a
    name's very first bar), and ``step``, the sessions since the bar before.

    bars: of ``effective``, from ``start`` on. previous: ``last_rows``. ContractError where the bar
    before ``start`` in the raw rows is not the one that ``previous`` ends with.
    """
    slots = calendar.frame().select(
        pl.col("date").alias("prev_date"), pl.col("slot").alias("prev_slot")
    )
    state = (
        contract("clean.prices").empty().select(STATE)
        if previous is None
        else previous.select(STATE).filter(
            pl.col("date") == pl.col("date").max().over("instrument_id")
        )
    ).select(
        "instrument_id",
        pl.col("date").alias("_date"),
        pl.col("close").alias("_close"),
        pl.col("split_index").alias("_split"),
        pl.col("tr_index").alias("_tr"),
        pl.when(pl.col("basis") == "observed").then("known_at").alias("_observed_before"),
    )
    out = bars.join(state, on="instrument_id", how="left", maintain_order="left")
    if start is not None:
        first = out.filter(pl.col("instrument_id").is_first_distinct())
        lost = first.filter(pl.col("prev_date").is_not_null() & pl.col("_date").is_null())
        other = first.filter(pl.col("prev_date") != pl.col("_date"))
        far = calendar.slot(start) - MAX_GAP - 1
        near = first.filter(
            pl.col("prev_date").is_null() & (pl.col("_date") >= calendar.date_of(max(far, 0)))
        )
        faults = pl.concat([lost, other, near])
        if faults.height:
            who = faults.select("instrument_id", "prev_date", "_date").row(0)
            raise ContractError(
                f"clean.prices cannot continue at {start}: {faults.height} instruments, for example "
                f"{who[0]}: the bar before is {who[1]} in raw.prices and {who[2]} in `previous`. Hand "
                "in raw.prices from context_start(start) on and last_rows(clean.prices, start)"
            )
    lone = pl.col("prev_date").is_null()
    return (
        out.with_columns(
            pl.coalesce("prev_date", "_date").alias("prev_date"),
            pl.when(lone).then("_close").otherwise("prev_first_close").alias("prev_first_close"),
        )
        .join(slots, on="prev_date", how="left", maintain_order="left")
        .with_columns((pl.col("slot") - pl.col("prev_slot")).alias("step"))
    )


def as_stored(rows: pl.DataFrame, previous: pl.DataFrame, start: date) -> pl.DataFrame:
    """``rows``, before ``start`` only those of bars that ``previous`` has."""
    old, key = pl.col("date") < start, ["instrument_id", "date"]
    stored = rows.filter(old).join(previous, on=key, how="semi", maintain_order="left")
    return pl.concat([stored, rows.filter(~old)])


def grown(bars: pl.DataFrame) -> pl.DataFrame:
    """``split_ratio`` as it took effect, and the ``growth`` into each bar: a factor, 1 on the first.

    For bars without listed events; ``events.grown`` goes on for the others. ``_long``: the pause
    before was longer than ``MAX_GAP``.
    """
    adjusted = pl.col("basis_vintage").is_not_null()
    long = (pl.col("step") > MAX_GAP).fill_null(value=False)
    basis = pl.col("den_close") / pl.col("prev_first_close")
    shares = pl.col("den_volume") / pl.col("prev_first_volume")
    rescaled = ((basis - 1).abs() > 0.01) & ((shares * basis - 1).abs() < 0.005)
    split = (
        pl.when(~adjusted)
        .then(pl.col("split_ratio").fill_null(1.0))
        .when(rescaled & ~long)
        .then(1.0 / basis)
        .otherwise(1.0)
    )
    event = pl.when(adjusted).then(1.0).otherwise(pl.col("split_ratio").fill_null(1.0))
    growth = (
        pl.when(pl.col("prev_date").is_null())
        .then(1.0)
        .when(long)
        .then(pl.col("close") * event / pl.col("prev_first_close"))
        .when(pl.col("num_adj").is_not_null() & pl.col("den_adj").is_not_null())
        .then(pl.col("num_adj") / pl.col("den_adj"))
        .otherwise(
            (pl.col("num_close") + pl.col("dividend").fill_null(0.0)) * event / pl.col("den_close")
        )
    )
    first = pl.col("prev_date").is_null()
    return bars.with_columns(
        pl.when(first).then(1.0).otherwise(split).alias("split_ratio"),
        growth.alias("growth"),
        long.alias("_long"),
    )


def chained(bars: pl.DataFrame) -> pl.DataFrame:
    """``split_index, tr_index``, and since when the chain has been what it is: ``_observed``."""
    later = [SETTLED] if SETTLED in bars.columns else []
    told = pl.max_horizontal("restated_at", *later, *map(quarantine.freed, quarantine.RELEASABLE))
    observed = told.cum_max().forward_fill().over("instrument_id")
    return bars.with_columns(
        _product(bars, "growth", "_tr").alias("tr_index"),
        _product(bars, "split_ratio", "_split").alias("split_index"),
        pl.max_horizontal(observed, "_observed_before").alias("_observed"),
    )


def _product(bars: pl.DataFrame, factor: str, state: str) -> pl.Series:
    """Running product by instrument, from left to right, starting at the stored state."""
    ids = bars["instrument_id"].rle_id().to_numpy()
    values = bars[factor].to_numpy().copy()
    before = bars[state].fill_null(1.0).to_numpy()
    edges = np.flatnonzero(np.diff(ids, prepend=-1)) if len(ids) else np.empty(0, dtype=np.int64)
    for lo, hi in zip(edges, [*edges[1:], len(ids)], strict=True):
        values[lo] = before[lo] * values[lo]
        np.multiply.accumulate(values[lo:hi], out=values[lo:hi])
    return pl.Series(values)
