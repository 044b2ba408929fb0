"""Versions of the code: of the checkout, of one room, of the lock file."""

from __future__ import annotations

import ast
import hashlib
from functools import cache
from pathlib import Path

from wealthos_pipeline.utils.config import project_root

NUMBERS = ("data/processors", "factors", "market_monitor", "ml", "portfolio", "stats")
"""Rooms whose source makes numbers; imports are followed into these."""


@cache
def room_hash(*rooms: str) -> str:
    """16 hex digits over ``wealthos_pipeline/<room>`` (files or packages) and all that they import
    from the rooms of ``NUMBERS``, late imports included.

    A stage carries the hash of the code that it calls, so that changed code recomputes its tables.
    """
    package = project_root() / "wealthos_pipeline"
    waiting = [file for room in rooms for file in _files(package / room)]
    found: set[Path] = set()
    while waiting:
        file = waiting.pop()
        if file not in found:
            found.add(file)
            waiting += _imported(file)
    digest = hashlib.blake2b(digest_size=8)
    for file in sorted(found):
        digest.update(file.relative_to(package).as_posix().encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()


def _files(path: Path) -> list[Path]:
    return sorted(path.rglob("*.py")) if path.is_dir() else [path.with_suffix(".py")]


@cache
def _imported(file: Path) -> tuple[Path, ...]:
    """Files of ``NUMBERS`` that ``file`` imports, anywhere in it."""
    root = project_root()
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    out = []
    for name in sorted(names):
        path = name.replace(".", "/")
        if not path.startswith(tuple(f"wealthos_pipeline/{room}" for room in NUMBERS)):
            continue
        out += [f for f in (root / f"{path}.py", root / path / "__init__.py") if f.is_file()]
    return tuple(out)


def content_hash(content: bytes) -> str:
    """16 hex digits over ``content``."""
    return hashlib.blake2b(content, digest_size=8).hexdigest()


def file_hash(path: Path) -> str:
    """16 hex digits over a file's bytes; 'absent' if it does not exist."""
    return content_hash(path.read_bytes()) if path.is_file() else "absent"


@cache
def lock_hash() -> str:
    """Hash of ``requirements.lock``."""
    return file_hash(project_root() / "requirements.lock")


@cache
def code_version() -> str:
    """``<package version>+<hash of the library's and the assets' source>``."""
    from importlib.metadata import version

    digest = hashlib.blake2b(digest_size=6)
    root = project_root()
    for folder in ("wealthos_pipeline", "assets"):
        for file in sorted((root / folder).rglob("*.py")):
            digest.update(file.relative_to(root).as_posix().encode())
            digest.update(file.read_bytes())
    return f"{version('wealthos-pipeline')}+{digest.hexdigest()}"
