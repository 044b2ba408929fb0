"""A backtest's ratio judged among the portfolios that stand beside it and what else was tried."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from wealthos_pipeline.portfolio import performance
from wealthos_pipeline.portfolio.deflated import judged
from wealthos_pipeline.stats.sharpe import judge
from wealthos_pipeline.stats.trials import deflation

N = 600


def nav(name: str, returns: np.ndarray) -> pl.DataFrame:
    days = [date(2018, 1, 1) + timedelta(days=i) for i in range(N + 1)]
    values = [None, *returns.tolist()]
    return pl.DataFrame(
        {"mandate": name, "run_kind": "backtest", "date": days, "return_net": values,
         "return_gross": values, "nav": 1.0, "cost": 0.0, "turnover": 0.0, "names": 3}
    )  # fmt: skip


@pytest.fixture(scope="module")
def lot() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(2)
    market = 0.01 * rng.standard_normal(N) + 0.0006
    return {n: market + 0.004 * rng.standard_normal(N) for n in ("a", "b", "equal_weight")}


def test_portfolios_are_trials_of_each_other_and_the_benchmark_is_none(
    lot: dict[str, np.ndarray],
) -> None:
    frame = pl.concat([nav(n, r) for n, r in lot.items()] + [nav("never", np.zeros(N))])
    days = frame["date"].unique().sort()
    rf = pl.DataFrame({"date": days, "rf": np.full(len(days), 0.0001)})
    found = judged(frame, rf, tried=12)
    x = np.column_stack([lot["a"], lot["b"]]) - 0.0001
    by = deflation(x, further=10)
    for i, name in enumerate(("a", "b")):
        expected = judge(x[:, i], trials=by.effective, variance=by.variance)
        row = found[(name, "backtest")]
        assert row["psr"] == pytest.approx(expected.psr)
        assert row["dsr"] == pytest.approx(expected.dsr)
        assert (row["trials"], row["effective_trials"]) == (12, pytest.approx(by.effective))
    bench = found[("equal_weight", "backtest")]
    assert bench["psr"] == pytest.approx(judge(lot["equal_weight"] - 0.0001).psr)
    assert bench["dsr"] is bench["trials"] is None
    # cash less the risk-free rate has an absurd ratio: it must not blow up the variance of the others
    assert set(found[("never", "backtest")].values()) == {None}
    table = performance.summary(frame, rf, tried=12).sort("mandate")
    assert table["dsr"].to_list()[:2] == [found[(n, "backtest")]["dsr"] for n in ("a", "b")]


def test_a_single_portfolio_has_its_psr(lot: dict[str, np.ndarray]) -> None:
    row = performance.summary(nav("a", lot["a"])).row(0, named=True)
    assert row["dsr"] == row["psr"] == pytest.approx(judge(lot["a"]).psr)
    assert (row["trials"], row["effective_trials"]) == (1, 1.0)
