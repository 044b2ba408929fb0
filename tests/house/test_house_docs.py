"""What is declared is documented: the generated pages are those that the program would write now."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_generated_pages_are_current(generate: ModuleType) -> None:
    stale = [str(p.relative_to(ROOT)) for p in generate.stale(generate.pages())]
    assert stale == [], "run `make docs` and commit what it writes"


def test_every_table_and_column_has_words(generate: ModuleType) -> None:
    from wealthos_pipeline.core.data import load

    page = generate.tables_page()
    for contract in load().values():
        assert f"\n## {contract.name}\n" in page
        assert len(contract.description) > 20, contract.name
        bare = [c.name for c in contract.columns if len(c.doc) < 3]
        assert bare == [], contract.name


def test_every_factor_has_a_title_and_a_reference(generate: ModuleType) -> None:
    from wealthos_pipeline import factors

    pages = "".join(generate.factor_pages().values())
    for factor in factors.load(sets=("core",)).factors.values():
        assert f"\n## {factor.name}\n" in pages
        assert len(factor.title) > 5, factor.name
        assert len(factor.reference) > 5, factor.name


def test_every_command_and_option_has_help(generate: ModuleType) -> None:
    page = generate.cli_page()
    for name, command in generate.commands():
        assert f"\n## {name}\n" in page
        assert command.help, f"`{name}` has no help"
        bare = [
            p.name
            for p in command.params
            if p.name != "help" and not getattr(p, "help", None) and p.param_type_name == "option"
        ]
        assert bare == [], f"`{name}`: options without help"


def test_links_between_pages_lead_somewhere() -> None:
    broken = []
    for page in [ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")]:
        text = re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.S)
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text):
            if (
                "://" not in target
                and not target.startswith("mailto:")
                and not (page.parent / target).exists()
            ):
                broken.append(f"{page.relative_to(ROOT)} → {target}")
    assert broken == []
