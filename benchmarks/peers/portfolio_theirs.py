"""The portfolio problem through a peer: ``portfolio_theirs.py SIDE CASE.npz OUT REPEATS``.

SIDE: skfolio_factor, skfolio_dense, pypfopt, riskfolio. Writes weights and CPU and wall seconds of each solve,
from the arrays in memory to the weights (imports and reading apart, one warming solve before).
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import portfolio_problem as shared

warnings.simplefilter("ignore")
RISK = 0.5 * shared.GAMMA * shared.HORIZON
CHARGE = shared.HORIZON / shared.HOLDING * shared.COST


def skfolio(case: shared.Case, dense: bool) -> Callable[[], np.ndarray]:
    from skfolio.optimization import MeanRisk, ObjectiveFunction
    from skfolio.prior import BasePrior, FactorModel, ReturnDistribution

    n, k = case.B.shape
    names = np.array([f"x{i:04d}" for i in range(n)])

    class Given(BasePrior):
        """The risk estimate as it is given."""

        def __init__(self) -> None:
            pass

        def fit(self, X, y=None, **more):
            model = None
            if not dense:
                model = FactorModel(
                    observations=np.arange(2).astype(str),
                    asset_names=names,
                    factor_names=np.array([f"f{j}" for j in range(k)]),
                    factor_families=None,
                    loading_matrix=case.B,
                    exposures=None,
                    factor_covariance=case.F,
                    factor_mu=np.zeros(k),
                    factor_returns=None,
                    idio_covariance=case.d**2,
                    idio_mu=None,
                    idio_returns=None,
                    idio_variances=None,
                )
            self.return_distribution_ = ReturnDistribution(
                mu=case.alpha, covariance=case.covariance, returns=np.asarray(X), factor_model=model
            )
            return self

    X = np.zeros((2, n))
    groups = np.array([[f"s{s}" for s in case.sector]])
    bands = [f"s{s} <= {shared.HIGH}" for s in range(11)]
    bands += [f"s{s} >= {shared.LOW}" for s in range(11)]

    def solve() -> np.ndarray:
        made = MeanRisk(
            objective_function=ObjectiveFunction.MAXIMIZE_UTILITY,
            risk_aversion=RISK,
            prior_estimator=Given(),
            min_weights=0.0,
            max_weights=shared.CAP,
            transaction_costs=CHARGE,
            previous_weights=case.w0,
            groups=groups,
            linear_constraints=bands,
            portfolio_params={},
        ).fit(X)
        return np.asarray(made.weights_)

    return solve


def pypfopt(case: shared.Case) -> Callable[[], np.ndarray]:
    import pandas as pd
    from pypfopt import EfficientFrontier, objective_functions

    names = [f"x{i:04d}" for i in range(len(case.d))]
    mu = pd.Series(case.alpha, names)
    cov = pd.DataFrame(case.covariance, names, names)
    sector = {name: f"s{s}" for name, s in zip(names, case.sector, strict=True)}
    lows = {f"s{s}": shared.LOW for s in range(11)}
    highs = {f"s{s}": shared.HIGH for s in range(11)}

    def solve() -> np.ndarray:
        ef = EfficientFrontier(mu, cov, weight_bounds=(0, shared.CAP), solver="CLARABEL")
        ef.add_sector_constraints(sector, lows, highs)
        ef.add_objective(objective_functions.transaction_cost, w_prev=case.w0, k=CHARGE)
        ef.max_quadratic_utility(risk_aversion=2.0 * RISK)
        return np.asarray(ef.weights)

    return solve


def riskfolio(case: shared.Case) -> Callable[[], np.ndarray]:
    """Minimum variance only: it takes no cost per unit traded in its objective."""
    import pandas as pd
    import riskfolio as rp

    names = [f"x{i:04d}" for i in range(len(case.d))]
    rows = np.array([case.sector == s for s in range(11)], float)

    def solve() -> np.ndarray:
        port = rp.Portfolio(returns=pd.DataFrame(np.zeros((2, len(names))), columns=names))
        port.mu = pd.DataFrame(case.alpha[None, :], columns=names)
        port.cov = pd.DataFrame(case.covariance, names, names)
        port.upperlng = shared.CAP
        port.ainequality = np.vstack([rows, -rows])
        port.binequality = np.concatenate([np.full(11, shared.HIGH), np.full(11, -shared.LOW)])[
            :, None
        ]
        port.solvers = ["CLARABEL"]
        w = port.optimization(model="Classic", rm="MV", obj="MinRisk", hist=True)
        return w.to_numpy().ravel()

    return solve


def main() -> None:
    side, source, out, repeats = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4])
    case = shared.load(source)
    solve = {
        "skfolio_factor": lambda: skfolio(case, dense=False),
        "skfolio_dense": lambda: skfolio(case, dense=True),
        "pypfopt": lambda: pypfopt(case),
        "riskfolio": lambda: riskfolio(case),
    }[side]()
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
