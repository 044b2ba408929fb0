"""Units in which prices are quoted: pence and cents, and single bars that come in the wrong one.

London quotes pence, Johannesburg cents, Tel Aviv agorot. Raw rows keep the vendor's code; here
prices, dividends and code become those of the major currency. Vendors also give single bars of such
listings (and of others) in the other unit: a hundred times the bar before, or a hundredth of it. That
is told from the bar before alone, so it is decided on the day. If the next bar does not come back, the
unit has changed for good, and the bars go on being brought to the unit that they began in.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from wealthos_pipeline.data.processors.effective import EVENTS

MINOR = {
    "GBp": "GBP", "GBX": "GBP", "GBx": "GBP",
    "ZAc": "ZAR", "ZAC": "ZAR",
    "ILA": "ILS", "ILa": "ILS",
}  # fmt: skip
"""Code of a hundredth → ISO 4217 code of the whole."""
MONEY = ("open", "high", "low", "close", "adj_close", "dividend")
NEAR = 0.25
"""In logs: how near to a hundredfold a move must be."""

_HUNDRED = float(np.log(100.0))


def major(frame: pl.DataFrame, default: pl.Expr | None = None) -> pl.DataFrame:
    """``frame`` (rows of ``raw.prices``) with prices and currency in whole units.

    default: currency of rows that have none; they keep their null where it is a whole one. Adds
    ``_minor``: the row was quoted in hundredths.
    """
    code = pl.col("currency") if default is None else pl.coalesce(pl.col("currency"), default)
    minor = code.is_in(list(MINOR)).fill_null(value=False)
    marked = frame.with_columns(minor.alias("_minor"))
    if not marked["_minor"].any():
        return marked
    hit = pl.col("_minor")
    return marked.with_columns(
        pl.when(hit).then(code.replace(MINOR)).otherwise("currency").alias("currency"),
        *(pl.when(hit).then(pl.col(n) / 100.0).otherwise(n).alias(n) for n in MONEY),
    )


def switched(bars: pl.DataFrame, *, off: bool = False) -> pl.DataFrame:
    """``bars`` with ``_unit``: what brings the bar to the unit that the instrument began in (1, 100,
    1/100), and ``_step``: what brings its return there.

    bars: sorted by instrument and date, with ``_price`` (growth of the price), ``EVENTS``, ``_minor``,
    ``_unit_before`` on an instrument's first row (powers of 100 of the stored bar before; null is 0)
    and ``_episode`` (counts long pauses; after one the unit begins anew).
    """
    one = pl.lit(1.0)
    if off:
        return bars.with_columns(one.alias("_unit"), one.alias("_step"))
    moved = pl.col("_price").log()
    allowed = (pl.col(EVENTS) | pl.col("_minor")) & ~pl.col("_long")
    step = (
        pl.when(allowed & ((moved - _HUNDRED).abs() <= NEAR))
        .then(-1)
        .when(allowed & ((moved + _HUNDRED).abs() <= NEAR))
        .then(1)
        .otherwise(0)
    )
    begun = pl.col("instrument_id").is_first_distinct() & ~pl.col("_long")
    out = bars.with_columns(
        step.alias("_power"),
        pl.when(begun).then(pl.col("_unit_before").fill_null(0)).otherwise(0).alias("_start"),
    )
    if not (out["_power"] != 0).any() and not (out["_start"] != 0).any():
        return out.with_columns(one.alias("_unit"), one.alias("_step")).drop("_power", "_start")
    total = (pl.col("_power") + pl.col("_start")).cum_sum().over("instrument_id", "_episode")
    return out.with_columns(
        pl.lit(100.0).pow(total.cast(pl.Float64)).alias("_unit"),
        pl.lit(100.0).pow(pl.col("_power").cast(pl.Float64)).alias("_step"),
    ).drop("_power", "_start")
