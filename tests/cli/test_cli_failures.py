"""What the sources did not give is said where the run ends."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest

from wealthos_pipeline.cli import summary
from wealthos_pipeline.core.data import contract
from wealthos_pipeline.utils.config import load_settings

RUN = "r1"


def told(*rows: tuple[str, str, str, str | None, str | None], run: str = RUN) -> list[str]:
    names = ["source", "symbol", "reason", "what", "kept"]
    failures = pl.DataFrame(
        rows, schema=dict.fromkeys(names, pl.String), orient="row"
    ).with_columns(run_id=pl.lit(run))
    tables = {"meta.failures": contract("meta.failures").conform(failures)}
    published: Any = SimpleNamespace(
        settings=load_settings(),
        manifest=SimpleNamespace(run_id=RUN),
        read=lambda name: tables.get(name, contract(name).empty()),
    )
    return summary._attention(published)


def test_failures_in_the_vendors_words_the_commonest_first() -> None:
    through = "bars through 2024-03-04"
    said = told(
        (
            "treasury",
            "*",
            "treasury gave nothing: HTTP 503.",
            "everything",
            "what was stored before",
        ),
        ("yahoo", "KO", "KO: Yahoo: No data found (HTTP 404).", "prices", through),
        ("yahoo", "XOM", "XOM: Yahoo: No data found (HTTP 404).", "prices", through),
        ("fred", "*", "29 of 35 not asked", "series", None),
    )
    assert said == [
        f"yahoo, KO, XOM: Yahoo: No data found (HTTP 404). In its place: {through}",
        "fred: 29 of 35 not asked",
        "treasury gave nothing: HTTP 503. In its place: what was stored before",
    ]


def test_many_failures_are_counted() -> None:
    many = [("yahoo", f"S{i:02d}", "HTTP 500", "prices", None) for i in range(30)]
    other = [("yahoo", f"T{i}", f"reason {i}", "prices", None) for i in range(9)]
    said = told(*other, *many)
    assert said[0] == "yahoo, 30 symbols (S00, S01, S02, …): HTTP 500"
    assert len(said) == summary.FAILURES + 1
    assert said[-1].startswith("5 more things that the sources did not give")


def test_a_stated_delisting_of_nobody_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "delistings.csv").write_text("symbol,date,terminal_return\nZZZ,2024-03-04,-0.5\n")
    monkeypatch.setattr("wealthos_pipeline.utils.config.inputs_dir", lambda: tmp_path)
    (said,) = told(run="r0")
    assert said.startswith("delistings.csv names what no instrument is called: ZZZ.")


def test_failures_of_another_run_are_not_told() -> None:
    assert told(("yahoo", "KO", "gone", "prices", None), run="r0") == []


def test_own_factors_left_out_are_told() -> None:
    tried = pl.DataFrame(
        {"factor": ["d", "good", "b", "c", "a"], "admitted": [False, True, False, False, False]}
    )
    published: Any = SimpleNamespace(
        settings=load_settings(),
        manifest=SimpleNamespace(run_id=RUN),
        read=lambda name: tried if name == "factors.admissions" else contract(name).empty(),
    )
    (said,) = summary._attention(published)
    assert said == "4 own factors left out (a, b, c, …): `wealthos factors check`"
