"""Walk-forward with a PCA risk model through ours: ``walk_ours.py RETURNS.npy OUT REBALANCES [full]``.

Every five sessions: the statistical risk model (20 factors) of the 500 trailing sessions, then minimum variance with
costs and a cap a name, from drifted weights, certified. Writes CPU and wall seconds of the loop and the returns.
``full`` asks for the denoised model with its default windows instead: as a run estimates it.
"""

from __future__ import annotations

import json
import sys
import time
from datetime import date
from pathlib import Path

import numpy as np

TRAIN, STEP, CAP, COST = 500, 5, 0.05, 0.0005


def main() -> None:
    from wealthos_pipeline.portfolio import conic, risk
    from wealthos_pipeline.portfolio.optimization import optimise
    from wealthos_pipeline.portfolio.problem import Problem
    from wealthos_pipeline.utils.config import PortfolioSettings

    source, out, count = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    returns = np.load(source)
    n = returns.shape[1]
    ids = tuple(f"x{i:04d}" for i in range(n))
    settings = PortfolioSettings(risk_sessions=TRAIN, risk_factors=20)
    w = np.zeros(n)
    made = []

    def step(k: int, w: np.ndarray) -> np.ndarray:
        window = returns[k * STEP : k * STEP + TRAIN]
        model = risk.from_returns(window, ids, date(2020, 1, 2), settings)
        p = Problem(
            ids=ids,
            w0=w,
            benchmark=np.full(n, 1.0 / n),
            alpha=np.zeros(n),
            B=model.B,
            F=model.F,
            d=model.d,
            cost=np.full(n, COST),
            lower=np.zeros(n),
            upper=np.full(n, CAP),
            fixed=np.full(n, np.nan),
            fixed_why=("",) * n,
            objective_kind="min_variance",
        )
        found = optimise(p)
        if found.status != "optimal":
            raise RuntimeError(found.message)
        return found.weights

    with conic.blas().limit(limits=1):
        step(0, w)
        cpu, wall = time.process_time(), time.perf_counter()
        for k in range(count):
            w = step(k, w)
            ahead = returns[k * STEP + TRAIN : (k + 1) * STEP + TRAIN]
            for day in ahead:
                made.append(float(w @ day))
                w = w * (1.0 + day) / (1.0 + made[-1])
        spent = [time.process_time() - cpu, time.perf_counter() - wall]
    out.write_text(json.dumps({"seconds": spent, "volatility": float(np.std(made) * 252**0.5)}))


if __name__ == "__main__":
    main()
