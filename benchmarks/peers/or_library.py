"""The long-only frontier of OR-Library problem 1 at all of its 2,000 published points.

Run: ``.venv/bin/python benchmarks/peers/or_library.py [FOLDER]``; the folder holds return.csv, risk.csv and
frontier.csv of ``INDTRACK1`` (Chang, Meade, Beasley & Sharaiha 2000). Prints the largest relative difference of
variance and fails above 1e-6. The dense covariance goes through (B, F, D) as B = V √λ, F = I, d = 0.
"""

from __future__ import annotations

import csv
import sys
import time
from pathlib import Path

import numpy as np

from wealthos_pipeline.portfolio import certificate, native
from wealthos_pipeline.portfolio.problem import Exposure, Problem
from wealthos_pipeline.portfolio.reduced import reduce

TOLERANCE = 1e-6
DEFAULT = Path(__file__).resolve().parents[2].parent / "shared/oracles/or_library/INDTRACK1"


def numbers(file: Path) -> np.ndarray:
    """Rows of numbers of a CSV file without a header."""
    with file.open() as lines:
        return np.array([[float(x) for x in row] for row in csv.reader(lines) if row])


def load(folder: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean returns (n), covariance (n × n), and the frontier (points × mean, variance)."""
    mean, sd = numbers(folder / "return.csv").T
    rho = np.eye(len(mean))
    for i, j, value in numbers(folder / "risk.csv"):
        rho[int(i) - 1, int(j) - 1] = rho[int(j) - 1, int(i) - 1] = value
    return mean, rho * np.outer(sd, sd), numbers(folder / "frontier.csv")


def difference(mean: np.ndarray, sigma: np.ndarray, target: float, published: float) -> float:
    """Our smallest variance at a mean of at least ``target``, relative to the published one, less 1."""
    values, vectors = np.linalg.eigh(sigma)
    B = vectors * np.sqrt(np.maximum(values, 0.0))
    n = len(mean)
    least = Exposure("return", "exposures", mean / mean.max(), lower=target / mean.max())
    p = Problem.simple(
        B, np.eye(n), np.zeros(n), objective_kind="min_variance", horizon=1, exposures=(least,),
        holding_period=1.0,
    )  # fmt: skip
    form = reduce(p)
    found = certificate.certified(p, native.solve(p, form), form)
    if found.status != "optimal":
        raise SystemExit(f"mean {target}: {found.status}: {found.message}")
    return float(found.weights @ sigma @ found.weights) / published - 1.0


def main() -> None:
    """All points."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else DEFAULT
    if not folder.is_dir():
        raise SystemExit(f"{folder} is not there: give the folder of INDTRACK1")
    mean, sigma, frontier = load(folder)
    start = time.process_time()
    away = np.array([difference(mean, sigma, min(r, float(mean.max())), v) for r, v in frontier])
    seconds = time.process_time() - start
    print(
        f"{len(away)} points, {len(mean)} assets: relative variance {away.min():.1e} to {away.max():.1e}, "
        f"{1e3 * seconds / len(away):.1f} ms of CPU a point"
    )
    if np.abs(away).max() > TOLERANCE:
        raise SystemExit(f"more than {TOLERANCE:.0e} away")


if __name__ == "__main__":
    main()
