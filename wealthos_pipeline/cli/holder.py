"""Who writes under a root now, found without taking the lock."""

from __future__ import annotations

import json
import os
from pathlib import Path


def writing(root: Path) -> str | None:
    """The id of the run that holds the root's lock and whose process is alive; None if there is none.

    Looks without locking, so that it can never turn a run away.
    """
    from wealthos_pipeline.data.storage.lock import LOCK_FILE

    path = Path(root) / LOCK_FILE
    try:
        body = json.loads(path.read_text("utf-8"))
        os.kill(int(body["pid"]), 0)
    except PermissionError:
        return str(body["run_id"])  # alive, and another person's
    except (OSError, ValueError, KeyError):
        return None
    return str(body["run_id"])
