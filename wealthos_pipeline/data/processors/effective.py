"""From the versions of a bar to one bar with its predecessor, in one basis.

A vendor of back-adjusted prices rewrites its whole history at every split or dividend. That is a
change of basis and no news: returns do not change. A correction does change a return. The two are
told apart locally. Let fetch *f* give bar *t* again, with another value:

- where *f* also gave *t*'s predecessor *p*, the return from *p* to *t* inside *f* is compared with
  the return believed so far. Equal (up to the rounding of a rescaled price): change of basis, the
  first version of *t* stays. Different: a correction, *t* is taken from *f*;
- the shape of the bar (open, high, low over close, the value traded) is compared in the same way;
- where *f* begins at *t*, the next bar that *f* repeats decides: unchanged, the basis stayed, so *t*
  was corrected; otherwise the basis moved (bars further on say nothing: they may lie behind the
  event that moved it);
- a bar that *f* gives alone is a correction.

The return into *t* is taken inside one fetch: the later of those that *t* and *p* are believed
from. So a new bar chains on what the same fetch says about the bar before, old returns keep their
bits when history is rescaled, and a correction moves the indices from its date on.
"""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from wealthos_pipeline.data.processors.raw import STAMP

ROUNDING_DIGITS = 2
"""Prices are never taken to be rounded to fewer digits than these."""
FLOAT32 = 2.5e-7
"""Relative rounding of a price that passed through Float32."""

_VALUES = ("open", "high", "low", "close", "adj_close", "volume", "dividend", "split_ratio")
_BY = ["instrument_id"]

EVENTS = "_events"
"""Column: the vendor lists splits and dividends for this bar, so adjusted closes are a check only."""
FACTOR = "_factor"
"""Column: what turns the given price into the traded one (``corporate_actions``)."""
RATE = "_fx"
"""Column: price of one unit of the bar's currency in the base currency (``currency``)."""
_PAIRED = ("dividend", "split_ratio", FACTOR, RATE)


def effective(versions: pl.DataFrame) -> pl.DataFrame:
    """One row per instrument and date, sorted so.

    versions: rows of ``raw.prices`` that passed the row rules, all versions, with ``instrument_id``.
    Adds what the return into the bar needs, all from one fetch: ``num_close, num_adj`` (this bar),
    ``den_close, den_adj`` (the bar before; null on the first), with ``prev_date``;
    ``prev_first_close, prev_first_volume`` and ``den_volume`` (the bar before as believed, and as
    that fetch has its volume: they differ after a change of basis); and ``restated_at``, the fetch
    of the last correction of the return or bar (null if none).

    Where the versions have the columns ``EVENTS``, ``FACTOR`` and ``RATE``, also ``num_x`` and
    ``den_x`` for the dividend, the split and both, and ``prev_first_x`` for both. Of a bar with events
    the close alone tells a change of basis from a correction; its split is a part of its shape and
    return where closes are as traded, where no close shows it.
    """
    # identities as ordered integers: sorting 3 million texts costs ten times as much
    ids = pl.Enum(versions["instrument_id"].unique().sort())
    frame = versions.with_columns(pl.col("instrument_id").cast(ids)).sort(*_BY, "date", STAMP)
    same = pl.col("instrument_id") == pl.col("instrument_id").shift(1)
    twice = pl.col("date") == pl.col("date").shift(1)
    late = pl.col(STAMP) < pl.col(STAMP).shift(1)
    names = frame.filter(same & (twice | late)).select(_BY).unique(maintain_order=True)
    simple = _simple(frame.join(names, on=_BY, how="anti", maintain_order="left"))
    if not names.height:
        return simple.with_columns(pl.col("instrument_id").cast(pl.String))
    parts = [
        _resolve(part)
        for part in frame.join(names, on=_BY, how="semi", maintain_order="left").partition_by(
            _BY, maintain_order=True
        )
    ]
    whole = pl.concat([simple, *(p.select(simple.columns) for p in parts)]).sort(*_BY, "date")
    return whole.with_columns(pl.col("instrument_id").cast(pl.String))


