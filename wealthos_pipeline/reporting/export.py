"""Rendering a report and keeping it: ``<reports>/<date>/`` and the link ``<reports>/latest``."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wealthos_pipeline.core.errors import StorageError
from wealthos_pipeline.reporting import page as pages
from wealthos_pipeline.reporting import shorten
from wealthos_pipeline.reporting.blocks import Page, Table
from wealthos_pipeline.reporting.report import Report
from wealthos_pipeline.utils.places import REPORT

if TYPE_CHECKING:
    from jinja2 import Environment

FULL, TEXT, MAIL, FACTS, CHARTS = (
    "report_full.html",
    "report.txt",
    "mail.html",
    "report.json",
    "charts",
)

TEXT_WIDTH = 96


@dataclass(frozen=True)
class Rendered:
    """A report in its forms.

    html: for the mail, styles inlined, charts as ``cid:<name>``; text: plain; images: chart name →
    PNG; interactive_html: one self-contained page. past: rebuilt for an earlier day.
    """

    html: str
    text: str
    images: Mapping[str, bytes]
    interactive_html: str
    date: date
    run_id: str
    status: str
    subject: str
    past: bool = False


def render(report: Report) -> Rendered:
    """All forms of ``report``; the same report gives the same bytes."""
    from wealthos_pipeline.reporting import charts, interactive

    images = charts.draw(report)
    page = pages.build(report, frozenset(images))
    figures = interactive.figures(report)
    loud = sum(a.severity == "critical" for a in report.alerts)
    subject = f"WealthOS {report.date.isoformat()}: {report.status}"
    if loud:
        subject += f", {loud} critical {'alert' if loud == 1 else 'alerts'}"
    return plain(
        page,
        images=images,
        interactive_html=_environment()
        .get_template("report_full.html.j2")
        .render(
            page=page,
            figures=interactive.to_json(figures),
            drawn=frozenset(figures),
            plotly=interactive.library(),
        ),
        date=report.date,
        run_id=report.run_id,
        status=report.status,
        subject=subject,
        past=report.past,
    )


def plain(
    page: Page,
    *,
    date: date,
    run_id: str,
    status: str,
    subject: str,
    images: Mapping[str, bytes] | None = None,
    interactive_html: str = "",
    past: bool = False,
) -> Rendered:
    """``page`` as mail (shortened where it is long) and text; ``interactive_html``: the page beside it, if any."""
    import css_inline

    inliner = css_inline.CSSInliner(
        keep_at_rules=True, minify_css=True, load_remote_stylesheets=False
    )
    mail = _environment().get_template("report.html.j2")
    return Rendered(
        html=shorten.fitting(page, lambda shown: inliner.inline(mail.render(page=shown))),
        text=_environment().get_template("report.txt.j2").render(page=page),
        images=images or {},
        interactive_html=interactive_html,
        date=date,
        run_id=run_id,
        status=status,
        subject=subject,
        past=past,
    )


def write(rendered: Rendered, reports: Path | str) -> Path:
    """Write all forms; the folder ``<reports>/<date>``.

    Files are replaced one by one by rename. ``<reports>/latest`` then points to the folder, by one
    rename. A report rebuilt for an earlier day goes to ``<reports>/asof/<date>`` and leaves both
    the day's own report and the link alone. StorageError if the folder cannot be written.
    """
    root = Path(reports)
    folder = (root / "asof" if rendered.past else root) / rendered.date.isoformat()
    local = rendered.html
    for name in rendered.images:
        local = local.replace(f'"cid:{name}"', f'"{CHARTS}/{name}.png"')
    facts = {
        "date": rendered.date.isoformat(),
        "run_id": rendered.run_id,
        "status": rendered.status,
        "subject": rendered.subject,
        "past": rendered.past,
        "charts": list(rendered.images),
    }
    try:
        (folder / CHARTS).mkdir(parents=True, exist_ok=True)
        for name, png in rendered.images.items():
            _replace(folder / CHARTS / f"{name}.png", png)
        for old in (folder / CHARTS).glob("*.png"):
            if old.stem not in rendered.images:
                old.unlink()
        for name, text in (
            (FULL, rendered.interactive_html),
            (TEXT, rendered.text),
            (MAIL, rendered.html),
            (FACTS, json.dumps(facts, indent=1) + "\n"),
            (REPORT, local),
        ):
            _replace(folder / name, text.encode())
        if not rendered.past:
            _point(root / "latest", folder.name)
    except OSError as error:
        raise StorageError(
            f"the report cannot be written to {folder}: {error.strerror or error}. Check the folder's "
            "rights and the disk's space, or set WEALTHOS_REPORTS."
        ) from error
    return folder


def read(folder: Path | str) -> Rendered:
    """What ``write`` kept in ``folder``. StorageError if it is not a complete report."""
    at = Path(folder)
    try:
        facts: dict[str, Any] = json.loads((at / FACTS).read_text("utf-8"))
        return Rendered(
            html=(at / MAIL).read_text("utf-8"),
            text=(at / TEXT).read_text("utf-8"),
            images={n: (at / CHARTS / f"{n}.png").read_bytes() for n in facts["charts"]},
            interactive_html=(at / FULL).read_text("utf-8"),
            date=date.fromisoformat(facts["date"]),
            run_id=facts["run_id"],
            status=facts["status"],
            subject=facts["subject"],
            past=facts["past"],
        )
    except (OSError, KeyError, ValueError) as error:
        raise StorageError(
            f"{at} does not hold a complete report: {error}. Make one with `wealthos run`."
        ) from error


def _replace(path: Path, content: bytes) -> None:
    aside = path.with_name(f".{path.name}.tmp")
    aside.write_bytes(content)
    os.replace(aside, path)  # noqa: PTH105  one rename


def _point(link: Path, target: str) -> None:
    aside = link.with_name(".latest.tmp")
    aside.unlink(missing_ok=True)
    aside.symlink_to(target, target_is_directory=True)
    os.replace(aside, link)  # noqa: PTH105  one rename


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("wealthos_pipeline.reporting", "templates"),
        autoescape=lambda name: not (name or "").endswith(".txt.j2"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["plain_table"] = plain_table
    environment.filters["wrapped"] = wrapped
    return environment


def plain_table(table: Table, limit: bool = True) -> str:
    """A table in fixed-width text, headings underlined, sums set off by a line."""
    shown = table.rows[: table.mail_rows] if limit and table.mail_rows else table.rows
    keep = [i for i, c in enumerate(table.columns) if not c.full]
    columns = tuple(table.columns[i] for i in keep)
    head = tuple(c.label for c in columns)
    body = [tuple(row[i].text for i in keep) for row in shown]
    widths = [max(len(line[i]) for line in (head, *body)) for i in range(len(head))]

    def line(row: tuple[str, ...]) -> str:
        parts = (
            text.rjust(w) if c.right else text.ljust(w)
            for text, w, c in zip(row, widths, columns, strict=True)
        )
        return "  " + "  ".join(parts).rstrip()

    rule = "  " + "-" * (sum(widths) + 2 * (len(widths) - 1))
    lines = [line(head), rule, *(line(row) for row in body)]
    if table.totals:
        lines.insert(len(lines) - table.totals, rule)
    if len(shown) < len(table.rows):
        lines.append(f"  … and {len(table.rows) - len(shown):,} more in the full page")
    return "\n".join(lines)


def wrapped(text: str, indent: int = 0, hanging: int = 0) -> str:
    """``text`` in lines of at most ``TEXT_WIDTH`` characters."""
    import textwrap

    return textwrap.fill(
        text,
        TEXT_WIDTH,
        initial_indent=" " * indent,
        subsequent_indent=" " * (indent + hanging),
        break_long_words=False,
    )


__all__ = ["Page", "Rendered", "read", "render", "write"]
