"""Compile every kernel and leave it in the cache on disk: ``python -m wealthos_pipeline.factors.warm``.

Set-up runs this once; afterwards a process loads what it needs in well under a second.
"""

from __future__ import annotations

import pkgutil
import sys
import time
from importlib import import_module

from wealthos_pipeline.factors import kernels


def warm() -> dict[str, float]:
    """Import all kernel modules; module → seconds."""
    out: dict[str, float] = {}
    for module in sorted(m.name for m in pkgutil.iter_modules(kernels.__path__)):
        begin = time.perf_counter()
        import_module(f"{kernels.__name__}.{module}")
        out[module] = time.perf_counter() - begin
    return out


if __name__ == "__main__":
    took = warm()
    sys.stdout.write(f"{len(took)} kernel modules ready in {sum(took.values()):.1f} s\n")
