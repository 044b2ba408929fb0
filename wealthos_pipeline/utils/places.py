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
    """The report of ``as_of``, or the newest one; None where there is none."""
    have = reports(folder)
    if as_of is not None:
        return dict(have).get(as_of)
    return have[-1][1] if have else None
