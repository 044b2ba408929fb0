"""The morning's mail when a run was blocked: what failed, what stands, what to do. No number is new."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from wealthos_pipeline.core.errors import StorageError, WealthOSError
from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.reporting import export
from wealthos_pipeline.reporting.blocks import Figures, Item, Items, Page, Section, Text
from wealthos_pipeline.reporting.words import day, short_run
from wealthos_pipeline.utils.config import Settings
from wealthos_pipeline.utils.places import REPORT, latest_report

if TYPE_CHECKING:
    from wealthos_pipeline.data.storage.manifest import Manifest

FOLDER = "blocked"
"""Notices lie in ``<reports>/blocked/<date>/``; the reports and the link ``latest`` stay as they are."""


def blocked(
    settings: Settings, *, job: str, run_id: str, message: str, at: datetime
) -> tuple[Path, str]:
    """Write the notice of a run that failed, and send it when a mail server is set.

    message: the error's own words, one line a fault. at: when it failed (aware). Returns the ``.eml``
    file and one sentence about the delivery. Nothing of the last complete run is touched; the mail
    attaches its page, marked with its date.
    """
    from wealthos_pipeline.reporting.mail import compose, deliver

    last, unread = _last(settings)
    local = at.astimezone(TradingCalendar(settings.source.exchange).zone)
    standing = None if last is None else latest_report(settings.reports, last.as_of)
    page = _page(
        job, run_id, message, local, last, unread, None if standing is None else standing.parent
    )
    rendered = export.plain(
        page,
        date=local.date(),
        run_id=run_id,
        status="blocked",
        subject=f"WealthOS {local.date().isoformat()}: blocked",
        interactive_html=_full(standing),
    )
    folder = settings.reports / FOLDER / local.date().isoformat()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / REPORT).write_text(rendered.html, encoding="utf-8")
        (folder / export.TEXT).write_text(rendered.text, encoding="utf-8")
        facts = {"run_id": run_id, "job": job, "at": at.isoformat(), "message": message}
        (folder / export.FACTS).write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise StorageError(
            f"the notice of the blocked run cannot be written to {folder}: {error.strerror or error}"
        ) from error
    attached = local.date() if last is None else last.as_of
    message_ = compose(rendered, settings.mail, local.date(), now=at, attached=attached)
    return deliver(message_, settings.mail, folder / "report.eml")


def _last(settings: Settings) -> tuple[Manifest | None, str]:
    """The last complete run, None where there is none; and why that cannot be told, or ""."""
    from wealthos_pipeline.data.storage import manifest
    from wealthos_pipeline.data.storage.lake import Lake

    try:
        return manifest.last_or_none(Lake(settings.root)), ""
    except WealthOSError as error:
        return None, str(error)


def _full(standing: Path | None) -> str:
    """The interactive page of the last complete run; '' where there is none."""
    page = None if standing is None else standing.with_name(export.FULL)
    return "" if page is None or not page.is_file() else page.read_text(encoding="utf-8")


def _page(
    job: str,
    run_id: str,
    message: str,
    at: datetime,
    last: Manifest | None,
    unread: str,
    folder: Path | None,
) -> Page:
    faults = [line.strip(" -•\t") for line in message.splitlines() if line.strip()]
    if last is None:
        stands: tuple[Item, ...] = (
            Item("", "What was published before cannot be read", unread)
            if unread
            else Item(
                "", "Nothing has been published yet", "There is no earlier run to fall back on."
            ),
        )
        as_of = "unknown" if unread else "none"
    else:
        as_of = day(last.as_of)
        where = f" Its page is attached and lies in {folder}." if folder is not None else ""
        stands = (
            Item(
                "",
                f"Run {short_run(last.run_id)}, data as of {as_of}",
                "Tables, warehouse, API and report are those of this run, whole and unchanged."
                + where,
            ),
            Item(
                "",
                "Its trades are not proposed again",
                "They were decided on the close above. Do not trade on them without newer prices.",
            ),
        )
    return Page(
        title=f"Morning note {day(at.date())}: blocked",
        subtitle=f"Job {job} · run {short_run(run_id)} · stopped {at:%Y-%m-%d %H:%M %Z}",
        preheader=f"Blocked: {faults[0] if faults else 'the run failed'}",
        lead=(
            Figures(
                (
                    ("Status", "Blocked", "nothing new was published", "critical"),
                    ("Data as of", as_of, "of the last complete run", ""),
                    ("Trades", "None", "nothing is proposed", ""),
                )
            ),
        ),
        sections=(
            Section(
                "failed",
                "What failed",
                tuple(Text(f, "critical" if i == 0 else "") for i, f in enumerate(faults))
                or (Text("The run failed without a message; see the log.", "critical"),),
            ),
            Section("stands", "What stands", (Items(stands),)),
            Section(
                "next",
                "What to do",
                (
                    Items(
                        (
                            Item(
                                "", "Look", f"wealthos runs; wealthos data status; logs/{run_id}*"
                            ),
                            Item("", "Run again", f"wealthos run --job {job}"),
                        )
                    ),
                ),
            ),
        ),
        footer=(),
    )
