"""The ``wealthos`` command. Importing it costs nothing; ``main`` imports the rest."""

from __future__ import annotations

import sys
from collections.abc import Sequence

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line ``argv`` (default: the process's) and return its exit code."""
    from wealthos_pipeline.cli.app import run

    return run(list(sys.argv[1:] if argv is None else argv))
