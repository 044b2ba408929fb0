"""The command in this process, against small published roots."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import small_root

from wealthos_pipeline.cli import main
from wealthos_pipeline.data.processors.calendar import TradingCalendar


@dataclass(frozen=True)
class Said:
    """What one call of the command gave."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Call = Callable[..., Said]


@pytest.fixture(scope="session")
def root(
    tmp_path_factory: pytest.TempPathFactory, calendar: TradingCalendar
) -> small_root.SmallRoot:
    """Two runs; the second has one more session and restates a bar."""
    return small_root.build(tmp_path_factory.mktemp("command"), calendar, runs=2)


@pytest.fixture(autouse=True)
def _reports_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that fails writes its notice; never into the checkout."""
    monkeypatch.setenv("WEALTHOS_REPORTS", str(tmp_path / "reports"))


@pytest.fixture
def call(capfd: pytest.CaptureFixture[str]) -> Call:
    """Run one command line."""

    def run(*words: object) -> Said:
        capfd.readouterr()
        code = main([str(w) for w in words])
        said = capfd.readouterr()
        return Said(code, said.out, said.err)

    return run


@pytest.fixture
def wealthos(call: Call, root: small_root.SmallRoot) -> Call:
    """Run one command line against the small root."""

    def run(*words: object) -> Said:
        return call(*words, "--root", root.settings.root)

    return run


@pytest.fixture
def nowhere(tmp_path: Path) -> Path:
    """A root where nothing was ever written."""
    return tmp_path / "nowhere"
