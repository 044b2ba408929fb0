"""When a bar was over where it trades.

Slots are those of the root's exchange, and so is the instant from which a bar counts as known. A bar
of another exchange that closes later on that day (New York's, where London counts the sessions) was
not known then: it is known from its own close plus lag.
"""

from __future__ import annotations

import polars as pl

from wealthos_pipeline.data.processors.calendar import TradingCalendar


def own_close(
    rows: pl.DataFrame, instruments: pl.DataFrame, calendar: TradingCalendar
) -> pl.DataFrame:
    """``rows`` (``raw.bar_known_at``, with ``instrument_id``) whose ``close_at`` and ``known_at`` are not
    before the close of the exchange on which the instrument trades, as described last.

    instruments: ``clean.instruments``. Days on which that exchange held no session stay as they are.
    """
    own = (
        instruments.sort("instrument_id", "valid_from")
        .unique("instrument_id", keep="last", maintain_order=True)
        .filter(pl.col("exchange") != calendar.exchange)
        .select("instrument_id", pl.col("exchange").alias("_exchange"))
    )
    if not own.height:
        return rows
    lag = int(calendar.lag.total_seconds() // 60)
    home, later = calendar.frame(), []
    for name in own["_exchange"].unique().sort():
        theirs = TradingCalendar(name, lag_minutes=lag).frame()
        both = home.select("date", pl.col("close_at").alias("_home")).join(theirs, on="date")
        late = both.filter(pl.col("close_at") > pl.col("_home"))
        later.append(
            late.select(
                pl.lit(name).alias("_exchange"),
                "date",
                pl.col("close_at").alias("_close"),
                pl.col("known_at").alias("_known"),
            )
        )
    hours = pl.concat(later)
    if not hours.height:
        return rows
    return (
        rows.join(own, on="instrument_id", how="left", maintain_order="left")
        .join(hours, on=["_exchange", "date"], how="left", maintain_order="left")
        .with_columns(
            pl.max_horizontal("close_at", "_close").alias("close_at"),
            pl.max_horizontal("known_at", "_known").alias("known_at"),
        )
        .drop("_exchange", "_close", "_known")
    )
