"""Rows of the fault table in ``docs/data.md``: written down by the tests that see the faults."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parents[3] / "docs" / "data.md"
FaultRow = Callable[[str, str, str, str], None]


def cell(text: str) -> str:
    """``text`` as it stands in the table; the port of the wire is another each time."""
    plain = re.sub(r"(?:http://)?127\.0\.0\.1:\d+", "host", " ".join(text.split()))
    return plain.replace("|", "\\|")


@pytest.fixture
def fault_row(request: pytest.FixtureRequest) -> FaultRow:
    """``fault_row(vendor, fault, seen, kept)``: a row of the fault table, of what the test saw.

    vendor: name of the source, ``any`` where it is the same for all. seen: what the user reads.
    `make docs` writes the rows into the page (``FAULT_ROWS`` names a file that collects them); otherwise
    the row has to stand there already. The test carries ``@pytest.mark.faults``.
    """
    if request.node.get_closest_marker("faults") is None:
        pytest.fail("a test that writes a row of the fault table is marked @pytest.mark.faults")

    def write(vendor: str, fault: str, seen: str, kept: str) -> None:
        row = [cell(text) for text in (vendor, fault, seen, kept)]
        assert all(row), f"a row of the fault table has words in every cell, not {row}"
        if collected := os.environ.get("FAULT_ROWS"):
            with Path(collected).open("a", encoding="utf-8") as file:
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
            return
        line = "| " + " | ".join(row) + " |"
        told = PAGE.read_text("utf-8") if PAGE.exists() else ""
        assert line in told.splitlines(), (
            f"docs/data.md lacks the row\n{line}\nRun `make docs` and commit what it writes."
        )

    return write
