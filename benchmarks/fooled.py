"""How often noise passes for skill, and skill for noise: tables of ``docs/research/statistics.md``.

    .venv/bin/python benchmarks/fooled.py [--draws 1000] [--write]

Noise: trials whose true Sharpe ratio is 0, independent, all correlated by ½ or by 0.9, or in clusters of ten
correlated by 0.9; normal returns, or Student's t with four degrees and volatility that clusters. The
best of each lot is judged as a person would: it is the one that was picked. Signal: one strategy, or one good among
many, with a true Sharpe ratio; daily rank ICs with a true mean. ``--write`` puts the tables between the markers of the
page, without it they are printed.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from wealthos_pipeline.stats import trials
from wealthos_pipeline.stats.mean_test import mean_test
from wealthos_pipeline.stats.pbo import overfitting_probability
from wealthos_pipeline.stats.sharpe import deflated_sharpe, moments
from wealthos_pipeline.stats.spa import spa

PAGE = Path(__file__).parent.parent / "docs" / "research" / "statistics.md"
YEAR = 252
KINDS = ("normal", "heavy")
SMALLEST = {"independent": 1, "half alike": 2, "nine tenths alike": 2, "clusters": 50}
"""How trials resemble each other, and the smallest number for which that says something."""
SHAPES = ("independent", "half alike")
ALIKE = {"half alike": 0.5, "nine tenths alike": 0.9}


def shocks(rng: np.random.Generator, n: int, k: int, kind: str) -> np.ndarray:
    """(n, k) draws with mean 0: ``normal``, or ``heavy`` (t with 4 degrees, volatility that clusters)."""
    if kind == "normal":
        return rng.standard_normal((n, k))
    level = np.zeros(n)
    noise = rng.standard_normal(n) * 0.15
    for i in range(1, n):
        level[i] = 0.97 * level[i - 1] + noise[i]
    return np.asarray(rng.standard_t(4, (n, k)) * np.exp(level)[:, None])


def lot(rng: np.random.Generator, n: int, k: int, kind: str, shape: str) -> np.ndarray:
    """(n, k) returns of k worthless trials."""
    own = shocks(rng, n, k, kind)
    if shape == "independent":
        return own
    if shape in ALIKE:
        rho = ALIKE[shape]
        return np.asarray(math.sqrt(1 - rho) * own + math.sqrt(rho) * shocks(rng, n, 1, kind))
    groups = np.arange(k) // 10
    shared = shocks(rng, n, int(groups.max()) + 1, kind)[:, groups]
    return np.asarray(math.sqrt(0.1) * own + math.sqrt(0.9) * shared)


def passes(x: np.ndarray) -> tuple[list[bool], float]:
    """Whether the best trial's DSR is above 95 %, by each way of counting; and N̂."""
    ratios = trials.ratios(x)
    k, best = x.shape[1], int(np.argmax(ratios))
    skew, kurtosis = moments(x[:, best])
    rho = trials.mean_correlation(x)
    effective = trials.effective_trials(x)
    plain = trials.trial_variance(ratios)
    own = trials.trial_variance(ratios, mean_correlation=rho, periods=len(x))
    counts = (
        (1.0, 0.0),
        (float(k), plain),
        (effective, own),
        (min(max(rho + (1.0 - rho) * k, 1.0), k), own),
        (trials.effective_trials(x, rule="participation"), own),
        (effective, plain),
    )
    shape = {"skew": skew, "kurtosis": kurtosis}
    return [
        deflated_sharpe(float(ratios[best]), len(x), trials=n, variance=v, **shape) > 0.95
        for n, v in counts
    ], effective


