"""A seeded market with everything that makes time hard: gaps, suspensions, late listings,
delistings, splits, dividends, missing volume, revisions, membership that changes.

``raw_market()`` gives frames as a source would (contracts ``raw.*``); ``clean_prices`` builds
``clean.prices`` from them by a plain loop, independently of the library's processors.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl

from wealthos_pipeline.core.data import contract
from wealthos_pipeline.data.processors.calendar import TradingCalendar

SOURCE = "synthetic"
START, END = date(2016, 1, 4), date(2019, 8, 1)
LOADED = datetime(2018, 1, 2, 12, tzinfo=UTC)
"""History before this was fetched in one go; from here on a fetch a day."""

SECTORS = ("Energy", "Financials", "Health Care", "Industrials", "Technology", "Utilities")
TENORS = ("1M", "3M", "6M", "1Y", "2Y", "3Y", "5Y", "7Y", "10Y", "20Y", "30Y")

LATE = {3: 130, 11: 300, 17: 410, 23: 520, 29: 700}
"""Instrument number → first session."""
GONE = {5: 350, 13: 600, 21: 480, 31: 820}
"""Instrument number → last session."""
SUSPENDED = {7: (200, 245), 19: (500, 512)}
SPLITS = {2: ((260, 2.0),), 9: ((150, 3.0), (640, 2.0)), 15: ((430, 0.1),), 27: ((701, 4.0),)}
NO_VOLUME = (4, 16, 28)
CLOSE_ONLY = (8, 24)
HOLES = {1: 0.02, 10: 0.05, 20: 0.01}
"""Instrument number → share of sessions without a bar."""
DIVIDEND_EVERY = 63
REVISED = ((0, 620), (12, 700), (25, 701), (26, 760), (33, 850))
"""(instrument number, session): bars that the vendor corrected four days later."""
FUNDS = (38, 39)
"""Cross-asset instruments: in no equity universe."""
LEFT_INDEX = {6: 450, 14: 300}
JOINED_INDEX = {17: 500, 22: 365}

Row = dict[str, Any]


@dataclass(frozen=True)
class RawMarket:
    """Frames of the four raw tables."""

    prices: pl.DataFrame
    series: pl.DataFrame
    instruments: pl.DataFrame
    membership: pl.DataFrame


def symbol(i: int) -> str:
    return f"SYN{i:02d}"


def raw_market(
    names: int = 40, *, start: date = START, end: date = END, seed: int = 20160104
) -> RawMarket:
    """The raw frames of ``names`` instruments over the sessions of [start, end]."""
    calendar = TradingCalendar("XNYS")
    days = calendar.frame(start, end)
    rng = np.random.default_rng(seed)
    return RawMarket(
        prices=_prices(names, days, rng),
        series=_series(days, rng),
        instruments=_instruments(names),
        membership=_membership(names, days["date"].to_list()),
    )


def _fetched(days: pl.DataFrame) -> pl.Series:
    known = pl.col("known_at") + timedelta(hours=1)
    return days.select(pl.max_horizontal(known, pl.lit(LOADED))).to_series()


def _prices(names: int, days: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
    count = days.height
    market = 0.0003 + 0.008 * rng.standard_normal(count) * (1 + (np.arange(count) % 400 > 330))
    fetched = _fetched(days).to_list()
    dates = days["date"].to_list()
    rows: list[Row] = []
    for i in range(names):
        own = (0.008 + 0.012 * rng.random()) * rng.standard_normal(count)
        value = 20 + 80 * rng.random()
        beta = 0.4 + 1.2 * rng.random()
        spread = 0.004 + 0.01 * rng.random((count, 3))
        volume = np.round(np.exp(12 + 0.5 * rng.standard_normal(count) + 2 * rng.random()))
        holes = rng.random(count) < HOLES.get(i, 0.0)
        pays = i % 2 == 0
        splits = dict(SPLITS.get(i, ()))
        bars: dict[int, Row] = {}
        for t in range(LATE.get(i, 0), min(GONE.get(i, count - 1), count - 1) + 1):
            ratio = splits.get(t, 1.0)
            value = value * np.exp(beta * market[t] + own[t]) / ratio
            dividend = 0.0
            if pays and (t + 7 * i) % DIVIDEND_EVERY == 0 and ratio == 1.0:
                dividend = round(0.006 * value, 2)
                value -= dividend
            lo, hi = SUSPENDED.get(i, (0, 0))
            event = ratio != 1.0 or dividend
            if (lo <= t < hi or holes[t]) and not event:
                continue
            close = round(value, 2)
            bar: Row = {
                "symbol": symbol(i),
                "date": dates[t],
                "fetched_at": fetched[t],
                "close": close,
                "dividend": dividend or None,
                "split_ratio": ratio if ratio != 1.0 else None,
            }
            if i not in CLOSE_ONLY:
                opened = round(close * (1 + spread[t, 0] - 0.009), 2)
                bar["open"] = opened
                bar["high"] = round(max(opened, close) * (1 + spread[t, 1]), 2)
                bar["low"] = round(min(opened, close) * (1 - spread[t, 2]), 2)
            if i not in NO_VOLUME and i not in CLOSE_ONLY:
                bar["volume"] = float(volume[t])
            bars[t] = bar
        rows += [*bars.values(), *_corrections(i, bars)]
    frame = pl.DataFrame(
        rows, schema_overrides=contract("raw.prices").schema(), infer_schema_length=None
    )
    return contract("raw.prices").conform(
        frame.with_columns(source=pl.lit(SOURCE), currency=pl.lit("USD"))
    )


def _corrections(i: int, bars: dict[int, Row]) -> Iterator[Row]:
    """The later fetch of a corrected bar; its neighbours come along unchanged, as vendors' do."""
    for number, t in REVISED:
        if number != i or t not in bars:
            continue
        fetched = bars[t]["fetched_at"] + timedelta(days=4)
        close = round(bars[t]["close"] * 1.004, 2)
        better = {**bars[t], "close": close, "high": max(bars[t]["high"], close)}
        for row in (bars.get(t - 1), better, bars.get(t + 1)):
            if row is not None:
                yield {**row, "fetched_at": fetched}


