"""How often tests of a mean IC reject a true null: the table of ``docs/research/statistics.md``.

    .venv/bin/python benchmarks/size_of_tests.py [--draws 2000]

A factor that does not move and knows nothing has, by date, the sum of h independent draws as its
information coefficient (up to scale): the worst case of overlap. Draws are normal, or Student's t
with four degrees whose size clusters in time, as returns do.
"""

from __future__ import annotations

import argparse
import sys

import numpy as np

from wealthos_pipeline.stats.mean_test import mean_test
from wealthos_pipeline.stats.newey_west import mean_tstat

LEVEL, NORMAL = 0.05, 1.959963984540054
COLUMNS = (
    "plain t", "Newey–West h − 1", "Newey–West 2h", "bootstrap", "non-overlapping", "|t| least",
    "p-value",
)  # fmt: skip


def shocks(rng: np.random.Generator, n: int, kind: str) -> np.ndarray:
    """n draws with mean 0: ``normal``, or ``heavy`` (t with 4 degrees, volatility that clusters)."""
    if kind == "normal":
        return rng.standard_normal(n)
    wild = np.empty(n)
    level = 0.0
    noise = rng.standard_normal(n) * 0.15
    for i in range(n):
        level = 0.97 * level + noise[i]
        wild[i] = level
    return np.asarray(rng.standard_t(4, n) * np.exp(wild))


def size(rng: np.random.Generator, n: int, horizon: int, kind: str, draws: int) -> list[float]:
    """Share of rejections at 5 % by each column's test."""
    rejected = np.zeros(len(COLUMNS))
    for _ in range(draws):
        ics = np.convolve(shocks(rng, n + horizon - 1, kind), np.ones(horizon), "valid")
        found = mean_test(ics, horizon)
        ts = (
            mean_tstat(ics, 0)[2], mean_tstat(ics, horizon - 1)[2], found.t_newey_west,
            found.t_bootstrap, found.t_non_overlapping, found.t,
        )  # fmt: skip
        rejected[:-1] += np.abs(ts) > NORMAL
        rejected[-1] += found.p_value < LEVEL
    return list(rejected / draws)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=2000)
    draws = parser.parse_args().draws
    out = sys.stdout.write
    out(f"| draws | dates | h | {' | '.join(COLUMNS)} |\n")
    out(f"|{' --- |' * (3 + len(COLUMNS))}\n")
    rng = np.random.default_rng(20)
    for kind in ("normal", "heavy"):
        for n in (504, 2500):
            for horizon in (1, 5, 20, 60):
                found = size(rng, n, horizon, kind, draws)
                cells = " | ".join(f"{100 * s:.1f} %" for s in found)
                out(f"| {kind} | {n:,} | {horizon} | {cells} |\n")
                sys.stdout.flush()


if __name__ == "__main__":
    main()
