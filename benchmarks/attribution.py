"""Attribution of ten years of days × 500 names, by sector and by risk factor, against 1/N and in full.

    python benchmarks/attribution.py [--names 500] [--years 10] [--factors 20]

One mandate that trades every month and its benchmark; the CPU seconds are those of the public function from
tables to a table (prices to a panel and risk models from their tables included), then of linking the ten years.
Target: at most 5 CPU s.
"""

from __future__ import annotations

import argparse
import time
from datetime import date

import numpy as np
import polars as pl

from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.portfolio import attribution, linking, risk
from wealthos_pipeline.portfolio.risk import RiskModel


def market(names: int, years: int, factors: int) -> dict[str, object]:
    """Prices, instruments, positions, NAV and risk models of a seeded market."""
    rng = np.random.default_rng(7)
    calendar = TradingCalendar()
    days = calendar.sessions(date(2010, 1, 4), date(2010 + years, 1, 4))
    T, ids = len(days), [f"N{i:04d}" for i in range(names)]
    slots = np.array([calendar.slot(d) for d in days], dtype=np.int32)
    B = 0.01 * rng.standard_normal((names, factors))
    returns = rng.standard_normal((T, factors)) @ B.T + 0.015 * rng.standard_normal((T, names))
    tr = np.cumprod(1 + np.clip(returns, -0.5, 0.5), axis=0)
    prices = pl.DataFrame(
        {
            "instrument_id": pl.Series(ids).gather(np.tile(np.arange(names), T)),
            "date": pl.Series(days).gather(np.repeat(np.arange(T), names)),
            "slot": np.repeat(slots, names),
            "close": tr.ravel(),
            "tr_index": tr.ravel(),
        }
    )
    instruments = pl.DataFrame(
        {
            "instrument_id": ids,
            "valid_from": [days[0]] * names,
            "sector": [f"sector {i % 11:02d}" for i in range(names)],
        }
    )
    months = [t for t in range(T - 1) if days[t].month != days[t + 1].month]
    positions, navs = [], []
    for mandate in ("core", "equal_weight"):
        value, units = np.empty(T), np.zeros(names)
        for t in range(T):
            value[t] = units @ tr[t] if t else 1e7
            if t == 0 or t in months:
                w = np.full(names, 1.0 / names)
                if mandate == "core":
                    w = rng.dirichlet(np.ones(names))
                units = value[t] * w / tr[t]
                positions.append(
                    pl.DataFrame({"instrument_id": [*ids, "cash"], "units": [*units, 0.0]}).select(
                        pl.lit(mandate).alias("mandate"),
                        pl.lit("backtest").alias("run_kind"),
                        pl.lit(days[t]).alias("date"),
                        "instrument_id",
                        "units",
                    )
                )
        net = np.r_[np.nan, value[1:] / value[:-1] - 1]
        navs.append(
            pl.DataFrame(
                {
                    "date": days,
                    "nav": value,
                    "return_net": net,
                    "return_gross": net,
                    "cost": 0.0,
                    "cash": 0.0,
                }
            ).select(
                pl.lit(mandate).alias("mandate"), pl.lit("backtest").alias("run_kind"), pl.all()
            )
        )
    models = [
        RiskModel(
            days[t], tuple(ids), tuple(f"pc{k:02d}" for k in range(factors)), B, np.eye(factors),
            np.full(names, 0.015),
        )
        for t in months
    ]  # fmt: skip
    exposures, covariances = risk.to_frames(models)
    nav = pl.concat(navs).with_columns(pl.col("return_net", "return_gross").fill_nan(None))
    return {
        "prices": prices, "instruments": instruments, "positions": pl.concat(positions), "nav": nav,
        "exposures": exposures, "covariances": covariances, "calendar": calendar,
    }  # fmt: skip


def main() -> None:
    """Time the daily effects and the linking, and say what they were of."""
    ask = argparse.ArgumentParser(description=__doc__)
    ask.add_argument("--names", type=int, default=500)
    ask.add_argument("--years", type=int, default=10)
    ask.add_argument("--factors", type=int, default=20)
    given = ask.parse_args()
    m = market(given.names, given.years, given.factors)
    for words, absolute in (("against 1/N", False), ("against 1/N and in full", True)):
        cpu, wall = time.process_time(), time.perf_counter()
        rows = attribution.daily(
            m["positions"], m["nav"], m["prices"], m["instruments"], m["calendar"],
            schemes=attribution.SCHEMES, absolute=absolute,
            models=risk.from_frames(m["exposures"], m["covariances"]),
        )  # fmt: skip
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        left = rows.filter(pl.col("effect") == "residual")["value"].abs().max()
        print(
            f"sector and factor, {words}: {cpu:.2f} CPU s, {wall:.2f} s, {rows.height:,} rows, "
            f"largest residual {left:.1e}"
        )
    for method in linking.METHODS:
        cpu = time.process_time()
        out = linking.linked(rows, m["nav"], method=method)
        print(f"linked by {method}: {time.process_time() - cpu:.2f} CPU s, {out.height} lines")


if __name__ == "__main__":
    main()
