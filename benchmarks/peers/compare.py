"""Puts both sides beside each other; exit code 1 when a number disagrees."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import polars as pl


class Table:
    """Lines of the comparison, printed as they come."""

    def __init__(self) -> None:
        self.failed = 0
        print(f"{'number':<44}{'peer':<24}{'largest difference':>20}{'allowed':>10}  ")

    def line(self, what: str, peer: str, difference: float, allowed: float) -> None:
        good = bool(difference <= allowed)
        self.failed += not good
        print(
            f"{what:<44}{peer:<24}{difference:>20.2e}{allowed:>10.0e}  {'ok' if good else 'DIFFERS'}"
        )


def factor(folder: Path, table: Table) -> None:
    ours = pl.read_parquet(folder / "ours_factor.parquet").filter(pl.col("rank_ic").is_not_null())
    ours = ours.sort("universe").unique("date", keep="last", maintain_order=True)
    theirs = pl.read_parquet(folder / "theirs_factor.parquet").with_columns(
        pl.col("date").cast(pl.Date)
    )
    both = ours.join(theirs, on="date", suffix="_peer")
    if both.height < 500:
        raise SystemExit(f"only {both.height} dates in common: nothing was compared")
    peer = "alphalens-reloaded"
    for column in ("rank_ic", "q1", "q2", "q3", "q4", "q5"):
        gap = (both[column] - both[f"{column}_peer"]).abs().max()
        table.line(f"{column}, {both.height} dates", peer, float(gap), 1e-9)  # type: ignore[arg-type]


STUDY = {
    "ic": (["horizon", "date"], ["rank_ic"], 500),
    "quantiles": (["horizon", "bucket"], ["mean_return"], 10),
    "turnover": (["date"], ["top", "bottom"], 400),
    "autocorrelation": (["lag"], ["rank_autocorrelation"], 3),
}
"""Frame of a study → its key, the numbers compared, and how many rows there must be at least."""


def study(folder: Path, table: Table) -> None:
    """The study of one factor with ``delay=0``: 203 names."""
    for frame, (key, numbers, least) in STUDY.items():
        ours = pl.read_parquet(folder / f"ours_study_{frame}.parquet")
        theirs = pl.read_parquet(folder / f"theirs_study_{frame}.parquet")
        casts = [pl.col(k).cast(pl.Date if k == "date" else pl.Int64) for k in key]
        both = ours.with_columns(casts).join(theirs.with_columns(casts), on=key, suffix="_peer")
        for number in numbers:
            pair = both.select(
                number, peer=pl.col(f"{number}_peer").fill_nan(None)
            ).drop_nulls()  # fmt: skip
            if pair.height < least:
                raise SystemExit(f"study: only {pair.height} values of {number} in common")
            gap = (pair[number] - pair["peer"]).abs().max()
            words = f"study: {number}, {pair.height} values"
            table.line(words, "alphalens-reloaded", float(gap), 1e-9)  # type: ignore[arg-type]


def ratios(folder: Path, table: Table) -> None:
    ours = pl.read_parquet(folder / "ours_performance.parquet").row(0, named=True)
    theirs = pl.read_parquet(folder / "theirs_performance.parquet").row(0, named=True)
    for name, value in theirs.items():
        table.line(name, "empyrical-reloaded", abs(ours[name] - value), 1e-9)


def minimum_variance(table: Table) -> None:
    """Long-only minimum variance with a cap, against skfolio on the same covariance."""
    from skfolio import RiskMeasure
    from skfolio.optimization import MeanRisk, ObjectiveFunction
    from skfolio.prior import EmpiricalPrior

    from wealthos_pipeline.portfolio.optimization import optimise
    from wealthos_pipeline.portfolio.problem import Problem

    rng = np.random.default_rng(20)
    n, k = 30, 5
    loadings, specific = rng.standard_normal((n, k)), 0.01 + 0.01 * rng.random(n)
    x = 0.01 * rng.standard_normal((1500, k)) @ loadings.T + specific * rng.standard_normal(
        (1500, n)
    )
    covariance = np.cov(x, rowvar=False)
    peer = MeanRisk(
        objective_function=ObjectiveFunction.MINIMIZE_RISK, risk_measure=RiskMeasure.VARIANCE,
        max_weights=0.15, prior_estimator=EmpiricalPrior(), solver="CLARABEL",
    ).fit(x)  # fmt: skip
    values, vectors = np.linalg.eigh(covariance)
    floor = 0.5 * values[0]
    ours = optimise(
        Problem.simple(
            vectors, np.diag(values - floor), np.full(n, np.sqrt(floor)),
            upper=0.15, risk_aversion=1.0,
        )
    )  # fmt: skip
    mine = np.asarray(ours.weights)
    variance = [float(w @ covariance @ w) for w in (mine, peer.weights_)]
    table.line("minimum variance: variance", "skfolio", abs(variance[0] / variance[1] - 1), 1e-6)
    table.line(
        "minimum variance: weights", "skfolio", float(np.abs(mine - peer.weights_).max()), 1e-3
    )


def main() -> int:
    folder, table = Path(sys.argv[1]), Table()
    factor(folder, table)
    study(folder, table)
    ratios(folder, table)
    minimum_variance(table)
    return int(table.failed > 0)


if __name__ == "__main__":
    sys.exit(main())
