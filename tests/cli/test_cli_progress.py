"""What a person sees of a run: one line a stage, from the stages' own log records."""

from __future__ import annotations

import logging

import pytest

from wealthos_pipeline.cli.progress import STAGE_LOGGER, StageDisplay

LOG = logging.getLogger(STAGE_LOGGER)


def say(what: str, **extra: object) -> None:
    LOG.info(what, extra={"stage": "clean_prices", **extra})


def test_one_line_a_stage(capfd: pytest.CaptureFixture[str]) -> None:
    with StageDisplay("the day") as display:
        say("started")
        say("finished", rows=169_420, seconds=1.25, note="from [2020]")
        say("started")
        say("unchanged", seconds=0.1)
        say("failed", seconds=0.2)
        say("anything else")
    lines = capfd.readouterr().err.splitlines()
    assert lines[0] == "the day"
    assert [line[0] for line in lines[1:]] == ["✓", "=", "✗"]
    assert "169,420 rows" in lines[1]
    assert "1.2 s" in lines[1]
    assert lines[1].endswith("from [2020]")
    assert display.failed == ["clean_prices"]
    assert len(display.done) == 3


def test_quiet_says_nothing_but_counts(capfd: pytest.CaptureFixture[str]) -> None:
    with StageDisplay("the day", quiet=True) as display:
        say("started")
        say("finished", rows=1, seconds=0.1)
    assert capfd.readouterr().err == ""
    assert display.done == ["clean_prices"]


def test_the_logger_is_left_as_it_was() -> None:
    before = (LOG.level, list(LOG.handlers))
    with pytest.raises(ZeroDivisionError), StageDisplay("x", quiet=True):
        raise ZeroDivisionError
    assert (LOG.level, list(LOG.handlers)) == before


def test_the_moving_line_names_what_is_being_done() -> None:
    display = StageDisplay("the day", 12, quiet=True)
    with display:
        say("started")
        from rich.console import Console

        console = Console(width=80)
        with console.capture() as capture:
            console.print(display)
    assert "0/12 clean_prices" in capture.get()
