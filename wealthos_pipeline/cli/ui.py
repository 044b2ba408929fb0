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
    code = supervise(ui_commands(host, port), environment)
    raise typer.Exit(code)


def ui_commands(host: str, port: int) -> list[list[str]]:
    """The web server, and the daemon that runs schedules and sensors."""
    import sys

    module = ["-m", "wealthos_pipeline.definitions"]
    return [
        [sys.executable, "-m", "dagster_webserver", *module, "-h", host, "-p", str(port)],
        [sys.executable, "-m", "dagster._daemon", "run", *module],
    ]


def supervise(commands: list[list[str]], environment: dict[str, str]) -> int:
    """Run the commands side by side until one ends, Ctrl-C or SIGTERM, then end the others."""
    import signal
    import subprocess
    import time

    before = signal.signal(signal.SIGTERM, _interrupt)
    running = [subprocess.Popen(command, env=environment) for command in commands]
    try:
        while all(process.poll() is None for process in running):
            time.sleep(0.5)
        return next(code for process in running if (code := process.poll()) is not None)
    except KeyboardInterrupt:
        return 0
    finally:
        signal.signal(signal.SIGTERM, before)
        for process in running:
            process.terminate()
        for process in running:
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()


def _interrupt(*_: object) -> None:
    """End as on Ctrl-C, so that no process is left behind."""
    raise KeyboardInterrupt


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
