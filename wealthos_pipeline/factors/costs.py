"""What a step costs, from kernels measured one by one: nanoseconds a cell on one core."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from wealthos_pipeline.factors.expression import Node

EXPANDED = 2_500
"""Sessions that stand for the window n = 0 in an estimate: ten years."""

BYTES = 8
"""Bytes of a cell. The floor of a step is to read its arguments and to write its result."""

COSTS: Mapping[str, tuple[float, float]] = MappingProxyType({})


def nanoseconds(node: Node) -> float:
    """Estimate for one cell of ``node`` alone, given what it reads."""
    return 0.0
