"""Artefacts: fitted models as JSON text that says whose it is, floats as hexadecimal digits."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from wealthos_pipeline.core.errors import ModelError


def write(family: str, version: int, body: Mapping[str, Any]) -> str:
    """JSON text of ``body`` with ``format`` (the version) and ``model`` (the family) before it."""
    return json.dumps({"format": version, "model": family, **body}, separators=(",", ":"))


def read(text: str, family: str, version: int) -> dict[str, Any]:
    """The body of an artefact; ModelError if it is damaged, of another family or of another version."""
    body = _body(text, family)
    if (body.get("model"), body.get("format")) != (family, version):
        raise ModelError(
            f"the artefact is {body.get('model')!r} format {body.get('format')!r}, expected "
            f"{family!r} format {version}; refit the model"
        )
    return body


def family_of(text: str) -> object:
    """What an artefact says its family is; ModelError if it is damaged."""
    return _body(text, "a model").get("model")


def _body(text: str, whose: str) -> dict[str, Any]:
    try:
        body = json.loads(text)
    except (TypeError, ValueError) as error:
        raise damaged(whose, f"it is not JSON ({error})") from error
    if not isinstance(body, dict):
        raise damaged(whose, f"it holds a {type(body).__name__}, expected an object")
    return body


@contextmanager
def intact(family: str) -> Iterator[None]:
    """Turns what goes wrong while a body is taken apart into a ModelError."""
    try:
        yield
    except KeyError as error:
        raise damaged(family, f"{error} is missing") from error
    except (TypeError, ValueError, AttributeError, IndexError, OverflowError) as error:
        raise damaged(family, str(error)) from error


def damaged(family: str, why: str) -> ModelError:
    return ModelError(f"the artefact of {family} is damaged: {why}; refit the model")


def hexes(values: Iterable[float] | np.ndarray) -> list[str]:
    """Each number as ``float.hex``: the same bits when read back."""
    return [float(v).hex() for v in values]


def floats(values: Iterable[str]) -> tuple[float, ...]:
    """The numbers of ``hexes``."""
    return tuple(float.fromhex(v) for v in values)
