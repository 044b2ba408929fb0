"""Versions of the code: of the checkout, of one room, of the lock file."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

from wealthos_pipeline.utils.config import project_root


@cache
def room_hash(*rooms: str) -> str:
    """16 hex digits over the source of ``wealthos_pipeline/<room>`` (a file or a package).

    A stage carries the hash of the rooms that it calls, so that changed code recomputes its tables.
    """
    digest = hashlib.blake2b(digest_size=8)
    package = project_root() / "wealthos_pipeline"
    for room in sorted(rooms):
        path = package / room
        files = sorted(path.rglob("*.py")) if path.is_dir() else [path.with_suffix(".py")]
        for file in files:
            digest.update(file.relative_to(package).as_posix().encode())
            digest.update(file.read_bytes())
    return digest.hexdigest()


def file_hash(path: Path) -> str:
    """16 hex digits over a file's bytes; 'absent' if it does not exist."""
    if not path.is_file():
        return "absent"
    return hashlib.blake2b(path.read_bytes(), digest_size=8).hexdigest()


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
