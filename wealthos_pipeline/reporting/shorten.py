"""A mail that is short enough to be shown in full: details stay on the attached full page.

Some mail programs cut a message off at about 100 kB of HTML. With many portfolios, whole kinds of
detail are left out for all of them alike, the least needed first, and each section says so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from wealthos_pipeline.reporting.blocks import Block, Page, Section, Text
from wealthos_pipeline.reporting.words import count

LIMIT = 80_000
"""Bytes of HTML that a mail stays below, where leaving out spare blocks is enough."""


def fitting(page: Page, html: Callable[[Page], str], limit: int = LIMIT) -> str:
    """``html(page)``, shortened rank by rank until it has fewer than ``limit`` bytes.

    Where all that is spare is left out and it is still longer, the shortest there is.
    """
    ranks = {b.spare for s in page.sections for b in s.blocks if b.spare and not b.full}
    text = html(page)
    for rank in sorted(ranks, reverse=True):
        if len(text.encode()) < limit:
            break
        text = html(shortened(page, rank))
    return text


def shortened(page: Page, rank: int) -> Page:
    """``page`` whose blocks of ``rank`` and above are on the interactive page only, and say so."""
    return replace(page, sections=tuple(_short(s, rank) for s in page.sections))


def _short(section: Section, rank: int) -> Section:
    out: list[Block] = []
    left: list[Block] = []
    at = 0
    for block in section.blocks:
        if block.spare >= rank and block.spare and not block.full:
            at = at if left else len(out)
            left.append(block)
            out.append(replace(block, full=True))
        else:
            out.append(block)
    if not left:
        return section
    out.insert(at, Text(_words(left), "muted"))
    return replace(section, blocks=tuple(out))


def _words(left: Sequence[Block]) -> str:
    tables = sum(b.kind == "table" for b in left)
    what = f"{count(tables, 'table')} and more detail" if tables else "Some detail"
    return (
        f"To keep this mail short, {what[:1].lower()}{what[1:]} of this section: see the full page."
    )
