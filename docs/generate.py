"""Writes the generated pages of ``docs/``: tables, factors, the command line and the fault table.

``make docs`` writes them; ``python docs/generate.py --check`` says which are out of date.
Everything comes from what the program itself declares: contracts, factors, Typer commands.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from model_pages import families_page

from factor_pages import factor_pages, language_page
from page_parts import DOCS, MADE, table

if TYPE_CHECKING:
    import click

    from wealthos_pipeline.core.data import TableContract

LAYERS = {
    "raw": "What vendors gave, untouched. Rows are only ever added.",
    "clean": "What the research uses: checked, on the exchange's calendar, known as of any instant.",
    "factors": "How the factors did. Their values lie in one table a family, see [factors](factors/README.md).",
    "models": "Fits, out-of-sample predictions, and how good they were.",
    "portfolio": "Risk, targets, trades, net asset value and what explains it.",
    "monitor": "What a person should look at.",
    "record": "What was issued, as it was issued. Never rewritten.",
    "meta": "Runs, catalog, coverage and checks.",
}
KNOWN = {
    "column": "a row was known from its `known_at`",
    "bar": "a row was known when the bar of its `date` was (close plus 30 minutes)",
    "none": "kept as a log: not read as of a past instant",
}
TYPES = {
    "str": "text", "date": "date", "instant": "instant (UTC)", "f64": "double", "f32": "float",
    "i64": "int 64", "i32": "int 32", "bool": "yes/no",
}  # fmt: skip


# --- tables --------------------------------------------------------------------------------------


def tables_page() -> str:
    from wealthos_pipeline.core.data import load

    contracts = list(load().values())
    parts = [
        MADE,
        "# Tables\n",
        "Every table of the lake and the warehouse, from the contracts in `wealthos_pipeline/core/`. "
        "In DuckDB the layer is the schema: `select * from clean.prices`. "
        "The same words are the comments of tables and columns in the warehouse.\n",
    ]
    for layer, words in LAYERS.items():
        mine = [c for c in contracts if c.layer == layer]
        links = ", ".join(f"[{c.name}](#{_anchor(c.name)})" for c in mine)
        parts.append(f"- **{layer}**: {words} {links}")
    for layer in LAYERS:
        for c in contracts:
            if c.layer == layer:
                parts.append(_one_table(c))
    return "\n".join(parts) + "\n"


def _anchor(name: str) -> str:
    return name.replace(".", "").lower()


def _one_table(c: TableContract) -> str:
    facts = [f"Key: {', '.join(f'`{k}`' for k in c.key)}", KNOWN[c.known]]
    if c.append_only:
        facts.append("rows are never rewritten")
    if c.restatable:
        facts.append(f"every earlier version in `{c.name}_history` (`known_from`, `known_to`)")
    elif "known_at" in c.key:
        facts.append("every version is a row; as of an instant the last of each value")
    if c.known == "column":
        facts.append(f"`{c.name.split('.')[1]}_asof(t)` in SQL")
    rows = (
        (f"`{k.name}`", TYPES[k.dtype], k.unit, "yes" if k.nullable else "", k.doc)
        for k in c.columns
    )
    columns = table(("column", "type", "unit", "may be null", "what"), rows)
    return f"\n## {c.name}\n\n{c.description}\n\n{'; '.join(facts)}.\n\n{columns}"


# --- rules ---------------------------------------------------------------------------------------


def rules_page() -> str:
    """``rules.md``: what cleaning does, by rule, and what tunes it."""
    from wealthos_pipeline.data.processors.rules import RULES
    from wealthos_pipeline.utils.config import CleaningSettings

    kinds = {
        "reject": "Rows that are rejected. They go to `clean.quarantine` with the rule's name; the raw "
        "row stays as it is. A person can release a row where the table says so: "
        "`wealthos data quarantine --release SYMBOL --date DAY --rule RULE --owner NAME --reason WHY`.",
        "repair": "Values that are changed. Each is logged in `clean.adjustments` with what it was before.",
        "flag": "Bars that are kept and marked in `clean.prices.flags`.",
    }
    parts = [
        MADE,
        "# Cleaning rules\n",
        "Every rule has a name, looks at what was known only, and says what it did: "
        "`wealthos data quarantine --explain RULE`. Rules are tuned by `[cleaning]` in "
        '`wealthos.toml` and switched off there by name: `off = ["spike"]`. A change recomputes '
        "the clean tables.",
    ]
    for kind, words in kinds.items():
        rows = (
            (
                f"`{r.name}`", r.title, r.what,
                ", ".join(f"`{s}`" for s in r.settings),
                f"no: {r.needed}" if r.needed else "yes",
                *((f"no: {r.final}" if r.final else "yes",) if kind == "reject" else ()),
            )
            for r in RULES.values() if r.kind == kind
        )  # fmt: skip
        head: tuple[str, ...] = ("rule", "title", "what", "tuned by", "can be switched off")
        head += ("can be released",) if kind == "reject" else ()
        parts.append(f"\n## {kind.capitalize()}\n\n{words}\n\n{table(head, iter(rows))}")
    fields = CleaningSettings.model_fields.items()
    settings = ((f"`{n}`", f.default or "none", f.description) for n, f in fields)
    parts.append(f"\n## Settings\n\n{table(('cleaning.', 'default', 'what'), settings)}")
    return "\n".join(parts) + "\n"


# --- mandates ------------------------------------------------------------------------------------

OBJECTIVES = {
    "mean_variance": "expected return less γ/2 times variance less costs, all over the horizon",
    "min_variance": "the same without expected returns: risk and costs alone",
    "max_sharpe": "expected return net of costs over volatility",
    "risk_budget": "shares of risk as in `risk_budget`, equal without it",
    "tracking_error": "variance against the benchmark, and costs",
    "cvar": "the mean of the worst days of the trailing returns, and costs",
    "hrp": "hierarchical risk parity (López de Prado 2016), through skfolio",
    "herc": "hierarchical equal risk contribution (Raffinot 2018), through skfolio",
    "nco": "nested clusters optimisation (López de Prado 2019), through skfolio",
    "black_litterman": "as mean_variance, with expected returns from the benchmark and `views`",
    "equal_weight": "1/N: the benchmark's own rule, which runs without a file",
}


def mandates_page() -> str:
    """Every word of a mandate, from its model."""
    from typing import get_args

    from pydantic import BaseModel

    from wealthos_pipeline.core import mandate as m

    assert set(OBJECTIVES) == set(get_args(m.Objective))

    def rows(model: type[BaseModel]) -> Iterator[tuple[object, ...]]:
        for name, field in model.model_fields.items():
            value = field.get_default(call_default_factory=True)
            if field.is_required():
                shown = "**needed**"
            elif isinstance(value, BaseModel) or value in (None, (), {}, ""):
                shown = ""
            else:
                shown = f"`{str(value).lower() if isinstance(value, bool) else value}`"
            yield f"`{name}`", shown, field.description or ""

    def about(model: type[BaseModel]) -> str:
        text = (model.__doc__ or "").strip()
        return "\n".join(line.strip() for line in text.splitlines()).replace("``", "`")

    head = ("key", "default", "what")
    parts = [
        MADE,
        "# Mandates\n",
        "A mandate is a YAML file in `data/inputs/mandates/`, found at the next run. `wealthos portfolio "
        "mandates` lists them; every fault of every file is told at once.\n",
        about(m.Mandate),
        "",
        table(head, rows(m.Mandate)),
        "\n## Objectives\n",
        table(("objective", "what is made large, or small"), iter(OBJECTIVES.items())),
        "\n`soften` takes: " + ", ".join(f"`{kind}`" for kind in m.SOFTENABLE) + ".",
    ]
    for title, model in (
        ("costs", m.Costs), ("groups", m.GroupBound), ("exposures", m.ExposureBound),
        ("overrides", m.Override), ("tax", m.Tax), ("views", m.View),
    ):  # fmt: skip
        parts += [f"\n## {title}\n", about(model), "", table(head, rows(model))]
    return "\n".join(parts) + "\n"


# --- the command ---------------------------------------------------------------------------------


def commands() -> Iterator[tuple[str, click.Command]]:
    """Every command of ``wealthos`` with its full name, groups before their members."""
    import typer.main

    from wealthos_pipeline.cli.app import app

    def walk(name: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
        yield name, command
        for key, child in sorted(getattr(command, "commands", {}).items()):
            if not child.hidden:
                yield from walk(f"{name} {key}", child)

    yield from walk("wealthos", typer.main.get_command(app))


def cli_page() -> str:
    parts = [
        MADE,
        "# The command\n",
        "`wealthos` is in `.venv/bin`. Every command takes `--help`. Exit code 0 means done; the "
        "others are those of the errors in `wealthos_pipeline/core/errors.py`, 2 for a command line "
        "or settings that cannot be used.",
    ]
    for name, command in commands():
        parts.append(f"\n## {name}\n\n{_help(command)}\n\n{_usage(name, command)}")
        rows = [r for p in command.params if (r := _parameter(p)) is not None]
        if rows:
            parts.append("\n" + table(("parameter", "default", "what"), iter(rows)))
    return "\n".join(parts) + "\n"


def _help(command: click.Command) -> str:
    text = (command.help or "").split("\f")[0].strip()
    for tag in ("bold", "cyan", "dim"):
        text = text.replace(f"[{tag}]", "`" if tag == "bold" else "").replace(
            f"[/{tag}]", "`" if tag == "bold" else ""
        )
    return text


def _usage(name: str, command: click.Command) -> str:
    words = [name]
    if any(getattr(p, "param_type_name", "") == "option" for p in command.params):
        words.append("[OPTIONS]")
    for p in command.params:
        if p.param_type_name == "argument":
            shown = (p.name or "").upper() + ("…" if p.nargs == -1 else "")
            words.append(shown if p.required else f"[{shown}]")
    if hasattr(command, "commands"):
        words.append("COMMAND")
    return f"```\n{' '.join(words)}\n```"


def _parameter(p: click.Parameter) -> tuple[str, str, str] | None:
    if p.name in ("help", "install_completion", "show_completion") or getattr(p, "hidden", False):
        return None
    if p.param_type_name == "argument":
        name = f"`{(p.name or '').upper()}`"
    else:
        name = ", ".join(f"`{o}`" for o in [*p.opts, *p.secondary_opts])
    shown = getattr(p, "show_default", None)
    default = shown if isinstance(shown, str) else p.default
    plain = isinstance(default, str | int | float) and not isinstance(default, bool)
    required = "required" if p.required else ""
    return name, f"{default}" if plain else required, getattr(p, "help", "") or ""


# --- the fault table -----------------------------------------------------------------------------

REGION = ("<!-- faults -->", "<!-- /faults -->")


def fault_table(rows: list[list[str]]) -> str:
    """The region of ``data.md``: what any vendor's user sees first, then by vendor."""
    unique = sorted({tuple(r) for r in rows}, key=lambda r: (r[0] != "any", r))
    head = ("vendor", "fault", "what the user sees", "what was kept")
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    lines += ["| " + " | ".join(row) + " |" for row in unique]
    return "\n".join([REGION[0], "", *lines, "", REGION[1]])


