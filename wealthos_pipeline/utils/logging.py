"""Logging: people's words on the terminal, JSON lines with run id in a file."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

LOGGER = "wealthos"


def get_logger(name: str = "") -> logging.Logger:
    """The library's logger, or the child called ``name``."""
    return logging.getLogger(f"{LOGGER}.{name}" if name else LOGGER)


class JsonLines(logging.Formatter):
    """One JSON object a line: time, level, logger, message, run_id; stage, rows, seconds and note
    when set."""

    def __init__(self, run_id: str) -> None:
        super().__init__()
        self.run_id = run_id

    def format(self, record: logging.LogRecord) -> str:
        body = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname.lower(),
            "logger": record.name,
            "run_id": self.run_id,
            "message": record.getMessage(),
        }
        for name in ("stage", "rows", "seconds", "note"):
            value = getattr(record, name, None)
            if value not in (None, ""):
                body[name] = value
        if record.exc_info:
            body["exception"] = self.formatException(record.exc_info)
        return json.dumps(body, ensure_ascii=False)


@contextmanager
def logged(folder: Path, run_id: str) -> Iterator[None]:
    """Write what the library logs as JSON lines to ``<folder>/<run_id>.jsonl``."""
    folder.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(folder / f"{run_id}.jsonl", encoding="utf-8", delay=True)
    handler.setFormatter(JsonLines(run_id))
    logger = get_logger()
    logger.setLevel(min(logger.level or logging.INFO, logging.INFO))
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        handler.close()
