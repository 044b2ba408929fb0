"""``wealthos models card``: a model on one page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from wealthos_pipeline.cli import options


def card(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Model of the last run.")],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", help="File to write.", show_default="<reports>/models/NAME.html"
        ),
    ] = None,
    open_: Annotated[bool, typer.Option("--open", help="Open it in the browser.")] = False,
    root: options.Root = None,
    as_json: options.AsJson = False,
) -> None:
    """Write the card of a model: what it is, how it did, what it must not be used for. One HTML page."""
    from wealthos_pipeline.cli.models_subject import subject
    from wealthos_pipeline.cli.output import emit, size
    from wealthos_pipeline.cli.output import out as console
    from wealthos_pipeline.cli.published import open_last
    from wealthos_pipeline.core.errors import ConfigError
    from wealthos_pipeline.ml import specs
    from wealthos_pipeline.reporting import model_card, model_page, tearsheet

    run = open_last(options.load(root))
    made = subject(run, name)
    if made.training is not None:
        raise ConfigError(
            f"{made.name} is a research training; a card is of a model of the run. `wealthos models "
            f"evaluate {made.name}` tells of it."
        )
    gathered = model_card.gather(
        run.snapshot.read,
        made.model,
        spec=specs.available(run.settings.models).get(made.model),
        run=[
            ("run", run.manifest.run_id),
            ("data up to", str(run.manifest.as_of)),
            ("code", run.manifest.code_version),
            ("settings", run.manifest.config_hash),
        ],
    )
    html = model_page.render(gathered)
    path = out or run.settings.reports / "models" / f"{made.model}.html"
    tearsheet.write(path, html)
    if as_json:
        emit({"model": made.model, "file": str(path)})
    else:
        console().print(f"[green]✓[/green] {path} ({size(path)})")
    if open_:
        import webbrowser

        webbrowser.open(path.resolve().as_uri())
