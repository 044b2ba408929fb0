"""A function that keeps what it was given once cannot be told from an honest one after the fact."""

from __future__ import annotations

import polars as pl

from wealthos_pipeline.core.asset import AssetClass
from wealthos_pipeline.core.factor import Factor
from wealthos_pipeline.factors.admission import Market, examine


def test_a_function_that_remembers_the_future_is_refused(synthetic_prices, calendar) -> None:
    """It joins tomorrow's return from the longest panel seen, in one process: a cache gone wrong."""
    kept: dict[str, pl.DataFrame] = {}

    def remembers(frame: pl.DataFrame) -> pl.DataFrame:
        close = pl.col("close")
        made = frame.select(
            "date", "instrument_id", value=close.shift(-1).over("instrument_id") / close - 1
        )
        if "it" not in kept or frame.height > kept["it"].height:
            kept["it"] = made
        keys = ["date", "instrument_id"]
        return frame.select(keys).join(kept["it"], on=keys, how="left")

    first = synthetic_prices.group_by("instrument_id").agg(valid_from=pl.col("date").min())
    instruments = first.with_columns(asset_class=pl.lit("equity"))
    factor = Factor("mine", AssetClass.EQUITY, "own", 1, "mine", "", function=remembers, lookback=5)
    found = examine(factor, Market(synthetic_prices, None, instruments, calendar))
    assert not found.admitted
    assert "looks ahead" in (found.reason or "")
