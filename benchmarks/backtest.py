"""Time of ``backtest.simulate``: a given path of weights, traded daily, with the event log.

    .venv/bin/python benchmarks/backtest.py [--names 500] [--sessions 2500] [--repeat 3]

Seeded prices and weights without gaps; every name is traded on every session but the first. ``events`` is the
time of the log as a table on top of it.
"""

from __future__ import annotations

import argparse
import json
import sys
import time

import numpy as np

from wealthos_pipeline.core.mandate import Costs
from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.portfolio import accounts, backtest
from wealthos_pipeline.portfolio.panel import Panel


def market(names: int, sessions: int, seed: int = 5) -> tuple[Panel, np.ndarray]:
    """A panel of random walks, and long-only weights that sum to 1 for each session."""
    rng = np.random.default_rng(seed)
    close = 50.0 * np.exp(np.cumsum(rng.normal(0.0003, 0.02, size=(sessions, names)), axis=0))
    weights = rng.random((sessions, names))
    weights /= weights.sum(axis=1, keepdims=True)
    calendar, first = TradingCalendar("XNYS"), 10_000
    dates = tuple(calendar.date_of(s) for s in range(first, first + sessions))
    ids = tuple(f"N{i:05d}" for i in range(names))
    panel = Panel(ids, first, dates, close / close[0], close, np.full_like(close, np.nan))
    return panel, weights


def start_of(panel: Panel, rows: int) -> Panel:
    """The first sessions of a panel."""
    tr, close, opened = (x[:rows] for x in (panel.tr, panel.close, panel.open))
    return Panel(panel.ids, panel.first_slot, panel.dates[:rows], tr, close, opened)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--names", type=int, default=500)
    parser.add_argument("--sessions", type=int, default=2500)
    parser.add_argument("--repeat", type=int, default=3)
    asked = parser.parse_args()
    panel, weights = market(asked.names, asked.sessions)
    costs = Costs(commission_bp=1.0, half_spread_bp=4.0)
    backtest.simulate(weights[:50], start_of(panel, 50), costs=costs)  # loads the kernel
    rows = []
    for _ in range(asked.repeat):
        begin, cpu = time.perf_counter(), time.process_time()
        done = backtest.simulate(weights, panel, costs=costs)
        wall, used = time.perf_counter() - begin, time.process_time() - cpu
        nav = done.nav
        events = done.events
        told = time.process_time() - cpu - used
        rows.append({"wall": wall, "cpu": used, "tables_cpu": told, "nav": nav["nav"][-1]})
    best = min(rows, key=lambda r: r["cpu"])
    fills = events["kind"].is_in(["buy", "sell"]).sum()
    off = int(residual(done))
    sys.stdout.write(
        json.dumps(
            {"names": asked.names, "sessions": asked.sessions, "fills": fills, "events": events.height,
             "residual_ticks": off, **best}, indent=2,
        ) + "\n"
    )  # fmt: skip


def residual(done: backtest.Simulation) -> float:
    """Largest absolute difference of cash from the cash before and the events, in ticks."""
    cash = np.rint(done.nav["cash"].to_numpy() * accounts.TICKS).astype(np.int64)
    by_day = done.events.select("date", "amount").group_by("date").sum()
    moved = done.nav.select("date").join(by_day, on="date", how="left", maintain_order="left")
    moved = moved["amount"].fill_null(0)
    return float(np.abs(np.diff(cash, prepend=0) - moved.to_numpy()).max())


if __name__ == "__main__":
    main()
