"""Compiled kernels over ragged panels.

A panel is one Float64 vector: instrument ``i`` owns ``x[off[i] : off[i + 1]]``, one cell for every
session from slot ``lo[i]`` on, NaN where there is no bar. Kernels fill ``out`` for slots ≥ ``need``
and leave NaN before. Rolling sums and moments are block-anchored: blocks of the window's length
start at slots divisible by it, a window is the suffix of one block joined to the prefix of the next,
and nothing is ever subtracted; so a value depends on its window and its slot alone.

Signatures are explicit: importing a module compiles it, or loads it from the cache on disk.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib import import_module
from typing import Any

from wealthos_pipeline.factors.operators import OPERATORS


@cache
def kernel_of(op: str) -> Callable[..., Any]:
    """The kernel of an operator; its module is compiled, or loaded, at the first use."""
    module, name = OPERATORS[op].kernel.split(":")
    home = import_module(f"wealthos_pipeline.factors.kernels.{module}")
    found: Callable[..., Any] = getattr(home, name, None) or getattr(home, f"{name}_")
    return found