def _simple(frame: pl.DataFrame) -> pl.DataFrame:
    """One version a bar: the bar before is the row before."""
    before = ("date", "close", "adj_close", "volume")
    return frame.with_columns(
        pl.col("close").alias("num_close"),
        pl.col("adj_close").alias("num_adj"),
        *(
            pl.col(n).shift(1).over(_BY).alias(name)
            for n, name in zip(
                before, ("prev_date", "den_close", "den_adj", "den_volume"), strict=True
            )
        ),
    ).with_columns(
        pl.col("den_close").alias("prev_first_close"),
        pl.col("den_volume").alias("prev_first_volume"),
        pl.lit(None, dtype=pl.Datetime("us", "UTC")).alias("restated_at"),
        *_pairs(frame),
    )


def _pairs(frame: pl.DataFrame) -> list[pl.Expr]:
    """``num_, den_`` and ``prev_first_`` of the columns that events and currencies need."""
    if EVENTS not in frame.columns:
        return []
    before = [pl.col(n).shift(1).over(_BY) for n in _PAIRED]
    return [
        *(pl.col(n).alias(f"num_{n}") for n in _PAIRED),
        *(b.alias(f"den_{n}") for b, n in zip(before, _PAIRED, strict=True)),
        *(b.alias(f"prev_first_{n}") for b, n in zip(before[2:], _PAIRED[2:], strict=True)),
    ]


def _resolve(frame: pl.DataFrame) -> pl.DataFrame:
    """One instrument with several versions of some bars."""
    days, place = np.unique(frame["date"].to_numpy(), return_inverse=True)
    stamps = frame[STAMP].dt.timestamp("us").to_numpy()
    value = {n: frame[n].cast(pl.Float64).fill_null(np.nan).to_numpy() for n in _VALUES}
    price = np.where(np.isnan(value["adj_close"]), value["close"], value["adj_close"])
    if rich := EVENTS in frame.columns:
        listed = frame[EVENTS].to_numpy()
        price = np.where(listed, value["close"], price)
        # what rescales the closes shows there; a split of traded closes is in its own number alone
        shown = frame["basis_vintage"].is_not_null().to_numpy() | (value["split_ratio"] == 1.0)
        value["split_ratio"] = np.where(listed & shown, np.nan, value["split_ratio"])
    n = len(days)
    said = np.full(n, -1)  # row that the vendor said last
    believed = np.full(n, -1)  # row that the bar is taken from
    num, den = np.full(n, -1), np.full(n, -1)  # rows of the return into the bar
    restated = np.full(n, -1, dtype=np.int64)

    for stamp in np.unique(stamps):
        rows = np.flatnonzero(stamps == stamp)
        at = place[rows]
        old = believed >= 0
        last_old = int(np.flatnonzero(old)[-1]) if old.any() else -1
        given = np.full(n, -1)
        given[at] = rows
        told = said.copy()
        said[at] = rows
        present = np.flatnonzero(said >= 0)
        before, after = np.full(n, -1), np.full(n, -1)
        before[present[1:]] = present[:-1]
        after[present[:-1]] = present[1:]
        for t in at[~old[at]]:  # new bars
            p, s = before[t], after[t]
            believed[t] = num[t] = said[t]
            den[t] = said[p] if p >= 0 else -1
            if t < last_old:  # came late: a correction, of the next bar's return too
                restated[t] = stamp
                if s >= 0 and old[s]:
                    num[s], den[s], restated[s] = said[s], said[t], stamp
        again = at[old[at]]
        moved = np.zeros(n, dtype=bool)  # the return into the bar changed
        for t, following in zip(again, np.append(again, -1)[1:], strict=True):
            p = before[t]
            stayed = following >= 0 and _equal(price[given[following]], price[told[following]])
            if p >= 0 and given[p] >= 0:
                if den[t] >= 0:
                    moved[t] = not _same_return(price, given[t], given[p], num[t], den[t])
            elif stayed or len(again) == 1 == len(at):
                moved[t] = not _equal(price[given[t]], price[told[t]])
            if rich and listed[given[t]]:  # an event that is late or corrected is in no close
                moved[t] |= not _same_dividend(value, given[t], num[t])
                splits = value["split_ratio"]
                moved[t] |= not _equal(splits[given[t]], splits[num[t]])
        for t in again:
            reshaped = not _same_shape(value, given[t], believed[t])
            if not (moved[t] or reshaped):
                continue
            believed[t], restated[t] = given[t], stamp
            if moved[t]:
                p, s = before[t], after[t]
                num[t], den[t] = said[t], said[p] if p >= 0 else -1
                if s >= 0 and num[s] >= 0:
                    num[s], den[s] = said[s], said[t]
                    restated[s] = max(restated[s], stamp)

    out = frame[believed.tolist()]
    previous = np.concatenate(([-1], believed[:-1]))
    take = _taker(value)
    if rich:
        value |= {n: frame[n].cast(pl.Float64).fill_null(np.nan).to_numpy() for n in _PAIRED}
        out = out.with_columns(
            *(take(f"num_{n}", n, num) for n in _PAIRED),
            *(take(f"den_{n}", n, den) for n in _PAIRED),
            *(take(f"prev_first_{n}", n, previous) for n in _PAIRED[2:]),
        )
    return out.with_columns(
        take("num_close", "close", num),
        take("num_adj", "adj_close", num),
        pl.col("date").shift(1).alias("prev_date"),
        take("den_close", "close", den),
        take("den_adj", "adj_close", den),
        take("den_volume", "volume", den),
        take("prev_first_close", "close", previous),
        take("prev_first_volume", "volume", previous),
        pl.Series("restated_at", np.where(restated >= 0, restated, 0))
        .cast(pl.Datetime("us"))
        .dt.replace_time_zone("UTC")
        .set(pl.Series(restated < 0), None),
    )


