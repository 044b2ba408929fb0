"""From a published run to files: the report's folder, the message, the delivery."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from wealthos_pipeline.utils.config import Settings, inputs_dir

if TYPE_CHECKING:
    from wealthos_pipeline.data.processors.calendar import TradingCalendar
    from wealthos_pipeline.data.sources import SourceInfo
    from wealthos_pipeline.data.storage.manifest import Manifest, Snapshot
    from wealthos_pipeline.factors import Library


def report(
    snapshot: Snapshot,
    *,
    settings: Settings,
    info: SourceInfo,
    library: Library,
    calendar: TradingCalendar,
) -> Path:
    """Collect, render and write the report of ``snapshot``; the folder that holds it."""
    from wealthos_pipeline.portfolio import mandates
    from wealthos_pipeline.reporting import export
    from wealthos_pipeline.reporting.causes import explain
    from wealthos_pipeline.reporting.collecting import collect

    manifest = snapshot.manifest
    written = tuple(mandates.load(settings.portfolio.mandates or inputs_dir() / "mandates"))
    collected = collect(
        snapshot.read,
        date=manifest.as_of,
        info=info,
        settings=settings,
        run_id=manifest.run_id,
        calendar=calendar,
        mandates=written,
        factors=tuple(library.factors.values()),
        code_version=manifest.code_version,
        causes=explain(
            snapshot, settings=settings, calendar=calendar, library=library, mandates=written
        ),
        now=manifest.started_at,
    )
    return export.write(export.render(collected), settings.reports)


def failed(
    settings: Settings, *, job: str, run_id: str, message: str, at: datetime
) -> tuple[Path, str]:
    """Write a failed run down, for the next report, and send the notice of a blocked day."""
    from wealthos_pipeline.data.storage import failures
    from wealthos_pipeline.reporting import notice

    failures.record(settings.root, run_id=run_id, job=job, message=message, at=at)
    return notice.blocked(settings, job=job, run_id=run_id, message=message, at=at)


def deliver(manifest: Manifest, *, settings: Settings) -> tuple[Path, str]:
    """Write the message of a run that has been rendered, and send it when a server is set.

    Returns the ``.eml`` file and one sentence about the delivery.
    """
    from wealthos_pipeline.reporting import export
    from wealthos_pipeline.reporting.mail import compose
    from wealthos_pipeline.reporting.mail import deliver as hand_over

    folder = settings.reports / manifest.as_of.isoformat()
    rendered = export.read(folder)
    message = compose(rendered, settings.mail, manifest.as_of)
    return hand_over(message, settings.mail, folder / "report.eml")
