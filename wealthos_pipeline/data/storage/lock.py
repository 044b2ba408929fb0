"""One writer a root: ``flock`` on ``<root>/.lock``, with the holder written inside.

The kernel releases the lock when the holder dies, however it dies; what is written inside serves
the message only.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from wealthos_pipeline.core.errors import LockedError, StorageError

LOCK_FILE = ".lock"


@contextmanager
def lock(root: str | Path, run_id: str) -> Iterator[Path]:
    """Hold the root's lock; LockedError names the holder, its process and its run."""
    path = Path(root) / LOCK_FILE
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise StorageError(
            f"cannot open the lock {path}: {error.strerror}. Choose a root that you may write to "
            "with --root or WEALTHOS_ROOT."
        ) from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise _held(path) from error
        body = {"run_id": run_id, "pid": os.getpid(), "host": socket.gethostname(), "user": _user()}
        os.ftruncate(handle, 0)
        os.pwrite(handle, json.dumps(body).encode(), 0)
        try:
            yield path
        finally:
            os.ftruncate(handle, 0)
    finally:
        os.close(handle)


def refuse_held(root: str | Path) -> None:
    """LockedError while another run holds the root's lock; it is neither taken nor created."""
    path = Path(root) / LOCK_FILE
    try:
        handle = os.open(path, os.O_RDONLY)
    except OSError:
        return  # nothing to refuse: whoever takes the lock says what is wrong with it
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        raise _held(path) from error
    finally:
        os.close(handle)


def _held(path: Path) -> LockedError:
    return LockedError(
        f"{path.parent} is being written by {holder(path)}. Wait until that run has ended, "
        "or stop it; reading (`wealthos sql`, the API, the warehouse file) needs no lock."
    )


def holder(path: Path) -> str:
    """Who holds the lock, in words, from what is written inside."""
    try:
        body = json.loads(path.read_text("utf-8"))
        return f"run {body['run_id']} (process {body['pid']} of {body['user']} on {body['host']})"
    except (OSError, ValueError, KeyError):
        return "another run (its name is not written yet)"


def _user() -> str:
    import getpass

    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())
