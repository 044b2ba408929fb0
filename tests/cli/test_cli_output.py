"""What the commands print: commands that can be typed as they stand, years as years, no minus zero."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from wealthos_pipeline.cli import output


def test_commands_are_named_as_this_shell_takes_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    script = tmp_path / ".venv" / "bin" / "wealthos"
    script.parent.mkdir(parents=True)
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", [".venv/bin/wealthos", "run"])
    monkeypatch.setenv("PATH", "/nowhere")
    assert (
        output.typed("Make one with `wealthos run`.") == "Make one with `.venv/bin/wealthos run`."
    )
    assert output.typed("compare: wealthos diff previous last").endswith(
        ": .venv/bin/wealthos diff previous last"
    )
    assert (
        output.typed("the wealthos command is `wealthos`") == "the wealthos command is `wealthos`"
    )

    monkeypatch.setenv("PATH", str(script.parent))
    assert output.typed("Make one with `wealthos run`.") == "Make one with `wealthos run`."


def test_years_have_no_thousands_and_zero_has_no_sign(capsys: pytest.CaptureFixture[str]) -> None:
    output.frame(pl.DataFrame({"year": [2008], "rows": [12345], "value": [-0.0]}))
    assert capsys.readouterr().out.splitlines()[1].split() == ["2008", "12,345", "0"]
