"""Units in which prices are quoted: pence and cents, and single bars that come in the wrong one.

London quotes pence, Johannesburg cents, Tel Aviv agorot. Raw rows keep the vendor's code; here
prices, dividends and code become those of the major currency. Vendors also give single bars of such
listings (and of others) in the other unit: a hundred times the bar before, or a hundredth of it. That
is told from the bar before, so it is decided on the day. If the next bar does not come back, the
unit has changed for good, and the bars go on being brought to the unit that they began in.

A fall to a hundredth may be real. It is believed on the day where ``CROWD`` times the usual number of
shares changed hands: a wrong unit moves no shares. Of a listing that is not quoted in hundredths it is
believed once ``STAYS`` more bars have come and none went back: these units are not mixed for long, and
companies fail. Until then the bars stand as brought back; after it they are as they came, known from
the last of these bars.
"""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from wealthos_pipeline.core.data import contract
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
CROWD = 10.0
"""Times the usual number of shares from which a fall to a hundredth is real."""
STAYS = 4
"""Bars after such a fall that tell that it was real."""
REACH = 5
"""Sessions within which they must lie: what a day's update computes again."""
SETTLED = "_settled"
"""Column: when a fall that had been taken for a unit was known to be real."""

_HUNDRED = float(np.log(100.0))
_INSTANT = pl.Datetime("us", "UTC")


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


def switched(bars: pl.DataFrame, *, off: bool = False, hindsight: bool = True) -> pl.DataFrame:
    """``bars`` with ``_unit``: what brings the bar to the unit that the instrument began in (1, 100,
    1/100), ``_step``: what brings its return there, and ``SETTLED``.

    bars: sorted by instrument and date, with ``_price`` (growth of the price), ``EVENTS``, ``_minor``,
    ``_unit_before`` on an instrument's first row (powers of 100 of the stored bar before; null is 0)
    and ``_episode`` (counts long pauses; after one the unit begins anew). hindsight: whether later
    bars tell that a fall was real.
    """
    one, never = pl.lit(1.0), pl.lit(None, dtype=_INSTANT).alias(SETTLED)
    if off:
        return bars.with_columns(one.alias("_unit"), one.alias("_step"), never)
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
        out = out.with_columns(one.alias("_unit"), one.alias("_step"), never)
        return out.drop("_power", "_start")
    power, settled = _judged(out, hindsight=hindsight)
    out = out.with_columns(power, settled)
    total = (pl.col("_power") + pl.col("_start")).cum_sum().over("instrument_id", "_episode")
    return out.with_columns(
        pl.lit(100.0).pow(total.cast(pl.Float64)).alias("_unit"),
        pl.lit(100.0).pow(pl.col("_power").cast(pl.Float64)).alias("_step"),
    ).drop("_power", "_start")


def _judged(bars: pl.DataFrame, *, hindsight: bool) -> tuple[pl.Series, pl.Series]:
    """``_power`` without the falls that are real, and when later bars told so."""
    group = bars.select(pl.struct("instrument_id", "_episode").rle_id()).to_series().to_numpy()
    power, start = (bars[n].to_numpy().copy() for n in ("_power", "_start"))
    crowd, settled_in = _crowd(bars)
    minor, slot = bars["_minor"].to_numpy(), bars["slot"].to_numpy()
    known = bars.select(pl.max_horizontal("known_at", "restated_at")).to_series()
    settled: list[object] = [None] * bars.height
    marks = np.flatnonzero(power)
    total, mine = 0, -1
    for at in np.flatnonzero((power != 0) | (start != 0)):
        if group[at] != mine:
            total, mine = 0, group[at]
        total += start[at]
        if power[at] == 1 and total >= 0:
            last = at + STAYS
            stayed = (
                last < len(group)
                and group[last] == mine
                and slot[last] - slot[at] <= REACH
                and not ((marks > at) & (marks <= last)).any()
            )
            if crowd[at]:
                power[at] = 0
            elif hindsight and stayed and settled_in[at] and not minor[at]:
                power[at], settled[at] = 0, known[int(last)]
        total += power[at]
    return pl.Series("_power", power), pl.Series(SETTLED, settled, dtype=_INSTANT)


def _crowd(bars: pl.DataFrame) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Whether ``CROWD`` times the usual shares were traded, at a hundredth of the price; and whether
    there are the bars before that say what is usual: else it may be the first ones that slipped."""
    from wealthos_pipeline.data.processors.quality import USUAL, WINDOW

    if not set(USUAL) <= set(bars.columns):
        return np.zeros(bars.height, dtype=np.bool_), np.zeros(bars.height, dtype=np.bool_)
    usual, since = (pl.col(n) for n in USUAL)
    many = pl.col("close") * pl.col("volume") >= usual * (CROWD / 100.0)
    there = pl.col("slot") - since <= WINDOW
    found = bars.select(
        (many & (usual > 0) & there).fill_null(value=False).alias("crowd"),
        there.fill_null(value=False).alias("there"),
    )
    return found["crowd"].to_numpy(), found["there"].to_numpy()


def settled(bars: pl.DataFrame) -> pl.DataFrame:
    """``instrument_id, date, known_to`` of the bars that had been brought back from a fall which later
    bars showed to be real; ``bars``: of ``switched``."""
    hits = bars.with_row_index("_at")
    told = hits.filter(pl.col(SETTLED).is_not_null()).select(
        "_at", pl.col(SETTLED).alias("known_to")
    )
    if not told.height:
        return hits.clear().select("instrument_id", "date", pl.col(SETTLED).alias("known_to"))
    steps = pl.concat(
        told.with_columns((pl.col("_at") + k).cast(pl.get_index_type()).alias("_at"))
        for k in range(STAYS)
    )
    return (
        hits.select("_at", "instrument_id", "date").join(steps, on="_at", how="inner").drop("_at")
    )


def history(seen: pl.DataFrame, found: pl.DataFrame) -> pl.DataFrame:
    """Rows of ``clean.prices_history``: the bars of ``found`` (``settled``) as ``seen`` before it."""
    rows = seen.join(found, on=["instrument_id", "date"], how="inner", maintain_order="left")
    rows = rows.with_columns(pl.col("known_at").alias("known_from"))
    past = contract("clean.prices_history")
    return past.conform(rows.filter(pl.col("known_from") < pl.col("known_to")))
