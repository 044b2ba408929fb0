"""Portfolios beside their peers: one problem, a walk-forward, a path of weights, attribution.

Every side is a process of its own on the same arrays; the sides take turns, ``repeats`` times. Seconds are those of the
work alone, from arrays in memory to the answer, imports and a warming call apart; the answers are compared first.
The peers live in ``.peers`` (``make check-peers ARGS="--only portfolio"`` installs the optimisers, ``benchmarks/peers/check
--only vectorbt`` vectorbt); a side whose peer is not there is left out and named.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from measure import machine

ROOT = Path(__file__).resolve().parents[1]
PEERS = ROOT / "benchmarks" / "peers"
OPTIMISERS = ROOT / ".peers" / "portfolio" / "bin" / "python"
VECTORBT = ROOT / ".peers" / "vectorbt" / "bin" / "python"
sys.path.insert(0, str(PEERS))


@dataclass
class Side:
    """One way of doing the same thing: a script and its arguments, and what each of its runs said."""

    title: str
    python: Path
    script: str
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    scale: float = 1.0
    seconds: list[list[float]] = field(default_factory=list)
    said: Any = None

    @property
    def there(self) -> bool:
        return self.python.exists()

    def run(self, source: Path, out: Path) -> None:
        command = [self.python, PEERS / self.script, *self.before, source, out, *self.after]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        self.said = json.loads(out.read_text("utf-8"))
        body = self.said
        if isinstance(body, dict):
            body = body.get("times") or [body["seconds"]]
        self.seconds += [[x * self.scale for x in pair] for pair in body]

    def median(self, which: int) -> float:
        return statistics.median(pair[which] for pair in self.seconds)

    def cell(self, which: int) -> str:
        values = sorted(pair[which] for pair in self.seconds)
        return f"{self.median(which):.3g} ({values[0]:.3g}–{values[-1]:.3g})"


def turns(sides: list[Side], source: Path, folder: Path, repeats: int) -> Iterator[str]:
    """The sides in turn; then the table, ours first."""
    here = [side for side in sides if side.there]
    for _ in range(repeats):
        for side in here:
            side.run(source, folder / f"{side.script}-{side.title.replace(' ', '_')[:40]}.json")
    yield "| side | CPU s | wall s | ours is … of it, CPU |"
    yield "| --- | --- | --- | --- |"
    first = here[0].median(0)
    for side in here:
        ratio = "" if side is here[0] else f"1 / {side.median(0) / first:.1f}"
        yield f"| {side.title} | {side.cell(0)} | {side.cell(1)} | {ratio} |"
    yield ""
    missing = ", ".join(side.title for side in sides if not side.there)
    if missing:
        yield f"Not installed, so not measured: {missing}.\n"


def section(folder: Path, repeats: int, small: bool) -> Iterator[str]:
    """The section of the page."""
    folder.mkdir(parents=True, exist_ok=True)
    yield "## Portfolios\n"
    yield f"Measured on {machine()}. Seconds of the work alone; median (least–most) of {repeats} turns."
    yield from one_problem(folder, repeats, small)
    yield from walk_forward(folder, repeats, small)
    yield from weights(folder, repeats, small)
    yield from others(small)


def one_problem(folder: Path, repeats: int, small: bool) -> Iterator[str]:
    import portfolio_problem as shared

    own = Path(sys.executable)
    for n, k, asked in (
        (
            100 if small else 500,
            22,
            "at most 1/5 of skfolio in factor form, 1/30 of PyPortfolioOpt",
        ),
        (300 if small else 3000, 42, "at most 0.3 CPU s"),
    ):
        source = folder / f"problem_{n}.npz"
        shared.save(shared.make(n, k), source)
        yield f"\n### One decision: {n:,} names, {k} factors, L1 costs, box, 11 bands of sectors\n"
        yield f"Asked for: {asked}. Objectives agree to 1e-6 (`make check-peers`).\n"
        inner = ("5",)
        sides = [
            Side("ours, certified", own, "portfolio_ours.py", ("plain",), inner),
            Side(
                "skfolio, factor form",
                OPTIMISERS,
                "portfolio_theirs.py",
                ("skfolio_factor",),
                inner,
            ),
        ]
        if n <= 500:
            sides += [
                Side("PyPortfolioOpt", OPTIMISERS, "portfolio_theirs.py", ("pypfopt",), inner),
                Side(
                    "skfolio, dense covariance", OPTIMISERS, "portfolio_theirs.py",
                    ("skfolio_dense",), ("2",),
                ),
                Side(
                    "ours, minimum variance, no costs", own, "portfolio_ours.py", ("min_variance",),
                    inner,
                ),
                Side(
                    "Riskfolio, minimum variance, no costs", OPTIMISERS, "portfolio_theirs.py",
                    ("riskfolio",), ("1",),
                ),
            ]  # fmt: skip
        yield from turns(sides, source, folder, repeats)


def walk_forward(folder: Path, repeats: int, small: bool) -> Iterator[str]:
    count, part = (6, 3) if small else (250, 20)
    rng = np.random.default_rng(1)
    n = 60 if small else 500
    B = 0.01 * rng.normal(size=(n, 20))
    B[:, 0] = 0.01 * (1.0 + 0.3 * rng.normal(size=n))
    T = 500 + 5 * count
    returns = rng.normal(size=(T, 20)) @ B.T + 0.015 * rng.normal(size=(T, n))
    source = folder / "returns.npy"
    np.save(source, np.clip(returns, -0.5, 0.5))
    yield f"\n### Walk-forward: {count} rebalances of {n} names, risk of 20 components on 500 sessions\n"
    yield "Asked for: at most 10 CPU s, and at most 1/15 of skfolio's walk-forward."
    yield f"skfolio was run for {part} rebalances and its seconds multiplied by {count / part:.1f}.\n"
    scale = count / part
    sides = [
        Side("ours: risk model, decision with costs, certificate", Path(sys.executable),
             "walk_ours.py", (), (str(count),)),
        Side("skfolio `WalkForward`, its usual Ledoit–Wolf", OPTIMISERS, "walk_theirs.py", (),
             (str(part), "dense"), scale),
        Side("skfolio `WalkForward`, components in factor form by a prior of ours", OPTIMISERS,
             "walk_theirs.py", (), (str(part), "factor"), scale),
    ]  # fmt: skip
    yield from turns(sides, source, folder, max(1, min(repeats, 3)))
    said = [f"{s.title}: {s.said['volatility']:.2%}" for s in sides if s.said]
    yield f"Volatility of what was held, a year: {'; '.join(said)}.\n"


def weights(folder: Path, repeats: int, small: bool) -> Iterator[str]:
    n, T = (40, 300) if small else (500, 2500)
    rng = np.random.default_rng(5)
    close = 50.0 * np.exp(np.cumsum(rng.normal(0.0003, 0.02, size=(T, n)), axis=0))
    path = rng.random((T, n))
    source = folder / "orders.npz"
    np.savez(source, close=close, weights=path / path.sum(axis=1, keepdims=True))
    yield f"\n### A path of weights: {n} names × {T:,} sessions, traded daily\n"
    yield "Asked for: no slower than vectorbt's `from_orders`; ours keeps every event in whole 1/10,000s.\n"
    ours = Side("ours, events in arrays", Path(sys.executable), "orders_ours.py", (), ("3",))
    theirs = Side("vectorbt, orders in arrays", VECTORBT, "orders_vectorbt.py", (), ("3",))
    yield from turns([ours, theirs], source, folder, repeats)
    tables = statistics.median(pair[0] for pair in ours.said["tables"])
    yield (
        f"Ours with net asset value and all {ours.said['events']:,} events as tables: {tables:.3g} CPU s. "
        f"Final values: {ours.said['value']:,.0f}"
        + (f" and {theirs.said['value']:,.0f}" if theirs.said else "")
        + " (vectorbt sizes orders on the value after its earlier orders' costs).\n"
    )


def others(small: bool) -> Iterator[str]:
    """What the scripts of single parts say, in their own words."""
    for title, script, arguments in (
        ("Attribution by sector and by factor, ten years × 500 names", "attribution.py",
         ("--names", "40", "--years", "2") if small else ()),
        ("Whole numbers: names, least holdings, lots", "integer.py", ()),
    ):  # fmt: skip
        path = ROOT / "benchmarks" / script
        if not path.exists():
            continue
        yield f"\n### {title}\n"
        said = subprocess.run(
            [sys.executable, path, *arguments], check=True, capture_output=True, text=True
        )
        yield "```"
        yield said.stdout.strip()
        yield "```\n"
