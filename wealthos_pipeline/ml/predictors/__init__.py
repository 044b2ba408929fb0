"""Model families: one module each, found by name.

::

    families()                                        -> every Family: words and parameters
    faults(spec)                                      -> what is wrong with a specification, in words
    make(spec, threads=1, members=specs.members(...)) -> the predictor of a specification
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING

from wealthos_pipeline.core.errors import ConfigError

if TYPE_CHECKING:
    from wealthos_pipeline.core.model import ModelSpec
    from wealthos_pipeline.ml.predictors.base import Predictor
    from wealthos_pipeline.ml.predictors.families import Family

__all__ = ["FAMILIES", "families", "family", "faults", "make"]

_HERE = "wealthos_pipeline.ml.predictors"

FAMILIES: Mapping[str, str] = {
    "ridge": f"{_HERE}.ridge",
    "elastic_net": f"{_HERE}.elastic_net",
    "lightgbm": f"{_HERE}.lightgbm",
    "fama_macbeth": f"{_HERE}.fama_macbeth",
    "pooled_ols": f"{_HERE}.pooled_ols",
    "ic_weighted": f"{_HERE}.ic_weighted",
}
"""Family → the module that declares it as ``FAMILY``."""


def families() -> list[Family]:
    """Every family, in the order of ``FAMILIES``."""
    return [family(name) for name in FAMILIES]


def family(name: str) -> Family:
    """The family ``name``; ConfigError if there is none."""
    if name not in FAMILIES:
        raise ConfigError(f"unknown family {name!r}; there are: {', '.join(FAMILIES)}")
    found: Family = import_module(FAMILIES[name]).FAMILY
    return found


def faults(spec: ModelSpec) -> list[str]:
    """All that keeps ``spec`` from being a model of its family, in words; empty: nothing."""
    try:
        return family(spec.family).faults(spec)
    except ConfigError as error:
        return [str(error)]


def make(spec: ModelSpec, *, threads: int = 1, members: Sequence[ModelSpec] = ()) -> Predictor:
    """The predictor of ``spec``. ConfigError lists everything that is wrong with it.

    threads: speed only; changes no bit of a fit or a prediction.
    members: of a stacked model, ``specs.members(spec, settings)``; empty for any other.
    """
    wrong = faults(spec)
    if not wrong:
        of = family(spec.family)
        if of.combines and len(members) < 2:
            wrong.append(f"family {of.name} combines at least two members, found {len(members)}")
        if not of.combines and members:
            wrong.append(f"family {of.name} has no members, found {[m.name for m in members]}")
        for m in members if of.combines else ():
            wrong += [f"member {m.name}: {fault}" for fault in faults(m)]
    if wrong:
        lines = "\n".join(f"  - {fault}" for fault in wrong)
        raise ConfigError(f"model {spec.name} cannot be used:\n{lines}")
    built = [(m, make(m, threads=threads)) for m in members]
    return of.build(spec, of.read(spec.params)[0], threads, built)