def data_page() -> str:
    """``data.md`` with the fault table as the tests see the faults now; runs them."""
    import json
    import os
    import subprocess
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        rows = Path(folder) / "rows.jsonl"
        rows.touch()
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-m", "faults", "tests/data/sources"],
            cwd=DOCS.parent, env={**os.environ, "FAULT_ROWS": str(rows)}, check=False,
            capture_output=True, text=True,
        )  # fmt: skip
        if done.returncode:
            raise SystemExit(f"the fault table cannot be written:\n{done.stdout[-4000:]}")
        found = [json.loads(line) for line in rows.read_text("utf-8").splitlines()]
    text = (DOCS / "data.md").read_text("utf-8")
    before, _, rest = text.partition(REGION[0])
    return before + fault_table(found) + rest.partition(REGION[1])[2]


# --- writing -------------------------------------------------------------------------------------


def pages() -> dict[Path, str]:
    """Path → text of every generated page."""
    own = {"tables.md": tables_page(), "cli.md": cli_page(), "rules.md": rules_page()}
    own["factors/language.md"] = language_page()
    own["portfolio/mandates.md"] = mandates_page()
    own["models/families.md"] = families_page()
    return {DOCS / name: text for name, text in own.items()} | factor_pages()


def stale(wanted: dict[Path, str]) -> list[Path]:
    """Pages that are missing, differ, or are left over from a family that is gone."""
    old = [p for p, text in wanted.items() if not p.exists() or p.read_text("utf-8") != text]
    made = [p for p in sorted((DOCS / "factors").glob("*.md")) if MADE in p.read_text("utf-8")]
    return old + [p for p in made if p not in wanted]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when stale")
    check = parser.parse_args().check
    wanted = pages()
    if not check:  # the tests themselves check that their rows stand there
        wanted[DOCS / "data.md"] = data_page()
    changed = stale(wanted)
    for path in changed:
        print(("out of date: " if check else "wrote ") + str(path.relative_to(DOCS.parent)))
        if not check and path in wanted:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(wanted[path], "utf-8")
        elif not check:
            path.unlink()
    return int(check and bool(changed))


if __name__ == "__main__":
    sys.exit(main())