def noise(draws: int) -> Iterator[str]:
    """Share of lots of worthless trials whose best has DSR > 0.95."""
    yield row(
        "returns", "trials", "N", "N̂", "PSR, as if one", "raw N, V", "N̂, V + ρ̄ / T", "ρ̄ + (1 − ρ̄) N",
        "participation ratio", "N̂, V",
    )  # fmt: skip
    yield rule(10)
    rng = np.random.default_rng(6)
    n = 500
    for kind in KINDS:
        for shape in SMALLEST:
            for k in (1, 2, 10, 50, 200):
                if k < SMALLEST[shape]:
                    continue
                found, effective = np.zeros(6), 0.0
                some = draws if k < 200 else max(draws // 4, 1)
                for _ in range(some):
                    passed, number = passes(lot(rng, n, k, kind, shape))
                    found += passed
                    effective += number
                yield row(kind, shape, str(k), f"{effective / some:.1f}", *map(share, found / some))


def overfitting(draws: int) -> Iterator[str]:
    """Mean and range of the PBO of worthless trials, and of one good one among them."""
    yield row("returns", "trials", "N", "good one's Sharpe", "mean PBO", "5–95 %", "PBO < 0.2")
    yield rule(7)
    rng = np.random.default_rng(7)
    lots = [(k, s, n, 0.0) for k in KINDS for s in SHAPES for n in (5, 20)]
    lots += [("normal", "independent", 20, s) for s in (0.5, 1.0, 2.0)]
    for kind, shape, k, good in lots:
        found = []
        for _ in range(max(draws // 2, 1)):
            x = lot(rng, 5 * YEAR, k, kind, shape)
            x[:, 0] += good / math.sqrt(YEAR) * x[:, 0].std()
            found.append(overfitting_probability(x, 8).probability)
        low, high = np.quantile(found, (0.05, 0.95))
        yield row(
            kind, shape, str(k), f"{good:g}", f"{np.mean(found):.3f}", f"{low:.2f}–{high:.2f}",
            share(float(np.mean(np.array(found) < 0.2))),
        )  # fmt: skip


def superior(draws: int) -> Iterator[str]:
    """How often Hansen's test rejects: worthless trials, then one good one among them."""
    yield row(
        "returns", "trials", "N", "good one's Sharpe", "5 %: consistent", "lower", "upper", "10 %: consistent"
    )  # fmt: skip
    yield rule(8)
    rng = np.random.default_rng(8)
    lots = [(k, s, n, 0.0) for k in KINDS for s in SHAPES for n in (2, 10)]
    lots += [("normal", "independent", 10, s) for s in (0.5, 1.0, 2.0)]
    for kind, shape, k, good in lots:
        found = np.zeros(4)
        some = max(draws // 3, 1)
        for i in range(some):
            x = lot(rng, 5 * YEAR, k, kind, shape)
            x[:, 0] += good / math.sqrt(YEAR) * x[:, 0].std()
            p = spa(x, mean_block=10, draws=200, seed=i)
            found += [p.p_value < 0.05, p.lower < 0.05, p.upper < 0.05, p.p_value < 0.10]
        yield row(kind, shape, str(k), f"{good:g}", *map(share, found / some))


def skill(draws: int) -> Iterator[str]:
    """Chance that a truly good strategy passes: alone, and as one of many worthless ones."""
    years, many = (5, 10, 20), (1, 10, 50)
    yield row("true Sharpe", *(f"N = {k}, {y} years" for k in many for y in years))
    yield rule(1 + len(years) * len(many))
    rng = np.random.default_rng(9)
    some = max(draws // 2, 1)
    for good in (0.5, 1.0, 2.0):
        cells = []
        for k in many:
            for y in years:
                seen = 0
                for _ in range(some):
                    # the ratios of normal returns, without drawing the days: mean and variance are independent
                    n = y * YEAR
                    mean = rng.standard_normal(k) / math.sqrt(n)
                    mean[0] += good / math.sqrt(YEAR)
                    ratios = mean / np.sqrt(rng.chisquare(n - 1, k) / (n - 1))
                    variance = trials.trial_variance(ratios)
                    best = int(np.argmax(ratios))
                    dsr = deflated_sharpe(float(ratios[best]), n, trials=k, variance=variance)
                    seen += best == 0 and dsr > 0.95
                cells.append(share(seen / some))
        yield row(f"{good:g}", *cells)


def coefficients(draws: int) -> Iterator[str]:
    """Chance that a true mean rank IC is seen at 5 %, horizon 20 sessions, on 500 names."""
    years, horizon, names = (5, 10, 20), 20, 500
    yield row(
        "true mean rank IC",
        "IC by date, sd",
        *(f"{y} years" for y in years),
        "detectable, 20 years",
    )
    yield rule(3 + len(years))
    rng = np.random.default_rng(10)
    some = max(draws // 4, 1)
    for true in (0.0, 0.01, 0.02, 0.04):
        for spread in (1.0 / math.sqrt(names - 1), 0.10):
            cells, detectable = [], 0.0
            for y in years:
                n, seen, detectable = y * YEAR, 0, 0.0
                for _ in range(some):
                    x = np.convolve(rng.standard_normal(n + horizon - 1), np.ones(horizon), "valid")
                    test = mean_test(true + spread * x / math.sqrt(horizon), horizon)
                    seen += test.p_value < 0.05 and test.mean * (true or test.mean) > 0
                    detectable += test.detectable / some
                cells.append(share(seen / some))
            yield row(f"{true:g}", f"{spread:.3f}", *cells, f"{detectable:.3f}")


TABLES: dict[str, Callable[[int], Iterator[str]]] = {
    "noise": noise,
    "pbo": overfitting,
    "spa": superior,
    "power": skill,
    "ic": coefficients,
}


def row(*cells: str) -> str:
    return "| " + " | ".join(cells) + " |"


def rule(columns: int) -> str:
    return "|" + " --- |" * columns


def share(value: float) -> str:
    return f"{100 * value:.1f} %"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--only", choices=TABLES, action="append")
    parser.add_argument("--write", action="store_true")
    asked = parser.parse_args()
    for name in asked.only or TABLES:
        lines = []
        for line in TABLES[name](asked.draws):
            sys.stdout.write(line + "\n")
            sys.stdout.flush()
            lines.append(line)
        sys.stdout.write("\n")
        if asked.write:
            text = PAGE.read_text(encoding="utf-8")
            begin, end = f"<!-- fooled: {name} -->", "<!-- /fooled -->"
            head, tail = text.split(begin, 1)
            _, rest = tail.split(end, 1)
            PAGE.write_text(
                f"{head}{begin}\n\n{chr(10).join(lines)}\n\n{end}{rest}", encoding="utf-8"
            )


if __name__ == "__main__":
    main()
