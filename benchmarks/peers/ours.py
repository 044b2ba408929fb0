"""Our side: a panel without holes, its factor performance and performance ratios, as Parquet files.

The panel is the sample's 20 stocks (four a bucket, so that buckets are not a matter of taste).
"""

from __future__ import annotations

import sys
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import polars as pl

HORIZON = 5
START, END = date(2012, 1, 3), date(2018, 12, 31)


def main(folder: Path) -> None:
    from wealthos_pipeline import factors
    from wealthos_pipeline.core.data import contract
    from wealthos_pipeline.data.processors.calendar import TradingCalendar
    from wealthos_pipeline.factors import evaluation
    from wealthos_pipeline.portfolio import performance

    calendar = TradingCalendar("XNYS")
    prices = panel(calendar)
    library = factors.load(("core",))
    name = "momentum_12_1"
    scores = (
        prices.sort("instrument_id", "date")
        .select(
            "date",
            "instrument_id",
            (pl.col("tr_index").shift(21) / pl.col("tr_index").shift(252) - 1)
            .over("instrument_id")
            .cast(pl.Float32)
            .alias(name),
        )
        .drop_nulls()
        .sort("date", "instrument_id")
    )
    found = evaluation.performance(
        scores, prices, prices.select("date", "instrument_id"), library, (HORIZON,), calendar,
        end_known=datetime(2030, 1, 1, tzinfo=UTC),
    )  # fmt: skip
    found.filter(pl.col("factor") == name).write_parquet(folder / "ours_factor.parquet")
    # what our labels say, a peer sees as a price: the fill at the next close
    fills = prices.sort("instrument_id", "date").with_columns(
        pl.col("tr_index").shift(-1).over("instrument_id")
    )
    fills.pivot("instrument_id", index="date", values="tr_index").sort("date").write_parquet(
        folder / "fills.parquet"
    )
    scores.rename({name: "factor"}).write_parquet(folder / "scores.parquet")

    returns = (
        prices.sort("instrument_id", "date")
        .with_columns((pl.col("tr_index") / pl.col("tr_index").shift(1) - 1).over("instrument_id").alias("r"))
        .group_by("date").agg(pl.col("r").mean()).sort("date")
    )  # fmt: skip
    r = returns["r"].fill_null(0.0).to_numpy()
    nav = contract("portfolio.nav").conform(
        pl.DataFrame(
            {
                "mandate": "equal_weight", "run_kind": "backtest", "date": returns["date"],
                "nav": 1e7 * np.cumprod(1 + r), "return_net": np.where(np.arange(len(r)), r, np.nan),
                "return_gross": r, "cost": 0.0, "turnover": 0.0, "cash": 0.0, "names": 20,
            }
        ).with_columns(pl.col("return_net").fill_nan(None))
    )  # fmt: skip
    performance.summary(nav).write_parquet(folder / "ours_performance.parquet")
    nav.select("date", "return_net").drop_nulls().write_parquet(folder / "returns.parquet")


def panel(calendar: object) -> pl.DataFrame:
    """``clean.prices`` columns of the sample's 20 stocks; closes chained as total return."""
    from skfolio.datasets import load_sp500_dataset

    wide = pl.from_pandas(load_sp500_dataset().reset_index()).rename({"Date": "date"})
    long = wide.unpivot(index="date", variable_name="instrument_id", value_name="close")
    days = calendar.frame().select("date", "slot", "known_at")  # type: ignore[attr-defined]
    return (
        long.with_columns(pl.col("date").cast(pl.Date), pl.col("close").cast(pl.Float64))
        .filter(pl.col("date").is_between(START, END))
        .join(days, on="date", how="inner")
        .sort("instrument_id", "date")
        .with_columns((pl.col("close") / pl.col("close").first()).over("instrument_id").alias("tr_index"))
        .sort("date", "instrument_id")
    )  # fmt: skip


if __name__ == "__main__":
    main(Path(sys.argv[1]))
