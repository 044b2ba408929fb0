"""The path of weights of ``orders_vectorbt.py`` through ours, with the event log: ``orders_ours.py CASE.npz OUT REPEATS``.

vectorbt's clock stops at orders and values in arrays; ours at net asset value and events in arrays, and is told a second
time with both as tables.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np


def main() -> None:
    from wealthos_pipeline.core.mandate import Costs
    from wealthos_pipeline.data.processors.calendar import TradingCalendar
    from wealthos_pipeline.portfolio.panel import Panel
    from wealthos_pipeline.portfolio.simulation import simulate

    source, out, repeats = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    with np.load(source) as found:
        close, weights = found["close"], found["weights"]
    calendar, first = TradingCalendar("XNYS"), 10_000

    def panel(rows: int) -> Panel:
        dates = tuple(calendar.date_of(s) for s in range(first, first + rows))
        ids = tuple(f"N{i:05d}" for i in range(close.shape[1]))
        part = close[:rows]
        return Panel(ids, first, dates, part / part[0], part, np.full_like(part, np.nan))

    costs = Costs(commission_bp=1.0, half_spread_bp=4.0)
    simulate(weights[:50], panel(50), costs=costs)
    whole = panel(len(close))
    times, tables = [], []
    for _ in range(repeats):
        cpu, wall = time.process_time(), time.perf_counter()
        done = simulate(weights, whole, costs=costs)
        times.append([time.process_time() - cpu, time.perf_counter() - wall])
        nav, events = done.nav, done.events
        tables.append([time.process_time() - cpu, time.perf_counter() - wall])
    body = {
        "times": times,
        "tables": tables,
        "events": events.height,
        "orders": events.filter(events["kind"].is_in(["buy", "sell"])).height,
        "value": float(nav["nav"][-1]),
    }
    out.write_text(json.dumps(body))


if __name__ == "__main__":
    main()
