"""Panels that both sides of a comparison read: the real one and a seeded one, and Qlib's own format.

Every number is rounded to Float32 first, as Qlib stores nothing finer; ``vwap`` is a stand-in,
(high + low + close) / 3, since no source here gives one.
"""

from __future__ import annotations

from datetime import date
from pathlib import Path

import numpy as np
import polars as pl

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
REAL = SHARED / "prices" / "sp500_ohlcv_2005_2024.parquet"
FIELDS = ("open", "high", "low", "close", "volume", "vwap")
LAST = date(2024, 3, 8)
SEED = 158
SUSPENDED = 0.015


def real(names: int | None = None) -> pl.DataFrame:
    """The real panel, ``date, instrument_id`` and ``FIELDS``: all 615 names or some spread over them.

    Names whose bars leave out a session between their first and their last would be dropped: with
    gaps the two sides differ by design (docs/factors/qlib.md).
    """
    frame = pl.read_parquet(REAL).drop_nulls(["open", "high", "low", "close", "volume"])
    sessions = pl.DataFrame({"date": frame["date"].unique().sort()}).with_row_index("slot")
    spans = (
        frame.join(sessions, on="date")
        .group_by("symbol")
        .agg(span=pl.col("slot").max() - pl.col("slot").min() + 1, rows=pl.len())
        .filter(pl.col("span") == pl.col("rows"))
    )
    symbols = spans["symbol"].sort()
    if names is not None and names < len(symbols):
        symbols = symbols.gather(np.linspace(0, len(symbols) - 1, names).astype(int).tolist())
    ids = pl.DataFrame({"symbol": symbols}).with_row_index("id")
    kept = frame.join(ids, on="symbol").with_columns(
        instrument_id=pl.format("N{}", pl.col("id").cast(pl.String).str.zfill(4))
    )
    return _both(kept)


def seeded(names: int, sessions: int, suspended: float = SUSPENDED) -> pl.DataFrame:
    """Random walks on New York sessions up to ``LAST``; ``suspended`` is the share of missing bars."""
    from wealthos_pipeline.data.processors.calendar import TradingCalendar

    calendar = TradingCalendar("XNYS")
    last = calendar.slot(LAST)
    days = calendar.frame().filter(pl.col("slot").is_between(last - sessions + 1, last))["date"]
    rng = np.random.default_rng(SEED)
    shape = names, sessions
    close = 50 * np.exp(np.cumsum(0.02 * rng.standard_normal(shape), axis=1))
    start = close * np.exp(0.005 * rng.standard_normal(shape))
    high = np.maximum(start, close) * np.exp(0.005 * np.abs(rng.standard_normal(shape)))
    low = np.minimum(start, close) * np.exp(-0.005 * np.abs(rng.standard_normal(shape)))
    volume = np.round(np.exp(13 + 0.5 * rng.standard_normal(shape)))
    there = rng.random(shape) >= suspended
    there[:, [0, -1]] = True
    name, day = np.nonzero(there)
    ids = pl.Series([f"N{i:04d}" for i in range(names)])
    return _both(
        pl.DataFrame(
            {
                "instrument_id": ids.gather(name), "date": days.gather(day), "open": start[there],
                "high": high[there], "low": low[there], "close": close[there],
                "volume": volume[there],
            }
        )
    )  # fmt: skip


def _both(frame: pl.DataFrame) -> pl.DataFrame:
    """Float32 values, kept as Float64; sorted by date and instrument."""
    rounded = frame.with_columns(pl.col("open", "high", "low", "close", "volume").cast(pl.Float32))
    rounded = rounded.with_columns(
        pl.col("open", "high", "low", "close", "volume").cast(pl.Float64)
    )
    mean = (pl.col("high") + pl.col("low") + pl.col("close")) / 3
    return (
        rounded.with_columns(vwap=mean.cast(pl.Float32).cast(pl.Float64))
        .select("date", "instrument_id", *FIELDS)
        .sort("date", "instrument_id")
    )


def as_clean(frame: pl.DataFrame) -> pl.DataFrame:
    """The panel as ``clean.prices`` has it: no split, no dividend, the index is the close."""
    return frame.with_columns(
        split_index=pl.lit(1.0),
        tr_index=pl.col("close"),
        dollar_volume=pl.col("close") * pl.col("volume"),
    )


def write_qlib(frame: pl.DataFrame, folder: Path) -> None:
    """Qlib's storage: a calendar, the listing spans, one little-endian Float32 file a field and name.

    A file's first value is the calendar's number of its first session; sessions without a bar are
    NaN.
    """
    days = frame["date"].unique().sort()
    (folder / "calendars").mkdir(parents=True)
    (folder / "instruments").mkdir()
    (folder / "calendars" / "day.txt").write_text("\n".join(map(str, days)) + "\n")
    place = pl.DataFrame({"date": days}).with_row_index("slot")
    spans = []
    for (name,), rows in (
        frame.join(place, on="date").sort("slot").group_by("instrument_id", maintain_order=True)
    ):
        slot = rows["slot"].to_numpy().astype(np.int64)
        spans.append((name, rows["date"][0], rows["date"][-1]))
        home = folder / "features" / str(name).lower()
        home.mkdir(parents=True)
        for field in FIELDS:
            values = np.full(slot[-1] - slot[0] + 2, np.nan, "<f4")
            values[0] = slot[0]
            values[1 + slot - slot[0]] = rows[field].to_numpy()
            values.tofile(home / f"{field}.day.bin")
    lines = (f"{name}\t{first}\t{last}\n" for name, first, last in sorted(spans))
    (folder / "instruments" / "all.txt").write_text("".join(lines))
