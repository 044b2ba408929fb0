"""Splits: from prices in a vendor's latest basis to traded prices, and what the list is worth.

A vendor with events gives closes that are divided by every split that it knew of when it was asked.
Row by row this is undone: times the splits after the row that were known at its fetch. A split of
tomorrow then changes nothing that is stored; it is one number on its day.

The list of splits may be late, wrong or premature, so no return rests on it alone:

- both closes of a return come from one fetch, where they have one basis. There the list cancels
  out, whatever it says;
- where they come from two fetches, the list counts, and is checked: a growth that is the ratio of the
  split or its inverse (within a third, in logs), or that the adjusted closes contradict while they
  agree with the smaller growth without it, means that the split is in the prices once too often or too
  seldom;
- the split on a day is what the traded closes and the return leave for it. Where that is what the
  list says, the list's number is used; where it is not, the number that fits (``split_not_in_prices``
  if the list has a split, ``split_without_event`` if it has none).

A move by a plain ratio with no split in the list and no change of basis is believed and marked: it
may be a crash. When the vendor lists the split or corrects the bars later, that is a correction.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import polars as pl
from numpy.typing import NDArray

from wealthos_pipeline.data.processors.effective import EVENTS, FACTOR, RATE
from wealthos_pipeline.data.processors.raw import STAMP

PLAIN = tuple(float(n) for n in (2, 3, 4, 5, 6, 7, 8, 10, 12, 15, 20, 25, 30, 40, 50, 100))
"""Ratios by which companies split their shares; a move by one of them is suspicious."""
BAND = 0.03
"""In logs: how near to a plain ratio a move without an event is marked."""
SMALL = 1.5
"""Smaller ratios than this are not told from an ordinary move by the price alone."""
NEAR = 12
"""Calendar days before a split in which the bar before it is looked for."""
SLACK = 0.02
"""What a split may differ from the list's number before the list is taken to be wrong."""
AGREES = 1e-3
"""How near the growth of adjusted closes must be to a growth that it confirms."""

_BY = "instrument_id"


def with_factors(versions: pl.DataFrame) -> pl.DataFrame:
    """``versions`` (rows of ``raw.prices`` with ``instrument_id``) with ``EVENTS`` and ``FACTOR``.

    Events of an instrument are known where the vendor says so of ordinary days too (``split_ratio`` 1).
    A row's factor: the product of the splits after its date, up to its ``basis_vintage``, in the
    versions known at its ``fetched_at``; 1 where the prices are as traded, or nothing is known.
    """
    split = pl.col("split_ratio")
    adjusted = pl.col("basis_vintage").is_not_null()
    lists = split.is_not_null() & (adjusted | pl.col("dividend").is_not_null())
    out = versions.with_columns(lists.alias(EVENTS))
    # a panel that has a number on the days of splits alone does not say that it knows them all
    names = out.filter(EVENTS).filter(split != 1.0)[_BY].unique()
    ordinary = out.filter(pl.col(_BY).is_in(names.implode()) & pl.col(EVENTS) & (split == 1.0))
    silent = names.filter(~names.is_in(ordinary[_BY].unique().implode()))
    if silent.len():
        known = pl.col(EVENTS) & ~pl.col(_BY).is_in(silent.implode())
        out = out.with_columns(known.alias(EVENTS))
    out = out.with_columns((pl.col(EVENTS) & adjusted).alias("_listed"))
    factor = _products(out, _intervals(out))
    return out.with_columns(pl.Series(FACTOR, factor)).drop("_listed")


