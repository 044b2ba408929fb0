"""Models from YAML files, completed by the settings."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from wealthos_pipeline.core.errors import ConfigError, ModelError
from wealthos_pipeline.core.model import ModelSpec, Value
from wealthos_pipeline.ml import predictors
from wealthos_pipeline.ml.predictors import FAMILIES
from wealthos_pipeline.utils import written
from wealthos_pipeline.utils.config import ModelSettings, inputs_dir

FROM_SETTINGS = ("horizon", "train_sessions", "min_train_sessions", "every", "seed")
"""Keys that the settings give where a file leaves them out."""


def folder(settings: ModelSettings) -> Path:
    """Where the files of models are."""
    return settings.specs or inputs_dir() / "models"


def load(settings: ModelSettings, names: Sequence[str] | None = None) -> list[ModelSpec]:
    """The models ``names`` (None: ``settings.names``, which every run trains), in that order.

    A name is that of a file's model in ``folder(settings)``, or of a family, which is then used with
    its own defaults. Members of a stacked model are not among them unless they are named. ConfigError
    lists every fault of every file, and names that are neither.
    """
    found = available(settings)
    wanted = list(dict.fromkeys(settings.names if names is None else names))
    unknown = [n for n in wanted if n not in found]
    if unknown:
        raise ConfigError(
            f"models.names: unknown {unknown}; there are: {', '.join(sorted(found))}. "
            f"A model is a YAML file in {folder(settings)}"
        )
    return [found[n] for n in wanted]


def available(settings: ModelSettings) -> dict[str, ModelSpec]:
    """Every model that can be asked for, by name: the files', and each family with its defaults."""
    where = folder(settings)
    faults: list[str] = []
    found: dict[str, ModelSpec] = {}
    origin: dict[str, str] = {}
    for path in written.files(where):
        spec, wrong = _read(path, settings)
        faults += [f"{path.name}: {fault}" for fault in wrong]
        if spec is None:
            continue
        if spec.name in found:
            faults.append(f"{path.name}: name {spec.name!r} is already used by {origin[spec.name]}")
            continue
        found[spec.name], origin[spec.name] = spec, path.name
    for family in FAMILIES:
        if family not in found and family != "stacked":
            found[family] = _complete({"name": family, "family": family}, settings)
    for spec in found.values():
        faults += _members(spec, found, origin.get(spec.name, spec.name))
    if faults:
        lines = "\n".join(f"  - {fault}" for fault in faults)
        raise ConfigError(f"the models in {where} cannot be used:\n{lines}")
    return found


def definition(settings: ModelSettings) -> list[str]:
    """Everything in settings and files that can change a fit or a prediction of the models of a run: when
    they are refitted, their definitions, and those of the members of stacked ones."""
    models = load(settings)
    of = [*models, *(m for spec in models for m in members(spec, settings))]
    return [settings.refit_history, settings.refit_live, *dict.fromkeys(m.definition for m in of)]


def members(spec: ModelSpec, settings: ModelSettings) -> list[ModelSpec]:
    """The models that a stacked one combines, at its own horizon, label and windows."""
    found = available(settings)
    shared = {
        k: getattr(spec, k)
        for k in ("horizon", "label", "window", "train_sessions", "min_train_sessions", "every")
    }
    return [found[n].model_copy(update=shared) for n in spec.members]


def chosen(spec: ModelSpec, columns: Sequence[str]) -> tuple[str, ...]:
    """Features of the model among ``columns``, in their order. ModelError if a name or pattern finds
    none."""
    lost = [p for p in spec.features if not any(fnmatchcase(c, p) for c in columns)]
    if lost:
        raise ModelError(
            f"model {spec.name}: the scores have no column {', '.join(lost)}; they have: "
            f"{', '.join(columns)}. Compute those factors first (factors.sets) or change features."
        )
    return tuple(c for c in columns if any(fnmatchcase(c, p) for p in spec.features))


def _complete(body: dict[str, Any], settings: ModelSettings) -> ModelSpec:
    given = {k: getattr(settings, k) for k in FROM_SETTINGS}
    spec = ModelSpec.model_validate({**given, **body})
    common: dict[str, dict[str, Value]] = {
        "ridge": {"alpha": settings.ridge_alpha},
        "lightgbm": {"trees": settings.lightgbm_trees},
    }
    return spec.model_copy(update={"params": {**common.get(spec.family, {}), **spec.params}})


def _read(path: Path, settings: ModelSettings) -> tuple[ModelSpec | None, list[str]]:
    """The model of one file, or everything that is wrong with it."""
    try:
        spec = _complete(written.keys(path, "name, family, features, params"), settings)
    except ConfigError as error:
        return None, [str(error)]
    except ValidationError as error:
        return None, written.faults(error, ModelSpec)
    if spec.family not in FAMILIES:
        return None, [f"unknown family {spec.family!r}; there are: {', '.join(FAMILIES)}"]
    return spec, predictors.faults(spec)


def _members(spec: ModelSpec, found: dict[str, ModelSpec], origin: str) -> list[str]:
    if spec.family != "stacked":
        return [f"{origin}: members belong to the family stacked"] if spec.members else []
    if len(set(spec.members)) < 2:
        return [f"{origin}: a stacked model needs at least two members, found {spec.members}"]
    wrong = [n for n in spec.members if n not in found or found[n].family == "stacked"]
    if wrong:
        return [f"{origin}: members {wrong} are no models that can be stacked"]
    return []
