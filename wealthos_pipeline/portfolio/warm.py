"""Compile the ledger and leave it in the cache on disk: ``python -m wealthos_pipeline.portfolio.warm``.

Set-up runs this once, after that of the factors' kernels; without it the first backtest waits for it.
"""

from __future__ import annotations

import sys
import time


def warm() -> float:
    """Import the compiled module; seconds."""
    begin = time.perf_counter()
    from wealthos_pipeline.portfolio import ledger

    assert ledger.advance is not None
    return time.perf_counter() - begin


if __name__ == "__main__":
    sys.stdout.write(f"the ledger of backtests ready in {warm():.1f} s\n")