def _products(rows: pl.DataFrame, known: pl.DataFrame) -> NDArray[np.float64]:
    """The factor of each row, from the last split back: a row's product is that of the row after it
    times one split, to the last bit."""
    factor = np.ones(rows.height)
    if not known.height:
        return factor
    columns = ("_day", "_ratio", "_from", "_to")
    steps = {
        str(name): list(zip(*(part[c].to_physical().to_list() for c in columns), strict=True))
        for (name,), part in known.group_by(_BY, maintain_order=True)
    }
    day, vintage, stamp = (
        rows[c].to_physical().to_numpy() for c in ("date", "basis_vintage", STAMP)
    )
    listed = rows["_listed"].to_numpy()
    runs = rows[_BY].rle()
    end = 0
    for name, length in zip(runs.struct.field("value"), runs.struct.field("len"), strict=True):
        at, end = slice(end, end + length), end + length
        for when, ratio, since, until in steps.get(name, ()):
            hit = (day[at] < when) & (vintage[at] >= when) & listed[at]
            hit &= (stamp[at] >= since) & (stamp[at] < until)
            factor[at] = np.where(hit, factor[at] * ratio, factor[at])
    return factor


def _intervals(rows: pl.DataFrame) -> pl.DataFrame:
    """``instrument_id, _day, _ratio``, known in ``[_from, _to)``, from the last split back."""
    events = rows.filter("_listed")
    days = events.filter(pl.col("split_ratio") != 1.0).select(_BY, "date").unique()
    end = pl.lit(_END).cast(pl.Datetime("us", "UTC"))
    spans = (
        events.join(days, on=[_BY, "date"], how="semi")
        .sort(_BY, "date", STAMP)
        .select(
            _BY,
            pl.col("date").alias("_day"),
            pl.col("split_ratio").alias("_ratio"),
            pl.col(STAMP).alias("_from"),
            pl.col(STAMP).shift(-1).over(_BY, "date").fill_null(end).alias("_to"),
        )
    )
    spans = _not_applied(spans, events)
    spans = spans.filter((pl.col("_ratio") != 1.0) & (pl.col("_from") < pl.col("_to")))
    return spans.sort([_BY, "_day", "_from"], descending=[False, True, False])


_END = np.datetime64("9999-12-31T00:00:00", "us").item()


def _not_applied(spans: pl.DataFrame, events: pl.DataFrame) -> pl.DataFrame:
    """``spans`` without the fetches whose own prices jump by a split that they list: these prices
    were not rescaled."""
    around = pl.concat(
        spans.select(_BY, pl.col("_day").dt.offset_by(f"-{k}d").alias("date")) for k in range(NEAR)
    ).unique()
    fetched = (
        events.join(around, on=[_BY, "date"], how="semi")
        .join(spans.select(_BY, pl.col("_from").alias(STAMP)).unique(), on=[_BY, STAMP], how="semi")
        .sort(_BY, STAMP, "date")
    )
    jump = fetched.with_columns(
        (pl.col("close") / pl.col("close").shift(1).over(_BY, STAMP)).alias("_jump")
    ).filter(pl.col("split_ratio") != 1.0)
    size = pl.col("split_ratio").log().abs()
    missed = jump.filter(
        (size >= np.log(SMALL))
        & ((pl.col("_jump") * pl.col("split_ratio")).log().abs() <= size / 3)
    ).select(
        _BY, pl.col("date").alias("_day"), pl.col(STAMP).alias("_from"), pl.lit(True).alias("_no")
    )
    if not missed.height:
        return spans
    # that fetch alone: later ones are judged by their own prices where they give them again
    return (
        spans.join(missed, on=[_BY, "_day", "_from"], how="left", maintain_order="left")
        .with_columns(
            pl.when(pl.col("_no").is_not_null())
            .then(pl.col("_from") + pl.duration(microseconds=1))
            .otherwise("_from")
            .alias("_from")
        )
        .drop("_no")
    )


