"""``wealthos report``: the page of the last run, or of any day as it would have looked."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from wealthos_pipeline.cli import options


def report(
    as_of: Annotated[
        str | None,
        typer.Option("--as-of", help="Rebuild the page of this day from what was known on it."),
    ] = None,
    open_: Annotated[bool, typer.Option("--open", help="Open it in a browser.")] = False,
    root: options.Root = None,
    as_json: options.AsJson = False,
) -> None:
    """Say where the report lies; with --as-of rebuild it for a past day.

    A rebuilt page uses only rows that could have been known that evening, so it is the same
    whenever it is made.
    """
    from wealthos_pipeline.cli.output import emit, out

    settings = options.load(root)
    if as_of is not None:
        from wealthos_pipeline.cli.asof import rebuild
        from wealthos_pipeline.cli.published import day

        wanted = day(as_of, "--as-of")
        assert wanted is not None
        path = rebuild(settings, wanted, quiet=as_json)
    else:
        path = last(settings.reports)
    if as_json:
        emit({"report": str(path.resolve()), "as_of": path.parent.name})
    else:
        out().print(str(path))
    if open_:
        import webbrowser

        webbrowser.open(path.resolve().as_uri())


def last(folder: Path) -> Path:
    """The newest report; NoManifestError with the next step where there is none."""
    from wealthos_pipeline.core.errors import NoManifestError
    from wealthos_pipeline.utils.places import latest_report

    path = latest_report(folder)
    if path is None:
        raise NoManifestError(f"there is no report in {folder} yet. Make one with `wealthos run`.")
    return path
