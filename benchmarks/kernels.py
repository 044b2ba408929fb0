"""Each kernel beside its floor, and beside what Polars takes for the same operator.

The floor of a kernel is what the machine cannot do without: the bytes that it reads and writes at
the speed of a copy measured here, and its operations one after the other at the latency of one
floating-point addition, measured here too (a window's state is a chain: each session waits for the
one before). Prints Markdown: ``python benchmarks/kernels.py``.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import polars as pl

from wealthos_pipeline.factors.kernels import cross, decay, element, moments, order, pairs, rows
from wealthos_pipeline.factors.kernels.jit import F8, kernel
from wealthos_pipeline.factors.operators import decay_keep, decay_length

NAMES, SESSIONS, WINDOW = 16, 2500, 20
CELLS = NAMES * SESSIONS
REPEATS = 21


@kernel(f"void({F8}, {F8})")
def _chain(x, out):  # type: ignore[no-untyped-def]
    """Additions that wait for each other: the latency of one."""
    total = 0.0
    for k in range(len(x)):
        total += x[k]
    out[0] = total


@dataclass(frozen=True)
class Row:
    """bytes, chained: what a cell needs at least, read and written, and additions in a row."""

    name: str
    nanoseconds: float
    bytes: int
    chained: int


def timed(call: Callable[[], object], repeats: int = REPEATS) -> float:
    """Least nanoseconds of CPU that this thread needed for one call."""
    call()
    best = float("inf")
    for _ in range(repeats):
        begin = time.thread_time_ns()
        call()
        best = min(best, time.thread_time_ns() - begin)
    return best


def measured() -> list[Row]:
    """Every kernel on a block as the engine cuts it."""
    rng = np.random.default_rng(0)
    x = 100 + np.cumsum(rng.standard_normal(CELLS) * 0.1)
    y = rng.standard_normal(CELLS)
    x[rng.random(CELLS) < 0.015] = np.nan
    off = np.arange(NAMES + 1, dtype=np.int64) * SESSIONS
    lo = np.full(NAMES, 13_000, np.int64)
    one = np.empty((1, CELLS))

    def window(function: Callable[..., None], asked: list[tuple[float, float, float]]) -> float:
        what = np.array(asked, np.float64)
        out = np.empty((len(asked), CELLS))
        return timed(lambda: function(x, off, lo, -1, WINDOW, what, out)) / CELLS

    def pair(mode: float) -> float:
        what = np.array([(mode, 2.0, 0.0)])
        return timed(lambda: pairs.pair(x, y, off, lo, -1, WINDOW, what, one)) / CELLS

    out = one[0]
    span = decay_length(WINDOW)
    keep = decay_keep(WINDOW)
    cell = np.arange(CELLS).reshape(NAMES, SESSIONS).T.ravel().copy()
    row = np.arange(CELLS)
    column = np.empty(CELLS, np.float32)
    # per cell: a state's chain is as long forward, along the block, as backward for the suffix
    return [
        Row("Sum", window(moments.sums, [(0, 1, 0)]), 16, 2),
        Row("Mean", window(moments.sums, [(1, 1, 0)]), 16, 2),
        Row("Std", window(moments.spread, [(1, 2, 0)]), 16, 6),
        Row("Skew", window(moments.shape, [(0, 3, 0)]), 16, 8),
        Row("Max", window(order.extremes, [(0, 1, 0)]), 16, 2),
        Row("Max and IdxMax", window(order.extremes, [(0, 1, 0), (2, 1, 0)]), 24, 2),
        Row("Rank", window(order.ordered, [(1, 1, 0)]), 16, 5),
        Row("Quantile × 2 and Rank", window(
            order.ordered, [(0, 1, 0.2), (0, 1, 0.8), (1, 1, 0)]), 32, 5),
        Row("Mad", window(order.deviations, [(0, 1, 0)]), 16, 2 * WINDOW),
        Row("Slope", window(pairs.trend, [(0, 2, 0)]), 16, 6),
        Row("Slope, Rsquare, Resi", window(
            pairs.trend, [(0, 2, 0), (1, 2, 0), (2, 2, 0)]), 32, 6),
        Row("Corr", pair(0.0), 24, 6),
        Row("WMA", window(decay.linear, [(0, 1, 0)]), 16, 4),
        Row("EMA", timed(lambda: decay.exponential(x, off, lo, -1, span, 1, keep, out)) / CELLS,
            16, 4),
        Row("CSRank", timed(lambda: cross.by_date(
            x, off, lo, 13_000, 13_000 + SESSIONS, 0, 0.0, out)) / CELLS, 16, 4),
        Row("Div", timed(lambda: element.div(y, x)) / CELLS, 24, 0),
        Row("Log", timed(lambda: element.log(x)) / CELLS, 16, 0),
        Row("cells to rows", timed(lambda: rows.store(x, cell, row, column)) / CELLS, 28, 0),
    ]  # fmt: skip


def floors() -> tuple[float, float]:
    """Nanoseconds to move a byte (a copy of a block), and of an addition that waits for another."""
    a, b = np.ones(CELLS), np.empty(CELLS)
    per_byte = timed(lambda: np.copyto(b, a)) / (16 * CELLS)
    return per_byte, timed(lambda: _chain(a, b)) / CELLS


POLARS: dict[str, Callable[[pl.Expr], pl.Expr]] = {
    "Mean": lambda c: c.rolling_mean(WINDOW, min_samples=1),
    "Std": lambda c: c.rolling_std(WINDOW, min_samples=2),
    "Max": lambda c: c.rolling_max(WINDOW, min_samples=1),
    "Quantile": lambda c: c.rolling_quantile(0.8, "linear", WINDOW, min_samples=1),
}


def beside_polars(names: int = 200) -> list[tuple[str, float, float]]:
    """Operator, nanoseconds of CPU a cell: this engine's kernel, Polars' ``rolling_*.over``."""
    rng = np.random.default_rng(1)
    size = names * SESSIONS
    x = 100 + np.cumsum(rng.standard_normal(size) * 0.1)
    off = np.arange(names + 1, dtype=np.int64) * SESSIONS
    lo = np.full(names, 13_000, np.int64)
    out = np.empty((1, size))
    frame = pl.DataFrame({"name": np.repeat(np.arange(names), SESSIONS), "x": x})
    ours = {
        "Mean": (moments.sums, (1, 1, 0)),
        "Std": (moments.spread, (1, 2, 0)),
        "Max": (order.extremes, (0, 1, 0)),
        "Quantile": (order.ordered, (0, 1, 0.8)),
    }
    found = []
    for name, (function, asked) in ours.items():
        what = np.array([asked], np.float64)

        theirs = POLARS[name](pl.col("x")).over("name")
        a = timed(partial(function, x, off, lo, -1, WINDOW, what, out), 5) / size
        frame.select(theirs)
        best = float("inf")
        for _ in range(5):  # its threads count too
            begin = time.process_time_ns()
            frame.select(theirs)
            best = min(best, time.process_time_ns() - begin)
        found.append((name, a, best / size))
    return found


def main() -> list[str]:
    """Lines of Markdown."""
    per_byte, latency = floors()
    lines = [
        f"One core, window {WINDOW}, blocks of {NAMES} × {SESSIONS} cells, least of {REPEATS}; a copy "
        f"moves {1 / per_byte:.0f} GB/s in the cache, an addition that waits takes {latency:.2f} ns.",
        "",
        "| kernel | ns a cell | bytes | floor: moving | chained operations | floor: waiting | × floor |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for r in measured():
        move, wait = r.bytes * per_byte, r.chained * latency
        lines.append(
            f"| {r.name} | {r.nanoseconds:.1f} | {r.bytes} | {move:.2f} | {r.chained} | {wait:.2f} "
            f"| {r.nanoseconds / max(move, wait):.1f} |"
        )
    lines += [
        "",
        "| operator, CPU ns a cell | this engine | Polars `rolling_*.over` | Polars / engine |",
        "| --- | --- | --- | --- |",
    ]
    lines += [f"| {n} | {a:.1f} | {b:.1f} | {b / a:.1f} |" for n, a, b in beside_polars()]
    return lines


if __name__ == "__main__":
    sys.stdout.write("\n".join(main()) + "\n")
