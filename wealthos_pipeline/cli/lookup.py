"""Names that a person typed: found, or refused with the names that come close."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from wealthos_pipeline.core.errors import ConfigError
from wealthos_pipeline.utils.names import close

if TYPE_CHECKING:
    from wealthos_pipeline.data.storage.manifest import Manifest


def find(kind: str, name: str, known: Iterable[str], hint: str) -> str:
    """``name`` as it is written among ``known`` (letter case ignored).

    Raises ConfigError with close matches and ``hint``, the command that lists what exists.
    """
    names = sorted(set(known))
    if name in names:
        return name
    same = [k for k in names if k.casefold() == name.casefold()]
    if len(same) == 1:
        return same[0]
    near = close(name, names)
    like = f" Did you mean {', '.join(near)}?" if near else ""
    have = "" if near else f" There are {len(names)}: {', '.join(names[:12]) or 'none'}."
    raise ConfigError(f"no {kind} called {name!r}.{like}{have} `{hint}` lists them.")


def find_run(name: str, history: Iterable[Manifest]) -> Manifest:
    """The manifest called ``name``: a run id or its unique beginning, ``last`` or ``previous``."""
    runs = list(history)
    runs.sort(key=lambda m: (m.finished_at, m.run_id))
    if name == "last" and runs:
        return runs[-1]
    if name == "previous" and len(runs) > 1:
        return runs[-2]
    begin = [m for m in runs if m.run_id.startswith(name)]
    if len(begin) == 1:
        return begin[0]
    if len(begin) > 1:
        ids = ", ".join(m.run_id for m in begin[:5])
        raise ConfigError(
            f"{name!r} is the beginning of {len(begin)} runs: {ids}. Write more of it."
        )
    found = find("run", name, [m.run_id for m in runs], "wealthos runs")
    return next(m for m in runs if m.run_id == found)
