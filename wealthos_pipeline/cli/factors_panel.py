"""A plain table of prices as bars: for looking at an expression without a run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from wealthos_pipeline.core.errors import PanelError

if TYPE_CHECKING:
    import polars as pl

    from wealthos_pipeline.data.processors.calendar import TradingCalendar

NAMES = ("instrument_id", "symbol", "ticker", "instrument", "name")
DATES = ("date", "datetime", "day")
RETURNS = ("tr_index", "adj_close", "adj close", "adjclose", "adjusted_close")
PRICES = ("open", "high", "low", "close", "volume")


def read(path: Path, calendar: TradingCalendar) -> pl.DataFrame:
    """Bars of a Parquet or CSV file with one row a name and day: a name, a date, ``close``, and of
    ``open high low volume`` what there is; ``tr_index`` or ``adj_close`` where dividends are known.

    Prices are taken as adjusted. Days on which the exchange is closed and rows without a close are left
    out. PanelError lists everything that is wrong.
    """
    import polars as pl

    if not path.is_file():
        raise PanelError(str(path), ["there is no such file"])
    try:
        frame = (
            pl.read_parquet(path)
            if path.suffix == ".parquet"
            else pl.read_csv(path, try_parse_dates=True)
        )
    except (pl.exceptions.PolarsError, OSError) as error:
        raise PanelError(str(path), [f"it cannot be read: {str(error).splitlines()[0]}"]) from error
    lower = {c.casefold().lstrip("$"): c for c in frame.columns}
    name = next((lower[n] for n in NAMES if n in lower), None)
    day = next((lower[n] for n in DATES if n in lower), None)
    faults = [
        f"no column {what}; the columns are {', '.join(frame.columns)}"
        for what, found in (
            ("of names (" + ", ".join(NAMES) + ")", name),
            ("of dates (" + ", ".join(DATES) + ")", day),
            ("close", lower.get("close")),
        )
        if found is None
    ]
    if name is None or day is None or "close" not in lower:
        raise PanelError(str(path), faults)
    given = [pl.col(lower[c]).cast(pl.Float64).alias(c) for c in PRICES if c in lower]
    if total := next((lower[c] for c in RETURNS if c in lower), None):
        given.append(pl.col(total).cast(pl.Float64).alias("tr_index"))
    rows = frame.select(
        pl.col(name).cast(pl.String).alias("instrument_id"), pl.col(day).cast(pl.Date).alias("date"), *given
    ).drop_nulls(["instrument_id", "date", "close"])  # fmt: skip
    twice = rows.filter(pl.struct("instrument_id", "date").is_duplicated())
    if twice.height:
        who = twice.row(0, named=True)
        raise PanelError(
            str(path), [f"{who['instrument_id']} has several rows on {who['date']} ({twice.height} such rows)"]
        )  # fmt: skip
    rows = rows.join(calendar.frame().select("date", "slot", "known_at"), on="date", how="inner")
    if rows.is_empty():
        raise PanelError(str(path), [f"none of its days is a session of {calendar.exchange}"])
    rows = rows.sort("instrument_id", "date")
    missing = [pl.lit(None, pl.Float64).alias(c) for c in PRICES if c not in rows.columns]
    if "tr_index" not in rows.columns:
        missing.append(
            (pl.col("close") / pl.col("close").first().over("instrument_id")).alias("tr_index")
        )
    rows = rows.with_columns(missing)
    return rows.with_columns(
        split_index=pl.lit(1.0),
        flags=pl.lit(0, pl.Int32),
        dollar_volume=pl.col("close") * pl.col("volume"),
    )
