"""Model families: one module each, found by name.

::

    families()                                        -> every Family: words and parameters
    faults(spec)                                      -> what is wrong with a specification, in words
    make(spec, threads=1, members=specs.members(...)) -> the predictor of a specification
    read(text)                                        -> the fitted model of an artefact, whatever its family
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING

from wealthos_pipeline.core.errors import ConfigError, ModelError

if TYPE_CHECKING:
    from wealthos_pipeline.core.model import ModelSpec
    from wealthos_pipeline.ml.predictors.base import Fitted, Predictor
    from wealthos_pipeline.ml.predictors.parameters import Family

__all__ = ["FAMILIES", "families", "family", "faults", "make", "read"]

_HERE = "wealthos_pipeline.ml.predictors"

FAMILIES: Mapping[str, str] = {
    "ridge": f"{_HERE}.ridge",
    "elastic_net": f"{_HERE}.elastic_net",
    "lightgbm": f"{_HERE}.lightgbm",
    "fama_macbeth": f"{_HERE}.fama_macbeth",
    "pooled_ols": f"{_HERE}.pooled_ols",
    "ic_weighted": f"{_HERE}.ic_weighted",
    "stacked": f"{_HERE}.stacked",
    "direction": "wealthos_pipeline.ml.classifiers.direction",
}
"""Family → the module that declares it as ``FAMILY``."""

NOT_MEMBERS = ("stacked", "direction")
"""Families that a stacked model cannot combine: stacks, and probabilities, whose parts are log-odds."""


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
    """The predictor of ``spec``. ConfigError lists every parameter, of it and its members, that is wrong.

    threads: speed only; changes no bit of a fit or a prediction.
    members: of a stacked model, ``specs.members(spec, settings)``; empty for any other. Without them a
    stacked model can read its fits but not be fitted. A label that the family cannot learn is found by
    ``faults``, and when it is fitted: fits can be read whatever their specification has become.
    """
    of = family(spec.family)
    params, wrong = of.read(spec.params)
    if members and not of.combines:
        wrong.append(f"family {of.name} has no members, found {[m.name for m in members]}")
    for m in members if of.combines else ():
        found = family(m.family).read(m.params)[1]
        if m.family in NOT_MEMBERS:
            found.append(f"a model of the family {m.family} cannot be a member")
        wrong += [f"member {m.name}: {fault}" for fault in found]
    if wrong:
        lines = "\n".join(f"  - {fault}" for fault in wrong)
        raise ConfigError(f"model {spec.name} cannot be used:\n{lines}")
    return of.build(spec, params, threads, [(m, make(m, threads=threads)) for m in members])


def read(text: str, *, threads: int = 1) -> Fitted:
    """The fitted model in an artefact of any family; ModelError if it is damaged, of a family that this
    program does not know, or of another version. Parameters play no part in it."""
    from wealthos_pipeline.core.model import ModelSpec
    from wealthos_pipeline.ml.predictors import artefact

    name = artefact.family_of(text)
    if name not in FAMILIES:
        raise ModelError(
            f"the artefact is of the family {name!r}, which this program does not know; it knows: "
            f"{', '.join(FAMILIES)}. It was made by another version: refit the model"
        )
    spec = ModelSpec.model_validate({"name": "stored", "family": name})
    return make(spec, threads=threads).from_text(text)
