"""The command line: its commands, and what becomes of their errors.

Only Typer, Rich and the error tree are imported here. Each command imports what it needs when it
is called, so that ``wealthos --help`` answers at once.
"""

from __future__ import annotations

import errno
import os
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from wealthos_pipeline.cli import (
    backtest,
    data,
    diff,
    doctor,
    factors,
    models,
    options,
    portfolio,
    report,
    runs,
    serve,
    sql,
    ui,
    warehouse,
)
from wealthos_pipeline.cli import (
    run as run_,
)
from wealthos_pipeline.cli.output import error_line
from wealthos_pipeline.core.errors import StorageError, WealthOSError

UNEXPECTED = 70
"""Exit code of an error that nobody foresaw (``EX_SOFTWARE``)."""

INTERRUPTED = 130
"""Exit code after Ctrl-C; Typer turns the interrupt into it."""

_FULL = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)
"""A full disk, a file-size limit, a quota."""

app = typer.Typer(
    name="wealthos",
    help="From market data to a portfolio manager's morning: research, portfolios, report.",
    epilog="Begin with [bold]wealthos run[/bold], then [bold]wealthos report --open[/bold].",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)

_DAY, _LOOK, _KEEP = "The day", "Look inside", "Keep it well"
_COMMANDS: tuple[tuple[str, str, Callable[..., None]], ...] = (
    (_DAY, "run", run_.run),
    (_DAY, "report", report.report),
    (_DAY, "ui", ui.ui),
    (_DAY, "serve", serve.serve),
    (_LOOK, "sql", sql.sql),
    (_LOOK, "diff", diff.diff),
    (_LOOK, "runs", runs.runs),
    (_LOOK, "backtest", backtest.backtest),
    (_KEEP, "doctor", doctor.doctor),
)
_GROUPS: tuple[tuple[str, str, typer.Typer], ...] = (
    (_LOOK, "factors", factors.group),
    (_LOOK, "models", models.group),
    (_LOOK, "portfolio", portfolio.group),
    (_KEEP, "data", data.group),
    (_KEEP, "warehouse", warehouse.group),
)
for _panel, _name, _function in _COMMANDS:
    app.command(_name, rich_help_panel=_panel)(_function)
for _panel, _name, _group in _GROUPS:
    app.add_typer(_group, name=_name, rich_help_panel=_panel)


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(f"wealthos {version('wealthos-pipeline')}")
        raise typer.Exit


@app.callback()
def everywhere(
    root: options.Root = None,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an error; works anywhere.")
    ] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """From market data to a portfolio manager's morning: research, portfolios, report."""
    options.set_default_root(root)


_STOPPED = "stopped; what was published before is untouched"


def run(argv: list[str]) -> int:
    """Run one command line; every error becomes one message and an exit code."""
    end = argv.index("--") if "--" in argv else len(argv)
    debug = "--debug" in argv[:end]
    words = [_formula(a) for i, a in enumerate(argv) if not (a == "--debug" and i < end)]
    try:
        app(words, prog_name="wealthos")
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
        if code == INTERRUPTED:
            error_line(_STOPPED)
        return code
    except WealthOSError as error:
        if debug:
            traceback.print_exc()
        error_line(str(error))
        return error.exit_code
    except Exception as error:
        if debug:
            traceback.print_exc()
        if isinstance(error, RuntimeError) and str(error) == "Query interrupted":
            error_line(_STOPPED)  # DuckDB takes Ctrl-C for itself while it works
            return INTERRUPTED
        if getattr(error, "errno", None) in _FULL:
            error_line(
                f"there is no room left to write: {error}\n"
                "The last published run is untouched. Free some space, or choose another root with "
                "--root, and run again."
            )
            return StorageError.exit_code
        where = _keep(traceback.format_exc(), argv)
        error_line(
            f"something unexpected happened: {type(error).__name__}: {error}\n"
            f"The last published run is untouched. The traceback is in {where}; "
            "run the command again with --debug to see it here."
        )
        return UNEXPECTED
    return 0


def _formula(word: str) -> str:
    """``-Std($ret, 20)`` is an expression and no option: with a blank before it, it is read as one."""
    formula = "(" in word or "$" in word
    return f" {word}" if word[:1] == "-" and word[1:2] != "-" and formula else word


def _keep(text: str, argv: list[str]) -> Path:
    """Append a traceback to the root's error log, or to one in the temporary folder."""
    import tempfile

    stamp = datetime.now(UTC).isoformat(timespec="seconds")
    root = options.any_root(argv)
    temporary = Path(tempfile.gettempdir())
    for folder in (root / "logs", temporary) if root.is_dir() else (temporary,):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            path = folder / "wealthos-errors.log"
            with path.open("a", encoding="utf-8") as file:
                file.write(f"--- {stamp} wealthos {' '.join(argv)}\n{text}\n")
        except OSError:
            continue
        return path
    return Path(os.devnull)
