"""The problem that every side of the portfolio benchmark solves, from a file of arrays.

Maximise ``α'w − (γh/2) w'Σw − (h/H) Σ c|w − w0|`` with Σ = B F B' + diag(d²), long-only, a box, a budget of 1
and 11 bands of sectors. Only NumPy is used: the file is read in the peers' environments, too.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

GAMMA, HORIZON, HOLDING, COST, CAP = 5.0, 20, 60.0, 0.0005, 0.02
LOW, HIGH = 0.05, 0.15


@dataclass(frozen=True)
class Case:
    """B: n × k, F: k × k, d, alpha, w0: n, sector: n numbers; daily."""

    B: np.ndarray
    F: np.ndarray
    d: np.ndarray
    alpha: np.ndarray
    w0: np.ndarray
    sector: np.ndarray

    @property
    def covariance(self) -> np.ndarray:
        return self.B @ self.F @ self.B.T + np.diag(self.d**2)

    def objective(self, w: np.ndarray) -> float:
        risk = float(w @ self.covariance @ w)
        cost = HORIZON / HOLDING * COST * float(np.abs(w - self.w0).sum())
        return float(self.alpha @ w) - 0.5 * GAMMA * HORIZON * risk - cost

    def violation(self, w: np.ndarray) -> float:
        sums = np.bincount(self.sector, w)
        return max(
            abs(float(w.sum()) - 1.0),
            float(-w.min()),
            float(w.max()) - CAP,
            float(sums.max()) - HIGH,
            LOW - float(sums.min()),
        )


def make(n: int, k: int, seed: int = 0) -> Case:
    """A market factor and styles; half of the names are held."""
    r = np.random.default_rng(seed)
    B = r.normal(size=(n, k)) * 0.005
    B[:, 0] = 0.01 * (1.0 + 0.3 * r.normal(size=n))
    A = r.normal(size=(k, k)) * 0.1
    d = 0.01 + 0.01 * r.random(n)
    w0 = np.where(r.random(n) < 0.5, r.random(n), 0.0)
    alpha = 0.02 * d * np.sqrt(HORIZON) * r.normal(size=n)
    return Case(B, np.eye(k) + 0.1 * A @ A.T, d, alpha, w0 / w0.sum(), np.arange(n) % 11)


def save(case: Case, path: Path) -> None:
    np.savez(path, **vars(case))


def load(path: Path) -> Case:
    with np.load(path) as found:
        return Case(**{name: found[name] for name in found.files})
