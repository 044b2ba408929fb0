"""The walk-forward of ``walk_ours.py`` through skfolio: ``walk_theirs.py RETURNS.npy OUT REBALANCES SIDE``.

SIDE: ``dense`` is its usual way (Ledoit–Wolf), ``factor`` the same 20 principal components in factor form, through a
prior that we wrote for it, the best that it can do. Its weights start each step from 0: no cost to the drifted ones.
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from pathlib import Path

import numpy as np

warnings.simplefilter("ignore")
TRAIN, STEP, CAP, FACTORS = 500, 5, 0.05, 20


def main() -> None:
    from skfolio.model_selection import WalkForward, cross_val_predict
    from skfolio.moments import LedoitWolf
    from skfolio.optimization import MeanRisk
    from skfolio.prior import BasePrior, EmpiricalPrior, FactorModel, ReturnDistribution
    from sklearn.decomposition import PCA

    source, out, count, side = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
    returns = np.load(source)[: TRAIN + count * STEP]
    names = np.array([f"x{i:04d}" for i in range(returns.shape[1])])

    class Components(BasePrior):
        """Covariance of the first principal components and what they leave."""

        def __init__(self) -> None:
            pass

        def fit(self, X, y=None, **more):
            X = np.asarray(X)
            sigma = X.std(axis=0)
            Z = (X - X.mean(axis=0)) / sigma
            found = PCA(FACTORS, svd_solver="covariance_eigh").fit(Z)
            B = (found.components_ * sigma).T
            F = np.diag(found.explained_variance_)
            own = np.maximum(sigma**2 - ((B @ F) * B).sum(axis=1), 0.01 * sigma**2)
            self.return_distribution_ = ReturnDistribution(
                mu=X.mean(axis=0),
                covariance=B @ F @ B.T + np.diag(own),
                returns=X,
                factor_model=FactorModel(
                    observations=np.arange(len(X)).astype(str),
                    asset_names=names,
                    factor_names=np.array([f"f{j}" for j in range(FACTORS)]),
                    factor_families=None,
                    loading_matrix=B,
                    exposures=None,
                    factor_covariance=F,
                    factor_mu=np.zeros(FACTORS),
                    factor_returns=None,
                    idio_covariance=own,
                    idio_mu=None,
                    idio_returns=None,
                    idio_variances=None,
                ),
            )
            return self

    prior = Components() if side == "factor" else EmpiricalPrior(covariance_estimator=LedoitWolf())
    model = MeanRisk(prior_estimator=prior, min_weights=0.0, max_weights=CAP)
    model.fit(returns[:TRAIN])
    cpu, wall = time.process_time(), time.perf_counter()
    made = cross_val_predict(model, returns, cv=WalkForward(test_size=STEP, train_size=TRAIN))
    spent = [time.process_time() - cpu, time.perf_counter() - wall]
    volatility = float(np.std(np.asarray(made.returns)) * 252**0.5)
    out.write_text(json.dumps({"seconds": spent, "volatility": volatility}))


if __name__ == "__main__":
    main()
