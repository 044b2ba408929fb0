"""``wealthos diff``: what changed between two runs, and why."""

from __future__ import annotations

from typing import Annotated

import typer

from wealthos_pipeline.cli import options


def diff(
    run_a: Annotated[
        str, typer.Argument(help="Run id, its beginning, last or previous.")
    ] = "previous",
    run_b: Annotated[str, typer.Argument(help="The later run.")] = "last",
    root: options.Root = None,
    as_json: options.AsJson = False,
) -> None:
    """Explain what changed from RUN_A to RUN_B: tables, settings, models, predictions, targets."""
    raise NotImplementedError
