"""Logistic regression that owns its preprocessing.

Solved by Newton steps with sums in a fixed order, so that the bits depend on the rows and on nothing else; a
test compares with scikit-learn.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wealthos_pipeline.core.errors import ModelError
from wealthos_pipeline.ml.classifiers.calibration import sigmoid

PENALTY = 1.0
"""Weight of half the squared coefficients (of standardised features) against the summed log loss."""

STEPS = 100


@dataclass(frozen=True, slots=True)
class Logistic:
    """log-odds = intercept + Σ coefficient · (x − mean) / scale; a missing feature is its mean."""

    mean: np.ndarray
    scale: np.ndarray
    coefficients: np.ndarray
    intercept: float

    def log_odds(self, X: np.ndarray) -> np.ndarray:
        """float64 (rows,), summed in the order of the features."""
        out = np.full(len(X), self.intercept)
        for j, beta in enumerate(self.coefficients):
            z = (X[:, j] - self.mean[j]) / self.scale[j]
            out += np.where(np.isfinite(z), z, 0.0) * beta
        return out


def fit(X: np.ndarray, y: np.ndarray, w: np.ndarray, penalty: float = PENALTY) -> Logistic:
    """X: float64 (rows, features), NaN where missing; y: 0 or 1, both there; w: positive weights.

    Mean and standard deviation are those of these rows; a feature that does not vary has coefficient 0.
    """
    known = np.isfinite(X)
    count = np.maximum(known.sum(axis=0), 1)
    mean = np.where(known, X, 0.0).sum(axis=0) / count
    gap = np.where(known, X - mean, 0.0)
    spread = np.sqrt((gap * gap).sum(axis=0) / count)
    varies = spread > 1e-12 * np.maximum(1.0, np.abs(mean))
    scale = np.where(varies, spread, 1.0)
    coefficients = np.zeros(X.shape[1])
    coefficients[varies], intercept = _solve((gap / scale)[:, varies], y, w, penalty)
    return Logistic(mean, scale, coefficients, intercept)


def _solve(Z: np.ndarray, y: np.ndarray, w: np.ndarray, penalty: float) -> tuple[np.ndarray, float]:
    """Coefficients and intercept (not penalised) on standardised columns, by Newton steps that are
    halved while they do not lower the loss.

    ModelError if 100 steps do not bring the gradient below 1e-9 of the weights.
    """
    A = np.vstack([Z.T, np.ones(len(y))])
    ridge = np.append(np.full(Z.shape[1], penalty), 0.0)
    total = float(w.sum())
    share = float((w * y).sum()) / total
    beta = np.zeros(len(A))
    beta[-1] = np.log(share / (1.0 - share))
    odds = np.full(len(y), beta[-1])
    loss = _loss(odds, y, w, beta, ridge)
    for _ in range(STEPS):
        p = sigmoid(odds)
        gradient = np.einsum("ir,r->i", A, w * (p - y)) + ridge * beta
        if float(np.abs(gradient).max()) <= 1e-9 * total:
            return beta[:-1], float(beta[-1])
        # not BLAS: its threads would decide the order of the sums
        hessian = np.einsum("ir,jr->ij", A * (w * p * (1.0 - p)), A) + np.diag(ridge)
        step = np.linalg.solve(hessian + 1e-12 * total * np.eye(len(A)), gradient)
        for _ in range(50):
            trial = beta - step
            odds = np.einsum("i,ir->r", trial, A)
            new = _loss(odds, y, w, trial, ridge)
            if new <= loss * (1.0 + 1e-14):
                break
            step *= 0.5
        beta, loss = trial, new
    raise ModelError(
        f"the logistic regression of {len(y)} rows on {Z.shape[1]} features does not settle in {STEPS} "
        "steps: look for features that separate the classes perfectly, or raise the penalty"
    )


def _loss(
    odds: np.ndarray, y: np.ndarray, w: np.ndarray, beta: np.ndarray, ridge: np.ndarray
) -> float:
    # log(1 + exp(z)) − y z
    each = np.maximum(odds, 0.0) + np.log1p(np.exp(-np.abs(odds))) - y * odds
    return float((w * each).sum() + 0.5 * (ridge * beta * beta).sum())
