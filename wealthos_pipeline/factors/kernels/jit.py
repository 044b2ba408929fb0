"""The one way in which kernels are compiled: cached on disk, without the GIL, without fastmath."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

F8 = "float64[::1]"
I8 = "int64[::1]"
F8_2 = "float64[:, ::1]"


def kernel(signature: str) -> Callable[[Callable[..., Any]], Callable[..., None]]:
    """Compile for ``signature`` at import time, or load what an earlier process compiled."""

    def wrap(function: Callable[..., Any]) -> Callable[..., None]:
        from numba import njit

        compiled: Callable[..., None] = njit(
            signature, cache=True, nogil=True, error_model="numpy"
        )(function)
        return compiled

    return wrap


def part(function: Callable[..., Any]) -> Callable[..., Any]:
    """A piece of kernels' inner loops: compiled into each of them."""
    from numba import njit

    compiled: Callable[..., Any] = njit(nogil=True, error_model="numpy")(function)
    return compiled


WINDOW = f"void({F8}, {I8}, {I8}, int64, int64, {F8_2}, {F8_2})"
"""x, off, lo, need, window, asked, out.

asked: one row a result, ``mode, least observations, q``; out: one row of cells for each.
"""

WINDOW_PAIR = f"void({F8}, {F8}, {I8}, {I8}, int64, int64, {F8_2}, {F8_2})"
"""x, y, off, lo, need, window, asked, out."""
