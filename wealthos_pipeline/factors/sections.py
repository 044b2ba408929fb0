"""Steps that need all names of a date: cross-sections, of the whole panel and one date at a time."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np

from wealthos_pipeline.factors.expression import Node
from wealthos_pipeline.factors.kernels import kernel_of
from wealthos_pipeline.factors.operators import OPERATORS
from wealthos_pipeline.factors.panel import Panel, Vector


def join(node: Node, inputs: list[Vector], panel: Panel, need: int | None, threads: int) -> Vector:
    """Values of a step of kind ``cross`` for every cell of ``panel``.

    inputs: one value a cell for each argument, a ``Label`` as the numbers of the groups. need: first
    slot asked for (None: all); earlier cells are NaN. A name without a bar on a date takes no part.
    Dates are shared out among threads; each is computed by one of them.
    """
    x = _present(inputs[0], panel)
    labels = [v for a, v in zip(node.args[1:], inputs[1:], strict=True) if a.op == "Label"]
    others = [v for a, v in zip(node.args[1:], inputs[1:], strict=True) if a.op != "Label"]
    out = np.full(len(x), np.nan)
    work = _work(node, x, labels, others, panel, out)
    first = int(panel.lo.min())
    end = int((panel.lo + np.diff(panel.off)).max())
    if need is not None:
        first = max(first, need)
    cuts = np.linspace(first, max(first, end), threads + 1).astype(int).tolist()
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(lambda cut: work(*cut), pairwise(cuts)))
    return out


def _work(
    node: Node, x: Vector, labels: list[Vector], others: list[Vector], panel: Panel, out: Vector
) -> Callable[[int, int], None]:
    """What computes the slots [begin, end)."""
    kernel, mode = kernel_of(node.op), OPERATORS[node.op].mode
    off, lo = panel.off, panel.lo
    groups = 1 + int(max((np.nanmax(g, initial=-1) for g in labels), default=-1))
    if node.op == "Neutralize":
        y = np.stack(others) if others else np.empty((0, len(x)))
        group = labels[0] if labels else np.empty(0)
        return lambda a, b: kernel(x, y, group, groups, off, lo, a, b, out)
    k = float(node.params[0]) if node.params else 0.0
    if labels:
        from wealthos_pipeline.factors.kernels.cross import by_group

        return lambda a, b: by_group(x, labels[0], groups, off, lo, a, b, mode, k, out)
    return lambda a, b: kernel(x, off, lo, a, b, mode, k, out)


def _present(x: Vector, panel: Panel) -> Vector:
    """``x`` with NaN where there is no bar; a panel without rows is one of a series: as it is."""
    if len(panel.code) in (0, len(x)):
        return x
    cell = panel.cell
    out = np.full(len(x), np.nan)
    out[cell] = x[cell]
    return out
