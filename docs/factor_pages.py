"""The pages of ``docs/factors/``: a table of all factors, a page a family, the words of the language."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

from page_parts import DOCS, MADE, cell, table

if TYPE_CHECKING:
    from wealthos_pipeline.core.factor import Factor

SETS = {
    "core": "computed by every run",
    "extended": 'the rest of the library; `WEALTHOS_FACTORS__SETS=\'["core", "extended"]\'` adds them',
    "fundamental": "needs reports (`clean.fundamentals`); where a vendor gives none, all is null",
    "alpha158": "Qlib's Alpha158, expressions as Qlib writes them",
    "alpha360": "Qlib's Alpha360, expressions as Qlib writes them",
}
TARGETS = {
    "": "rank IC among the names of a date",
    "market": "rank correlation over dates with the mean return of the equities",
    "bond": "rank correlation over dates with the return of the 10-year par bond",
}
WIDEST = 320
"""Characters of a formula that still stands in a table."""


def factor_pages() -> dict[Path, str]:
    from wealthos_pipeline import factors

    # without a quarrel with whatever own factors this checkout has
    library = factors.load(sets=tuple(SETS), folder=DOCS / "no own factors")
    families = sorted(library.families(), key=lambda f: f.table)
    count = {k: sum(k in f.sets for f in library.factors.values()) for k in SETS}
    pages = {}
    index = [
        MADE,
        "# Factors\n",
        f"{len(library.factors)} factors in {len(families)} families; a family is one table of the "
        "lake, one float column a factor. `$close` and its kin are forward-adjusted for splits and "
        "dividends; `$raw_close` is as traded ([the language](language.md)). The sign says which way "
        "the factor is expected to point, as published: + when high values go with high returns. How "
        "they did: [research](../research/factors.md).\n",
        table(("set", "factors", ""), ((f"`{k}`", count[k], words) for k, words in SETS.items())),
        "\n| factor | family | set | sign | what |\n| --- | --- | --- | --- | --- |",
    ]
    for family in families:
        members = sorted(family.factors, key=lambda f: f.name)
        page = family.table.split(".", 1)[1] + ".md"
        if members[0].sets[0].startswith("alpha"):
            index.append(
                f"| [{len(members)} factors]({page}) | {family.asset_class.value} {family.name} | "
                f"{members[0].sets[0]} | none | {cell(_common(members))} |"
            )
            pages[DOCS / "factors" / page] = _set_page(family.table, members, family.lookback)
            continue
        index += [
            f"| [`{f.name}`]({page}#{f.name}) | {f.asset_class.value} {f.family} "
            f"| {', '.join(f.sets)} | {_sign(f)} | {cell(f.title)} |"
            for f in members
        ]
        pages[DOCS / "factors" / page] = _family_page(family.table, members, family.lookback)
    pages[DOCS / "factors" / "README.md"] = "\n".join(index) + "\n"
    return pages


def _sign(f: Factor) -> str:
    return {1: "+", -1: "−"}.get(f.direction, "none")


def _head(name: str, lookback: int) -> list[str]:
    return [
        MADE,
        f"# {name}\n",
        f"Needs {lookback:,} sessions of history before a date. [All factors](README.md).",
    ]


def _common(members: list[Factor]) -> str:
    """The reference without the name that the factor has there."""
    return re.sub(r"(Alpha\d+) \w+", r"\1", members[0].reference)


def _set_page(name: str, members: list[Factor], lookback: int) -> str:
    """A family of a set of Qlib's: a line a factor."""
    lines = ((f"`{f.name}`", f"`{f.expression}`") for f in members)
    parts = [*_head(name, lookback), f"\nReference: {_common(members)}.\n"]
    return "\n".join([*parts, table(("factor", "formula"), lines)]) + "\n"


def _family_page(name: str, members: list[Factor], lookback: int) -> str:
    from wealthos_pipeline.factors.definition import lookback as lookback_of

    parts = _head(name, lookback)
    for f in members:
        text = f.expression or ""
        how = f"`{text}`" if text else "a Python function over the panel"
        long = len(text) > WIDEST
        rows: list[tuple[object, ...]] = [
            ("formula", "below" if long else how),
            ("sign", _sign(f)),
            ("reference", f.reference),
            ("sessions before the date", f"{lookback_of(f):,}"),
            ("missing when", f.nan_means),
            ("sets", ", ".join(f.sets)),
            ("reads", ", ".join(f"`{i}`" for i in f.inputs)),
            ("judged by", TARGETS[f.target]),
        ]
        if f.basis != "adjusted":
            words = {"unadjusted": "the traded price", "unit": "the unit of its input"}
            rows.append(("prices", f"{f.basis}: depends on {words[f.basis]}"))
        parts.append(f"\n## {f.name}\n\n{f.title}.\n\n{table(('', ''), iter(rows))}")
        if long:
            wrapped = textwrap.fill(text, 100, break_long_words=False, break_on_hyphens=False)
            parts.append(f"\n```\n{wrapped}\n```")
    return "\n".join(parts) + "\n"


WORDS = ("<!-- words -->", "<!-- /words -->")


def language_page() -> str:
    """``factors/language.md`` with its tables of operators, fields and words as they are now."""
    from wealthos_pipeline.factors.operators import (
        FIELDS,
        LABELS,
        LONGEST_WINDOW,
        OPERATORS,
        REFUSED,
        SPELLINGS,
    )

    kinds = {
        "element": "One cell at a time",
        "shift": "An earlier session",
        "window": f"A window of n sessions, n ≤ {LONGEST_WINDOW:,}",
        "decay": "A window that forgets",
        "cross": "All names of a date",
        "other": "Another instrument",
    }
    parts = [WORDS[0], "", "## Operators"]
    for kind, title in kinds.items():
        rows = ((f"`{o.signature}`", o.doc) for o in OPERATORS.values() if o.kind == kind)
        parts.append(f"\n### {title}\n\n{table(('operator', 'what'), rows)}")
    spelled = (tuple(words.split(": ", 1)) for words in SPELLINGS.values())
    rows = ((f"`{form}`", what) for form, what in spelled)
    parts.append(f"\n### Words of their own\n\n{table(('written', 'what'), rows)}")
    parts.append(f"\nA group is one of {', '.join(f'`{w}`' for w in LABELS)}.")
    read = (
        (f"`${f.name}`", f.doc + (f": `{f.expression}`" if f.expression else ""),
         ", ".join(f"`{c}`" for c in f.columns))
        for f in FIELDS.values()
    )  # fmt: skip
    parts.append(f"\n## Fields\n\n{table(('field', 'what', 'needs'), read)}")
    refused = ((f"`{word}`", why) for word, why in REFUSED.items())
    parts.append(
        f"\n## Words of Qlib that are refused\n\n{table(('word', 'instead'), refused)}\n\n{WORDS[1]}"
    )
    text = (DOCS / "factors" / "language.md").read_text("utf-8")
    return text.partition(WORDS[0])[0] + "\n".join(parts) + text.partition(WORDS[1])[2]
