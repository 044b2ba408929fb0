"""The peers' side, run in their own environment: alphalens-reloaded and empyrical-reloaded."""

from __future__ import annotations

import sys
from pathlib import Path

import alphalens
import empyrical
import pandas as pd

HORIZON = 5


def factor(folder: Path) -> None:
    """Rank IC by date and mean forward return by bucket and date."""
    scores = pd.read_parquet(folder / "scores.parquet")
    scores["date"] = pd.to_datetime(scores["date"])
    fills = pd.read_parquet(folder / "fills.parquet").set_index("date")
    fills.index = pd.to_datetime(fills.index)
    data = alphalens.utils.get_clean_factor_and_forward_returns(
        scores.set_index(["date", "instrument_id"])["factor"].rename_axis(["date", "asset"]),
        fills, quantiles=5, periods=(HORIZON,), max_loss=1.0,
    )  # fmt: skip
    ic = alphalens.performance.factor_information_coefficient(data)
    by_date, _ = alphalens.performance.mean_return_by_quantile(data, by_date=True, demeaned=False)
    column = ic.columns[0]
    out = pd.DataFrame({"rank_ic": ic[column]})
    buckets = by_date[column].unstack("factor_quantile")
    for q in range(1, 6):
        out[f"q{q}"] = buckets[q]
    out.reset_index().to_parquet(folder / "theirs_factor.parquet")


def ratios(folder: Path) -> None:
    """Performance ratios of one return series."""
    returns = pd.read_parquet(folder / "returns.parquet").set_index("date")["return_net"]
    returns.index = pd.to_datetime(returns.index)
    values = {
        "annual_return": empyrical.annual_return(returns),
        "annual_volatility": empyrical.annual_volatility(returns),
        "sharpe": empyrical.sharpe_ratio(returns),
        "sortino": empyrical.sortino_ratio(returns),
        "max_drawdown": empyrical.max_drawdown(returns),
        "calmar": empyrical.calmar_ratio(returns),
    }
    pd.DataFrame([values]).to_parquet(folder / "theirs_performance.parquet")


if __name__ == "__main__":
    factor(Path(sys.argv[1]))
    ratios(Path(sys.argv[1]))
