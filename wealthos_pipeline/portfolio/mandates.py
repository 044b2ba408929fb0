"""Mandates from YAML files: what each portfolio may do, as a person writes it."""

from __future__ import annotations

from pathlib import Path

from wealthos_pipeline.core.portfolio import Mandate


def load(folder: Path | None = None) -> list[Mandate]:
    """Every ``*.yaml`` of ``folder`` (None: ``data/inputs/mandates``), sorted by name.

    Raises ConfigError with every fault of every file: unreadable YAML, unknown keys, values out
    of range, bounds that cross, a name used twice or reserved (``equal_weight``).
    """
    raise NotImplementedError