class _taker:  # noqa: N801 - reads as a verb where it is used
    """Columns of chosen rows; null where the row is −1 or the value missing."""

    def __init__(self, value: dict[str, NDArray[np.float64]]) -> None:
        self.value = value

    def __call__(self, name: str, field: str, rows: NDArray[np.int64]) -> pl.Series:
        taken = np.where(rows >= 0, self.value[field][rows], np.nan)
        return pl.Series(name, taken).fill_nan(None)


def _equal(a: float, b: float) -> bool:
    return bool(a == b or (np.isnan(a) and np.isnan(b)))


def _same_return(price: NDArray[np.float64], t: int, p: int, t0: int, p0: int) -> bool:
    """Whether price[t]/price[p] is price[t0]/price[p0], exactly where the basis did not move, up
    to rounding where it did."""
    if _equal(price[p], price[p0]):
        return _equal(price[t], price[t0])
    rows = (t, p, t0, p0)
    quantum = 10.0 ** -max(_digits(float(price[r])) for r in rows)
    tolerance = sum(0.5 * quantum / abs(price[r]) for r in rows) + 4 * FLOAT32
    return bool(abs(price[t] / price[p] * price[p0] / price[t0] - 1.0) <= tolerance)


def _digits(x: float) -> int:
    """Decimals that ``x`` is rounded to, at least two; 9 where it is not rounded."""
    for k in range(ROUNDING_DIGITS, 7):
        scaled = x * 10.0**k
        if abs(scaled - round(scaled)) < 1e-6 * max(1.0, abs(scaled) * 1e-6):
            return k
    return 9


def _same_shape(value: dict[str, NDArray[np.float64]], t: int, t0: int) -> bool:
    """Whether two versions of a bar are the same up to a change of basis."""
    basis = value["close"][t] / value["close"][t0]
    exact = basis == 1.0
    rounding = 10.0 ** -min(_digits(float(value["close"][i])) for i in (t, t0))
    for name in ("open", "high", "low"):
        a, b = float(value[name][t]), float(value[name][t0])
        if exact or np.isnan(a) or np.isnan(b):
            if not _equal(a, b):
                return False
        elif abs(a / (b * basis) - 1.0) > 2 * rounding * (1 / abs(a) + 1 / abs(b)) + 4 * FLOAT32:
            return False
    a, b = float(value["volume"][t]), float(value["volume"][t0])
    # shares are rescaled against the price (a split), or not at all (a dividend)
    if not _equal(a, b) and (
        exact or not abs(a * basis - b) <= max(1.0, 2 * basis) + 1e-3 * abs(b)
    ):
        return False
    if not _equal(value["split_ratio"][t], value["split_ratio"][t0]):
        return False
    return _same_dividend(value, t, t0)


def _same_dividend(value: dict[str, NDArray[np.float64]], t: int, t0: int) -> bool:
    """Whether two versions of a bar have one dividend, each in the basis of its close."""
    basis = value["close"][t] / value["close"][t0]
    rounding = 10.0 ** -min(_digits(float(value["close"][i])) for i in (t, t0))
    a, b = float(value["dividend"][t]), float(value["dividend"][t0])
    return _equal(a, b) or (basis != 1.0 and abs(a - b * basis) <= 1e-3 * abs(b) + rounding)
