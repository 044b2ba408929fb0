"""Changed code recomputes what it makes, also when the change is in a module that it imports."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from wealthos_pipeline.utils import code


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    files = {
        "portfolio/performance.py": "from wealthos_pipeline.portfolio import risk\n",
        "portfolio/risk.py": "def f():\n    from wealthos_pipeline.stats.sharpe import g\n",
        "portfolio/other.py": "x = 1\n",
        "stats/sharpe.py": "def g(): return 1\n",
        "reporting/page.py": "y = 1\n",
    }
    for name, text in files.items():
        path = tmp_path / "wealthos_pipeline" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.setattr(code, "project_root", lambda: tmp_path)
    code.room_hash.cache_clear()
    code._imported.cache_clear()
    yield tmp_path
    code.room_hash.cache_clear()
    code._imported.cache_clear()


def _hash(*rooms: str) -> str:
    code.room_hash.cache_clear()
    code._imported.cache_clear()
    return code.room_hash(*rooms)


@pytest.mark.parametrize(
    ("changed", "matters"),
    [
        ("portfolio/performance.py", True),
        ("portfolio/risk.py", True),
        ("stats/sharpe.py", True),
        ("portfolio/other.py", False),
        ("reporting/page.py", False),
    ],
)
def test_hash_follows_imports_and_nothing_else(checkout: Path, changed: str, matters: bool) -> None:
    before = _hash("portfolio/performance.py")
    path = checkout / "wealthos_pipeline" / changed
    path.write_text(path.read_text() + "# another line\n")
    assert (_hash("portfolio/performance.py") != before) is matters


def test_the_real_value_at_risk_is_part_of_performance() -> None:
    names = {
        file.name
        for file in code._imported(Path(code.__file__).parents[1] / "portfolio/performance.py")
    }
    assert "value_at_risk.py" in names
