"""Trials that commands make are counted: whoever looks at a result has tried something."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from wealthos_pipeline.core.errors import LockedError, StorageError

if TYPE_CHECKING:
    import polars as pl

    from wealthos_pipeline.cli.published import Published


def count(published: Published, rows: pl.DataFrame) -> int:
    """Append those of ``rows`` (from ``ml.trials``) that are not on record to ``raw.trials``; how many.

    The next run takes them over. A root that may not be written to now (a run holds it, or it is read-only) is no
    reason not to show a result: a note then says that the trial is not counted.
    """
    from wealthos_pipeline.cli.output import note
    from wealthos_pipeline.data.storage.lock import lock
    from wealthos_pipeline.ml import trials

    lake = published.lake
    try:
        if not _unknown(published, rows):
            return 0
        with lock(lake.root, "trials"):
            known = _known(published)
            new = trials.new([rows], known, run_id=published.manifest.run_id, now=datetime.now(UTC))
            if new.height:
                lake.append("raw.trials", new)
                lake.flush()
    except (LockedError, StorageError, OSError) as error:
        note(f"this trial is not counted in record.trials: {str(error).splitlines()[0]}")
        return 0
    return new.height


def _known(published: Published) -> set[str]:
    tables = ("record.trials", "raw.trials")
    return {t for name in tables for t in published.lake.read(name, columns=["trial"])["trial"]}


def _unknown(published: Published, rows: pl.DataFrame) -> bool:
    return bool(set(rows["trial"]) - _known(published))
