"""Bars that are kept and marked: prices that do not move, unusual volume.

Every mark looks at the bars before its own only, at no more than ``WINDOW`` sessions of them. So it
is the same wherever the computation began, as long as that many sessions were handed in.
"""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from wealthos_pipeline.core.errors import ConfigError
from wealthos_pipeline.utils.config import CleaningSettings

WINDOW = 60
"""Sessions that a mark looks back."""
MEDIAN = 20
"""Bars before, of which the median volume is taken."""

USUAL = ("_usual", "_usual_slot")
"""Median value traded of the ``MEDIAN`` bars before, and the slot of the first of them; null where
there are fewer, or one has no volume."""

_LEAST = {"still": 1, "copied": 1, "perhaps_still": 2, "perhaps_copied": 2}
"""What a run of bars is → its length in ``stale_sessions`` from which it is stale. *Perhaps*: the
volume may be unknown."""

_BARS = (
    "instrument_id", "slot", "open", "high", "low", "close", "volume", "num_close", "den_close",
)  # fmt: skip


def marked(bars: pl.DataFrame, cleaning: CleaningSettings) -> pl.DataFrame:
    """``bars`` with the booleans ``_stale`` and ``_loud`` (never null) and ``USUAL``.

    bars: ``effective`` rows, sorted by instrument and date, with ``slot``.

    stale: the last ``stale_sessions`` bars each have the close of the bar before and a volume of
    zero, or each have its open, high, low and close. Where the volume of one of them is unknown,
    twice as many: an unchanged close at coarse ticks is no evidence that nothing traded.
    loud: the value traded (close × volume, which a split leaves alone) is more than
    ``volume_spike`` times its median over the 20 bars before; never where one of them has none.
    """
    n = cleaning.stale_sessions
    if 2 * n >= WINDOW:
        raise ConfigError(f"cleaning.stale_sessions is {n}; expected less than {WINDOW // 2}")
    name = bars["instrument_id"].rle_id().to_numpy()
    slot = bars["slot"].to_numpy()
    same_close = (pl.col("num_close") == pl.col("den_close")).fill_null(value=False)
    copied = pl.all_horizontal(
        (pl.col(c) == pl.col(c).shift(1)).fill_null(value=False)
        for c in ("open", "high", "low", "close")
    )
    known = pl.col("volume").is_not_null()
    row = bars.select(_BARS).select(
        (same_close & (pl.col("volume") <= 0).fill_null(value=False)).alias("still"),
        (copied & known).alias("copied"),
        (same_close & (pl.col("volume").fill_null(0.0) <= 0)).alias("perhaps_still"),
        copied.alias("perhaps_copied"),
        (pl.col("close") * pl.col("volume")).alias("value"),
    )
    stale = np.zeros(len(name), dtype=np.bool_)
    for column, least in _LEAST.items():
        long = least * n
        near = _same(name, long)
        near[long:] &= slot[long:] - slot[:-long] <= WINDOW
        stale |= (_run(row[column].to_numpy() & _same(name, 1)) >= long) & near
    whole = ~pl.Series(_same(name, MEDIAN))
    usual = row["value"].rechunk().rolling_median(MEDIAN, min_samples=MEDIAN).shift(1)
    return bars.with_columns(
        pl.Series("_stale", stale),
        usual.set(whole, None).alias("_usual"),
        pl.Series("_usual_slot", slot).shift(MEDIAN).set(whole, None),
    ).with_columns(loud(cleaning).alias("_loud"))


def loud(cleaning: CleaningSettings) -> pl.Expr:
    """Whether a bar's volume is unusual against its ``USUAL``."""
    value, usual = pl.col("close") * pl.col("volume"), pl.col("_usual")
    hit = (usual > 0) & (value > usual * cleaning.volume_spike)
    return (hit & (pl.col("slot") - pl.col("_usual_slot") <= WINDOW)).fill_null(value=False)


def _same(name: NDArray[np.uint32], back: int) -> NDArray[np.bool_]:
    """Whether the row ``back`` rows before is of the same instrument."""
    out = np.zeros(len(name), dtype=np.bool_)
    out[back:] = name[back:] == name[:-back]
    return out


def _run(hits: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Length of the run of hits that ends in each row."""
    at = np.arange(len(hits))
    return at - np.maximum.accumulate(np.where(hits, -1, at))
