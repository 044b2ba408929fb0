"""Our long-only frontier against OR-Library's published one (problem 1, 31 assets)."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
ORACLE = REPOSITORY.parent / "shared" / "oracles" / "or_library" / "INDTRACK1"


@pytest.fixture(scope="module")
def or_library() -> ModuleType:
    if not ORACLE.is_dir():
        pytest.skip("the OR-Library oracle (../shared/oracles) is not on this machine")
    file = REPOSITORY / "benchmarks" / "peers" / "or_library.py"
    spec = importlib.util.spec_from_file_location("or_library", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_frontier_is_the_published_one(or_library: ModuleType) -> None:
    mean, sigma, frontier = or_library.load(ORACLE)
    assert frontier.shape == (2000, 2)
    points = frontier[np.unique(np.linspace(0, len(frontier) - 1, 60).round().astype(int))]
    away = [or_library.difference(mean, sigma, min(r, mean.max()), v) for r, v in points]
    assert len(away) == 60
    assert np.abs(away).max() <= 1e-6
