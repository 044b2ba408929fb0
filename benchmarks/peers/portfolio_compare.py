"""The same portfolio problems through ours and the peers: ``portfolio_compare.py FOLDER PEERS_PYTHON``.

Each side's weights are judged by one function: value of the objective, largest violation. Exit code 1 where ours is
worse than a peer by more than its tolerance, or the two disagree.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import portfolio_problem as shared
from compare import Table

HERE = Path(__file__).resolve().parent
SIDES = {
    "skfolio_factor": ("plain", 1e-6),
    "skfolio_dense": ("plain", 1e-6),
    "pypfopt": ("plain", 1e-6),
    "riskfolio": ("min_variance", 1e-6),
}
"""Peer → our side of the same problem, and the largest relative difference of the objective."""


def main() -> None:
    folder, python = Path(sys.argv[1]), sys.argv[2]
    folder.mkdir(parents=True, exist_ok=True)
    table = Table()
    for n, k, seed in ((100, 8, 1), (200, 15, 2), (500, 22, 0)):
        case, path = shared.make(n, k, seed), folder / f"case_{n}.npz"
        shared.save(case, path)
        ours = {}
        for side in ("plain", "min_variance"):
            out = folder / f"{side}_{n}.json"
            command = [sys.executable, HERE / "portfolio_ours.py", side, path, out, "1"]
            subprocess.run(command, check=True)
            ours[side] = np.load(out.with_suffix(".npy"))
        for side, (own, allowed) in SIDES.items():
            out = folder / f"{side}_{n}.json"
            command = [python, HERE / "portfolio_theirs.py", side, path, out, "1"]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            theirs = np.load(out.with_suffix(".npy"))
            values = [value(case, own, w) for w in (ours[own], theirs)]
            difference = abs(values[0] - values[1]) / abs(values[0])
            table.line(f"objective, {n} names: {own}", side, difference, allowed)
            worst = case.violation(ours[own])
            table.line(f"violation of ours, {n} names", side, worst, 1e-8)
    sys.exit(bool(table.failed))


def value(case: shared.Case, side: str, w: np.ndarray) -> float:
    return case.objective(w) if side == "plain" else float(w @ case.covariance @ w)


if __name__ == "__main__":
    main()
