"""``wealthos ui``: the graph, its runs, checks and schedules in a browser."""

from __future__ import annotations

from typing import Annotated

import typer

from wealthos_pipeline.cli import options


def ui(
    host: Annotated[str, typer.Option("--host", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", min=1, max=65535, help="Port to listen on.")
    ] = 3000,
    root: options.Root = None,
) -> None:
    """Open the Dagster UI on this root, with its schedules and sensors."""
    import os
    import sys
    from pathlib import Path

    from wealthos_pipeline.cli.execution import dagster_home
    from wealthos_pipeline.cli.output import note

    settings = options.load(root)
    free_port(host, port, "wealthos ui")
    environment = os.environ | {
        "DAGSTER_HOME": str(dagster_home(Path(settings.root))),
        "WEALTHOS_ROOT": str(Path(settings.root).resolve()),
        "WEALTHOS_REPORTS": str(Path(settings.reports).resolve()),
    }
    note(f"http://{host}:{port} shows the graph of {settings.root}; Ctrl-C ends it")
    os.execve(sys.executable, ui_command(host, port), environment)


def ui_command(host: str, port: int) -> list[str]:
    """The process that becomes the UI: web server and daemon (schedules, sensors)."""
    import sys

    module = ["-m", "wealthos_pipeline.definitions"]
    return [sys.executable, "-m", "dagster", "dev", *module, "-h", host, "-p", str(port)]


def free_port(host: str, port: int, command: str) -> None:
    """ConfigError where something already listens on the port."""
    import socket

    from wealthos_pipeline.core.errors import ConfigError

    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise ConfigError(
                f"{host}:{port} cannot be used: {error.strerror}. "
                f"Choose another port: `{command} --port {port + 1}`."
            ) from None
