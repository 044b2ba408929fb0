"""Every error comes once, in words, with an exit code that means something."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from small_root import SmallRoot

from wealthos_pipeline.cli import app
from wealthos_pipeline.core.errors import LockedError

READING = [
    ["runs"],
    ["sql", "select 1"],
    ["sql", "select 1", "--as-of", "2020-01-31"],
    ["report"],
    ["diff"],
    ["backtest"],
    ["data", "status"],
    ["data", "quarantine"],
    ["data", "history", "GE"],
    ["data", "migrate"],
    ["models", "list"],
    ["portfolio", "show", "balanced"],
    ["portfolio", "explain", "GE"],
    ["warehouse", "status"],
    ["warehouse", "rebuild"],
    ["warehouse", "export", "x.duckdb"],
]


@pytest.mark.parametrize("words", READING, ids=" ".join)
def test_a_root_without_a_run_says_how_to_make_one(call, nowhere: Path, words, monkeypatch) -> None:
    monkeypatch.chdir(nowhere.parent)
    said = call(*words, "--root", nowhere)
    assert said.code == 7, said.err
    assert said.out == ""
    assert "wealthos run" in said.err or "Run again" in said.err
    assert not nowhere.exists(), "reading must not create a root"


@pytest.mark.parametrize(
    ("words", "close", "lists"),
    [
        (["portfolio", "explain", "XO"], "XOM", "wealthos sql"),
        (["portfolio", "show", "balancd"], "balanced", "wealthos portfolio mandates"),
        (["data", "history", "APL"], "AAPL", "wealthos sql"),
        (
            ["data", "quarantine", "--rule", "negative"],
            "negative_price",
            "wealthos data quarantine",
        ),
        (["diff", "run-7", "last"], "run-1", "wealthos runs"),
    ],
    ids=lambda v: " ".join(v) if isinstance(v, list) else v,
)
def test_an_unknown_name_brings_close_ones(wealthos, words, close: str, lists: str) -> None:
    said = wealthos(*words)
    assert said.code == 2
    assert said.out == ""
    assert close in said.err
    assert lists in said.err
    assert said.err.count("error ") == 1


def test_usage_is_refused_with_2(call) -> None:
    assert call("runs", "--nonsense").code == 2
    assert call("nonsense").code == 2
    assert call("data", "history").code == 2


def test_faults_of_settings_are_all_listed(call, nowhere: Path, monkeypatch) -> None:
    monkeypatch.setenv("WEALTHOS_MODELS__HORIZON", "soon")
    monkeypatch.setenv("WEALTHOS_TIME__KNOWN_LAG_MINUTES", "-1")
    said = call("runs", "--root", nowhere)
    assert said.code == 2
    assert "models.horizon" in said.err
    assert "time.known_lag_minutes" in said.err


def test_an_unforeseen_error_is_kept_in_a_file(wealthos, root: SmallRoot, monkeypatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("by nought")

    monkeypatch.setattr("wealthos_pipeline.cli.published.open_lake", broken)
    said = wealthos("runs")
    assert said.code == app.UNEXPECTED
    assert "by nought" in said.err
    assert "Traceback" not in said.err
    kept = root.settings.root / "logs" / "wealthos-errors.log"
    assert str(kept) in said.err
    assert "ZeroDivisionError" in kept.read_text()
    shown = wealthos("--debug", "runs")
    assert (shown.code, "Traceback" in shown.err) == (app.UNEXPECTED, True)
    assert "Traceback" in wealthos("runs", "--debug").err


def test_a_full_disk_is_named(wealthos, monkeypatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device", "x.parquet")

    monkeypatch.setattr("wealthos_pipeline.cli.published.open_lake", full)
    said = wealthos("runs")
    assert said.code == 5
    assert "Free some space" in said.err


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("Query interrupted")])
def test_ctrl_c_is_130(wealthos, monkeypatch, error: BaseException) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("wealthos_pipeline.cli.published.open_lake", interrupted)
    said = wealthos("runs")
    assert said.code == 130
    assert "untouched" in said.err


def test_an_error_of_the_library_keeps_its_code_and_its_markup(wealthos, monkeypatch) -> None:
    def locked(*_: object, **__: object) -> None:
        raise LockedError("held by [bold]run[/bold] 7\nwait for it")

    monkeypatch.setattr("wealthos_pipeline.cli.published.open_lake", locked)
    said = wealthos("runs")
    assert said.code == LockedError.exit_code
    assert said.err == "error held by [bold]run[/bold] 7\nwait for it\n"


def test_a_reader_that_goes_away_is_no_error(root: SmallRoot) -> None:
    code = "from wealthos_pipeline.cli import main\nimport sys\nsys.exit(main(sys.argv[1:]))"
    words = ["sql", "from range(300000)", "--format", "csv", "--root", str(root.settings.root)]
    with subprocess.Popen(
        [sys.executable, "-c", code, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == b"range\n"
        process.stdout.close()
        assert process.stderr.read() == b""


def test_root_may_come_before_the_command_or_from_the_environment(
    call, root: SmallRoot, monkeypatch
) -> None:
    where = str(root.settings.root)
    assert len(call("--root", where, "runs", "--json").json) == 2
    monkeypatch.setenv("WEALTHOS_ROOT", where)
    assert len(call("runs", "--json").json) == 2
