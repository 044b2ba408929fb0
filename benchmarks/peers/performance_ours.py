"""Our side of the performance ratios: one portfolio and its benchmark, made by chance, as Parquet files."""

from __future__ import annotations

import sys
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import polars as pl

SESSIONS = 1500


def main(folder: Path) -> None:
    from wealthos_pipeline.portfolio import performance

    rng = np.random.default_rng(21)
    b = 0.0003 + 0.01 * rng.standard_t(5, SESSIONS) / np.sqrt(5 / 3)
    r = 0.0001 + 0.9 * b + 0.004 * rng.standard_normal(SESSIONS)
    days = [date(2015, 1, 1) + timedelta(i) for i in range(SESSIONS + 1)]
    nav = pl.concat(
        pl.DataFrame(
            {
                "mandate": name, "run_kind": "backtest", "date": days,
                "nav": 100 * np.cumprod([1.0, *(1 + x)]), "return_net": [None, *x], "return_gross": [None, *x],
                "cost": 0.0, "turnover": 0.0, "cash": 0.0, "names": 1,
            },
            schema_overrides={"return_net": pl.Float64, "return_gross": pl.Float64},
        )
        for name, x in (("m", r), ("equal_weight", b))
    )  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    pl.DataFrame({"date": days[1:], "r": r, "b": b}).write_parquet(folder / "returns.parquet")
    own = performance.summary(nav).filter(pl.col("mandate") == "m")
    against = performance.relative(nav).drop("mandate", "run_kind", "benchmark", "sessions")
    pl.concat([own, against], how="horizontal").write_parquet(folder / "ours.parquet")
    nav.filter(pl.col("mandate") == "m").select("date", "nav").write_parquet(folder / "nav.parquet")
    performance.rolling(nav, sessions=252).filter(pl.col("mandate") == "m").write_parquet(
        folder / "ours_rolling.parquet"
    )


def compare(folder: Path) -> int:
    """Prints both sides; the number of those that differ by more than 1e-9."""
    ours = pl.read_parquet(folder / "ours.parquet").row(0, named=True)
    theirs = pl.read_parquet(folder / "theirs.parquet").row(0, named=True)
    rolling = pl.read_parquet(folder / "ours_rolling.parquet")
    peer = pl.read_parquet(folder / "theirs_rolling.parquet")
    gaps = {name: abs(ours[name] - value) for name, value in theirs.items()}
    for name in ("annual_volatility", "sharpe", "max_drawdown"):
        pair = rolling[name].tail(peer.height) - peer[name].tail(rolling.height)
        gaps[f"rolling {name}, {pair.len()} windows"] = float(pair.abs().max())  # type: ignore[arg-type]
    print(f"{'number':<44}{'peer':<24}{'largest difference':>20}{'allowed':>10}")
    for name, gap in gaps.items():
        word = "ok" if gap <= 1e-9 else "DIFFERS"
        print(f"{name:<44}{'empyrical-reloaded':<24}{gap:>20.2e}{1e-9:>10.0e}  {word}")
    return sum(not gap <= 1e-9 for gap in gaps.values())


if __name__ == "__main__":
    if sys.argv[2:] == ["compare"]:
        sys.exit(1 if compare(Path(sys.argv[1])) else 0)
    main(Path(sys.argv[1]))
