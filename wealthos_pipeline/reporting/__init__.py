"""The portfolio manager's report: collected from tables, rendered, written, mailed.

::

    collecting.collect(read, *, date, info, settings, run_id, calendar=None, mandates=(), factors=(),
                       notes=(), code_version="") -> Report
        read(table, start=None, columns=None) -> polars.DataFrame
    export.render(report) -> Rendered(html, text, images, interactive_html, …)
    export.write(rendered, reports) -> Path          # <reports>/<date>/, link <reports>/latest
    mail.compose(rendered, settings.mail, date) -> EmailMessage
    mail.write_eml(message, path) ; mail.send(message, settings.mail) -> tuple of delivered addresses
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wealthos_pipeline.reporting.collecting import collect
    from wealthos_pipeline.reporting.report import Report

__all__ = ["Report", "collect"]


def __getattr__(name: str) -> Any:
    if name == "collect":
        from wealthos_pipeline.reporting.collecting import collect

        return collect
    if name == "Report":
        from wealthos_pipeline.reporting.report import Report

        return Report
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
