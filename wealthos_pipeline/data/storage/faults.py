"""Errors of the disk, Delta and Polars, in words that name the file and the next step."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl
from deltalake.exceptions import DeltaError

from wealthos_pipeline.core.errors import StorageError, WealthOSError

RETENTION_DAYS = 400
"""Versions named by a manifest are readable for this long."""


@contextmanager
def wrapped(doing: str, table: str, path: Path) -> Iterator[None]:
    """Turn errors of the disk, Delta and Polars into one StorageError: "cannot ``doing``
    ``table`` (``path``): cause. Next step."""
    try:
        yield
    except WealthOSError:
        raise
    except (OSError, DeltaError, pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        raise StorageError(
            f"cannot {doing} {table} ({path}): {first_line(error)}. {_advice(error, path)}"
        ) from error


def _advice(error: BaseException, where: Path) -> str:
    text = str(error).lower()
    if any(
        s in text for s in ("no space", "file too large", "quota", "os error 27", "os error 28")
    ):
        return "The disk or the file-size limit is full: free space and run again; nothing was published."
    if "permission" in text:
        return f"Check who owns {where} and its permissions."
    if "version" in text or "not found" in text or "no such file" in text:
        return (
            f"Versions are kept {RETENTION_DAYS} days; an older run is derived again from the raw "
            "tables."
        )
    return "Check the disk and `wealthos doctor`; the last published run is untouched."


def first_line(error: BaseException) -> str:
    """What an error says, without its trace."""
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
