"""Where things lie on disk that more than one room looks for."""

from __future__ import annotations

from datetime import date
from pathlib import Path

REPORT = "report.html"


def reports(folder: Path) -> list[tuple[date, Path]]:
    """Rendered reports ``<folder>/<YYYY-MM-DD>/report.html``, oldest first."""
    found = []
    for path in Path(folder).glob(f"*/{REPORT}"):
        try:
            found.append((date.fromisoformat(path.parent.name), path))
        except ValueError:
            continue
    return sorted(found)


def latest_report(folder: Path, as_of: date | None = None) -> Path | None:
    """The report of ``as_of``, or the one rendered last (``<folder>/latest``); None where there is none.

    Several roots may share a folder: the newest date need not be the last run's.
    """
    have = reports(folder)
    if as_of is not None:
        return dict(have).get(as_of)
    last = Path(folder) / "latest"
    if last.is_symlink() and (last / REPORT).exists():
        return Path(folder) / last.readlink().name / REPORT
    return have[-1][1] if have else None
