"""What starting costs and says: help is light, definitions load in silence."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HEAVY = (
    "polars", "dagster", "numpy", "pandas", "duckdb", "pyarrow", "deltalake", "numba", "scipy",
    "great_expectations", "lightgbm", "sklearn", "statsmodels", "cvxpy", "matplotlib", "plotly", "fastapi",
)  # fmt: skip


def python(code: str, *flags: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "GX_ANALYTICS_ENABLED": "false", "DAGSTER_DISABLE_TELEMETRY": "yes"}
    return subprocess.run(
        [sys.executable, *flags, "-c", code],
        cwd=ROOT, env=env, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def loaded_by(code: str) -> set[str]:
    """Heavy packages in ``sys.modules`` after ``code``."""
    report = f"\nimport sys, json\nprint(json.dumps([m for m in {HEAVY!r} if m in sys.modules]))"
    done = python(code + report)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_help_imports_nothing_heavy() -> None:
    code = "from wealthos_pipeline.cli import main\nassert main(['--help']) == 0"
    assert loaded_by(code) == set()


@pytest.mark.parametrize(
    ("module", "allowed"),
    [
        ("wealthos_pipeline.core.tables", set()),
        ("wealthos_pipeline.core.portfolio", set()),
        ("wealthos_pipeline.utils.config", set()),
        (
            "wealthos_pipeline.data.storage.lake",
            {"polars", "deltalake", "numpy", "pyarrow", "pandas"},
        ),
    ],
)
def test_light_modules_stay_light(module: str, allowed: set[str]) -> None:
    assert loaded_by(f"import {module}") - allowed == set()


def test_definitions_load_without_a_warning() -> None:
    """Warnings that our own modules cause while Dagster's definitions are built and validated."""
    code = """
import warnings
import dagster                      # its own imports may warn; what we then say must not
from dagster_shared.utils.warnings import BetaWarning
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    from wealthos_pipeline.definitions import defs
    import dagster as dg
    dg.Definitions.validate_loadable(defs)
for w in caught:
    if not issubclass(w.category, BetaWarning):
        print(w.category.__name__, w.filename, w.lineno, str(w.message)[:300])
"""
    done = python(code)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.strip() == ""
    assert "Warning" not in done.stderr
