"""What a step costs: nanoseconds a cell on one core, from kernels measured one by one.

Measured on 60 names × 2,500 sessions in blocks of half a megabyte an array, the best of five, one thread
of a virtual core, without what the step reads. They are there to compare: seconds do not travel
between machines, ratios do.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from wealthos_pipeline.factors.expression import Node
from wealthos_pipeline.factors.operators import OPERATORS

EXPANDED = 2_500
"""Sessions that stand for the window n = 0: ten years."""

JOINED = 5.0
"""A further statistic of a walk over the windows that another step takes already."""

BANDWIDTH = 10.0
"""Bytes a nanosecond that one core moves."""

_LEAF = 14.0
_ELEMENT, _SHIFT = 2.0, 2.0
_REGRESSOR = 30.0  # of Neutralize, each
_GROUPED = 70.0  # what a group adds to a cross-section

WINDOW: Mapping[str, tuple[float, float]] = MappingProxyType(
    {
        "moments:sums": (10, 0),
        "moments:spread": (13, 0),
        "moments:shape": (30, 0),
        "order:extremes": (17, 0),
        "order:ordered": (35, 0.4),
        "order:deviations": (5, 2.8),
        "decay:linear": (13, 0),
        "decay:exponential": (8, 0),
        "pairs:trend": (18, 0),
        "pairs:pair": (24, 0),
    }
)
"""Kernel → nanoseconds a cell, and those a cell and session of the window."""

CROSS: Mapping[str, float] = MappingProxyType(
    {
        "CSRank": 85,
        "CSZScore": 35,
        "CSDemean": 35,
        "CSMean": 35,
        "CSWinsorize": 115,
        "Neutralize": 40,
    }
)


def nanoseconds(node: Node) -> float:
    """Estimate for one cell of ``node`` alone, given what it reads."""
    operator = OPERATORS.get(node.op)
    if operator is None or operator.kind == "other":
        return 0.0 if node.op == "Const" else _LEAF
    if operator.kind == "element":
        return _ELEMENT
    if operator.kind == "shift":
        return _SHIFT
    if operator.kind == "cross":
        grouped = any(a.op == "Label" for a in node.args)
        more = len(node.args) - 1 - grouped
        return CROSS[node.op] + _GROUPED * grouped + _REGRESSOR * more
    fixed, each = WINDOW.get(operator.kernel, (20, 0))
    sessions = float(node.params[0]) or EXPANDED
    if node.op == "EMA" and not node.params[0]:
        each = 0.85
    return fixed + each * sessions


def floor(node: Node) -> float:
    """Nanoseconds to read the arguments and write the result once at ``BANDWIDTH``."""
    return 8.0 * (1 + len(node.args)) / BANDWIDTH


def walk_of(node: Node) -> tuple[object, ...] | None:
    """What steps have in common that one walk over the windows computes together; None: nothing."""
    operator = OPERATORS.get(node.op)
    if operator is None or operator.kind != "window":
        return None
    lowest = operator.kernel == "order:extremes" and operator.mode % 2
    return operator.kernel, lowest, node.args, node.params[0]
