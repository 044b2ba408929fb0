"""What the command loads before it is asked for anything: nothing heavy, for any help page.

(Typer itself brings pydantic.)
"""

from __future__ import annotations

import json
import subprocess
import sys

CODE = """
import contextlib, io, json, sys
from wealthos_pipeline.cli import main
from wealthos_pipeline.cli import app
pages = [[c.name] for c in app.app.registered_commands]
for group in app.app.registered_groups:
    pages += [[group.name], *([group.name, c.name or c.callback.__name__] for c in group.typer_instance.registered_commands)]
codes = {}
for page in pages:
    with contextlib.redirect_stdout(io.StringIO()):
        codes[" ".join(page)] = main([*page, "--help"])
heavy = [m for m in ("polars", "dagster", "duckdb", "numpy", "pandas", "pyarrow", "fastapi", "pydantic_settings") if m in sys.modules]
print(json.dumps([codes, heavy]))
"""


def test_no_help_page_loads_anything_heavy() -> None:
    done = subprocess.run(
        [sys.executable, "-c", CODE], capture_output=True, text=True, check=True, timeout=60
    )
    codes, heavy = json.loads(done.stdout)
    assert heavy == []
    assert set(codes.values()) == {0}
    commands = {"run", "ui", "serve", "sql", "report", "diff", "backtest", "runs", "doctor"}
    groups = {"data", "factors", "models", "portfolio", "warehouse"}
    assert commands | groups <= set(codes)
    assert "data migrate" in codes


def test_the_version_is_shown(call) -> None:
    said = call("--version")
    assert said.code == 0
    assert said.out.startswith("wealthos ")
