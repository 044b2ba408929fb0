"""The fault table of ``docs/data.md``. That each row says what a test saw, the test itself asserts."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "data.md"


def rows() -> list[list[str]]:
    text = PAGE.read_text("utf-8")
    region = text.split("<!-- faults -->")[1].split("<!-- /faults -->")[0]
    lines = [line for line in region.splitlines() if line.startswith("| ")][2:]
    return [[c.strip() for c in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def test_no_row_is_left_over_from_a_test_that_is_gone() -> None:
    """Rows for any vendor by their name; those of one vendor by the test file that writes them."""
    texts = [p.read_text("utf-8") for p in (ROOT / "tests" / "data" / "sources").glob("test_*.py")]
    writing = [text for text in texts if "fault_row(" in text]
    left = [
        row
        for row in rows()
        if not any(f'"{row[0] if row[0] != "any" else row[1]}"' in text for text in writing)
    ]
    assert left == [], "run `make docs` and commit what it writes"


def test_every_fault_that_is_injected_for_any_vendor_is_told() -> None:
    told = {fault for vendor, fault, *_ in rows() if vendor == "any"}
    assert {
        "429 with Retry-After", "429 without Retry-After", "500, then fine", "500 for ever",
        "slow body", "truncated JSON", "HTML instead of JSON", "empty series", "unknown symbol",
        "wrong currency", "split between two fetches", "restated bar", "clock skew",
        "last day dropped", "connection refused",
    } <= told  # fmt: skip
