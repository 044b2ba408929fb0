"""A quant's files: what a definition is, what names may be, and that a bad file hurts nobody else."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import duckdb
import pytest

from wealthos_pipeline import factors
from wealthos_pipeline.core.asset import AssetClass
from wealthos_pipeline.core.errors import FactorError
from wealthos_pipeline.core.factor import Factor
from wealthos_pipeline.factors import library as home
from wealthos_pipeline.factors.definition import RESERVED_WORDS

HEAD = """
import polars as pl
from wealthos_pipeline.core.asset import AssetClass
from wealthos_pipeline.core.factor import Factor
WINDOW = {window}
def helper(x):
    return x * {scale}
def made(n):
    def inner(frame):
        return frame.select('date', 'instrument_id', value=helper(pl.col('close')) / n)
    return inner
FACTORS = [Factor(f'own_{{n}}', AssetClass.EQUITY, 'own', 1, 'Own', 'own', function=made(n), lookback=WINDOW)
           for n in {numbers}]
"""


def written(folder: Path, *, window: int = 5, scale: float = 2.0, numbers: str = "(1,)") -> str:
    (folder / "mine.py").write_text(HEAD.format(window=window, scale=scale, numbers=numbers))
    return factors.load((), folder).factors["own_1"].definition_hash


def test_a_definition_is_the_whole_file(tmp_path: Path) -> None:
    """Helpers and constants too; the bytes of the function alone are the same in all of these."""
    first = written(tmp_path)
    assert written(tmp_path) == first
    assert written(tmp_path, scale=3.0) != first
    assert written(tmp_path, window=6) != first
    (tmp_path / "other.yaml").write_text("factors: {x: $close}")
    assert written(tmp_path) == first, "another file is another definition"


def test_functions_made_by_one_function_differ_by_what_they_hold(tmp_path: Path) -> None:
    written(tmp_path, numbers="(1, 2)")
    loaded = factors.load((), tmp_path).factors
    one, two = loaded["own_1"], loaded["own_2"]
    assert replace(one, name="x").definition_hash != replace(two, name="x").definition_hash


def test_an_edit_within_a_second_is_seen(tmp_path: Path) -> None:
    """Of the same length, too: no compilation of before is taken."""
    one = written(tmp_path, scale=2.0)
    stamp = (tmp_path / "mine.py").stat()
    two = written(tmp_path, scale=3.0)
    os.utime(tmp_path / "mine.py", ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert one != two
    assert not (tmp_path / "__pycache__").exists()


def test_a_hash_is_the_same_in_another_process(tmp_path: Path) -> None:
    here = written(tmp_path)
    code = (
        "from pathlib import Path; from wealthos_pipeline import factors; "
        f"print(factors.load((), Path({str(tmp_path)!r})).factors['own_1'].definition_hash)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == here


def test_a_function_without_a_file_has_a_hash_of_its_instructions() -> None:
    def made(text: str) -> Factor:
        space: dict[str, object] = {}
        exec(compile(text, "<prompt>", "exec"), space)
        return Factor("f", AssetClass.EQUITY, "own", 1, "F", "own", function=space["f"], lookback=1)  # type: ignore[arg-type]

    one, two = "def f(x): return [y + 1 for y in x]", "def f(x): return [y + 2 for y in x]"
    assert made(one).definition_hash == made(one).definition_hash
    assert made(one).definition_hash != made(two).definition_hash


def test_the_words_that_sql_keeps_are_duckdbs() -> None:
    kept = duckdb.sql(
        "select keyword_name from duckdb_keywords() where keyword_category = 'reserved'"
    ).fetchall()
    assert {w for (w,) in kept} == RESERVED_WORDS


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("order", "SQL keeps the word"),
        ("Select", "SQL keeps the word"),
        ("year", "cannot be a column"),
        ("known_at", "cannot be a column"),
        ("Momentum_12_1", "in SQL the same as 'momentum_12_1'"),
        ("é", "cannot be a column"),
        ("a" * 64, "cannot be a column"),
    ],
)
def test_names_that_cannot_be_columns(tmp_path: Path, name: str, words: str) -> None:
    (tmp_path / "a.yaml").write_text(f"factors: {{'{name}': $close / $open}}", encoding="utf-8")
    with pytest.raises(FactorError, match=words):
        factors.load(("core",), tmp_path)


def test_a_family_of_the_library_is_not_joined(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("family: momentum\nfactors: {x: $close / $open}")
    with pytest.raises(FactorError, match="family 'momentum', which is the library's own"):
        factors.load(("core",), tmp_path)


def test_a_family_has_sixty_columns_at_most(tmp_path: Path) -> None:
    lines = "\n".join(f"  x{i}: $close / Ref($close, {i + 1})" for i in range(62))
    (tmp_path / "many.yaml").write_text(f"factors:\n{lines}\n")
    with pytest.raises(FactorError, match=r"x60 is number 61 of the family 'own'.*60 columns"):
        factors.load((), tmp_path)
    left = factors.load((), tmp_path, strict=False)
    assert len(left.factors) == 60
    assert [f.factor for f in left.faults] == ["x60", "x61"]


def test_every_family_that_exists_fits() -> None:
    library = factors.load(("all",))
    assert max(len(f.factors) for f in library.families()) <= home.MOST_COLUMNS
    chosen = factors.load(("core", "alpha158", "alpha360"))
    assert set(chosen.factors) <= set(library.factors)
    assert len(library.factors) >= 158 + 360 + 60


def test_a_bad_file_hurts_nobody_else(tmp_path: Path) -> None:
    plain = factors.load(("core",), tmp_path)
    (tmp_path / "a_broken.yaml").write_text("factors: {x: [")
    (tmp_path / "b_broken.py").write_text("1 / 0")
    (tmp_path / "b_exits.py").write_text("raise SystemExit(3)")
    (tmp_path / "c_broken.py").write_text("def f(:")
    (tmp_path / "d_bytes.yaml").write_bytes(b"factors: {\xff}")
    (tmp_path / "e_half.yaml").write_text(
        "factors: {fine: $close / $open, wrong: 'Ref($close, -1)'}"
    )
    (tmp_path / "f_clash.yaml").write_text("factors: {fine: $open / $close}")
    got = factors.load(("core",), tmp_path, strict=False)
    assert set(got.factors) - set(plain.factors) == {"fine"}
    assert got.factors["fine"].expression == "$close / $open"
    assert [(f.home, f.factor) for f in got.faults] == [
        ("a_broken.yaml", ""), ("b_broken.py", ""), ("b_exits.py", ""), ("c_broken.py", ""),
        ("d_bytes.yaml", ""),
        ("e_half.yaml", "wrong"), ("f_clash.yaml", "fine"),
    ]  # fmt: skip
    with pytest.raises(FactorError) as strict:
        factors.load(("core",), tmp_path)
    assert all(f.text in str(strict.value) for f in got.faults)


def test_a_set_that_is_not_there_is_refused_either_way(tmp_path: Path) -> None:
    with pytest.raises(FactorError, match="no factor set 'cor'"):
        factors.load(("cor",), tmp_path, strict=False)


def test_a_package_that_cannot_be_loaded_is_left_out(tmp_path: Path, monkeypatch) -> None:
    class Point:
        name, value = "desk", "desk_factors:load"

        def load(self):
            raise ImportError("no module named desk_factors")

    class Odd(Point):
        name, value = "odd", "odd:load"

        def load(self):
            return lambda: ["not a factor"]

    monkeypatch.setattr(home, "entry_points", lambda group: [Odd(), Point()])
    got = factors.load((), tmp_path, strict=False)
    assert [f.home for f in got.faults] == ["package desk_factors:load", "package odd:load"]
    assert "no module named desk_factors" in got.faults[0].text
    assert "gave str" in got.faults[1].text
