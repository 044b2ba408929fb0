"""The portfolio problem through ours: ``portfolio_ours.py SIDE CASE.npz OUT REPEATS``; SIDE: plain, min_variance.

From the arrays in memory to certified weights: validation, solve, duality gap, marginal utilities and all.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np
import portfolio_problem as shared


def main() -> None:
    from wealthos_pipeline.portfolio.optimization import optimise
    from wealthos_pipeline.portfolio.problem import Group, Problem

    side, source, out, repeats = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4])
    case = shared.load(source)
    plain = side == "plain"

    def solve() -> np.ndarray:
        groups = tuple(
            Group(f"s{s}", "group", case.sector == s, shared.LOW, shared.HIGH) for s in range(11)
        )
        n = len(case.d)
        p = Problem(
            ids=tuple(f"x{i:04d}" for i in range(n)),
            w0=case.w0,
            benchmark=np.full(n, 1.0 / n),
            alpha=case.alpha if plain else np.zeros(n),
            B=case.B,
            F=case.F,
            d=case.d,
            cost=np.full(n, shared.COST if plain else 0.0),
            lower=np.zeros(n),
            upper=np.full(n, shared.CAP),
            fixed=np.full(n, np.nan),
            fixed_why=("",) * n,
            risk_aversion=shared.GAMMA,
            horizon=shared.HORIZON,
            holding_period=shared.HOLDING,
            groups=groups,
        )
        found = optimise(p)
        if found.status != "optimal":
            raise RuntimeError(f"{found.status}: {found.message}")
        return found.weights

    w = solve()
    times = []
    for _ in range(repeats):
        cpu, wall = time.process_time(), time.perf_counter()
        w = solve()
        times.append([time.process_time() - cpu, time.perf_counter() - wall])
    np.save(out.with_suffix(".npy"), w)
    out.write_text(json.dumps(times))


if __name__ == "__main__":
    main()
