"""Everything that factors are computed from, as a ``Market``: cleaned rows and made-up reports."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
from pipeline import Driver, settings
from synthetic import RawMarket

from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.factors.admission import Market
from wealthos_pipeline.factors.library import Library

OWN = """
import polars as pl
from wealthos_pipeline.core.asset import AssetClass
from wealthos_pipeline.core.factor import Factor

def fall(frame):
    '''The close over the highest of the last 40 sessions, and its rank on the day.'''
    days = frame.select('date', 'slot').unique()
    high = frame.rolling('slot', period='40i', group_by='instrument_id').agg(top=pl.col('close').max())
    out = frame.join(high, on=['instrument_id', 'slot'], maintain_order='left', how='left')
    depth = pl.col('close') / pl.col('top') - 1
    return out.select('date', 'instrument_id', value=depth.rank().over('date') + depth)

FACTORS = (Factor('own_fall', AssetClass.EQUITY, 'mine', 1, 'Fall', 'own', function=fall, lookback=39),)
"""
"""An own factor in Python: a window of sessions over gaps, and a rank over the names of the date."""


def own_folder(folder: Path) -> Path:
    """``folder`` with own factors of both kinds."""
    (folder / "mine.py").write_text(OWN)
    (folder / "mine.yaml").write_text("factors:\n  own_rise: $close / Min($close, 60) - 1\n")
    return folder


def cleaned(raw: RawMarket, now: datetime, calendar: TradingCalendar) -> Market:
    """The market that the graph's own stages make of raw rows."""
    wanted = ["clean.prices", "clean.series", "clean.instruments"]
    made = Driver(settings(), calendar, until=wanted)(raw, now).tables
    prices, series, instruments = (made[t] for t in wanted)
    return Market(prices, series, instruments, calendar)


def reports(
    library: Library, names: list[str], first: date, last: date, *, seed: int = 7
) -> pl.DataFrame:
    """``clean.fundamentals`` with every figure that the library reads: filed six to thirteen weeks
    after the quarter, one in ten much later, one in eight restated within two years."""
    keys = {k for f in library.families() for keys in f.statements.values() for k in keys}
    metrics = sorted({metric for metric, _ in keys})
    rng = np.random.default_rng(seed)
    days = pl.date_range(first - timedelta(days=900), last, "1mo", eager=True).dt.month_end()
    ends = days.filter(days.dt.month() % 3 == 0)
    grid = (
        pl.DataFrame({"instrument_id": names})
        .join(pl.DataFrame({"period_end": ends}), how="cross")
        .join(pl.DataFrame({"period": ["quarter", "point", "year"]}), how="cross")
        .filter((pl.col("period") != "year") | (pl.col("period_end").dt.month() == 12))
    )
    filed = grid.select("instrument_id", "period_end").unique(maintain_order=True)
    weeks = np.where(rng.random(filed.height) < 0.1, 40, 6 + 7 * rng.random(filed.height))
    filed = filed.with_columns(pl.Series("wait", (weeks * 7).astype(np.int64)))
    grid = grid.join(filed, on=["instrument_id", "period_end"], maintain_order="left")
    rows = grid.join(pl.DataFrame({"metric": metrics}), how="cross")
    value = 100 * np.exp(0.3 * rng.standard_normal(rows.height)) - 20
    first_told = rows.with_columns(pl.Series("value", value))
    again = first_told.filter(pl.Series(rng.random(rows.height) < 0.125))
    again = again.with_columns(pl.col("value") * 1.1 + 1, pl.col("wait") + 500)
    at = pl.col("period_end").cast(pl.Datetime("us")) + pl.duration(days=pl.col("wait"), hours=22)
    return (
        pl.concat([first_told, again])
        .with_columns(at.dt.replace_time_zone("UTC").alias("known_at"), pl.lit("USD").alias("currency"))
        .filter(pl.col("known_at") <= datetime(last.year, last.month, last.day, tzinfo=UTC))
        .drop("wait")
    )  # fmt: skip
