"""Factors: a language, an engine, definitions and their evaluation.

Definitions live in ``equity/``, ``fixed_income/``, ``cross_asset/`` and in ``data/inputs/factors/``;
``load()`` finds them. ``compute()`` turns a family's definitions and a price panel into values.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wealthos_pipeline.factors.dated import compute_blocks
    from wealthos_pipeline.factors.engine import compute, compute_all
    from wealthos_pipeline.factors.evaluation import performance, summary
    from wealthos_pipeline.factors.labels import forward_returns
    from wealthos_pipeline.factors.library import Family, Library, load
    from wealthos_pipeline.factors.tables import evaluate
    from wealthos_pipeline.factors.transforms import scores, scores_contract, scores_contracts

__all__ = [
    "Family",
    "Library",
    "compute",
    "compute_all",
    "compute_blocks",
    "evaluate",
    "forward_returns",
    "load",
    "performance",
    "scores",
    "scores_contract",
    "scores_contracts",
    "summary",
]

_HOME = {
    "Family": "library",
    "Library": "library",
    "load": "library",
    "compute": "engine",
    "compute_all": "engine",
    "compute_blocks": "dated",
    "evaluate": "tables",
    "forward_returns": "labels",
    "scores": "transforms",
    "scores_contract": "transforms",
    "scores_contracts": "transforms",
    "performance": "evaluation",
    "summary": "evaluation",
}


def __getattr__(name: str) -> Any:
    """Heavy modules are imported when first asked for."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
