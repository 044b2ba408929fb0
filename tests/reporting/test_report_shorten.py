"""A mail of many portfolios stays short: details go to the full page, and the mail says so."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import polars as pl
import pytest
from fake_lake import LAST

from wealthos_pipeline.reporting import charts, collect, export, interactive, shorten
from wealthos_pipeline.reporting.blocks import Block, Page, Section, Text, spared
from wealthos_pipeline.utils.config import Settings

Frames = dict[str, pl.DataFrame]


def paged(*blocks: Block) -> Page:
    return Page("t", "s", "p", (), (Section("a", "A", blocks),), ())


def said(page: Page) -> str:
    return "\n".join(
        b.text for s in page.sections for b in s.blocks if isinstance(b, Text) and not b.full
    )


LONG = paged(
    Text("stays " * 20),
    *spared([Text("third " * 20)], 1),
    *spared([Text("first " * 20)], 9),
    *spared([Text("second " * 20)], 4),
)


@pytest.mark.parametrize(
    ("limit", "kept"),
    [
        (10_000, {"stays", "third", "second", "first"}),
        (500, {"stays", "third", "second"}),
        (400, {"stays", "third"}),
        (10, {"stays"}),
    ],
)
def test_what_is_needed_least_is_left_out_first_and_no_more_than_is_needed(
    limit: int, kept: set[str]
) -> None:
    text = shorten.fitting(LONG, said, limit)
    assert {w for w in ("stays", "third", "second", "first") if f"{w} {w}" in text} == kept
    assert ("see the full page" in text) == (len(kept) < 4)


def test_what_is_on_the_full_page_only_is_not_told_as_left_out() -> None:
    page = paged(Text("kept"), Text("aside", full=True, spare=3))
    assert said(shorten.shortened(page, 1)) == "kept"


@pytest.mark.parametrize("many", [4, 10, 14])
def test_a_mail_of_many_mandates_stays_below_80_kb_and_names_each(
    many: int,
    lake_of: Callable[[Frames], Any],
    source_info: Any,
    mandate_definitions: Any,
    fake_lake_frames: Frames,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(charts, "draw", lambda report: {})  # pictures are not part of the HTML
    monkeypatch.setattr(interactive, "figures", lambda report: {})
    report = collect(
        lake_of(fake_lake_frames), date=LAST, info=source_info, settings=Settings(), run_id="r1",
        mandates=mandate_definitions,
    )  # fmt: skip
    titles = [f"Mandate number {i}" for i in range(many)]

    def copies(parts: Any, name: str = "core_equity") -> tuple[Any, ...]:
        one = next(
            x
            for x in parts
            if getattr(x, "name", None) == name or getattr(x, "mandate", None) == name
        )
        key = "name" if hasattr(one, "name") else "mandate"
        return tuple(replace(one, **{key: f"m{i}", "title": t}) for i, t in enumerate(titles))

    out = export.render(
        replace(
            report,
            proposals=copies(report.proposals),
            mandates=copies(report.mandates),
            books=copies(report.books),
        )
    )
    assert len(out.html.encode()) < shorten.LIMIT
    for title in titles:
        assert out.html.count(title) >= 2
        assert f"{title}: active return by sector" in out.interactive_html
    assert "To keep this mail short" not in out.interactive_html
