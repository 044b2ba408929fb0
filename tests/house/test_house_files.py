"""Rules about files: no addresses or private paths, short modules, honest ``__all__``, no clock."""

from __future__ import annotations

import ast
import importlib.util
import os
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LIBRARY = ROOT / "wealthos_pipeline"
MAX_LINES = 500

SKIPPED_FOLDERS = {".venv", ".git", ".peers", "__pycache__", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis"}  # fmt: skip

CLOCK = {"now", "utcnow", "today", "time", "time_ns", "localtime", "gmtime"}
MAY_READ_THE_CLOCK = {
    "cli": "the command passes the clock in",
    "definitions.py": "the composition root passes the clock in",
    "api": "a server measures and answers in real time",
    "data/storage/delta.py": "Delta's log wants the time at which a file was written",
}


@cache
def committed() -> list[Path]:
    """Files under version control (or, in an image without git, every file of the tree)."""
    if (ROOT / ".git").exists() and shutil.which("git"):
        out = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT, capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
        return [p for n in out.split("\0") if n and (p := ROOT / n).is_file()]
    return [
        p
        for p in ROOT.rglob("*")
        if p.is_file() and not SKIPPED_FOLDERS & set(p.relative_to(ROOT).parts)
    ]


def python_files() -> list[Path]:
    return [p for p in committed() if p.suffix == ".py"]


@cache
def source(path: Path) -> ast.Module:
    """A file, parsed once for all rules."""
    return ast.parse(path.read_text("utf-8"))


def private_patterns() -> re.Pattern[str]:
    """Hosts of package indices and home folders. Written in pieces: this file is searched too."""
    hosts = ["py" + "pi.org", "python" + "hosted.org", "npm" + "js.org", "conda." + "anaconda.org"]
    for name in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "UV_INDEX_URL", "UV_DEFAULT_INDEX"):
        hosts += re.findall(r"://(?:[^/@\s]*@)?([^/:@\s]+)", os.environ.get(name, ""))
    public = [re.escape(h) for h in hosts if h not in ("localhost", "127.0.0.1")]
    homes = [
        r"(?<![\w.])/" + part
        for part in ("ro" + "ot/", "ho" + r"me/\w", "Us" + r"ers/\w", "wo" + "rk/")
    ]
    return re.compile("|".join([*public, *homes]))


def test_no_file_names_an_index_or_a_private_path() -> None:
    pattern = private_patterns()
    found = []
    for path in committed():
        try:
            text = path.read_text("utf-8")
        except UnicodeDecodeError:
            continue
        for number, line in enumerate(text.splitlines(), 1):
            if pattern.search(line):
                found.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()[:100]}")
    assert found == []


@pytest.mark.parametrize(
    "line",
    ["see https://py" + "pi.org/simple", "path = '/ro" + "ot/x'", "open('/ho" + "me/me/a.csv')"],
)
def test_the_search_finds_what_it_should(line: str) -> None:
    assert private_patterns().search(line)
    assert not private_patterns().search("../shared/data and tests/home/x and data/inputs")


def test_the_lock_names_no_address() -> None:
    text = (ROOT / "requirements.lock").read_text()
    assert "http" not in re.sub(r"^http\w*==", "", text, flags=re.M)
    assert "://" not in text


def test_the_lock_pins_every_line_with_a_hash() -> None:
    entries = (ROOT / "requirements.lock").read_text().replace("\\\n", " ").splitlines()
    assert len(entries) > 100
    loose = [e[:60] for e in entries if not re.match(r"\S+==\S+ .*--hash=sha256:[0-9a-f]{64}", e)]
    assert loose == []


def test_modules_are_short() -> None:
    long = {
        str(p.relative_to(ROOT)): n
        for p in python_files()
        if (n := len(p.read_text("utf-8").splitlines())) >= MAX_LINES
    }
    assert long == {}, "a module this long holds two ideas"


def test_every_name_in_all_exists() -> None:
    checked = 0
    for path in sorted(LIBRARY.rglob("*.py")):
        names = declared_all(source(path))
        if names is None:
            continue
        parts = path.relative_to(ROOT).with_suffix("").parts
        module = importlib.import_module(".".join(p for p in parts if p != "__init__"))
        missing = [n for n in names if not (hasattr(module, n) or is_module(module.__name__, n))]
        assert missing == [], f"{module.__name__}.__all__ names what does not exist"
        assert len(set(names)) == len(names), f"{module.__name__}.__all__ names something twice"
        checked += 1
    assert checked > 0


def is_module(package: str, name: str) -> bool:
    """Whether ``from package import name`` would import a module."""
    return importlib.util.find_spec(f"{package}.{name}") is not None


def declared_all(tree: ast.Module) -> list[str] | None:
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if any(isinstance(t, ast.Name) and t.id == "__all__" for t in targets):
            return list(ast.literal_eval(node.value))  # type: ignore[attr-defined]
    return None


def clock_reads(tree: ast.AST) -> list[int]:
    """Lines that call ``datetime.now()``, ``date.today()``, ``time.time()`` and their kin."""
    return [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in CLOCK
        and isinstance(node.func.value, ast.Name | ast.Attribute)
        and ast.unparse(node.func.value).split(".")[-1] in ("datetime", "date", "time", "dt")
    ]


def test_the_library_never_reads_the_clock() -> None:
    found = []
    for path in sorted(LIBRARY.rglob("*.py")):
        name = path.relative_to(LIBRARY).as_posix()
        if name in MAY_READ_THE_CLOCK or name.split("/")[0] in MAY_READ_THE_CLOCK:
            continue
        lines = clock_reads(source(path))
        found += [f"{path.relative_to(ROOT)}:{line}" for line in lines]
    assert found == [], "the clock is passed in (`now`)"


def test_clock_reads_are_found() -> None:
    assert clock_reads(ast.parse("from datetime import datetime\nx = datetime.now(UTC)")) == [2]
    assert clock_reads(ast.parse("import time\nt = time.time()")) == [2]
    assert clock_reads(ast.parse("x = frame.time()")) == []


def test_no_error_is_swallowed() -> None:
    found = []
    for path in python_files():
        for node in ast.walk(source(path)):
            if isinstance(node, ast.ExceptHandler) and all(
                isinstance(s, ast.Pass) for s in node.body
            ):
                kind = ast.unparse(node.type) if node.type else "everything"
                if kind in ("everything", "Exception", "BaseException"):
                    found.append(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert found == []


def test_tests_have_no_packages_and_unique_names() -> None:
    names = [p.name for p in (ROOT / "tests").rglob("*.py") if p.name != "conftest.py"]
    assert "__init__.py" not in names, "tests/assets/__init__.py would shadow the assets package"
    assert sorted(set(names)) == sorted(names)


def test_nothing_is_left_undone() -> None:
    """No stub and no note to self in what is shipped."""
    notes = re.compile(r"\b(TODO|FIXME|XXX)\b|NotImplementedError")
    product = [p for p in python_files() if p.relative_to(ROOT).parts[0] != "tests"]
    found = [
        f"{p.relative_to(ROOT)}:{n}"
        for p in product
        for n, line in enumerate(p.read_text("utf-8").splitlines(), 1)
        if notes.search(line)
    ]
    assert found == []
