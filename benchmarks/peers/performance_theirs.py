"""The peer's side of the performance ratios, run in its own environment: empyrical-reloaded."""

from __future__ import annotations

import sys
from pathlib import Path

import empyrical
import numpy as np
import pandas as pd


def main(folder: Path) -> None:
    rows = pd.read_parquet(folder / "returns.parquet")
    index = pd.to_datetime(rows["date"])
    r, b = (pd.Series(rows[c].to_numpy(), index=index) for c in ("r", "b"))
    root = np.sqrt(252)
    values = {
        "total_return": empyrical.cum_returns_final(r),
        "annual_return": empyrical.annual_return(r),
        "annual_volatility": empyrical.annual_volatility(r),
        "sharpe": empyrical.sharpe_ratio(r),
        "sortino": empyrical.sortino_ratio(r),
        "max_drawdown": empyrical.max_drawdown(r),
        "calmar": empyrical.calmar_ratio(r),
        "omega": empyrical.omega_ratio(r),
        "tail_ratio": empyrical.tail_ratio(r),
        "alpha": empyrical.alpha(r, b),
        "beta": empyrical.beta(r, b),
        "up_capture": empyrical.up_capture(r, b),
        "down_capture": empyrical.down_capture(r, b),
        "information_ratio": empyrical.excess_sharpe(r, b) * root,
        "tracking_error": empyrical.annual_volatility(r - b),
    }
    pd.DataFrame([values]).to_parquet(folder / "theirs.parquet")
    windows = {
        "annual_volatility": empyrical.roll_annual_volatility(r, window=252),
        "sharpe": empyrical.roll_sharpe_ratio(r, window=252),
        "max_drawdown": empyrical.roll_max_drawdown(r, window=252),
    }
    pd.DataFrame({k: np.asarray(v) for k, v in windows.items()}).to_parquet(
        folder / "theirs_rolling.parquet"
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