def _series(days: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
    count = days.height
    daily = days.select("date").with_columns(fetched_at=_fetched(days), frequency=pl.lit("day"))
    level = 2.0 + np.cumsum(0.03 * rng.standard_normal(count))
    slope = 1.2 + np.cumsum(0.01 * rng.standard_normal(count))
    vix = 15 * np.exp(np.cumsum(0.05 * rng.standard_normal(count)) / 3)
    parts = [
        daily.with_columns(
            series=pl.lit("ust_par"), tenor=pl.lit(tenor), unit=pl.lit("percent"),
            value=pl.Series(np.round(level + slope * k / 10 + 0.02 * rng.standard_normal(count), 2)),
        )
        for k, tenor in enumerate(TENORS)
    ]  # fmt: skip
    for name, unit, values in (
        ("vix", "index", np.round(vix, 2)),
        ("wti", "usd", np.round(50 * np.exp(np.cumsum(0.02 * rng.standard_normal(count))), 2)),
    ):
        parts.append(
            daily.with_columns(
                series=pl.lit(name), tenor=pl.lit(""), unit=pl.lit(unit), value=pl.Series(values)
            )
        )
    monthly = daily.group_by(pl.col("date").dt.month_end(), maintain_order=True).agg(
        pl.col("fetched_at").max() + timedelta(days=5)
    )
    monthly = monthly.filter(pl.col("date") <= days["date"][-1])  # no month that still runs
    for name, tenor in (("moody_yield", "AAA"), ("moody_yield", "BAA"), ("risk_free", "1M")):
        base = {"AAA": 4.0, "BAA": 5.0, "1M": 1.5}[tenor]
        parts.append(
            monthly.with_columns(
                series=pl.lit(name), tenor=pl.lit(tenor), unit=pl.lit("percent"),
                frequency=pl.lit("month"),
                value=pl.Series(np.round(base + 0.2 * rng.standard_normal(monthly.height), 2)),
            )
        )  # fmt: skip
    frame = pl.concat([p.select(sorted(p.columns)) for p in parts])
    return contract("raw.series").conform(frame.with_columns(source=pl.lit(SOURCE)))


def _instruments(names: int) -> pl.DataFrame:
    return contract("raw.instruments").conform(
        pl.DataFrame(
            {
                "source": SOURCE,
                "symbol": [symbol(i) for i in range(names)],
                "fetched_at": LOADED,
                "name": [f"Synthetic {i}" for i in range(names)],
                "asset_class": ["cross_asset" if i in FUNDS else "equity" for i in range(names)],
                "sector": [None if i in FUNDS else SECTORS[i % len(SECTORS)] for i in range(names)],
                "exchange": "XNYS",
                "currency": "USD",
            }
        )
    )


def _membership(names: int, dates: list[date]) -> pl.DataFrame:
    rows = [
        {
            "source": SOURCE,
            "universe": "default",
            "symbol": symbol(i),
            "start": dates[min(max(JOINED_INDEX.get(i, 0), LATE.get(i, 0)), len(dates) - 1)],
            "end": dates[LEFT_INDEX[i]] if i in LEFT_INDEX and LEFT_INDEX[i] < len(dates) else None,
            "fetched_at": LOADED,
        }
        for i in range(names)
        if i not in FUNDS
    ]
    schema = contract("raw.membership").schema()
    return contract("raw.membership").conform(pl.DataFrame(rows, schema_overrides=schema))


def clean_prices(raw: pl.DataFrame) -> pl.DataFrame:
    """``clean.prices`` from the latest raw rows: the two indices chained one bar at a time.

    ``tr[t] = tr[t−1] · (close[t] · split[t] + dividend[t]) / close[t−1]``; both start at 1.
    ``instrument_id`` is the symbol.
    """
    latest = raw.sort("symbol", "date", "fetched_at").unique(
        ["symbol", "date"], keep="last", maintain_order=True
    )
    split_index: list[float] = []
    tr_index: list[float] = []
    before: tuple[str, float] | None = None
    for name, close, dividend, ratio in latest.select(
        "symbol", "close", pl.col("dividend").fill_null(0.0), pl.col("split_ratio").fill_null(1.0)
    ).iter_rows():
        if before is None or before[0] != name:
            split_index.append(1.0)
            tr_index.append(1.0)
        else:
            split_index.append(split_index[-1] * ratio)
            tr_index.append(tr_index[-1] * ((close * ratio + dividend) / before[1]))
        before = (name, close)
    days = TradingCalendar("XNYS").frame(START, END).select("date", "slot", "known_at")
    frame = (
        latest.with_columns(
            instrument_id=pl.col("symbol"),
            split_ratio=pl.col("split_ratio").fill_null(1.0),
            split_index=pl.Series(split_index),
            tr_index=pl.Series(tr_index),
            dollar_volume=pl.col("close") * pl.col("volume"),
            flags=pl.lit(0, pl.Int32),
            basis=pl.lit("assumed"),
        )
        .join(days, on="date", how="left")
        .select(pl.col("^(" + "|".join(contract("clean.prices").column_names) + ")$"))
    )
    return contract("clean.prices").conform(frame)
