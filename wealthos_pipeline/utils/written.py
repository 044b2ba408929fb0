"""What people write in YAML: read, and all that is wrong with it said in words."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from wealthos_pipeline.core.errors import ConfigError

if TYPE_CHECKING:
    from pydantic import BaseModel, ValidationError


def files(folder: Path) -> list[Path]:
    """The YAML files of ``folder``, by name."""
    return sorted([*folder.glob("*.yaml"), *folder.glob("*.yml")])


def read(path: Path) -> Any:
    """What the file holds; None for an empty one. ConfigError, without the file's name, if it cannot be read."""
    import yaml

    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"is not readable as YAML: {' '.join(str(error).split())}") from None


def keys(path: Path, such_as: str) -> dict[str, Any]:
    """The keys of the file with their values. ConfigError as in ``read``, and where it holds something else;
    such_as: some keys that are expected, for people."""
    body = read(path)
    if isinstance(body, dict):
        return body
    found = "is empty" if body is None else f"holds a {type(body).__name__}"
    raise ConfigError(f"{found}; expected keys such as {such_as}")


def faults(error: ValidationError, model: type[BaseModel]) -> list[str]:
    """Every fault that Pydantic found in what was to be a ``model``."""
    out = []
    for e in error.errors(include_url=False, include_context=False):
        where = ".".join(str(part) for part in e["loc"])
        if e["type"] == "extra_forbidden":
            known = ", ".join(sorted(_at(model, e["loc"]).model_fields))
            out.append(f"unknown key {where!r}; known: {known}")
        elif e["type"] == "missing":
            out.append(f"key {where!r} is missing")
        else:
            out.append(f"{where}: {e['msg']} (found {e['input']!r})" if where else e["msg"])
    return out


def _at(model: type[BaseModel], loc: Sequence[int | str]) -> type[BaseModel]:
    """The model whose keys stand at ``loc``: that of the innermost field on the way to it."""
    for part in loc[:-1]:
        field = model.model_fields.get(str(part))
        inner = None if field is None else _model(field.annotation)
        model = model if inner is None else inner
    return model


def _model(annotation: Any) -> type[BaseModel] | None:
    """The first model in a type such as ``Slot | None`` or ``dict[str, Slot]``."""
    if hasattr(annotation, "model_fields"):
        found: type[BaseModel] = annotation
        return found
    return next((m for a in get_args(annotation) if (m := _model(a)) is not None), None)


def pairs(given: Sequence[str]) -> dict[str, Any]:
    """``key=value`` words of ``--set`` as values; a value is read as YAML: 0.5, true, [a, b], null.

    ConfigError names every word that is none."""
    import yaml

    out, wrong = {}, []
    for word in given:
        key, equal, value = word.partition("=")
        if not equal or not key.strip():
            wrong.append(f"{word!r} is not key=value")
            continue
        try:
            out[key.strip()] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            wrong.append(f"{word!r}: the value cannot be read: {' '.join(str(error).split())}")
    if wrong:
        raise ConfigError(f"--set {'; '.join(wrong)}. Write --set KEY=VALUE, one for each.")
    return out
