"""Rules 1 and 2 of the house: who may import dagster, who may import whom (DESIGN §2).

The rules read the source (AST), so an import inside a function counts too, unless it says otherwise.
Each rule is also shown to catch a breach.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LIBRARY = "wealthos_pipeline"
SHELL = ("assets", "jobs", "schedules")

RANK = {
    "core": 0,
    "utils": 1,
    "stats": 1,
    "data": 2,
    "factors": 3,
    "ml": 4,
    "portfolio": 5,
    "market_monitor": 6,
    "reporting": 7,
    "api": 8,
}
"""Arrows point down: a room imports rooms of a lower rank and itself."""

COMPOSITION = ("definitions", "cli", "__main__")
"""Where the rooms are put together; they may import every room."""


@dataclass(frozen=True)
class Import:
    """``module`` imports ``target``; ``late`` when inside a function."""

    module: str
    target: str
    line: int
    late: bool

    def __str__(self) -> str:
        return f"{self.module}:{self.line} imports {self.target}"


def modules() -> dict[str, Path]:
    """Every module of the product by dotted name."""
    found = {}
    for top in (LIBRARY, *SHELL):
        for path in sorted((ROOT / top).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports_of(module: str, source: str, *, package: bool) -> Iterator[Import]:
    """All imports in ``source``; those under ``if TYPE_CHECKING`` never run and do not count."""
    base = module.split(".") if package else module.split(".")[:-1]

    def walk(node: ast.AST, late: bool) -> Iterator[Import]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.expr):
                continue
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                yield from (i for n in child.orelse for i in walk(n, late))
            elif isinstance(child, ast.Import):
                yield from (Import(module, a.name, child.lineno, late) for a in child.names)
            elif isinstance(child, ast.ImportFrom):
                head = base[: len(base) - child.level + 1] if child.level else []
                stem = ".".join([*head, *([child.module] if child.module else [])])
                for a in child.names:
                    yield Import(module, f"{stem}.{a.name}", child.lineno, late)
            else:
                inside = late or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)
                yield from walk(child, inside)

    yield from walk(ast.parse(source), False)


@cache
def all_imports() -> list[Import]:
    return [
        i
        for name, path in modules().items()
        for i in imports_of(name, path.read_text("utf-8"), package=path.name == "__init__.py")
    ]


def room(module: str) -> str | None:
    """``factors`` of ``wealthos_pipeline.factors.engine``; None outside the library."""
    parts = module.split(".")
    return parts[1] if parts[0] == LIBRARY and len(parts) > 1 else None


def dagster_breaches(imports: list[Import]) -> list[str]:
    return [
        str(i)
        for i in imports
        if i.target.split(".")[0].startswith("dagster")
        and i.module.split(".")[0] not in SHELL
        and room(i.module) not in ("definitions", "cli")
    ]


def shell_breaches(imports: list[Import]) -> list[str]:
    """Outside the three folders only definitions imports them; inside, assets ← jobs ← schedules."""
    out = []
    for i in imports:
        target, home = i.target.split(".")[0], i.module.split(".")[0]
        if target not in SHELL:
            continue
        inside = home in SHELL and SHELL.index(target) <= SHELL.index(home)
        if not inside and i.module != f"{LIBRARY}.definitions":
            out.append(str(i))
    return out


def definitions_breaches(imports: list[Import]) -> list[str]:
    """Only cli imports definitions, and late."""
    return [
        str(i)
        for i in imports
        if i.target.startswith(f"{LIBRARY}.definitions")
        and not (room(i.module) == "cli" and i.late)
    ]


def arrow_breaches(imports: list[Import]) -> list[str]:
    out = []
    for i in imports:
        here, there = room(i.module), room(i.target)
        if here is None or there is None or here == there or here in COMPOSITION:
            continue
        if here not in RANK or there not in RANK or RANK[there] >= RANK[here]:
            out.append(str(i))
    return out


def circles(imports: list[Import], known: set[str]) -> list[list[str]]:
    """Strongly connected groups of modules over the imports that run at import time (Tarjan)."""
    graph: dict[str, set[str]] = {m: set() for m in known}
    for i in imports:
        if i.late:
            continue
        target = i.target if i.target in known else i.target.rpartition(".")[0]
        if target in known and target != i.module:
            graph[i.module].add(target)
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(v: str) -> None:
        index[v] = low[v] = len(index)
        stack.append(v)
        for w in graph[v]:
            if w not in index:
                visit(w)
                low[v] = min(low[v], low[w])
            elif w in stack:
                low[v] = min(low[v], index[w])
        if low[v] == index[v]:
            group = []
            while True:
                group.append(stack.pop())
                if group[-1] == v:
                    break
            if len(group) > 1:
                found.append(sorted(group))

    for v in graph:
        if v not in index:
            visit(v)
    return found


def test_only_the_shell_imports_dagster() -> None:
    assert dagster_breaches(all_imports()) == []


def test_only_definitions_imports_the_three_folders() -> None:
    assert shell_breaches(all_imports()) == []


def test_only_the_command_imports_definitions_and_late() -> None:
    assert definitions_breaches(all_imports()) == []


def test_arrows_between_rooms_point_down() -> None:
    assert arrow_breaches(all_imports()) == []


def test_every_room_has_a_rank() -> None:
    rooms = {r for m in modules() if (r := room(m)) is not None}
    assert rooms - set(RANK) - set(COMPOSITION) == set(), "give the new room a rank in RANK"


def test_no_circles_at_import_time() -> None:
    assert circles(all_imports(), set(modules())) == []


@pytest.mark.parametrize(
    ("rule", "module", "line"),
    [
        (dagster_breaches, "wealthos_pipeline.factors.engine", "import dagster as dg"),
        (dagster_breaches, "wealthos_pipeline.api", "def f():\n    from dagster import asset"),
        (shell_breaches, "wealthos_pipeline.cli.run", "from assets import prices"),
        (shell_breaches, "assets.prices", "import jobs.daily"),
        (definitions_breaches, "wealthos_pipeline.cli", "from wealthos_pipeline import definitions"),
        (definitions_breaches, "wealthos_pipeline.api", "def f():\n    import wealthos_pipeline.definitions"),
        (arrow_breaches, "wealthos_pipeline.data.storage.lake", "from wealthos_pipeline.factors import load"),
        (arrow_breaches, "wealthos_pipeline.utils.config", "from wealthos_pipeline.stats import sharpe"),
        (arrow_breaches, "wealthos_pipeline.factors.engine", "def f():\n    from ..ml import ridge"),
        (arrow_breaches, "wealthos_pipeline.core.data", "import wealthos_pipeline.cli"),
    ],
)  # fmt: skip
def test_each_rule_catches_a_breach(rule, module: str, line: str) -> None:
    assert rule(list(imports_of(module, line, package=False)))


def test_circles_are_found() -> None:
    pair = [
        Import("wealthos_pipeline.core.a", "wealthos_pipeline.core.b.name", 1, False),
        Import("wealthos_pipeline.core.b", "wealthos_pipeline.core.a", 1, False),
    ]
    known = {"wealthos_pipeline.core.a", "wealthos_pipeline.core.b"}
    assert circles(pair, known) == [sorted(known)]
    assert circles(pair[:1], known) == []
