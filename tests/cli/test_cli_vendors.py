"""Vendors on the command line: their options, what they lack, and keys that nobody sees."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest

from wealthos_pipeline.utils import doctor
from wealthos_pipeline.utils.config import load_settings


@pytest.fixture
def performed(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Overrides of the runs that would have begun."""
    seen: list[dict[str, Any]] = []

    def perform(
        job: str, settings: object, overrides: dict[str, Any], **more: Any
    ) -> dict[str, Any]:
        seen.append(overrides)
        return {}

    monkeypatch.setattr(importlib.import_module("wealthos_pipeline.cli.run"), "perform", perform)
    return seen


def test_symbols_sources_and_files_reach_the_settings(call, tmp_path: Path, performed) -> None:
    universe, fx = tmp_path / "u.csv", tmp_path / "fx.csv"
    universe.write_text("symbol\nAAA\n")
    fx.write_text("date,GBPUSD\n2024-01-02,1.27\n")
    said = call("run", "--source", "yahoo", "--symbols", "AAA, BBB,CCC", "--also", "treasury",
                "--universe", universe, "--fx", fx, "--root", tmp_path)  # fmt: skip
    assert said.code == 0, said.err
    assert performed[0]["source"] == {
        "name": "yahoo", "symbols": ["AAA", "BBB", "CCC"], "also": ["treasury"],
        "universe": universe, "fx": fx,
    }  # fmt: skip
    settings = load_settings(**performed[0])
    assert settings.source.symbols == ("AAA", "BBB", "CCC")
    assert settings.source.also == ("treasury",)


def test_two_sources_beside_it(call, tmp_path: Path, performed) -> None:
    call("run", "--also", "treasury", "--also", "yahoo", "--symbols", "AAA", "--root", tmp_path)
    call("run", "--also", "treasury,yahoo", "--symbols", "AAA", "--root", tmp_path)
    assert [p["source"]["also"] for p in performed] == [["treasury", "yahoo"]] * 2


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--source", "yahoo", "--universe", "{tmp}/u.csv"], "no such file: --universe"),
        (["--source", "finnhub", "--symbols", "AAA"], "WEALTHOS_KEYS__FINNHUB"),
        (["--also", "fred"], "WEALTHOS_KEYS__FRED"),
        (["--source", "yahoo", "--universe", "{tmp}/empty.csv"], "no symbols are named"),
        (["--source", "bloomberg"], "there are: alpha_vantage, files, finnhub, fred, sample"),
        (["--fx", "{tmp}/none.csv"], "no such file: --fx"),
    ],
)
def test_what_a_source_lacks_is_said_before_anything_begins(
    words: list[str], told: str, call, tmp_path: Path, performed
) -> None:
    (tmp_path / "empty.csv").write_text("symbol\n")
    said = call(
        "run", *(w.replace("{tmp}", str(tmp_path)) for w in words), "--root", tmp_path / "d"
    )
    assert said.code == 2
    assert told in " ".join(said.err.split())
    assert performed == []


def test_keys_are_masked_and_decide_what_can_be_used(
    call, nowhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {c["name"]: c for c in call("doctor", "--json", "--root", nowhere).json["checks"]}
    assert "finnhub (no key)" in before["sources"]["found"]
    assert before["key finnhub"]["status"] == "ok"
    monkeypatch.setenv("WEALTHOS_KEYS__FINNHUB", "hunter2")
    monkeypatch.setenv("WEALTHOS_SOURCE__SYMBOLS", '["AAA"]')
    for words in (["doctor"], ["doctor", "--json"]):
        said = call(*words, "--root", nowhere)
        assert "hunter2" not in said.out + said.err
    checks = {c["name"]: c for c in said.json["checks"]}
    assert doctor.MASK in checks["key finnhub"]["found"]
    assert "finnhub" in checks["sources"]["found"].split("; not yet")[0]
    assert "files (no panel)" in checks["sources"]["found"]


def test_the_chosen_source_without_its_key_is_a_fault(
    call, nowhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WEALTHOS_SOURCE__ALSO", '["fred"]')
    said = call("doctor", "--json", "--root", nowhere)
    assert said.code == 1
    check = next(c for c in said.json["checks"] if c["name"] == "key fred")
    assert (check["status"], check["advice"]) == ("fail", "set WEALTHOS_KEYS__FRED")