def returns(bars: pl.DataFrame) -> pl.DataFrame:
    """``bars`` (of ``effective``, with ``EVENTS``) with what events make of each return.

    Adds ``_bridge`` (what joins the basis of the two closes of the return, splits included),
    ``_price`` (growth of the price that a holder sees, 1 share then against its shares now),
    ``_fit`` (the split that the traded closes leave, null where the list's number fits), and
    ``_suspect`` (a plain ratio without an event). Null ``den_close`` gives nulls.
    """
    ratio = pl.col("num_split_ratio").fill_null(1.0)
    bridge = pl.col(f"num_{FACTOR}") * ratio / pl.col(f"den_{FACTOR}")
    price = pl.col("num_close") / pl.col("den_close") * bridge
    bars = bars.with_columns(bridge.alias("_bridge"), ratio.alias("_ratio"))
    vendor = pl.col("num_adj") / pl.col("den_adj")
    size = pl.col("_ratio").log().abs()
    moved = pl.col("_price").log()
    bars = bars.with_columns(price.alias("_price"), vendor.alias("_vendor"))
    wrong = pl.lit(value=False)
    better = pl.lit(1.0)
    for other in (1.0 / pl.col("_ratio"), pl.col("_ratio")):
        without = pl.col("_price") * other
        plain = (
            (size >= np.log(SMALL)) & (without.log().abs() <= size / 3) & (moved.abs() > size / 2)
        )
        told = ((pl.col("_vendor") / without - 1).abs() <= AGREES) & (
            (pl.col("_vendor") / pl.col("_price") - 1).abs() > 10 * AGREES
        )
        told &= without.log().abs() < moved.abs()  # prices not yet rescaled tell the same
        hit = (pl.col("_ratio") != 1.0) & (plain | told).fill_null(value=False)
        better = pl.when(hit & ~wrong).then(other).otherwise(better)
        wrong = wrong | hit
    bars = bars.with_columns(better.alias("_better")).with_columns(
        (pl.col("_bridge") * pl.col("_better")).alias("_bridge"),
        (pl.col("_price") * pl.col("_better")).alias("_price"),
    )
    traded = pl.col("close") * pl.col(FACTOR)
    before = pl.col("prev_first_close") * pl.col(f"prev_first_{FACTOR}")
    # in the currency of the bar before, where the two differ
    money = (pl.col(RATE) * pl.col(f"den_{RATE}")) / (
        pl.col(f"num_{RATE}") * pl.col(f"prev_first_{RATE}")
    )
    fits = pl.col("_price") * before / (traded * money)
    given = ("num_close", "den_close", "prev_first_close", "close")
    slack = SLACK + 0.005 * pl.sum_horizontal(1 / pl.col(n) for n in given)
    rescaled = (pl.col("den_close") != pl.col("prev_first_close")) | (pl.col("_ratio") != 1.0)
    off = (rescaled & ((fits / pl.col("_ratio") - 1).abs() > slack)).fill_null(value=False)
    events = pl.col(EVENTS)
    near = _near(bars["_price"].to_numpy())
    bars = bars.with_columns(
        pl.when(events & off).then(fits).alias("_fit"),
        (events & pl.Series(near) & (pl.col("_ratio") == 1.0))
        .fill_null(value=False)
        .alias("_suspect"),
    )
    return bars.with_columns(
        pl.Series("_fit", _plain(bars["_fit"].to_numpy(), bars.height), dtype=pl.Float64)
        .fill_nan(None)
    )  # fmt: skip


def _near(growth: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether a growth is next to a plain ratio or its inverse."""
    out = np.zeros(len(growth), dtype=np.bool_)
    with np.errstate(invalid="ignore", divide="ignore"):
        move = np.abs(np.log(growth))
        at = np.flatnonzero(move >= np.log(PLAIN[0]) - BAND)
    out[at] = (np.abs(move[at, None] - np.log(PLAIN)) <= BAND).any(axis=1)
    return out


def _plain(values: NDArray[np.float64], n: int) -> NDArray[np.float64]:
    """Each number as the fraction of small whole numbers next to it, where one is near."""
    out = np.asarray(values, dtype=np.float64).copy()
    for i in np.flatnonzero(np.isfinite(out)):
        x = float(out[i])
        near = (
            Fraction(x).limit_denominator(20)
            if x >= 1
            else 1 / Fraction(1 / x).limit_denominator(20)
        )
        if abs(float(near) / x - 1.0) <= 2 * SLACK:
            out[i] = float(near)
    assert len(out) == n
    return out
