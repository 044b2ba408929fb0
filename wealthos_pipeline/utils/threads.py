"""Thread budgets, set once a run: Polars, numba, BLAS, Arrow and LightGBM read one number."""

from __future__ import annotations

import os

_VARIABLES = (
    "POLARS_MAX_THREADS",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMBA_NUM_THREADS",
)


def limit_threads(threads: int) -> None:
    """Give every pool that has not been started yet ``threads`` threads.

    A variable that the user has set is left alone. Pools that are already running keep their
    size; results do not depend on it.
    """
    for name in _VARIABLES:
        os.environ.setdefault(name, str(threads))
    # waiting threads sleep instead of spinning: on a shared machine spinning costs minutes
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
