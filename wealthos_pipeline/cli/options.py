"""Options that many commands share, and the settings that come of them."""

from __future__ import annotations

import os
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from wealthos_pipeline.utils.config import Settings

Root = Annotated[
    Path | None,
    typer.Option(
        "--root",
        help="Where the lake and the warehouse lie (WEALTHOS_ROOT).",
        show_default="./data",
        file_okay=False,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for a program to read.")]
Limit = Annotated[int, typer.Option("--limit", "-n", min=1, help="Most rows to print.")]

_default_root: ContextVar[Path | None] = ContextVar("default_root", default=None)


def set_default_root(root: Path | None) -> None:
    """The root named before the command: ``wealthos --root X run``."""
    _default_root.set(root)


def load(root: Path | None, **overrides: Any) -> Settings:
    """Settings from every layer; flags win. ``None`` values and empty parts are left out."""
    from wealthos_pipeline.utils.config import load_settings

    return load_settings(**flags(root, **overrides))


def flags(root: Path | None, **overrides: Any) -> dict[str, Any]:
    """What was said on the command line, as nested settings."""
    given = root if root is not None else _default_root.get()
    body = {} if given is None else {"root": given}
    return body | _without_none(overrides)


def any_root(argv: list[str]) -> Path:
    """The root, found without reading settings: for the error log only."""
    for i, word in enumerate(argv):
        if word == "--root" and i + 1 < len(argv):
            return Path(argv[i + 1])
        if word.startswith("--root="):
            return Path(word.partition("=")[2])
    return Path(os.environ.get("WEALTHOS_ROOT", "data"))


def _without_none(body: dict[str, Any]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for key, value in body.items():
        kept = _without_none(value) if isinstance(value, dict) else value
        if kept is not None and kept != {}:
            out[key] = kept
    return out
