"""The peers' side, run in their own environment: alphalens-reloaded and empyrical-reloaded."""

from __future__ import annotations

import sys
from pathlib import Path

import alphalens
import empyrical
import pandas as pd

HORIZON = 5
HORIZONS, LAGS = (1, 5), (1, 5, 20)


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


def study(folder: Path) -> None:
    """What alphalens says of one factor, filled at the close of the value itself."""
    scores = pd.read_parquet(folder / "study_values.parquet")
    scores["date"] = pd.to_datetime(scores["date"])
    prices = pd.read_parquet(folder / "study_prices.parquet").set_index("date")
    prices.index = pd.to_datetime(prices.index)
    data = alphalens.utils.get_clean_factor_and_forward_returns(
        scores.set_index(["date", "instrument_id"])["factor"].rename_axis(["date", "asset"]),
        prices, quantiles=5, periods=HORIZONS, max_loss=0.0,
    )  # fmt: skip
    ic = alphalens.performance.factor_information_coefficient(data)
    by_date, _ = alphalens.performance.mean_return_by_quantile(data, by_date=True, demeaned=False)
    rows = []
    for column, horizon in zip(ic.columns, HORIZONS, strict=True):
        rows.append(
            pd.DataFrame({"date": ic.index, "horizon": horizon, "rank_ic": ic[column].to_numpy()})
        )
    pd.concat(rows).to_parquet(folder / "theirs_study_ic.parquet")
    means = pd.concat(
        by_date[c].groupby(level="factor_quantile").mean().rename("mean_return").reset_index()
        .assign(horizon=h) for c, h in zip(ic.columns, HORIZONS, strict=True)
    ).rename(columns={"factor_quantile": "bucket"})  # fmt: skip
    means.to_parquet(folder / "theirs_study_quantiles.parquet")
    turnover = pd.DataFrame(
        {
            side: alphalens.performance.quantile_turnover(data["factor_quantile"], q, 1)
            for side, q in (("top", 5), ("bottom", 1))
        }
    )
    turnover.rename_axis("date").reset_index().to_parquet(folder / "theirs_study_turnover.parquet")
    pd.DataFrame(
        {
            "lag": LAGS,
            "rank_autocorrelation": [
                alphalens.performance.factor_rank_autocorrelation(data, g).mean() for g in LAGS
            ],
        }
    ).to_parquet(folder / "theirs_study_autocorrelation.parquet")


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
    study(Path(sys.argv[1]))
    ratios(Path(sys.argv[1]))
