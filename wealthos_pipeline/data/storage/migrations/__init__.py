"""Migrations: numbered steps that bring the lake of an older program to this one's layout.

``<root>/lake/LAYOUT`` holds the number of the lake's layout. A step that leads to layout N is a
module ``m000N_<what>.py`` in this package with a docstring and a function ``migrate(lake)``; it must
be safe to run again after it was interrupted.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from wealthos_pipeline.core.errors import NewerLakeError, StorageError

if TYPE_CHECKING:
    from wealthos_pipeline.data.storage.lake import Lake

LAKE_VERSION = 2
"""The layout that this program reads and writes."""

LAYOUT_FILE = "LAYOUT"


@dataclass(frozen=True, slots=True)
class Step:
    """One migration: ``number`` is the layout that it leads to."""

    number: int
    title: str
    run: Callable[[Lake], None]


def layout_of(root: str | Path) -> int | None:
    """The layout of the lake under ``root``; None if there is no lake yet."""
    path = Path(root) / "lake" / LAYOUT_FILE
    try:
        text = path.read_text("utf-8").strip()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror}") from error
    if not text.isdigit():
        raise StorageError(
            f"{path} holds {text!r}, expected the number of the lake's layout; this program's is "
            f"{LAKE_VERSION}. Restore the file from a backup."
        )
    return int(text)


def refuse_newer(root: str | Path) -> int | None:
    """The lake's layout; NewerLakeError if a newer program wrote it. Readers need no more."""
    found = layout_of(root)
    if found is not None and found > LAKE_VERSION:
        raise NewerLakeError(
            f"the lake under {root} has layout {found}, this program knows up to {LAKE_VERSION}: it "
            "was written by a newer version. Update this program; nothing was changed."
        )
    return found


def check(root: str | Path) -> None:
    """What a writer needs: this program's layout exactly. A new root gets it."""
    found = refuse_newer(root)
    if found is None:
        stamp(root, LAKE_VERSION)
    elif found < LAKE_VERSION:
        raise StorageError(
            f"the lake under {root} has layout {found}, this program needs {LAKE_VERSION}: run "
            "`wealthos data migrate` first"
        )


def stamp(root: str | Path, number: int) -> None:
    """Write the layout's number, in one rename."""
    path = Path(root) / "lake" / LAYOUT_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f"{path.name}.{os.getpid()}")
    aside.write_text(f"{number}\n", "utf-8")
    aside.replace(path)


def steps() -> list[Step]:
    """All migrations of this package, ascending."""
    found = []
    for module in pkgutil.iter_modules(__path__):
        match = re.fullmatch(r"m(\d{4})_\w+", module.name)
        if match:
            code = importlib.import_module(f"{__name__}.{module.name}")
            title = (code.__doc__ or module.name).strip().splitlines()[0]
            found.append(Step(int(match[1]), title, code.migrate))
    return sorted(found, key=lambda s: s.number)


def migrate(
    lake: Lake, *, available: list[Step] | None = None, target: int = LAKE_VERSION
) -> list[str]:
    """Bring the lake to ``target``; titles of what was done. The caller holds the root's lock.

    Each step is followed by its stamp, so that an interrupted migration goes on where it was.
    """
    found = layout_of(lake.root)
    if found is None:
        stamp(lake.root, target)
        return []
    if found > target:
        refuse_newer(lake.root)
    pending = [
        s for s in (steps() if available is None else available) if found < s.number <= target
    ]
    if [s.number for s in pending] != list(range(found + 1, target + 1)):
        raise StorageError(
            f"no way from layout {found} to {target}: the migrations there are lead to "
            f"{[s.number for s in pending]}"
        )
    for step in pending:
        step.run(lake)
        stamp(lake.root, step.number)
    return [f"{s.number}: {s.title}" for s in pending]
