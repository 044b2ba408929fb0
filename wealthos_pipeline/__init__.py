"""WealthOS Pipeline, the library. ``from wealthos_pipeline import load`` is a quant's door.

Importing the package imports nothing else: ``load`` is fetched when it is first named.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wealthos_pipeline.data.access import load

__all__ = ["load"]


def __getattr__(name: str) -> object:
    if name == "load":
        from wealthos_pipeline.data.access import load

        return load
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
