"""``wealthos serve``: the read-only HTTP service over the published warehouse."""

from __future__ import annotations

from typing import Annotated

import typer

from wealthos_pipeline.cli import options

HOST = "127.0.0.1"
"""The service has no authentication yet, so it listens on loopback only."""


def serve(
    port: Annotated[
        int, typer.Option("--port", min=1, max=65535, help="Port to listen on.")
    ] = 8000,
    root: options.Root = None,
) -> None:
    """Serve the published warehouse over HTTP, on this machine only."""
    from wealthos_pipeline.cli.output import note
    from wealthos_pipeline.cli.ui import free_port

    settings = options.load(root)
    free_port(HOST, port, "wealthos serve")
    import uvicorn

    from wealthos_pipeline.api import create_app

    note(f"http://{HOST}:{port}/v1/reports/latest; /openapi.json lists the rest; Ctrl-C ends it")
    uvicorn.run(
        create_app(settings), host=HOST, port=port, log_level="warning", server_header=False
    )
