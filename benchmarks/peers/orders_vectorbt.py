"""A given path of weights traded daily through vectorbt: ``orders_vectorbt.py CASE.npz OUT REPEATS``."""

from __future__ import annotations

import json
import sys
import time
import warnings
from pathlib import Path

import numpy as np

warnings.simplefilter("ignore")


def main() -> None:
    import pandas as pd
    import vectorbt as vbt

    source, out, repeats = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    with np.load(source) as found:
        close, weights = pd.DataFrame(found["close"]), pd.DataFrame(found["weights"])

    def simulate(rows: int) -> vbt.Portfolio:
        made = vbt.Portfolio.from_orders(
            close.iloc[:rows],
            size=weights.shift(1).iloc[:rows],
            size_type="targetpercent",
            group_by=True,
            cash_sharing=True,
            call_seq="auto",
            fees=0.0005,
            init_cash=1e7,
            freq="1D",
        )
        made.value()
        return made

    simulate(50)
    times, orders = [], 0
    for _ in range(repeats):
        cpu, wall = time.process_time(), time.perf_counter()
        made = simulate(len(close))
        times.append([time.process_time() - cpu, time.perf_counter() - wall])
        orders = len(made.orders.values)
    value = float(made.value().iloc[-1])
    out.write_text(json.dumps({"times": times, "orders": int(orders), "value": value}))


if __name__ == "__main__":
    main()
