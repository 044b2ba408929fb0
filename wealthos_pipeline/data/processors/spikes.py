"""Spikes: a bar that the next bar takes back.

Nothing on the day itself tells a bad print from a crash; the bar after it does. So a spike is
believed, and marked as extreme, until the next bar is known, and is rejected from then on: what was
known at any instant is the same whether it is computed then or years later.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from wealthos_pipeline.core.data import contract
from wealthos_pipeline.data.processors import quality
from wealthos_pipeline.data.processors.quarantine import freed
from wealthos_pipeline.utils.config import CleaningSettings

REACH = 5
"""Sessions within which the bar before and the bar after a spike must lie."""

KEY = ("instrument_id", "date")

NONE = pl.DataFrame(
    schema={
        "instrument_id": pl.String(),
        "date": pl.Date(),
        "confirmed": pl.Date(),
        "detail": pl.String(),
    }
)
"""No spikes."""  # fmt: skip


def doubt(cleaning: CleaningSettings) -> pl.Expr:
    """Whether a bar may be a spike: its growth is as large as one's, and the bar before is near. Only
    the bar after it tells; a split that is listed for the day may be the vendor's error, too."""
    growth = pl.col("growth")
    return _large(growth, cleaning) & (pl.col("step") <= REACH)


def _large(growth: pl.Expr, cleaning: CleaningSettings) -> pl.Expr:
    return (growth > cleaning.spike_growth) | (growth < 1 / cleaning.spike_growth)


def find(bars: pl.DataFrame, cleaning: CleaningSettings) -> pl.DataFrame:
    """The spikes among ``bars``: ``instrument_id, date, confirmed`` (date of the bar after).

    bars: sorted by instrument and date, with ``close``, ``step`` (sessions since the bar before),
    ``growth`` into the bar, ``split_ratio`` (1 where no split took effect), and when a person
    released the bar, if ever.
    Also gives ``detail``, what was found, in words.

    A spike has a growth above ``spike_growth`` or below its inverse, and the growth over it and the
    bar after it together lies within ``spike_return`` of 1. A bar that takes a spike back is none
    itself, so of ``10, 100, 10, 100, 10`` both hundreds are rejected and no ten is.
    """
    by = pl.col("instrument_id")
    following = by == by.shift(-1)
    growth, step, event = pl.col("growth"), pl.col("step"), pl.col("split_ratio") != 1
    large = _large(growth, cleaning)
    back = (growth * growth.shift(-1) - 1).abs() <= cleaning.spike_return
    near = (step <= REACH) & (step.shift(-1) <= REACH)
    hit = (
        following
        & large
        & back
        & near
        & ~event
        & ~event.shift(-1)
        & pl.col(freed("spike")).is_null()
    )
    frame = bars.with_row_index("_at").select(
        "_at",
        *KEY,
        pl.col("date").shift(-1).alias("confirmed"),
        pl.format(
            "close {}, {} times the bar before; {} on {}",
            "close",
            growth.round(4),
            pl.col("close").shift(-1),
            pl.col("date").shift(-1),
        ).alias("detail"),
        hit.fill_null(value=False).alias("hit"),
    )
    found = frame.filter("hit")
    at = found["_at"].to_numpy().astype(np.int64)
    kept = np.ones(len(at), dtype=np.bool_)
    for i in range(1, len(at)):
        kept[i] = not (kept[i - 1] and at[i] == at[i - 1] + 1)
    return found.filter(pl.Series(kept, dtype=pl.Boolean)).select(*KEY, "confirmed", "detail")


def spliced(first: pl.DataFrame, kept: pl.DataFrame, found: pl.DataFrame) -> pl.DataFrame:
    """``first`` (all bars) with the names that have a spike as in ``kept`` (computed without them).

    A correction that made a bar a spike corrected the return of the bar after it.
    """
    late = found.join(first.select(*KEY, "restated_at"), on=KEY).select(
        "instrument_id", pl.col("confirmed").alias("date"), pl.col("restated_at").alias("_late")
    )
    rows = first.with_row_index("_at")
    mine = rows.select(*KEY, "_at").join(kept, on=KEY, how="semi")
    kept = (
        kept.join(late, on=KEY, how="left", maintain_order="left")
        .with_columns(pl.max_horizontal("restated_at", "_late").alias("restated_at"))
        .join(mine, on=KEY, how="left", maintain_order="left")
    )
    others = rows.join(found, on="instrument_id", how="anti", maintain_order="left")
    return pl.concat([others, kept.select(rows.columns)]).sort("_at").drop("_at")


def believed(
    first: pl.DataFrame, found: pl.DataFrame, chained: pl.DataFrame, cleaning: CleaningSettings
) -> pl.DataFrame:
    """The spikes as they were first seen: rows of ``first`` on top of the chain without them.

    chained: the bars without the spikes, with ``tr_index``, ``split_index`` and ``_observed``. The
    bar before a spike is the one before its confirmation there.
    """

    def before(column: str, state: str) -> pl.Expr:
        return pl.coalesce(pl.col(column).shift(1).over("instrument_id"), state).alias(
            f"{column}_b"
        )

    base = (
        chained.select(
            "instrument_id",
            pl.col("date").alias("confirmed"),
            before("tr_index", "_tr"),
            before("split_index", "_split"),
            before("_observed", "_observed_before"),
            *quality.USUAL,
        )
        .join(found.select(*KEY, "confirmed"), on=["instrument_id", "confirmed"], how="inner")
        .drop("confirmed")
    )
    return (
        first.drop(quality.USUAL)
        .join(base, on=KEY, how="inner", maintain_order="left")
        .with_columns(
            (pl.col("tr_index_b") * pl.col("growth")).alias("tr_index"),
            (pl.col("split_index_b") * pl.col("split_ratio")).alias("split_index"),
            pl.max_horizontal("_observed_b", "restated_at").alias("_observed"),
            quality.loud(cleaning).alias("_loud"),
        )
    )


def dated(found: pl.DataFrame, prices: pl.DataFrame) -> pl.DataFrame:
    """``found`` with ``told_at``: when the bar after each was known."""
    told = prices.select(
        "instrument_id", pl.col("date").alias("confirmed"), pl.col("known_at").alias("told_at")
    )
    return found.join(told, on=["instrument_id", "confirmed"], how="left", maintain_order="left")


def rejected(rows: pl.DataFrame, found: pl.DataFrame) -> pl.DataFrame:
    """The raw rows of the spikes with ``rule, detail, told_at``."""
    mine = rows.join(found.drop("confirmed"), on=KEY, how="inner", maintain_order="left")
    return mine.with_columns(pl.lit("spike").alias("rule"))


def history(seen: pl.DataFrame, found: pl.DataFrame) -> pl.DataFrame:
    """``seen`` (rows of ``clean.prices``) with the interval in which they were believed."""
    told = found.select(*KEY, pl.col("told_at").alias("known_to"))
    rows = seen.join(told, on=KEY, how="left", maintain_order="left").with_columns(
        pl.col("known_at").alias("known_from")
    )
    past = contract("clean.prices_history")
    return past.conform(rows.filter(pl.col("known_from") < pl.col("known_to")))
