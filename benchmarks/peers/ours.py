"""Our side: panels without holes, what is said of a factor and performance ratios, as Parquet files.

The rows of ``factors.performance``: thirty names, five buckets of six, filled at the next close. The
study of one factor: 203 names, filled at the close of the value itself (``delay=0``), as others do.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl

HORIZON = 5
HORIZONS, LAGS = (1, 5), (1, 5, 20)
FIRST_WITHOUT_HOLES, NAMES = 40, 30


def main(folder: Path) -> None:
    from wealthos_pipeline import factors
    from wealthos_pipeline.core.data import contract
    from wealthos_pipeline.data.processors.calendar import TradingCalendar
    from wealthos_pipeline.factors import evaluation
    from wealthos_pipeline.portfolio import performance

    calendar = TradingCalendar("XNYS")
    prices = panel()
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
                "return_gross": r, "cost": 0.0, "turnover": 0.0, "cash": 0.0, "names": NAMES,
            }
        ).with_columns(pl.col("return_net").fill_nan(None))
    )  # fmt: skip
    performance.summary(nav).write_parquet(folder / "ours_performance.parquet")
    nav.select("date", "return_net").drop_nulls().write_parquet(folder / "returns.parquet")


def study(folder: Path) -> None:
    """What the study of one factor says with ``delay=0``, and what it was made from."""
    import panels

    from wealthos_pipeline.data.processors.calendar import TradingCalendar
    from wealthos_pipeline.factors.engine import evaluate
    from wealthos_pipeline.factors.study import study as looked_at

    calendar = TradingCalendar("XNYS")
    prices = panels.as_clean(panels.seeded(203, 600, suspended=0.0))
    values = evaluate({"factor": "Ref($close, 5) / Ref($close, 60) - 1"}, prices, calendar=calendar)
    days = prices["date"].unique().sort()
    values = values.drop_nulls().filter(pl.col("date") < days[-max(HORIZONS)])
    found = looked_at(
        values,
        prices,
        name="factor",
        calendar=calendar,
        horizons=HORIZONS,
        delay=0,
        draws=0,
        variants=(),
    )
    values.write_parquet(folder / "study_values.parquet")
    prices.pivot("instrument_id", index="date", values="close").sort("date").write_parquet(
        folder / "study_prices.parquet"
    )
    found.ic.write_parquet(folder / "ours_study_ic.parquet")
    found.quantiles.write_parquet(folder / "ours_study_quantiles.parquet")
    found.turnover.write_parquet(folder / "ours_study_turnover.parquet")
    found.autocorrelation.write_parquet(folder / "ours_study_autocorrelation.parquet")


def panel() -> pl.DataFrame:
    """``clean.prices`` of thirty names of the tests' market that have no holes: five full buckets."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests" / "support"))
    import synthetic

    raw = synthetic.raw_market(FIRST_WITHOUT_HOLES + NAMES).prices
    plain = [synthetic.symbol(i) for i in range(FIRST_WITHOUT_HOLES, FIRST_WITHOUT_HOLES + NAMES)]
    return synthetic.clean_prices(raw.filter(pl.col("symbol").is_in(plain)))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
    study(Path(sys.argv[1]))
