"""What a person sees while a run is under way.

The stages speak through the logger ``wealthos.stage``: messages ``started``, ``finished``,
``unchanged`` and ``failed`` with ``stage, rows, seconds, note``. A handler turns them into one
line a finished stage and, on a terminal, a moving line for what is being done now.
"""

from __future__ import annotations

import logging
import sys
import time
from types import TracebackType

from rich.live import Live
from rich.markup import escape
from rich.spinner import Spinner
from rich.text import Text

from wealthos_pipeline.cli.output import err

STAGE_LOGGER = "wealthos.stage"
_MARKS = {"finished": ("✓", "green"), "unchanged": ("=", "dim"), "failed": ("✗", "bold red")}


class StageDisplay(logging.Handler):
    """A logging handler that is also a context manager: on the screen from enter to exit."""

    def __init__(self, title: str, stages: int | None = None, *, quiet: bool = False) -> None:
        super().__init__(logging.INFO)
        self.title = title
        self.stages = stages
        self.quiet = quiet
        self.done: list[str] = []
        self.failed: list[str] = []
        self.console = err()
        self._live: Live | None = None
        self._now: dict[str, float] = {}
        self._begun = time.monotonic()

    def __enter__(self) -> StageDisplay:
        logger = logging.getLogger(STAGE_LOGGER)
        self._level = logger.level
        logger.setLevel(logging.INFO)
        logger.addHandler(self)
        if not self.quiet and sys.stderr.isatty():
            self._live = Live(self, console=self.console, refresh_per_second=8, transient=True)
            self._live.start()
        elif not self.quiet:
            self.console.print(self.title)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        logger = logging.getLogger(STAGE_LOGGER)
        logger.removeHandler(self)
        logger.setLevel(self._level)
        if self._live is not None:
            self._live.stop()

    def __rich__(self) -> Spinner:
        """The moving line: what is being done, how far, for how long."""
        seconds = time.monotonic() - self._begun
        far = f"{len(self.done)}/{self.stages} " if self.stages else ""
        doing = ", ".join(self._now) or ("writing down" if self.done else self.title)
        text = Text.assemble((f"{far}", "bold"), doing, (f"  {seconds:.0f} s", "dim"))
        if not hasattr(self, "_spinner"):
            self._spinner = Spinner("dots", style="cyan")
        self._spinner.update(text=text)
        return self._spinner

    def say(self, title: str, stages: int | None = None) -> None:
        """Change what the moving line says while no stage is running."""
        self.title = title
        self.stages = stages if stages is not None else self.stages

    def emit(self, record: logging.LogRecord) -> None:
        stage = str(getattr(record, "stage", "") or "?")
        what = record.getMessage()
        if what == "started":
            self._now[stage] = time.monotonic()
            return
        begun = self._now.pop(stage, None)
        if what not in _MARKS:
            return
        self.done.append(stage)
        if what == "failed":
            self.failed.append(stage)
        if self.quiet:
            return
        seconds = getattr(record, "seconds", None)
        if seconds is None and begun is not None:
            seconds = time.monotonic() - begun
        self.console.print(self._line(what, stage, getattr(record, "rows", None), seconds, record))

    def _line(
        self, what: str, stage: str, rows: int | None, seconds: float | None, record: object
    ) -> str:
        mark, style = _MARKS[what]
        amount = "unchanged" if what == "unchanged" else what if what == "failed" else ""
        if what == "finished" and rows is not None:
            amount = f"{rows:,} rows"
        took = f"{seconds:.1f} s" if seconds is not None else ""
        words = str(getattr(record, "note", "") or "")
        body = f"{stage:<28} {amount:>16} {took:>8}".rstrip()
        told = f"  [dim]{escape(words)}[/dim]" if words else ""
        return f"[{style}]{mark}[/{style}] {escape(body)}{told}"
