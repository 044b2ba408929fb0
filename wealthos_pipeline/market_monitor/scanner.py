"""The market scan: what a person would want to be told about a name today.

Every rule uses the bar of t and bars before it, nothing else. Windows are counted in calendar
slots, sums run from the oldest to the newest slot, one instrument at a time, so a result depends
neither on where the data begin (beyond ``LOOKBACK``) nor on the order of rows or on threads.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Final

import numpy as np
import polars as pl

from wealthos_pipeline.core.data import contract
from wealthos_pipeline.core.errors import ContractError

Array = np.ndarray

LOOKBACK: Final = 300
"""Sessions of history that ``scan`` needs before ``start``."""

YEAR: Final = 252
VOL_WINDOW: Final = 63
VOL_MIN: Final = 42
SHORT_WINDOW: Final = 10
LONG_WINDOW: Final = 126


@dataclass(frozen=True, slots=True)
class Rule:
    """One signal: what ``value`` and ``threshold`` measure, in words."""

    name: str
    title: str
    value: str
    threshold: str


RULES: Final = (
    Rule(
        "high_52w",
        "New 52-week high",
        "split-adjusted close over the highest of the 251 sessions before, minus 1, decimal",
        "0; at least 200 earlier closes",
    ),
    Rule(
        "low_52w",
        "New 52-week low",
        "split-adjusted close over the lowest of the 251 sessions before, minus 1, decimal",
        "0; at least 200 earlier closes",
    ),
    Rule(
        "gap",
        "Opening gap",
        "adjusted open over the close of the session before, minus 1, decimal",
        "± 3 root-mean-square daily returns of the 63 sessions before",
    ),
    Rule(
        "large_move",
        "Large move",
        "total return of the session, decimal",
        "± 4 root-mean-square daily returns of the 63 sessions before",
    ),
    Rule(
        "volatility_spike",
        "Volatility spike",
        "volatility of 10 sessions over that of the 126 before them, a ratio",
        "2.5, on the session that crosses it",
    ),
    Rule(
        "volume_spike",
        "Volume spike",
        "split-adjusted volume over the mean of the 63 sessions before, a ratio",
        "4; at least 42 earlier volumes",
    ),
)

_COLUMNS = ("instrument_id", "date", "slot", "close", "split_index", "tr_index")
_OPTIONAL = ("open", "volume")


def scan(
    prices: pl.DataFrame, *, universe: pl.DataFrame | None = None, start: date | None = None
) -> pl.DataFrame:
    """Signals of ``RULES`` for every session ≥ ``start`` (``monitor.signals``).

    prices: ``clean.prices`` reaching ``LOOKBACK`` sessions before ``start``. Where ``open`` or
        ``volume`` is null (a close-only vendor) the rules that need it give no rows.
    universe: ``date, instrument_id``; only names in it on the date are reported. None: all.

    A session without a bar gives no row; a return counts only if the session before has a bar.
    Warm-up: no row before a rule has the observations it asks for.
    """
    missing = [c for c in _COLUMNS if c not in prices.columns]
    if missing:
        raise ContractError(
            f"scan needs columns {missing} of clean.prices; the frame has: "
            f"{', '.join(prices.columns)}"
        )
    out = contract("monitor.signals")
    if prices.is_empty():
        return out.empty()
    frame = prices.select(
        *_COLUMNS,
        *(
            pl.col(c) if c in prices.columns else pl.lit(None, dtype=pl.Float64).alias(c)
            for c in _OPTIONAL
        ),
    ).sort("instrument_id", "slot")
    ids = frame["instrument_id"].unique().sort()
    dates = frame.select("slot", "date").unique().sort("slot")
    slots = frame["slot"].to_numpy()
    columns = {c: frame[c].cast(pl.Float64).to_numpy() for c in (*_COLUMNS[3:], *_OPTIONAL)}
    counts = frame["instrument_id"].rle().struct.field("len").to_numpy()
    ends = np.cumsum(counts)

    code: list[Array] = []
    slot: list[Array] = []
    rule: list[Array] = []
    value: list[Array] = []
    threshold: list[Array] = []
    first = None if start is None else _first_slot(dates, start)
    if start is not None and first is None:
        return out.empty()
    for i, (lo, hi) in enumerate(zip(ends - counts, ends, strict=True)):
        at = slots[lo:hi]
        bars = {name: _dense(at, column[lo:hi]) for name, column in columns.items()}
        for r, (v, limit) in enumerate(_rules(bars)):
            hit = np.flatnonzero(~np.isnan(v))
            if first is not None:
                hit = hit[hit + at[0] >= first]
            if hit.size:
                code.append(np.full(hit.size, i, dtype=np.int64))
                rule.append(np.full(hit.size, r, dtype=np.int64))
                slot.append((hit + at[0]).astype(np.int32))
                value.append(v[hit])
                threshold.append(limit[hit])
    if not code:
        return out.empty()
    found = pl.DataFrame(
        {
            "slot": np.concatenate(slot),
            "instrument_id": ids.gather(np.concatenate(code)),
            "signal": pl.Series([r.name for r in RULES]).gather(np.concatenate(rule)),
            "value": np.concatenate(value),
            "threshold": np.concatenate(threshold),
        },
        schema_overrides={"slot": dates.schema["slot"]},
    ).join(dates, on="slot", how="inner")
    if universe is not None:
        keys = universe.select("date", "instrument_id").unique()
        found = found.join(keys, on=["date", "instrument_id"], how="semi")
    return out.conform(found.select(out.column_names))


def title(signal: str) -> str:
    """The rule's words; the name itself if unknown."""
    return next((r.title for r in RULES if r.name == signal), signal)


