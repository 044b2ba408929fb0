"""Decisions with whole numbers: CPU and wall seconds, and the gap that was proven.

``python benchmarks/integer.py``: made-up markets of 11 sectors and 22 factors, some 20 s in all. CPU counts the
child process of the mixed-integer solver.
"""

from __future__ import annotations

import resource
import time
from dataclasses import replace

import numpy as np

from wealthos_pipeline.portfolio import integer
from wealthos_pipeline.portfolio.problem import Floats, Group, Problem, TaxLots

SECTORS, STYLES = 11, 10


def market(n: int, seed: int, upper: float, risk_aversion: float = 5.0) -> Problem:
    """Mean-variance with cost, long-only, a box and bands of ±5 % around each sector's share of the names."""
    rng = np.random.default_rng(seed)
    sector = rng.integers(0, SECTORS, n)
    B = np.zeros((n, 1 + SECTORS + STYLES))
    B[:, 0] = 1.0 + 0.3 * rng.standard_normal(n)
    B[np.arange(n), 1 + sector] = 1.0
    B[:, 1 + SECTORS :] = rng.standard_normal((n, STYLES))
    sd = np.array([0.009, *[0.006] * SECTORS, *[0.002] * STYLES])
    d = rng.uniform(0.008, 0.03, n)
    alpha = 0.03 * d * np.sqrt(20) * rng.standard_normal(n)
    groups = []
    for j in range(SECTORS):
        share = float((sector == j).mean())
        low, high = max(0.0, share - 0.05), share + 0.05
        groups.append(Group(f"sector {j}", "group", sector == j, low, high))
    return Problem.simple(
        B, np.diag(sd**2), d, alpha=alpha, cost=0.0005, upper=upper, groups=tuple(groups),
        risk_aversion=risk_aversion,
    )  # fmt: skip


def taxed(p: Problem, names: int, seed: int) -> Problem:
    """``p`` with some names held in one to five lots each, highest cost first."""
    rng = np.random.default_rng(seed)
    n = len(p.ids)
    held = np.sort(rng.permutation(n)[:names])
    w0 = np.zeros(n)
    w0[held] = rng.dirichlet(np.full(names, 5.0))
    row: list[int] = []
    parts: list[Floats] = []
    for i in held.tolist():
        count = int(rng.integers(1, 6))
        row += [i] * count
        gain = np.sort(rng.uniform(-0.4, 0.7, count))
        share = w0[i] * rng.dirichlet(np.ones(count))
        parts.append(np.stack([share, gain, rng.choice([0.2, 0.37], count)]))
    weight, gain, rate = np.concatenate(parts, axis=1)
    return replace(p, w0=w0, tax=TaxLots(np.array(row), weight, gain, rate, ordered=True))


def cpu() -> float:
    """Seconds of this process and of the children that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + used.ru_utime + used.ru_stime


def main() -> None:
    """Prints one line a problem."""
    lot = np.random.default_rng(5).uniform(20.0, 600.0, 500) / 1e7
    large, small = market(500, 0, 0.05), market(100, 0, 0.10)
    cautious = market(500, 0, 0.05, risk_aversion=50.0)
    names = {"max_names": 50, "min_holding": 0.005}
    problems = {
        "500 names, at most 50, each 0.5 % or more": replace(large, **names),
        "the same, ten times the risk aversion": replace(cautious, **names),
        "500 names, at most 30, each 2 % or more": replace(
            market(500, 0, 0.10), max_names=30, min_holding=0.02
        ),
        "100 names, at most 20, each 2 % or more": replace(small, max_names=20, min_holding=0.02),
        "500 names in lots of one share, 10 million": replace(large, lot=lot),
        "500 names, 60 held in tax lots": taxed(large, 60, 1),
    }
    print(f"{'problem':<46}{'CPU s':>7}{'wall s':>8}{'gap %':>10}{'nodes':>7}")
    for what, p in problems.items():
        start, before = time.perf_counter(), cpu()
        found = integer.solve(p)
        spent, wall = cpu() - before, time.perf_counter() - start
        gap = 100.0 * found.gap / abs(found.objective)
        print(f"{what:<46}{spent:>7.2f}{wall:>8.2f}{gap:>10.4f}{found.iterations:>7}")


if __name__ == "__main__":
    main()
