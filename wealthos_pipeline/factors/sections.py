"""Steps that need all names of a date: cross-sections, of the whole panel and one date at a time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np

from wealthos_pipeline.factors.expression import Node
from wealthos_pipeline.factors.kernels import kernel_of
from wealthos_pipeline.factors.operators import OPERATORS
from wealthos_pipeline.factors.panel import Panel, Vector


def join(node: Node, inputs: list[Vector], panel: Panel, need: int | None, threads: int) -> Vector:
    """Values of a step of kind ``cross`` for every cell of ``panel``.

    inputs: one value a cell each. need: first slot asked for (None: all); earlier cells are NaN.
    Dates are shared out among threads; each is computed by one of them.
    """
    (x,) = inputs
    kernel, mode = kernel_of(node.op), OPERATORS[node.op].mode
    out = np.full(len(x), np.nan)
    first = int(panel.lo.min())
    end = int((panel.lo + np.diff(panel.off)).max())
    if need is not None:
        first = max(first, need)
    cuts = np.linspace(first, max(first, end), threads + 1).astype(int).tolist()
    with ThreadPoolExecutor(threads) as pool:
        list(
            pool.map(
                lambda cut: kernel(x, panel.off, panel.lo, cut[0], cut[1], mode, out),
                pairwise(cuts),
            )
        )
    return out
