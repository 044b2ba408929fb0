"""The one way in which kernels are compiled: cached on disk, without the GIL, without fastmath."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

F8 = "float64[::1]"
I8 = "int64[::1]"


def kernel(signature: str) -> Callable[[Callable[..., Any]], Callable[..., None]]:
    """Compile for ``signature`` at import time, or load what an earlier process compiled."""

    def wrap(function: Callable[..., Any]) -> Callable[..., None]:
        from numba import njit

        compiled: Callable[..., None] = njit(
            signature, cache=True, nogil=True, error_model="numpy"
        )(function)
        return compiled

    return wrap


WINDOW = f"void({F8}, {I8}, {I8}, int64, int64, int64, int64, {F8})"
"""x, off, lo, need, window, least observations, mode, out."""

WINDOW_PAIR = f"void({F8}, {F8}, {I8}, {I8}, int64, int64, int64, int64, {F8})"
"""x, y, off, lo, need, window, least observations, mode, out."""
