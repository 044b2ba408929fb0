"""The bits of ``clean.prices.flags``, and where each is set."""

from __future__ import annotations

from enum import IntFlag

import polars as pl

from wealthos_pipeline.data.processors import events

EXTREME = 1.5
"""A bar whose one-bar growth is above this, or below its inverse, is flagged."""


class Flag(IntFlag):
    """Bits of ``clean.prices.flags``. A flagged bar is kept; every rule looks at the past only."""

    EXTREME = 1  # one-bar growth above EXTREME or below its inverse
    GAP = 2  # sessions without a bar before this one
    LONG_GAP = 4  # more than MAX_GAP of them: the return is that of the closes
    STALE = 8  # close unchanged for some bars and no volume, or the same bar again and again
    CROSSED = 16  # open, high, low contradicted the close and were set to null
    ZERO_VOLUME = 32  # volume is zero
    BAD_VOLUME = 64  # volume was negative or infinite and was set to null
    RESTATED = 128  # the vendor corrected the bar or its return
    VOLUME_SPIKE = 256  # many times the usual volume
    TERMINAL = 512  # no bar: the return of a delisting, as a person stated it
    ADJ_MISMATCH = 1024  # the vendor's adjusted closes say another return than its events
    SPLIT_DOUBT = 2048  # the split that counts is not the list's, or one may be missing
    UNIT_SWITCH = 4096  # the bar came a hundred times too high or low and was brought back
    DIVIDEND_REPAIRED = 8192  # the dividend was wrong and was scaled or dropped
    SPIKE_DOUBT = 16384  # it may be a spike: the next bar tells


_RULES = {Flag.SPIKE_DOUBT: "spike"}
"""The rule that sets a flag, where it is not called like it."""


def bits(bars: pl.DataFrame, off: frozenset[str], large: float) -> pl.Expr:
    """``flags`` of chained bars, Int32.

    off: rules that are switched off. large: growth from which a bar is extreme.
    """
    growth, volume = pl.col("growth"), pl.col("volume")
    where = {
        Flag.EXTREME: (growth > large) | (growth < 1 / large),
        Flag.GAP: pl.col("step") > 1,
        Flag.LONG_GAP: pl.col("_long"),
        Flag.STALE: pl.col("_stale"),
        Flag.CROSSED: pl.col("_crossed"),
        Flag.ZERO_VOLUME: volume == 0,
        Flag.BAD_VOLUME: pl.col("_volume"),
        Flag.RESTATED: pl.col("restated_at").is_not_null(),
        Flag.VOLUME_SPIKE: pl.col("_loud"),
        Flag.SPIKE_DOUBT: pl.col("_doubt"),
        **{Flag[name]: when for name, when in events.flags(bars).items()},
    }
    where = {b: w for b, w in where.items() if _RULES.get(b, str(b.name).lower()) not in off}
    return pl.sum_horizontal(
        *(
            pl.when(when.fill_null(value=False)).then(int(bit)).otherwise(0)
            for bit, when in where.items()
        )
    ).cast(pl.Int32)