def _first_slot(dates: pl.DataFrame, start: date) -> int | None:
    later = dates.filter(pl.col("date") >= start)
    return None if later.is_empty() else int(later["slot"][0])


def _dense(at: Array, values: Array) -> Array:
    """``values`` on every slot from the first to the last bar; NaN where there is no bar."""
    if at[-1] - at[0] + 1 == at.size:
        return values
    full = np.full(int(at[-1] - at[0]) + 1, np.nan)
    full[at - at[0]] = values
    return full


def _rules(bars: dict[str, Array]) -> list[tuple[Array, Array]]:
    """(value where the rule fires and NaN elsewhere, threshold), in the order of ``RULES``."""
    tr = bars["tr_index"]
    before = _lag(tr)
    ret = tr / before - 1.0
    sigma = _lag(_rms(ret, VOL_WINDOW, VOL_MIN))

    price = bars["close"] * bars["split_index"]
    enough = _lag(_count(price, YEAR - 1)) >= 200
    high = price / _lag(_extreme(price, YEAR - 1)) - 1.0
    low = price / -_lag(_extreme(-price, YEAR - 1)) - 1.0
    zero = np.zeros_like(price)

    gap = bars["open"] * (tr / bars["close"]) / before - 1.0
    short = _rms(ret, SHORT_WINDOW, SHORT_WINDOW - 2)
    ratio = _divide(short, _lag(_rms(ret, LONG_WINDOW, 2 * VOL_MIN), SHORT_WINDOW))
    crossed = (ratio > 2.5) & ~(_lag(ratio) > 2.5) & ~np.isnan(_lag(ratio))
    shares = bars["volume"] / bars["split_index"]
    surge = _divide(shares, _lag(_mean(shares, VOL_WINDOW, VOL_MIN)))
    return [
        (np.where(enough & (high > 0), high, np.nan), zero),
        (np.where(enough & (low < 0), low, np.nan), zero),
        _beyond(gap, 3.0 * sigma),
        _beyond(ret, 4.0 * sigma),
        (np.where(crossed, ratio, np.nan), np.full_like(ratio, 2.5)),
        (np.where(surge > 4.0, surge, np.nan), np.full_like(surge, 4.0)),
    ]


def _beyond(value: Array, limit: Array) -> tuple[Array, Array]:
    fires = (np.abs(value) > limit) & (limit > 0)
    return np.where(fires, value, np.nan), np.copysign(limit, value)


def _divide(a: Array, b: Array) -> Array:
    return np.divide(a, b, out=np.full_like(a, np.nan), where=b > 0)


def _lag(x: Array, by: int = 1) -> Array:
    out = np.full_like(x, np.nan)
    out[by:] = x[:-by]
    return out


def _count(x: Array, window: int) -> Array:
    """Observations in the window ending here (exact, whole numbers as floats)."""
    total = np.concatenate([[0], np.cumsum(~np.isnan(x))])
    ends = np.arange(1, x.size + 1)
    return (total[ends] - total[np.maximum(ends - window, 0)]).astype(np.float64)


def _sum(x: Array, window: int) -> Array:
    """Sum over the window ending here, oldest first; NaN counts as 0, as do slots before the data.

    Adding +0.0 does not change a sum of squares or volumes, so a window that begins before the
    data gives the bits that it gives with the empty slots there.
    """
    clean = np.where(np.isnan(x), 0.0, x)
    padded = np.concatenate([np.zeros(window - 1), clean])
    out = np.zeros_like(clean)
    for k in range(window):
        out += padded[k : k + clean.size]
    return out


def _mean(x: Array, window: int, least: int) -> Array:
    n = _count(x, window)
    return np.divide(_sum(x, window), n, out=np.full_like(x, np.nan), where=n >= least)


def _rms(ret: Array, window: int, least: int) -> Array:
    """Root mean square of daily returns, the volatility around a mean of zero."""
    return np.sqrt(_mean(ret * ret, window, least))


def _extreme(x: Array, window: int) -> Array:
    """Maximum over the window ending here, by doubling; NaN where the window holds nothing."""
    out = np.where(np.isnan(x), -np.inf, x)
    width = 1
    while width < window:
        step = min(width, window - width)
        shifted = np.full_like(out, -np.inf)
        shifted[step:] = out[:-step]
        out = np.maximum(out, shifted)
        width += step
    return np.where(np.isneginf(out), np.nan, out)
